//! What can go wrong, and whether trying again can help.

use std::fmt;
use std::path::PathBuf;

use avvy_model::{BraneId, Epoch, Seq};

use crate::life::Life;
use crate::snapshot::SnapshotId;

/// Where damage was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A chunk of a brane's journal. Both ends are what the chain demands or
    /// the chunk claims, whichever is known.
    Chunk {
        /// Whose journal.
        brane: BraneId,
        /// The last edit before the chunk.
        from: Seq,
        /// The last edit in the chunk.
        to: Seq,
    },
    /// A part of a snapshot.
    Part {
        /// Whose snapshot.
        brane: BraneId,
        /// Which snapshot.
        snapshot: SnapshotId,
        /// Which part, from 0.
        index: u32,
    },
    /// A snapshot's own entry.
    Snapshot {
        /// Whose snapshot.
        brane: BraneId,
        /// Which snapshot.
        snapshot: SnapshotId,
    },
    /// A brane's entry: its record, its head or its lineage.
    Brane(BraneId),
    /// An entry of the small table of the server's own values.
    Meta(String),
    /// A record, or an entry by which it is found.
    Record {
        /// Its collection.
        of: String,
        /// Its key.
        key: String,
    },
    /// A write-ahead log: the frame (from 1), or 0 for its header.
    Wal {
        /// The file.
        file: PathBuf,
        /// The frame.
        frame: u64,
    },
    /// Somewhere in a file, a table or a collection.
    File(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk { brane, from, to } => write!(f, "brane {brane}, chunk ({from}..{to}]"),
            Self::Part { brane, snapshot, index } => {
                write!(f, "brane {brane}, snapshot {snapshot}, part {index}")
            }
            Self::Snapshot { brane, snapshot } => write!(f, "brane {brane}, snapshot {snapshot}"),
            Self::Brane(brane) => write!(f, "brane {brane}, its entry"),
            Self::Meta(key) => write!(f, "meta entry {key:?}"),
            Self::Record { of, key } => write!(f, "record {key:?} of {of}"),
            Self::Wal { file, frame } => write!(f, "{}, frame {frame}", file.display()),
            Self::File(name) => f.write_str(name),
        }
    }
}

/// Why a store did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// No brane has this id.
    #[error("no brane {0}")]
    UnknownBrane(BraneId),
    /// A brane has this id already, with another record.
    #[error("brane {0} exists already with another record")]
    BraneExists(BraneId),
    /// The brane is not active: nobody opens it.
    #[error("brane {brane} is {}", .life.name())]
    Inactive {
        /// Which.
        brane: BraneId,
        /// What has become of it.
        life: Life,
    },
    /// The brane's record is not what it was for whoever wanted to change it.
    #[error("the record was changed: its version is {version}")]
    Changed {
        /// The version of the record now.
        version: u64,
    },
    /// The brane was not deleted, or its time has not come.
    #[error("brane {0} is not to be purged yet")]
    NotDue(BraneId),
    /// The brane has no such snapshot, or it is not finished, or compacted away.
    #[error("brane {brane} has no snapshot {snapshot}")]
    UnknownSnapshot {
        /// The brane asked.
        brane: BraneId,
        /// The snapshot asked for.
        snapshot: SnapshotId,
    },
    /// The brane was opened again since; this writer has lost it.
    #[error("the brane was opened again: its epoch is {current}")]
    StaleEpoch {
        /// The brane's epoch now.
        current: Epoch,
    },
    /// Another node of the fleet holds the brane, and its lease lasts.
    #[error("the brane is held by {address:?} for {remaining_ms} ms more")]
    Held {
        /// The URL by which clients reach that node.
        address: String,
        /// How long its lease lasts if it is not renewed, in milliseconds.
        remaining_ms: u64,
    },
    /// A snapshot may not hold what the journal does not.
    #[error("the snapshot is ahead of the journal, which ends at {head}")]
    SnapshotAhead {
        /// The durable head.
        head: Seq,
    },
    /// The parts put do not make the snapshot that was to be finished.
    #[error("the snapshot has {found} joined parts, not {expected}")]
    SnapshotIncomplete {
        /// Parts that are there from 0 without a gap.
        found: u32,
        /// Parts that the caller said there are.
        expected: u32,
    },
    /// What was asked for is older than what retention keeps.
    #[error("the journal now begins after {oldest}")]
    Compacted {
        /// The last edit before the oldest chunk kept.
        oldest: Seq,
    },
    /// An argument breaks a stated bound.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// What is stored is not what was written.
    #[error("damaged at {place}: {why}")]
    Damaged {
        /// Where.
        place: Place,
        /// What does not fit.
        why: String,
    },
    /// The store's queue is full: nothing was begun.
    #[error("the store's queue is full")]
    Overloaded,
    /// Others changed what was to be changed, each time that it was tried.
    #[error("others changed it at the same time, {tries} times in a row")]
    Contended {
        /// How often it was tried.
        tries: u32,
    },
    /// No answer within `store_timeout_ms`: the outcome is unknown.
    #[error("no answer from the store within {after_ms} ms")]
    Timeout {
        /// The bound, in milliseconds.
        after_ms: u64,
    },
    /// The device or the database failed: the outcome is unknown.
    #[error("the store failed: {0}")]
    Io(String),
    /// No room left: nothing was stored.
    #[error("the store has no room left: {0}")]
    Full(String),
    /// Another process has this data directory.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The data was written by a newer version of this software.
    #[error("the stored schema is version {found}; this program knows up to {known}")]
    NewerSchema {
        /// The version found.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The data was written by an older version, and reading it as it is
    /// would mean to migrate it.
    #[error(
        "the stored schema is version {found}, this program's is {known}: a start of the \
         server migrates it"
    )]
    OlderSchema {
        /// The version found.
        found: u32,
        /// The version of this program.
        known: u32,
    },
    /// The store was opened for reading alone.
    #[error("the store is open for reading alone")]
    ReadOnly,
    /// The store was closed, or lost its thread.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// True when the same call may succeed later without anyone's help but
    /// the operator's: time-outs, a busy store, a failing or full device.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded
            | Self::Contended { .. }
            | Self::Timeout { .. }
            | Self::Io(_)
            | Self::Full(_) => true,
            Self::UnknownBrane(_)
            | Self::BraneExists(_)
            | Self::Inactive { .. }
            | Self::Changed { .. }
            | Self::NotDue(_)
            | Self::UnknownSnapshot { .. }
            | Self::StaleEpoch { .. }
            | Self::Held { .. }
            | Self::SnapshotAhead { .. }
            | Self::SnapshotIncomplete { .. }
            | Self::Compacted { .. }
            | Self::Invalid(_)
            | Self::Damaged { .. }
            | Self::InUse(_)
            | Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::ReadOnly
            | Self::Closed => false,
        }
    }

    /// True when a write that ended so may nevertheless have been done.
    pub const fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Io(_) | Self::Closed)
    }
}
