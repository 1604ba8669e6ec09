//! The upkeep of what is stored: deletes what is no longer kept, and ends what was
//! left between a brane and an inventory, now and then.

use std::sync::Arc;
use std::time::Duration;

use avvy_actors::System;
use avvy_catalog::Catalog;
use avvy_model::{BraneId, Code, UserId};
use avvy_persistence::records::{Records, SweepPlace};
use avvy_persistence::{BraneFilter, CompactPolicy, Store, StoreError};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};
use uuid::Uuid;

use crate::clock;

/// What is kept, and how often it is looked at.
pub struct Upkeep {
    /// The time between two looks.
    pub interval: Duration,
    /// How long journal is kept beyond need, in milliseconds.
    pub retention_ms: u64,
    /// Snapshots kept of every brane, the newest ones.
    pub keep_snapshots: u32,
    /// Records that have expired and are removed in one transaction, at most.
    pub sweep_batch: u32,
    /// Bytes of all journals together; `None`: no bound.
    pub max_journal_bytes: Option<u64>,
}

/// How old a transfer is that is ended, in seconds: who has begun it is not at
/// it any more.
const LEFT_S: u64 = 60;

/// Branes that are read at a time.
const BRANES: u32 = 100;

/// What is kept up.
pub struct Kept {
    /// The branes.
    pub store: Arc<dyn Store>,
    /// The records beside them.
    pub records: Arc<dyn Records>,
    /// What people own.
    pub catalog: Catalog,
    /// The branes that are open.
    pub system: System,
}

