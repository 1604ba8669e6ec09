//! The contract of every store.

use std::future::Future;
use std::pin::Pin;

use avvy_model::{BraneId, Epoch, Seq};
use bytes::Bytes;

use crate::cache::CacheStatus;
use crate::chunk::{AppendRefusal, Chunk, ChunkWrite};
use crate::error::StoreError;
use crate::lineage::Lineage;
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord, MAX_PAGE};
use crate::report::{BraneReport, CompactPolicy, Compaction, StoreReport, WriteCounts};
use crate::snapshot::{SnapshotId, SnapshotInfo, SnapshotStart};

/// A future on the heap, as object-safe traits need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The longest key of [`Store::put_meta`], in bytes of UTF-8.
pub const MAX_META_KEY_BYTES: usize = 64;

/// The longest value of [`Store::put_meta`], in bytes.
pub const MAX_META_VALUE_BYTES: usize = 64 << 10;

/// Holds a value of the server's own to its bounds.
///
/// # Errors
/// `Invalid`.
pub(crate) fn check_meta(key: &str, value: &[u8]) -> Result<(), StoreError> {
    if key.len() > MAX_META_KEY_BYTES || value.len() > MAX_META_VALUE_BYTES {
        return Err(StoreError::Invalid("the meta entry is too long"));
    }
    Ok(())
}

/// Makes the ids of branes that are read at once different ones, and holds
/// their number to its bound.
///
/// # Errors
/// `Invalid`.
pub(crate) fn distinct(mut ids: Vec<BraneId>) -> Result<Vec<BraneId>, StoreError> {
    if ids.len() > MAX_PAGE as usize {
        return Err(StoreError::Invalid("so many branes are not read at once"));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The end of a journal that was not whole and was cut off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The last edit of the last good chunk: the head from now on.
    pub kept: Seq,
    /// The last edit that was claimed to be stored.
    pub claimed: Seq,
    /// Damaged chunks found behind the last good one; 0 if they were missing.
    pub chunks: u64,
    /// What was wrong with the first of them.
    pub why: String,
}

/// A brane, opened for one writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The brane's record as it was then, whatever a cache says.
    pub record: BraneRecord,
    /// The epoch of this opening: above every earlier one, and durable.
    pub epoch: Epoch,
    /// Every epoch with the seq at which it began, ascending, this one
    /// included. Old openings in which nothing was stored may be left out, but
    /// not the first.
    pub lineage: Lineage,
    /// The last edit stored.
    pub head: Seq,
    /// The finished snapshots whose entries are whole, newest first. The brane
    /// opens from the first; the others are there in case its parts are not
    /// what was written.
    pub snapshots: Vec<SnapshotInfo>,
    /// The end of the journal that this opening had to cut off.
    pub torn: Option<TornTail>,
}

/// What there is of a brane at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// The last edit stored.
    pub head: Seq,
    /// The finished snapshots whose entries are whole, newest first.
    pub snapshots: Vec<SnapshotInfo>,
}

