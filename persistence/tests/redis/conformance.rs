//! A store with a cache over it passes the suite that every store passes.

use std::sync::Arc;

use avvy_persistence::cache::redis::Redis;
use avvy_persistence::cache::{CachedRecords, CachedStore, Caches};
use avvy_persistence::records::Records;
use avvy_persistence::testing::{
    self, Fixture, MemoryFixture, RecordsFixture, Verdict, redis_server,
};
use avvy_persistence::{BoxFuture, Place, Store};

use crate::help::{calm, patient};

/// A memory store; each life of it has caches of its own.
struct Cached {
    under: MemoryFixture,
    store: Arc<CachedStore>,
    records: Arc<CachedRecords>,
}

impl Cached {
    fn new() -> Self {
        let under = MemoryFixture::new();
        let (store, records) = Self::over(&under);
        Self { under, store, records }
    }

    /// In a namespace of its own: spoiling the store behind a cache's back is
    /// not a write.
    fn over(under: &MemoryFixture) -> (Arc<CachedStore>, Arc<CachedRecords>) {
        let redis = Redis::new(patient(&redis_server::shared())).unwrap();
        let caches = Caches::shared(calm(), redis);
        let records = Arc::new(CachedRecords::new(under.records(), &caches));
        (Arc::new(CachedStore::new(under.store(), &caches)), records)
    }

    async fn again(&mut self, outcome: Verdict) -> Verdict {
        (self.store, self.records) = Self::over(&self.under);
        outcome
    }
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
            self.again(outcome).await
        })
    }

    fn crash(&mut self) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            let outcome = self.under.crash().await;
            self.again(outcome).await
        })
    }

    fn damage(&mut self, place: Place) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            let outcome = self.under.damage(place).await;
            self.again(outcome).await
        })
    }
}

#[tokio::test]
async fn a_cached_store_conforms() {
    let failures = testing::run_all(|| Box::new(Cached::new())).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn cached_records_conform() {
    let failures = testing::run_records(|| Box::new(Cached::new())).await;
    assert!(failures.is_empty(), "{failures:#?}");
}
