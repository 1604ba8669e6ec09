//! The nodes, the database between them, and the time.

mod database;
mod lives;
mod local_disk;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use avvy_flow::group_commit::QueuedChunk;
use avvy_flow::lease::LeaseInput;
use avvy_flow::lease::hand_over::{HandOverConfig, HandOverInput};
use avvy_flow::spooling::Written;
use avvy_model::{BraneId, Epoch, NodeId, UserId, Visibility};
use avvy_persistence::memory::{MemoryDisk, MemoryFleet, MemoryStore};
use avvy_persistence::{BraneKind, BraneRecord, Fleet, Store, StoreError};

use super::builder::{Builder, Hears, Says};
use super::judge::Judge;
use super::node::{Does, Node, Op, Reply, Session};
use crate::now;
use crate::rng::Rng;

const LEASE_MS: u64 = 1_000;
const LEASE_US: u64 = LEASE_MS * 1_000;
/// From one step to the next, on average.
const STEP_US: u64 = 50_000;
/// How long the end may take.
const QUIET_US: u64 = 60_000_000;
const HAND_OVER: HandOverConfig = HandOverConfig { timeout_ms: 2_000, ask_ms: 50 };

/// What happens.
enum Event {
    Lease,
    Commits,
    HandOver(BraneId),
    /// The database does what it was asked, or does not.
    Does(Arc<MemoryStore>, Op, Fate),
    Answers(Reply),
    /// These are on the node's own disk.
    Written(Vec<QueuedChunk>),
    /// Another node says that it has opened a brane.
    Moved(BraneId, Epoch),
    Says(Session, BraneId, Says),
    Hears(usize, u64, Hears),
    Boot,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    /// It does not come there.
    Lost,
    /// It is done, and nobody is told.
    Unheard,
}

/// A place for nodes, one after another, all at one address.
struct Slot {
    /// Counts the lives.
    life: u64,
    node: Option<Node>,
    /// Its clock: so many parts in a million faster than the database's.
    drift_ppm: i64,
    booted_us: u64,
    asleep_until_us: u64,
    cut_until_us: u64,
    provisional: bool,
    /// What is kept on the machine's own disk.
    spool: Vec<QueuedChunk>,
    /// The most chunks that there is room for.
    room: usize,
    /// Who was killed here, if the next one knows.
    predecessor: Option<NodeId>,
}

