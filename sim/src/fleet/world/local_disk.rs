//! The machines' own disks: what a node keeps there while the database is away
//! outlives it.

use avvy_flow::group_commit::QueuedChunk;
use avvy_flow::spooling::Written;
use avvy_persistence::AppendRefusal;
use avvy_persistence::memory::MemoryStore;
use avvy_persistence::spool::Settled;

use super::World;
use super::database::settled;

impl World {
    /// A node writes to its disk: all of it, or nothing.
    pub(super) fn keep(&mut self, nth: usize, chunks: &[QueuedChunk]) -> Written {
        let slot = &mut self.slots[nth];
        if slot.room - slot.spool.len() < chunks.len() {
            self.judge.count("no room on local disk");
            return Written::NoRoom;
        }
        slot.spool.extend_from_slice(chunks);
        Written::Kept
    }

    /// A node says that it has kept all that waits.
    pub(super) fn judge_kept(&mut self, nth: usize) {
        let slot = &self.slots[nth];
        let Some(node) = slot.node.as_ref().filter(|node| node.spooling.is_kept()) else { return };
        let missing = node
            .commits
            .queued()
            .find(|queued| !node.spooling.is_cut_off(queued.brane) && !slot.spool.contains(queued));
        let missing = missing.map(|queued| (queued.brane, queued.chunk.to));
        self.judge.check(missing.is_none(), || {
            format!("node {nth} says that it has kept all, but not {missing:?}")
        });
        self.judge.count("edits kept");
    }

    /// A node that starts settles what one before it has left, before it opens
    /// any brane. False: it has to wait.
    pub(super) fn settle_at_boot(&mut self, nth: usize, store: &MemoryStore) -> bool {
        let slot = &self.slots[nth];
        if slot.spool.is_empty() {
            return true;
        }
        if self.now_us < slot.cut_until_us.max(self.away_until_us) {
            return false;
        }
        let Some(answers) = settled(store, &slot.spool) else { return false };
        self.judge.count("edits left by a node that died");
        self.settle(nth, &answers);
        true
    }

    /// What was kept is in the journal, or another opening has taken its place.
    pub(super) fn settle(&mut self, nth: usize, answers: &[Settled]) {
        let kept: Vec<_> = self.slots[nth].spool.drain(..answers.len()).collect();
        for (kept, answer) in kept.iter().zip(answers) {
            let chunk = (kept.brane, kept.chunk.epoch, kept.chunk.to);
            match answer {
                Settled::Stored => self.judge.count("kept edit stored"),
                Settled::Lost(AppendRefusal::StaleEpoch { .. }) => {
                    self.judge.count("kept edit archived");
                }
                Settled::Lost(refusal) => self.judge.check(false, || {
                    format!(
                        "node {nth} kept {chunk:?}, and the journal has no place for it: {refusal}"
                    )
                }),
            }
        }
        let stays = self.slots[nth].spool.len();
        self.judge.check(stays == 0, || format!("node {nth} wrote {stays} chunks into a drain"));
    }
}
