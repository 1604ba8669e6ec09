//! What is on the disk at the end, read again from the beginning.

use avvy_brane::journal;
use avvy_model::{BraneId, Seq};
use avvy_persistence::{Place, Store, StoreError};

use crate::sim::Sim;

impl Sim {
    /// The journal on the disk is the log, as far back as it is kept.
    pub(crate) fn judge_the_disk(&mut self) {
        let branes: Vec<BraneId> = self.references.keys().copied().collect();
        for brane in branes {
            if let Err(why) = self.judge_journal(brane) {
                let server = self.process.as_ref().map(|process| process.unrest());
                self.env.fail(|| format!("the journal of {brane}: {why}\n{server:#?}"));
            }
        }
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
