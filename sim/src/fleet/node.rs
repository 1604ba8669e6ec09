//! A node: the thin actors around the machines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use avvy_flow::group_commit::{
    GroupCommit, GroupCommitConfig, GroupCommitEffect, JournalChunk, QueuedChunk, Rejected,
};
use avvy_flow::lease::hand_over::{
    Answer as Said, Ended, HandOver, HandOverConfig, HandOverEffect, HandOverInput,
};
use avvy_flow::lease::{Answer, Lease, LeaseConfig, LeaseEffect, LeaseInput};
use avvy_flow::spooling::{Spooling, SpoolingEffect, Written};
use avvy_model::{BraneId, Epoch, NodeId, Seq};
use avvy_persistence::memory::MemoryStore;
use avvy_persistence::spool::Settled;
use bytes::Bytes;

use super::builder::{Hears, Says};
use super::judge::EditOf;

/// Who is there: a builder and its connection.
pub(super) type Session = (u32, u64);

/// What a node asks the database.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Enter {
        number: u64,
    },
    Renew {
        number: u64,
        held: Vec<(BraneId, Epoch)>,
    },
    Append(Vec<QueuedChunk>),
    /// What it has kept on its own disk.
    Settle(Vec<QueuedChunk>),
    Open(BraneId),
    Ready(BraneId),
    Offer(BraneId, Epoch, NodeId),
    AskReady(BraneId, Epoch),
    HandOver(BraneId, Epoch, NodeId),
    Withdraw(BraneId, Epoch),
    Release(BraneId, Epoch),
    Succeed(NodeId),
    Leave,
}

/// What it answers.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Lease { number: u64, answer: Option<Answer> },
    Appended(Option<Vec<Rejected>>),
    Settled(Option<Vec<Settled>>),
    Opened(BraneId, Option<Opened>),
    HandOver(BraneId, HandOverInput),
    Nothing,
}

/// What came of opening a brane.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    Here { epoch: Epoch, journal: Vec<EditOf> },
    Elsewhere { slot: usize, retry_after_us: Option<u64> },
}

/// What a node does to its surroundings.
#[derive(Debug)]
pub(super) enum Does {
    Ask(Op),
    Tell(Session, Hears),
    /// On its own disk.
    Writes(Vec<QueuedChunk>),
    Drains,
    /// By the node's clock.
    TickLease(u64),
    TickCommits(u64),
    TickHandOver(BraneId, u64),
    /// For the judge.
    Lost(BraneId, Epoch),
    Stops(BraneId, Epoch),
    HandsOver(BraneId, usize),
    Provisional(bool),
    Counts(&'static str),
}

/// A brane that is open here.
struct Brane {
    epoch: Epoch,
    head: Seq,
    durable: Seq,
    known: BTreeMap<EditOf, Seq>,
    sessions: BTreeSet<Session>,
    /// It takes no more edits.
    stops: bool,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) store: Arc<MemoryStore>,
    pub(super) lease: Lease,
    pub(super) commits: GroupCommit,
    pub(super) spooling: Spooling,
    branes: BTreeMap<BraneId, Brane>,
    /// Asked for, and by whom.
    opening: BTreeMap<BraneId, Vec<Session>>,
    /// To be opened when what was written of them is stored or refused.
    settling: BTreeSet<BraneId>,
    leaving: BTreeMap<BraneId, (HandOver, Epoch, NodeId, usize)>,
    /// Where branes go while the node ends.
    pub(super) ends: Option<usize>,
    pub(super) has_left: bool,
    pub(super) does: VecDeque<Does>,
}

impl Node {
    pub(super) fn new(id: NodeId, store: Arc<MemoryStore>, lease: LeaseConfig) -> Self {
        Self {
            id,
            store,
            lease: Lease::new(lease),
            commits: GroupCommit::new(GroupCommitConfig::default()),
            spooling: Spooling::new(),
            branes: BTreeMap::new(),
            opening: BTreeMap::new(),
            settling: BTreeSet::new(),
            leaving: BTreeMap::new(),
            ends: None,
            has_left: false,
            does: VecDeque::new(),
        }
    }

    /// The branes that are open here.
    pub(super) fn open(&self) -> impl Iterator<Item = (BraneId, Epoch)> {
        self.branes.iter().map(|(id, brane)| (*id, brane.epoch))
    }

    pub(super) fn is_quiet(&self) -> bool {
        let is_stored = self.commits.is_empty() && self.spooling.is_idle();
        is_stored && self.leaving.is_empty() && self.opening.is_empty()
    }

