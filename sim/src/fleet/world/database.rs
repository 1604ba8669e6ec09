//! The database between the nodes: what becomes of the questions put to it.

use std::sync::Arc;

use avvy_flow::group_commit::{self, QueuedChunk};
use avvy_flow::lease::Answer;
use avvy_flow::lease::hand_over::HandOverInput;
use avvy_model::{BraneId, NodeId, Seq};
use avvy_persistence::memory::MemoryStore;
use avvy_persistence::spool::Settled;
use avvy_persistence::{ChunkWrite, Fleet, Holding, Store, StoreError};

use super::{Event, Fate, LEASE_MS, LEASE_US, World};
use crate::fleet::judge::EditOf;
use crate::fleet::node::{Op, Opened, Reply, read, said};
use crate::now;

impl World {
    /// Sends a question to the database.
    pub(super) fn ask(&mut self, slot: usize, life: u64, store: Arc<MemoryStore>, op: Op) {
        let is_cut = self.now_us < self.slots[slot].cut_until_us.max(self.away_until_us);
        let fate = match self.rng.below(100) {
            _ if is_cut => Fate::Lost,
            0 if !self.is_quiet => Fate::Lost,
            1 if !self.is_quiet => Fate::Unheard,
            _ => Fate::Good,
        };
        let delay_us = self.delay();
        self.plan(self.now_us + delay_us, slot, life, Event::Does(store, op, fate));
    }

    /// The database does what it was asked, and answers.
    pub(super) fn serve(
        &mut self,
        slot: usize,
        life: u64,
        store: &MemoryStore,
        op: Op,
        fate: Fate,
    ) {
        let failed = no_answer(&op);
        let reply = match fate {
            Fate::Lost => failed,
            Fate::Unheard => {
                self.judge.count("answer lost");
                self.execute(slot, store, op);
                failed
            }
            Fate::Good => self.execute(slot, store, op),
        };
        let delay_us = self.delay() + if fate == Fate::Good { 0 } else { LEASE_US / 3 };
        self.plan(self.now_us + delay_us, slot, life, Event::Answers(reply));
    }

    fn execute(&mut self, slot: usize, store: &MemoryStore, op: Op) -> Reply {
        match op {
            Op::Enter { number } => {
                self.is_heard_of(store);
                let answer = now(store.enter()).ok().map(|()| Answer::default());
                Reply::Lease { number, answer }
            }
            Op::Renew { number, held } => {
                self.is_heard_of(store);
                let held = held.into_iter().map(|(brane, epoch)| Holding { brane, epoch });
                let renewed = now(store.renew(held.collect())).ok();
                let answer = renewed.map(|renewed| {
                    if renewed.lapsed {
                        self.judge.count("lease lapsed");
                    }
                    Answer { lapsed: renewed.lapsed, lost: renewed.lost, offered: renewed.offered }
                });
                Reply::Lease { number, answer }
            }
            Op::Append(batch) => {
                let answers = now(store.append(writes(&batch))).ok();
                Reply::Appended(answers.map(|a| group_commit::rejected(&batch, &a, |_, _| {})))
            }
            Op::Settle(kept) => Reply::Settled(settled(store, &kept)),
            Op::Open(brane) => Reply::Opened(brane, self.open(slot, store, brane)),
            Op::Ready(brane) => {
                let _ = now(store.ready(brane));
                Reply::Nothing
            }
            Op::Offer(brane, epoch, to) => Reply::HandOver(
                brane,
                HandOverInput::Offered(said(now(store.offer(brane, epoch, to)))),
            ),
            Op::AskReady(brane, epoch) => Reply::HandOver(
                brane,
                HandOverInput::Ready(said(now(store.is_ready(brane, epoch)))),
            ),
            Op::HandOver(brane, epoch, to) => {
                let done = said(now(store.hand_over(brane, epoch, to)));
                Reply::HandOver(brane, HandOverInput::HandedOver(done))
            }
            Op::Withdraw(brane, epoch) => {
                let _ = now(store.withdraw(brane, epoch));
                Reply::Nothing
            }
            Op::Release(brane, epoch) => {
                let _ = now(store.release(brane, epoch));
                Reply::Nothing
            }
            Op::Succeed(before) => {
                self.judge.count("lease of the dead ended");
                if now(store.succeed(before)).is_ok() {
                    self.over.insert(before);
                }
                Reply::Nothing
            }
            Op::Leave => {
                let _ = now(store.leave());
                Reply::Nothing
            }
        }
    }

