//! The catalog on the stores that need no server.
#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::Arc;
use std::time::Duration;

use avvy_catalog::{Catalog, LabelPatch, ObjectPatch};
use avvy_persistence::cache::{CacheOptions, CachedRecords, Caches};
use avvy_persistence::memory::{MemoryDisk, MemoryStore};
use avvy_persistence::records::Records;
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use suite::{ADA, BOB, NOW_S, block, fresh, label, says};

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

/// As the server has it: a cache before the store.
#[tokio::test]
async fn a_catalog_behind_a_cache() {
    suite::run_all(async || (cached(&Arc::new(MemoryStore::new())), ())).await;
}

fn cached(store: &Arc<MemoryStore>) -> Arc<dyn Records> {
    let caches = Caches::local(CacheOptions::default());
    Arc::new(CachedRecords::new(store.clone(), &caches))
}

/// By whoever asks on the same node; another one is behind for no longer than
/// its cache keeps anything, and changes what is there all the same.
#[tokio::test(start_paused = true)]
async fn what_is_read_is_read_once_until_it_changes() {
    let disk = MemoryDisk::new();
    let store = Arc::new(disk.mount());
    let records = cached(&store);
    let [here, beside] = [suite::catalog(&records), suite::catalog(&records)];
    let elsewhere = suite::catalog(&cached(&store));
    let object = here.create_object(ADA, fresh(), block("1"), NOW_S).await.unwrap().thing.id;
    let prototype = here.create_prototype(ADA, fresh(), label("p"), says("x"), NOW_S).await;
    let prototype = prototype.unwrap().thing.id;
    // The name of the object, and how often the store was asked.
    let look = async |catalog: &Catalog| {
        let before = disk.counts().0;
        let name = catalog.object(object, ADA, NOW_S).await.unwrap().thing.label.name;
        catalog.prototype(prototype, ADA, NOW_S).await.unwrap();
        catalog.usage(ADA, NOW_S).await.unwrap();
        assert!(catalog.object(object, BOB, NOW_S).await.is_err());
        assert!(catalog.thing(suite::NONE, BOB, NOW_S).await.is_err());
        (name, disk.counts().0 - before)
    };
    let rename = async |catalog: &Catalog, name: &str| {
        let label = LabelPatch { name: Some(name.to_owned()), ..LabelPatch::default() };
        let patch = ObjectPatch { label, ..ObjectPatch::default() };
        catalog.update_object(ADA, object, None, patch, fresh(), NOW_S).await.unwrap();
    };
    let says = |name: &str, reads| (name.to_owned(), reads);
    for catalog in [&here, &elsewhere] {
        assert_eq!(look(catalog).await, says("1", 4));
        assert_eq!(look(catalog).await, says("1", 0));
    }
    assert_eq!(look(&beside).await, says("1", 0));
    // The object and the account have changed.
    rename(&beside, "2").await;
    assert_eq!(look(&here).await, says("2", 2));
    assert_eq!(look(&here).await, says("2", 0));
    // What another node takes the account for is not what is there any more.
    rename(&elsewhere, "3").await;
    assert_eq!(look(&elsewhere).await.0, "3");
    tokio::time::advance(CacheOptions::default().max_stale + Duration::from_millis(1)).await;
    assert_eq!(look(&here).await, says("3", 4));
}
