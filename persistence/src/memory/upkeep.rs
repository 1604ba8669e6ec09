//! Retention and inspection of the memory store.

use std::cmp::Reverse;

use avvy_model::{BraneId, Seq};

use super::state::{Brane, SPOILED, State};
use crate::error::{Place, StoreError};
use crate::inspection::Walk;
use crate::report::{BraneReport, CompactPolicy, Compaction, StoreReport};
use crate::share::Share;

impl State {
    /// Deletes what the policy lets go, of the part of a fleet's branes that
    /// is this node's.
    pub(super) fn compact(&mut self, policy: CompactPolicy, share: Option<&Share>) -> Compaction {
        let mut done = Compaction::default();
        let oldest_ms = policy.now_ms.saturating_sub(policy.retention_ms);
        let keep = policy.keep_snapshots.max(1) as usize;
        for (id, brane) in &mut self.branes {
            if share.is_some_and(|share| !share.has(*id, brane.hold.holder)) {
                continue;
            }
            if brane.spoiled().is_some() {
                done.skipped += 1;
                continue;
            }
            drop_snapshots(brane, keep, &mut done);
            while oldest_covered(brane, keep).is_some_and(|(_, at_ms)| at_ms < oldest_ms) {
                drop_oldest(brane, &mut done);
            }
        }
        let cap = policy.max_journal_bytes;
        if let Some(cap) = cap.filter(|_| share.is_none_or(Share::has_the_whole)) {
            self.cut_to(cap, keep, &mut done);
        }
        done
    }

    fn cut_to(&mut self, cap: u64, keep: usize, done: &mut Compaction) {
        let mut total: u64 = self.branes.values().map(length).sum();
        let mut longest: Vec<_> =
            self.branes.iter().map(|(id, brane)| (Reverse(length(brane)), *id)).collect();
        longest.sort_unstable();
        for (_, id) in longest {
            let Some(brane) = self.branes.get_mut(&id) else { continue };
            while total > cap && oldest_covered(brane, keep).is_some() {
                let before = done.chunk_bytes;
                drop_oldest(brane, done);
                total -= done.chunk_bytes - before;
            }
        }
    }

    pub(super) fn verify_brane(&self, id: BraneId) -> Result<BraneReport, StoreError> {
        let brane = self.brane(id)?;
        let oldest = brane.chunks.values().next().map_or(brane.head, |first| first.write.from);
        let mut report = BraneReport {
            epoch: brane.epoch,
            head: brane.head,
            oldest,
            epochs: brane.lineage.len() as u64,
            snapshots: brane.newest_first(),
            cuts: brane.cuts.clone(),
            ..BraneReport::default()
        };
        let covered = brane.covered();
        let mut walk = Walk::new(id, brane.head, covered, &mut report);
        for stored in brane.chunks.values() {
            walk.feed(stored.link(), stored.write.body.len());
        }
        // Heads in memory count no chunks.
        walk.finish(brane.chunks.len() as u64);
        if let Some(place) = brane.spoiled() {
            report.add(place, SPOILED.into());
        }
        for info in report.snapshots.clone() {
            for index in 0..info.parts {
                if let Err(StoreError::Damaged { place, why }) = self.read_part(id, info.id, index)
                {
                    report.add(place, why);
                }
            }
        }
        Ok(report)
    }

    pub(super) fn verify_store(&self) -> StoreReport {
        let branes = self.branes.len() as u64;
        let mut report = StoreReport { schema: 1, branes, ..StoreReport::default() };
        self.records.verify(&mut report);
        report
    }

    /// Flips one byte of what is stored at a place; false if nothing is there.
    pub(super) fn damage(&mut self, place: &Place) -> bool {
        match place {
            Place::Record { of, key } => self.records.damage(of, key),
            Place::Chunk { brane, to, .. } => {
                let chunk = self.branes.get_mut(brane).and_then(|brane| brane.chunks.get_mut(to));
                chunk.map(|stored| stored.checksum ^= 1).is_some()
            }
            Place::Part { brane, snapshot, index } => {
                let brane = self.branes.get_mut(brane);
                let found = brane.and_then(|brane| brane.snapshots.get_mut(snapshot));
                let part = found.and_then(|found| found.parts.parts.get_mut(index));
                part.map(|(_, checksum)| *checksum ^= 1).is_some()
            }
            Place::Snapshot { brane, snapshot } => {
                let brane = self.branes.get_mut(brane);
                let found = brane.and_then(|brane| brane.snapshots.get_mut(snapshot));
                found.map(|found| found.is_spoiled = true).is_some()
            }
            Place::Brane(brane) => {
                self.branes.get_mut(brane).map(|brane| brane.is_spoiled = true).is_some()
            }
            _ => false,
        }
    }
}

fn length(brane: &Brane) -> u64 {
    brane.chunks.values().map(|stored| stored.write.body.len() as u64).sum()
}

/// The oldest chunk, if every snapshot of those that are kept covers it.
fn oldest_covered(brane: &Brane, keep: usize) -> Option<(Seq, u64)> {
    let covered = brane.newest_first().get(keep - 1).filter(|_| brane.spoiled().is_none())?.at;
    let first = brane.chunks.first_key_value().filter(|(to, _)| **to <= covered);
    first.map(|(to, stored)| (*to, stored.write.at_ms))
}

fn drop_oldest(brane: &mut Brane, done: &mut Compaction) {
    if let Some((_, stored)) = brane.chunks.pop_first() {
        done.chunks += 1;
        done.chunk_bytes += stored.write.body.len() as u64;
    }
}

fn drop_snapshots(brane: &mut Brane, keep: usize, done: &mut Compaction) {
    for info in brane.newest_first().into_iter().skip(keep) {
        brane.snapshots.remove(&info.id);
        done.snapshots += 1;
    }
}
