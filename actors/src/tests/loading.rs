//! Opening branes of which something is not as it should be.

use std::sync::atomic::Ordering;

use avvy_model::{Code, Seq};
use avvy_persistence::{CompactPolicy, Place};

use super::{World, client};
use crate::SystemConfig;

fn keep(keep_snapshots: u32) -> CompactPolicy {
    CompactPolicy { now_ms: u64::MAX, retention_ms: 0, max_journal_bytes: None, keep_snapshots }
}

#[tokio::test]
async fn a_brane_opens_when_nothing_of_its_journal_is_kept() {
    let world = World::with_snapshots(2).await;
    assert_eq!(world.store.compact(keep(1)).await.unwrap().chunks, 2);
    assert_eq!(world.opened().await, Ok((2, Seq(2))));
}

#[tokio::test]
async fn a_brane_opens_from_an_older_snapshot_when_the_newest_is_damaged() {
    let world = World::with_snapshots(3).await;
    assert_eq!(world.store.compact(keep(2)).await.unwrap().chunks, 2);
    world.spoil_snapshot(0).await;
    assert_eq!(world.opened().await, Ok((3, Seq(3))));
    assert_eq!(world.system.metrics().load_warnings.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_brane_of_which_too_much_is_damaged_does_not_open() {
    let world = World::with_snapshots(2).await;
    for nth in 0..2 {
        world.spoil_snapshot(nth).await;
    }
    let damaged = world.disk.damage(&Place::Chunk { brane: world.brane, from: Seq(0), to: Seq(1) });
    assert!(damaged);
    assert_eq!(world.opened().await, Err(Code::Damaged));
}

#[tokio::test]
async fn damage_that_a_snapshot_covers_keeps_no_brane_closed() {
    let world = World::with_snapshots(2).await;
    for to in 1..=2 {
        let place = Place::Chunk { brane: world.brane, from: Seq(to - 1), to: Seq(to) };
        assert!(world.disk.damage(&place));
    }
    assert_eq!(world.opened().await, Ok((2, Seq(2))));
}

#[tokio::test]
async fn a_cut_end_is_counted() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    for counter in 1..=2 {
        session.create(channel, counter).await;
    }
    world.fail_brane().await;
    assert!(world.disk.damage(&Place::Chunk { brane: world.brane, from: Seq(1), to: Seq(2) }));
    assert_eq!(world.opened().await, Ok((1, Seq(1))));
    assert_eq!(world.system.metrics().journal_cuts.load(Ordering::Relaxed), 1);
}
