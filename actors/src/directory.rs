//! The directory: which branes are open, and where their actors are. It opens
//! a brane when someone asks for it, restarts one whose actor has failed, and
//! closes one that nobody has joined for a while. In a fleet it opens only what
//! this node holds, and [`moves`] brings branes here and to other nodes.

mod change;
mod ending;
mod moves;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use avvy_flow::group_commit::Rejected;
use avvy_flow::lease::hand_over::Ended;
use avvy_flow::recovery::Recovery;
use avvy_model::{BraneId, Code, Epoch, Rejection};
use avvy_persistence::{BraneRecord, Node, Store};
use avvy_protocol::Channel;
use ractor::concurrency::OneshotSender;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::{error, info, warn};

use crate::Denied;
use crate::brane::{
    BraneActor, BraneArguments, BraneHandle, BraneMsg, RejectedError, closed_to_all,
};
use crate::chronicle::TheChronicle;
use crate::config::SystemConfig;
use crate::fleet::FleetLink;
use crate::fleet::hand_over::Desk;
use crate::idle::Idle;
use crate::limit::Limit;
use crate::loading::{self, Loaded};
use crate::metrics::Metrics;
use crate::persistence::PersistenceMsg;
use crate::registry::Registry;
use moves::Coming;
pub(crate) use moves::probe_brane;

/// Called with the brane's handle, or why there is none.
pub(crate) type OpenReply = Box<dyn FnOnce(Result<BraneHandle, Denied>) + Send>;

/// What reaches the directory.
pub(crate) enum DirectoryMsg {
    /// Find or open a brane.
    Open { brane: BraneId, reply: OpenReply },
    /// A brane's state was read from the store, or not.
    Loaded { brane: BraneId, result: Result<Box<Loaded>, Denied> },
    /// Nobody has joined this brane for a while: it asks to be closed.
    Idle { brane: BraneId },
    /// A brane's record was changed, here or elsewhere.
    Changed(Arc<BraneRecord>),
    /// Whoever waits for a brane to have closed has waited for long enough.
    Overdue { brane: BraneId, channel: Channel },
    /// The branes that are open.
    List(OneshotSender<Vec<BraneHandle>>),
    /// The branes that are not closed, and how far each is.
    NotClosed(OneshotSender<Vec<(BraneId, &'static str)>>),
    /// Close every brane and answer when all are closed.
    Drain(OneshotSender<()>),
    /// Another node has taken this brane, the one at this address if it is known.
    Lost { brane: BraneId, epoch: Epoch, to: Option<Arc<str>> },
    /// Another node offers this brane.
    Preload { brane: BraneId },
    /// A brane that is offered was loaded, or not.
    Preloaded { brane: BraneId, loaded: Result<Box<Recovery>, Code> },
    /// A brane is offered no more.
    Decided { brane: BraneId },
    /// Give every brane to other nodes, as far as they take them; then answer.
    HandOver(OneshotSender<()>),
    /// These nodes, each with so many branes, take them.
    Targets { targets: Vec<(Node, u64)>, reply: OneshotSender<()> },
    /// Stop a brane that another node is ready for.
    Depart { brane: BraneId, epoch: Epoch, desk: Desk },
    /// A brane's hand-over is over.
    Departed { brane: BraneId, epoch: Epoch, ended: Ended, to: Node },
    /// All hand-overs are over.
    HandedOver(OneshotSender<()>),
}

pub(crate) struct DirectoryActor;

/// What the directory and the branes need of their surroundings.
#[derive(Clone)]
pub(crate) struct DirectoryContext {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) persistence: ActorRef<PersistenceMsg>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) config: Arc<SystemConfig>,
    /// `None`: this is the only node.
    pub(crate) fleet: Option<FleetLink>,
    pub(crate) chronicle: TheChronicle,
    /// The brane of this node's probe.
    pub(crate) probe: BraneId,
}

pub(crate) struct Directory {
    context: DirectoryContext,
    branes: HashMap<BraneId, Entry>,
    actors: HashMap<ActorId, (BraneId, Epoch)>,
    /// Opened again, these would fail again in the same way. They stay closed
    /// while this process lives, and whoever asks is told this.
    broken: HashMap<BraneId, Code>,
    /// Changes of branes that are being opened, until they are open.
    changed: HashMap<BraneId, Arc<BraneRecord>>,
    /// Branes that other nodes offer.
    coming: HashMap<BraneId, Coming>,
    /// Where branes are that others have taken, until they are closed here.
    taken_to: HashMap<BraneId, Arc<str>>,
    /// Who gets the branes that this node gives away.
    going_to: Option<Vec<Node>>,
    next_channel: u32,
    /// No brane is opened any more.
    is_draining: bool,
    /// Who waits until all are closed.
    drained: Option<OneshotSender<()>>,
}

