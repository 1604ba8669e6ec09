//! Moves branes and records from one store to another.
//!
//! A brane comes with its whole past: the journal that is kept, under the
//! epochs under which it was written, its openings, and its snapshots. So a
//! client that stands at some position finds itself on the same line.

use avvy_model::{BraneId, Epoch, Seq};

use crate::chunk::{Chunk, ChunkWrite};
use crate::error::{Place, StoreError};
use crate::lineage::Lineage;
use crate::records::{self, Records, RecordsDigest, StoredRecord};
use crate::snapshot::SnapshotStart;
use crate::store::{BoxFuture, Opened, Store};

/// Bytes of journal copied at a time.
const BITE_BYTES: usize = 4 << 20;

/// What a brane was where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inheritance {
    /// Its newest epoch.
    pub epoch: Epoch,
    /// The last edit stored.
    pub head: Seq,
    /// Its openings.
    pub lineage: Lineage,
}

/// A store that takes branes and records from others.
pub trait Import: Store + Records {
    /// Puts chunks, in order and joined, into the journal of a brane that was
    /// created and has never been opened. They count once the brane has been
    /// given what it [inherits](Import::inherit).
    ///
    /// # Errors
    /// `UnknownBrane`; `Invalid` if a chunk breaks its bounds.
    fn import_chunks(
        &self,
        brane: BraneId,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Makes a brane that has never been opened what it was elsewhere, with
    /// the chunks that were imported.
    ///
    /// # Errors
    /// `UnknownBrane`; `Invalid` if the brane has been opened.
    fn inherit(
        &self,
        brane: BraneId,
        inheritance: Inheritance,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Puts records as they were elsewhere, with their versions, in one
    /// transaction. The same again is no error.
    ///
    /// # Errors
    /// `Invalid` if a record is there already and another, or another record
    /// has one of its unique keys.
    fn import_records(&self, records: Vec<StoredRecord>) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Copies all records, those that have expired included, and says what was
/// copied. Commits of before cannot be repeated at the copy.
///
/// # Errors
/// Those of both stores; `Damaged` at the first record that is.
pub async fn copy_records(
    from: &dyn Records,
    to: &dyn Import,
) -> Result<RecordsDigest, StoreError> {
    let mut after = None;
    loop {
        let some = from.scan(after).await?;
        let Some(last) = some.last() else { break };
        after = Some((last.of.clone(), last.record.key.clone()));
        to.import_records(some).await?;
    }
    records::digest(from).await
}

/// Copies a brane. Where it comes from it is opened once more, so that nobody
/// goes on writing there. Of one that is purged, or about to be, the tombstone
/// is copied.
///
/// # Errors
/// Those of both stores; `Damaged` if something of the brane is, or its end is
/// torn.
pub async fn copy(from: &dyn Store, to: &dyn Import, brane: BraneId) -> Result<(), StoreError> {
    let record = from.brane(brane).await?;
    if record.life.is_over() {
        let tombstone = record.tombstone().unwrap_or(record);
        return to.create_brane(tombstone).await;
    }
    let report = from.verify_brane(brane).await?;
    if let Some(damage) = report.damages.into_iter().next() {
        return Err(StoreError::Damaged { place: damage.place, why: damage.why });
    }
    if let Some(torn) = report.torn {
        let place = Place::Chunk { brane, from: torn.kept, to: torn.claimed };
        return Err(StoreError::Damaged { place, why: torn.why });
    }
    let Opened { epoch, lineage, head, snapshots, .. } = from.open_to_copy(brane).await?;
    to.create_brane(record).await?;
    let mut after = report.oldest;
    while after < head {
        let chunks = from.read_chunks(brane, after, BITE_BYTES).await?;
        let Some(last) = chunks.last() else { break };
        after = last.to;
        to.import_chunks(brane, chunks.into_iter().map(|chunk| write(brane, chunk)).collect())
            .await?;
    }
    to.inherit(brane, Inheritance { epoch, head, lineage }).await?;
    for info in snapshots.into_iter().rev() {
        let start = SnapshotStart { brane, epoch, at: info.at, taken_ms: info.taken_ms };
        let id = to.begin_snapshot(start).await?;
        for index in 0..info.parts {
            let part = from.read_snapshot_part(brane, info.id, index).await?;
            to.put_snapshot_part(brane, id, index, part).await?;
        }
        to.finish_snapshot(brane, id, info.parts).await?;
    }
    Ok(())
}

fn write(brane: BraneId, chunk: Chunk) -> ChunkWrite {
    let Chunk { epoch, from, to, at_ms, body } = chunk;
    ChunkWrite { brane, epoch, from, to, at_ms, body }
}

/// Refuses chunks that break their bounds.
pub(crate) fn check(chunks: &[ChunkWrite], brane: BraneId) -> Result<(), StoreError> {
    let is_good = |chunk: &ChunkWrite| chunk.brane == brane && chunk.check().is_ok();
    match chunks.iter().all(is_good) {
        true => Ok(()),
        false => Err(StoreError::Invalid("a chunk is of another brane, empty or too long")),
    }
}

/// The refusal of a brane that has a past already.
pub(crate) const WAS_OPENED: StoreError = StoreError::Invalid("the brane has been opened here");

/// The refusal of a record that is there already and another.
pub(crate) const IS_THERE: StoreError =
    StoreError::Invalid("there is another record with its key, or one of its unique keys");
