//! The brane actor: one world. It performs what the [`BraneCore`] machine
//! decides and never waits for anything: what takes time goes out, and its end
//! comes back as a message.

mod answers;
mod asked;
mod change;
mod entry;
mod writers;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use avvy_brane::Admission;
use avvy_flow::brane_core::{
    Attach, BraneConfig, BraneCore, BraneEffect, BraneInput, BraneStatus, SnapshotJob, Window,
};
use avvy_flow::group_commit::Rejected;
use avvy_flow::{Admission as Entrance, AdmissionStatus, Now, SessionKey};
use avvy_model::{Area, BraneId, Code, EditId, Epoch, Position, Seq, UserId, View as Sight};
use avvy_persistence::BraneRecord;
use avvy_protocol::close::CloseCode;
use avvy_protocol::{Channel, Join, Update};
use ractor::concurrency::OneshotSender;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::{info, warn};

use crate::chronicle::{Chronicled, Rulings};
use crate::clock;
use crate::credits::Permit;
use crate::directory::{DirectoryContext, DirectoryMsg};
use crate::fan_out::{FanOutActor, FanOutArguments, FanOutMsg};
use crate::idle::Idle;
use crate::loading::Loaded;
use crate::members::{Guest, Members};
use crate::metrics::count;
use crate::persistence::PersistenceMsg;
use crate::snapshots::{self, Pace};
use crate::system::View;
use crate::wire::Wire;
pub(crate) use asked::{Branch, Locate, Portals, Question};
pub(crate) use change::{closed_to_all, end_of};
use entry::Knock;
pub(crate) use writers::Write;
use writers::Writers;

/// An open brane, for whoever wants something of it.
#[derive(Clone)]
pub(crate) struct BraneHandle {
    pub(crate) brane: BraneId,
    pub(crate) channel: Channel,
    pub(crate) epoch: Epoch,
    pub(crate) record: Arc<BraneRecord>,
    pub(crate) idle: Arc<Idle>,
    pub(crate) actor: ActorRef<BraneMsg>,
    pub(crate) fan_out: ActorRef<FanOutMsg>,
}

/// What reaches a brane actor. The permits bound how many wait here.
pub(crate) enum BraneMsg {
    /// A session wants in, by a join of this number.
    Join {
        session: SessionKey,
        number: u64,
        wire: Arc<dyn Wire>,
        guest: Guest,
        join: Join,
        permit: Option<Permit>,
    },
    /// The brane's record is another now.
    Changed(Arc<BraneRecord>),
    /// All who were in it have heard why they are not any more.
    Parted,
    /// These stand at the head for the first time, or are gone.
    Entered(Vec<SessionKey>),
    /// Somebody may be let in although nobody has entered.
    EntryTick,
    /// A session leaves or is gone.
    Leave { session: SessionKey, farewell: Option<Goodbye> },
    /// A session's edits.
    Update { session: SessionKey, update: Update, permit: Option<Permit> },
    /// A session wants to see another area.
    Look { session: SessionKey, area: Option<Area>, permit: Option<Permit> },
    /// A session asks for the state hash.
    Hash { session: SessionKey, permit: Option<Permit> },
    /// Edits without a session.
    Write(Box<Write>),
    /// The objects as they are now.
    View(OneshotSender<View>),
    /// Something of the objects.
    Ask(Question),
    /// What became of an edit, which is refused from now on if it was never
    /// sent.
    Settle { of: EditId, by: UserId, reply: OneshotSender<(Admission, Seq)> },
    /// The journal is durable up to here.
    Durable { epoch: Epoch, seq: Seq },
    /// The store will never take what this opening writes.
    Rejected(Rejected),
    /// The journal's queue is too long, or short again.
    Pressure(bool),
    /// The fan-out has finished what was published.
    FanOutReady { published: Seq, floor: Seq, paced: bool },
    /// The fan-out cannot replay for this session, or it is to see the whole
    /// brane instead of a part or the other way round. The session is in by the
    /// join of this number.
    Resync { session: SessionKey, join: u64, at: Option<Position>, view: Option<Sight> },
    /// A session is to see more.
    Step { session: SessionKey, join: u64, from: Sight, to: Sight },
    /// The fan-out has given this session up.
    TooSlow { session: SessionKey, code: CloseCode },
    /// A wish to be woken has come due.
    Tick { at_us: u64 },
    /// A snapshot is stored, or not.
    SnapshotEnded { at: Seq, stored: bool },
    /// The chronicle has the rulings up to here, or has failed.
    Chronicled { kept: Option<Seq> },
    /// Nobody may have been here for a while.
    IdleTick,
    /// The brane's state.
    Status(OneshotSender<BraneStatus>),
    /// How it lets sessions in.
    AdmissionStatus(OneshotSender<AdmissionStatus>),
    /// Make everything durable, then end.
    Close,
    /// The same, to go on at another node.
    Depart,
    /// Fail, as a broken invariant would make it.
    #[cfg(test)]
    Fail,
}

