//! A device without room: edits are refused, and what frees room goes on.
#![allow(clippy::unwrap_used)]

mod common;

use avvy_model::{Epoch, Seq};
use avvy_persistence::powercut;
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use avvy_persistence::{CompactPolicy, Store, StoreError};
use common::{brane, chunk, record, snapshot};

fn policy() -> CompactPolicy {
    CompactPolicy { now_ms: u64::MAX, retention_ms: 0, max_journal_bytes: None, keep_snapshots: 1 }
}

async fn fill(store: &SqliteStore, epoch: Epoch, from: u64) -> Result<(), StoreError> {
    let mut write = chunk(1, epoch, from, from + 1);
    write.body = vec![from as u8; 20_000].into();
    let answers = store.append(vec![write]).await?;
    assert_eq!(answers, [Ok(())]);
    Ok(())
}

/// What is kept back is enough to compact, and what that frees is room again.
#[tokio::test]
async fn room_that_is_kept_back_lets_compaction_make_more() {
    let root = tempfile::tempdir().unwrap();
    let plenty = SqliteOptions { min_free_bytes: 0, ..SqliteOptions::at(root.path()) };
    let store = SqliteStore::open(&plenty).unwrap();
    store.create_brane(record(1)).await.unwrap();
    let epoch = store.open(brane(1)).await.unwrap().epoch;
    for from in 0..200 {
        fill(&store, epoch, from).await.unwrap();
    }
    snapshot(&store, 1, epoch, 200).await.unwrap();
    store.close().await.unwrap();

    // No device has so much room.
    let scarce = SqliteOptions { min_free_bytes: u64::MAX / 4, ..plenty.clone() };
    let store = SqliteStore::open(&scarce).unwrap();
    let epoch = store.open(brane(1)).await.unwrap().epoch;
    let refused = fill(&store, epoch, 200).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    let refused = snapshot(&store, 1, epoch, 200).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert!(refused.is_err_and(|error| error.is_retryable()));
    assert_eq!(store.compact(policy()).await.unwrap().chunks, 200);
    store.close().await.unwrap();

    let store = SqliteStore::open(&plenty).unwrap();
    let epoch = store.open(brane(1)).await.unwrap().epoch;
    let before = root.path().join("avvyland.sqlite").metadata().unwrap().len();
    for from in 200..300 {
        fill(&store, epoch, from).await.unwrap();
    }
    store.close().await.unwrap();
    let after = root.path().join("avvyland.sqlite").metadata().unwrap().len();
    assert_eq!(before, after, "edits do not take the room that compaction made");
}

/// A device that is full all the same loses nothing, and serves again as soon
/// as there is room.
#[tokio::test]
async fn a_full_device_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        vfs: Some(powercut::register().unwrap().to_owned()),
        min_free_bytes: 0,
        wal_bytes: 64 << 10,
        ..SqliteOptions::at(root.path())
    };
    let store = SqliteStore::open(&options).unwrap();
    store.create_brane(record(1)).await.unwrap();
    let epoch = store.open(brane(1)).await.unwrap().epoch;
    powercut::limit(root.path(), 2 << 20);
    let mut head = 0;
    let error = loop {
        match fill(&store, epoch, head).await {
            Ok(()) => head += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(head > 10, "full after {head} edits");
    for _ in 0..3 {
        assert!(fill(&store, epoch, head).await.is_err());
    }
    let report = store.verify_brane(brane(1)).await.unwrap();
    assert_eq!((report.head, report.damage_count), (Seq(head), 0));
    powercut::limit(root.path(), u64::MAX);
    for from in head..head + 10 {
        fill(&store, epoch, from).await.unwrap();
    }
    store.close().await.unwrap();
    let store = SqliteStore::open(&options).unwrap();
    let opened = store.open(brane(1)).await.unwrap();
    assert_eq!((opened.head, opened.torn), (Seq(head + 10), None));
}
