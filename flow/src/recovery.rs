//! From what a store holds to an open brane: a snapshot, then the journal's
//! chunks after it.
//!
//! The last chunks also become windows again, so that the fan-out can replay
//! them for clients that come back after a restart: windows and chunks have
//! the same boundaries. Chunks before the snapshot may be given, too; they
//! serve only for that.

use std::collections::VecDeque;

use avvy_brane::journal::{self, JournalError};
use avvy_brane::{Clients, Outcome, ReplayError, World};
use avvy_model::{Event, Seq};
use avvy_protocol::{Channel, Flush};

use crate::brane_core::{Recovered, wire_items};
use crate::group_commit::JournalChunk;
use crate::lineage::Lineage;

/// How many windows are kept for the fan-out: as many as its ring takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TailBounds {
    /// By number.
    pub max_windows: usize,
    /// By the bytes of their chunks.
    pub max_bytes: usize,
}

/// The journal does not fit the snapshot or itself: what is stored is damaged.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A chunk is missing.
    #[error("a chunk begins at {found}, where {expected} should be")]
    Gap {
        /// The end of the one before.
        expected: Seq,
        /// Its beginning.
        found: Seq,
    },
    /// A chunk does not hold the edits that it says.
    #[error("the chunk from {from} to {to} holds other edits")]
    Range {
        /// Its beginning.
        from: Seq,
        /// Its end.
        to: Seq,
    },
    /// A chunk cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An event does not fit the world.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// A brane on its way up.
pub struct Recovery {
    world: World,
    clients: Clients,
    snapshot: Seq,
    head: Seq,
    bounds: TailBounds,
    tail: VecDeque<Tail>,
    tail_bytes: usize,
}

struct Tail {
    bytes: usize,
    flush: Flush,
}

impl Recovery {
    /// Begins with a snapshot that was made at `at`, or with a new world at 0.
    pub fn new(world: World, clients: Clients, at: Seq, bounds: TailBounds) -> Self {
        Self {
            world,
            clients,
            snapshot: at,
            head: at,
            bounds,
            tail: VecDeque::new(),
            tail_bytes: 0,
        }
    }

    /// Takes in the next chunk, in the order of the log.
    ///
    /// # Errors
    /// A [`RecoveryError`], after which this must be given up.
    pub fn chunk(&mut self, chunk: &JournalChunk) -> Result<(), RecoveryError> {
        let JournalChunk { from, to, .. } = *chunk;
        let events = journal::decode(&chunk.body)?;
        let dense = (from.0 + 1..=to.0).eq(events.iter().map(|event| event.seq.0));
        if !dense || from >= to {
            return Err(RecoveryError::Range { from, to });
        }
        if to > self.snapshot {
            if from != self.head {
                return Err(RecoveryError::Gap { expected: self.head, found: from });
            }
            self.replay(&events)?;
            self.head = to;
        }
        self.keep(chunk, &events);
        Ok(())
    }

    /// The last edit taken in.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// What to open the brane with, and the windows to publish to its new
    /// fan-out first, which begins at [`Recovered::floor`].
    pub fn finish(self, channel: Channel, lineage: Lineage) -> (Recovered, Vec<Flush>) {
        let Self { world, clients, snapshot, head, mut tail, .. } = self;
        if tail.back().is_some_and(|last| last.flush.to != head) {
            tail.clear();
        }
        let floor = tail.front().map_or(head, |tail| tail.flush.from);
        let windows = tail.into_iter().map(|tail| Flush { channel, ..tail.flush }).collect();
        (Recovered { world, clients, lineage, head, floor, snapshot }, windows)
    }

    fn replay(&mut self, events: &[Event]) -> Result<(), RecoveryError> {
        for event in events {
            self.world.replay(event)?;
            let outcome = Outcome::Applied(event.seq);
            self.clients.record(event.edit, event.by, outcome, event.at_ms);
        }
        Ok(())
    }

    fn keep(&mut self, chunk: &JournalChunk, events: &[Event]) {
        if self.tail.back().is_some_and(|last| last.flush.to != chunk.from) {
            self.tail.clear();
            self.tail_bytes = 0;
        }
        let flush = Flush {
            channel: Channel(0),
            epoch: chunk.epoch,
            from: chunk.from,
            to: chunk.to,
            durable: chunk.to,
            ms: events.last().map_or(0, |event| event.at_ms),
            items: wire_items(events),
        };
        let bytes = chunk.body.len();
        self.tail.push_back(Tail { bytes, flush });
        self.tail_bytes += bytes;
        while self.tail.len() > self.bounds.max_windows || self.tail_bytes > self.bounds.max_bytes {
            let Some(oldest) = self.tail.pop_front() else { break };
            self.tail_bytes -= oldest.bytes;
        }
    }
}