    /// A lease lasts from now on, also that of a node whose last question comes
    /// after its successor.
    fn is_heard_of(&mut self, store: &MemoryStore) {
        if let Some(node) = store.node() {
            self.over.remove(&node.id);
        }
    }

    /// What is stored of a brane.
    pub(super) fn journal(&self, brane: BraneId) -> Vec<EditOf> {
        let reader = self.fleet.store(avvy_persistence::Node {
            id: NodeId::from_bytes([0; 16]),
            address: String::new(),
        });
        let (mut edits, mut after) = (Vec::new(), Seq(0));
        while let Ok(chunks) = now(reader.read_chunks(brane, after, 1 << 20))
            && let Some(last) = chunks.last()
        {
            after = last.to;
            edits.extend(chunks.iter().filter_map(|chunk| read(&chunk.body)));
        }
        edits
    }

    /// Opens a brane: nobody who is sure of it may be robbed.
    fn open(&mut self, slot: usize, store: &MemoryStore, brane: BraneId) -> Option<Opened> {
        let before = now(store.holder(brane)).ok().flatten();
        match now(store.open(brane)) {
            Ok(opened) => {
                let other =
                    before.map(|holder| holder.node.id).filter(|id| self.is_other(slot, *id));
                if let Some(robbed) = other {
                    self.judge.count("brane taken");
                    let (nth, is_sure) = self.is_sure(robbed);
                    self.tell(|| format!("node {slot} takes {brane} from node {nth}"));
                    self.judge.check(!is_sure, || {
                        format!("node {slot} takes {brane} from node {nth}, which is sure of it")
                    });
                }
                self.judge.count("brane opened");
                self.tell_others(slot, brane, opened.epoch);
                Some(Opened::Here { epoch: opened.epoch, journal: self.journal(brane) })
            }
            Err(StoreError::Held { address, remaining_ms }) => {
                let waits = before.map(|holder| holder.node.id).filter(|id| self.over.contains(id));
                self.judge.check(waits.is_none(), || {
                    format!(
                        "node {slot} waits for the lease of {waits:?}, whose successor is there"
                    )
                });
                let slot = address.parse().unwrap_or(slot);
                let retry_after_us = (remaining_ms < LEASE_MS / 2).then_some(remaining_ms * 1_000);
                self.judge.count("sent to another node");
                Some(Opened::Elsewhere { slot, retry_after_us })
            }
            Err(_) => None,
        }
    }
}

/// What becomes of chunks that were kept on a local disk; `None`: nothing, as
/// the database fails.
pub(super) fn settled(store: &MemoryStore, kept: &[QueuedChunk]) -> Option<Vec<Settled>> {
    let writes = writes(kept);
    let answers = now(store.append(writes.clone())).ok()?;
    Some(writes.iter().zip(answers).map(|(chunk, answer)| Settled::of(chunk, answer)).collect())
}

fn writes(chunks: &[QueuedChunk]) -> Vec<ChunkWrite> {
    let write = |QueuedChunk { brane, chunk }: &QueuedChunk| ChunkWrite {
        brane: *brane,
        epoch: chunk.epoch,
        from: chunk.from,
        to: chunk.to,
        at_ms: chunk.at_ms,
        body: chunk.body.clone(),
    };
    chunks.iter().map(write).collect()
}

/// What a node hears of a question that was not answered.
fn no_answer(op: &Op) -> Reply {
    use avvy_flow::lease::hand_over::Answer as Said;
    match op {
        Op::Enter { number } | Op::Renew { number, .. } => {
            Reply::Lease { number: *number, answer: None }
        }
        Op::Append(_) => Reply::Appended(None),
        Op::Settle(_) => Reply::Settled(None),
        Op::Open(brane) => Reply::Opened(*brane, None),
        Op::Offer(brane, ..) => Reply::HandOver(*brane, HandOverInput::Offered(Said::Failed)),
        Op::AskReady(brane, _) => Reply::HandOver(*brane, HandOverInput::Ready(Said::Failed)),
        Op::HandOver(brane, ..) => Reply::HandOver(*brane, HandOverInput::HandedOver(Said::Failed)),
        Op::Ready(_) | Op::Withdraw(..) | Op::Release(..) | Op::Succeed(_) | Op::Leave => {
            Reply::Nothing
        }
    }
}
