//! Stores a snapshot, beside everything else: the brane goes on meanwhile.

use avvy_brane::snapshot;
use avvy_flow::brane_core::SnapshotJob;
use avvy_model::BraneId;
use avvy_persistence::{SnapshotId, SnapshotStart, Store, StoreError};
use bytes::Bytes;

use crate::clock;

/// Encodes and stores the parts one by one. What fails is given up, so that
/// its parts take no room until the brane's next snapshot.
pub(crate) async fn store(
    store: &dyn Store,
    brane: BraneId,
    job: SnapshotJob,
) -> Result<(), StoreError> {
    let SnapshotJob { frozen, clients, at, state_hash } = job;
    let mut encoder = snapshot::Encoder::new(frozen, clients, at, state_hash);
    let start = SnapshotStart { brane, epoch: at.epoch, at: at.seq, taken_ms: clock::unix_ms() };
    let id = store.begin_snapshot(start).await?;
    let stored = finish(store, brane, id, &mut encoder).await;
    if stored.is_err() {
        // A snapshot that is visible after all stays so.
        let _ = store.abort_snapshot(brane, id).await;
    }
    stored
}

async fn finish(
    store: &dyn Store,
    brane: BraneId,
    id: SnapshotId,
    encoder: &mut snapshot::Encoder,
) -> Result<(), StoreError> {
    let mut index = 0;
    while let Some(part) = encoder.next_part() {
        store.put_snapshot_part(brane, id, index, Bytes::from(part)).await?;
        index += 1;
        tokio::task::yield_now().await;
    }
    store.finish_snapshot(brane, id, index).await
}
