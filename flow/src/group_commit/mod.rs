//! Which journal chunks go into the next transaction.
//!
//! Natural group commit: an idle store commits what there is at once; while
//! one commit is under way, the chunks of all branes collect for the next. Where
//! commits cost the store more than a wait costs the editors, one that held many
//! edits is followed by a pause, so that the next holds more. A
//! failed commit keeps its chunks and is repeated in the same order after a
//! rising pause, for as long as it takes. A chunk is only let go of when it is
//! stored, or when the store says that it will never take it: the brane has
//! been opened elsewhere since, what is stored of it is damaged, or the chunk
//! cannot be right. Then it goes alone, with the later chunks of its opening;
//! the others of the group are stored. A repetition may find its chunks stored
//! already, so the store takes the same chunk twice for once.
//!
//! Bound: chunks hold events that were applied, so none can be turned away.
//! Instead, at [`GroupCommitConfig::max_queued_bytes`] the machine asks for
//! relief: the driver tells every brane
//! ([`crate::brane_core::BraneInput::Pressure`]), and they refuse edits as
//! `unavailable` until the queue is down to half. The queue grows beyond the
//! bound by what the branes accept before they hear of it: the windows that
//! are open in that moment, and what their sessions' credits have let in.
//!
//! Relief is also asked for while what waits cannot be kept on local disk any
//! more, and, if [`GroupCommitConfig::refuse_when_away`] wants it, while the
//! store is away.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use avvy_model::{BraneId, Epoch, Rejection, Seq};
use bytes::Bytes;
use rustc_hash::FxHashMap;

/// One window of a brane's log, for the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalChunk {
    /// The epoch of the whole range.
    pub epoch: Epoch,
    /// The range is `(from, to]`.
    pub from: Seq,
    /// Its end.
    pub to: Seq,
    /// When its last edit was accepted, in Unix milliseconds. Part of the
    /// chunk, so that a commit that is repeated says the same again.
    pub at_ms: u64,
    /// The events, encoded by `brane::journal`.
    pub body: Bytes,
}

/// A chunk with its brane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueuedChunk {
    /// Whose.
    pub brane: BraneId,
    /// What.
    pub chunk: JournalChunk,
}

/// Bounds of the journal's queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupCommitConfig {
    /// Bytes in one transaction. Default 8 MiB. One chunk that is larger has
    /// a transaction of its own.
    pub max_commit_bytes: usize,
    /// Chunks in one transaction. Default 4,096.
    pub max_commit_chunks: usize,
    /// Bytes waiting, over all branes, at which branes begin to refuse edits.
    /// Default 256 MiB.
    pub max_queued_bytes: usize,
    /// The pause after a first failure, in milliseconds. Default 50. It
    /// doubles with each further one.
    pub retry_initial_ms: u32,
    /// The longest pause, in milliseconds. Default 5,000.
    pub retry_max_ms: u32,
    /// For each edit of a commit, the next begins so many microseconds later,
    /// counted from the beginning of that commit. Default 0. Below one edit in
    /// this time nothing waits.
    pub pause_us_per_edit: u32,
    /// The longest such pause, in milliseconds. Default 0.
    pub pause_max_ms: u32,
    /// Whether branes refuse edits while the store is away: since a commit
    /// failed, or since the node is not sure that its branes are its own.
    /// Default false: edits wait, up to the queue's bound.
    pub refuse_when_away: bool,
}

impl Default for GroupCommitConfig {
    fn default() -> Self {
        Self {
            max_commit_bytes: 8 * 1024 * 1024,
            max_commit_chunks: 4_096,
            max_queued_bytes: 256 * 1024 * 1024,
            retry_initial_ms: 50,
            retry_max_ms: 5_000,
            pause_us_per_edit: 0,
            pause_max_ms: 0,
            refuse_when_away: false,
        }
    }
}

/// What the driver has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupCommitEffect {
    /// Store these chunks in one transaction, in this order; then say
    /// [`GroupCommit::stored`] or [`GroupCommit::failed`].
    Commit(Vec<QueuedChunk>),
    /// Everything of this brane up to here is durable.
    Durable {
        /// Whose.
        brane: BraneId,
        /// Under which opening.
        epoch: Epoch,
        /// The watermark.
        seq: Seq,
    },
    /// The store will never take this opening's chunks; they are dropped. The
    /// opening must end, and its sessions rewind.
    Rejected {
        /// Which, and those before it.
        opening: Rejected,
        /// Chunks dropped.
        chunks: usize,
        /// The last edit dropped.
        to: Seq,
    },
    /// Tell every brane to refuse edits (true) or to take them again (false).
    Pressure(bool),
    /// Call [`GroupCommit::tick`] at this time.
    WakeAt(u64),
}

/// An opening of a brane whose chunks the store will never take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// Which brane.
    pub brane: BraneId,
    /// Under which opening the chunks were written.
    pub epoch: Epoch,
    /// Why.
    pub why: Rejection,
}

