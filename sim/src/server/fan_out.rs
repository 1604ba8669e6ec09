//! The fan-out actor: frames on their way to sessions, as [`FanOut`] decides.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use avvy_brane::Crossed;
use avvy_flow::admission::Entering;
use avvy_flow::brane_core::{Attach, Show, Start as BraneStart, Window};
use avvy_flow::fan_out::{
    self, Change, FanOut, FanOutEffect, Level, LevelReason, Room, Sight, Slow, Start,
};
use avvy_flow::frames::{PartFrames, PartsConfig, SharedParts, WindowFrames};
use avvy_flow::{FanOutConfig, People, PeopleConfig, SessionKey};
use avvy_model::{Epoch, Position};
use avvy_protocol::codec::encode_server;
use avvy_protocol::frame::Frame;
use avvy_protocol::{Channel, Flush, ServerMessage};

use super::people::{self, PeopleOutbox};
use super::{ActorId, Ctx, Life, Msg, Process};
use crate::env::Event;
use crate::net::SharedOutbox;

/// Small parts, so that there are several; and few are kept.
const PARTS: PartsConfig = PartsConfig { part_bytes: 600, max_looked_at: 8, max_kept_bytes: 2_000 };

/// What a turn is taken to last.
const TURN_US: u64 = 3_000;

pub(super) struct Fan {
    channel: Channel,
    machine: FanOut<Frame, WindowFrames, PartFrames, SessionWire>,
    parts: SharedParts,
    people: People<PeopleOutbox>,
    entering: Entering,
    watch: Rc<Watch>,
    working: bool,
    people_working: bool,
    tick_us: Option<u64>,
}

impl Fan {
    /// Stands at the floor and takes in the windows after it.
    pub(super) fn new(
        now_us: u64,
        channel: Channel,
        config: FanOutConfig,
        people: PeopleConfig,
        floor: Position,
        windows: Vec<Flush>,
    ) -> Self {
        let mut machine = FanOut::new(config, floor);
        let mut effects = Vec::new();
        for window in windows {
            let window = Window { flush: Arc::new(window), cells: None, acks: Vec::new() };
            machine.publish(now_us, WindowFrames::publish(&window), &mut effects);
        }
        Self {
            channel,
            machine,
            parts: SharedParts::new(channel, PARTS),
            people: People::new(channel, people),
            entering: Entering::default(),
            watch: Rc::default(),
            working: false,
            people_working: false,
            tick_us: None,
        }
    }

    pub(super) fn head(&self) -> Position {
        self.machine.head()
    }
}

impl Process {
    pub(super) fn on_fan_out(&mut self, ctx: &mut Ctx<'_>, life: Life, message: Msg) {
        let (now, now_us, now_ms) = (ctx.env.now(), ctx.env.now_us, ctx.env.unix_ms());
        let Some(fan) = self.fan_outs.get_mut(&life) else { return };
        fan.watch.turn.set(fan.watch.turn.get() + 1);
        let mut effects = Vec::new();
        match message {
            Msg::Attach { attach, user, outbox } => {
                let (session, voice) = (attach.session, attach.voice);
                fan.on_attach(now_us, now_ms, *attach, outbox.clone(), &mut effects);
                fan.people.join(now, session, user, voice, PeopleOutbox(outbox));
            }
            Msg::Voice { session, voice } => fan.people.set_voice(session, voice),
            Msg::Aim { session, goal } => fan.machine.aim(now_us, session, goal, &mut effects),
            Msg::Show(show) => {
                let Show { session, from, to, parts } = *show;
                let at = parts.at;
                let parts = fan.parts.start(now_ms, parts);
                fan.machine.show(now_us, session, [from, to], parts, at, &mut effects);
            }
            Msg::Detach { session, farewell } => {
                drop(fan.people.leave(now, session));
                let wire = fan.machine.detach(now_us, session);
                if let (Some(wire), Some(code)) = (wire, farewell) {
                    let channel = wire.channel;
                    wire.tell(now_ms, &ServerMessage::Left { channel, code, address: None });
                }
            }
            Msg::Publish(window) => {
                let crossings = window.cells.iter().flat_map(|cells| &cells.crossings);
                if crossings.into_iter().any(|one| one.objects == Crossed::TooMany) {
                    ctx.env.count("area: more crosses than fits into a window");
                }
                fan.on_publish(now_us, now_ms, window, &mut effects);
            }
            Msg::DurableTo { at, waiting } => {
                let message = ServerMessage::Durable { channel: fan.channel, durable: at };
                for session in waiting {
                    fan.tell(now_ms, session, &message);
                }
            }
            Msg::Tell { session, message } => fan.tell(now_ms, session, &message),
            Msg::Drained(session) => {
                fan.machine.drained(now_us, session, &mut effects);
                fan.people.drained(now, session);
            }
            Msg::People { session, request, permit } => {
                if let Some(answer) = people::serve(&mut fan.people, now, session, request) {
                    fan.tell(now_ms, session, &answer);
                }
                if let Some(permit) = permit {
                    self.give(ctx, permit);
                }
            }
            Msg::PeopleWork => {
                fan.people_working = false;
                fan.people.work(now);
            }
            Msg::Work => {
                fan.working = false;
                fan.machine.work(now_us, &mut effects);
            }
            Msg::TakeTurn => fan.machine.take_turn(now_us, &mut effects),
            Msg::Expire => {
                fan.tick_us = None;
                fan.machine.expire(now_us, &mut effects);
                fan.people.tick(now);
                fan.parts.tidy();
            }
            _ => ctx.env.fail(|| "a fan-out got another's message".to_owned()),
        }
        let brane = ActorId::Brane(life);
        for effect in effects {
            let message = match effect {
                FanOutEffect::Level { session, change } => {
                    ctx.env.count(level_kind(change));
                    if let Some(fan) = self.fan_outs.get_mut(&life) {
                        fan.on_level(now_ms, session, change);
                    }
                    continue;
                }
                FanOutEffect::Ready { published, floor, paced } => {
                    if paced {
                        ctx.env.count("views take turns");
                    }
                    Msg::FanOutReady { published, floor, paced }
                }
                FanOutEffect::Resync { session, at, view } => Msg::Resync { session, at, view },
                FanOutEffect::Step { session, from, to } => Msg::Step { session, from, to },
                FanOutEffect::Close { session, reason } => {
                    ctx.env.count(slow_kind(reason));
                    Msg::TooSlow { session }
                }
            };
            self.send(ctx, brane, message);
        }
        let Some(fan) = self.fan_outs.get_mut(&life) else { return };
        if let Some(fault) = fan.watch.fault.take() {
            ctx.env.fail(|| fault);
        }
        let entered = fan.entered();
        if !entered.is_empty() {
            self.send(ctx, brane, Msg::Entered(entered));
        }
        self.schedule_fan_out(ctx, life);
    }

