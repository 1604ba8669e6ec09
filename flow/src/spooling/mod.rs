//! What is kept on local disk while the store is away, so that the end of the
//! process does not lose it.
//!
//! What waits stays in the journal's queue as well, and goes to the store from
//! there ([`crate::group_commit`]). From when a commit fails, or the node is not
//! sure of its branes any more, to the next commit that succeeds, every chunk is
//! written to the spool, too, a write at a time. When the store has all that was
//! written, it is asked for each of these chunks once more: those that it has
//! are let go of, those that it will never take are archived. A process that
//! starts does the same with what an earlier one has left, before it opens any
//! brane.
//!
//! Bound: what is to be written is part of the queue, and has its bound. What
//! is on disk has one of the spool's own; once that is reached the driver is
//! told to take no more edits until the store is back. Of a brane of which
//! something could not be written, nothing that follows is either: without what
//! is missing a later process could only archive it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use avvy_model::BraneId;

use crate::group_commit::QueuedChunk;

/// The pause before the store is asked again for what it could not be asked
/// for, in microseconds.
const DRAIN_AGAIN_US: u64 = 1_000_000;

/// What the driver has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpoolingEffect {
    /// Write these chunks behind what is there; then say
    /// [`Spooling::written`].
    Write(Vec<QueuedChunk>),
    /// Settle all that is there with the store; then say
    /// [`Spooling::drained`].
    Drain,
    /// Of these branes something could not be written: until the store is back,
    /// what follows waits in memory alone. Told once of each.
    CutOff(Vec<BraneId>),
    /// Have no more edits taken, as what waits cannot be kept any more (true),
    /// or let them be taken again (false).
    Full(bool),
    /// Call [`Spooling::tick`] at this time.
    WakeAt(u64),
}

/// What came of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// The chunks are on disk.
    Kept,
    /// There is no room for them.
    NoRoom,
    /// They may be there or not.
    Failed,
}

/// The machine. All times are microseconds of one monotonic clock.
#[derive(Debug, Default)]
pub struct Spooling {
    /// The store is away: every chunk is written here, too.
    active: bool,
    /// To be written next.
    pending: Vec<QueuedChunk>,
    /// A write or a drain is under way.
    busy: bool,
    /// The branes of that write, if the store was away all the time.
    writing: BTreeSet<BraneId>,
    /// The branes of which something that waits is not in the spool.
    cut_off: BTreeSet<BraneId>,
    /// Something is in the spool.
    dirty: bool,
    /// Its bound is reached.
    full: bool,
    /// How many chunks have left the queue.
    gone: u64,
    /// How many have, once the store has all that is in the spool.
    until: u64,
    /// After a drain that failed: not before this.
    not_before_us: Option<u64>,
}

