//! What was promised of a brane, and whether it holds.
#![allow(clippy::unwrap_used, dead_code)]

use avvy_persistence::sqlite::SqliteStore;
use avvy_persistence::{Store, StoreError};

use super::{body, brane, part, record};

/// What the world was told of a brane.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub epoch: u64,
    /// The last edit acknowledged.
    pub durable: u64,
    /// The last edit that may be stored, as its call had not ended.
    pub perhaps: u64,
    /// The newest snapshot acknowledged.
    pub snapshot: Option<u64>,
    pub created: bool,
}

/// Opens a brane and holds it to what was told.
pub async fn open(store: &SqliteStore, nth: u8, told: &mut Told) -> Result<(), StoreError> {
    if !told.created {
        store.create_brane(record(nth)).await?;
        told.created = true;
    }
    assert_eq!(store.brane(brane(nth)).await?, record(nth));
    let opened = store.open(brane(nth)).await?;
    assert!(opened.epoch.0 > told.epoch, "an epoch was given twice");
    assert_eq!(opened.torn, None, "a transaction was stored in part");
    let head = opened.head.0;
    assert!(head >= told.durable, "LOST: {head} of {} edits", told.durable);
    assert!(head <= told.perhaps.max(told.durable), "edits from nowhere");
    let at = opened.snapshots.first().map(|info| info.at.0);
    assert!(at >= told.snapshot, "LOST: snapshot {at:?}, not {:?}", told.snapshot);
    if let Some(info) = opened.snapshots.first() {
        for index in 0..info.parts {
            let found = store.read_snapshot_part(brane(nth), info.id, index).await?;
            assert_eq!(found, part(nth, info.at.0, index), "a part of a snapshot");
        }
    }
    let mut after = store.verify_brane(brane(nth)).await?.oldest;
    assert!(after.0 <= at.unwrap_or(0).max(head), "a hole after the snapshot");
    while after.0 < head {
        for chunk in store.read_chunks(brane(nth), after, 10_000).await? {
            assert_eq!(chunk.from, after, "a hole");
            assert_eq!(chunk.body, body(nth, chunk.from.0, chunk.to.0), "a body");
            after = chunk.to;
        }
    }
    assert_eq!(after.0, head, "the journal's end");
    *told = Told { epoch: opened.epoch.0, durable: head, perhaps: head, snapshot: at, ..*told };
    Ok(())
}
