//! The lease by which a node of a fleet holds its branes.
//!
//! A node renews its lease again and again. Each renewal that succeeds makes
//! it *sure* of its branes for the time of a lease, counted from before the
//! renewal was sent: by the database's clock it cannot have been granted
//! earlier, and a margin makes up for clocks that run at different speeds.
//! From when it is not sure any more until it is again the node is
//! *provisional*: another one may take its branes. It keeps them all the same
//! until it hears that they were taken. What makes that safe is not here: a
//! store takes no chunk of an opening that another has followed.
//!
//! Answers may be late, lost, and out of order. An answer counts for what was
//! sent with it: a brane that was lost under one epoch and opened again under
//! another stays.
//!
//! [`hand_over`] brings one brane to another node.

pub mod hand_over;
mod spread;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use avvy_model::{BraneId, Epoch};

pub use hand_over::HandOver;
pub use spread::Spread;

/// Renewals that may be under way at a time.
const MAX_UNDER_WAY: usize = 4;

/// How a lease is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseConfig {
    /// How long a lease lasts without being renewed, in milliseconds; the
    /// store's own. Default 5,000.
    pub lease_ms: u32,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self { lease_ms: 5_000 }
    }
}

impl LeaseConfig {
    const fn lease_us(self) -> u64 {
        self.lease_ms as u64 * 1_000
    }

    /// From one renewal to the next.
    const fn period_us(self) -> u64 {
        self.lease_us() / 5
    }

    /// So much earlier than the store's clock the lease ends here.
    const fn margin_us(self) -> u64 {
        self.lease_us() / 20
    }

    /// From a renewal that was not answered to the next.
    const fn timeout_us(self) -> u64 {
        self.lease_us() * 3 / 10
    }

