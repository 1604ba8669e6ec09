//! The store's contract, carried out by the database.

use std::sync::Arc;

use avvy_model::{BraneId, Seq};
use bytes::Bytes;
use mongodb::bson::doc;
use mongodb::results::InsertOneResult;

use super::fault::Failure;
use super::opening::Opening;
use super::rows::{self, BRANES, META, binary};
use super::{MongoStore, change, compact, fault, inspection, journal, opening, reader};
use crate::chunk::{AppendRefusal, Chunk, ChunkWrite, MAX_CHUNK_BYTES};
use crate::error::StoreError;
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord};
use crate::report::{BraneReport, CompactPolicy, Compaction, StoreReport, WriteCounts};
use crate::snapshot::{MAX_PART_BYTES, SnapshotId, SnapshotStart};
use crate::store::{BoxFuture, Opened, Outline, Store, check_meta, distinct};

impl MongoStore {
    async fn create(&self, record: BraneRecord) -> Result<(), StoreError> {
        record.check()?;
        let is_new = self.link.in_session(async |session| {
            let branes = self.link.collection(BRANES);
            inserted(branes.insert_one(rows::new_brane(&record)).session(session).await)
        });
        if is_new.await? || reader::brane(&self.link, record.id).await? == record {
            return Ok(());
        }
        Err(StoreError::BraneExists(record.id))
    }

    /// One document, found by what it was and changed in one step of the
    /// database's.
    async fn replace(
        &self,
        key: String,
        was: Option<Bytes>,
        value: Bytes,
    ) -> Result<bool, StoreError> {
        check_meta(&key, &value)?;
        let document = rows::meta(&key, &value);
        let replacing = self.link.in_session(async |session| {
            let meta = self.link.collection(META);
            let Some(was) = was else {
                return inserted(meta.insert_one(document).session(session).await);
            };
            let found = doc! {"_id": &key, "value": binary(&was)};
            Ok(meta.replace_one(found, document).session(session).await?.matched_count == 1)
        });
        Ok(replacing.await? || reader::meta(&self.link, &key).await? == Some(value))
    }
}

/// Whether a document is there since now; false if one was before.
fn inserted(outcome: mongodb::error::Result<InsertOneResult>) -> Result<bool, Failure> {
    match outcome {
        Ok(_) => Ok(true),
        Err(error) if fault::is_duplicate(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Store for MongoStore {
    fn create_brane(&self, record: BraneRecord) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.create(record))
    }

    fn update_brane(
        &self,
        record: BraneRecord,
        was_version: u64,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let node = self.member.as_ref().map(|member| member.node().id);
        Box::pin(change::update(&self.link, record, was_version, node))
    }

    fn purge_brane(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(change::purge(&self.link, brane, now_ms))
    }

    fn begin_purge(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { change::begin_purge(&self.link, brane, now_ms).await.map(drop) })
    }

    fn brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneRecord, StoreError>> {
        Box::pin(reader::brane(&self.link, brane))
    }

    fn branes_by_id(
        &self,
        ids: Vec<BraneId>,
    ) -> BoxFuture<'_, Result<Vec<BraneRecord>, StoreError>> {
        Box::pin(async move { reader::branes_by_id(&self.link, distinct(ids)?).await })
    }

    fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<BranePage, StoreError>> {
        Box::pin(reader::branes(&self.link, filter, after, limit))
    }

    fn open(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        let node = self.member.as_ref().map(|member| member.node().id);
        Box::pin(opening::open(&self.link, brane, node, Opening::ToWrite))
    }

    fn open_to_copy(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        let node = self.member.as_ref().map(|member| member.node().id);
        Box::pin(opening::open(&self.link, brane, node, Opening::ToCopy))
    }

    fn outline(&self, brane: BraneId) -> BoxFuture<'_, Result<Outline, StoreError>> {
        Box::pin(async move {
            let found = reader::outline(&self.link, brane).await?;
            Ok(Outline { head: found.head.seq, snapshots: found.snapshots.whole })
        })
    }

    fn read_chunks(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<Chunk>, StoreError>> {
        let max_bytes = max_bytes.min(4 * MAX_CHUNK_BYTES);
        Box::pin(reader::stretch(&self.link, brane, after, max_bytes))
    }

    fn append(
        &self,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), AppendRefusal>>, StoreError>> {
        let (link, ends) = (Arc::clone(&self.link), self.ends.clone());
        Box::pin(self.thread.run(async move { journal::append(&link, &ends, &chunks).await }))
    }

    fn begin_snapshot(
        &self,
        start: SnapshotStart,
    ) -> BoxFuture<'_, Result<SnapshotId, StoreError>> {
        Box::pin(self.writing.begin(&self.link, start))
    }

    fn put_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if body.len() > MAX_PART_BYTES {
                return Err(StoreError::Invalid("the part is too long"));
            }
            self.writing.put(&self.link, brane, snapshot, index, &body).await
        })
    }

    fn finish_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.writing.finish(&self.link, brane, snapshot, parts))
    }

    fn abort_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.writing.abort(&self.link, brane, snapshot))
    }

    fn read_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        Box::pin(reader::part(&self.link, brane, snapshot, index))
    }

    fn compact(&self, policy: CompactPolicy) -> BoxFuture<'_, Result<Compaction, StoreError>> {
        Box::pin(async move {
            let share = self.share().await?;
            compact::compact(&self.link, policy, share.as_ref()).await
        })
    }

    fn verify_brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneReport, StoreError>> {
        Box::pin(inspection::brane(&self.link, brane))
    }

    fn verify_store(&self) -> BoxFuture<'_, Result<StoreReport, StoreError>> {
        Box::pin(inspection::store(&self.link))
    }

    fn meta(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let key = key.to_owned();
        Box::pin(async move { reader::meta(&self.link, &key).await })
    }

    fn put_meta(&self, key: &str, value: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            check_meta(&key, &value)?;
            let document = rows::meta(&key, &value);
            self.link
                .in_session(async |session| {
                    let meta = self.link.collection(META);
                    let put = meta.replace_one(doc! {"_id": &key}, document).upsert(true);
                    Ok(put.session(session).await.map(drop)?)
                })
                .await
        })
    }

    fn replace_meta(
        &self,
        key: &str,
        was: Option<Bytes>,
        value: Bytes,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.replace(key.to_owned(), was, value))
    }

    fn writes(&self) -> Option<WriteCounts> {
        Some(self.link.writes().counts())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.link.close().await;
            Ok(())
        })
    }
}
