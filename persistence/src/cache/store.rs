//! A store whose records are cached. Every read and write of the server goes
//! through it, so no caller invalidates anything by hand.

use std::sync::Arc;

use avvy_model::{BraneId, NodeId, Seq};
use bytes::Bytes;

use super::hub::Caches;
use super::layer::Cache;
use super::model::BraneRecords;
use super::notice::Moved;
use super::status::CacheStatus;
use crate::chunk::{AppendRefusal, Chunk, ChunkWrite};
use crate::error::StoreError;
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord};
use crate::report::{BraneReport, CompactPolicy, Compaction, StoreReport, WriteCounts};
use crate::snapshot::{SnapshotId, SnapshotStart};
use crate::store::{BoxFuture, Opened, Outline, Store};

/// A store with a cache over it.
pub struct CachedStore {
    store: Arc<dyn Store>,
    caches: Caches,
    records: Arc<Cache<BraneRecords>>,
    /// Who opens branes here.
    node: Option<NodeId>,
}

impl CachedStore {
    /// A store with these caches over it.
    pub fn new(store: Arc<dyn Store>, caches: &Caches) -> Self {
        Self { store, caches: caches.clone(), records: caches.of(), node: None }
    }

    /// The same for a node of a fleet: others are told which branes it opens.
    #[must_use]
    pub fn of_node(self, node: NodeId) -> Self {
        Self { node: Some(node), ..self }
    }
}

impl Store for CachedStore {
    fn create_brane(&self, record: BraneRecord) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let write = self.records.write(record.id);
            let outcome = self.store.create_brane(record).await;
            write.end().await;
            outcome
        })
    }

    fn update_brane(
        &self,
        record: BraneRecord,
        was_version: u64,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let write = self.records.write(record.id);
            let outcome = self.store.update_brane(record, was_version).await;
            write.end().await;
            outcome
        })
    }

    fn purge_brane(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let write = self.records.write(brane);
            let outcome = self.store.purge_brane(brane, now_ms).await;
            write.end().await;
            outcome
        })
    }

    fn begin_purge(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let write = self.records.write(brane);
            let outcome = self.store.begin_purge(brane, now_ms).await;
            write.end().await;
            outcome
        })
    }

    fn brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneRecord, StoreError>> {
        Box::pin(async move {
            let store = Arc::clone(&self.store);
            let load = move || async move {
                match store.brane(brane).await {
                    Ok(record) => Ok(Some(record)),
                    Err(StoreError::UnknownBrane(_)) => Ok(None),
                    Err(error) => Err(error),
                }
            };
            let record = self.records.get(&brane, load).await?;
            record.map(|record| (*record).clone()).ok_or(StoreError::UnknownBrane(brane))
        })
    }

    fn branes_by_id(
        &self,
        ids: Vec<BraneId>,
    ) -> BoxFuture<'_, Result<Vec<BraneRecord>, StoreError>> {
        self.store.branes_by_id(ids)
    }

    fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<BranePage, StoreError>> {
        self.store.branes(filter, after, limit)
    }

    fn outline(&self, brane: BraneId) -> BoxFuture<'_, Result<Outline, StoreError>> {
        self.store.outline(brane)
    }

    fn open(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(async move {
            let opened = self.store.open(brane).await?;
            if let Some(by) = self.node {
                self.caches.tell_moved(Moved { brane, epoch: opened.epoch, by });
            }
            Ok(opened)
        })
    }

    fn open_to_copy(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        self.store.open_to_copy(brane)
    }

    fn read_chunks(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<Chunk>, StoreError>> {
        self.store.read_chunks(brane, after, max_bytes)
    }

    fn append(
        &self,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), AppendRefusal>>, StoreError>> {
        self.store.append(chunks)
    }

    fn begin_snapshot(
        &self,
        start: SnapshotStart,
    ) -> BoxFuture<'_, Result<SnapshotId, StoreError>> {
        self.store.begin_snapshot(start)
    }

    fn put_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.put_snapshot_part(brane, snapshot, index, body)
    }

    fn finish_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.finish_snapshot(brane, snapshot, parts)
    }

    fn abort_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.abort_snapshot(brane, snapshot)
    }

    fn read_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        self.store.read_snapshot_part(brane, snapshot, index)
    }

    fn compact(&self, policy: CompactPolicy) -> BoxFuture<'_, Result<Compaction, StoreError>> {
        self.store.compact(policy)
    }

    fn verify_brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneReport, StoreError>> {
        self.store.verify_brane(brane)
    }

    fn verify_store(&self) -> BoxFuture<'_, Result<StoreReport, StoreError>> {
        self.store.verify_store()
    }

    fn meta(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.store.meta(key)
    }

    fn put_meta(&self, key: &str, value: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.put_meta(key, value)
    }

    fn replace_meta(
        &self,
        key: &str,
        was: Option<Bytes>,
        value: Bytes,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.store.replace_meta(key, was, value)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let closed = self.store.close().await;
            self.records.missed();
            closed
        })
    }

    fn writes(&self) -> Option<WriteCounts> {
        self.store.writes()
    }

    fn cache_status(&self) -> Option<CacheStatus> {
        Some(self.caches.status())
    }
}
