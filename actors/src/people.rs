//! The people of a brane, beside its windows in the fan-out actor, so that
//! what is said of them comes in order with everything else. Performs what the
//! [`People`] machine decides.

mod poses;

use std::sync::Arc;
use std::time::Duration;

use avvy_flow::people::{Outbox, People, PeopleConfig, PeopleStatus, Refused, Voice};
use avvy_flow::{Now, SessionKey};
use avvy_model::UserId;
use avvy_protocol::codec::encode_server;
use avvy_protocol::frame::Frame;
use avvy_protocol::{Channel, PeopleList, PeopleNews, ServerMessage, SignalSend};
use ractor::ActorRef;
use ractor::concurrency::OneshotSender;

use crate::answer::Answer;
use crate::clock;
use crate::credits::Permit;
use crate::fan_out::FanOutMsg;
use crate::metrics::Metrics;
use crate::wire::Wire;
pub(crate) use poses::{PoseSlot, Poses};

/// What reaches the people of a brane.
pub(crate) enum PeopleMsg {
    /// A session's slot holds a pose. There is one of these under way for a
    /// slot at most.
    Pose { session: SessionKey, slot: Arc<PoseSlot> },
    /// A session asks who is there.
    List { session: SessionKey, list: PeopleList, permit: Permit },
    /// A session says something.
    Signal { session: SessionKey, signal: SignalSend, permit: Permit },
    /// Something is due.
    Tick { at_us: u64 },
    /// Some viewers are to be served.
    Work,
    /// The people's state.
    Status(OneshotSender<PeopleStatus>),
}

impl FanOutMsg {
    pub(crate) fn people_status(reply: OneshotSender<PeopleStatus>) -> Self {
        Self::People(PeopleMsg::Status(reply))
    }
}

/// The machine with its actor's wishes.
pub(crate) struct Crowd {
    machine: People<WireOutbox>,
    metrics: Arc<Metrics>,
    /// Whether a [`PeopleMsg::Work`] is under way.
    working: bool,
    /// When the [`PeopleMsg::Tick`] that counts comes, in monotonic microseconds.
    tick_us: Option<u64>,
}

impl Crowd {
    pub(crate) fn new(channel: Channel, config: PeopleConfig, metrics: Arc<Metrics>) -> Self {
        Self { machine: People::new(channel, config), metrics, working: false, tick_us: None }
    }

    pub(crate) fn join(
        &mut self,
        session: SessionKey,
        user: UserId,
        voice: Voice,
        wire: Arc<dyn Wire>,
    ) {
        self.machine.join(now(), session, user, voice, WireOutbox(wire));
    }

    pub(crate) fn set_voice(&mut self, session: SessionKey, voice: Voice) {
        self.machine.set_voice(session, voice);
    }

    pub(crate) fn leave(&mut self, session: SessionKey) {
        drop(self.machine.leave(now(), session));
    }

    /// Whether a session is sent poses.
    pub(crate) fn mute(&mut self, session: SessionKey, is_mute: bool) {
        self.machine.mute(session, is_mute);
    }

    pub(crate) fn drained(&mut self, session: SessionKey) {
        self.machine.drained(now(), session);
    }

    pub(crate) fn handle(&mut self, message: PeopleMsg) {
        match message {
            PeopleMsg::Pose { session, slot } => {
                if let Some(update) = slot.take() {
                    self.machine.pose(session, update.pose, update.state);
                }
            }
            PeopleMsg::List { session, list, permit } => {
                let listed = self.machine.list(now(), session, &list);
                self.answer(session, "people.list", list.channel, listed.map_err(Refused::from));
                drop(permit);
            }
            PeopleMsg::Signal { session, signal, permit } => {
                let channel = signal.channel;
                let sent = self.machine.signal(now(), session, signal);
                self.answer(session, "signal.send", channel, sent);
                drop(permit);
            }
            PeopleMsg::Tick { at_us } => {
                // One that a sooner wish has replaced does no harm.
                if self.tick_us == Some(at_us) {
                    self.tick_us = None;
                }
                self.turn(People::tick);
            }
            PeopleMsg::Work => {
                self.working = false;
                self.turn(People::work);
            }
            PeopleMsg::Status(reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(self.machine.status());
            }
        }
    }

    /// Asks for its own next turn: viewers are served after what else is
    /// waiting.
    pub(crate) fn schedule(&mut self, myself: &ActorRef<FanOutMsg>) {
        if !self.working && self.machine.has_work() {
            self.working = myself.send_message(FanOutMsg::People(PeopleMsg::Work)).is_ok();
        }
        let Some(at_us) = self.machine.deadline() else { return };
        if self.tick_us.is_none_or(|tick_us| at_us < tick_us) {
            self.tick_us = Some(at_us);
            let pause = Duration::from_micros(at_us.saturating_sub(clock::monotonic_us()));
            myself.send_after(pause, move || FanOutMsg::People(PeopleMsg::Tick { at_us }));
        }
    }

    fn turn(&mut self, turn: fn(&mut People<WireOutbox>, Now)) {
        let began = now();
        turn(&mut self.machine, began);
        self.machine.spent(clock::monotonic_us().saturating_sub(began.us));
    }

    fn answer(
        &self,
        session: SessionKey,
        operation: &str,
        channel: Channel,
        result: Result<(), Refused>,
    ) {
        if let Err(Refused { code, retry_after_ms }) = result
            && let Some(WireOutbox(wire)) = self.machine.outbox(session)
        {
            let (operation, channel) = (Some(operation), Some(channel));
            let answer = Answer { code, operation, channel, retry_after_ms, address: None };
            answer.send(&**wire, None, &self.metrics);
        }
    }
}

/// A session's wire, for what may be dropped when it is full.
struct WireOutbox(Arc<dyn Wire>);

impl Outbox for WireOutbox {
    type Frame = Frame;

    fn encode(news: PeopleNews, unix_ms: u64) -> Frame {
        Frame::binary(&encode_server(&ServerMessage::People(news), unix_ms))
    }

    fn has_room(&self) -> bool {
        !self.0.is_full()
    }

    fn send(&self, frame: &Frame) {
        // Whether it has room is asked before the next one.
        let _ = self.0.send(std::slice::from_ref(frame));
    }
}

fn now() -> Now {
    Now { us: clock::monotonic_us(), unix_ms: clock::unix_ms() }
}
