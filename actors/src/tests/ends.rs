//! How branes and the system end.

use avvy_persistence::ChunkWrite;

use super::*;

fn a_join(brane: BraneId) -> ClientMessage {
    ClientMessage::Join(Join { brane, client: client(), known: false, resume: None, area: None })
}

fn is_left(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::Left { .. })
}

fn is_snapshot(operation: StoreOperation) -> bool {
    match operation {
        StoreOperation::BeginSnapshot | StoreOperation::PutPart => true,
        StoreOperation::CreateBrane
        | StoreOperation::ChangeBrane
        | StoreOperation::ReadRecord
        | StoreOperation::Open
        | StoreOperation::ReadChunks
        | StoreOperation::Append
        | StoreOperation::FinishSnapshot
        | StoreOperation::AbortSnapshot
        | StoreOperation::ReadPart
        | StoreOperation::Compact
        | StoreOperation::Verify
        | StoreOperation::PutMeta
        | StoreOperation::Renew
        | StoreOperation::Fleet
        | StoreOperation::ReadRecords
        | StoreOperation::WriteRecords => false,
    }
}

#[tokio::test]
async fn a_brane_that_the_store_refuses_stays_closed_and_harms_no_other() {
    let world = World::new(SystemConfig::default()).await;
    let other = BraneId::new(Uuid::new_v4());
    world.create_brane(other).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    let at = session.create(channel, 1).await;
    let (other_channel, _) = session.join(other, client(), None).await;
    let stored = world.system.status().await.unwrap().group_commit;

    // Somebody writes behind the brane's back: its next chunk leaves a gap.
    let (from, to) = (at.seq, at.seq.next());
    let body = vec![0; 10].into();
    let chunk = ChunkWrite { brane: world.brane, epoch: at.epoch, from, to, at_ms: 1, body };
    assert_eq!(world.store.append(vec![chunk]).await.unwrap(), [Ok(())]);
    session.submit(channel, 2, create(Kind::Block, Props::default()));
    let left = session.until(is_left).await;
    assert_eq!(left, ServerMessage::Left { channel, code: Some(Code::Unavailable), address: None });
    for _ in 0..2 {
        session.say(&a_join(world.brane));
        assert_eq!(session.error().await, Code::Internal);
    }
    let metrics = world.system.metrics();
    assert_eq!(metrics.brane_restarts.load(Ordering::Relaxed), 0);
    let status = world.system.status().await.unwrap().group_commit;
    assert_eq!((status.rejected_chunks, status.chunks), (1, 0));
    assert_eq!(metrics.chunks.load(Ordering::Relaxed), stored.stored_chunks);
    assert_eq!(metrics.chunk_bytes.load(Ordering::Relaxed), stored.stored_bytes);

    assert_eq!(session.create(other_channel, 1).await.seq, Seq(1));
    assert_eq!(metrics.chunks.load(Ordering::Relaxed), stored.stored_chunks + 1);
}

#[tokio::test]
async fn a_store_that_is_gone_for_good_ends_the_system() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    world.store.close().await.unwrap();
    session.submit(channel, 1, create(Kind::Block, Props::default()));
    timeout(PATIENCE, world.system.ended()).await.unwrap();
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_does_not_end_the_system() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    let mut failures = 0;
    world.disk.plan(move |operation, _| {
        failures += u32::from(operation == StoreOperation::Append);
        if failures == 1 { Fault::FailBefore } else { Fault::None }
    });
    assert_eq!(session.create(channel, 1).await.seq, Seq(1));
    assert_eq!(world.system.metrics().commit_failures.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_snapshots_that_cannot_be_stored() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    session.create(channel, 1).await;
    world.fail_every(is_snapshot);
    assert!(world.system.drain(PATIENCE).await);
    assert_eq!(world.system.metrics().snapshot_failures.load(Ordering::Relaxed), 1);
}

impl World {
    /// The brane is asked to close and cannot: the store takes no chunks.
    /// Whoever joins waits.
    async fn keep_from_closing(&self) -> Session {
        let mut session = self.connect().await;
        let (channel, _) = session.join(self.brane, client(), None).await;
        self.fail_every(|operation| operation == StoreOperation::Append);
        session.submit(channel, 1, create(Kind::Block, Props::default()));
        session.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
        self.system.close_brane(self.brane);
        session.say(&ClientMessage::Leave { channel });
        session.until(is_left).await;
        session.say(&a_join(self.brane));
        session
    }
}

#[tokio::test]
async fn a_brane_that_does_not_close_is_not_waited_for_for_ever() {
    let config = SystemConfig { open_timeout_ms: 100, ..SystemConfig::default() };
    let world = World::new(config).await;
    let mut session = world.keep_from_closing().await;
    assert_eq!(session.error().await, Code::Unavailable);
    session.say(&a_join(world.brane));
    assert_eq!(session.error().await, Code::Unavailable);
    // When the store is back, it closes and opens again with all of it.
    world.disk.heal();
    let joined = async {
        loop {
            session.say(&a_join(world.brane));
            let answered =
                |m: &ServerMessage| matches!(m, ServerMessage::Error(_) | ServerMessage::Joined(_));
            match session.until(answered).await {
                ServerMessage::Joined(joined) => return joined,
                refused => assert!(matches!(refused, ServerMessage::Error(_))),
            }
        }
    };
    assert_eq!(timeout(PATIENCE, joined).await.unwrap().durable, Seq(1));
}

/// A join can arrive just before a brane is told to close because nobody was
/// there; what is then edited is not lost.
#[tokio::test]
async fn an_edit_that_meets_a_closing_brane_has_no_outcome_and_is_sent_again() {
    let world = World::new(SystemConfig::default()).await;
    let (mut session, writer) = (world.connect().await, client());
    let (channel, _) = session.join(world.brane, writer, None).await;
    // Until the store takes chunks again the brane cannot close.
    world.fail_every(|operation| operation == StoreOperation::Append);
    session.submit(channel, 1, create(Kind::Block, Props::default()));
    session.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
    world.system.close_brane(world.brane);
    // The directory answers after it has told the brane.
    world.system.status().await.unwrap();
    session.submit(channel, 2, create(Kind::Block, Props::default()));
    let answered =
        |m: &ServerMessage| matches!(m, ServerMessage::Error(_) | ServerMessage::Refused { .. });
    let ServerMessage::Error(error) = session.until(answered).await else {
        panic!("a refusal is for good")
    };
    assert_eq!((error.code, error.channel), (Code::Unavailable, Some(channel)));
    assert_eq!(error.operation.as_deref(), Some("object.update"));
    world.disk.heal();
    session.until(is_left).await;
    let (channel, _) = session.join(world.brane, writer, None).await;
    assert_eq!(session.create(channel, 2).await.seq, Seq(2));
}

#[tokio::test]
async fn a_drain_opens_nothing_anew() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.keep_from_closing().await;
    let draining = world.system.drain(PATIENCE);
    let refused = async {
        assert_eq!(session.error().await, Code::Unavailable);
        world.disk.heal();
    };
    let (drained, ()) = tokio::join!(draining, refused);
    assert!(drained);
}
