//! A store with a cache in the process passes the suite, and reads less.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use avvy_persistence::cache::{CacheOptions, CachedStore, Caches};
use avvy_persistence::memory::MemoryDisk;
use avvy_persistence::testing::{self, Fixture, MemoryFixture, Verdict};
use avvy_persistence::{BoxFuture, Place, Store, StoreError};
use common::{brane, record};

/// A memory store; each life of it has a cache of its own.
struct Cached {
    under: MemoryFixture,
    store: Arc<CachedStore>,
}

impl Cached {
    fn new() -> Self {
        let under = MemoryFixture::new();
        let store = cached(under.store());
        Self { under, store }
    }

    fn again(&mut self, outcome: Verdict) -> Verdict {
        self.store = cached(self.under.store());
        outcome
    }
}

fn cached(store: Arc<dyn Store>) -> Arc<CachedStore> {
    Arc::new(CachedStore::new(store, &Caches::local(CacheOptions::default())))
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
