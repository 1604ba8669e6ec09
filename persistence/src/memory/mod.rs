//! A store without a disk.
//!
//! Its futures are ready at once, it knows no clock and draws nothing at
//! random, so a simulation can run thousands of lives of it in one thread. A
//! [`MemoryDisk`] holds what is stored; a [`MemoryStore`] is one process's
//! access to it. Planned faults ([`FaultPlan`]) fail operations before, within
//! or after their effect, or cut the power: then the store answers `Closed`
//! until the disk is mounted again.

mod change;
mod fault;
mod fleet;
mod records;
mod state;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_model::{BraneId, Seq};
use bytes::Bytes;

pub use fault::{Fault, FaultPlan, Operation};
pub use fleet::MemoryFleet;

use crate::chunk::{AppendRefusal, Chunk, ChunkWrite};
use crate::error::{Place, StoreError};
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord, MAX_PAGE};
use crate::report::{BraneReport, CompactPolicy, Compaction, StoreReport};
use crate::snapshot::{MAX_PART_BYTES, SnapshotId, SnapshotStart};
use crate::store::{BoxFuture, Opened, Store, check_meta, distinct};
use fleet::Member;
use state::State;

/// What memory stores share: the stored things, which outlive a store.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    state: State,
    plan: Option<Box<dyn FaultPlan>>,
    /// Plans for the operations of one access alone.
    plans: BTreeMap<u64, Box<dyn FaultPlan>>,
    operations: u64,
    faults: u64,
    /// Counts accesses.
    last_access: u64,
    /// Those that are not dead.
    alive: BTreeSet<u64>,
}

impl Disk {
    fn access(&mut self) -> u64 {
        self.last_access += 1;
        self.alive.insert(self.last_access);
        self.last_access
    }
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the plan that decides what happens to every operation from now on.
    pub fn plan(&self, plan: impl FaultPlan) {
        self.lock().plan = Some(Box::new(plan));
    }

    /// Lets every operation succeed from now on.
    pub fn heal(&self) {
        self.lock().plan = None;
    }

    /// Opens the store on this disk, as a new process would. Whoever had it
    /// before is answered `Closed`; snapshots left unfinished are given up.
    pub fn mount(&self) -> MemoryStore {
        let mut disk = self.lock();
        disk.alive.clear();
        disk.state.branes.values_mut().for_each(|brane| brane.unfinished = None);
        let access = disk.access();
        MemoryStore { disk: self.clone(), access, member: None }
    }

    /// Cuts the power: every access is answered `Closed` until the next mount.
    pub fn cut_power(&self) {
        self.lock().alive.clear();
    }

    /// Spoils what is stored at the place of a chunk, a part, a snapshot's
    /// entry or a brane's; false if nothing is there. A chunk is found by its
    /// last edit.
    pub fn damage(&self, place: &Place) -> bool {
        self.lock().state.damage(place)
    }

    /// What is stored of a brane, read past the fault plan.
    ///
    /// # Errors
    /// `UnknownBrane`.
    pub fn report(&self, brane: BraneId) -> Result<BraneReport, StoreError> {
        self.lock().state.verify_brane(brane)
    }

    /// How many operations were asked for, and how many of them met a fault.
    pub fn counts(&self) -> (u64, u64) {
        let disk = self.lock();
        (disk.operations, disk.faults)
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One process's access to a [`MemoryDisk`].
pub struct MemoryStore {
    disk: MemoryDisk,
    access: u64,
    /// What it is in a fleet.
    member: Option<Member>,
}

impl MemoryStore {
    /// A store on an empty disk of its own.
    pub fn new() -> Self {
        MemoryDisk::new().mount()
    }

    /// The disk.
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// Sets a plan for the operations of this access alone, in place of the
    /// disk's. Where it cuts the power, this access alone is dead.
    pub fn plan(&self, plan: impl FaultPlan) {
        self.disk.lock().plans.insert(self.access, Box::new(plan));
    }

    /// Leaves the operations of this access to the disk's plan again.
    pub fn heal(&self) {
        self.disk.lock().plans.remove(&self.access);
    }

    /// Does an operation as the fault plan lets it: `work` gets the state and
    /// the fate, which only appends look at.
    fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut State, Fault) -> Result<T, StoreError>,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        Box::pin(ready(self.run_now(operation, work)))
    }