    pub(super) fn feed(&mut self, now_us: u64, input: LeaseInput) {
        if self.has_left {
            return;
        }
        let mut effects = Vec::new();
        self.lease.handle(now_us, input, &mut effects);
        for effect in effects {
            match effect {
                LeaseEffect::Enter { number } => self.ask(Op::Enter { number }),
                LeaseEffect::Renew { number, held } => self.ask(Op::Renew { number, held }),
                LeaseEffect::Provisional(on) => {
                    self.does.push_back(Does::Provisional(on));
                    let mut keeps = Vec::new();
                    if on {
                        self.spooling.away(self.commits.queued(), &mut keeps);
                    } else if self.commits.is_empty() {
                        self.spooling.sure(now_us, self.commits.gone(), &mut keeps);
                    }
                    self.keep(keeps);
                }
                LeaseEffect::Lost { brane, epoch } => {
                    self.does.push_back(Does::Lost(brane, epoch));
                    self.drop_brane(now_us, brane, epoch);
                }
                LeaseEffect::Preload { brane } => {
                    self.does.push_back(Does::Counts("brane preloaded"));
                    self.ask(Op::Ready(brane));
                }
                LeaseEffect::Decided { brane } => self.want(brane, None),
                LeaseEffect::WakeAt(at_us) => self.does.push_back(Does::TickLease(at_us)),
            }
        }
    }

    pub(super) fn say(&mut self, now_us: u64, from: Session, brane: BraneId, says: &Says) {
        match (says, self.branes.get_mut(&brane)) {
            (Says::Join, Some(open)) if !open.stops => {
                open.sessions.insert(from);
                let epoch = open.epoch;
                self.tell(from, Hears::Joined { epoch });
            }
            (Says::Join, _) => match self.ends.filter(|_| !self.leaving.contains_key(&brane)) {
                Some(slot) => self.tell(from, Hears::Moved { slot, retry_after_us: None }),
                None => self.want(brane, Some(from)),
            },
            (Says::Edit(joined, number), Some(open))
                if !open.stops && open.epoch == *joined && open.sessions.contains(&from) =>
            {
                let edit = (from.0, *number);
                let (epoch, head) = (open.epoch, open.head);
                let at = *open.known.entry(edit).or_insert(head.next());
                self.tell(from, Hears::Applied { epoch, number: *number, at });
                if at > head {
                    self.journal(now_us, brane, edit, epoch, at);
                } else {
                    self.tell_durable(brane);
                }
            }
            // Its end is on its way to whoever says it.
            (Says::Edit(..), _) => {}
        }
    }

    fn journal(&mut self, now_us: u64, brane: BraneId, edit: EditOf, epoch: Epoch, at: Seq) {
        let from = Seq(at.0 - 1);
        if let Some(open) = self.branes.get_mut(&brane) {
            open.head = at;
        }
        let chunk = JournalChunk { epoch, from, to: at, at_ms: 0, body: write(edit) };
        let mut keeps = Vec::new();
        self.spooling.push(&QueuedChunk { brane, chunk: chunk.clone() }, &mut keeps);
        self.keep(keeps);
        let mut effects = Vec::new();
        self.commits.push(now_us, brane, chunk, &mut effects);
        self.commit(now_us, effects);
    }

    fn keep(&mut self, effects: Vec<SpoolingEffect>) {
        self.does.extend(effects.into_iter().map(|effect| match effect {
            SpoolingEffect::Write(chunks) => Does::Writes(chunks),
            SpoolingEffect::Drain => Does::Drains,
            SpoolingEffect::Full(_) => Does::Counts("spool full"),
            SpoolingEffect::CutOff(_) => Does::Counts("branes not kept any further"),
            SpoolingEffect::WakeAt(at_us) => Does::TickCommits(at_us),
        }));
    }

    pub(super) fn written(&mut self, now_us: u64, written: Written) {
        let mut keeps = Vec::new();
        self.spooling.written(now_us, written, &mut keeps);
        self.keep(keeps);
    }

    fn commit(&mut self, now_us: u64, effects: Vec<GroupCommitEffect>) {
        for effect in effects {
            match effect {
                GroupCommitEffect::Commit(batch) => self.ask(Op::Append(batch)),
                GroupCommitEffect::Durable { brane, epoch, seq } => {
                    if let Some(open) = self.branes.get_mut(&brane).filter(|b| b.epoch == epoch) {
                        open.durable = open.durable.max(seq);
                        self.tell_durable(brane);
                    }
                }
                GroupCommitEffect::Rejected { opening, .. } => {
                    self.does.push_back(Does::Counts("opening rejected"));
                    self.drop_brane(now_us, opening.brane, opening.epoch);
                }
                GroupCommitEffect::Pressure(_) => {}
                GroupCommitEffect::WakeAt(at_us) => self.does.push_back(Does::TickCommits(at_us)),
            }
        }
        self.settle(now_us);
    }

    pub(super) fn tick_commits(&mut self, now_us: u64) {
        let mut effects = Vec::new();
        self.commits.tick(now_us, &mut effects);
        self.commit(now_us, effects);
        let mut keeps = Vec::new();
        self.spooling.tick(now_us, &mut keeps);
        self.keep(keeps);
    }

