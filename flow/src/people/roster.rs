//! Joins and leaves as an ordered log with a version: gathered, encoded once,
//! and kept for sessions that are slow.

use std::collections::VecDeque;

use avvy_protocol::{Channel, PeopleChanged, Person, PersonAt};

/// Changes in one message.
const MAX_BATCH: usize = 512;

/// A join or a leave.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Joined(PersonAt),
    Left(Person),
}

/// Changes that were told together, encoded.
struct Batch<F> {
    from: u64,
    to: u64,
    frame: F,
}

/// The log.
pub(super) struct Roster<F> {
    /// Counts changes that are in a batch. Everyone who follows stands at the
    /// end of one.
    told: u64,
    waiting: Vec<Change>,
    told_us: Option<u64>,
    ring: VecDeque<Batch<F>>,
}

/// What comes after a version.
pub(super) enum Next<'a, F> {
    /// Nothing.
    Nothing,
    /// This, up to a version.
    Batch(&'a F, u64),
    /// It is no longer kept.
    Lost,
}

impl<F> Default for Roster<F> {
    fn default() -> Self {
        Self { told: 0, waiting: Vec::new(), told_us: None, ring: VecDeque::new() }
    }
}

impl<F> Roster<F> {
    /// The version at the end of the last batch.
    pub fn told(&self) -> u64 {
        self.told
    }

    pub fn push(&mut self, change: Change) {
        self.waiting.push(change);
    }

    /// When what has gathered is to be told.
    pub fn due_us(&self, interval_us: u64) -> Option<u64> {
        let due_us = self.told_us.map_or(0, |told_us| told_us + interval_us);
        (!self.waiting.is_empty()).then_some(due_us)
    }

    /// Nobody follows: nothing is kept for anybody.
    pub fn skip(&mut self) {
        self.told += self.waiting.len() as u64;
        self.waiting.clear();
        self.ring.clear();
    }

    /// Makes batches of what has gathered and keeps `keep` changes, the last
    /// ones in any case.
    pub fn tell(
        &mut self,
        now_us: u64,
        channel: Channel,
        keep: usize,
        mut encode: impl FnMut(PeopleChanged) -> F,
    ) {
        self.told_us = Some(now_us);
        let first = self.told;
        for changes in std::mem::take(&mut self.waiting).chunks(MAX_BATCH) {
            let (from, to) = (self.told, self.told + changes.len() as u64);
            let mut changed = PeopleChanged {
                channel,
                from,
                to,
                joined: Vec::new(),
                left: Vec::new(),
                reset: false,
            };
            for change in changes {
                match change {
                    Change::Joined(person) => changed.joined.push(*person),
                    Change::Left(person) => changed.left.push(*person),
                }
            }
            self.told = to;
            self.ring.push_back(Batch { from, to, frame: encode(changed) });
        }
        let floor = self.told.saturating_sub(keep as u64).min(first);
        while self.ring.front().is_some_and(|batch| batch.from < floor) {
            self.ring.pop_front();
        }
    }

    /// What comes after this version.
    pub fn next(&self, at: u64) -> Next<'_, F> {
        if at == self.told {
            return Next::Nothing;
        }
        let index = self.ring.partition_point(|batch| batch.from < at);
        match self.ring.get(index).filter(|batch| batch.from == at) {
            Some(batch) => Next::Batch(&batch.frame, batch.to),
            None => Next::Lost,
        }
    }
}
