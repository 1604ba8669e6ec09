//! Journal chunks.

use avvy_model::{BraneId, Epoch, Rejection, Seq};
use bytes::Bytes;

use crate::checksum;

/// The longest body of a chunk, in bytes (16 MiB). Most flush windows are far
/// below the 256 KiB at which they are closed; one that holds a single large
/// edit, such as the deletion of a subtree, is as large as that edit. The
/// bound keeps a damaged length from filling memory.
pub const MAX_CHUNK_BYTES: usize = 16 << 20;

/// A chunk to be stored: one flush window of one brane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkWrite {
    /// The brane whose journal it continues.
    pub brane: BraneId,
    /// The opening under which it was written.
    pub epoch: Epoch,
    /// The last edit before it: the stored head, or the chunk is refused.
    pub from: Seq,
    /// The last edit in it; above `from`.
    pub to: Seq,
    /// When it was written, in Unix milliseconds: what retention goes by.
    pub at_ms: u64,
    /// The encoded edits, at most [`MAX_CHUNK_BYTES`].
    pub body: Bytes,
}

impl ChunkWrite {
    /// The checksum stored with the chunk: over all its fields.
    pub fn checksum(&self) -> u64 {
        checksum::chunk(self.brane, self.epoch, self.from, self.to, self.at_ms, &self.body)
    }

    /// Refuses what breaks the bounds stated at the fields.
    pub(crate) fn check(&self) -> Result<(), AppendRefusal> {
        if self.from >= self.to || self.body.len() > MAX_CHUNK_BYTES {
            return Err(AppendRefusal::Malformed);
        }
        Ok(())
    }
}

/// A stored chunk whose checksum was right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The opening under which it was written.
    pub epoch: Epoch,
    /// The last edit before it.
    pub from: Seq,
    /// The last edit in it.
    pub to: Seq,
    /// When it was written, in Unix milliseconds.
    pub at_ms: u64,
    /// The encoded edits.
    pub body: Bytes,
}

/// Why one chunk of a group was not stored. The others are not touched by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendRefusal {
    /// The brane was opened again: this writer has lost it for good.
    #[error("the brane was opened again: its epoch is {current}")]
    StaleEpoch {
        /// The brane's epoch now.
        current: Epoch,
    },
    /// The chunk does not begin where the journal ends.
    #[error("the journal ends at {head}")]
    Gap {
        /// The stored head.
        head: Seq,
    },
    /// No brane has this id.
    #[error("no such brane")]
    UnknownBrane,
    /// What the store knows of the brane is damaged: it takes no chunk of it
    /// until somebody has seen to that. The store has logged where and what.
    #[error("what is stored of the brane is damaged")]
    Damaged,
    /// An empty range, or a body above [`MAX_CHUNK_BYTES`].
    #[error("the chunk is empty or too long")]
    Malformed,
}

impl From<AppendRefusal> for Rejection {
    fn from(refusal: AppendRefusal) -> Self {
        match refusal {
            AppendRefusal::StaleEpoch { .. } => Self::Superseded,
            AppendRefusal::Damaged => Self::Damaged,
            AppendRefusal::Gap { .. } | AppendRefusal::UnknownBrane | AppendRefusal::Malformed => {
                Self::Broken
            }
        }
    }
}
