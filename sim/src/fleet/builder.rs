//! Somebody who edits a brane, wherever it is.

use std::collections::BTreeMap;

use avvy_model::{BraneId, Epoch, Seq};

use super::judge::Judge;

/// Edits without a last word that a builder has at most.
const KEPT: usize = 8;
/// From what was said last to going elsewhere, in microseconds.
const PATIENCE_US: u64 = 1_500_000;

/// What a builder says.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Join,
    /// In the brane as it was joined: an edit for another opening is not served.
    Edit(Epoch, u64),
}

/// What a node says.
#[derive(Clone, Debug)]
pub(super) enum Hears {
    Joined {
        epoch: Epoch,
    },
    Applied {
        epoch: Epoch,
        number: u64,
        at: Seq,
    },
    Durable {
        epoch: Epoch,
        to: Seq,
    },
    /// The brane is not served here now.
    Left,
    /// It is there.
    Moved {
        slot: usize,
        retry_after_us: Option<u64>,
    },
}

pub(super) struct Builder {
    pub(super) number: u32,
    pub(super) brane: BraneId,
    /// The node that is talked to.
    pub(super) slot: usize,
    /// The connection: what comes by an earlier one is not heard.
    pub(super) link: u64,
    joined: Option<Epoch>,
    asked: bool,
    /// Edits without a last word, and where each is.
    kept: BTreeMap<u64, Option<Seq>>,
    pub(super) made: u64,
    said_us: u64,
    not_before_us: u64,
    /// How often it was sent on without arriving.
    hops: u32,
}

impl Builder {
    pub(super) fn new(number: u32, brane: BraneId, slot: usize) -> Self {
        Self {
            number,
            brane,
            slot,
            link: 0,
            joined: None,
            asked: false,
            kept: BTreeMap::new(),
            made: 0,
            said_us: 0,
            not_before_us: 0,
            hops: 0,
        }
    }

    /// Whether every edit has its last word.
    pub(super) fn is_done(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn is_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// What it says now; makes another edit if it may.
    pub(super) fn turn(&mut self, now_us: u64, may_edit: bool, slots: usize) -> Vec<Says> {
        let waits = self.asked || !self.kept.is_empty();
        if waits && now_us >= self.said_us + PATIENCE_US {
            // Nobody answers.
            self.go((self.slot + 1) % slots, now_us);
        }
        let Some(epoch) = self.joined else {
            if self.asked || now_us < self.not_before_us {
                return Vec::new();
            }
            (self.asked, self.said_us) = (true, now_us);
            return vec![Says::Join];
        };
        if !may_edit || self.kept.len() >= KEPT {
            return Vec::new();
        }
        self.made += 1;
        self.kept.insert(self.made, None);
        self.said_us = now_us;
        vec![Says::Edit(epoch, self.made)]
    }

    pub(super) fn hear(&mut self, now_us: u64, heard: Hears, judge: &mut Judge) -> Vec<Says> {
        match heard {
            Hears::Joined { epoch } => {
                (self.joined, self.asked, self.hops) = (Some(epoch), false, 0);
                self.said_us = now_us;
                // Outcomes of an earlier opening may be of a line that is no more.
                self.kept.values_mut().for_each(|at| *at = None);
                return self.kept.keys().map(|number| Says::Edit(epoch, *number)).collect();
            }
            Hears::Applied { epoch, number, at } if self.joined == Some(epoch) => {
                if let Some(known) = self.kept.get_mut(&number) {
                    *known = Some(at);
                }
            }
            Hears::Durable { epoch, to } if self.joined == Some(epoch) => {
                self.kept.retain(|number, at| {
                    let Some(at) = at.filter(|at| *at <= to) else { return true };
                    self.said_us = now_us;
                    judge.told_durable(self.brane, (self.number, *number), at);
                    false
                });
            }
            Hears::Applied { .. } | Hears::Durable { .. } => {}
            Hears::Left => {
                let slot = self.slot;
                self.go(slot, now_us);
                self.not_before_us = now_us + 50_000;
            }
            Hears::Moved { slot, retry_after_us } => {
                self.hops += 1;
                self.go(slot, now_us);
                if self.hops > 3 {
                    self.not_before_us = now_us + retry_after_us.unwrap_or(100_000).min(500_000);
                }
            }
        }
        Vec::new()
    }

    /// To this node, on a new connection.
    fn go(&mut self, slot: usize, now_us: u64) {
        (self.slot, self.said_us) = (slot, now_us);
        self.link += 1;
        (self.joined, self.asked) = (None, false);
    }
}
