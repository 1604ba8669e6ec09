//! The fan-out actor of a brane: hands windows and what a session needs to
//! catch up to the sessions' wires. It performs what the [`FanOut`] machine
//! decides. Everything that a brane says to a session goes through here, so
//! that it arrives in order.

mod session_wire;

use std::sync::Arc;
use std::time::Duration;

use avvy_flow::SessionKey;
use avvy_flow::admission::Entering;
use avvy_flow::brane_core::{Attach, Show, Start as BraneStart, Window};
use avvy_flow::fan_out::{FanOut, FanOutConfig, FanOutEffect, FanOutStatus, Sight, Start};
use avvy_flow::frames::{PartFrames, PartsConfig, SharedParts, WindowFrames};
use avvy_flow::people::{PeopleConfig, Voice};
use avvy_model::{Position, UserId, View};
use avvy_protocol::close::CloseCode;
use avvy_protocol::frame::Frame;
use avvy_protocol::{Channel, Flush, ServerMessage};
use ractor::concurrency::OneshotSender;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::info;

use crate::brane::BraneMsg;
use crate::clock;
use crate::credits::Permit;
use crate::metrics::{Metrics, count};
use crate::people::{Crowd, PeopleMsg};
use crate::wire::{Wire, frame};
use session_wire::SessionWire;

/// Encoded parts that nobody has started with for as long as this are let go of.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// What reaches a fan-out actor.
pub(crate) enum FanOutMsg {
    /// Let a session in by its join of this number, or start it anew.
    Attach { attach: Box<Attach>, join: u64, user: UserId, wire: Arc<dyn Wire> },
    /// What a session may say to others has changed.
    Voice { session: SessionKey, voice: Voice },
    /// A session wants to see this.
    Aim { session: SessionKey, goal: Option<View> },
    /// A session sees more.
    Show(Box<Show>),
    /// Let go of a session, with a last word.
    Detach { session: SessionKey, farewell: Option<Farewell> },
    /// Hand out a window.
    Publish(Window),
    /// Tell the watermark to these editors.
    Durable { at: Position, waiting: Vec<SessionKey> },
    /// Send this to one session.
    Tell { session: SessionKey, message: ServerMessage },
    /// Send this to those of these sessions that are in.
    TellAll { sessions: Vec<SessionKey>, message: Box<ServerMessage> },
    /// Say when every last word before this was given.
    Parting,
    /// Every answer to the messages of these permits came before this; it is
    /// only now that their senders may send more.
    Answered(Vec<Permit>),
    /// A session's wire takes more again.
    Drained(SessionKey),
    /// What concerns people.
    People(PeopleMsg),
    /// Lagging sessions may go on.
    Work,
    /// Something may be overdue.
    Tick,
    /// The brane has published what it had, so views may be served.
    TakeTurn,
    /// Parts may be kept for nobody.
    Tidy,
    /// The fan-out's state.
    Status(OneshotSender<FanOutStatus>),
}

/// The last word of a brane to a session, after the last window.
pub(crate) struct Farewell {
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) frame: Frame,
}

pub(crate) struct FanOutActor;

pub(crate) struct FanOutArguments {
    pub(crate) channel: Channel,
    pub(crate) config: FanOutConfig,
    pub(crate) people: PeopleConfig,
    pub(crate) parts: PartsConfig,
    /// Where the first of the recovered windows begins; the head, if there are none.
    pub(crate) floor: Position,
    pub(crate) windows: Vec<Flush>,
    pub(crate) brane: ActorRef<BraneMsg>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) struct State {
    channel: Channel,
    machine: FanOut<Frame, WindowFrames, PartFrames, SessionWire>,
    crowd: Crowd,
    parts: SharedParts,
    entering: Entering,
    brane: ActorRef<BraneMsg>,
    metrics: Arc<Metrics>,
    /// Of [`FanOut::delivered`], what the metrics have.
    counted: [u64; 2],
    /// Whether a [`FanOutMsg::Work`] is under way.
    working: bool,
    /// When the [`FanOutMsg::Tick`] under way comes, in monotonic microseconds.
    tick_us: Option<u64>,
    /// Whether a [`FanOutMsg::Tidy`] is under way.
    tidying: bool,
}

