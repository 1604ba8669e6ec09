//! The data directory: private, and one process's at a time.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::PermissionsExt;

use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use avvy_persistence::{Store, StoreError};
use common::record;

#[tokio::test]
async fn is_private() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("deep/data");
    let store = SqliteStore::open(&SqliteOptions::at(&directory)).unwrap();
    store.create_brane(record(1)).await.unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 7, "two databases, their logs and indices, and the lock");
}

#[tokio::test]
async fn has_one_owner() {
    let root = tempfile::tempdir().unwrap();
    let options = SqliteOptions::at(root.path());
    let store = SqliteStore::open(&options).unwrap();
    let second = SqliteStore::open(&options).map(drop);
    assert_eq!(second, Err(StoreError::InUse(root.path().to_owned())));
    store.close().await.unwrap();
    assert!(SqliteStore::open(&options).is_ok());
}

#[tokio::test]
async fn is_clean_when_closed() {
    let root = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
    store.create_brane(record(1)).await.unwrap();
    drop(store);
    let entries = std::fs::read_dir(root.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["avvyland.lock", "avvyland.sqlite", "snapshots.sqlite"]);
}

#[tokio::test]
async fn an_emptied_journal_is_not_a_new_one() {
    let root = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(&SqliteOptions::at(root.path())).unwrap());
    std::fs::File::create(root.path().join("avvyland.sqlite")).unwrap();
    let answer = SqliteStore::open(&SqliteOptions::at(root.path())).map(drop);
    assert!(matches!(answer, Err(StoreError::Damaged { .. })), "{answer:?}");
}

#[tokio::test]
async fn its_log_stays_short() {
    let root = tempfile::tempdir().unwrap();
    let options = SqliteOptions { wal_bytes: 256 << 10, ..SqliteOptions::at(root.path()) };
    let store = SqliteStore::open(&options).unwrap();
    store.create_brane(record(1)).await.unwrap();
    let epoch = store.open(common::brane(1)).await.unwrap().epoch;
    let mut longest = 0;
    for from in 0..1_500 {
        let mut write = common::chunk(1, epoch, from, from + 1);
        write.body = vec![1; 4_000].into();
        assert_eq!(store.append(vec![write]).await.unwrap(), [Ok(())]);
        let log = root.path().join("avvyland.sqlite-wal");
        longest = longest.max(log.metadata().unwrap().len());
    }
    // About 18 MB went through it.
    assert!(longest < 4 << 20, "the log grew to {longest} bytes");
}
