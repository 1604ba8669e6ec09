//! Copies of branes that come to nothing.

use avvy_model::TraceId;
use avvy_persistence::Life;

use super::*;
use crate::Duplicate;

impl World {
    /// Asks for a copy: what it is answered, and what has become of it.
    async fn copy(&self) -> (Result<(), Code>, Life) {
        let id = BraneId::new(Uuid::new_v4());
        let trace = TraceId::new(Uuid::new_v4());
        let duplicate =
            Duplicate { record: self.record(id), key: [7; 16], client: client(), trace };
        let made = self.system.duplicate(self.brane, &self.claims, duplicate).await;
        self.disk.heal();
        let life = self.store.brane(id).await.unwrap().life;
        (made.map(drop).map_err(|denied| denied.code), life)
    }
}

/// An hour of such copies could fill the disk.
#[tokio::test]
async fn what_was_written_of_a_copy_that_failed_is_purged_at_once() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    session.create(channel, 1).await;
    for fails in [StoreOperation::Open, StoreOperation::Append, StoreOperation::ChangeBrane] {
        let mut is_first = true;
        world.disk.plan(move |operation, _| match operation == fails {
            true if std::mem::take(&mut is_first) => Fault::FailBefore,
            _ => Fault::None,
        });
        let (made, life) = world.copy().await;
        assert_eq!(made, Err(Code::Unavailable), "{fails:?}");
        assert!(matches!(life, Life::Purged { .. }), "{fails:?}: {life:?}");
    }
    // One that is made, and whose answer is lost, stays.
    world.disk.plan(|operation, _| match operation {
        StoreOperation::ChangeBrane => Fault::FailAfter,
        _ => Fault::None,
    });
    assert_eq!(world.copy().await, (Err(Code::Unavailable), Life::Active));
    assert_eq!(world.copy().await, (Ok(()), Life::Active));
}
