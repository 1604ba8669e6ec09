//! Looking at a data directory leaves every byte of it as it was.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use avvy_model::Seq;
use avvy_persistence::sqlite::{SqliteOptions, SqliteReader, SqliteStore};
use avvy_persistence::{BraneFilter, Store, StoreError};
use bytes::Bytes;
use common::{body, brane, chunk, contents, part, record, snapshot};
use rusqlite::Connection;

const EDITS: u64 = 40;

/// A store with a bit of everything.
async fn filled(directory: &Path) -> SqliteStore {
    let store = SqliteStore::open(&SqliteOptions::at(directory)).unwrap();
    store.put_meta("demo", Bytes::from_static(b"value")).await.unwrap();
    store.create_brane(record(1)).await.unwrap();
    let epoch = store.open(brane(1)).await.unwrap().epoch;
    for from in 0..EDITS {
        assert_eq!(store.append(vec![chunk(1, epoch, from, from + 1)]).await.unwrap(), [Ok(())]);
    }
    snapshot(&store, 1, epoch, 30).await.unwrap();
    store
}

/// Copies everything that a killed process leaves.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Looks at everything, and compares the directory before and after.
async fn look(directory: &Path) {
    let before = contents(directory);
    let store = SqliteReader::open(&SqliteOptions::at(directory)).unwrap();
    assert_eq!(store.meta("demo").await.unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.brane(brane(1)).await.unwrap(), record(1));
    assert_eq!(store.branes(BraneFilter::All, None, 9).await.unwrap().branes, [record(1)]);
    let report = store.verify_brane(brane(1)).await.unwrap();
    assert_eq!((report.head, report.chunks, report.damage_count), (Seq(EDITS), EDITS, 0));
    let store_report = store.verify_store().await.unwrap();
    assert_eq!((store_report.branes, store_report.damages), (1, vec![]));
    let chunks = store.read_chunks(brane(1), Seq(EDITS - 1), 10_000).await.unwrap();
    assert_eq!(chunks[0].body, body(1, EDITS - 1, EDITS));
    for index in 0..3 {
        let read = store.read_snapshot_part(brane(1), report.snapshots[0].id, index).await;
        assert_eq!(read.unwrap(), part(1, 30, index));
    }
    assert_eq!(store.open(brane(1)).await, Err(StoreError::ReadOnly));
    assert_eq!(store.create_brane(record(2)).await, Err(StoreError::ReadOnly));
    let taken = SqliteStore::open(&SqliteOptions::at(directory)).map(drop);
    let has_lock = before.contains_key("avvyland.lock");
    assert!(!has_lock || matches!(taken, Err(StoreError::InUse(_))), "{taken:?}");
    store.close().await.unwrap();
    drop(store);
    if has_lock {
        assert!(contents(directory) == before, "a file was changed, made or removed");
    }
}

#[tokio::test]
async fn a_closed_directory_is_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("what? 100 %#1");
    filled(&directory).await.close().await.unwrap();
    for _ in 0..2 {
        look(&directory).await;
    }
}

#[tokio::test]
async fn a_killed_process_leaves_logs_that_are_read_and_left() {
    let root = tempfile::tempdir().unwrap();
    let (live, left) = (root.path().join("live"), root.path().join("left"));
    let store = filled(&live).await;
    copy(&live, &left);
    assert!(left.join("avvyland.sqlite-wal").metadata().unwrap().len() > 0);
    store.close().await.unwrap();
    for _ in 0..2 {
        look(&left).await;
    }
    // Without the index of the log, too.
    for name in ["avvyland.sqlite-shm", "snapshots.sqlite-shm"] {
        fs::remove_file(left.join(name)).unwrap();
    }
    look(&left).await;
    let store = SqliteStore::open(&SqliteOptions::at(&left)).unwrap();
    assert_eq!(store.open(brane(1)).await.unwrap().head, Seq(EDITS));
}

#[tokio::test]
async fn what_a_process_has_is_not_looked_at() {
    let root = tempfile::tempdir().unwrap();
    let store = filled(root.path()).await;
    let options = SqliteOptions::at(root.path());
    let before = contents(root.path());
    let answer = SqliteReader::open(&options).map(drop);
    assert_eq!(answer, Err(StoreError::InUse(root.path().to_owned())));
    assert!(contents(root.path()) == before);
    store.close().await.unwrap();
    assert!(SqliteReader::open(&options).is_ok());
}

#[tokio::test]
async fn other_versions_and_empty_directories_are_refused_and_left() {
    let old = tempfile::tempdir().unwrap();
    filled(old.path()).await.close().await.unwrap();
    let db = Connection::open(old.path().join("avvyland.sqlite")).unwrap();
    db.execute_batch("PRAGMA user_version = 2").unwrap();
    drop(db);
    let empty = tempfile::tempdir().unwrap();
    for directory in [old.path(), empty.path()] {
        let before = contents(directory);
        let error = SqliteReader::open(&SqliteOptions::at(directory)).map(drop).unwrap_err();
        let is_older = matches!(error, StoreError::OlderSchema { found: 2, .. });
        assert_eq!(is_older, directory == old.path(), "{error}");
        assert!(contents(directory) == before);
    }
}