    /// From a renewal that failed, or a hint, to the next.
    const fn retry_us(self) -> u64 {
        self.lease_us() / 20
    }
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseInput {
    /// What became of [`LeaseEffect::Enter`] or [`LeaseEffect::Renew`] of this
    /// number; `None`: it failed, or nobody knows.
    Answered {
        /// Of the effect.
        number: u64,
        /// The store's answer.
        answer: Option<Answer>,
    },
    /// A brane was opened here.
    Opened {
        /// Which.
        brane: BraneId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// A brane that was opened here under this epoch is held no more.
    Closed {
        /// Which.
        brane: BraneId,
        /// The epoch it was opened under.
        epoch: Epoch,
    },
    /// Another node says that it has opened a brane. A hint: it may come late,
    /// or never, and need not be true.
    Moved {
        /// Which.
        brane: BraneId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// [`LeaseEffect::WakeAt`] has come due.
    Tick,
}

/// What the store says to a renewal; nothing of it to an entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// The lease was over before this renewal.
    pub lapsed: bool,
    /// Branes of those named that were taken by others.
    pub lost: Vec<BraneId>,
    /// Branes that others offer to this node.
    pub offered: Vec<BraneId>,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseEffect {
    /// Make this node known to the fleet; then comes [`LeaseInput::Answered`].
    Enter {
        /// Says which answer it is.
        number: u64,
    },
    /// Renew the lease; then comes [`LeaseInput::Answered`].
    Renew {
        /// Says which answer it is.
        number: u64,
        /// The branes that are held, each under its epoch.
        held: Vec<(BraneId, Epoch)>,
    },
    /// The node is provisional, or no longer.
    Provisional(bool),
    /// Another node has taken this brane: drop it.
    Lost {
        /// Which.
        brane: BraneId,
        /// The epoch it was held under.
        epoch: Epoch,
    },
    /// Another node offers this brane: load it without opening it, and say
    /// that it is ready.
    Preload {
        /// Which.
        brane: BraneId,
    },
    /// A brane is offered no more: it was handed over, or kept. Opening it
    /// tells.
    Decided {
        /// Which.
        brane: BraneId,
    },
    /// Send [`LeaseInput::Tick`] at this time.
    WakeAt(u64),
}

/// A lease at one moment; the counters since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct LeaseStatus {
    /// The node is part of its fleet.
    pub entered: bool,
    /// Others may take its branes.
    pub provisional: bool,
    /// For how long it is sure, in milliseconds.
    pub sure_ms: u64,
    /// Branes that are held.
    pub held: usize,
    /// Branes that others offer.
    pub offered: usize,
    /// Renewals that succeeded.
    pub renewals: u64,
    /// Renewals that failed or were not answered in time.
    pub failures: u64,
    /// Times that the lease was over before it was renewed.
    pub lapses: u64,
    /// Branes that others took.
    pub taken: u64,
}

/// A renewal on its way.
#[derive(Debug)]
struct Sent {
    sent_us: u64,
    held: BTreeMap<BraneId, Epoch>,
    /// It was counted as failed because its answer takes too long.
    is_overdue: bool,
}

/// The machine. All times are microseconds of one monotonic clock.
#[derive(Debug)]
pub struct Lease {
    config: LeaseConfig,
    entered: bool,
    /// Until when this node is sure.
    sure_until_us: u64,
    /// What was said last.
    provisional: bool,
    held: BTreeMap<BraneId, Epoch>,
    offered: BTreeSet<BraneId>,
    /// By their numbers.
    under_way: BTreeMap<u64, Sent>,
    next_number: u64,
    /// The newest renewal that was answered: only it knows what is offered.
    answered: u64,
    /// When the next is sent.
    next_us: u64,
    /// The tick that was asked for.
    wake_us: Option<u64>,
    counters: LeaseStatus,
}

impl Lease {
    /// A node that has not entered yet; it is provisional, and says so only
    /// when that ends. The first [`LeaseInput::Tick`] begins.
    pub fn new(config: LeaseConfig) -> Self {
        Self {
            config,
            entered: false,
            sure_until_us: 0,
            provisional: true,
            held: BTreeMap::new(),
            offered: BTreeSet::new(),
            under_way: BTreeMap::new(),
            next_number: 1,
            answered: 0,
            next_us: 0,
            wake_us: None,
            counters: LeaseStatus::default(),
        }
    }

    /// Takes in what has happened and says what is to be done.
    pub fn handle(&mut self, now_us: u64, input: LeaseInput, effects: &mut Vec<LeaseEffect>) {
        match input {
            LeaseInput::Answered { number, answer } => {
                self.on_answered(now_us, number, answer, effects);
            }
            LeaseInput::Opened { brane, epoch } => {
                self.held.insert(brane, epoch);
            }
            LeaseInput::Closed { brane, epoch } => {
                if self.held.get(&brane) == Some(&epoch) {
                    self.held.remove(&brane);
                }
            }
            LeaseInput::Moved { brane, epoch } => self.on_moved(now_us, brane, epoch, effects),
            LeaseInput::Tick => self.wake_us = None,
        }
        self.settle(now_us, effects);
    }

    /// Whether no other node can have taken a brane that is held here.
    pub fn is_sure(&self, now_us: u64) -> bool {
        now_us < self.sure_until_us
    }

    /// The epoch under which a brane is held.
    pub fn epoch(&self, brane: BraneId) -> Option<Epoch> {
        self.held.get(&brane).copied()
    }

    /// For metrics and tests.
    pub fn status(&self, now_us: u64) -> LeaseStatus {
        LeaseStatus {
            entered: self.entered,
            provisional: !self.is_sure(now_us),
            sure_ms: self.sure_until_us.saturating_sub(now_us) / 1_000,
            held: self.held.len(),
            offered: self.offered.len(),
            ..self.counters
        }
    }

    fn on_answered(
        &mut self,
        now_us: u64,
        number: u64,
        answer: Option<Answer>,
        effects: &mut Vec<LeaseEffect>,
    ) {
        let Some(sent) = self.under_way.remove(&number) else { return };
        let Some(answer) = answer else {
            self.counters.failures += u64::from(!sent.is_overdue);
            self.next_us = self.next_us.min(now_us + self.config.retry_us());
            return;
        };
        self.entered = true;
        self.counters.renewals += 1;
        let lease_us = self.config.lease_us() - self.config.margin_us();
        self.sure_until_us = self.sure_until_us.max(sent.sent_us + lease_us);
        let Answer { lapsed, lost, offered } = answer;
        self.counters.lapses += u64::from(lapsed);
        for brane in lost {
            self.lose(brane, sent.held.get(&brane).copied(), effects);
        }
        if number > self.answered {
            self.answered = number;
            self.see_offers(offered.into_iter().collect(), effects);
        }
    }

    /// A sure node asks the store soon, which knows. One that is not may not
    /// hear of the store for long, and goes by what it is told. Should that not
    /// be true, what waits of the brane is stored as that of any other.
    fn on_moved(
        &mut self,
        now_us: u64,
        brane: BraneId,
        epoch: Epoch,
        effects: &mut Vec<LeaseEffect>,
    ) {
        let held = self.held.get(&brane).copied();
        if held.is_none_or(|held| held >= epoch) {
            return;
        }
        if self.is_sure(now_us) {
            self.next_us = self.next_us.min(now_us + self.config.retry_us());
        } else {
            self.lose(brane, held, effects);
        }
    }

    /// A brane that is held under the epoch that was named is another's.
    fn lose(&mut self, brane: BraneId, named: Option<Epoch>, effects: &mut Vec<LeaseEffect>) {
        let Some(epoch) = named.filter(|epoch| self.held.get(&brane) == Some(epoch)) else {
            return;
        };
        self.held.remove(&brane);
        self.counters.taken += 1;
        effects.push(LeaseEffect::Lost { brane, epoch });
    }

    fn see_offers(&mut self, offered: BTreeSet<BraneId>, effects: &mut Vec<LeaseEffect>) {
        let decided = self.offered.difference(&offered);
        effects.extend(decided.map(|brane| LeaseEffect::Decided { brane: *brane }));
        let new = offered.difference(&self.offered);
        effects.extend(new.map(|brane| LeaseEffect::Preload { brane: *brane }));
        self.offered = offered;
    }

    /// Says whether the node is sure, sends what is due, asks to be woken.
    fn settle(&mut self, now_us: u64, effects: &mut Vec<LeaseEffect>) {
        let provisional = !self.is_sure(now_us);
        if provisional != self.provisional {
            self.provisional = provisional;
            effects.push(LeaseEffect::Provisional(provisional));
        }
        self.give_up_waiting(now_us);
        if now_us >= self.next_us && self.may_send() {
            self.send(now_us, effects);
        }
        self.ask_to_be_woken(now_us, effects);
    }

    /// One whose answer takes too long is not waited for; it counts when it
    /// comes after all.
    fn give_up_waiting(&mut self, now_us: u64) {
        let timeout_us = self.config.timeout_us();
        for sent in self.under_way.values_mut().filter(|sent| !sent.is_overdue) {
            if now_us >= sent.sent_us + timeout_us {
                sent.is_overdue = true;
                self.counters.failures += 1;
            }
        }
    }

    fn may_send(&self) -> bool {
        self.under_way.len() < MAX_UNDER_WAY && self.under_way.values().all(|sent| sent.is_overdue)
    }

    fn send(&mut self, now_us: u64, effects: &mut Vec<LeaseEffect>) {
        let number = self.next_number;
        self.next_number += 1;
        self.next_us = now_us + self.config.period_us();
        let held = if self.entered { self.held.clone() } else { BTreeMap::new() };
        effects.push(match self.entered {
            true => {
                let held = held.iter().map(|(brane, epoch)| (*brane, *epoch)).collect();
                LeaseEffect::Renew { number, held }
            }
            false => LeaseEffect::Enter { number },
        });
        self.under_way.insert(number, Sent { sent_us: now_us, held, is_overdue: false });
    }

    fn ask_to_be_woken(&mut self, now_us: u64, effects: &mut Vec<LeaseEffect>) {
        let timeout_us = self.config.timeout_us();
        let waited_for = self.under_way.values().filter(|sent| !sent.is_overdue);
        let overdue = waited_for.map(|sent| sent.sent_us + timeout_us);
        // What cannot be sent waits for an answer, or for one to be overdue.
        let next = self.may_send().then_some(self.next_us);
        let unsure = (!self.provisional).then_some(self.sure_until_us);
        let due = overdue.chain(next).chain(unsure).min();
        let Some(due_us) = due.map(|due_us| due_us.max(now_us)) else { return };
        if self.wake_us.is_none_or(|known| due_us < known) {
            self.wake_us = Some(due_us);
            effects.push(LeaseEffect::WakeAt(due_us));
        }
    }
}
