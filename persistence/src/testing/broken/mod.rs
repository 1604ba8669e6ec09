//! Stores that are wrong on purpose: they prove that the suite can fail.

mod append;
mod bug;
mod change;
mod fleet;
mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_model::{BraneId, Epoch, Seq};
use bytes::Bytes;

use fleet::Ways;

pub use bug::Bug;
pub use fleet::BrokenFleetFixture;

use super::fixture::{Fixture, Verdict};
use crate::chunk::{AppendRefusal, Chunk, ChunkWrite};
use crate::error::{Place, StoreError};
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord};
use crate::report::{BraneReport, CompactPolicy, Compaction, StoreReport};
use crate::snapshot::{SnapshotId, SnapshotInfo, SnapshotStart};
use crate::store::{BoxFuture, Opened, Store};

/// A good store with one bug.
pub struct Broken {
    inner: Arc<dyn Store>,
    bug: Bug,
    state: Arc<Mutex<State>>,
    /// What it is in a fleet.
    ways: Option<Ways>,
}

/// What the bugs need to know.
#[derive(Default)]
struct State {
    epochs: BTreeMap<BraneId, Epoch>,
    seen: BTreeSet<(BraneId, Seq, Seq)>,
    held: BTreeMap<BraneId, ChunkWrite>,
    begun: BTreeMap<BraneId, (SnapshotId, SnapshotStart)>,
    first: BTreeMap<BraneId, SnapshotInfo>,
    /// Edits up to here are deleted.
    gone: BTreeMap<BraneId, Seq>,
    values: BTreeMap<String, Bytes>,
    ready: BTreeSet<BraneId>,
    lost: BTreeSet<BraneId>,
}

impl Broken {
    /// A store with a bug.
    pub fn new(inner: Arc<dyn Store>, bug: Bug) -> Self {
        Self { inner, bug, state: Arc::default(), ways: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes as if the chunks that the newest snapshot covers were deleted.
    async fn delete_up_to_the_newest(&self) -> Result<(), StoreError> {
        let branes: Vec<BraneId> = self.state().epochs.keys().copied().collect();
        for brane in branes {
            let report = self.inner.verify_brane(brane).await?;
            if let Some(info) = report.snapshots.first() {
                self.state().gone.insert(brane, info.at);
            }
        }
        Ok(())
    }

    async fn replace_wrongly(
        &self,
        key: String,
        was: Option<Bytes>,
        value: Bytes,
    ) -> Result<bool, StoreError> {
        match self.bug {
            Bug::ReplacesWhateverIsThere => {}
            Bug::ReplacesInTwoSteps => {
                let found = self.meta(&key).await?;
                if found != was {
                    return Ok(found == Some(value));
                }
                tokio::task::yield_now().await;
            }
            Bug::RefusesWhatIsReplaced if self.meta(&key).await?.as_ref() == Some(&value) => {
                return Ok(false);
            }
            _ => return self.inner.replace_meta(&key, was, value).await,
        }
        self.put_meta(&key, value).await.map(|()| true)
    }

    /// The epoch that a brane was last opened under.
    fn epoch(&self, brane: BraneId) -> Epoch {
        self.state().epochs.get(&brane).copied().unwrap_or_default()
    }
}

/// A fixture whose stores have a bug.
pub struct BrokenFixture {
    inner: Box<dyn Fixture>,
    bug: Bug,
    state: Arc<Mutex<State>>,
}

impl BrokenFixture {
    /// A fixture whose stores have this bug.
    pub fn new(inner: Box<dyn Fixture>, bug: Bug) -> Self {
        Self { inner, bug, state: Arc::default() }
    }

    /// What a process had in memory is gone.
    fn forget(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.held.clear();
        state.values.clear();
    }
}

impl Fixture for BrokenFixture {
    fn store(&self) -> Arc<dyn Store> {
        let state = Arc::clone(&self.state);
        Arc::new(Broken { inner: self.inner.store(), bug: self.bug, state, ways: None })
    }

    fn reopen(&mut self) -> BoxFuture<'_, Verdict> {
        self.forget();
        self.inner.reopen()
    }

    fn crash(&mut self) -> BoxFuture<'_, Verdict> {
        self.forget();
        self.inner.crash()
    }

    fn damage(&mut self, place: Place) -> BoxFuture<'_, Verdict> {
        self.inner.damage(place)
    }
}

