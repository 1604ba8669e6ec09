//! A store with a cache in the process passes the suite, and reads less.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use avvy_persistence::cache::{CacheOptions, CachedRecords, CachedStore, Caches};
use avvy_persistence::memory::MemoryDisk;
use avvy_persistence::records::{
    Collection, Commit, CommitId, Draft, Expect, Fields, RecordKey, RecordWrite, Records,
};
use avvy_persistence::testing::{self, Fixture, MemoryFixture, RecordsFixture, Verdict};
use avvy_persistence::{BoxFuture, Place, Store, StoreError};
use common::{brane, record};

/// A memory store; each life of it has a cache of its own.
struct Cached {
    under: MemoryFixture,
    store: Arc<CachedStore>,
    records: Arc<CachedRecords>,
}

impl Cached {
    fn new() -> Self {
        let under = MemoryFixture::new();
        let (store, records) = (cached(under.store()), cached_records(under.records()));
        Self { under, store, records }
    }

    fn again(&mut self, outcome: Verdict) -> Verdict {
        self.store = cached(self.under.store());
        self.records = cached_records(self.under.records());
        outcome
    }
}

fn cached(store: Arc<dyn Store>) -> Arc<CachedStore> {
    Arc::new(CachedStore::new(store, &Caches::local(CacheOptions::default())))
}

fn cached_records(records: Arc<dyn Records>) -> Arc<CachedRecords> {
    Arc::new(CachedRecords::new(records, &Caches::local(CacheOptions::default())))
}

impl RecordsFixture for Cached {
    fn records(&self) -> Arc<dyn Records> {
        self.records.clone()
    }
}

impl Fixture for Cached {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn reopen(&mut self) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            self.store.close().await?;
            let outcome = self.under.reopen().await;
            self.again(outcome)
        })
    }

    fn crash(&mut self) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            let outcome = self.under.crash().await;
            self.again(outcome)
        })
    }

    fn damage(&mut self, place: Place) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            let outcome = self.under.damage(place).await;
            self.again(outcome)
        })
    }
}

#[tokio::test]
async fn a_cached_store_conforms() {
    let failures = testing::run_all(|| Box::new(Cached::new())).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn a_record_is_read_once_and_seen_as_soon_as_it_is_there() {
    let disk = MemoryDisk::new();
    let store = cached(Arc::new(disk.mount()));
    for _ in 0..3 {
        assert_eq!(store.brane(brane(1)).await, Err(StoreError::UnknownBrane(brane(1))));
    }
    store.create_brane(record(1)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(store.brane(brane(1)).await, Ok(record(1)));
    }
    // Two reads and the write.
    assert_eq!(disk.counts().0, 3);
    let status = store.cache_status().unwrap();
    assert_eq!((status.tiers[0].kind, status.tiers[0].hits), ("brane", 4));
    assert_eq!(status.shared, None);
}

#[tokio::test]
async fn cached_records_conform() {
    let failures = testing::run_records(|| Box::new(Cached::new())).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

static USERS: Collection = Collection { name: "users", indexes: &[] };

#[tokio::test(start_paused = true)]
async fn a_document_is_read_once_until_it_is_written() {
    let disk = MemoryDisk::new();
    let caches = Caches::local(CacheOptions::default());
    let records = CachedRecords::new(Arc::new(disk.mount()), &caches);
    let key = || RecordKey::new("ada").unwrap();
    let says = async |now_s| {
        let found = records.get(&USERS, key(), now_s).await.unwrap();
        found.and_then(|found| found.body.int("says"))
    };
    let commit = async |nth: u128, write: RecordWrite| {
        let id = CommitId(uuid::Uuid::from_u128(nth));
        records.commit(Commit { id, writes: vec![write] }, 5).await.unwrap()
    };
    let put = |nth: i64| Draft::new(Fields::new().with("says", nth)).until(9);
    for _ in 0..3 {
        assert_eq!(says(5).await, None);
    }
    assert!(commit(1, RecordWrite::create(&USERS, key(), put(1))).await.is_ok());
    for _ in 0..3 {
        assert_eq!(says(5).await, Some(1));
    }
    // It ends in the cache as it does in the store.
    assert_eq!([says(8).await, says(9).await], [Some(1), None]);
    // One read of each, and the write.
    assert_eq!(disk.counts().0, 3);
    // Who is refused reads what is there.
    assert!(commit(2, RecordWrite::create(&USERS, key(), put(2))).await.is_err());
    assert_eq!(says(5).await, Some(1));
    assert_eq!(disk.counts().0, 5);
    assert!(commit(3, RecordWrite::delete(&USERS, key(), Expect::Present)).await.is_ok());
    assert_eq!(says(5).await, None);
    let status = caches.status();
    assert_eq!((status.tiers[0].kind, status.tiers[0].store_reads), ("record", 4));
}
