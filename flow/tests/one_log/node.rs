//! A brane with its fan-out, its journal's queue and a store that never lies,
//! joined by mailboxes as actors are.

use std::collections::{HashMap, VecDeque};

use avvy_brane::snapshot::{Decoder, Encoder};
use avvy_brane::{Clients, World, journal};
use avvy_flow::brane_core::{
    Attach, BraneConfig, BraneCore, BraneEffect, BraneInput, Parts, Selection, SnapshotJob, Start,
    Window,
};
use avvy_flow::fan_out::{self, FanOut, FanOutConfig, FanOutEffect, Published, Sight};
use avvy_flow::flush_window::FlushWindowConfig;
use avvy_flow::group_commit::{GroupCommit, GroupCommitConfig, GroupCommitEffect, JournalChunk};
use avvy_flow::lineage::Lineage;
use avvy_flow::recovery::{Recovery, TailBounds};
use avvy_flow::{Now, SessionKey};
use avvy_model::{BraneId, Epoch, Event, Handle, ObjectAt, Position, Seq, UserId, WorldLimits};
use avvy_protocol::{Channel, Flush, ServerMessage, SnapshotPart};
use uuid::Uuid;

use crate::person::{Packet, TestWire};

pub const BRANE: BraneId = BraneId::from_bytes([9; 16]);
const CHANNEL: Channel = Channel(1);
const TAIL: TailBounds = TailBounds { max_windows: 5, max_bytes: 100_000 };

/// What a power cut leaves.
pub struct Disk {
    pub chunks: Vec<JournalChunk>,
    pub lineage: Vec<(Epoch, Seq)>,
    /// The parts of the newest snapshot.
    snapshot: Option<Vec<Vec<u8>>>,
}

/// From the brane to its fan-out.
enum Mail {
    Attach(Box<Attach>),
    Detach(SessionKey),
    Publish(Window),
    Tell(SessionKey, ServerMessage),
}

type TestFanOut = FanOut<Packet, Packet, PartFrames, TestWire>;

pub struct Node {
    pub now: Now,
    pub disk: Disk,
    pub core: BraneCore,
    pub fan_out: TestFanOut,
    to_fan_out: VecDeque<Mail>,
    to_brane: VecDeque<BraneInput>,
    commits: GroupCommit,
    in_flight: Option<Vec<JournalChunk>>,
    retry_us: Option<u64>,
    wake_us: Option<u64>,
    snapshot: Option<SnapshotJob>,
    /// The outboxes of those who joined.
    pub wires: HashMap<SessionKey, TestWire>,
    /// Sessions that the server has closed.
    pub closed: Vec<SessionKey>,
}

fn config() -> BraneConfig {
    BraneConfig {
        flush: FlushWindowConfig { max_window_events: 4, ..Default::default() },
        max_journal_bytes: 2_500,
        max_unpublished_edits: 25,
        replay_max_edits: 30,
        snapshot_every_edits: 15,
        durable_tells: 1,
        view_budget_percent: 1,
        ..Default::default()
    }
}

fn fan_out_config() -> FanOutConfig {
    FanOutConfig {
        ring_max_windows: 5,
        bite_windows: 3,
        bite_parts: 2,
        max_resyncs: 2,
        turn_sessions: 2,
        ..Default::default()
    }
}

impl Node {
    pub fn new() -> Self {
        let lineage = vec![(Epoch(1), Seq(0))];
        let disk = Disk { chunks: Vec::new(), lineage, snapshot: None };
        let now = Now { us: 1, unix_ms: 1 };
        let (core, fan_out) = open(&disk, now);
        Self {
            now,
            disk,
            core,
            fan_out,
            to_fan_out: VecDeque::new(),
            to_brane: VecDeque::new(),
            commits: GroupCommit::new(GroupCommitConfig::default()),
            in_flight: None,
            retry_us: None,
            wake_us: None,
            snapshot: None,
            wires: HashMap::new(),
            closed: Vec::new(),
        }
    }

