//! Reads a stretch of a journal: in order, joined, within a budget.
//!
//! Pure, so that every store answers gaps, damage and forgotten chunks alike.

use avvy_model::{BraneId, Seq};

use crate::chunk::Chunk;
use crate::error::{Place, StoreError};

/// Collects the chunks that hold the edits after a place.
pub(crate) struct Chain {
    brane: BraneId,
    after: Seq,
    head: Seq,
    covered: Seq,
    room: usize,
    chunks: Vec<Chunk>,
}

impl Chain {
    /// A stretch after `after` of a journal that ends at `head` and whose
    /// edits up to `covered` are in a snapshot.
    pub(crate) const fn new(
        brane: BraneId,
        after: Seq,
        head: Seq,
        covered: Seq,
        max_bytes: usize,
    ) -> Self {
        Self { brane, after, head, covered, room: max_bytes, chunks: Vec::new() }
    }

    /// Takes the next stored chunk, whose key says that it ends at `to`;
    /// false when the stretch is complete. A chunk that is not what was
    /// written ends the stretch if good ones come before it, and fails it
    /// otherwise.
    pub(crate) fn take(
        &mut self,
        to: Seq,
        chunk: Result<Chunk, String>,
    ) -> Result<bool, StoreError> {
        let end = self.chunks.last().map_or(self.after, |last| last.to);
        let is_first = self.chunks.is_empty();
        let chunk = match chunk {
            Err(why) => return self.stop(end, to, why),
            Ok(chunk) if is_first && chunk.from > end && chunk.from <= self.covered => {
                return Err(StoreError::Compacted { oldest: chunk.from });
            }
            Ok(chunk) if chunk.from > end => return self.stop(end, chunk.from, "missing".into()),
            Ok(chunk) if chunk.from < end && !is_first => {
                return self.stop(chunk.from, to, "overlaps the chunk before it".into());
            }
            Ok(chunk) => chunk,
        };
        if !is_first && chunk.body.len() > self.room {
            return Ok(false);
        }
        self.room = self.room.saturating_sub(chunk.body.len());
        self.chunks.push(chunk);
        Ok(true)
    }

    /// The stretch.
    pub(crate) fn finish(self) -> Result<Vec<Chunk>, StoreError> {
        if !self.chunks.is_empty() || self.after >= self.head {
            return Ok(self.chunks);
        }
        if self.after < self.covered {
            return Err(StoreError::Compacted { oldest: self.head });
        }
        let place = Place::Chunk { brane: self.brane, from: self.after, to: self.head };
        Err(StoreError::Damaged { place, why: "missing".into() })
    }

    fn stop(&self, from: Seq, to: Seq, why: String) -> Result<bool, StoreError> {
        if self.chunks.is_empty() {
            let place = Place::Chunk { brane: self.brane, from, to };
            return Err(StoreError::Damaged { place, why });
        }
        Ok(false)
    }
}