impl Store for Broken {
    fn create_brane(&self, record: BraneRecord) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let id = record.id;
            match self.inner.create_brane(record).await {
                Err(StoreError::BraneExists(_)) if self.bug == Bug::AcceptsSecondRecords => Ok(()),
                Err(StoreError::BraneExists(_)) if self.forgets(id).await? => Ok(()),
                other => other,
            }
        })
    }

    fn update_brane(
        &self,
        record: BraneRecord,
        was_version: u64,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.update_wrongly(record, was_version))
    }

    fn purge_brane(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.purge_wrongly(brane, now_ms))
    }

    fn begin_purge(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        match self.bug {
            Bug::BeginsNoPurge => Box::pin(std::future::ready(Ok(()))),
            Bug::PurgesAsItBegins => Box::pin(self.purge_wrongly(brane, now_ms)),
            _ => self.inner.begin_purge(brane, now_ms),
        }
    }

    fn brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneRecord, StoreError>> {
        self.inner.brane(brane)
    }

    fn branes_by_id(
        &self,
        ids: Vec<BraneId>,
    ) -> BoxFuture<'_, Result<Vec<BraneRecord>, StoreError>> {
        Box::pin(self.find_wrongly(ids))
    }

    fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<BranePage, StoreError>> {
        Box::pin(self.list_wrongly(filter, after, limit))
    }

    fn open(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(self.open_wrongly(brane))
    }

    fn open_to_copy(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        match self.bug {
            Bug::CopiesTheActiveAlone => self.open(brane),
            _ => self.inner.open_to_copy(brane),
        }
    }

    fn read_chunks(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<Chunk>, StoreError>> {
        Box::pin(self.read_wrongly(brane, after, max_bytes))
    }

    fn append(
        &self,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), AppendRefusal>>, StoreError>> {
        Box::pin(self.append_wrongly(chunks))
    }

    fn begin_snapshot(
        &self,
        mut start: SnapshotStart,
    ) -> BoxFuture<'_, Result<SnapshotId, StoreError>> {
        Box::pin(async move {
            if self.bug == Bug::NeverRaisesTheEpoch {
                start.epoch = self.epoch(start.brane);
            }
            let id = self.inner.begin_snapshot(start).await?;
            self.state().begun.insert(start.brane, (id, start));
            Ok(id)
        })
    }

    fn put_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.put_snapshot_part(brane, snapshot, index, body)
    }

    fn finish_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            match (self.bug, self.inner.finish_snapshot(brane, snapshot, parts).await) {
                (Bug::FinishesIncompleteSnapshots, Err(StoreError::SnapshotIncomplete { .. }))
                | (Bug::FinishesStaleSnapshots, Err(StoreError::StaleEpoch { .. })) => Ok(()),
                (_, answer) => answer,
            }
        })
    }

    fn abort_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.abort_snapshot(brane, snapshot)
    }

    fn read_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        Box::pin(self.read_part_wrongly(brane, snapshot, index))
    }

    fn compact(&self, mut policy: CompactPolicy) -> BoxFuture<'_, Result<Compaction, StoreError>> {
        Box::pin(async move {
            match self.bug {
                Bug::NeverCompacts => return Ok(Compaction::default()),
                Bug::CompactsForOthers => return self.compact_for_all(policy).await,
                Bug::CompactsTooMuch => policy.retention_ms = 0,
                Bug::LeavesNothingToFallBackOn => self.delete_up_to_the_newest().await?,
                Bug::DropsASnapshotTooMany => {
                    policy.keep_snapshots = policy.keep_snapshots.saturating_sub(1);
                }
                _ => {}
            }
            self.inner.compact(policy).await
        })
    }

    fn verify_brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneReport, StoreError>> {
        Box::pin(async move {
            let mut report = self.inner.verify_brane(brane).await?;
            if self.bug == Bug::InspectsWithClosedEyes {
                report.damages.clear();
                report.damage_count = 0;
            }
            if self.bug == Bug::ForgetsCuts {
                report.cuts.clear();
            }
            Ok(report)
        })
    }

    fn verify_store(&self) -> BoxFuture<'_, Result<StoreReport, StoreError>> {
        Box::pin(async move {
            let mut report = self.inner.verify_store().await?;
            if self.bug == Bug::InspectsWithClosedEyes {
                report.damages.clear();
            }
            Ok(report)
        })
    }

    fn meta(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        if self.bug == Bug::ForgetsValues {
            let value = self.state().values.get(key).cloned();
            return Box::pin(async { Ok(value) });
        }
        self.inner.meta(key)
    }

    fn put_meta(&self, key: &str, value: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.bug == Bug::ForgetsValues {
            self.state().values.insert(key.to_owned(), value);
            return Box::pin(async { Ok(()) });
        }
        self.inner.put_meta(key, value)
    }

    fn replace_meta(
        &self,
        key: &str,
        was: Option<Bytes>,
        value: Bytes,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.replace_wrongly(key.to_owned(), was, value))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.close()
    }
}
