//! Snapshots: packed copies of a brane in parts.

use std::fmt;

use avvy_model::{BraneId, Epoch, Seq};

/// The longest snapshot part, in bytes (1 MiB; writers aim at 256 KiB).
pub const MAX_PART_BYTES: usize = 1 << 20;

/// Names a snapshot in its store. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SnapshotId(pub u64);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a snapshot will be of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotStart {
    /// The brane.
    pub brane: BraneId,
    /// The opening under which it is taken.
    pub epoch: Epoch,
    /// The last edit that it includes; must be durable when it is finished.
    pub at: Seq,
    /// When it was taken, in Unix milliseconds.
    pub taken_ms: u64,
}

/// A finished snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotInfo {
    /// Its name.
    pub id: SnapshotId,
    /// The opening under which it was taken.
    pub epoch: Epoch,
    /// The last edit that it includes.
    pub at: Seq,
    /// How many parts it has, numbered from 0.
    pub parts: u32,
    /// The length of all parts together, in bytes.
    pub bytes: u64,
    /// When it was taken, in Unix milliseconds.
    pub taken_ms: u64,
}