enum Entry {
    Opening(Vec<OpenReply>),
    Open(BraneHandle),
    /// Asked to close; whoever asks meanwhile gets it opened anew.
    Closing {
        channel: Channel,
        waiting: Vec<OpenReply>,
        /// Who is told when it is closed: it goes to another node.
        desk: Option<Desk>,
    },
    /// Closed, and on its way to another node.
    Departing(Vec<OpenReply>),
}

impl Entry {
    const fn name(&self) -> &'static str {
        match self {
            Self::Opening(_) => "opening",
            Self::Open(_) => "open",
            Self::Closing { desk: None, .. } => "closing",
            Self::Closing { desk: Some(_), .. } => "stopping for another node",
            Self::Departing(_) => "stopped for another node",
        }
    }
}

impl Actor for DirectoryActor {
    type Msg = DirectoryMsg;
    type State = Directory;
    type Arguments = DirectoryContext;

    async fn pre_start(
        &self,
        _myself: ActorRef<DirectoryMsg>,
        context: DirectoryContext,
    ) -> Result<Directory, ActorProcessingErr> {
        Ok(Directory {
            context,
            branes: HashMap::new(),
            actors: HashMap::new(),
            broken: HashMap::new(),
            changed: HashMap::new(),
            coming: HashMap::new(),
            taken_to: HashMap::new(),
            going_to: None,
            next_channel: 1,
            is_draining: false,
            drained: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<DirectoryMsg>,
        message: DirectoryMsg,
        directory: &mut Directory,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DirectoryMsg::Open { brane, reply } => directory.on_open(&myself, brane, reply),
            DirectoryMsg::Loaded { brane, result } => {
                directory.on_loaded(&myself, brane, result).await;
            }
            DirectoryMsg::Idle { brane } => directory.on_idle(brane),
            DirectoryMsg::Changed(record) => directory.on_changed(record),
            DirectoryMsg::Overdue { brane, channel } => directory.on_overdue(brane, channel),
            DirectoryMsg::List(reply) => {
                let _ = reply.send(directory.open().cloned().collect());
            }
            DirectoryMsg::NotClosed(reply) => {
                let all = directory.branes.iter().map(|(brane, entry)| (*brane, entry.name()));
                let _ = reply.send(all.collect());
            }
            DirectoryMsg::Drain(reply) => directory.on_drain(reply),
            DirectoryMsg::Lost { brane, epoch, to } => directory.on_lost(brane, epoch, to),
            DirectoryMsg::Preload { brane } => directory.on_preload(&myself, brane),
            DirectoryMsg::Preloaded { brane, loaded } => {
                directory.on_preloaded(&myself, brane, loaded);
            }
            DirectoryMsg::Decided { brane } => directory.on_decided(&myself, brane),
            DirectoryMsg::HandOver(reply) => directory.on_hand_over(&myself, reply),
            DirectoryMsg::Targets { targets, reply } => {
                directory.on_targets(&myself, targets, reply);
            }
            DirectoryMsg::Depart { brane, epoch, desk } => directory.on_depart(brane, epoch, desk),
            DirectoryMsg::Departed { brane, epoch, ended, to } => {
                directory.on_departed(&myself, brane, epoch, ended, &to);
            }
            DirectoryMsg::HandedOver(reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<DirectoryMsg>,
        event: SupervisionEvent,
        directory: &mut Directory,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(actor, _, _) => {
                directory.on_brane_gone(&myself, actor.get_id(), None);
            }
            SupervisionEvent::ActorFailed(actor, error) => {
                directory.on_brane_gone(&myself, actor.get_id(), Some(error));
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl Directory {
    fn on_open(&mut self, myself: &ActorRef<DirectoryMsg>, brane: BraneId, reply: OpenReply) {
        if self.is_draining {
            return reply(Err(self.elsewhere(brane).unwrap_or(Code::Unavailable.into())));
        }
        if let Some(code) = self.broken.get(&brane) {
            return reply(Err((*code).into()));
        }
        let max_waiting = self.context.config.max_waiting_joins;
        match self.branes.get_mut(&brane) {
            // One that has ended is about to close.
            Some(Entry::Open(handle)) => reply(match closed_to_all(&handle.record) {
                None => Ok(handle.clone()),
                Some(code) => Err(code.into()),
            }),
            Some(
                Entry::Opening(waiting)
                | Entry::Closing { waiting, .. }
                | Entry::Departing(waiting),
            ) if waiting.len() >= max_waiting => {
                reply(Err(Code::Unavailable.into()));
            }
            Some(Entry::Opening(waiting) | Entry::Departing(waiting)) => waiting.push(reply),
            Some(Entry::Closing { channel, waiting, .. }) => {
                if waiting.is_empty() {
                    let (patience_ms, channel) = (self.context.config.open_timeout_ms, *channel);
                    let overdue = move || DirectoryMsg::Overdue { brane, channel };
                    myself.send_after(Duration::from_millis(patience_ms), overdue);
                }
                waiting.push(reply);
            }
            None => {
                if let Some(denied) = self.elsewhere(brane) {
                    reply(Err(denied));
                } else if self.make_room(brane) {
                    self.start_loading(myself, brane, vec![reply]);
                } else {
                    self.context.metrics.limits.count(Limit::OpenBranes);
                    reply(Err(Code::Unavailable.into()));
                }
            }
        }
    }

    /// Whether one more brane may be opened, if need be because the one that
    /// nobody has used for the longest is closed. A closing brane has its
    /// memory until the store has all of it, so they are bounded, too. The
    /// probe's brane is always let in: a full process is not a sick one.
    fn make_room(&mut self, wanted: BraneId) -> bool {
        let (mut open, mut closing) = (0, 0);
        let mut idle: Option<(u64, BraneId)> = None;
        for (brane, entry) in self.branes.iter().filter(|(brane, _)| **brane != self.context.probe)
        {
            match entry {
                Entry::Opening(_) => open += 1,
                Entry::Open(handle) => {
                    open += 1;
                    let since_ms = handle.idle.since_ms().map(|since_ms| (since_ms, *brane));
                    idle = idle.into_iter().chain(since_ms).min();
                }
                Entry::Closing { .. } | Entry::Departing(_) => closing += 1,
            }
        }
        let max = self.context.config.max_open_branes;
        if wanted == self.context.probe || open < max {
            return true;
        }
        let Some((_, idle)) = idle.filter(|_| closing <= max / 4) else { return false };
        info!(brane = %idle, "closing a brane that nobody uses, to open another");
        self.on_idle(idle);
        true
    }

    /// A brane closes when the store has all of it, which can be never; those
    /// who want it opened anew do not wait for that.
    fn on_overdue(&mut self, brane: BraneId, overdue: Channel) {
        if let Some(Entry::Closing { channel, waiting, .. }) = self.branes.get_mut(&brane)
            && *channel == overdue
        {
            warn!(%brane, waiting = waiting.len(), "a brane does not close; the store is away");
            refuse(waiting);
        }
    }

    fn start_loading(
        &mut self,
        myself: &ActorRef<DirectoryMsg>,
        brane: BraneId,
        waiting: Vec<OpenReply>,
    ) {
        let preloaded = self.preloaded(brane);
        self.branes.insert(brane, Entry::Opening(waiting));
        let channel = Channel(self.next_channel);
        self.next_channel = self.next_channel.wrapping_add(1).max(1);
        let (context, directory) = (self.context.clone(), myself.clone());
        tokio::spawn(async move {
            let result = loading::load(&context, brane, channel, preloaded).await.map(Box::new);
            // Only at shutdown is there no directory any more.
            let _ = directory.send_message(DirectoryMsg::Loaded { brane, result });
        });
    }

    async fn on_loaded(
        &mut self,
        myself: &ActorRef<DirectoryMsg>,
        brane: BraneId,
        result: Result<Box<Loaded>, Denied>,
    ) {
        if self.is_draining {
            return;
        }
        let opened = match result {
            Ok(loaded) => self.spawn_brane(myself, *loaded).await.map_err(Denied::from),
            Err(denied) => Err(denied),
        };
        let waiting = match self.branes.remove(&brane) {
            Some(Entry::Opening(waiting)) => waiting,
            other => {
                warn!(%brane, "a brane was loaded that was not being opened");
                if let Some(entry) = other {
                    self.branes.insert(brane, entry);
                }
                return;
            }
        };
        if let Ok(handle) = &opened {
            self.actors.insert(handle.actor.get_id(), (brane, handle.epoch));
            self.branes.insert(brane, Entry::Open(handle.clone()));
            self.coming.remove(&brane);
        }
        for reply in waiting {
            reply(opened.clone());
        }
        if let Some(record) = self.changed.remove(&brane) {
            self.on_changed(record);
        }
    }

    async fn spawn_brane(
        &mut self,
        myself: &ActorRef<DirectoryMsg>,
        loaded: Loaded,
    ) -> Result<BraneHandle, Code> {
        let (brane, channel) = (loaded.record.id, loaded.channel);
        let (epoch, _) = loaded.recovered.lineage.current();
        let record = Arc::clone(&loaded.record);
        let fan_out_slot = Arc::new(std::sync::OnceLock::new());
        let idle = Arc::new(Idle::now());
        let arguments = BraneArguments {
            loaded,
            context: self.context.clone(),
            directory: myself.clone(),
            fan_out_slot: Arc::clone(&fan_out_slot),
            idle: Arc::clone(&idle),
        };
        match BraneActor::spawn_linked(None, BraneActor, arguments, myself.get_cell()).await {
            Ok((actor, _)) => {
                let fan_out = fan_out_slot.get().cloned().ok_or(Code::Internal)?;
                if let Some(link) = &self.context.fleet {
                    link.opened(brane, epoch);
                }
                Ok(BraneHandle { brane, channel, epoch, record, idle, actor, fan_out })
            }
            Err(error) => {
                error!(%brane, %error, "a brane's actor did not start");
                Err(Code::Unavailable)
            }
        }
    }

    fn on_idle(&mut self, brane: BraneId) {
        if let Some(Entry::Open(handle)) = self.branes.get(&brane) {
            // If it is gone already, its end is under way to us.
            let _ = handle.actor.send_message(BraneMsg::Close);
            let (channel, waiting) = (handle.channel, Vec::new());
            let closing = Entry::Closing { channel, waiting, desk: None };
            self.branes.insert(brane, closing);
        }
    }

    fn on_brane_gone(
        &mut self,
        myself: &ActorRef<DirectoryMsg>,
        actor: ActorId,
        failure: Option<ActorProcessingErr>,
    ) {
        let Some((brane, epoch)) = self.actors.remove(&actor) else { return };
        let taken_to = self.taken_to.remove(&brane);
        if let Some(link) = &self.context.fleet {
            link.closed(brane, epoch);
        }
        let waiting = match self.branes.remove(&brane) {
            Some(Entry::Closing { waiting, desk: Some(desk), .. }) => {
                return self.on_stopped(brane, waiting, &desk, failure.is_some());
            }
            Some(Entry::Closing { waiting, .. }) => waiting,
            Some(Entry::Open(_)) | None => Vec::new(),
            Some(entry @ (Entry::Opening(_) | Entry::Departing(_))) => {
                self.branes.insert(brane, entry);
                return;
            }
        };
        match failure {
            Some(error) => self.on_failure(brane, epoch, &error),
            None => info!(%brane, "closed a brane"),
        }
        self.release(brane, epoch);
        self.context.registry.brane_lost(brane, taken_to.as_deref());
        for reply in waiting {
            self.on_open(myself, brane, reply);
        }
        self.finish_draining();
    }

    /// A brane's actor has failed. One that would fail again stays closed.
    fn on_failure(&mut self, brane: BraneId, epoch: Epoch, error: &ActorProcessingErr) {
        let code = match rejection(error) {
            Some(Rejection::Damaged) => Code::Damaged,
            Some(Rejection::Broken) => Code::Internal,
            Some(Rejection::Superseded) => {
                return warn!(%brane, %epoch, "a brane ended here: it was opened elsewhere");
            }
            None => {
                error!(%brane, %error, "a brane's actor failed; it restarts from the journal");
                return self.context.metrics.brane_restarted();
            }
        };
        error!(%brane, %error, "a brane's actor failed; the brane stays closed");
        self.broken.insert(brane, code);
    }

    fn open(&self) -> impl Iterator<Item = &BraneHandle> {
        self.branes.values().filter_map(|entry| match entry {
            Entry::Open(handle) => Some(handle),
            Entry::Opening(_) | Entry::Closing { .. } | Entry::Departing(_) => None,
        })
    }
}

fn refuse(waiting: &mut Vec<OpenReply>) {
    waiting.drain(..).for_each(|reply| reply(Err(Code::Unavailable.into())));
}

/// Why the store will never take the brane's chunks, if it has failed of that.
fn rejection(error: &ActorProcessingErr) -> Option<Rejection> {
    error.downcast_ref().map(|RejectedError(Rejected { why, .. })| *why)
}
