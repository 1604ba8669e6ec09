//! Edits that wait for a store that is away.

use avvy_flow::group_commit::{JournalChunk, QueuedChunk};
use avvy_flow::spooling::{Spooling, SpoolingEffect};
use avvy_model::{PropKey, Value, ValueLimits};
use avvy_persistence::spool::{SpoolOptions, SpoolStatus};

use super::*;
use crate::persistence::{chunk_writes, written};

fn spool(directory: &tempfile::TempDir) -> Spool {
    Spool::open(&SpoolOptions::at(directory.path().join("spool"))).unwrap()
}

/// Waits until a spool is as it should be.
async fn until(spool: &Spool, wanted: impl Fn(SpoolStatus) -> bool) {
    let changed = async {
        while !wanted(spool.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, changed).await.unwrap();
}

fn quick() -> SystemConfig {
    let mut config = SystemConfig::default();
    config.group_commit.retry_max_ms = 50;
    config
}

impl World {
    async fn with_spool(spool: &Spool) -> Self {
        let disk = MemoryDisk::new();
        let store = Arc::new(disk.mount());
        let spool = Some(spool.clone());
        let world = Self::without_brane(None, spool, store, disk, quick()).await;
        world.create_brane(world.brane).await;
        world
    }

    fn lose_store(&self) {
        self.fail_every(|operation| operation == StoreOperation::Append);
    }
}

/// An edit that is applied while the store is away.
async fn apply(session: &mut Session, channel: Channel, counter: u64) {
    session.submit(channel, counter, create(Kind::Block, Props::default()));
    let applied = session.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
    let ServerMessage::Applied { edits, .. } = applied else { unreachable!() };
    assert_eq!(edits[0].0, Counter(counter));
}

#[tokio::test]
async fn what_waits_for_the_store_is_on_disk_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let spool = spool(&directory);
    let world = World::with_spool(&spool).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    session.create(channel, 1).await;
    assert_eq!(spool.status().chunks, 0, "nothing while the store takes it");
    world.lose_store();
    for counter in 2..=4 {
        apply(&mut session, channel, counter).await;
    }
    until(&spool, |status| status.chunks >= 3).await;
    world.disk.heal();
    let is_durable = |m: &ServerMessage| matches!(m, ServerMessage::Durable { durable, .. } if durable.seq == Seq(4));
    session.until(is_durable).await;
    until(&spool, |status| status.chunks == 0).await;
    assert_eq!((spool.status().stored >= 3, spool.status().archived), (true, 0));
    session.create(channel, 5).await;
}

#[tokio::test]
async fn a_process_that_dies_leaves_what_the_next_one_stores() {
    let directory = tempfile::tempdir().unwrap();
    let spool = spool(&directory);
    let world = World::with_spool(&spool).await;
    let mut session = world.connect().await;
    let me = client();
    let (channel, _) = session.join(world.brane, me, None).await;
    session.create(channel, 1).await;
    world.lose_store();
    apply(&mut session, channel, 2).await;
    apply(&mut session, channel, 3).await;
    until(&spool, |status| status.chunks >= 2).await;
    // It has no time to store anything.
    world.disk.cut_power();
    world.disk.heal();
    let store: Arc<dyn Store> = Arc::new(world.disk.mount());
    let disk = world.disk.clone();
    let mut next = World::without_brane(None, Some(spool.clone()), store, disk, quick()).await;
    (next.claims, next.brane) = (world.claims.clone(), world.brane);
    assert_eq!(spool.status().chunks, 0);
    assert_eq!(next.opened().await, Ok((3, Seq(3))));
    let mut session = next.connect().await;
    let (channel, _) = session.join(next.brane, me, None).await;
    // What was never called durable is known all the same.
    session.submit(channel, 3, create(Kind::Block, Props::default()));
    let applied = session.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
    let ServerMessage::Applied { edits, .. } = applied else { unreachable!() };
    assert_eq!(edits, [(Counter(3), Seq(3))]);
}