/// The client is told that it has left: at its own wish, or why.
pub(crate) struct Goodbye(pub(crate) Option<Code>);

/// Why a brane's actor failed whose journal the store will never take.
#[derive(Debug, thiserror::Error)]
#[error("the store will never take what was written under epoch {}: {:?}", .0.epoch, .0.why)]
pub(crate) struct RejectedError(pub(crate) Rejected);

pub(crate) struct BraneActor;

pub(crate) struct BraneArguments {
    pub(crate) loaded: Loaded,
    pub(crate) context: DirectoryContext,
    pub(crate) directory: ActorRef<DirectoryMsg>,
    /// Gets the fan-out's handle.
    pub(crate) fan_out_slot: Arc<OnceLock<ActorRef<FanOutMsg>>>,
    pub(crate) idle: Arc<Idle>,
}

pub(crate) struct Brane {
    record: Arc<BraneRecord>,
    channel: Channel,
    core: BraneCore,
    context: DirectoryContext,
    directory: ActorRef<DirectoryMsg>,
    fan_out: ActorRef<FanOutMsg>,
    /// Who may come in now.
    admission: Entrance<Knock>,
    /// Whether a [`BraneMsg::EntryTick`] is under way.
    entry_tick: bool,
    /// Sessions with a wire.
    members: Members,
    /// Those without.
    writers: Writers,
    /// Of messages whose answers have not all been given to the fan-out.
    permits: Vec<Permit>,
    /// When the tick that counts comes, in monotonic microseconds.
    tick_us: Option<u64>,
    idle: Arc<Idle>,
    closing: bool,
    snapshot_pace: Pace,
    chronicled: Chronicled,
    /// Kept, so that handling a message allocates nothing.
    effects: Vec<BraneEffect>,
}