    fn schedule_fan_out(&mut self, ctx: &mut Ctx<'_>, life: Life) {
        let Some(fan) = self.fan_outs.get_mut(&life) else { return };
        fan.machine.turned(ctx.env.now_us + TURN_US);
        let deadlines = [fan.machine.deadline(), fan.people.deadline()];
        if let Some(deadline_us) = deadlines.into_iter().flatten().min()
            && fan.tick_us.is_none_or(|tick_us| deadline_us < tick_us)
        {
            fan.tick_us = Some(deadline_us);
            let actor = ActorId::FanOut(life);
            ctx.env.at(deadline_us, Event::Timer(self.number, actor, deadline_us));
        }
        if !fan.people_working && fan.people.has_work() {
            fan.people_working = true;
            self.send(ctx, ActorId::FanOut(life), Msg::PeopleWork);
        }
        let Some(fan) = self.fan_outs.get_mut(&life) else { return };
        if !fan.working && fan.machine.has_work() {
            fan.working = true;
            self.send(ctx, ActorId::FanOut(life), Msg::Work);
        }
    }
}

impl Fan {
    fn on_attach(
        &mut self,
        now_us: u64,
        now_ms: u64,
        attach: Attach,
        outbox: SharedOutbox,
        effects: &mut Vec<FanOutEffect>,
    ) {
        let Attach { session, joined, rewind, view, goal, start, .. } = attach;
        let channel = self.channel;
        let is_whole = joined.scope.is_none();
        let wire = SessionWire {
            channel,
            now_ms,
            outbox,
            held: Vec::new(),
            level: Level::Full,
            is_whole,
            replayed: None,
            watch: Rc::clone(&self.watch),
        };
        wire.tell(now_ms, &ServerMessage::Joined(joined));
        if let Some(to) = rewind {
            wire.tell(now_ms, &ServerMessage::Rewind { channel, to });
        }
        let start = match start {
            BraneStart::Replay(at) => Start::Replay(at),
            BraneStart::Parts(parts) => {
                Start::Load { at: parts.at, parts: self.parts.start(now_ms, parts) }
            }
        };
        if let Some(wire) = self.machine.wire_mut(session) {
            wire.is_whole = is_whole;
            self.machine.restart(now_us, session, view, start, effects);
        } else {
            let sight = Sight { view, goal };
            self.entering.push(session);
            self.machine.attach(now_us, session, wire, sight, start, effects);
        }
    }

    fn on_publish(
        &mut self,
        now_us: u64,
        now_ms: u64,
        window: Window,
        effects: &mut Vec<FanOutEffect>,
    ) {
        let published = WindowFrames::publish(&window);
        for (session, edits) in window.acks {
            let applied = ServerMessage::Applied { channel: self.channel, edits };
            self.machine.hold(session, frame(&applied, now_ms));
        }
        self.parts.passed(window.flush.to);
        self.machine.publish(now_us, published, effects);
    }

