//! The catalog on the stores that need no server.
#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::Arc;

use avvy_persistence::memory::MemoryStore;
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};

#[tokio::test]
async fn memory_has_a_catalog() {
    suite::run_all(async || (Arc::new(MemoryStore::new()) as _, ())).await;
}

#[tokio::test]
async fn sqlite_has_a_catalog() {
    suite::run_all(async || {
        let root = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
        (Arc::new(store) as _, root)
    })
    .await;
}
