//! One simulated builder: makes a few blocks of its own, moves and paints
//! them at a set rate, and keeps count of what became of each edit.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use avvy_model::{
    BraneId, DeleteMode, Edit, Handle, Kind, MovePatch, ObjectId, Operation, Parts, PropKey, Props,
    PropsPatch, Target, Transform, Value, ValueLimits,
};
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::reader::BotReader;
use super::shared::Shared;
use super::walk::{Walk, edits_in, is_due};
use crate::machine::{Notify, Ticket};
use crate::net::draw_object_id;
use crate::net::session::{Event, Session};

/// Blocks that each bot makes.
const BLOCKS: usize = 4;
/// One edit in so many paints instead of moving.
const PAINT_EVERY: u64 = 10;
/// Own edits without an outcome, beyond which a bot skips its turn.
const MAX_WAITING: usize = 200;
/// How long receipts wait for the acknowledgements that give the times of
/// sending, in microseconds.
const SETTLE_US: u64 = 500_000;
/// How often a bot looks after itself.
const UPKEEP: Duration = Duration::from_millis(250);
/// How often a walker takes a step.
const STEP: Duration = Duration::from_millis(200);
/// One edit of a walker in so many takes what it has built along with it, and
/// the one after that paints something that it sees.
const CARRY_EVERY: u64 = 3;

/// What all bots are to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    /// Join and make blocks.
    Build,
    /// Edit.
    Edit,
    /// Wait until every edit has its last news.
    Settle,
    /// Compare what walkers see. Only where there are any.
    Compare,
    /// Delete the blocks and wait again.
    Clean,
    /// Compare.
    Check,
    /// Go home.
    End,
}

/// What a bot tells whoever runs it.
#[derive(Debug)]
pub(super) enum Report {
    /// It has done what this phase asks for.
    Done(Phase),
    /// The hashes of server and copy, or the position of a bot without a copy.
    Checked { agrees: bool },
    /// It cannot go on.
    Failed(String),
}

/// The builder.
pub(super) struct Bot {
    pub(super) session: Session<BotReader>,
    pub(super) shared: Arc<Shared>,
    pub(super) brane: BraneId,
    pub(super) edits_per_second: f64,
    pub(super) number: u32,
    pub(super) whole: bool,
    pub(super) reports: mpsc::Sender<(u32, Report)>,
    /// One that walks.
    pub(super) walk: Option<Walk>,
    /// Once in so many edits the copy is marked, or noted to be compared.
    pub(super) mark_every: Option<u64>,
    marked_seq: u64,
    phase: Phase,
    done: bool,
    built: bool,
    group: ObjectId,
    blocks: Vec<(ObjectId, Option<Handle>)>,
    waiting: FxHashMap<Ticket, u64>,
    turns: u64,
    random: u64,
    checks: u32,
}

impl Bot {
    pub(super) fn new(
        session: Session<BotReader>,
        shared: Arc<Shared>,
        brane: BraneId,
        edits_per_second: f64,
        number: u32,
        whole: bool,
        reports: mpsc::Sender<(u32, Report)>,
    ) -> Self {
        Self {
            session,
            shared,
            brane,
            edits_per_second,
            number,
            whole,
            reports,
            walk: None,
            mark_every: None,
            marked_seq: 0,
            phase: Phase::Build,
            done: false,
            built: false,
            group: draw_object_id(),
            blocks: (0..BLOCKS).map(|_| (draw_object_id(), None)).collect(),
            waiting: FxHashMap::default(),
            turns: 0,
            random: rand::random(),
            checks: 0,
        }
    }

