//! Records that change while branes are open.

use avvy_persistence::Life;

use super::fleet::{Pair, config};
use super::*;
use crate::{Author, BraneChange, BranePatch};

fn renamed(name: &str) -> BraneChange {
    BraneChange::Patch(BranePatch { name: Some(name.to_owned()), ..BranePatch::default() })
}

impl World {
    async fn change(&self, change: BraneChange) -> Result<BraneRecord, Code> {
        let author = Author::User(&self.claims);
        let changed = self.system.change_brane(self.brane, author, change, |_| true).await;
        changed.map_err(|denied| denied.code)
    }
}

#[tokio::test]
async fn a_change_is_for_the_node_that_holds_the_brane() {
    let Pair { one, two, .. } = Pair::new(config()).await;
    one.system.view(one.brane, &one.claims).await.unwrap();
    for change in [renamed("Hall"), BraneChange::Delete] {
        let author = Author::User(&two.claims);
        let denied = two.system.change_brane(two.brane, author, change, |_| true).await;
        let denied = denied.unwrap_err();
        assert_eq!((denied.code, denied.address.as_deref()), (Code::Moved, Some("http://one")));
    }
    assert_eq!(one.change(renamed("Hall")).await.unwrap().name, "Hall");
    assert_eq!(two.system.any_brane(two.brane).await.unwrap().version, 2);
    one.change(BraneChange::Delete).await.unwrap();
    // Once it is closed it is nobody's.
    let closed = async {
        while !one.system.status().await.unwrap().branes.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
}

/// Whoever slept over the lease does not go on with a brane that is deleted.
#[tokio::test]
async fn a_change_of_what_a_lapsed_node_held_reaches_those_who_are_there() {
    let Pair { fleet, one, two, nodes } = Pair::new(config()).await;
    let mut session = one.connect().await;
    session.join(one.brane, client(), None).await;
    let deleted = async {
        loop {
            // It may be renewed before the change.
            fleet.lapse(nodes[0]);
            match two.change(BraneChange::Delete).await {
                Ok(deleted) => return deleted,
                Err(code) => assert_eq!(code, Code::Moved),
            }
        }
    };
    let deleted = timeout(PATIENCE, deleted).await.unwrap();
    assert!(matches!(deleted.life, Life::Doomed { .. }), "{deleted:?}");
    session.left().await;
    assert_eq!(session.denied(one.brane).await.code, Code::NotFound);
}

#[tokio::test]
async fn what_changes_while_a_brane_opens_counts_when_it_is_open() {
    let world = World::new(SystemConfig::default()).await;
    for round in 0..20 {
        world.system.close_brane(world.brane);
        let name = format!("Hall {round}");
        let (viewed, changed) = tokio::join!(
            world.system.view(world.brane, &world.claims),
            world.change(renamed(&name))
        );
        viewed.unwrap();
        assert_eq!(changed.unwrap().name, name);
        let seen = world.system.view(world.brane, &world.claims).await.unwrap();
        assert_eq!(seen.record.name, name, "round {round}");
    }
}

#[tokio::test]
async fn a_change_whose_outcome_is_unknown_is_seen_all_the_same() {
    let world = World::new(SystemConfig::default()).await;
    world.system.view(world.brane, &world.claims).await.unwrap();
    world.disk.plan(|operation, _| match operation {
        StoreOperation::ChangeBrane => Fault::FailAfter,
        _ => Fault::None,
    });
    assert_eq!(world.change(renamed("Hall")).await, Err(Code::Unavailable));
    world.disk.heal();
    let seen = world.system.view(world.brane, &world.claims).await.unwrap();
    assert_eq!((seen.record.name.as_str(), seen.record.version), ("Hall", 2));
}

/// A commit can be done after its call was given up.
#[tokio::test]
async fn what_was_stored_too_late_is_told_when_it_is_asked_for_again() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    session.join(world.brane, client(), None).await;
    let life = Life::Doomed { since_ms: 1, purge_ms: u64::MAX >> 1 };
    let deleted = BraneRecord { life, version: 2, ..world.record(world.brane) };
    world.store.update_brane(deleted.clone(), 1).await.unwrap();
    assert_eq!(world.change(BraneChange::Delete).await, Ok(deleted));
    assert_eq!(session.left().await, (Some(Code::BraneDeleted), None));
}

/// Making and deleting branes has an end, and what is deleted can be restored.
#[tokio::test]
async fn of_deleted_branes_nobody_has_more_than_of_others() {
    let config = SystemConfig { max_branes_per_user: 3, ..SystemConfig::default() };
    let world = World::new(config).await;
    let delete = async |brane| {
        let author = Author::User(&world.claims);
        world.system.change_brane(brane, author, BraneChange::Delete, |_| true).await.unwrap();
    };
    delete(world.brane).await;
    for _ in 1..6 {
        let brane = BraneId::new(Uuid::new_v4());
        world.create_brane(brane).await;
        delete(brane).await;
    }
    let another = world.record(BraneId::new(Uuid::new_v4()));
    assert_eq!(world.system.create_brane(another.clone()).await, Err(Code::TooManyBranes));
    assert_eq!(world.change(BraneChange::Restore).await.unwrap().life, Life::Active);
    world.change(BraneChange::Delete).await.unwrap();
    world.store.purge_brane(world.brane, u64::MAX >> 1).await.unwrap();
    assert_eq!(world.system.create_brane(another).await, Ok(()));
}

/// Whoever has deleted much reads it in few pages, while others wait for that.
#[tokio::test]
async fn what_was_deleted_is_counted_by_the_page() {
    let world = World::new(SystemConfig { max_branes_per_user: 300, ..SystemConfig::default() });
    let world = world.await;
    let kept = world.record(world.brane);
    for nth in 0..500 {
        let (id, created_ms) = (BraneId::new(Uuid::new_v4()), 2 + nth);
        let life = Life::Doomed { since_ms: 1, purge_ms: u64::MAX >> 1 };
        let life = if nth < 298 { Life::Active } else { life };
        let record = BraneRecord { id, created_ms, life, ..kept.clone() };
        world.store.create_brane(record).await.unwrap();
    }
    let (before, _) = world.disk.counts();
    world.create_brane(BraneId::new(Uuid::new_v4())).await;
    let asked = world.disk.counts().0 - before;
    assert!(asked < 10, "the store was asked {asked} times");
}
