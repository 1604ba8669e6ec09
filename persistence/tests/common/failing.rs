//! A store whose device fails under its writes, and that tries again.
#![allow(clippy::unwrap_used, dead_code)]

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use avvy_model::{BraneId, Seq};
use avvy_persistence::powercut::{self, Failure};
use avvy_persistence::records::{
    Collection, Commit, CommitOutcome, Query, Record, RecordKey, RecordPage, Records, StoredRecord,
    SweepPlace, Swept,
};
use avvy_persistence::testing::{Fixture, RecordsFixture, SqliteFixture, Verdict};
use avvy_persistence::{
    AppendRefusal, BoxFuture, BraneCursor, BraneFilter, BranePage, BraneRecord, BraneReport, Chunk,
    ChunkWrite, CompactPolicy, Compaction, Opened, Place, SnapshotId, SnapshotStart, Store,
    StoreError, StoreReport,
};
use bytes::Bytes;

use super::Draw;

/// A SQLite store as a fixture, under every second write of which the device
/// fails once, at some operation of it.
pub struct FailingFixture {
    inner: SqliteFixture,
    draw: Arc<Mutex<Draw>>,
    /// Counts failures that calls met.
    met: Arc<AtomicU64>,
}

impl FailingFixture {
    pub fn new(root: PathBuf, seed: u64, met: Arc<AtomicU64>) -> Self {
        let vfs = Some(powercut::register().unwrap().to_owned());
        let inner = SqliteFixture::through(root, vfs).unwrap();
        Self { inner, draw: Arc::new(Mutex::new(Draw(seed))), met }
    }

    fn failing(&self) -> Failing {
        Failing {
            inner: self.inner.store(),
            records: self.inner.records(),
            directory: self.inner.directory().to_owned(),
            draw: Arc::clone(&self.draw),
            met: Arc::clone(&self.met),
        }
    }
}

impl RecordsFixture for FailingFixture {
    fn records(&self) -> Arc<dyn Records> {
        Arc::new(self.failing())
    }
}

impl Fixture for FailingFixture {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.failing())
    }

    fn reopen(&mut self) -> BoxFuture<'_, Verdict> {
        self.inner.reopen()
    }

    fn crash(&mut self) -> BoxFuture<'_, Verdict> {
        self.inner.crash()
    }

    fn damage(&mut self, place: Place) -> BoxFuture<'_, Verdict> {
        self.inner.damage(place)
    }
}

struct Failing {
    inner: Arc<dyn Store>,
    records: Arc<dyn Records>,
    directory: PathBuf,
    draw: Arc<Mutex<Draw>>,
    met: Arc<AtomicU64>,
}

impl Failing {
    /// Lets the device fail under a call, and repeats the call as it was.
    async fn insist<T, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let (arms, nth, how) = {
            let mut draw = self.draw.lock().unwrap();
            (draw.below(2) == 0, draw.below(8), draw.below(3))
        };
        if arms {
            let failure = [Failure::Io, Failure::Full, Failure::Sync][how as usize];
            let nth = if failure == Failure::Sync { nth / 4 } else { nth };
            powercut::fail_after(&self.directory, Some((nth, failure)));
        }
        let answer = loop {
            match call().await {
                Err(StoreError::Io(_) | StoreError::Full(_)) => {
                    self.met.fetch_add(1, Ordering::Relaxed);
                }
                answer => break answer,
            }
        };
        powercut::fail_after(&self.directory, None);
        answer
    }
}

impl Store for Failing {
    fn create_brane(&self, record: BraneRecord) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.insist(move || self.inner.create_brane(record.clone())))
    }

    fn update_brane(
        &self,
        record: BraneRecord,
        was_version: u64,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.insist(move || self.inner.update_brane(record.clone(), was_version)))
    }

    fn purge_brane(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.insist(move || self.inner.purge_brane(brane, now_ms)))
    }

    fn begin_purge(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.insist(move || self.inner.begin_purge(brane, now_ms)))
    }

    fn brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneRecord, StoreError>> {
        self.inner.brane(brane)
    }

    fn branes_by_id(
        &self,
        ids: Vec<BraneId>,
    ) -> BoxFuture<'_, Result<Vec<BraneRecord>, StoreError>> {
        self.inner.branes_by_id(ids)
    }

    fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<BranePage, StoreError>> {
        self.inner.branes(filter, after, limit)
    }

    fn open(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        self.inner.open(brane)
    }

    fn open_to_copy(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        self.inner.open_to_copy(brane)
    }

    fn read_chunks(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<Chunk>, StoreError>> {
        self.inner.read_chunks(brane, after, max_bytes)
    }

    fn append(
        &self,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), AppendRefusal>>, StoreError>> {
        Box::pin(self.insist(move || self.inner.append(chunks.clone())))
    }

    fn begin_snapshot(
        &self,
        start: SnapshotStart,
    ) -> BoxFuture<'_, Result<SnapshotId, StoreError>> {
        Box::pin(self.insist(move || self.inner.begin_snapshot(start)))
    }

    fn put_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let put = move || self.inner.put_snapshot_part(brane, snapshot, index, body.clone());
        Box::pin(self.insist(put))
    }

    fn finish_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.insist(move || self.inner.finish_snapshot(brane, snapshot, parts)))
    }

    fn abort_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.insist(move || self.inner.abort_snapshot(brane, snapshot)))
    }

    fn read_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        self.inner.read_snapshot_part(brane, snapshot, index)
    }

    fn compact(&self, policy: CompactPolicy) -> BoxFuture<'_, Result<Compaction, StoreError>> {
        self.inner.compact(policy)
    }

    fn verify_brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneReport, StoreError>> {
        self.inner.verify_brane(brane)
    }

    fn verify_store(&self) -> BoxFuture<'_, Result<StoreReport, StoreError>> {
        self.inner.verify_store()
    }

    fn meta(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.inner.meta(key)
    }

    fn put_meta(&self, key: &str, value: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.to_owned();
        Box::pin(async move { self.insist(|| self.inner.put_meta(&key, value.clone())).await })
    }

    fn replace_meta(
        &self,
        key: &str,
        was: Option<Bytes>,
        value: Bytes,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let key = key.to_owned();
        Box::pin(async move {
            self.insist(|| self.inner.replace_meta(&key, was.clone(), value.clone())).await
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.close()
    }
}

impl Records for Failing {
    fn get(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<Record>>, StoreError>> {
        self.records.get(of, key, now_s)
    }

    fn get_many(
        &self,
        of: &'static Collection,
        keys: Vec<RecordKey>,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Vec<Result<Option<Arc<Record>>, StoreError>>, StoreError>> {
        self.records.get_many(of, keys, now_s)
    }

    fn list(
        &self,
        of: &'static Collection,
        query: Query,
        now_s: u64,
    ) -> BoxFuture<'_, Result<RecordPage, StoreError>> {
        self.records.list(of, query, now_s)
    }

    fn commit(
        &self,
        commit: Commit,
        now_s: u64,
    ) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        Box::pin(self.insist(move || self.records.commit(commit.clone(), now_s)))
    }

    /// Not repeated: what a sweep removed is not counted by the next.
    fn sweep(
        &self,
        now_s: u64,
        from: SweepPlace,
        limit: u32,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.records.sweep(now_s, from, limit)
    }

    fn scan(
        &self,
        after: Option<(String, RecordKey)>,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>> {
        self.records.scan(after)
    }
}
