//! What is known of a transfer that was left, and what it keeps others from.

use avvy_actors::SystemConfig;
use avvy_catalog::Place;
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

use crate::world::{
    self, ADA, Broken, Crowded, Down, NOW_S, Power, When, World, block, claims, props,
};
use crate::{LATER_S, PATIENCE, is_placed, left, place, start, tree};

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

/// A brane that cannot be opened keeps what is on its way there, and nothing else
/// that its user has.
#[tokio::test]
async fn a_damaged_brane_is_in_the_way_of_no_other() {
    let world = World::new().await;
    let tree = tree(&world).await;
    let (catalog, system, id) = (world.catalog(), &world.system, tree.0.thing.id);
    left(&world, true, id, true).await;
    let (brane, code) = (world.brane, Code::Damaged);
    let broken = Broken { system: system.clone(), brane, code };
    let elsewhere = world.another_brane().await;
    let other = catalog.create_object(ADA, Uuid::new_v4(), block("other"), NOW_S).await.unwrap();
    let other = other.thing.id;
    let placed = start(&catalog, &broken, &world, true, Uuid::new_v4(), other).await;
    assert_eq!(placed, Err(Code::Damaged), "into the same");
    for _ in 0..3 {
        let to = Place { brane: elsewhere, ..place(&world) };
        let moved = catalog.place(&broken, &claims(ADA), Uuid::new_v4(), other, to, NOW_S).await;
        assert_eq!(moved.map(|moved| moved.objects), Ok(vec![other]));
        let (transfer, object) = (Uuid::new_v4(), ObjectId::new(other));
        let taken = catalog.take(&broken, &claims(ADA), transfer, elsewhere, object, NOW_S).await;
        assert_eq!(taken.map(|moved| moved.objects), Ok(vec![other]));
    }
    let own = catalog.object(id, ADA, NOW_S).await.unwrap();
    assert!(own.thing.moving.is_some(), "it is on its way still");
    assert_eq!(catalog.end_transfers(system, LATER_S, LATER_S).await, Ok(1));
    catalog.delete_object(ADA, other, None, LATER_S).await.unwrap();
    assert!(is_placed(&world, &tree).await);
}

/// Not in so many that all of an inventory is on its way.
#[tokio::test]
async fn transfers_under_way_have_a_bound() {
    let world = World::new().await;
    let (catalog, system) = (world.catalog(), &world.system);
    let down = Down { system: system.clone(), but: None };
    let mut places = Vec::new();
    for nth in 0..9 {
        let brane = world.another_brane().await;
        let block = catalog.create_object(ADA, Uuid::new_v4(), block("one"), NOW_S).await;
        let (id, to) = (block.unwrap().thing.id, Place { brane, ..place(&world) });
        let placed = catalog.place(&down, &claims(ADA), Uuid::new_v4(), id, to, NOW_S).await;
        let code = if nth < 8 { Code::Unavailable } else { Code::InTransfer };
        assert_eq!(placed.map_err(|denied| denied.code), Err(code), "{nth}");
        places.push((id, to));
    }
    assert_eq!(catalog.end_transfers(system, LATER_S, LATER_S).await, Ok(8));
    let (id, to) = places[8];
    catalog.place(system, &claims(ADA), Uuid::new_v4(), id, to, NOW_S).await.unwrap();
    assert_eq!(catalog.usage(ADA, NOW_S).await.unwrap().objects, 0);
}

/// Whatever the brane had taken before: what is in no brane is with its user.
#[tokio::test]
async fn of_what_a_purged_brane_had_on_its_way_nothing_is_lost() {
    for (goes_out, is_written) in [(true, false), (true, true), (false, false), (false, true)] {
        let world = World::new().await;
        let tree = tree(&world).await;
        left(&world, goes_out, tree.0.thing.id, is_written).await;
        let (brane, code) = (world.brane, Code::NotFound);
        let purged = Broken { system: world.system.clone(), brane, code };
        let catalog = world.catalog();
        assert_eq!(catalog.end_transfers(&purged, LATER_S, LATER_S).await, Ok(1));
        for id in [tree.0.thing.id, tree.1.thing.id] {
            assert_eq!(catalog.object(id, ADA, LATER_S).await.unwrap().thing.moving, None);
        }
        assert_eq!(catalog.usage(ADA, LATER_S).await, catalog.recount(ADA, LATER_S).await);
    }
}