/// The openings whose chunks a store will never take, by its answer for each
/// chunk of a batch. The first refusal of an opening says why, and `log` hears
/// of it; the later chunks only lack the one before them.
pub fn rejected<R: Copy + Into<Rejection>>(
    batch: &[QueuedChunk],
    answers: &[Result<(), R>],
    mut log: impl FnMut(&QueuedChunk, R),
) -> Vec<Rejected> {
    let mut rejected: Vec<Rejected> = Vec::new();
    for (queued, answer) in batch.iter().zip(answers) {
        let Err(refusal) = *answer else { continue };
        let (brane, epoch) = (queued.brane, queued.chunk.epoch);
        if rejected.iter().all(|first| (first.brane, first.epoch) != (brane, epoch)) {
            log(queued, refusal);
            rejected.push(Rejected { brane, epoch, why: refusal.into() });
        }
    }
    rejected
}

/// A queue at one moment; the counters since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct GroupCommitStatus {
    /// Chunks that are not stored yet.
    pub chunks: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Chunks in the commit that is under way.
    pub in_flight: usize,
    /// Branes with chunks in the queue.
    pub branes: usize,
    /// Whether branes were told to refuse edits.
    pub pressure: bool,
    /// Commits that succeeded.
    pub commits: u64,
    /// Chunks stored.
    pub stored_chunks: u64,
    /// Bytes stored.
    pub stored_bytes: u64,
    /// Commits that failed and were or will be repeated.
    pub failures: u64,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// Chunks dropped because the store will never take them.
    pub rejected_chunks: u64,
}

/// The machine. All times are microseconds of one monotonic clock.
#[derive(Debug)]
pub struct GroupCommit {
    config: GroupCommitConfig,
    queue: VecDeque<QueuedChunk>,
    /// So many from the queue's front are in the commit that is under way.
    in_flight: usize,
    /// When that began.
    began_us: u64,
    /// After a failure, or many edits: not before this.
    not_before_us: Option<u64>,
    /// Chunks in the queue of each brane.
    per_brane: FxHashMap<BraneId, usize>,
    /// The queue has reached its bound, and is not down to half of it yet.
    too_long: bool,
    /// What waits cannot be kept on local disk any more.
    spool_full: bool,
    /// The node is not sure that its branes are its own.
    provisional: bool,
    counters: GroupCommitStatus,
}

impl GroupCommit {
    /// An empty queue.
    pub fn new(config: GroupCommitConfig) -> Self {
        Self {
            config,
            queue: VecDeque::new(),
            in_flight: 0,
            began_us: 0,
            not_before_us: None,
            per_brane: FxHashMap::default(),
            too_long: false,
            spool_full: false,
            provisional: false,
            counters: GroupCommitStatus::default(),
        }
    }

    /// Takes in a brane's next chunk.
    pub fn push(
        &mut self,
        now_us: u64,
        brane: BraneId,
        chunk: JournalChunk,
        effects: &mut Vec<GroupCommitEffect>,
    ) {
        self.counters.bytes += chunk.body.len();
        *self.per_brane.entry(brane).or_default() += 1;
        self.queue.push_back(QueuedChunk { brane, chunk });
        self.weigh(effects);
        self.start(now_us, effects);
    }

    /// The commit that was under way is durable, except for the chunks of
    /// these openings.
    pub fn stored(
        &mut self,
        now_us: u64,
        rejected: &[Rejected],
        effects: &mut Vec<GroupCommitEffect>,
    ) {
        for opening in rejected {
            self.reject(*opening, effects);
        }
        let mut edits = 0;
        let mut watermarks: Vec<(BraneId, Epoch, Seq)> = Vec::new();
        for _ in 0..std::mem::take(&mut self.in_flight) {
            let Some(QueuedChunk { brane, chunk }) = self.queue.pop_front() else { break };
            self.forget(brane, chunk.body.len());
            edits += chunk.to.0.saturating_sub(chunk.from.0);
            self.counters.stored_chunks += 1;
            self.counters.stored_bytes += chunk.body.len() as u64;
            match watermarks.iter_mut().find(|mark| (mark.0, mark.1) == (brane, chunk.epoch)) {
                Some(mark) => mark.2 = chunk.to,
                None => watermarks.push((brane, chunk.epoch, chunk.to)),
            }
        }
        let durable = watermarks.into_iter();
        effects.extend(durable.map(|(brane, epoch, seq)| GroupCommitEffect::Durable {
            brane,
            epoch,
            seq,
        }));
        self.counters.commits += 1;
        self.counters.failures_in_a_row = 0;
        self.pause(now_us, edits, effects);
        self.weigh(effects);
        self.start(now_us, effects);
    }

    /// Has the next commit wait for more, if the last one held many edits.
    fn pause(&mut self, now_us: u64, edits: u64, effects: &mut Vec<GroupCommitEffect>) {
        let pause_us = (edits.saturating_mul(self.config.pause_us_per_edit.into()))
            .min(u64::from(self.config.pause_max_ms) * 1_000);
        let at_us = self.began_us + pause_us;
        if pause_us > 0 && at_us > now_us {
            self.not_before_us = Some(at_us);
            effects.push(GroupCommitEffect::WakeAt(at_us));
        }
    }