    /// What became possible: openings that waited, branes that have stopped.
    fn settle(&mut self, now_us: u64) {
        let settling = self.settling.iter().copied();
        let settled = settling.filter(|brane| self.commits.pending_of(*brane) == 0);
        for brane in settled.collect::<Vec<_>>() {
            self.settling.remove(&brane);
            self.ask(Op::Open(brane));
        }
        let stopped =
            self.branes.iter().filter(|(_, open)| open.stops && open.durable == open.head);
        for (brane, epoch) in stopped.map(|(id, open)| (*id, open.epoch)).collect::<Vec<_>>() {
            let open = self.branes.remove(&brane);
            self.feed(now_us, LeaseInput::Closed { brane, epoch });
            self.hand(now_us, brane, HandOverInput::Stopped);
            // Those who are there hear of it when it is decided.
            let waiting = open.into_iter().flat_map(|open| open.sessions);
            self.opening.entry(brane).or_default().extend(waiting);
        }
    }

    pub(super) fn reply(&mut self, now_us: u64, reply: Reply) {
        match reply {
            Reply::Lease { number, answer } => {
                self.feed(now_us, LeaseInput::Answered { number, answer });
            }
            Reply::Appended(result) => self.appended(now_us, result),
            Reply::Settled(result) => {
                let mut keeps = Vec::new();
                self.spooling.drained(now_us, result.is_some(), &mut keeps);
                self.keep(keeps);
            }
            Reply::Opened(brane, opened) => self.on_opened(now_us, brane, opened),
            Reply::HandOver(brane, input) => self.hand(now_us, brane, input),
            Reply::Nothing => {}
        }
    }

    fn appended(&mut self, now_us: u64, result: Option<Vec<Rejected>>) {
        let (mut effects, mut keeps) = (Vec::new(), Vec::new());
        match result {
            Some(rejected) => {
                self.commits.stored(now_us, &rejected, &mut effects);
                let (gone, waiting) = (self.commits.gone(), self.commits.len());
                self.spooling.stored(now_us, gone, waiting, &mut keeps);
            }
            None => {
                self.commits.failed(now_us, &mut effects);
                self.spooling.away(self.commits.queued(), &mut keeps);
            }
        }
        self.keep(keeps);
        self.commit(now_us, effects);
    }

    /// Somebody wants a brane that is not open, or it may be this node's.
    fn want(&mut self, brane: BraneId, from: Option<Session>) {
        if self.branes.contains_key(&brane) && from.is_none() {
            return;
        }
        let is_asked = self.opening.contains_key(&brane);
        self.opening.entry(brane).or_default().extend(from);
        if is_asked || self.branes.contains_key(&brane) {
            return;
        }
        if self.commits.pending_of(brane) == 0 {
            self.ask(Op::Open(brane));
        } else {
            self.settling.insert(brane);
        }
    }

    fn on_opened(&mut self, now_us: u64, brane: BraneId, opened: Option<Opened>) {
        let waiting = self.opening.remove(&brane).unwrap_or_default();
        match opened {
            Some(Opened::Here { epoch, journal }) => {
                let head = Seq(journal.len() as u64);
                let known = journal.into_iter().zip((1..).map(Seq)).collect();
                let sessions = waiting.iter().copied().collect();
                let open = Brane { epoch, head, durable: head, known, sessions, stops: false };
                self.branes.insert(brane, open);
                self.feed(now_us, LeaseInput::Opened { brane, epoch });
                waiting.iter().for_each(|to| self.tell(*to, Hears::Joined { epoch }));
            }
            Some(Opened::Elsewhere { slot, retry_after_us }) => {
                let moved = Hears::Moved { slot, retry_after_us };
                waiting.iter().for_each(|to| self.tell(*to, moved.clone()));
            }
            None => waiting.iter().for_each(|to| self.tell(*to, Hears::Left)),
        }
    }

    /// Another node has the brane.
    fn drop_brane(&mut self, now_us: u64, brane: BraneId, epoch: Epoch) {
        let Some(open) = self.branes.get(&brane).filter(|open| open.epoch <= epoch) else { return };
        let epoch = open.epoch;
        let open = self.branes.remove(&brane);
        self.feed(now_us, LeaseInput::Closed { brane, epoch });
        self.hand(now_us, brane, HandOverInput::Gone);
        let sessions = open.into_iter().flat_map(|open| open.sessions);
        sessions.for_each(|to| self.tell(to, Hears::Left));
    }