    /// The process ends; what was not stored is lost. Another one opens the
    /// brane.
    pub fn crash(&mut self) {
        self.commits = GroupCommit::new(GroupCommitConfig::default());
        (self.in_flight, self.retry_us) = (None, None);
        self.reopen();
    }

    /// The brane and its fan-out end; the journal's queue does not.
    pub fn panic(&mut self) {
        while !self.commits.is_empty() {
            self.now.us += 10_000_000;
            self.store(true);
            self.timers();
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        self.to_fan_out.clear();
        self.to_brane.clear();
        (self.wake_us, self.snapshot) = (None, None);
        self.closed.extend(self.wires.drain().map(|(session, _)| session));
        self.closed.sort_unstable();
        let head = self.disk.chunks.last().map_or(Seq(0), |chunk| chunk.to);
        let epoch = self.disk.lineage.last().expect("never empty").0.next();
        self.disk.lineage.push((epoch, head));
        (self.core, self.fan_out) = open(&self.disk, self.now);
    }

    pub fn input(&mut self, input: BraneInput) {
        let mut effects = Vec::new();
        self.core.handle(self.now, input, &mut effects);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: BraneEffect) {
        match effect {
            BraneEffect::Journal(chunk) => {
                let mut effects = Vec::new();
                self.commits.push(self.now.us, BRANE, chunk, &mut effects);
                self.perform_commits(effects);
            }
            BraneEffect::Publish(window) => self.to_fan_out.push_back(Mail::Publish(window)),
            BraneEffect::Attach(attach) => self.to_fan_out.push_back(Mail::Attach(attach)),
            BraneEffect::Aim { .. } | BraneEffect::Show(_) => panic!("everybody sees all"),
            BraneEffect::Expel { .. } | BraneEffect::Voice { .. } => panic!("nobody rules"),
            BraneEffect::Detach { session } => self.to_fan_out.push_back(Mail::Detach(session)),
            BraneEffect::Refuse { session, .. } => {
                self.wires.remove(&session);
                self.closed.push(session);
            }
            BraneEffect::Tell { session, message } => {
                self.to_fan_out.push_back(Mail::Tell(session, message));
            }
            BraneEffect::Durable { at, waiting } => {
                assert!(at.seq <= self.disk_head(), "durable is what is on disk");
                for session in waiting {
                    let message = ServerMessage::Durable { channel: CHANNEL, durable: at };
                    self.to_fan_out.push_back(Mail::Tell(session, message));
                }
            }
            BraneEffect::Snapshot(job) => {
                assert!(job.at.seq <= self.disk_head(), "no snapshot is ahead of the journal");
                self.snapshot = Some(*job);
            }
            BraneEffect::WakeAt(at_us) => self.wake_us = Some(at_us),
        }
    }

    /// The fan-out takes one message, or else works for those who lag.
    pub fn run_fan_out(&mut self) -> bool {
        let mut effects = Vec::new();
        let now_us = self.now.us;
        let mail = self.to_fan_out.pop_front();
        let worked = mail.is_some() || self.fan_out.has_work();
        match mail {
            Some(Mail::Attach(attach)) => self.attach(*attach, &mut effects),
            Some(Mail::Detach(session)) => {
                self.fan_out.detach(now_us, session);
            }
            Some(Mail::Publish(window)) => self.publish(window, &mut effects),
            Some(Mail::Tell(session, message)) => self.tell(session, message),
            None => self.fan_out.work(now_us, &mut effects),
        }
        self.perform_fan_out(effects);
        worked
    }

    pub fn run_brane(&mut self) -> bool {
        let input = self.to_brane.pop_front();
        input.map(|input| self.input(input)).is_some()
    }

    pub fn drained(&mut self, session: SessionKey) {
        let mut effects = Vec::new();
        self.fan_out.drained(self.now.us, session, &mut effects);
        self.perform_fan_out(effects);
    }

    /// The commit under way ends, and a snapshot with it.
    pub fn store(&mut self, works: bool) -> bool {
        let Some(chunks) = self.in_flight.take() else { return self.store_snapshot(works) };
        let mut effects = Vec::new();
        if works {
            self.disk.chunks.extend(chunks);
            self.commits.stored(self.now.us, &[], &mut effects);
        } else {
            self.commits.failed(self.now.us, &mut effects);
        }
        self.perform_commits(effects);
        true
    }

    /// What is due at this time.
    pub fn timers(&mut self) {
        if self.retry_us.take_if(|at_us| *at_us <= self.now.us).is_some() {
            let mut effects = Vec::new();
            self.commits.tick(self.now.us, &mut effects);
            self.perform_commits(effects);
        }
        if self.wake_us.take_if(|at_us| *at_us <= self.now.us).is_some() {
            self.input(BraneInput::Tick);
        }
        let mut effects = Vec::new();
        self.fan_out.expire(self.now.us, &mut effects);
        self.perform_fan_out(effects);
    }

    /// The log as it is on disk.
    pub fn events(&self) -> Vec<Event> {
        let chunks = self.disk.chunks.iter();
        chunks.flat_map(|chunk| journal::decode(&chunk.body).expect("readable")).collect()
    }

    fn disk_head(&self) -> Seq {
        self.disk.chunks.last().map_or(Seq(0), |chunk| chunk.to)
    }

    fn store_snapshot(&mut self, works: bool) -> bool {
        let Some(job) = self.snapshot.take() else { return false };
        if works {
            let stored = job.at.seq;
            let SnapshotJob { frozen, clients, at, state_hash } = job;
            let mut encoder = Encoder::new(frozen, clients, at, state_hash);
            self.disk.snapshot = Some(std::iter::from_fn(|| encoder.next_part()).collect());
            self.input(BraneInput::SnapshotStored { at: stored });
        } else {
            self.input(BraneInput::SnapshotFailed);
        }
        true
    }

    fn attach(&mut self, attach: Attach, effects: &mut Vec<FanOutEffect>) {
        let Attach { session, joined, rewind, view, goal, start, .. } = attach;
        let Some(wire) = self.wires.get(&session).cloned() else { return };
        wire.push(ServerMessage::Joined(joined));
        if let Some(to) = rewind {
            wire.push(ServerMessage::Rewind { channel: CHANNEL, to });
        }
        let start = match start {
            Start::Replay(at) => fan_out::Start::Replay(at),
            Start::Parts(parts) => {
                fan_out::Start::Load { at: parts.at, parts: PartFrames::new(parts) }
            }
        };
        if self.fan_out.contains(session) {
            self.fan_out.restart(self.now.us, session, view, start, effects);
        } else {
            let sight = Sight { view, goal };
            self.fan_out.attach(self.now.us, session, wire, sight, start, effects);
        }
    }

    fn publish(&mut self, window: Window, effects: &mut Vec<FanOutEffect>) {
        for (session, edits) in window.acks {
            self.tell(session, ServerMessage::Applied { channel: CHANNEL, edits });
        }
        self.fan_out.publish(self.now.us, packet(window.flush), effects);
    }

    fn tell(&mut self, session: SessionKey, message: ServerMessage) {
        if let Some(wire) = self.fan_out.wire_mut(session) {
            wire.push(message);
        }
    }

    fn perform_fan_out(&mut self, effects: Vec<FanOutEffect>) {
        for effect in effects {
            match effect {
                FanOutEffect::Resync { session, at, view } => {
                    self.to_brane.push_back(BraneInput::Resync { session, at, view });
                }
                FanOutEffect::Ready { published, floor, paced } => {
                    self.to_brane.push_back(BraneInput::FanOutReady { published, floor, paced });
                }
                FanOutEffect::Level { .. } => {}
                FanOutEffect::Step { .. } => panic!("everybody sees all"),
                FanOutEffect::Close { session, .. } => {
                    self.wires.remove(&session);
                    self.closed.push(session);
                    self.to_brane.push_back(BraneInput::Leave { session });
                }
            }
        }
    }

    fn perform_commits(&mut self, effects: Vec<GroupCommitEffect>) {
        for effect in effects {
            match effect {
                GroupCommitEffect::Commit(chunks) => {
                    self.in_flight = Some(chunks.into_iter().map(|queued| queued.chunk).collect());
                }
                GroupCommitEffect::Durable { epoch, seq, .. } => {
                    self.to_brane.push_back(BraneInput::Durable { epoch, seq });
                }
                GroupCommitEffect::Rejected { .. } => panic!("there is one owner"),
                GroupCommitEffect::Pressure(pressure) => {
                    self.to_brane.push_back(BraneInput::Pressure(pressure));
                }
                GroupCommitEffect::WakeAt(at_us) => self.retry_us = Some(at_us),
            }
        }
    }
}

/// Opens the brane with what is on disk.
fn open(disk: &Disk, now: Now) -> (BraneCore, TestFanOut) {
    let owner = UserId::new(Uuid::from_u128(0));
    let limits = WorldLimits::default();
    let fresh = || (World::new(BRANE, owner), Clients::new(&limits), Seq(0));
    let (world, clients, at) = disk.snapshot.as_deref().map_or_else(fresh, restore);
    let mut recovery = Recovery::new(world, clients, at, TAIL);
    for chunk in &disk.chunks {
        recovery.chunk(chunk).expect("sound");
    }
    let lineage = Lineage::new(disk.lineage.clone()).expect("rising");
    let (recovered, windows) = recovery.finish(CHANNEL, lineage.clone());
    let mut fan_out = FanOut::new(fan_out_config(), lineage.position_of(recovered.floor));
    for flush in windows {
        fan_out.publish(now.us, packet(flush.into()), &mut Vec::new());
    }
    assert_eq!(fan_out.head().seq, recovered.head);
    (BraneCore::open(BRANE, CHANNEL, recovered, config(), now), fan_out)
}

fn packet(flush: std::sync::Arc<Flush>) -> Published<Packet> {
    let Flush { epoch, from, to, .. } = *flush;
    Published { epoch, from, to, bytes: 1, at_us: 0, payload: Packet::Flush(flush) }
}

fn restore(parts: &[Vec<u8>]) -> (World, Clients, Seq) {
    let mut decoder = Decoder::new(&WorldLimits::default());
    for part in parts {
        decoder.feed(part).expect("sound");
    }
    let restored = decoder.finish().expect("whole");
    (restored.world, restored.clients, restored.position.seq)
}

/// Small snapshot parts, made when they are asked for.
pub struct PartFrames {
    parts: Parts,
    handles: VecDeque<Handle>,
    gone: Vec<Handle>,
    index: u32,
    done: bool,
}

impl PartFrames {
    fn new(parts: Parts) -> Self {
        let all = || parts.frozen.iter().map(|(handle, _)| handle).collect();
        let handles = match &parts.selection {
            Selection::All => all(),
            Selection::Listed(handles) => handles.iter().copied().collect(),
            Selection::Region(..) => panic!("everybody sees all"),
        };
        let gone = parts.gone.to_vec();
        Self { parts, handles, gone, index: 0, done: false }
    }
}

impl Iterator for PartFrames {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        if self.done {
            return None;
        }
        let count = self.handles.len().min(3);
        let frozen = &self.parts.frozen;
        let handles = self.handles.drain(..count);
        let objects = handles
            .map(|handle| {
                let object = frozen.get(handle).expect("named handles are there").clone();
                ObjectAt { handle, object }
            })
            .collect();
        self.done = self.handles.is_empty();
        let index = self.index;
        self.index += 1;
        let gone = std::mem::take(&mut self.gone);
        let (at, last): (Position, bool) = (self.parts.at, self.done);
        let part = SnapshotPart { channel: CHANNEL, at, index, last, objects, gone };
        Some(Packet::Part(Box::new(part)))
    }
}
