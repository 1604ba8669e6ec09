//! The chronicle of rights.

use std::sync::Arc;

use avvy_actors::{BraneCursor, BraneRecord, Chronicle, RulingRecord, Rulings};
use avvy_catalog::{Catalog, MAX_RULINGS};
use avvy_model::{BraneId, Role, RoleName, Ruled, Sanction, Seq, Standing, UserId};
use avvy_persistence::records::Records;

use super::{ADA, BOB, NOW_S, catalog, fresh};

const NOW_MS: u64 = NOW_S * 1_000;

fn brane(created_ms: u64) -> Arc<BraneRecord> {
    Arc::new(BraneRecord::new(BraneId::new(fresh()), ADA, created_ms))
}

fn about(seq: u64, user: UserId, after: Standing) -> RulingRecord {
    let ruled = Ruled::Standing { user, before: Standing::default(), after };
    RulingRecord { seq: Seq(seq), at_ms: NOW_MS, by: ADA, ruled }
}

fn appoint(seq: u64, user: UserId) -> RulingRecord {
    let role = Some(RoleName::Known(Role::Editor));
    about(seq, user, Standing { role, ..Standing::default() })
}

fn dismiss(seq: u64, user: UserId) -> RulingRecord {
    about(seq, user, Standing::default())
}

async fn keep(catalog: &Catalog, record: &Arc<BraneRecord>, made: Vec<RulingRecord>) {
    catalog.keep(Rulings { record: Arc::clone(record), made }).await.unwrap();
}

async fn branes_of(catalog: &Catalog, user: UserId) -> Vec<BraneCursor> {
    catalog.memberships(user, None, 100, NOW_MS).await.unwrap()
}

/// All of a brane's, page by page.
async fn all(catalog: &Catalog, brane: BraneId, page: u32) -> Vec<RulingRecord> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.rulings(brane, after, page, NOW_S).await.unwrap();
        all.extend(page.rulings);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

pub async fn every_ruling_is_kept_once_newest_first(records: &Arc<dyn Records>) {
    let catalog = catalog(records);
    let (here, there) = (brane(1), brane(2));
    // More than go into one commit.
    let made: Vec<_> = (1..=150).map(|n| appoint(2 * n, UserId::new(fresh()))).collect();
    keep(&catalog, &here, made[..100].to_vec()).await;
    keep(&catalog, &here, made.clone()).await;
    keep(&catalog, &there, vec![appoint(7, BOB)]).await;
    let newest_first: Vec<_> = made.into_iter().rev().collect();
    assert_eq!(all(&catalog, here.id, 40).await, newest_first);
    assert_eq!(all(&catalog, there.id, 40).await, [appoint(7, BOB)]);
}

pub async fn a_user_finds_the_branes_that_gave_them_a_role(records: &Arc<dyn Records>) {
    let catalog = catalog(records);
    let branes: Vec<_> = (1..=5).map(brane).collect();
    for record in &branes {
        keep(&catalog, record, vec![appoint(1, BOB), appoint(2, ADA), dismiss(3, ADA)]).await;
    }
    let places: Vec<_> = branes.iter().map(|record| record.cursor()).collect();
    assert_eq!(branes_of(&catalog, BOB).await, places);
    assert_eq!(branes_of(&catalog, ADA).await, []);
    let page = catalog.memberships(BOB, Some(places[1]), 2, NOW_MS).await.unwrap();
    assert_eq!(page, places[2..4]);
    keep(&catalog, &branes[0], vec![dismiss(4, BOB)]).await;
    assert_eq!(branes_of(&catalog, BOB).await, places[1..]);
}

pub async fn who_is_banned_finds_the_brane_when_that_is_over(records: &Arc<dyn Records>) {
    let catalog = catalog(records);
    let (for_a_while, for_ever) = (brane(1), brane(2));
    let banned = |until_ms| Standing {
        role: Some(RoleName::Known(Role::Visitor)),
        ban: Some(Sanction { until_ms }),
        mute: None,
    };
    keep(&catalog, &for_a_while, vec![about(1, BOB, banned(Some(NOW_MS + 1)))]).await;
    keep(&catalog, &for_ever, vec![about(1, BOB, banned(None))]).await;
    assert_eq!(branes_of(&catalog, BOB).await, []);
    let later = catalog.memberships(BOB, None, 100, NOW_MS + 1).await.unwrap();
    assert_eq!(later, [for_a_while.cursor()]);
    let is_member = async |user, record: &Arc<BraneRecord>, now_ms| {
        catalog.is_member(user, record.id, now_ms).await.unwrap()
    };
    assert!(!is_member(BOB, &for_a_while, NOW_MS).await);
    assert!(is_member(BOB, &for_a_while, NOW_MS + 1).await);
    assert!(!is_member(BOB, &for_ever, NOW_MS + 1).await);
    assert!(!is_member(ADA, &for_a_while, NOW_MS + 1).await);
}

pub async fn an_older_ruling_takes_nothing_back(records: &Arc<dyn Records>) {
    let catalog = catalog(records);
    let record = brane(1);
    keep(&catalog, &record, vec![appoint(1, BOB), dismiss(9, BOB)]).await;
    // As from a node that tells late what it held.
    keep(&catalog, &record, vec![appoint(1, BOB)]).await;
    assert_eq!(branes_of(&catalog, BOB).await, []);
    assert_eq!(all(&catalog, record.id, 10).await.len(), 2);
}

pub async fn of_too_many_rulings_the_oldest_go(records: &Arc<dyn Records>) {
    let catalog = catalog(records);
    let record = brane(1);
    let made: Vec<_> = (1..=MAX_RULINGS + 40).map(|n| appoint(n, BOB)).collect();
    keep(&catalog, &record, made.clone()).await;
    let newest_first: Vec<_> = made.into_iter().skip(40).rev().collect();
    assert!(all(&catalog, record.id, 200).await == newest_first);
    assert_eq!(branes_of(&catalog, BOB).await, [record.cursor()]);
}

pub async fn a_brane_that_is_no_more_is_forgotten(records: &Arc<dyn Records>) {
    let catalog = catalog(records);
    let (gone, stays) = (brane(1), brane(2));
    let many: Vec<_> = (1..=200).map(|n| appoint(n, UserId::new(fresh()))).collect();
    keep(&catalog, &gone, many).await;
    keep(&catalog, &gone, vec![appoint(201, BOB)]).await;
    keep(&catalog, &stays, vec![appoint(1, BOB)]).await;
    catalog.forget_rulings(gone.id, NOW_S).await.unwrap();
    assert_eq!(all(&catalog, gone.id, 40).await, []);
    assert_eq!(branes_of(&catalog, BOB).await, [stays.cursor()]);
}
