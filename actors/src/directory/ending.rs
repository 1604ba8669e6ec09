//! Closing every brane, at the end of the process.

use avvy_model::BraneId;
use ractor::concurrency::OneshotSender;

use super::{Directory, Entry, refuse};

impl Directory {
    pub(super) fn on_drain(&mut self, reply: OneshotSender<()>) {
        (self.is_draining, self.drained) = (true, Some(reply));
        self.branes.retain(|_, entry| match entry {
            Entry::Opening(waiting) => {
                refuse(waiting);
                false
            }
            Entry::Open(_) => true,
            Entry::Closing { waiting, .. } | Entry::Departing(waiting) => {
                refuse(waiting);
                true
            }
        });
        let open: Vec<BraneId> = self.open().map(|handle| handle.brane).collect();
        for brane in open {
            self.on_idle(brane);
        }
        self.finish_draining();
    }

    pub(super) fn finish_draining(&mut self) {
        if self.is_draining
            && self.branes.is_empty()
            && let Some(reply) = self.drained.take()
        {
            // Whoever drained may have stopped waiting.
            let _ = reply.send(());
        }
    }
}