    /// Gives every brane to another node, then leaves.
    pub(super) fn end(&mut self, now_us: u64, to: NodeId, slot: usize, config: HandOverConfig) {
        self.ends = Some(slot);
        for (brane, epoch) in self.open().collect::<Vec<_>>() {
            let mut effects = Vec::new();
            let machine = HandOver::begin(config, now_us, &mut effects);
            self.leaving.insert(brane, (machine, epoch, to, slot));
            self.perform(now_us, brane, effects);
        }
    }

    /// Whether all hand-overs are over; then what is left is closed.
    pub(super) fn close_rest(&mut self) -> bool {
        if !self.leaving.is_empty() || !self.commits.is_empty() {
            return false;
        }
        for (brane, open) in std::mem::take(&mut self.branes) {
            self.ask(Op::Release(brane, open.epoch));
            open.sessions.into_iter().for_each(|to| self.tell(to, Hears::Left));
        }
        self.ask(Op::Leave);
        self.has_left = true;
        true
    }

    pub(super) fn hand(&mut self, now_us: u64, brane: BraneId, input: HandOverInput) {
        let Some((machine, ..)) = self.leaving.get_mut(&brane) else { return };
        let mut effects = Vec::new();
        machine.handle(now_us, input, &mut effects);
        self.perform(now_us, brane, effects);
    }

    fn perform(&mut self, now_us: u64, brane: BraneId, effects: Vec<HandOverEffect>) {
        let Some((_, epoch, to, slot)) = self.leaving.get(&brane) else { return };
        let (epoch, to, slot) = (*epoch, *to, *slot);
        for effect in effects {
            match effect {
                HandOverEffect::Offer => self.ask(Op::Offer(brane, epoch, to)),
                HandOverEffect::AskReady => self.ask(Op::AskReady(brane, epoch)),
                HandOverEffect::Stop => {
                    self.does.push_back(Does::Stops(brane, epoch));
                    match self.branes.get_mut(&brane).filter(|open| open.epoch == epoch) {
                        Some(open) => open.stops = true,
                        None => self.hand(now_us, brane, HandOverInput::Gone),
                    }
                    self.settle(now_us);
                }
                HandOverEffect::HandOver => {
                    self.does.push_back(Does::HandsOver(brane, self.commits.pending_of(brane)));
                    self.ask(Op::HandOver(brane, epoch, to));
                }
                HandOverEffect::Withdraw => self.ask(Op::Withdraw(brane, epoch)),
                HandOverEffect::Ended(ended) => self.on_ended(brane, epoch, ended, slot),
                HandOverEffect::WakeAt(at_us) => {
                    self.does.push_back(Does::TickHandOver(brane, at_us));
                }
            }
        }
    }

    fn on_ended(&mut self, brane: BraneId, epoch: Epoch, ended: Ended, slot: usize) {
        self.leaving.remove(&brane);
        let (kind, hears) = match ended {
            Ended::Moved => ("hand-over", Hears::Moved { slot, retry_after_us: None }),
            Ended::Kept => ("hand-over: not ready in time", Hears::Left),
            Ended::Gone => ("hand-over: the brane is gone", Hears::Left),
            Ended::Stranded => ("hand-over: the store did not do it", Hears::Left),
        };
        self.does.push_back(Does::Counts(kind));
        if self.branes.contains_key(&brane) {
            return;
        }
        if ended != Ended::Moved {
            self.ask(Op::Release(brane, epoch));
        }
        let waiting = self.opening.remove(&brane).unwrap_or_default();
        waiting.iter().for_each(|to| self.tell(*to, hears.clone()));
    }

    fn tell_durable(&mut self, brane: BraneId) {
        let Some(open) = self.branes.get(&brane) else { return };
        let durable = Hears::Durable { epoch: open.epoch, to: open.durable };
        let tells = open.sessions.iter().map(|to| Does::Tell(*to, durable.clone()));
        self.does.extend(tells.collect::<Vec<_>>());
    }

    fn tell(&mut self, to: Session, hears: Hears) {
        self.does.push_back(Does::Tell(to, hears));
    }

    fn ask(&mut self, op: Op) {
        self.does.push_back(Does::Ask(op));
    }
}

/// What the store says to a step of a hand-over.
pub(super) fn said<T>(result: Result<T, avvy_persistence::StoreError>) -> Said<T> {
    match result {
        Ok(answer) => Said::Done(answer),
        Err(avvy_persistence::StoreError::StaleEpoch { .. }) => Said::Stale,
        Err(_) => Said::Failed,
    }
}

/// An edit in a chunk.
fn write((builder, number): EditOf) -> Bytes {
    let mut bytes = builder.to_be_bytes().to_vec();
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.into()
}

/// The edit of a chunk.
pub(super) fn read(body: &[u8]) -> Option<EditOf> {
    let (builder, number) = body.split_at_checked(4)?;
    Some((
        u32::from_be_bytes(builder.try_into().ok()?),
        u64::from_be_bytes(number.try_into().ok()?),
    ))
}