    /// Lives until the end of the demo.
    pub(super) async fn run(mut self, mut phases: watch::Receiver<Phase>) {
        let brane = self.brane;
        self.look();
        self.session.act(|machine, now_ms, out| machine.join(now_ms, brane, out));
        let period = Duration::from_secs_f64(1.0 / self.edits_per_second.max(1e-3));
        // Bots do not all edit at the same moment.
        let offset = period.mul_f64(rand::random());
        let mut edits = interval_at(Instant::now() + offset, period);
        edits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut upkeep = interval_at(Instant::now() + UPKEEP.mul_f64(rand::random()), UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut steps = interval_at(Instant::now() + STEP.mul_f64(rand::random()), STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::new();
        while self.phase != Phase::End {
            tokio::select! {
                turned = self.session.turn(&mut events) => {
                    for event in events.drain(..) {
                        self.on_event(event);
                    }
                    if let Err(ended) = turned {
                        self.report(Report::Failed(ended.to_string()));
                        break;
                    }
                }
                _ = edits.tick(), if self.phase == Phase::Edit && self.edits_per_second > 0.0 => {
                    self.edit();
                }
                _ = steps.tick(), if self.phase == Phase::Edit && self.walk.is_some() => {
                    self.walk.iter_mut().for_each(Walk::go);
                    self.look();
                }
                _ = upkeep.tick() => self.upkeep(),
                changed = phases.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let phase = *phases.borrow_and_update();
                    self.enter(phase);
                }
            }
            self.look_whether_done();
        }
        self.session.close().await;
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.done = false;
        match phase {
            Phase::Clean => {
                let target = Target::Id(self.group);
                self.submit(Edit::One(Operation::Delete { target, mode: DeleteMode::Subtree }));
            }
            Phase::Check => self.check(),
            Phase::Compare => {
                self.marked_seq = 0;
                self.walk.iter_mut().for_each(Walk::ask);
            }
            Phase::Build | Phase::Edit | Phase::Settle | Phase::End => {}
        }
    }

    fn on_event(&mut self, event: Event) {
        let counters = &self.shared.counters;
        match event {
            Event::Down(ended) => {
                tracing::debug!(bot = self.number, %ended, "bot was cut off");
                add(&counters.reconnects, u64::from(self.built));
                self.shared.note_trouble(ended.to_string());
            }
            // It has one brane alone.
            Event::Part { .. } => {}
            Event::Moving => tracing::debug!(bot = self.number, "bot goes to another node"),
            Event::Notify(Notify::Live { resynced, .. }) => {
                add(&counters.resyncs, u64::from(resynced));
                if self.whole
                    && let Some(copy) = self.session.machine.replica(self.brane)
                {
                    self.shared.begins(copy);
                }
                if !self.built {
                    self.built = true;
                    self.build();
                }
                if self.phase == Phase::Check {
                    self.check();
                }
            }
            Event::Notify(Notify::Applied { ticket, at, .. }) => {
                if let Some(sent_us) = self.waiting.get(&ticket) {
                    self.shared.stamp(at.seq, *sent_us);
                }
            }
            Event::Notify(Notify::Durable { ticket, .. }) => {
                add(&counters.durable, u64::from(self.waiting.remove(&ticket).is_some()));
            }
            Event::Notify(Notify::Refused { ticket, refusal, .. }) => {
                tracing::debug!(bot = self.number, code = %refusal.code, "edit refused");
                add(&counters.refused, u64::from(self.waiting.remove(&ticket).is_some()));
            }
            Event::Notify(Notify::Unknown { ticket, .. }) => {
                add(&counters.unknown, u64::from(self.waiting.remove(&ticket).is_some()));
            }
            Event::Notify(Notify::Broken { error, .. }) => {
                tracing::warn!(bot = self.number, %error, "the stream does not fit");
                add(&counters.gaps, 1);
            }
            Event::Notify(Notify::Downgrade { address, .. }) => {
                let why = format!("the brane is at {address}, which has no TLS as this server has");
                self.report(Report::Failed(why));
            }
            Event::Notify(Notify::Closed { code, .. }) => {
                let why = code.map_or("left", |code| code.meaning());
                self.report(Report::Failed(format!("the brane cannot be joined: {why}")));
            }
            Event::Notify(Notify::Level { reason, .. }) => counters.level(reason),
            Event::Notify(Notify::Hash { theirs, ours, .. }) => match ours {
                Some(ours) => self.checked(ours == theirs),
                None => self.check(),
            },
            Event::Notify(Notify::Flushed { .. }) => self.note_copy(),
            Event::Notify(Notify::AreaFlushed { flush, .. }) => {
                add(&counters.deliveries, edits_in(&flush));
                if self.phase == Phase::Edit {
                    self.shared.walks().saw(&flush);
                }
                self.note_copy();
            }
            Event::Notify(Notify::Viewed { .. }) => {
                if self.phase == Phase::Edit {
                    self.shared.walks().stepped();
                }
            }
            Event::Notify(
                Notify::Ready { .. }
                | Notify::Expiring { .. }
                | Notify::Joined { .. }
                | Notify::People { .. }
                | Notify::Rights { .. }
                | Notify::Changed { .. }
                | Notify::Renamed { .. }
                | Notify::Rewound { .. }
                | Notify::Paused { .. }
                | Notify::ServerError(_),
            ) => {}
        }
    }

    /// A group with blocks in it, on a plot of its own, in one batch.
    fn build(&mut self) {
        let side = 64;
        let plot = [f64::from(self.number % side), f64::from(self.number / side)];
        let at = [-8.0 * (plot[0] + 1.0), 0.0, 8.0 * plot[1]];
        let mut operations = Vec::with_capacity(1 + BLOCKS);
        operations.push(create(self.group, Target::Handle(Handle::ROOT), Kind::Group, at));
        for (index, (id, _)) in self.blocks.iter().enumerate() {
            self.shared.want_handle(*id);
            let at = [index as f64 * 1.5, 0.5, 0.0];
            operations.push(create(*id, Target::Id(self.group), Kind::Block, at));
        }
        self.submit(Edit::Batch(operations));
    }

    /// One edit of one of the own blocks.
    fn edit(&mut self) {
        if self.waiting.len() >= MAX_WAITING {
            return;
        }
        self.turns += 1;
        if let Some(operation) = self.walkers_edit() {
            return self.submit(Edit::One(operation));
        }
        let index = self.turns as usize % self.blocks.len();
        let Some((_, Some(handle))) = self.blocks.get(index).copied() else { return };
        let target = Target::Handle(handle);
        let operation = if self.turns.is_multiple_of(PAINT_EVERY) {
            Operation::Update { target, patch: paint(self.turns) }
        } else {
            Operation::Move { target, patch: step(index, self.turns) }
        };
        self.submit(Edit::One(operation));
    }

    /// Takes what it has built along, or paints something that it sees.
    fn walkers_edit(&mut self) -> Option<Operation> {
        let walk = self.walk.as_ref()?;
        match self.turns % CARRY_EVERY {
            0 => {
                let patch = MovePatch::new(Parts::POSITION, transform(walk.at_m(), 0.0));
                Some(Operation::Move { target: Target::Id(self.group), patch })
            }
            1 => {
                let mut seen = self.session.machine.replica(self.brane)?.handles();
                seen.retain(|handle| self.shared.is_block(*handle));
                let index = next_random(&mut self.random).checked_rem(seen.len() as u64)?;
                let target = Target::Handle(seen[index as usize]);
                Some(Operation::Update { target, patch: paint(self.turns * PAINT_EVERY) })
            }
            _ => None,
        }
    }

    /// A walker says what is to be seen from where it is.
    fn look(&mut self) {
        let Some(walk) = &self.walk else { return };
        let (brane, area) = (self.brane, walk.area());
        self.session.act(|machine, now_ms, out| machine.look(now_ms, brane, area, out));
    }

    /// Marks a whole copy, or notes what a walker's is, once in a while.
    fn note_copy(&mut self) {
        let (brane, Some(every)) = (self.brane, self.mark_every) else { return };
        let every = if self.phase == Phase::Compare { 1 } else { every };
        let Some(copy) = self.session.machine.replica_mut(brane) else { return };
        if let Some(walk) = &mut self.walk {
            walk.look(copy, every);
        } else if is_due(&mut self.marked_seq, copy.position(), every) {
            self.shared.walks().mark(copy);
        }
    }

    /// A walker looks around, and compares what it can.
    fn look_around(&mut self) {
        let Some(walk) = &mut self.walk else { return };
        let walks = &mut *self.shared.walks();
        walk.compare(walks);
        let Some(copy) = self.session.machine.replica(self.brane) else { return };
        match self.phase {
            Phase::Edit => walks.sample(copy),
            Phase::Compare => walks.draw(copy),
            Phase::Build | Phase::Settle | Phase::Clean | Phase::Check | Phase::End => {}
        }
    }

    fn submit(&mut self, edit: Edit) {
        let brane = self.brane;
        let sent_us = self.shared.now_us();
        let taken =
            self.session.act(|machine, now_ms, out| machine.submit(now_ms, brane, edit, out));
        match taken {
            Ok(ticket) => {
                add(&self.shared.counters.edits, 1);
                self.waiting.insert(ticket, sent_us);
            }
            Err(error) => self.report(Report::Failed(error.to_string())),
        }
    }

    /// Hands over what was seen, and looks for the handles of own blocks.
    fn upkeep(&mut self) {
        let now_us = self.shared.now_us();
        let before_us = match self.phase {
            Phase::Check => now_us,
            _ => now_us.saturating_sub(SETTLE_US),
        };
        let receipts = self.session.reader.take_before(before_us);
        let measured = self.phase == Phase::Edit || self.phase == Phase::Settle;
        let random = &mut self.random;
        self.shared.settle(&receipts, measured, |below| next_random(random) % below);
        for (id, handle) in self.blocks.iter_mut().filter(|(_, handle)| handle.is_none()) {
            *handle = self.shared.take_handle(*id);
        }
        if self.phase == Phase::Compare {
            self.note_copy();
        }
        self.look_around();
    }

    fn look_whether_done(&mut self) {
        let done = match self.phase {
            Phase::Build => {
                self.built
                    && self.waiting.is_empty()
                    && self.blocks.iter().all(|(_, handle)| handle.is_some())
            }
            Phase::Settle | Phase::Clean => self.waiting.is_empty(),
            Phase::Compare => self.walk.as_ref().is_none_or(|walk| walk.is_compared),
            Phase::Edit | Phase::Check | Phase::End => return,
        };
        if done && !self.done {
            self.done = true;
            self.report(Report::Done(self.phase));
        }
    }

    /// A whole copy is compared with the server's hash. A position is as far
    /// as the others can go: their windows were compared one by one. Who was
    /// cut off is compared when it is back.
    fn check(&mut self) {
        let brane = self.brane;
        if !self.whole {
            if self.session.machine.is_live(brane) {
                self.checked(true);
            }
            return;
        }
        self.checks += 1;
        if self.checks > 100 {
            return self.checked(false);
        }
        self.session.act(|machine, now_ms, out| machine.ask_hash(now_ms, brane, out));
    }

    /// Says so, once.
    fn checked(&mut self, agrees: bool) {
        if self.phase == Phase::Check && !self.done {
            self.done = true;
            self.report(Report::Checked { agrees });
        }
    }

    fn report(&self, report: Report) {
        // Whoever runs the demo may have given up; the queue holds more than
        // all bots say in one phase.
        let _ = self.reports.try_send((self.number, report));
    }
}

fn add(counter: &AtomicU64, n: u64) {
    if n > 0 {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// SplitMix64.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn create(id: ObjectId, parent: Target, kind: Kind, at_m: [f64; 3]) -> Operation {
    let transform = transform(at_m, 0.0);
    Operation::Create { id, parent, kind, transform, props: Props::default() }
}

/// Circles around the block's place, turning with the way.
fn step(index: usize, turn: u64) -> MovePatch {
    let angle = turn as f64 * 0.15;
    let at_m = [index as f64 * 1.5 + angle.cos(), 0.5, angle.sin()];
    MovePatch::new(Parts::POSITION.with(Parts::ROTATION), transform(at_m, angle))
}

fn transform(at_m: [f64; 3], angle: f64) -> Transform {
    let half = (angle % TAU) / 2.0;
    let turn = [0.0, half.sin(), 0.0, half.cos()];
    // A plot is at most 64 x 100,000 / 64 places of 8 m away.
    Transform::from_parts(at_m, turn, [1.0; 3]).unwrap_or_default()
}

fn paint(turn: u64) -> PropsPatch {
    const COLOURS: [&str; 6] = ["#d9480f", "#f08c00", "#2b8a3e", "#1864ab", "#5f3dc4", "#a61e4d"];
    let colour = Value::text(COLOURS[turn as usize / PAINT_EVERY as usize % COLOURS.len()]);
    let key = PropKey::new("colour", &ValueLimits::default());
    let entries = key.map(|key| vec![(key, Some(colour))]).unwrap_or_default();
    PropsPatch::new(entries).unwrap_or_default()
}