    fn on_level(&mut self, now_ms: u64, session: SessionKey, change: Change) {
        self.people.mute(session, change.is_mute());
        if let Some(wire) = self.machine.wire_mut(session) {
            wire.level = change.to;
            wire.tell(now_ms, &change.message(self.channel));
        }
    }

    /// Who stands at the head by now, or is gone.
    fn entered(&mut self) -> Vec<SessionKey> {
        let (machine, status) = (&self.machine, self.machine.status());
        let is_on_its_way = |session| machine.contains(session) && !machine.is_live(session);
        self.entering.settled((status.live, status.lagging), is_on_its_way)
    }

    fn tell(&mut self, now_ms: u64, session: SessionKey, message: &ServerMessage) {
        if let Some(wire) = self.machine.wire_mut(session) {
            wire.tell(now_ms, message);
        }
    }
}

/// A session's outbox, with what is to be sent before the next window.
struct SessionWire {
    channel: Channel,
    now_ms: u64,
    outbox: SharedOutbox,
    held: Vec<Frame>,
    /// What its client was told last.
    level: Level,
    /// Whether its client sees the whole brane.
    is_whole: bool,
    /// The last window that was replayed, and in which turn.
    replayed: Option<(u64, Epoch)>,
    watch: Rc<Watch>,
}

/// What is wrong with how sessions are served.
#[derive(Default)]
struct Watch {
    /// Counts what the machine was told.
    turn: Cell<u64>,
    fault: RefCell<Option<String>>,
}

impl SessionWire {
    /// Whoever is told that it gets several windows as one gets no two of them
    /// at a time: those of one epoch fit into one.
    fn watch_replay(&mut self, version: Position) {
        let replayed = Some((self.watch.turn.get(), version.epoch));
        let before = std::mem::replace(&mut self.replayed, replayed);
        if before == replayed && self.is_whole && self.level >= Level::Collapsed {
            let fault = format!("two windows up to {version} for one at {:?}", self.level);
            *self.watch.fault.borrow_mut() = Some(fault);
        }
    }

    fn tell(&self, now_ms: u64, message: &ServerMessage) {
        // What is above the mark stops the fan-out, not a word to one session.
        let _ = self.outbox.borrow_mut().send(&[frame(message, now_ms)]);
    }
}

impl fan_out::Wire<Frame> for SessionWire {
    fn send(&mut self, sent: fan_out::Frame<'_, Frame>) -> Room {
        let outbox = Rc::clone(&self.outbox);
        let mut outbox = outbox.borrow_mut();
        let has_room = match sent {
            fan_out::Frame::Windows(windows) => {
                self.held.extend_from_slice(windows);
                outbox.send(&std::mem::take(&mut self.held))
            }
            fan_out::Frame::Part(part) => outbox.send(&[part]),
            fan_out::Frame::Complete(version) => {
                self.watch_replay(version);
                let channel = self.channel;
                let complete = ServerMessage::VersionComplete { channel, version };
                outbox.send(&[frame(&complete, self.now_ms)])
            }
        };
        if has_room { Room::More } else { Room::Full }
    }

    fn hold(&mut self, frame: Frame) {
        self.held.push(frame);
    }

    fn release(&mut self) {
        if !self.held.is_empty() {
            // What is above the mark stops the fan-out, not an outcome.
            let _ = self.outbox.borrow_mut().send(&std::mem::take(&mut self.held));
        }
    }
}

/// Which way a session went, and why.
fn level_kind(change: Change) -> &'static str {
    match (change.reason, change.to) {
        (LevelReason::Recovered, Level::Near) => "level: from resync to near",
        (LevelReason::Recovered, Level::Collapsed) => "level: from near to collapsed",
        (LevelReason::Recovered, Level::NoPresence) => "level: from collapsed to no presence",
        (LevelReason::Recovered, Level::Full | Level::Resync) => "level: from no presence to full",
        (LevelReason::Bytes, Level::Full | Level::NoPresence) => "level: no presence for bytes",
        (LevelReason::Bytes, Level::Collapsed) => "level: collapsed for bytes",
        (LevelReason::Bytes, Level::Near) => "level: near for bytes",
        (LevelReason::Bytes, Level::Resync) => "level: resync for bytes",
        (LevelReason::Age, Level::Full | Level::NoPresence) => "level: no presence for age",
        (LevelReason::Age, Level::Collapsed) => "level: collapsed for age",
        (LevelReason::Age, Level::Near) => "level: near for age",
        (LevelReason::Age, Level::Resync) => "level: resync for age",
    }
}

fn slow_kind(reason: Slow) -> &'static str {
    match reason {
        Slow::Stalled => "slow session closed: its outbox stays full",
        Slow::Behind => "slow session closed: it replays for too long",
        Slow::Loading => "slow session closed: it loads for too long",
        Slow::Resyncs => "slow session closed: too many new starts",
    }
}

fn frame(message: &ServerMessage, now_ms: u64) -> Frame {
    Frame::binary(&encode_server(message, now_ms))
}
