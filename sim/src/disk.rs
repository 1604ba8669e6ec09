//! What is on the disk at the end, read again from the beginning.

use avvy_brane::journal;
use avvy_flow::brane_core::Recovered;
use avvy_flow::lineage::Lineage;
use avvy_flow::loading::{LoadWarning, Loading, Need, ReadFailure};
use avvy_model::{BraneId, Seq};
use avvy_persistence::memory::MemoryStore;
use avvy_persistence::{Opened, Place, SnapshotId, Store, StoreError};
use avvy_protocol::Channel;

use crate::server::{journal_chunk, load_config, sources};
use crate::sim::Sim;

impl Sim {
    /// The journal on the disk is the log, as far back as it is kept, and what
    /// is kept opens every brane again.
    pub(crate) fn judge_the_disk(&mut self) {
        let branes: Vec<BraneId> = self.references.keys().copied().collect();
        for brane in &branes {
            let brane = *brane;
            if let Err(why) = self.judge_journal(brane) {
                let server = self.process.as_ref().map(|process| process.unrest());
                self.env.fail(|| format!("the journal of {brane}: {why}\n{server:#?}"));
            }
        }
        let store = self.disk.mount();
        for brane in branes {
            if let Err(why) = self.judge_recovery(&store, brane) {
                self.env.fail(|| format!("{brane} recovered at the end: {why}"));
            }
        }
    }

    /// The next process would find the model's world, and would know of every
    /// edit what became of it: from the newest snapshot, and from each that is
    /// kept for the case that it is damaged.
    fn judge_recovery(&mut self, store: &MemoryStore, brane: BraneId) -> Result<(), String> {
        let opened = crate::now(store.open(brane)).map_err(|error| error.to_string())?;
        let spoils = self.env.setup.spoils;
        let snapshots = if spoils { 1 } else { opened.snapshots.len().max(1) };
        for skipped in 0..snapshots {
            let (recovered, warnings) = self.recover(store, brane, &opened, skipped)?;
            if !spoils && !warnings.is_empty() {
                return Err(format!("{warnings:?}"));
            }
            let head = (recovered.head == opened.head).then_some(recovered.head);
            head.ok_or(format!("read to {} of {}", recovered.head, opened.head))?;
            let Recovered { mut world, clients, snapshot, .. } = recovered;
            let Some(reference) = self.references.get_mut(&brane) else { continue };
            if skipped == 0 {
                reference.opened(&mut self.env, opened.epoch, opened.head, world.state_hash());
            }
            reference.judge_world(&mut world)?;
            reference.judge_memory(&self.env, &clients)?;
            self.env.count(match (skipped, snapshot) {
                (0, Seq(0)) => "recovery judged, from the journal alone",
                (0, _) => "recovery judged, from the newest snapshot",
                _ => "recovery judged, from an older snapshot",
            });
        }
        Ok(())
    }

    /// Opens a brane without its newest snapshots.
    fn recover(
        &self,
        store: &MemoryStore,
        brane: BraneId,
        opened: &Opened,
        skipped: usize,
    ) -> Result<(Recovered, Vec<LoadWarning>), String> {
        let owner = self.owners.get(&brane).copied().ok_or("it has no owner")?;
        let mut sources = sources(brane, owner, opened);
        sources.snapshots.drain(..skipped.min(sources.snapshots.len()));
        let mut loading = Loading::new(sources, load_config(&self.env.setup));
        let mut warnings = Vec::new();
        loop {
            let read = match loading.need() {
                Need::Nothing => break,
                Need::Part { snapshot, index } => {
                    let part = store.read_snapshot_part(brane, SnapshotId(snapshot), index);
                    crate::now(part).map(|part| loading.part(&part, &mut warnings))
                }
                Need::Chunks { after } => {
                    crate::now(store.read_chunks(brane, after, 1 << 20)).map(|chunks| {
                        let chunks: Vec<_> = chunks.into_iter().map(journal_chunk).collect();
                        loading.chunks(&chunks, &mut warnings)
                    })
                }
            };
            let taken = read.unwrap_or_else(|error| {
                let failure = match error {
                    StoreError::Compacted { oldest } => ReadFailure::Compacted { oldest },
                    error => ReadFailure::Damaged(error.to_string()),
                };
                loading.failed(failure, &mut warnings)
            });
            taken.map_err(|error| error.to_string())?;
        }
        let recovery = loading.finish().ok_or("it does not end")?;
        let lineage = Lineage::new(opened.lineage.clone()).map_err(|error| error.to_string())?;
        Ok((recovery.finish(Channel(0), lineage).0, warnings))
    }

    fn judge_journal(&self, brane: BraneId) -> Result<(), String> {
        let (Some(process), Some(reference)) = (&self.process, self.references.get(&brane)) else {
            return Ok(());
        };
        let store = process.store();
        let report = crate::now(store.verify_brane(brane)).map_err(|error| error.to_string())?;
        let is_planned =
            |place: &Place| self.env.setup.spoils && matches!(place, Place::Part { .. });
        if !report.damages.iter().all(|damage| is_planned(&damage.place)) {
            return Err(format!("{:?}", report.damages));
        }
        // A brane that is not open may have lost what was not durable.
        let is_open = process.is_open(brane);
        if report.head > reference.head() || report.head < reference.promised() {
            return Err(format!("it ends at {}, the log at {}", report.head, reference.head()));
        }
        let head = if is_open { reference.head() } else { report.head };
        let mut at = Seq(0);
        while at < head {
            let chunks = match crate::now(store.read_chunks(brane, at, 1 << 20)) {
                Err(StoreError::Compacted { oldest }) if oldest > at => {
                    at = oldest;
                    continue;
                }
                chunks => chunks.map_err(|error| error.to_string())?,
            };
            if chunks.is_empty() {
                return Err(format!("it ends at {at}, the log at {head}"));
            }
            for chunk in chunks {
                let events = journal::decode(&chunk.body).map_err(|error| error.to_string())?;
                for event in events {
                    if reference.event(event.seq) != Some(&event) {
                        return Err(format!("another event at {}", event.seq));
                    }
                }
                at = chunk.to;
            }
        }
        Ok(())
    }
}
