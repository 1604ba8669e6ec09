//! Edits that are too much for the journal, on the store that is shipped.

use avvy_model::{DeleteMode, PropKey, TraceId, Value, ValueLimits};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};

use super::*;
use crate::{WriteRequest, Written};

pub(super) fn heavy() -> Props {
    let key = |name| PropKey::new(name, &ValueLimits::default()).unwrap();
    let half = Value::text(&"x".repeat(8_100));
    let entries = vec![(key("a"), half.clone()), (key("b"), half)];
    Props::from_entries(entries, &ValueLimits::default()).unwrap()
}

fn delete(handle: u32) -> Operation {
    let target = Target::Handle(Handle(handle));
    Operation::Delete { target, mode: DeleteMode::Subtree }
}

impl World {
    async fn write(&self, client: ClientId, counter: u64, edit: Edit) -> Written {
        self.write_to(self.brane, client, counter, edit).await
    }

    pub(super) async fn write_to(
        &self,
        brane: BraneId,
        client: ClientId,
        counter: u64,
        edit: Edit,
    ) -> Written {
        let edits = vec![NumberedEdit { counter: Counter(counter), edit }];
        let trace = TraceId::new(Uuid::new_v4());
        let request = WriteRequest { client, known: false, edits, trace };
        self.system.write(brane, &self.claims, request).await.unwrap()
    }
}

#[tokio::test]
async fn a_deletion_that_no_chunk_could_hold_is_refused_and_the_brane_lives() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::at(directory.path())).unwrap();
    let world = World::on(Arc::new(store), MemoryDisk::new(), SystemConfig::default()).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    let me = client();
    world.write(me, 1, Edit::One(create(Kind::Group, Props::default()))).await;
    for n in 0..22 {
        let within = |operation| match operation {
            Operation::Create { id, kind, transform, props, .. } => {
                let parent = Target::Handle(Handle(1));
                Operation::Create { id, parent, kind, transform, props }
            }
            other => other,
        };
        let blocks = (0..50).map(|_| within(create(Kind::Block, heavy()))).collect();
        let written = world.write(me, 2 + n, Edit::Batch(blocks)).await;
        assert!(written.outcomes[0].1.is_ok());
    }
    for counter in [90, 91] {
        let refused = world.write(me, counter, Edit::One(delete(1))).await;
        assert_eq!(refused.outcomes[0].1.unwrap_err().code, Code::EditTooLarge);
    }
    // Nobody was sent away, and what is possible still is.
    let Position { epoch, seq } = session.create(channel, 1).await;
    assert_eq!((epoch.0, seq), (1, Seq(24)));
    for (bite, counter) in [2..402, 402..802].into_iter().zip(100..) {
        let written = world.write(me, counter, Edit::Batch(bite.map(delete).collect())).await;
        assert!(written.outcomes[0].1.is_ok());
    }
    let written = world.write(me, 110, Edit::One(delete(1))).await;
    assert_eq!(written.outcomes[0].1, Ok(Seq(27)));
    assert_eq!(world.system.view(world.brane, &world.claims).await.unwrap().world.len(), 2);
    assert!(world.system.drain(PATIENCE).await);
}