impl Actor for BraneActor {
    type Msg = BraneMsg;
    type State = Brane;
    type Arguments = BraneArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<BraneMsg>,
        arguments: BraneArguments,
    ) -> Result<Brane, ActorProcessingErr> {
        let BraneArguments { loaded, context, directory, fan_out_slot, idle } = arguments;
        let Loaded { record, channel, recovered, windows } = loaded;
        let floor = match windows.first() {
            Some(first) => Position { epoch: first.epoch, seq: first.from },
            None => recovered.lineage.position_of(recovered.head),
        };
        let fan_out = FanOutArguments {
            channel,
            config: context.config.fan_out,
            people: context.config.people,
            parts: context.config.parts,
            floor,
            windows,
            brane: myself.clone(),
            metrics: Arc::clone(&context.metrics),
        };
        let (fan_out, _) =
            FanOutActor::spawn_linked(None, FanOutActor, fan_out, myself.get_cell()).await?;
        // Set once, by this actor alone.
        let _ = fan_out_slot.set(fan_out.clone());
        let opened = PersistenceMsg::Opened { brane: record.id, owner: myself.clone() };
        context.persistence.send_message(opened)?;
        let config: BraneConfig = context.config.brane;
        let snapshot_pace = Pace::new(context.config.snapshot_share_percent);
        let core = BraneCore::open(record.id, channel, recovered, config, now());
        let admission = Entrance::new(context.config.admission);
        let brane = Brane {
            record,
            channel,
            core,
            context,
            directory,
            fan_out,
            admission,
            entry_tick: false,
            members: Members::default(),
            writers: Writers::default(),
            permits: Vec::new(),
            tick_us: None,
            idle,
            closing: false,
            snapshot_pace,
            chronicled: Chronicled::default(),
            effects: Vec::new(),
        };
        brane.watch_idleness(&myself);
        Ok(brane)
    }

    async fn handle(
        &self,
        myself: ActorRef<BraneMsg>,
        message: BraneMsg,
        brane: &mut Brane,
    ) -> Result<(), ActorProcessingErr> {
        let is_request =
            matches!(message, BraneMsg::Write(_) | BraneMsg::View(_) | BraneMsg::Ask(_));
        match message {
            BraneMsg::Join { session, number, wire, guest, join, permit } => {
                brane.members.insert(session, number, join.client, guest, wire);
                brane.on_knock(&myself, session, join, permit);
            }
            BraneMsg::Changed(record) => brane.on_changed(&myself, record),
            BraneMsg::Parted => brane.ask_to_close(),
            BraneMsg::Entered(sessions) => brane.on_entered(&sessions),
            BraneMsg::EntryTick => brane.entry_tick = false,
            BraneMsg::Leave { session, farewell } => brane.on_leave(&myself, session, farewell),
            // A refusal is for good, and with these edits nothing is wrong:
            // without an outcome they are sent again after the next join.
            BraneMsg::Update { session, .. } if brane.closing => {
                brane.not_served(session);
            }
            BraneMsg::Update { session, update, permit } => {
                brane.permits.extend(permit);
                brane.feed(&myself, BraneInput::Update { session, update });
            }
            BraneMsg::Look { session, area, permit } => {
                brane.permits.extend(permit);
                brane.feed(&myself, BraneInput::View { session, area });
            }
            BraneMsg::Hash { session, permit } => {
                brane.permits.extend(permit);
                brane.feed(&myself, BraneInput::Hash { session });
            }
            BraneMsg::Write(write) => brane.on_write(&myself, *write),
            BraneMsg::View(reply) => brane.on_view(reply),
            BraneMsg::Ask(question) => brane.on_question(question),
            BraneMsg::Settle { of, by, reply } => brane.on_settle(of, by, reply),
            BraneMsg::Durable { epoch, seq } => {
                brane.feed(&myself, BraneInput::Durable { epoch, seq });
            }
            BraneMsg::Rejected(opening) => return brane.on_rejected(opening),
            BraneMsg::Pressure(on) => brane.feed(&myself, BraneInput::Pressure(on)),
            BraneMsg::FanOutReady { published, floor, paced } => {
                brane.feed(&myself, BraneInput::FanOutReady { published, floor, paced });
                if paced {
                    // Behind what was published just now.
                    brane.tell_fan_out(FanOutMsg::TakeTurn);
                }
            }
            // It was asked for a copy that the session has left behind since.
            BraneMsg::Resync { session, join, .. } | BraneMsg::Step { session, join, .. }
                if brane.members.join(session) != Some(join) => {}
            BraneMsg::Resync { session, at, view, .. } => {
                brane.feed(&myself, BraneInput::Resync { session, at, view });
            }
            BraneMsg::Step { session, from, to, .. } => {
                brane.feed(&myself, BraneInput::Step { session, from, to });
            }
            BraneMsg::TooSlow { session, code } => brane.context.registry.close(session, code),
            BraneMsg::Tick { at_us } => brane.on_tick(&myself, at_us),
            BraneMsg::SnapshotEnded { at, stored } => {
                brane.on_snapshot_ended(&myself, at, stored);
            }
            BraneMsg::Chronicled { kept } => brane.chronicled.told(kept),
            BraneMsg::IdleTick => brane.watch_idleness(&myself),
            BraneMsg::Status(reply) => {
                let _ = reply.send(brane.core.status());
            }
            BraneMsg::AdmissionStatus(reply) => {
                let _ = reply.send(brane.admission.status());
            }
            BraneMsg::Close => brane.close(&myself, BraneInput::Drain),
            BraneMsg::Depart => brane.close(&myself, BraneInput::Depart),
            #[cfg(test)]
            BraneMsg::Fail => panic!("a test wants to see this"),
        }
        brane.finish_writers(&myself);
        brane.let_in(&myself);
        brane.tell_chronicle(&myself);
        brane.idle.note(brane.is_empty(), is_request);
        if brane.closing && brane.core.is_drained() {
            myself.stop(None);
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<BraneMsg>,
        event: SupervisionEvent,
        _brane: &mut Brane,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            // A brane without its fan-out starts anew, as a whole.
            SupervisionEvent::ActorFailed(_, error) => Err(error),
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

impl Brane {
    /// Gives the machine what happened and performs what it decides.
    fn feed(&mut self, myself: &ActorRef<BraneMsg>, input: BraneInput) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle(now(), input, &mut effects);
        for effect in effects.drain(..) {
            self.perform(myself, effect);
        }
        self.effects = effects;
        // What was not published yet is answered with its window.
        if !self.permits.is_empty() && self.core.is_published() {
            let permits = std::mem::take(&mut self.permits);
            self.tell_fan_out(FanOutMsg::Answered(permits));
        }
    }

    fn perform(&mut self, myself: &ActorRef<BraneMsg>, effect: BraneEffect) {
        match effect {
            BraneEffect::Journal(chunk) => {
                let brane = self.record.id;
                // Without the persistence actor the whole system ends.
                let _ =
                    self.context.persistence.send_message(PersistenceMsg::Append { brane, chunk });
            }
            BraneEffect::Publish(window) => self.publish(window),
            BraneEffect::Attach(attach) => self.attach(myself, attach),
            BraneEffect::Aim { session, goal } => {
                self.tell_fan_out(FanOutMsg::Aim { session, goal });
            }
            BraneEffect::Show(show) => self.tell_fan_out(FanOutMsg::Show(show)),
            BraneEffect::Detach { session } => {
                self.tell_fan_out(FanOutMsg::Detach { session, farewell: None });
            }
            BraneEffect::Refuse { session, code } => self.refuse(session, code),
            BraneEffect::Expel { session, code } => self.expel(session, code),
            BraneEffect::Voice { session, voice } => {
                self.tell_fan_out(FanOutMsg::Voice { session, voice });
            }
            BraneEffect::Tell { session, message } => self.tell(session, message),
            BraneEffect::Durable { at, waiting } => {
                self.tell_fan_out(FanOutMsg::Durable { at, waiting });
            }
            BraneEffect::Snapshot(job) => self.store_snapshot(myself, *job),
            BraneEffect::WakeAt(at_us) => {
                self.tick_us = Some(at_us);
                let pause = at_us.saturating_sub(clock::monotonic_us());
                myself.send_after(Duration::from_micros(pause), move || BraneMsg::Tick { at_us });
            }
        }
    }

    fn publish(&mut self, mut window: Window) {
        self.writers.take_acks(&mut window);
        self.tell_fan_out(FanOutMsg::Publish(window));
    }

    fn attach(&mut self, myself: &ActorRef<BraneMsg>, attach: Box<Attach>) {
        // A writer needs no copy of the world.
        let session = attach.session;
        let (Some(wire), Some(join)) = (self.members.wire(session), self.members.join(session))
        else {
            return;
        };
        let Some(user) = self.members.user(session) else { return };
        if let Some(replaced) = self.members.hold(session) {
            self.context.registry.close(replaced, CloseCode::Replaced);
            self.on_leave(myself, replaced, None);
        }
        self.tell_fan_out(FanOutMsg::Attach { attach, join, user, wire });
    }

    fn close(&mut self, myself: &ActorRef<BraneMsg>, input: BraneInput) {
        self.closing = true;
        self.snapshot_pace.hurry();
        self.feed(myself, input);
    }

    fn store_snapshot(&self, myself: &ActorRef<BraneMsg>, job: SnapshotJob) {
        let (store, brane, myself) =
            (Arc::clone(&self.context.store), self.record.id, myself.clone());
        let pace = self.snapshot_pace.clone();
        tokio::spawn(async move {
            let at = job.at;
            let result = snapshots::store(store.as_ref(), brane, job, &pace).await;
            if let Err(error) = &result {
                warn!(%brane, %error, "a snapshot was not stored");
            }
            // A brane that has ended has no use for it.
            let ended = BraneMsg::SnapshotEnded { at: at.seq, stored: result.is_ok() };
            let _ = myself.send_message(ended);
        });
    }

    fn on_snapshot_ended(&mut self, myself: &ActorRef<BraneMsg>, at: Seq, stored: bool) {
        let metrics = &self.context.metrics;
        if stored {
            count(&metrics.snapshots, 1);
            self.feed(myself, BraneInput::SnapshotStored { at });
        } else {
            count(&metrics.snapshot_failures, 1);
            self.feed(myself, BraneInput::SnapshotFailed);
        }
    }

    /// Tells the chronicle what it lacks of the rulings.
    fn tell_chronicle(&mut self, myself: &ActorRef<BraneMsg>) {
        let Some(chronicle) = self.context.chronicle.get() else { return };
        let rights = self.core.world().rights();
        let made = self.chronicled.due(rights.rulings(), self.core.durable());
        if made.is_empty() {
            return;
        }
        let rulings = Rulings { record: Arc::clone(&self.record), made };
        let patience = Duration::from_millis(self.context.config.durable_timeout_ms);
        self.chronicled.tell(chronicle, rulings, patience, myself);
    }

    fn on_leave(
        &mut self,
        myself: &ActorRef<BraneMsg>,
        session: SessionKey,
        farewell: Option<Goodbye>,
    ) {
        self.writers.remove(session);
        self.forget_knock(session);
        match farewell {
            Some(goodbye) => self.bid_farewell(session, goodbye),
            None => drop(self.members.remove(session)),
        }
        self.feed(myself, BraneInput::Leave { session });
    }

    fn on_tick(&mut self, myself: &ActorRef<BraneMsg>, at_us: u64) {
        // A later wish has replaced this one.
        if self.tick_us == Some(at_us) {
            self.tick_us = None;
            self.feed(myself, BraneInput::Tick);
        }
    }

    fn on_rejected(&self, opening: Rejected) -> Result<(), ActorProcessingErr> {
        if opening.epoch != self.core.status().epoch {
            return Ok(());
        }
        Err(Box::new(RejectedError(opening)))
    }

    /// Asks to be closed when nobody has been here for long enough.
    fn watch_idleness(&self, myself: &ActorRef<BraneMsg>) {
        let idle_close_ms = self.context.config.idle_close_ms;
        let long_ago_ms = clock::monotonic_ms().checked_sub(idle_close_ms);
        let since_ms = self.idle.since_ms().filter(|_| !self.closing);
        if since_ms.is_some_and(|since_ms| Some(since_ms) <= long_ago_ms) {
            info!(brane = %self.record.id, "nobody is here; closing");
            self.ask_to_close();
        }
        // Half the time is exact enough for something that is minutes long.
        let pause = Duration::from_millis((idle_close_ms / 2).max(100));
        myself.send_after(pause, || BraneMsg::IdleTick);
    }

    fn ask_to_close(&self) {
        // Without the directory the whole system ends.
        let _ = self.directory.send_message(DirectoryMsg::Idle { brane: self.record.id });
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.writers.is_empty()
    }

    fn tell_fan_out(&self, message: FanOutMsg) {
        // A fan-out that has failed takes this actor with it.
        let _ = self.fan_out.send_message(message);
    }
}

fn now() -> Now {
    Now { us: clock::monotonic_us(), unix_ms: clock::unix_ms() }
}