/// Runs until it is aborted.
pub async fn run(kept: Kept, upkeep: Upkeep) {
    let mut ticks = tokio::time::interval(upkeep.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    list_branes(kept.store.as_ref(), &kept.catalog).await;
    // Of what an earlier life of this process has begun, nobody is at anything.
    let mut begun_before_s = u64::MAX;
    loop {
        ticks.tick().await;
        end_transfers(&kept, begun_before_s).await;
        begun_before_s = clock::unix_s().saturating_sub(LEFT_S);
        purge(kept.store.as_ref(), &kept.catalog).await;
        sweep(kept.records.as_ref(), upkeep.sweep_batch).await;
        compact(kept.store.as_ref(), &upkeep).await;
    }
}

/// Has searches find all public branes, also those that were made before there
/// were searches, or just before the server was killed.
async fn list_branes(store: &dyn Store, catalog: &Catalog) {
    // Of nobody's, all that are left are public.
    let (nobody, mut after, mut damaged) = (UserId::new(Uuid::nil()), None, 0);
    loop {
        let page = store.branes(BraneFilter::VisibleTo(nobody), after, BRANES).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => return warn!(%error, "public branes could not be listed"),
        };
        for record in &page.branes {
            match catalog.list_brane(record.into(), clock::unix_s()).await {
                Ok(()) => {}
                // The others are found all the same.
                Err(refused) if refused.code == Code::Damaged => damaged += 1,
                Err(refused) => {
                    return warn!(code = %refused.code, "public branes could not be listed");
                }
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if damaged > 0 {
        warn!(damaged, "public branes are not found: what searches find of them is damaged");
    }
}

/// Ends transfers that nobody is at any more.
async fn end_transfers(kept: &Kept, begun_before_s: u64) {
    match kept.catalog.end_transfers(&kept.system, begun_before_s, clock::unix_s()).await {
        Ok(0) => {}
        Ok(ended) => info!(ended, "ended transfers that were left"),
        Err(refused) => warn!(code = %refused.code, "transfers that were left could not be read"),
    }
}

/// Purges deleted branes whose time has come, so many at a time. What one node
/// is at another one goes on with, so it does not matter which of them does it.
async fn purge(store: &dyn Store, catalog: &Catalog) {
    let (mut purged, mut after) = (0, None);
    while purged < BRANES {
        let page = store.branes(BraneFilter::Due(clock::unix_ms()), after, BRANES).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => return warn!(%error, "branes that are due could not be listed"),
        };
        for brane in page.branes.iter().map(|record| record.id) {
            match purge_one(store, catalog, brane).await {
                Ok(true) => {
                    info!(%brane, "purged a deleted brane");
                    purged += 1;
                }
                // It is still closing, or restored meanwhile.
                Ok(false) | Err(StoreError::Held { .. } | StoreError::NotDue(_)) => {}
                Err(error) => warn!(%brane, %error, "a deleted brane could not be purged"),
            }
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

/// What is kept of a brane elsewhere goes while it is due still, so that whoever
/// is cut off over it comes back to it; false if it has to be come back to.
async fn purge_one(
    store: &dyn Store,
    catalog: &Catalog,
    brane: BraneId,
) -> Result<bool, StoreError> {
    store.begin_purge(brane, clock::unix_ms()).await?;
    let record = store.brane(brane).await?;
    let forgotten = async {
        catalog.list_brane((&record).into(), clock::unix_s()).await?;
        catalog.forget_rulings(brane, clock::unix_s()).await
    };
    if let Err(refused) = forgotten.await {
        warn!(%brane, code = %refused.code, "what is kept of a deleted brane is still there");
        return Ok(false);
    }
    store.purge_brane(brane, clock::unix_ms()).await.map(|()| true)
}

/// Removes the records that have expired, batch by batch, past those that are
/// damaged.
async fn sweep(records: &dyn Records, batch: u32) {
    let (mut removed, mut commits, mut damaged) = (0, 0, 0);
    let mut from = Some(SweepPlace::default());
    while let Some(place) = from.take() {
        match records.sweep(clock::unix_s(), place, batch).await {
            Ok(swept) => {
                removed += swept.records;
                commits += swept.commits;
                damaged += swept.damaged;
                from = swept.next;
            }
            Err(error) => warn!(%error, "expired records could not be removed"),
        }
    }
    if damaged > 0 {
        warn!(damaged, "expired records that are damaged are still there");
    }
    if removed + commits > 0 {
        info!(records = removed, commits, "removed expired records and old commits");
    }
}

/// Deletes journal and snapshots that are no longer kept.
async fn compact(store: &dyn Store, upkeep: &Upkeep) {
    let policy = CompactPolicy {
        now_ms: clock::unix_ms(),
        retention_ms: upkeep.retention_ms,
        max_journal_bytes: upkeep.max_journal_bytes,
        keep_snapshots: upkeep.keep_snapshots,
    };
    match store.compact(policy).await {
        Ok(done) => {
            if done.skipped > 0 {
                warn!(skipped = done.skipped, "damaged branes are not compacted");
            }
            if done.chunks + done.snapshots > 0 {
                info!(chunks = done.chunks, snapshots = done.snapshots, "compacted the store");
            }
        }
        Err(error) => warn!(%error, "the store could not be compacted"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_actors::{Chronicle, RulingRecord, Rulings};
    use avvy_catalog::{CatalogLimits, Question};
    use avvy_model::{BraneId, NodeId, Role, Ruled, Seq, Standing, Visibility};
    use avvy_persistence::memory::{Fault, MemoryDisk, MemoryFleet, MemoryStore, Operation};
    use avvy_persistence::records::{
        Collection, Commit, CommitId, Draft, Fields, RecordKey, RecordWrite,
    };
    use avvy_persistence::{BraneKind, BraneRecord, Fleet, Life, Node, Place};

    use super::*;

    static NONCES: Collection = Collection { name: "nonces", indexes: &[] };

    #[tokio::test]
    async fn a_sweep_goes_on_until_nothing_is_left() {
        let records = MemoryStore::new();
        let now_s = clock::unix_s();
        let nonce = |nth| {
            let expires_s = if nth < 7 { now_s - 1 } else { now_s + 1_000_000 };
            let draft = Draft::new(Fields::new()).until(expires_s);
            RecordWrite::create(&NONCES, RecordKey::from(Uuid::from_u128(nth)), draft)
        };
        let commit =
            Commit { id: CommitId(Uuid::from_u128(1)), writes: (0..9).map(nonce).collect() };
        records.commit(commit, now_s).await.unwrap().unwrap();
        for nth in 0..5 {
            let key = RecordKey::from(Uuid::from_u128(nth)).to_string();
            assert!(records.disk().damage(&Place::Record { of: NONCES.name.into(), key }));
        }
        sweep(&records, 2).await;
        let report = records.verify_store().await.unwrap();
        assert_eq!((report.records, report.damages.len()), (2, 5));
    }

    #[tokio::test]
    async fn deleted_branes_are_purged_when_they_are_due() {
        let store = Arc::new(MemoryStore::new());
        let catalog = Catalog::new(store.clone(), CatalogLimits::default());
        let owner = UserId::new(Uuid::from_u128(9));
        let now_ms = clock::unix_ms();
        for (nth, purge_ms) in [(1, now_ms - 1), (2, now_ms + 3_600_000)] {
            let name = format!("Hall {nth}");
            let visibility = Visibility::Public;
            let id = BraneId::new(Uuid::from_u128(nth));
            let record = BraneRecord { name, visibility, ..BraneRecord::new(id, owner, 0) };
            store.create_brane(record.clone()).await.unwrap();
            catalog.list_brane((&record).into(), clock::unix_s()).await.unwrap();
            let life = Life::Doomed { since_ms: 0, purge_ms };
            store.update_brane(BraneRecord { life, version: 2, ..record }, 1).await.unwrap();
        }
        purge(store.as_ref(), &catalog).await;
        let life = async |nth| store.brane(BraneId::new(Uuid::from_u128(nth))).await.unwrap().life;
        assert!(matches!(life(1).await, Life::Purged { .. }));
        assert!(matches!(life(2).await, Life::Doomed { .. }));
        let found = catalog.search(&Question::default(), None, 9, clock::unix_s()).await.unwrap();
        let names = found.found.into_iter().map(|found| found.label.name);
        assert_eq!(names.collect::<Vec<_>>(), ["Hall 2"], "of what is purged nothing is found");
    }

    /// Whoever dies between the steps of a purge leaves nothing for good.
    #[tokio::test]
    async fn what_a_purged_brane_has_elsewhere_goes_first() {
        let store = Arc::new(MemoryStore::new());
        let catalog = Catalog::new(store.clone(), CatalogLimits::default());
        let [owner, guest] = [8, 9].map(|nth| UserId::new(Uuid::from_u128(nth)));
        let id = BraneId::new(Uuid::from_u128(1));
        let life = Life::Doomed { since_ms: 0, purge_ms: 1 };
        let record = BraneRecord { life, ..BraneRecord::new(id, owner, 0) };
        store.create_brane(record.clone()).await.unwrap();
        let after = Standing { role: Some(Role::Editor.into()), ..Standing::default() };
        let ruled = Ruled::Standing { user: guest, before: Standing::default(), after };
        let now_ms = clock::unix_ms();
        let made = vec![RulingRecord { seq: Seq(1), at_ms: now_ms, by: owner, ruled }];
        catalog.keep(Rulings { record: Arc::new(record), made }).await.unwrap();
        let places = async || catalog.memberships(guest, None, 9, now_ms).await.unwrap().len();
        assert_eq!(places().await, 1);
        store.disk().plan(|operation, _| match operation {
            Operation::WriteRecords => Fault::FailBefore,
            _ => Fault::None,
        });
        purge(store.as_ref(), &catalog).await;
        store.disk().heal();
        assert_eq!(places().await, 1);
        purge(store.as_ref(), &catalog).await;
        assert_eq!(places().await, 0);
        assert!(matches!(store.brane(id).await.unwrap().life, Life::Purged { .. }));
    }

    #[tokio::test]
    async fn what_cannot_be_purged_is_in_nobodys_way() {
        let fleet = MemoryFleet::new(MemoryDisk::new(), 1_000);
        let node = |nth: u128, address: &str| {
            let id = NodeId::new(Uuid::from_u128(nth));
            Arc::new(fleet.store(Node { id, address: address.to_owned() }))
        };
        let (holder, other) = (node(1, "http://one"), node(2, "http://two"));
        holder.enter().await.unwrap();
        let catalog = Catalog::new(other.clone(), CatalogLimits::default());
        let owner = UserId::new(Uuid::from_u128(9));
        let ids = (1..=u128::from(BRANES) + 1).map(|nth| BraneId::new(Uuid::from_u128(nth)));
        let ids: Vec<_> = ids.collect();
        for (created_ms, id) in (0..).zip(&ids) {
            let record = BraneRecord::new(*id, owner, created_ms);
            other.create_brane(record.clone()).await.unwrap();
            // All but the youngest are open elsewhere.
            if created_ms < u64::from(BRANES) {
                holder.open(*id).await.unwrap();
            }
            let life = Life::Doomed { since_ms: 0, purge_ms: 1 };
            holder.update_brane(BraneRecord { life, version: 2, ..record }, 1).await.unwrap();
        }
        purge(other.as_ref(), &catalog).await;
        let is_purged = async |id| {
            let life = other.brane(id).await.unwrap().life;
            matches!(life, Life::Purged { .. })
        };
        assert!(!is_purged(ids[0]).await);
        assert!(is_purged(ids[ids.len() - 1]).await);
    }

    #[tokio::test]
    async fn public_branes_that_nobody_listed_are_found() {
        let store = Arc::new(MemoryStore::new());
        let catalog = Catalog::new(store.clone(), CatalogLimits::default());
        for (nth, visibility) in [(1, Visibility::Public), (2, Visibility::Private)] {
            let record = BraneRecord {
                name: format!("Hall {nth}"),
                kind: BraneKind::Showcase,
                visibility,
                ..BraneRecord::new(
                    BraneId::new(Uuid::from_u128(nth)),
                    UserId::new(Uuid::from_u128(9)),
                    0,
                )
            };
            store.create_brane(record).await.unwrap();
        }
        let names = async || {
            let found = catalog.search(&Question::default(), None, 9, clock::unix_s()).await;
            let names = found.unwrap().found.into_iter().map(|found| found.label.name);
            names.collect::<Vec<_>>()
        };
        for _ in 0..2 {
            list_branes(store.as_ref(), &catalog).await;
            assert_eq!(names().await, ["Hall 1"]);
        }
        // What is damaged of one hides no other.
        let key = format!("brane.{}", Uuid::from_u128(1));
        assert!(store.disk().damage(&Place::Record { of: "found".into(), key }));
        let id = BraneId::new(Uuid::from_u128(3));
        let record = BraneRecord::new(id, UserId::new(Uuid::from_u128(9)), 1);
        let (name, visibility) = ("Hall 3".to_owned(), Visibility::Public);
        store.create_brane(BraneRecord { name, visibility, ..record }).await.unwrap();
        list_branes(store.as_ref(), &catalog).await;
        assert_eq!(names().await, ["Hall 3"]);
    }
}
