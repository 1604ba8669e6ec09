//! What is known of a transfer that was left.

use avvy_actors::SystemConfig;
use avvy_model::{
    ClientId, Code, Counter, Edit, EditId, Handle, Kind, ObjectId, Operation, Target, Transform,
};
use avvy_persistence::records::{
    Collection, Commit, CommitId, Draft, Index, IndexKey, RecordWrite, Records,
};
use futures_util::future::join;
use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

use crate::world::{self, ADA, Crowded, NOW_S, Power, When, World, claims, props};
use crate::{LATER_S, PATIENCE, is_placed, left, start, tree};

/// What came of the edit is known until the transfer has ended, whatever else its
/// user does, and however long nobody came to it.
#[tokio::test]
async fn what_was_left_is_remembered() {
    for goes_out in [true, false] {
        for is_reopened in [true, false] {
            let mut config = SystemConfig::default();
            let limits = &mut config.brane.limits;
            limits.clients_per_user = 4;
            limits.client_memory_ms = if is_reopened { 0 } else { limits.client_memory_ms };
            let world = World::with_config(config).await;
            let tree = tree(&world).await;
            left(&world, goes_out, tree.0.thing.id, true).await;
            if is_reopened {
                world::reopen(&world.system, world.brane).await;
            } else {
                for nth in 0..8 {
                    let edit = Edit::One(Operation::Create {
                        id: ObjectId::new(Uuid::from_u128(0x4000_8000_0000_0000_0100 + nth)),
                        parent: Target::Handle(Handle::ROOT),
                        kind: Kind::Block,
                        transform: Transform::IDENTITY,
                        props: props("one of many"),
                    });
                    world::edit(&world.system, world.brane, &claims(ADA), edit).await;
                }
            }
            let ended = world.catalog().end_transfers(&world.system, LATER_S, LATER_S).await;
            assert_eq!(ended, Ok(1));
            assert_eq!(is_placed(&world, &tree).await, goes_out, "{is_reopened}");
        }
    }
}

/// A program of before epochs gave each transfer a client of its own.
#[tokio::test]
async fn what_an_earlier_program_has_begun_is_ended() {
    static TRANSFERS: Collection =
        Collection { name: "transfers", indexes: &[Index::plain("by_begun")] };
    for goes_out in [true, false] {
        let world = World::new().await;
        let tree = tree(&world).await;
        let transfer = left(&world, goes_out, tree.0.thing.id, false).await;
        let records = world.records();
        let found = records.get(&TRANSFERS, transfer.into(), NOW_S).await.unwrap().unwrap();
        let mut body = found.body.clone();
        for name in ["number", "epoch"] {
            body.remove(name).unwrap();
        }
        let draft = Draft::new(body.with("client", Uuid::new_v4()))
            .found_by("by_begun", IndexKey::new().number(NOW_S));
        let writes = vec![RecordWrite::put(&TRANSFERS, transfer.into(), draft)];
        let commit = Commit { id: CommitId(Uuid::new_v4()), writes };
        records.commit(commit, NOW_S).await.unwrap().unwrap();
        world::reopen(&world.system, world.brane).await;
        let ended = world.catalog().end_transfers(&world.system, LATER_S, LATER_S).await;
        assert_eq!(ended, Ok(1));
        assert_eq!(is_placed(&world, &tree).await, goes_out);
    }
}

/// Begun at a node that has the brane by now; this one does not know it yet.
#[tokio::test]
async fn who_had_the_brane_before_says_nothing_of_what_came_later() {
    let world = World::new().await;
    let of = EditId { client: ClientId::of_transfers(ADA), counter: Counter(1) };
    let settled = |epoch| world.system.settle(world.brane, ADA, of, Some(epoch));
    let epoch = world.system.view(world.brane, &claims(ADA)).await.unwrap().at.epoch;
    let later = settled(epoch.next()).await.map_err(|denied| denied.code);
    assert_eq!(later, Err(Code::Unavailable));
    assert_eq!(settled(epoch).await, Ok(false));
}

/// One is told that nothing was done, and ends that when it was begun anew under
/// its name.
#[tokio::test]
async fn who_is_late_ends_nothing_that_was_begun_later() {
    let world = World::new().await;
    let tree = tree(&world).await;
    let (catalog, system, id) = (world.catalog(), &world.system, tree.0.thing.id);
    let transfer = Uuid::new_v4();
    let late = Crowded {
        system: system.clone(),
        code: Code::BraneFull,
        settled: Notify::new(),
        heard: Notify::new(),
    };
    let first = start(&catalog, &late, &world, true, transfer, id);
    let others = async {
        late.settled.notified().await;
        catalog.end_transfers(system, LATER_S, LATER_S).await.unwrap();
        assert!(!is_placed(&world, &tree).await);
        // The power is cut before the end.
        let power = Power::for_steps(3, When::Before);
        let (catalog, branes) = world.with(&power);
        let again = start(&catalog, &branes, &world, true, transfer, id).await;
        assert!(again.is_err() && power.is_cut(), "{again:?}");
        late.heard.notify_one();
    };
    let (first, ()) = timeout(PATIENCE, join(first, others)).await.unwrap();
    assert_eq!(first, Err(Code::Unavailable));
    catalog.end_transfers(system, LATER_S, LATER_S).await.unwrap();
    assert!(is_placed(&world, &tree).await);
}

#[tokio::test]
async fn what_a_full_brane_cannot_take_is_not_on_its_way() {
    let world = World::new().await;
    let tree = tree(&world).await;
    let (catalog, system, id) = (world.catalog(), &world.system, tree.0.thing.id);
    let full = Crowded {
        system: system.clone(),
        code: Code::BraneFull,
        settled: Notify::new(),
        heard: Notify::new(),
    };
    full.heard.notify_one();
    let transfer = Uuid::new_v4();
    let placed = start(&catalog, &full, &world, true, transfer, id).await;
    assert_eq!(placed, Err(Code::BraneFull));
    assert!(!is_placed(&world, &tree).await);
    start(&catalog, system, &world, true, transfer, id).await.unwrap();
    assert!(is_placed(&world, &tree).await);
}
