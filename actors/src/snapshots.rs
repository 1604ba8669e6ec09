//! Stores a snapshot, beside everything else: the brane goes on meanwhile.

use avvy_brane::snapshot;
use avvy_flow::brane_core::SnapshotJob;
use avvy_model::BraneId;
use avvy_persistence::{SnapshotStart, Store, StoreError};
use bytes::Bytes;

use crate::clock;

/// Encodes and stores the parts one by one.
pub(crate) async fn store(
    store: &dyn Store,
    brane: BraneId,
    job: SnapshotJob,
) -> Result<(), StoreError> {
    let SnapshotJob { frozen, clients, at, state_hash } = job;
    let mut encoder = snapshot::Encoder::new(frozen, clients, at, state_hash);
    let start = SnapshotStart { brane, epoch: at.epoch, at: at.seq, taken_ms: clock::unix_ms() };
    let id = store.begin_snapshot(start).await?;
    let mut index = 0;
    while let Some(part) = encoder.next_part() {
        store.put_snapshot_part(brane, id, index, Bytes::from(part)).await?;
        index += 1;
        tokio::task::yield_now().await;
    }
    store.finish_snapshot(brane, id, index).await
}
