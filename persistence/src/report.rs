//! What retention did, and what an inspection found.

use avvy_model::{Epoch, Seq};

use crate::error::Place;
use crate::snapshot::SnapshotInfo;
use crate::store::TornTail;

/// The most damages that a report spells out; all are counted.
pub const MAX_DAMAGES: usize = 100;

/// What may be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactPolicy {
    /// The time now, in Unix milliseconds.
    pub now_ms: u64,
    /// Chunks written longer ago than this are deleted if every snapshot that
    /// is kept covers them. In milliseconds.
    pub retention_ms: u64,
    /// While all journals together are longer than this, in bytes, the oldest
    /// covered chunks of the longest journals are deleted, however young.
    pub max_journal_bytes: Option<u64>,
    /// Newest snapshots kept of every brane; at least 1. A brane that has
    /// fewer keeps its whole journal. With 2, a brane still opens when its
    /// newest snapshot is damaged.
    pub keep_snapshots: u32,
}

/// What a compaction deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compaction {
    /// Chunks deleted.
    pub chunks: u64,
    /// Their length, in bytes.
    pub chunk_bytes: u64,
    /// Snapshots deleted.
    pub snapshots: u64,
    /// Branes that could not be compacted because something of them is damaged.
    pub skipped: u64,
}

/// Something that is not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where.
    pub place: Place,
    /// What does not fit.
    pub why: String,
}

/// A tail that an opening cut off. The edits in it had been stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The opening.
    pub epoch: Epoch,
    /// What was cut.
    pub torn: TornTail,
}

/// What an inspection of one brane found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BraneReport {
    /// The newest opening; 0 if it was never opened.
    pub epoch: Epoch,
    /// The durable head.
    pub head: Seq,
    /// The last edit before the oldest chunk kept; the head if there is none.
    pub oldest: Seq,
    /// Chunks whose checksums were right.
    pub chunks: u64,
    /// The length of their bodies, in bytes.
    pub chunk_bytes: u64,
    /// The openings known.
    pub epochs: u64,
    /// Snapshots, newest first.
    pub snapshots: Vec<SnapshotInfo>,
    /// The tail that the next opening will cut.
    pub torn: Option<TornTail>,
    /// The newest [`MAX_DAMAGES`] tails that openings have cut, oldest first.
    pub cuts: Vec<Cut>,
    /// The first [`MAX_DAMAGES`] damages, without the torn tail.
    pub damages: Vec<Damage>,
    /// All damages, without the torn tail.
    pub damage_count: u64,
}

impl BraneReport {
    /// Counts a damage, and spells it out while there is room.
    pub(crate) fn add(&mut self, place: Place, why: String) {
        self.damage_count += 1;
        if self.damages.len() < MAX_DAMAGES {
            self.damages.push(Damage { place, why });
        }
    }
}

/// What a store has written since it was opened, as far as it counts that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteCounts {
    /// Commands that write, but for those that commit: one may write many
    /// documents. Those of attempts that were given up count, too.
    pub operations: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Documents that the commands wrote.
    pub documents: u64,
    /// The length of these documents and changes, in bytes.
    pub bytes: u64,
    /// Chunks stored.
    pub chunks: u64,
    /// The length of their bodies, in bytes.
    pub chunk_bytes: u64,
}

/// What an inspection found that belongs to no brane alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreReport {
    /// The version of the stored schema.
    pub schema: u32,
    /// Branes whose records are whole.
    pub branes: u64,
    /// Records that are whole, those that have expired included.
    pub records: u64,
    /// Space taken on the device, in bytes, as far as the store knows.
    pub device_bytes: u64,
    /// Pages of a commit that was never acknowledged, found and dropped when
    /// the store was opened.
    pub dropped: u64,
    /// The first [`MAX_DAMAGES`] damages.
    pub damages: Vec<Damage>,
}

impl StoreReport {
    /// Spells a damage out while there is room.
    pub(crate) fn add(&mut self, place: Place, why: String) {
        if self.damages.len() < MAX_DAMAGES {
            self.damages.push(Damage { place, why });
        }
    }
}