    /// The commit that was under way failed, or nobody knows: it will be
    /// repeated.
    pub fn failed(&mut self, now_us: u64, effects: &mut Vec<GroupCommitEffect>) {
        self.in_flight = 0;
        let doublings = self.counters.failures_in_a_row.min(20);
        let pause_ms = (u64::from(self.config.retry_initial_ms) << doublings)
            .min(u64::from(self.config.retry_max_ms));
        self.counters.failures += 1;
        self.counters.failures_in_a_row += 1;
        let at_us = now_us + pause_ms * 1_000;
        self.not_before_us = Some(at_us);
        effects.push(GroupCommitEffect::WakeAt(at_us));
        self.weigh(effects);
    }

    /// The node is not sure any more that its branes are its own, or is again.
    pub fn provisional(&mut self, on: bool, effects: &mut Vec<GroupCommitEffect>) {
        self.provisional = on;
        self.weigh(effects);
    }

    /// There is no more room on local disk for what waits, or it need not be
    /// kept there any more.
    pub fn spool_full(&mut self, on: bool, effects: &mut Vec<GroupCommitEffect>) {
        self.spool_full = on;
        self.weigh(effects);
    }

    /// A [`GroupCommitEffect::WakeAt`] has come due.
    pub fn tick(&mut self, now_us: u64, effects: &mut Vec<GroupCommitEffect>) {
        self.start(now_us, effects);
    }

    /// Chunks of this brane that are not stored yet. A brane is opened anew
    /// only when there are none.
    pub fn pending_of(&self, brane: BraneId) -> usize {
        self.per_brane.get(&brane).copied().unwrap_or(0)
    }

    /// What waits and what is under way, in order.
    pub fn queued(&self) -> impl Iterator<Item = &QueuedChunk> {
        self.queue.iter()
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many chunks wait or are under way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many chunks have left the queue, stored or dropped.
    pub fn gone(&self) -> u64 {
        self.counters.stored_chunks + self.counters.rejected_chunks
    }

    /// Whether branes were told to refuse edits.
    pub fn pressure(&self) -> bool {
        self.counters.pressure
    }

    /// For metrics and tests.
    pub fn status(&self) -> GroupCommitStatus {
        GroupCommitStatus {
            chunks: self.queue.len(),
            in_flight: self.in_flight,
            branes: self.per_brane.len(),
            ..self.counters
        }
    }

    /// Begins a commit, if none is under way and it is time.
    fn start(&mut self, now_us: u64, effects: &mut Vec<GroupCommitEffect>) {
        let too_early = self.not_before_us.is_some_and(|at| now_us < at);
        if self.in_flight > 0 || self.queue.is_empty() || too_early {
            return;
        }
        (self.not_before_us, self.began_us) = (None, now_us);
        let mut bytes = 0;
        let fits = |queued: &&QueuedChunk| {
            bytes += queued.chunk.body.len();
            bytes <= self.config.max_commit_bytes
        };
        let count = self.queue.iter().take(self.config.max_commit_chunks).take_while(fits).count();
        self.in_flight = count.max(1);
        let batch = self.queue.iter().take(self.in_flight).cloned().collect();
        effects.push(GroupCommitEffect::Commit(batch));
    }

    /// Asks for relief, or ends it.
    fn weigh(&mut self, effects: &mut Vec<GroupCommitEffect>) {
        let bound = self.config.max_queued_bytes;
        let bound = if self.too_long { bound / 2 + 1 } else { bound };
        self.too_long = self.counters.bytes >= bound;
        let is_away = self.provisional || self.counters.failures_in_a_row > 0;
        let refuses = self.config.refuse_when_away && is_away;
        let pressure = self.too_long || self.spool_full || refuses;
        if pressure != self.counters.pressure {
            self.counters.pressure = pressure;
            effects.push(GroupCommitEffect::Pressure(pressure));
        }
    }

    /// Drops every chunk of this opening and of earlier ones.
    fn reject(&mut self, opening: Rejected, effects: &mut Vec<GroupCommitEffect>) {
        let Rejected { brane, epoch, .. } = opening;
        let (mut chunks, mut to) = (0, Seq(0));
        let in_flight = self.in_flight;
        let mut index = 0;
        let mut dropped_bytes = Vec::new();
        self.queue.retain(|queued| {
            let is_rejected = queued.brane == brane && queued.chunk.epoch <= epoch;
            if is_rejected {
                chunks += 1;
                to = to.max(queued.chunk.to);
                dropped_bytes.push(queued.chunk.body.len());
                self.in_flight -= usize::from(index < in_flight);
            }
            index += 1;
            !is_rejected
        });
        for bytes in dropped_bytes {
            self.forget(brane, bytes);
        }
        self.counters.rejected_chunks += chunks as u64;
        effects.push(GroupCommitEffect::Rejected { opening, chunks, to });
    }

    /// A chunk of this brane has left the queue.
    fn forget(&mut self, brane: BraneId, bytes: usize) {
        self.counters.bytes -= bytes;
        if let Some(count) = self.per_brane.get_mut(&brane) {
            *count -= 1;
            if *count == 0 {
                self.per_brane.remove(&brane);
            }
        }
    }
}
