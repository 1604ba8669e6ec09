//! People on the stores of every build.
#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use avvy_persistence::cache::{CacheOptions, CachedRecords, Caches};
use avvy_persistence::memory::MemoryStore;
use avvy_persistence::records::Records;
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};

#[tokio::test]
async fn people_in_memory() {
    suite::run(async || Arc::new(MemoryStore::new()) as Arc<dyn Records>).await;
}

/// As the server has it: a cache before the store.
#[tokio::test]
async fn people_behind_a_cache() {
    suite::run(async || {
        let caches = Caches::local(CacheOptions::default());
        Arc::new(CachedRecords::new(Arc::new(MemoryStore::new()), &caches)) as Arc<dyn Records>
    })
    .await;
}

#[tokio::test]
async fn people_in_sqlite() {
    let root = tempfile::tempdir().unwrap();
    let next = AtomicU32::new(0);
    suite::run(async || {
        let nth = next.fetch_add(1, Ordering::Relaxed).to_string();
        let directory = root.path().join(nth);
        std::fs::create_dir(&directory).unwrap();
        let options = SqliteOptions { directory, ..SqliteOptions::default() };
        Arc::new(SqliteStore::open(&options).unwrap()) as Arc<dyn Records>
    })
    .await;
}
