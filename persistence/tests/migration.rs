//! Files of older versions are read, and files of newer ones refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use avvy_model::{Epoch, Seq, Visibility};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use avvy_persistence::{BraneFilter, BraneRecord, Life, Store, StoreError};
use bytes::Bytes;
use common::{body, brane, chunk, record};
use rusqlite::Connection;

/// A journal file of version 1: two branes, one with three chunks.
const VERSION_1: &str = include_str!("fixtures/journal-v1.sql");

fn lay(directory: &Path, sql: &str) {
    std::fs::create_dir_all(directory).unwrap();
    let db = Connection::open(directory.join("avvyland.sqlite")).unwrap();
    db.execute_batch(sql).unwrap();
}

fn version(directory: &Path) -> u32 {
    let db = Connection::open(directory.join("avvyland.sqlite")).unwrap();
    db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// The same file after its migration to version 2.
const VERSION_2: &str = include_str!("fixtures/journal-v2.sql");

/// The same file after its migration to version 3.
const VERSION_3: &str = include_str!("fixtures/journal-v3.sql");

/// The same file after its migration to version 4.
const VERSION_4: &str = include_str!("fixtures/journal-v4.sql");

/// The same file after its migration to version 5.
const VERSION_5: &str = include_str!("fixtures/journal-v5.sql");

/// The same file after its migration to version 6.
const VERSION_6: &str = include_str!("fixtures/journal-v6.sql");

/// The version that is written now.
const CURRENT: u32 = 7;

#[tokio::test]
async fn version_1_becomes_the_current_one() {
    becomes_the_current_one(VERSION_1).await;
}

#[tokio::test]
async fn version_2_becomes_the_current_one() {
    becomes_the_current_one(VERSION_2).await;
}

#[tokio::test]
async fn version_3_becomes_the_current_one() {
    becomes_the_current_one(VERSION_3).await;
}

#[tokio::test]
async fn version_4_becomes_the_current_one() {
    becomes_the_current_one(VERSION_4).await;
}

#[tokio::test]
async fn version_5_becomes_the_current_one() {
    becomes_the_current_one(VERSION_5).await;
}

#[tokio::test]
async fn version_6_becomes_the_current_one() {
    becomes_the_current_one(VERSION_6).await;
}

/// Nobody knows who archived a brane before, so its owner opens it again.
#[tokio::test]
async fn what_was_archived_before_is_not_by_an_operator() {
    let root = tempfile::tempdir().unwrap();
    lay(root.path(), VERSION_6);
    let store = SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
    let life = Life::Archived { since_ms: 5, successor: Some(brane(1)) };
    let archived = BraneRecord { life, version: 2, ..record(2) };
    assert_eq!(store.brane(brane(2)).await.unwrap(), record(2));
    store.update_brane(archived.clone(), 1).await.unwrap();
    let theirs = BraneRecord { by_operator: true, version: 3, ..archived };
    store.update_brane(theirs.clone(), 2).await.unwrap();
    assert_eq!(store.brane(brane(2)).await.unwrap(), theirs);
}

#[tokio::test]
async fn a_record_of_before_is_changed_like_any_other() {
    let root = tempfile::tempdir().unwrap();
    lay(root.path(), VERSION_5);
    let next = BraneRecord { description: "new".to_owned(), version: 2, ..record(1) };
    for _ in 0..2 {
        let store = SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
        store.update_brane(next.clone(), 1).await.unwrap();
        assert_eq!(store.brane(brane(1)).await.unwrap(), next);
        store.close().await.unwrap();
    }
    for spoils in [
        "description = ''",
        "tags = 'a'",
        "version = 1",
        "life = 1, since_ms = 1",
        "by_operator = 1",
        "by_operator = 2",
    ] {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(root.path()).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        lay(copy.path(), &format!("UPDATE branes SET {spoils} WHERE no = 1"));
        let store = SqliteStore::open(&SqliteOptions::at(copy.path())).unwrap();
        let answer = store.brane(brane(1)).await;
        assert!(matches!(answer, Err(StoreError::Damaged { .. })), "{spoils}: {answer:?}");
    }
}

async fn becomes_the_current_one(old: &str) {
    let root = tempfile::tempdir().unwrap();
    lay(root.path(), old);
    for life in 0..2 {
        let store = SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
        for nth in 1..=2 {
            let found = store.brane(brane(nth)).await.unwrap();
            assert_eq!(found, record(nth), "nobody was asked, so it is private");
            assert_eq!(found.visibility, Visibility::Private);
        }
        let page = store.branes(BraneFilter::OwnedBy(record(1).owner), None, 10).await.unwrap();
        assert_eq!(page.branes.len(), 2);
        let opened = store.open(brane(1)).await.unwrap();
        assert_eq!((opened.epoch, opened.head), (Epoch(3 + life), Seq(3 + life)));
        assert_eq!(opened.lineage[..2], [(Epoch(1), Seq(0)), (Epoch(2), Seq(2))]);
        let chunks = store.read_chunks(brane(1), Seq(0), 10_000).await.unwrap();
        assert!(chunks.iter().all(|chunk| chunk.body == body(1, chunk.from.0, chunk.to.0)));
        let next = chunk(1, opened.epoch, opened.head.0, opened.head.0 + 1);
        assert_eq!(store.append(vec![next]).await.unwrap(), [Ok(())]);
        store.put_meta("new", Bytes::from_static(b"of version 2")).await.unwrap();
        assert_eq!(store.verify_brane(brane(1)).await.unwrap().damage_count, 0);
        store.close().await.unwrap();
        assert_eq!(version(root.path()), CURRENT);
    }
    assert_eq!(tables(root.path()), tables(fresh().path()), "a file made now has the same tables");
    lay(root.path(), "UPDATE chunks SET checksum = checksum + 1 WHERE key & 0xff = 5");
    let store = SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
    assert_eq!(store.open(brane(1)).await.unwrap().head, Seq(4));
    assert_eq!(store.verify_brane(brane(1)).await.unwrap().cuts.len(), 1);
}

fn fresh() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(&SqliteOptions::at(root.path())).unwrap());
    root
}

/// Every table, index and view.
fn tables(directory: &Path) -> Vec<String> {
    let db = Connection::open(directory.join("avvyland.sqlite")).unwrap();
    let sql = "SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1";
    let mut statement = db.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_damaged_record_stops_the_migration_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    lay(root.path(), VERSION_1);
    lay(root.path(), "UPDATE branes SET name = 'other' WHERE no = 2");
    for _ in 0..2 {
        let answer = SqliteStore::open(&SqliteOptions::at(root.path())).map(drop);
        assert!(matches!(answer, Err(StoreError::Damaged { .. })), "{answer:?}");
        assert_eq!(version(root.path()), 1);
    }
}

#[tokio::test]
async fn newer_versions_and_foreign_files_are_refused() {
    let newer = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(&SqliteOptions::at(newer.path())).unwrap());
    lay(newer.path(), "PRAGMA user_version = 8");
    let answer = SqliteStore::open(&SqliteOptions::at(newer.path())).map(drop);
    assert_eq!(answer, Err(StoreError::NewerSchema { found: CURRENT + 1, known: CURRENT }));

    let foreign = tempfile::tempdir().unwrap();
    lay(foreign.path(), "CREATE TABLE photos (name TEXT)");
    let answer = SqliteStore::open(&SqliteOptions::at(foreign.path())).map(drop);
    assert!(matches!(answer, Err(StoreError::Damaged { .. })), "{answer:?}");
}