#[tokio::test]
async fn what_somebody_else_has_gone_past_is_archived() {
    let directory = tempfile::tempdir().unwrap();
    let spool = spool(&directory);
    let world = World::with_spool(&spool).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    session.create(channel, 1).await;
    world.lose_store();
    apply(&mut session, channel, 2).await;
    until(&spool, |status| status.chunks >= 1).await;
    world.store.open(world.brane).await.unwrap();
    world.disk.heal();
    session.until(|m| matches!(m, ServerMessage::Left { .. })).await;
    until(&spool, |status| status.chunks == 0).await;
    assert!(spool.status().archived >= 1);
    assert_eq!(world.opened().await, Ok((1, Seq(1))));
}

fn small(directory: &tempfile::TempDir) -> Spool {
    let mut options = SpoolOptions::at(directory.path().join("spool"));
    options.max_bytes = 4_096;
    Spool::open(&options).unwrap()
}

#[tokio::test]
async fn what_there_is_no_room_for_is_told_and_stored_when_the_store_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let spool = small(&directory);
    let world = World::with_spool(&spool).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    session.create(channel, 1).await;
    world.lose_store();
    apply(&mut session, channel, 2).await;
    until(&spool, |status| status.chunks == 1).await;
    let limits = ValueLimits::default();
    let long = (PropKey::new("long", &limits).unwrap(), Value::text(&"x".repeat(3_000)));
    let two = ["a", "b"].map(|name| (PropKey::new(name, &limits).unwrap(), long.1.clone()));
    let props = Props::from_entries(two.to_vec(), &limits).unwrap();
    session.submit(channel, 3, create(Kind::Block, props));
    session.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
    let unkept = || world.system.metrics().branes_unkept.load(Ordering::Relaxed);
    let told = async {
        while unkept() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    assert_eq!((unkept(), spool.status().chunks), (1, 1));
    world.disk.heal();
    let is_durable = |m: &ServerMessage| matches!(m, ServerMessage::Durable { durable, .. } if durable.seq == Seq(3));
    session.until(is_durable).await;
    until(&spool, |status| status.chunks == 0).await;
    assert_eq!(spool.status().archived, 0);
    session.create(channel, 4).await;
}

/// Without what there was no room for the journal has no place for what follows:
/// a process that dies leaves what the next one can store, and no more.
#[tokio::test]
async fn nothing_is_kept_behind_what_there_was_no_room_for() {
    let directory = tempfile::tempdir().unwrap();
    let spool = small(&directory);
    let world = World::with_spool(&spool).await;
    let epoch = world.store.open(world.brane).await.unwrap().epoch;
    let chunk = |to: u64, length: usize| {
        let body = vec![7; length].into();
        let chunk = JournalChunk { epoch, from: Seq(to - 1), to: Seq(to), at_ms: 1, body };
        QueuedChunk { brane: world.brane, chunk }
    };
    let (mut machine, mut effects) = (Spooling::new(), Vec::new());
    machine.away([chunk(1, 100)].iter(), &mut effects);
    let mut told = Vec::new();
    for next in [chunk(2, 8_000), chunk(3, 100), chunk(4, 100)] {
        // It comes while what was before it is written.
        machine.push(&next, &mut effects);
        if let Some(SpoolingEffect::Write(chunks)) = effects.pop() {
            let result = spool.append(chunk_writes(&chunks)).await;
            machine.written(0, written(&result), &mut effects);
        }
        told.extend(effects.extract_if(.., |effect| !matches!(effect, SpoolingEffect::Write(_))));
    }
    assert_eq!(told, [SpoolingEffect::CutOff(vec![world.brane]), SpoolingEffect::Full(true)]);
    assert_eq!((effects, spool.status().chunks), (vec![], 1));
    let drained = spool.drain(world.store.as_ref()).await.unwrap();
    assert_eq!((drained.stored, drained.archived), (1, 0));
}