impl Actor for FanOutActor {
    type Msg = FanOutMsg;
    type State = State;
    type Arguments = FanOutArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<FanOutMsg>,
        arguments: FanOutArguments,
    ) -> Result<State, ActorProcessingErr> {
        let FanOutArguments { channel, config, people, parts, floor, windows, brane, metrics } =
            arguments;
        let mut machine = FanOut::new(config, floor);
        let now_us = clock::monotonic_us();
        for flush in windows {
            let window = Window { flush: Arc::new(flush), cells: None, acks: Vec::new() };
            // Nobody is attached yet, so there is nothing to do for anybody.
            machine.publish(now_us, WindowFrames::publish(&window), &mut Vec::new());
        }
        let crowd = Crowd::new(channel, people, Arc::clone(&metrics));
        Ok(State {
            channel,
            machine,
            crowd,
            parts: SharedParts::new(channel, parts),
            entering: Entering::default(),
            brane,
            metrics,
            counted: [0; 2],
            working: false,
            tick_us: None,
            tidying: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<FanOutMsg>,
        message: FanOutMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let now_us = clock::monotonic_us();
        let mut effects = Vec::new();
        // Most messages are poses. They change nothing of who lags, and looking
        // for that goes through all who do.
        let is_of_people = matches!(message, FanOutMsg::People(_));
        match message {
            FanOutMsg::Voice { session, voice } => state.crowd.set_voice(session, voice),
            FanOutMsg::Attach { attach, join, user, wire } => {
                let (session, voice) = (attach.session, attach.voice);
                state.on_attach(now_us, *attach, join, Arc::clone(&wire), &mut effects);
                state.crowd.join(session, user, voice, wire);
            }
            FanOutMsg::Detach { session, farewell } => {
                state.crowd.leave(session);
                state.on_detach(now_us, session, farewell);
            }
            FanOutMsg::Aim { session, goal } => {
                state.machine.aim(now_us, session, goal, &mut effects);
            }
            FanOutMsg::Show(show) => state.on_show(now_us, *show, &mut effects),
            FanOutMsg::Publish(window) => state.on_publish(now_us, window, &mut effects),
            FanOutMsg::Durable { at, waiting } => {
                let channel = state.channel;
                state.tell_all(&waiting, &ServerMessage::Durable { channel, durable: at });
            }
            FanOutMsg::Tell { session, message } => state.on_tell(session, &message),
            FanOutMsg::TellAll { sessions, message } => state.tell_all(&sessions, &message),
            FanOutMsg::Parting => {
                // Without its brane this actor ends, too.
                let _ = state.brane.send_message(BraneMsg::Parted);
            }
            FanOutMsg::Answered(permits) => drop(permits),
            FanOutMsg::Drained(session) => {
                state.machine.drained(now_us, session, &mut effects);
                state.crowd.drained(session);
            }
            FanOutMsg::People(message) => state.crowd.handle(message),
            FanOutMsg::Work => {
                state.working = false;
                state.machine.work(now_us, &mut effects);
            }
            FanOutMsg::Tick => {
                state.tick_us = None;
                state.machine.expire(now_us, &mut effects);
            }
            FanOutMsg::TakeTurn => state.machine.take_turn(now_us, &mut effects),
            FanOutMsg::Tidy => {
                state.tidying = false;
                state.parts.tidy();
            }
            FanOutMsg::Status(reply) => {
                let _ = reply.send(state.machine.status());
            }
        }
        for effect in effects {
            state.perform(effect);
        }
        if !is_of_people {
            state.count_deliveries();
            state.report_entered();
            let mut now_us = now_us;
            if state.machine.is_turning() {
                now_us = clock::monotonic_us();
                state.machine.turned(now_us);
            }
            state.schedule(&myself, now_us);
        }
        state.crowd.schedule(&myself);
        Ok(())
    }
}

impl State {
    fn on_attach(
        &mut self,
        now_us: u64,
        attach: Attach,
        join: u64,
        wire: Arc<dyn Wire>,
        effects: &mut Vec<FanOutEffect>,
    ) {
        let Attach { session, joined, rewind, view, goal, start, .. } = attach;
        let channel = self.channel;
        let mut frames = vec![frame(&ServerMessage::Joined(joined))];
        if let Some(to) = rewind {
            frames.push(frame(&ServerMessage::Rewind { channel, to }));
        }
        wire.send(&frames);
        let start = match start {
            BraneStart::Replay(at) => Start::Replay(at),
            BraneStart::Parts(parts) => {
                Start::Load { at: parts.at, parts: self.parts.start(clock::unix_ms(), parts) }
            }
        };
        if self.machine.contains(session) {
            self.machine.restart(now_us, session, view, start, effects);
        } else {
            self.entering.push(session);
            let wire = SessionWire::new(channel, join, wire);
            let sight = Sight { view, goal };
            self.machine.attach(now_us, session, wire, sight, start, effects);
        }
    }

    fn on_show(&mut self, now_us: u64, show: Show, effects: &mut Vec<FanOutEffect>) {
        let Show { session, from, to, parts } = show;
        let at = parts.at;
        let parts = self.parts.start(clock::unix_ms(), parts);
        self.machine.show(now_us, session, [from, to], parts, at, effects);
    }

    fn on_detach(&mut self, now_us: u64, session: SessionKey, farewell: Option<Farewell>) {
        // One that was not attached yet gets its last word all the same.
        drop(self.machine.detach(now_us, session));
        if let Some(Farewell { wire, frame }) = farewell {
            wire.send(&[frame]);
        }
    }

    fn on_publish(&mut self, now_us: u64, window: Window, effects: &mut Vec<FanOutEffect>) {
        let published = WindowFrames::publish(&window);
        let Window { flush, acks, .. } = window;
        for (session, edits) in acks {
            let applied = ServerMessage::Applied { channel: self.channel, edits };
            self.machine.hold(session, frame(&applied));
        }
        let to = flush.to;
        self.parts.passed(to);
        self.machine.publish(now_us, published, effects);
    }

    fn tell_all(&mut self, sessions: &[SessionKey], message: &ServerMessage) {
        let frame = frame(message);
        for session in sessions {
            if let Some(wire) = self.machine.wire_mut(*session) {
                wire.wire.send(std::slice::from_ref(&frame));
            }
        }
    }

    fn on_tell(&mut self, session: SessionKey, message: &ServerMessage) {
        if let Some(wire) = self.machine.wire_mut(session) {
            wire.wire.send(&[frame(message)]);
        }
    }

    fn count_deliveries(&mut self) {
        let delivered = self.machine.delivered();
        let counters = [&self.metrics.deliveries, &self.metrics.delivered_bytes];
        for ((counter, now), before) in counters.into_iter().zip(delivered).zip(self.counted) {
            if now > before {
                count(counter, now - before);
            }
        }
        self.counted = delivered;
    }

    fn report_entered(&mut self) {
        if self.entering.is_empty() {
            return;
        }
        let (machine, status) = (&self.machine, self.machine.status());
        let is_on_its_way = |session| machine.contains(session) && !machine.is_live(session);
        let entered = self.entering.settled((status.live, status.lagging), is_on_its_way);
        if !entered.is_empty() {
            // Without its brane this actor ends, too.
            let _ = self.brane.send_message(BraneMsg::Entered(entered));
        }
    }

    fn perform(&mut self, effect: FanOutEffect) {
        match effect {
            FanOutEffect::Ready { published, floor, paced } => {
                // Without its brane this actor ends, too.
                let _ = self.brane.send_message(BraneMsg::FanOutReady { published, floor, paced });
            }
            FanOutEffect::Resync { session, at, view } => {
                self.ask(session, |join| BraneMsg::Resync { session, join, at, view });
            }
            FanOutEffect::Step { session, from, to } => {
                self.ask(session, |join| BraneMsg::Step { session, join, from, to });
            }
            FanOutEffect::Level { session, change } => {
                self.crowd.mute(session, change.is_mute());
                self.on_tell(session, &change.message(self.channel));
            }
            FanOutEffect::Close { session, reason } => {
                info!(session = session.0, ?reason, "closing a slow session");
                let slow = BraneMsg::TooSlow { session, code: CloseCode::SlowConsumer };
                let _ = self.brane.send_message(slow);
            }
        }
    }

    /// Asks the brane for something on behalf of a session.
    fn ask(&mut self, session: SessionKey, question: impl FnOnce(u64) -> BraneMsg) {
        if let Some(wire) = self.machine.wire_mut(session) {
            // Without its brane this actor ends, too.
            let _ = self.brane.send_message(question(wire.join));
        }
    }

    /// Asks for its own next turn: bites for lagging sessions come after what
    /// else is waiting.
    fn schedule(&mut self, myself: &ActorRef<FanOutMsg>, now_us: u64) {
        if !self.working && self.machine.has_work() {
            self.working = myself.send_message(FanOutMsg::Work).is_ok();
        }
        if !self.tidying && !self.parts.is_empty() {
            self.tidying = true;
            myself.send_after(TIDY_EVERY, || FanOutMsg::Tidy);
        }
        let Some(deadline_us) = self.machine.deadline() else { return };
        if self.tick_us.is_none_or(|tick_us| deadline_us < tick_us) {
            self.tick_us = Some(deadline_us);
            let pause = Duration::from_micros(deadline_us.saturating_sub(now_us));
            myself.send_after(pause, || FanOutMsg::Tick);
        }
    }
}