pub(super) struct World {
    pub(super) judge: Judge,
    rng: Rng,
    /// What becomes of what nodes tell each other, drawn apart.
    hints: Rng,
    /// Of what was told, what is not true.
    untrue: BTreeSet<(BraneId, Epoch)>,
    now_us: u64,
    fleet: MemoryFleet,
    slots: Vec<Slot>,
    branes: Vec<BraneId>,
    /// Nodes whose successor has ended their lease.
    over: BTreeSet<NodeId>,
    builders: Vec<Builder>,
    /// When what a builder or a node said last arrives.
    wires: BTreeMap<(usize, bool), u64>,
    events: BinaryHeap<Reverse<(u64, u64, usize, u64)>>,
    waiting: BTreeMap<u64, Event>,
    next: u64,
    away_until_us: u64,
    is_quiet: bool,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0xf1ee_7000);
        let fleet = MemoryFleet::new(MemoryDisk::new(), LEASE_MS);
        let branes: Vec<BraneId> = (0..rng.range(1, 4)).map(|_| rng.brane_id()).collect();
        let store = fleet.disk().clone().mount();
        for brane in &branes {
            // A memory store without faults takes any record.
            let _ = now(store.create_brane(record(*brane)));
        }
        let count = rng.range(2, 3) as usize;
        // Drawn apart, so that the rest of a seed's run is another only where
        // there is too little room.
        let mut disks = Rng::new(seed ^ 0xd15c_0000);
        let slots = (0..count).map(|_| Slot {
            life: 0,
            node: None,
            drift_ppm: rng.range(0, 40_000) as i64 - 20_000,
            booted_us: 0,
            asleep_until_us: 0,
            cut_until_us: 0,
            provisional: true,
            spool: Vec::new(),
            room: if disks.below(4) == 0 { disks.range(1, 12) as usize } else { usize::MAX },
            predecessor: None,
        });
        let slots: Vec<Slot> = slots.collect();
        let builders = (0..rng.range(1, 5) as u32).map(|number| {
            let brane = branes[rng.below(branes.len() as u64) as usize];
            Builder::new(number, brane, rng.below(count as u64) as usize)
        });
        let builders = builders.collect();
        let mut world = Self {
            judge: Judge::default(),
            rng,
            hints: Rng::new(seed ^ 0x0417_0000),
            untrue: BTreeSet::new(),
            now_us: 1,
            fleet,
            slots,
            branes,
            over: BTreeSet::new(),
            builders,
            wires: BTreeMap::new(),
            events: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            away_until_us: 0,
            is_quiet: false,
            trace,
        };
        (0..count).for_each(|slot| world.boot(slot));
        world
    }

    /// Something goes wrong, perhaps, and time passes.
    pub(super) fn step(&mut self) {
        let slot = self.rng.below(self.slots.len() as u64) as usize;
        let long_us = self.rng.range(10_000, 3 * LEASE_US);
        match self.rng.below(200) {
            // Not one that sleeps: what waits for it stays in order.
            0..4 if self.slots[slot].asleep_until_us <= self.now_us => {
                self.judge.count("node asleep");
                self.slots[slot].asleep_until_us = self.now_us + long_us;
                self.tell(|| format!("node {slot} sleeps for {long_us} us"));
            }
            4..6 => self.kill(slot),
            6..10 => {
                self.judge.count("node cut off");
                self.slots[slot].cut_until_us = self.now_us + long_us;
                self.tell(|| format!("node {slot} is cut off for {long_us} us"));
            }
            10..12 => {
                self.judge.count("database away");
                self.away_until_us = self.now_us + long_us;
                self.tell(|| format!("the database is away for {long_us} us"));
            }
            12..17 => self.end(slot),
            _ => {}
        }
        if self.hints.below(100) == 0 {
            self.tell_untruth(slot);
        }
        let pause_us = self.rng.exponential(STEP_US);
        self.run(self.now_us + pause_us, true);
    }

    /// All faults end, and everything comes to rest.
    pub(super) fn finish(&mut self) {
        self.is_quiet = true;
        self.away_until_us = 0;
        for slot in &mut self.slots {
            // Who sleeps wakes by itself.
            slot.cut_until_us = 0;
        }
        let until_us = self.now_us + QUIET_US;
        while self.now_us < until_us && self.judge.failure.is_none() {
            self.run(self.now_us + STEP_US, false);
        }
        self.judge_end();
    }

    fn judge_end(&mut self) {
        for builder in &self.builders {
            let number = builder.number;
            let is_done = builder.is_done() && builder.is_joined();
            self.judge.check(is_done, || format!("builder {number} has no last word"));
        }
        for (nth, slot) in self.slots.iter().enumerate() {
            let Some(node) = &slot.node else { continue };
            self.judge.check(node.is_quiet(), || format!("node {nth} does not come to rest"));
            self.judge.check(!slot.provisional, || format!("node {nth} is never sure again"));
            for (brane, epoch) in node.open() {
                let holder = now(node.store.holder(brane)).ok().flatten();
                let holds =
                    holder.is_some_and(|holder| (holder.node.id, holder.epoch) == (node.id, epoch));
                self.judge
                    .check(holds, || format!("node {nth} serves {brane}, which is not its own"));
            }
        }
        for brane in self.branes.clone() {
            let journal = self.journal(brane);
            let of = self.builders.iter().filter(|builder| builder.brane == brane);
            let made = of.map(|builder| (builder.number, builder.made)).collect();
            self.judge.judge_journal(brane, &journal, &made);
        }
    }

    /// Lets everything happen up to this time.
    fn run(&mut self, until_us: u64, may_edit: bool) {
        while self.judge.failure.is_none()
            && let Some(Reverse((at_us, id, slot, life))) = self.events.peek().copied()
            && at_us <= until_us
        {
            self.events.pop();
            self.pass(at_us);
            if let Some(event) = self.waiting.remove(&id) {
                self.on_event(slot, life, event);
            }
        }
        self.pass(until_us);
        for builder in 0..self.builders.len() {
            let may = may_edit && self.rng.below(3) == 0;
            let slots = self.slots.len();
            let says = self.builders[builder].turn(self.now_us, may, slots);
            self.carry(builder, says);
        }
        (0..self.slots.len()).for_each(|slot| self.end_what_ends(slot));
    }

    /// The database's clock goes in whole milliseconds.
    fn pass(&mut self, to_us: u64) {
        let passed_ms = to_us.max(self.now_us) / 1_000 - self.now_us / 1_000;
        self.fleet.advance(passed_ms);
        self.now_us = self.now_us.max(to_us);
    }

    fn on_event(&mut self, slot: usize, life: u64, event: Event) {
        let mut is_written = false;
        match event {
            Event::Does(store, op, fate) => return self.serve(slot, life, &store, op, fate),
            Event::Hears(builder, link, hears) => return self.hear(builder, link, hears),
            Event::Boot => return self.boot(slot),
            event if self.slots[slot].life == life => {
                let asleep_until_us = self.slots[slot].asleep_until_us;
                if asleep_until_us > self.now_us {
                    return self.plan(asleep_until_us, slot, life, event);
                }
                let now_us = self.clock(slot);
                if let Event::Answers(Reply::Settled(Some(answers))) = &event {
                    self.settle(slot, answers);
                }
                let written = match &event {
                    Event::Written(chunks) => self.keep(slot, chunks),
                    _ => Written::Kept,
                };
                let Some(node) = &mut self.slots[slot].node else { return };
                match event {
                    Event::Lease => node.feed(now_us, LeaseInput::Tick),
                    Event::Commits => node.tick_commits(now_us),
                    Event::HandOver(brane) => node.hand(now_us, brane, HandOverInput::Tick),
                    Event::Answers(reply) => node.reply(now_us, reply),
                    Event::Written(_) => {
                        node.written(now_us, written);
                        is_written = true;
                    }
                    Event::Moved(brane, epoch) => {
                        let held = node.lease.epoch(brane);
                        node.feed(now_us, LeaseInput::Moved { brane, epoch });
                        if node.lease.epoch(brane) != held {
                            self.judge.count("brane dropped by a hint");
                        } else if let Some(held) = held {
                            // It had no effect, and excuses nothing later.
                            self.untrue.remove(&(brane, held));
                        }
                    }
                    Event::Says(from, brane, says) => node.say(now_us, from, brane, &says),
                    Event::Does(..) | Event::Hears(..) | Event::Boot => {}
                }
            }
            _ => return,
        }
        self.perform(slot);
        if is_written {
            self.judge_kept(slot);
        }
    }

    /// Does what a node decided.
    fn perform(&mut self, slot: usize) {
        let (life, clock_us) = (self.slots[slot].life, self.clock(slot));
        while let Some(node) = &mut self.slots[slot].node
            && let Some(does) = node.does.pop_front()
        {
            let store = Arc::clone(&node.store);
            let sure = node.lease.is_sure(clock_us);
            match does {
                Does::Ask(op) => self.ask(slot, life, store, op),
                Does::Tell((builder, link), hears) => {
                    let at_us = self.arrival(builder as usize, false);
                    self.plan(at_us, slot, life, Event::Hears(builder as usize, link, hears));
                }
                Does::Writes(chunks) => {
                    let delay_us = self.rng.exponential(2_000);
                    self.plan(self.now_us + delay_us, slot, life, Event::Written(chunks));
                }
                Does::Drains => {
                    let kept = self.slots[slot].spool.clone();
                    self.ask(slot, life, store, Op::Settle(kept));
                }
                Does::TickLease(at_us) => self.wake(slot, at_us, Event::Lease),
                Does::TickCommits(at_us) => self.wake(slot, at_us, Event::Commits),
                Does::TickHandOver(brane, at_us) => self.wake(slot, at_us, Event::HandOver(brane)),
                Does::Lost(brane, epoch) => self.on_lost(slot, brane, epoch),
                Does::Stops(brane, epoch) => {
                    let ready = now(store.is_ready(brane, epoch));
                    let is_ready = matches!(ready, Ok(true) | Err(StoreError::StaleEpoch { .. }));
                    self.judge.check(is_ready, || format!("{brane} stops before anybody is ready"));
                }
                Does::HandsOver(brane, pending) => {
                    self.judge.check(pending == 0, || {
                        format!("{brane} is handed over, and {pending} chunks are on their way")
                    });
                }
                Does::Provisional(on) => {
                    self.slots[slot].provisional = on;
                    self.judge
                        .check(on != sure, || format!("node {slot} says {on}, is sure: {sure}"));
                    self.judge.count(if on { "node provisional" } else { "node sure" });
                }
                Does::Counts(kind) => self.judge.count(kind),
            }
        }
    }

    /// A node that has opened a brane says so; not everybody hears it.
    fn tell_others(&mut self, slot: usize, brane: BraneId, epoch: Epoch) {
        for other in (0..self.slots.len()).filter(|other| *other != slot) {
            if self.hints.below(4) > 0 {
                let at_us = self.now_us + self.hints.exponential(LEASE_US / 4);
                self.plan(at_us, other, self.slots[other].life, Event::Moved(brane, epoch));
            }
        }
    }

    /// A node hears that somebody has a brane which it holds itself.
    fn tell_untruth(&mut self, slot: usize) {
        let Some(node) = &self.slots[slot].node else { return };
        let Some((brane, epoch)) = node.open().next() else { return };
        self.judge.count("untrue hint");
        self.untrue.insert((brane, epoch));
        let hint = Event::Moved(brane, epoch.next());
        self.plan(self.now_us, slot, self.slots[slot].life, hint);
    }

    /// A node drops a brane: another must have taken it, or it was told so.
    fn on_lost(&mut self, slot: usize, brane: BraneId, epoch: Epoch) {
        self.judge.count("brane lost");
        if self.untrue.contains(&(brane, epoch)) {
            return;
        }
        let Some(node) = &self.slots[slot].node else { return };
        let (me, holder) = (node.id, now(node.store.holder(brane)).ok().flatten());
        let is_mine = holder.is_some_and(|h| h.node.id == me && h.epoch == epoch);
        self.judge.check(!is_mine, || format!("node {slot} drops {brane}, which is its own"));
        self.tell(|| format!("node {slot} lost {brane} under {epoch}"));
    }

    fn is_other(&self, slot: usize, id: NodeId) -> bool {
        self.slots[slot].node.as_ref().is_none_or(|node| node.id != id)
    }

    /// Whether a node that lives takes its branes for its own.
    fn is_sure(&self, id: NodeId) -> (usize, bool) {
        let found = self.slots.iter().enumerate().find_map(|(nth, slot)| {
            let node = slot.node.as_ref().filter(|node| node.id == id && !node.has_left)?;
            Some((nth, node.lease.is_sure(self.clock(nth))))
        });
        found.unwrap_or((usize::MAX, false))
    }

    fn hear(&mut self, builder: usize, link: u64, hears: Hears) {
        let Self { builders, judge, now_us, .. } = self;
        let Some(who) = builders.get_mut(builder).filter(|who| who.link == link) else { return };
        let says = who.hear(*now_us, hears, judge);
        self.carry(builder, says);
    }

    /// Brings what a builder says to its node, in order.
    fn carry(&mut self, builder: usize, says: Vec<Says>) {
        let who = &self.builders[builder];
        let (slot, session, brane) = (who.slot, (who.number, who.link), who.brane);
        let life = self.slots[slot].life;
        for says in says {
            let at_us = self.arrival(builder, true);
            self.plan(at_us, slot, life, Event::Says(session, brane, says));
        }
    }

    fn arrival(&mut self, builder: usize, up: bool) -> u64 {
        let at_us = self.now_us + self.rng.exponential(2_000);
        let last = self.wires.entry((builder, up)).or_default();
        *last = at_us.max(*last);
        *last
    }

    /// How long the database is away from a node.
    fn delay(&mut self) -> u64 {
        let spike = !self.is_quiet && self.rng.below(100) == 0;
        self.rng.exponential(if spike { LEASE_US / 2 } else { 3_000 })
    }

    /// A node's own clock.
    fn clock(&self, slot: usize) -> u64 {
        let Slot { drift_ppm, booted_us, .. } = self.slots[slot];
        let passed_us = self.now_us - booted_us;
        let drift_us = i128::from(passed_us) * i128::from(drift_ppm) / 1_000_000;
        // Anything but 0: it began before the node.
        (i128::from(passed_us) + drift_us) as u64 + 5_000
    }

    /// Plans something by a node's own clock.
    fn wake(&mut self, slot: usize, at_us: u64, event: Event) {
        let pause_us = at_us.saturating_sub(self.clock(slot));
        let Slot { life, drift_ppm, .. } = self.slots[slot];
        let pause_us = i128::from(pause_us) * 1_000_000 / i128::from(1_000_000 + drift_ppm);
        self.plan(self.now_us + pause_us as u64 + 1, slot, life, event);
    }

    fn plan(&mut self, at_us: u64, slot: usize, life: u64, event: Event) {
        self.next += 1;
        self.waiting.insert(self.next, event);
        self.events.push(Reverse((at_us, self.next, slot, life)));
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12} {}", self.now_us, what());
        }
    }
}

fn record(brane: BraneId) -> BraneRecord {
    BraneRecord {
        name: "brane".to_owned(),
        kind: BraneKind::Public,
        visibility: Visibility::Public,
        ..BraneRecord::new(brane, UserId::from_bytes([1; 16]), 0)
    }
}