impl Spooling {
    /// For a spool that is empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// The store is away: a commit has failed, or the node cannot renew its
    /// lease. All of these wait. True if it was not away before.
    pub fn away<'a>(
        &mut self,
        queued: impl Iterator<Item = &'a QueuedChunk>,
        effects: &mut Vec<SpoolingEffect>,
    ) -> bool {
        let begins = !self.active;
        if begins {
            self.active = true;
            self.pending = queued.cloned().collect();
            self.write(effects);
        }
        begins
    }

    /// A chunk comes into the queue.
    pub fn push(&mut self, queued: &QueuedChunk, effects: &mut Vec<SpoolingEffect>) {
        if self.active && !self.cut_off.contains(&queued.brane) {
            self.pending.push(queued.clone());
            self.write(effects);
        }
    }

    /// A commit has succeeded: `gone` chunks have left the queue since it was
    /// made, and `waiting` are in it. True if the store was away before.
    pub fn stored(
        &mut self,
        now_us: u64,
        gone: u64,
        waiting: usize,
        effects: &mut Vec<SpoolingEffect>,
    ) -> bool {
        self.back(now_us, gone, waiting, effects)
    }

    /// The node is sure of its branes again and nothing waits, so no commit is
    /// going to say that the store is back: `gone` chunks have left the queue
    /// since it was made. True if the store was away before.
    pub fn sure(&mut self, now_us: u64, gone: u64, effects: &mut Vec<SpoolingEffect>) -> bool {
        self.back(now_us, gone, 0, effects)
    }

    fn back(
        &mut self,
        now_us: u64,
        gone: u64,
        waiting: usize,
        effects: &mut Vec<SpoolingEffect>,
    ) -> bool {
        self.gone = gone;
        let ends = std::mem::take(&mut self.active);
        if ends {
            self.pending.clear();
            self.writing.clear();
            self.cut_off.clear();
            self.until = gone + waiting as u64;
            if std::mem::take(&mut self.full) {
                effects.push(SpoolingEffect::Full(false));
            }
        }
        self.drain(now_us, effects);
        ends
    }

    /// The write that was under way has ended.
    pub fn written(&mut self, now_us: u64, written: Written, effects: &mut Vec<SpoolingEffect>) {
        (self.busy, self.dirty) = (false, true);
        let writing = std::mem::take(&mut self.writing);
        if written != Written::Kept && !writing.is_empty() {
            self.cut_off(writing, effects);
        }
        if written == Written::NoRoom && self.active && !self.full {
            self.full = true;
            effects.push(SpoolingEffect::Full(true));
        }
        self.write(effects);
        self.drain(now_us, effects);
    }

    /// The drain that was under way has settled all that was there, or not.
    pub fn drained(&mut self, now_us: u64, settled: bool, effects: &mut Vec<SpoolingEffect>) {
        (self.busy, self.dirty) = (false, !settled);
        if !settled {
            let at_us = now_us + DRAIN_AGAIN_US;
            self.not_before_us = Some(at_us);
            effects.push(SpoolingEffect::WakeAt(at_us));
        }
        self.write(effects);
    }

    /// A [`SpoolingEffect::WakeAt`] has come due.
    pub fn tick(&mut self, now_us: u64, effects: &mut Vec<SpoolingEffect>) {
        self.drain(now_us, effects);
    }

    /// Whether the store is away and all that waits for it is on disk, but for
    /// branes that are [cut off](Self::is_cut_off).
    pub fn is_kept(&self) -> bool {
        self.active && self.pending.is_empty() && !self.busy
    }

    /// Whether something of a brane that waits could not be written.
    pub fn is_cut_off(&self, brane: BraneId) -> bool {
        self.cut_off.contains(&brane)
    }

    /// Whether nothing is on disk, nor on its way there.
    pub fn is_idle(&self) -> bool {
        !self.active && !self.busy && !self.dirty
    }

    /// Writes nothing more of these branes. None was cut off before: nothing
    /// of such a one is written.
    fn cut_off(&mut self, branes: BTreeSet<BraneId>, effects: &mut Vec<SpoolingEffect>) {
        self.pending.retain(|queued| !branes.contains(&queued.brane));
        effects.push(SpoolingEffect::CutOff(branes.iter().copied().collect()));
        self.cut_off.extend(branes);
    }

    fn write(&mut self, effects: &mut Vec<SpoolingEffect>) {
        if !self.busy && !self.pending.is_empty() {
            self.busy = true;
            self.writing = self.pending.iter().map(|queued| queued.brane).collect();
            effects.push(SpoolingEffect::Write(std::mem::take(&mut self.pending)));
        }
    }

    fn drain(&mut self, now_us: u64, effects: &mut Vec<SpoolingEffect>) {
        let has_all = !self.active && self.gone >= self.until;
        let too_early = self.not_before_us.is_some_and(|at| now_us < at);
        if self.dirty && !self.busy && has_all && !too_early {
            (self.busy, self.not_before_us) = (true, None);
            effects.push(SpoolingEffect::Drain);
        }
    }
}
