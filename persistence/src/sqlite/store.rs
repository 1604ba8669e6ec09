//! The store's contract, carried out by its threads.

use avvy_model::{BraneId, Seq};
use bytes::Bytes;

use super::journal::Opening;
use super::reader::Reader;
use super::start::SqliteStore;
use super::worker::Lane;
use crate::chunk::{AppendRefusal, Chunk, ChunkWrite, MAX_CHUNK_BYTES};
use crate::error::StoreError;
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord};
use crate::report::{BraneReport, CompactPolicy, Compaction, Damage, StoreReport};
use crate::scan::{Scan, Verdict};
use crate::snapshot::{MAX_PART_BYTES, SnapshotId, SnapshotStart};
use crate::store::{BoxFuture, Opened, Store, check_meta};

impl SqliteStore {
    async fn open_brane(&self, brane: BraneId, opening: Opening) -> Result<Opened, StoreError> {
        let known = self
            .journal
            .call(Lane::Urgent, 0, move |journal| {
                journal.write(|write| write.take_epoch(brane, opening))
            })
            .await?;
        let reader = self.readers.next();
        let outline = reader.call(Lane::Urgent, 0, move |reader| reader.outline(brane)).await?;
        let covered = outline.covered();
        for Damage { place, why } in &outline.snapshots.damages {
            tracing::error!(%place, why, "a snapshot's entry is damaged: it is passed over");
        }
        let mut damage = None;
        let mut found = |found| {
            damage.get_or_insert(found);
        };
        let mut scan = Scan::new(brane, covered, covered);
        let mut after = Some(covered);
        while let Some(from) = after {
            let no = outline.no;
            let bite =
                reader.call(Lane::Urgent, 0, move |reader| reader.bite(brane, no, from)).await?;
            bite.links.into_iter().for_each(|(link, _)| scan.feed(link, &mut found));
            after = bite.next;
        }
        let verdict = scan.finish(outline.head.seq, &mut found);
        if matches!(verdict, Verdict::Torn(_)) {
            // What is missing may be in the snapshot whose entry cannot be read.
            outline.snapshots.damages.into_iter().for_each(&mut found);
        }
        if let Some(damage) = damage {
            return Err(StoreError::Damaged { place: damage.place, why: damage.why });
        }
        self.journal
            .call(Lane::Urgent, 0, move |journal| {
                journal.write(|write| write.settle(brane, known.head.epoch, verdict))
            })
            .await
    }
}

impl Store for SqliteStore {
    fn create_brane(&self, record: BraneRecord) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            record.check()?;
            self.journal
                .call(Lane::Urgent, 0, move |journal| journal.write(|write| write.create(&record)))
                .await
        })
    }

    fn update_brane(
        &self,
        record: BraneRecord,
        was_version: u64,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.update(record, was_version))
    }

    fn purge_brane(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.purge(brane, now_ms))
    }

    fn begin_purge(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.start_purge(brane, now_ms).await.map(drop) })
    }

    fn brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneRecord, StoreError>> {
        Box::pin(self.readers.call(Lane::Urgent, move |reader| reader.brane(brane)))
    }

    fn branes_by_id(
        &self,
        ids: Vec<BraneId>,
    ) -> BoxFuture<'_, Result<Vec<BraneRecord>, StoreError>> {
        Box::pin(self.readers.call(Lane::Urgent, move |reader| reader.branes_by_id(ids)))
    }

    fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<BranePage, StoreError>> {
        let page = move |reader: &mut Reader| reader.branes(filter, after, limit);
        Box::pin(self.readers.call(Lane::Urgent, page))
    }

    fn open(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(self.open_brane(brane, Opening::ToWrite))
    }

    fn open_to_copy(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(self.open_brane(brane, Opening::ToCopy))
    }

    fn read_chunks(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<Chunk>, StoreError>> {
        let max_bytes = max_bytes.min(4 * MAX_CHUNK_BYTES);
        let read = move |reader: &mut Reader| reader.chunks(brane, after, max_bytes);
        Box::pin(self.readers.call(Lane::Urgent, read))
    }

    fn append(
        &self,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), AppendRefusal>>, StoreError>> {
        let bytes = chunks.iter().map(|chunk| chunk.body.len()).sum();
        Box::pin(self.journal.call(Lane::Urgent, bytes, move |journal| journal.append(&chunks)))
    }

    fn begin_snapshot(
        &self,
        start: SnapshotStart,
    ) -> BoxFuture<'_, Result<SnapshotId, StoreError>> {
        Box::pin(self.begin(start))
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
            self.parts
                .call(Lane::Urgent, body.len(), move |parts| {
                    parts.put(brane, snapshot, index, &body)
                })
                .await
        })
    }

    fn finish_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.finish(brane, snapshot, parts))
    }

    fn abort_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.abort(brane, snapshot))
    }

    fn read_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        let read = move |reader: &mut Reader| reader.part(brane, snapshot, index);
        Box::pin(self.readers.call(Lane::Urgent, read))
    }

    fn compact(&self, policy: CompactPolicy) -> BoxFuture<'_, Result<Compaction, StoreError>> {
        Box::pin(self.compact_all(policy))
    }

    fn verify_brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneReport, StoreError>> {
        Box::pin(self.readers.inspect(brane))
    }

    fn verify_store(&self) -> BoxFuture<'_, Result<StoreReport, StoreError>> {
        Box::pin(async move {
            let bytes = self.device_bytes()?;
            self.readers.inspect_store(bytes, self.dropped_frames).await
        })
    }

    fn meta(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let key = key.to_owned();
        Box::pin(self.readers.call(Lane::Urgent, move |reader| reader.meta(&key)))
    }

    fn put_meta(&self, key: &str, value: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            check_meta(&key, &value)?;
            self.journal
                .call(Lane::Urgent, value.len(), move |journal| {
                    journal.write(|write| write.put_meta(&key, &value))
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
        let key = key.to_owned();
        Box::pin(async move {
            check_meta(&key, &value)?;
            let bytes = value.len() + was.as_ref().map_or(0, Bytes::len);
            self.journal
                .call(Lane::Urgent, bytes, move |journal| {
                    journal.write(|write| write.replace_meta(&key, was.as_deref(), &value))
                })
                .await
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.wind_down().await;
            Ok(())
        })
    }
}
