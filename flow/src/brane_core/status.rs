//! A brane at one moment.

use avvy_model::{Epoch, Seq};

use super::BraneCore;

/// For the console, metrics and tests. Counters count since the opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct BraneStatus {
    /// This opening.
    pub epoch: Epoch,
    /// The last edit accepted.
    pub head: Seq,
    /// The last edit given to the fan-out.
    pub published: Seq,
    /// The last edit that survives a power cut.
    pub durable: Seq,
    /// The last edit in a stored snapshot.
    pub snapshot: Seq,
    /// Objects in the world.
    pub objects: u32,
    /// Bytes of memory of them.
    pub world_bytes: u64,
    /// Sessions.
    pub sessions: usize,
    /// Sessions that wait for the end of a window.
    pub waiting: usize,
    /// Journal bytes that are not durable.
    pub journal_pending_bytes: usize,
    /// Journal chunks that are not durable.
    pub journal_pending_chunks: usize,
    /// Edits accepted that are not durable.
    pub durable_lag_edits: u64,
    /// Edits accepted that the fan-out has not finished.
    pub unpublished_edits: u64,
    /// The time between two windows at the moment, in microseconds.
    pub window_us: u64,
    /// What the fan-out of a window takes, in microseconds.
    pub fan_out_us: u64,
    /// Whether edits are refused as `unavailable`.
    pub unavailable: bool,

    /// Edits accepted.
    pub accepted: u64,
    /// Edits refused.
    pub refused: u64,
    /// Edits that had their outcome already and were told again.
    pub repeated: u64,
    /// Edits whose outcome or client is no longer known.
    pub unknown: u64,
    /// Windows published.
    pub windows: u64,
    /// Joins that were caught up by replay.
    pub replays: u64,
    /// Joins and new starts that got the difference of the worlds.
    pub diffs: u64,
    /// Joins and new starts that got the whole world.
    pub snapshots_sent: u64,
    /// Joins of copies that held lost edits.
    pub rewinds: u64,
    /// Sessions started anew because they had fallen too far behind.
    pub resyncs: u64,
    /// Watermarks that were not for this opening.
    pub foreign_durable: u64,
    /// Snapshots that could not be stored.
    pub snapshot_failures: u64,
}

impl BraneCore {
    /// For the console, metrics and tests.
    pub fn status(&self) -> BraneStatus {
        BraneStatus {
            epoch: self.epoch,
            head: self.head,
            published: self.published,
            durable: self.durable,
            snapshot: self.snapshots.stored,
            objects: self.world.len(),
            world_bytes: self.world.bytes(),
            sessions: self.sessions.len(),
            waiting: self.waiting.len() + self.steps.len(),
            journal_pending_bytes: self.journal.bytes() + self.open_bytes,
            journal_pending_chunks: self.journal.chunks(),
            durable_lag_edits: self.head.0 - self.durable.0,
            unpublished_edits: self.head.0 - self.ready.0,
            window_us: self.pace.interval_us(self.sessions.len()),
            fan_out_us: self.pace.cost_us(),
            unavailable: self.is_unavailable(),
            ..self.counters
        }
    }
}
