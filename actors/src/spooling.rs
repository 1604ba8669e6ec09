//! Keeps on local disk what waits for a store that is away, so that the end of
//! the process does not lose it.
//!
//! What waits stays in the journal's queue as well, and goes to the store from
//! there. When the store has all that was written here, it is asked for each of
//! these chunks once more: those that it has are let go of, those that it will
//! never take are archived. A process that starts does the same with what an
//! earlier one has left.

use avvy_flow::group_commit::GroupCommitStatus;
use avvy_persistence::spool::{Drained, Spool};
use avvy_persistence::{ChunkWrite, StoreError};
use tracing::{error, info, warn};

/// What is written, and how far that is.
pub(crate) struct Spooling {
    spool: Option<Spool>,
    /// The store is away: every chunk is written here, too.
    active: bool,
    /// To be written next.
    pending: Vec<ChunkWrite>,
    /// A write or a drain is under way.
    busy: bool,
    /// Something is in the spool.
    dirty: bool,
    /// Its bound is reached.
    full: bool,
    /// How many chunks leave the queue before all that is in the spool has.
    until: u64,
}

/// What is to be done.
pub(crate) enum Step {
    Write(Spool, Vec<ChunkWrite>),
    Drain(Spool),
}

impl Spooling {
    pub(crate) fn new(spool: Option<Spool>) -> Self {
        Self {
            spool,
            active: false,
            pending: Vec::new(),
            busy: false,
            dirty: false,
            full: false,
            until: 0,
        }
    }

    /// Whether no more edits should be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.active && self.full
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// The store is away: all that waits is written.
    pub(crate) fn begin(&mut self, queued: impl Iterator<Item = ChunkWrite>) {
        if self.spool.is_some() && !self.active {
            warn!("the store is away; what waits for it is kept on local disk");
            self.active = true;
            self.pending = queued.collect();
        }
    }

    /// A chunk came while the store is away.
    pub(crate) fn push(&mut self, chunk: ChunkWrite) {
        if self.active {
            self.pending.push(chunk);
        }
    }

    /// The store is back.
    pub(crate) fn end(&mut self, queue: GroupCommitStatus) {
        if self.active {
            info!(chunks = queue.chunks, "the store is back");
            (self.active, self.full) = (false, false);
            self.pending.clear();
            self.until = gone(queue) + queue.chunks as u64;
        }
    }

    /// What is to be done next, if anything is.
    pub(crate) fn step(&mut self, queue: GroupCommitStatus) -> Option<Step> {
        let spool = self.spool.as_ref().filter(|_| !self.busy)?;
        let step = if !self.pending.is_empty() {
            Step::Write(spool.clone(), std::mem::take(&mut self.pending))
        } else if self.dirty && !self.active && gone(queue) >= self.until {
            Step::Drain(spool.clone())
        } else {
            return None;
        };
        self.busy = true;
        Some(step)
    }

    pub(crate) fn written(&mut self, result: Result<(), StoreError>) {
        (self.busy, self.dirty) = (false, true);
        match result {
            Ok(()) => {}
            Err(StoreError::Full(why)) => {
                warn!(why, "no more room on local disk for what waits for the store");
                self.full = true;
            }
            Err(error) => error!(%error, "what waits for the store is not kept on local disk"),
        }
    }

    /// Says whether to try again later.
    pub(crate) fn drained(&mut self, result: Result<Drained, StoreError>) -> bool {
        self.busy = false;
        match result {
            Ok(Drained { stored, archived }) => {
                info!(stored, archived, "what was kept on local disk is settled");
                self.dirty = false;
            }
            Err(error) => warn!(%error, "what was kept on local disk is not settled yet"),
        }
        self.dirty
    }
}

/// How many chunks have left the queue.
fn gone(queue: GroupCommitStatus) -> u64 {
    queue.stored_chunks + queue.rejected_chunks
}
