//! When a snapshot is stored, and what is in it.
//!
//! A snapshot is a view taken at a boundary. It is handed out only when all
//! that it holds is durable in the journal, so that the store never has a
//! snapshot that is ahead of its log.

use avvy_model::Seq;

use super::{BraneCore, BraneEffect, SnapshotJob};
use crate::Now;

/// Edits after which the state hash is brought up to date, so that no single
/// snapshot has to do it for all of them.
const HASH_EVERY_EDITS: u64 = 4_096;

/// The state of snapshots.
pub(super) struct Snapshots {
    /// Edits and journal bytes since the last view was taken.
    edits: u64,
    bytes: u64,
    /// Edits since the state hash was last brought up to date.
    unhashed: u64,
    /// Taken; waits for the journal.
    held: Option<Box<SnapshotJob>>,
    /// Handed out.
    storing: Option<Seq>,
    /// One is wanted whatever the counts say, not before this time.
    wanted_us: Option<u64>,
    /// The newest that is stored.
    pub(super) stored: Seq,
}

impl Snapshots {
    pub(super) fn new(head: Seq, stored: Seq) -> Self {
        Self {
            edits: head.0 - stored.0,
            bytes: 0,
            unhashed: 0,
            held: None,
            storing: None,
            wanted_us: None,
            stored,
        }
    }

    /// A window was closed.
    pub(super) fn count(&mut self, edits: usize, bytes: usize) {
        self.edits += edits as u64;
        self.bytes += bytes as u64;
        self.unhashed += edits as u64;
    }

    pub(super) fn stored(&mut self, at: Seq) {
        if self.storing == Some(at) {
            self.storing = None;
            self.stored = at;
        }
    }

    /// Wants one of everything up to `head`, as soon as may be.
    pub(super) fn want(&mut self, head: Seq) {
        if self.stored < head {
            self.wanted_us = Some(0);
        }
    }

    /// Whether none is under way or wanted.
    pub(super) fn idle(&self) -> bool {
        !self.busy() && self.wanted_us.is_none()
    }

    /// When to look again.
    pub(super) fn retry_us(&self) -> Option<u64> {
        self.wanted_us.filter(|at_us| *at_us > 0 && !self.busy())
    }

    fn busy(&self) -> bool {
        self.held.is_some() || self.storing.is_some()
    }
}

impl BraneCore {
    /// Takes a view at this boundary, if it is time.
    pub(super) fn take_snapshot_if_due(&mut self, now: Now) {
        if self.snapshots.unhashed >= HASH_EVERY_EDITS {
            self.world.state_hash();
            self.snapshots.unhashed = 0;
        }
        if self.snapshots.busy() || !self.snapshot_is_due(now) {
            return;
        }
        if self.snapshots.stored == self.published {
            self.snapshots.wanted_us = None;
            return;
        }
        self.clients.forget(now.unix_ms);
        self.world.forget_rights(now.unix_ms);
        let job = SnapshotJob {
            frozen: self.world.freeze(),
            clients: self.clients.clone(),
            at: self.position(self.published),
            state_hash: self.world.state_hash(),
        };
        let snapshots = &mut self.snapshots;
        snapshots.held = Some(Box::new(job));
        snapshots.wanted_us = None;
        (snapshots.edits, snapshots.bytes, snapshots.unhashed) = (0, 0, 0);
    }

    /// Hands the view out, when the journal has all of it.
    pub(super) fn emit_snapshot_if_durable(&mut self, effects: &mut Vec<BraneEffect>) {
        let durable = self.durable;
        if let Some(job) = self.snapshots.held.take_if(|job| job.at.seq <= durable) {
            self.snapshots.storing = Some(job.at.seq);
            effects.push(BraneEffect::Snapshot(job));
        }
    }

    /// It is tried again after a pause, unless the brane closes: a snapshot
    /// only makes opening faster, and nobody should wait for that.
    pub(super) fn on_snapshot_failed(&mut self, now: Now) {
        if self.snapshots.storing.take().is_none() {
            return;
        }
        self.counters.snapshot_failures += 1;
        if !self.draining {
            let pause_us = u64::from(self.config.snapshot_retry_ms) * 1_000;
            self.snapshots.wanted_us = Some(now.us + pause_us);
        }
    }

    fn snapshot_is_due(&self, now: Now) -> bool {
        let snapshots = &self.snapshots;
        match snapshots.wanted_us {
            Some(at_us) => now.us >= at_us,
            None => {
                snapshots.edits >= self.config.snapshot_every_edits
                    || snapshots.bytes >= self.config.snapshot_every_bytes
            }
        }
    }
}