/// Keeps branes.
///
/// Every method is bounded in time, [`StoreError::Timeout`] at worst, and in
/// memory. Writes are durable when their future is done. A future that is
/// dropped leaves its write done or not done, never half. Calls may overlap;
/// chunks of one brane must be appended one call after the other.
///
/// Everything stored has a checksum that is verified whenever it is read;
/// what does not match is [`StoreError::Damaged`] with its place.
pub trait Store: Send + Sync + 'static {
    /// Creates a brane. The same record again is no error.
    ///
    /// # Errors
    /// `BraneExists` if the id is taken by another record, also one that was
    /// purged; `Invalid` if the record breaks its bounds.
    fn create_brane(&self, record: BraneRecord) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Changes a brane's record, if its version is `was_version`; that of
    /// `record` is one more. Name, kind, visibility, description and tags may
    /// change, and what has become of the brane, but for its purge. Of several
    /// who change the same version at once, one does. The same again is no
    /// error, so a call whose outcome is unknown can be repeated as it was.
    ///
    /// What another node of a fleet holds is not changed while that node's
    /// lease lasts: whoever has a brane open has its newest record. A change
    /// after that takes the brane from it, as an opening would, and nobody
    /// holds it.
    ///
    /// # Errors
    /// `UnknownBrane`; `Changed`; `Held`; `Inactive` once its purge has begun;
    /// `Invalid` if the record breaks its bounds, or id, owner, time of creation
    /// or grid would change.
    fn update_brane(
        &self,
        record: BraneRecord,
        was_version: u64,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Deletes all that is kept of a brane that is [`crate::Life::Doomed`] and due,
    /// in small bites between which journal commits go on, and leaves the
    /// record as a tombstone, so that its id is never given out again. From the
    /// first bite on every writer is refused, and the brane is not restored any
    /// more. Bounded like [`Store::compact`]; one that was interrupted goes on
    /// at the next call. What is purged already is no error.
    ///
    /// # Errors
    /// `UnknownBrane`; `NotDue`; `Held`, also by this node; `Damaged` if its
    /// entry is.
    fn purge_brane(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The first step of [`Store::purge_brane`] alone, after which the brane is
    /// listed as due until it is purged: for whoever has to delete what belongs
    /// to it elsewhere, and may be cut off over it. What is begun or purged
    /// already is no error.
    ///
    /// # Errors
    /// As [`Store::purge_brane`].
    fn begin_purge(&self, brane: BraneId, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A brane's record.
    ///
    /// # Errors
    /// `UnknownBrane`.
    fn brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneRecord, StoreError>>;

    /// The records of these branes, each once, in one read and in no order that
    /// counts. Those that are not there or are damaged are left out.
    ///
    /// # Errors
    /// `Invalid` for more than [`crate::MAX_PAGE`].
    fn branes_by_id(
        &self,
        ids: Vec<BraneId>,
    ) -> BoxFuture<'_, Result<Vec<BraneRecord>, StoreError>>;

    /// A page of the branes that `filter` shows, oldest first, after `after`;
    /// at most `limit` records, which is cut to 1..=[`crate::MAX_PAGE`].
    /// Records that are damaged are left out; [`Store::verify_store`] names them.
    fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<BranePage, StoreError>>;

    /// Opens a brane for a new writer: from now on chunks and snapshots of
    /// every earlier epoch are refused.
    ///
    /// Verifies the journal after the newest snapshot, but no parts of
    /// snapshots. If what is not whole is its very end, that is cut at the last
    /// good chunk and reported, here and by every later inspection; a store
    /// with a device puts the chunks aside for whoever looks into it. Each call
    /// takes an epoch, even one that fails, but for those answered `Held`.
    ///
    /// What another node of a fleet holds is not opened while that
    /// node's lease lasts (see [`crate::Fleet`]).
    ///
    /// # Errors
    /// `UnknownBrane`; `Inactive`; `Held`; `Damaged` if something before the last good
    /// chunk is not whole, or the end is not and neither is a snapshot's entry,
    /// which may be all that is left of those edits: then nothing is cut.
    fn open(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>>;

    /// The same, whatever has become of the brane: for whoever copies it and
    /// writes nothing, or writes what it is to be before anybody may open it.
    ///
    /// # Errors
    /// As [`Store::open`], but for `Inactive`.
    fn open_to_copy(&self, brane: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>>;

    /// What there is of a brane, without opening it: for reading it before it
    /// comes to this process.
    ///
    /// # Errors
    /// `UnknownBrane`; `Damaged` if its entry is.
    fn outline(&self, brane: BraneId) -> BoxFuture<'_, Result<Outline, StoreError>> {
        Box::pin(async move {
            let BraneReport { head, snapshots, .. } = self.verify_brane(brane).await?;
            Ok(Outline { head, snapshots })
        })
    }

    /// The chunks that hold the edits after `after`, in order, verified and
    /// joined; the first may begin before `after`. At least one chunk if
    /// there is one, then as many as fit in `max_bytes` of bodies.
    /// Empty if `after` is the head or above.
    ///
    /// # Errors
    /// `UnknownBrane`; `Compacted` if the edit after `after` is not kept any
    /// more; `Damaged` if the first chunk to be read is: good ones before a
    /// damaged one are handed out first.
    fn read_chunks(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<Chunk>, StoreError>>;

    /// Stores chunks of any number of branes in one group commit; the answers
    /// come in the order of the chunks.
    ///
    /// Each chunk is judged alone: it is stored if its epoch is the brane's
    /// newest and it begins at the brane's head, counting the chunks before
    /// it in the group; otherwise it is refused, as it is when the brane's own
    /// entries are damaged, and the others are stored all the same. A chunk that
    /// is stored already, with the same brane, epoch, range and checksum, counts
    /// as done. So a call whose outcome is unknown can be repeated as it was.
    ///
    /// # Errors
    /// If the call as a whole fails, any of its chunks may be stored or not,
    /// those of one brane in order without a gap.
    #[allow(clippy::type_complexity)]
    fn append(
        &self,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), AppendRefusal>>, StoreError>>;

    /// Begins a snapshot, which nobody sees before it is finished. An earlier
    /// unfinished one of the same brane is given up.
    ///
    /// # Errors
    /// `UnknownBrane`, `StaleEpoch`.
    fn begin_snapshot(&self, start: SnapshotStart)
    -> BoxFuture<'_, Result<SnapshotId, StoreError>>;

    /// Puts a part of an unfinished snapshot; the same part again replaces
    /// it. Parts need not be durable before the snapshot is finished, and
    /// never hold up journal commits by more than one part's time.
    ///
    /// # Errors
    /// `UnknownSnapshot` if it is not one begun here and unfinished; `Invalid`
    /// if the part is longer than [`crate::MAX_PART_BYTES`].
    fn put_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Makes a snapshot of `parts` parts durable, then visible, at once and
    /// whole. The same again is no error.
    ///
    /// # Errors
    /// `UnknownSnapshot`, `SnapshotIncomplete`; `StaleEpoch` if the brane was
    /// opened again since it was begun; `SnapshotAhead` if it holds edits
    /// that the journal does not.
    fn finish_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Gives up an unfinished snapshot; no error if there is none. Snapshots
    /// left unfinished by a crash are given up when the store is opened.
    fn abort_snapshot(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A part of a finished snapshot, verified.
    ///
    /// # Errors
    /// `UnknownBrane`, `UnknownSnapshot`, also for parts beyond the last;
    /// `Damaged`.
    fn read_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>>;

    /// Deletes what the policy lets go, in small bites between which journal
    /// commits go on. Never deletes a chunk that one of the
    /// [`CompactPolicy::keep_snapshots`] newest snapshots does not cover, nor
    /// any chunk of a brane that has fewer: each snapshot that is kept can
    /// be opened from. Never deletes the newest snapshot. Each bite is bounded
    /// in time, the whole is not; a caller that drops the future stops after a
    /// bite.
    ///
    /// Each node of a fleet does its part alone: the branes that it holds, and
    /// some of those that nobody whose lease lasts holds. One sees to
    /// [`CompactPolicy::max_journal_bytes`].
    fn compact(&self, policy: CompactPolicy) -> BoxFuture<'_, Result<Compaction, StoreError>>;

    /// Reads everything of a brane and says what is there and what is not
    /// whole. Changes nothing. Bounded like [`Store::compact`].
    ///
    /// # Errors
    /// `UnknownBrane`; damages are in the report.
    fn verify_brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneReport, StoreError>>;

    /// Checks what belongs to no brane alone. Changes nothing.
    fn verify_store(&self) -> BoxFuture<'_, Result<StoreReport, StoreError>>;

    /// A value of the server's own.
    fn meta(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;

    /// Sets a value of the server's own.
    ///
    /// # Errors
    /// `Invalid` if key or value is longer than [`MAX_META_KEY_BYTES`] and
    /// [`MAX_META_VALUE_BYTES`].
    fn put_meta(&self, key: &str, value: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Sets a value of the server's own if what is there is `was`; `None`: if
    /// nothing is there. Of several who replace the same value at once, in
    /// whatever processes, one does.
    ///
    /// False, and nothing is changed, if something else is there. A value that
    /// is there already counts as done, so a call whose outcome is unknown can
    /// be repeated as it was; who has to know that it was not another one's
    /// writes a value that no other one writes.
    ///
    /// # Errors
    /// As [`Store::put_meta`]; `Damaged`.
    fn replace_meta(
        &self,
        key: &str,
        was: Option<Bytes>,
        value: Bytes,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Finishes what is queued and lets go of the data. Every later call
    /// answers `Closed`.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What it has written since it was opened, if it counts that.
    fn writes(&self) -> Option<WriteCounts> {
        None
    }

    /// What a cache over the store says of itself, if there is one.
    fn cache_status(&self) -> Option<CacheStatus> {
        None
    }
}