    fn run_now<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut State, Fault) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut guard = self.disk.lock();
        let disk = &mut *guard;
        if !disk.alive.contains(&self.access) {
            return Err(StoreError::Closed);
        }
        let nth = disk.operations;
        disk.operations += 1;
        let own = disk.plans.get_mut(&self.access);
        let is_alone = own.is_some();
        let plan = own.or(disk.plan.as_mut());
        let fate = plan.map_or(Fault::None, |plan| plan.fate(operation, nth));
        disk.faults += u64::from(fate != Fault::None);
        let is_done = fate.reach(1) > 0 || operation == Operation::Append;
        let answer = if is_done { Some(work(&mut disk.state, fate)) } else { None };
        if fate.cuts() {
            match is_alone {
                true => disk.alive.retain(|access| *access != self.access),
                false => disk.alive.clear(),
            }
            return Err(StoreError::Closed);
        }
        match answer {
            Some(answer) if fate == Fault::None => answer,
            _ => Err(StoreError::Io(format!("planned fault in {operation:?}"))),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn create_brane(&self, record: BraneRecord) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Operation::CreateBrane, |state, _| {
            record.check()?;
            state.create(record)
        })
    }

    fn update_brane(
        &self,
        record: BraneRecord,
        was_version: u64,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Operation::ChangeBrane, |state, _| {
            record.check()?;
            state.expect_free(record.id, self.member.as_ref())?;
            state.update(record, was_version, self.member.as_ref())
        })
    }

    fn purge_brane(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Operation::ChangeBrane, |state, _| {
            state.expect_free(brane, None)?;
            state.purge(brane, now_ms)
        })
    }

    fn begin_purge(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Operation::ChangeBrane, |state, _| {
            state.expect_free(brane, None)?;
            state.begin_purge(brane, now_ms)
        })
    }

    fn brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneRecord, StoreError>> {
        self.run(Operation::ReadRecord, |state, _| {
            state.brane(brane).map(|brane| brane.record.clone())
        })
    }

    fn branes_by_id(
        &self,
        ids: Vec<BraneId>,
    ) -> BoxFuture<'_, Result<Vec<BraneRecord>, StoreError>> {
        self.run(Operation::ReadRecord, |state, _| {
            let found = distinct(ids)?.into_iter().filter_map(|id| state.branes.get(&id));
            Ok(found.map(|brane| brane.record.clone()).collect())
        })
    }

    fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<BranePage, StoreError>> {
        self.run(Operation::ReadRecord, |state, _| {
            let limit = limit.clamp(1, MAX_PAGE) as usize;
            let mut shown = (state.order.iter())
                .filter(|cursor| after.is_none_or(|after| **cursor > after))
                .filter_map(|cursor| state.branes.get(&cursor.id))
                .filter(|brane| filter.shows(&brane.record))
                .map(|brane| brane.record.clone());
            let branes: Vec<BraneRecord> = shown.by_ref().take(limit).collect();
            let more = shown.next().is_some();
            let next = branes.last().filter(|_| more).map(BraneRecord::cursor);
            Ok(BranePage { branes, next })
        })
    }

    fn open(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        self.run(Operation::Open, |state, _| {
            state.expect_active(brane)?;
            state.take(brane, self.member.as_ref())?;
            state.open(brane)
        })
    }

    fn open_to_copy(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        self.run(Operation::Open, |state, _| {
            state.take(brane, self.member.as_ref())?;
            state.open(brane)
        })
    }

    fn read_chunks(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<Chunk>, StoreError>> {
        self.run(Operation::ReadChunks, |state, _| state.read_chunks(brane, after, max_bytes))
    }

    fn append(
        &self,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), AppendRefusal>>, StoreError>> {
        self.run(Operation::Append, |state, fate| {
            let reach = fate.reach(chunks.len());
            Ok(chunks.into_iter().take(reach).map(|chunk| state.append(chunk)).collect())
        })
    }

    fn begin_snapshot(
        &self,
        start: SnapshotStart,
    ) -> BoxFuture<'_, Result<SnapshotId, StoreError>> {
        self.run(Operation::BeginSnapshot, |state, _| state.begin(start))
    }

    fn put_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Operation::PutPart, |state, _| {
            if body.len() > MAX_PART_BYTES {
                return Err(StoreError::Invalid("the part is too long"));
            }
            state.put_part(brane, snapshot, index, body)
        })
    }

    fn finish_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Operation::FinishSnapshot, |state, _| state.finish(brane, snapshot, parts))
    }

    fn abort_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Operation::AbortSnapshot, |state, _| {
            let brane = state.brane_mut(brane)?;
            brane.unfinished.take_if(|(id, _)| *id == snapshot);
            Ok(())
        })
    }

    fn read_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        self.run(Operation::ReadPart, |state, _| state.read_part(brane, snapshot, index))
    }

    fn compact(&self, policy: CompactPolicy) -> BoxFuture<'_, Result<Compaction, StoreError>> {
        self.run(Operation::Compact, |state, _| {
            let share = self.member.as_ref().map(|member| state.share(member));
            Ok(state.compact(policy, share.as_ref()))
        })
    }

    fn verify_brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneReport, StoreError>> {
        self.run(Operation::Verify, |state, _| state.verify_brane(brane))
    }

    fn verify_store(&self) -> BoxFuture<'_, Result<StoreReport, StoreError>> {
        self.run(Operation::Verify, |state, _| Ok(state.verify_store()))
    }

    fn meta(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.run(Operation::ReadRecord, |state, _| Ok(state.meta.get(key).cloned()))
    }

    fn put_meta(&self, key: &str, value: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(Operation::PutMeta, |state, _| {
            check_meta(key, &value)?;
            state.meta.insert(key.to_owned(), value);
            Ok(())
        })
    }

    fn replace_meta(
        &self,
        key: &str,
        was: Option<Bytes>,
        value: Bytes,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.run(Operation::PutMeta, |state, _| {
            check_meta(key, &value)?;
            let found = state.meta.get(key);
            if found != was.as_ref() {
                return Ok(found == Some(&value));
            }
            state.meta.insert(key.to_owned(), value);
            Ok(true)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.disk.lock().alive.remove(&self.access);
        Box::pin(ready(Ok(())))
    }
}
