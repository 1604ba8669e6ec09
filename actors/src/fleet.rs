//! This node's place in its fleet: performs what the [`Lease`] machine decides
//! on the store's fleet. [`hand_over`] brings branes to other nodes.

pub(crate) mod hand_over;
mod places;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use avvy_flow::lease::hand_over::HandOverConfig;
use avvy_flow::lease::{Answer, Lease, LeaseConfig, LeaseEffect, LeaseInput, LeaseStatus};
use avvy_model::{BraneId, Epoch, NodeId};
use avvy_persistence::cache::{Moved, News};
use avvy_persistence::{BoxFuture, Fleet, Holding, NodeStatus, Renewed, StoreError};
use ractor::concurrency::OneshotSender;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::clock;
use crate::directory::DirectoryMsg;
use crate::metrics::{Metrics, count};
use crate::persistence::PersistenceMsg;
use places::Places;

/// Between two questions where nodes are, however much is heard of nodes that
/// are not known.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Options of a node of a fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FleetConfig {
    /// How long the node holds its branes without hearing of the store.
    pub lease: LeaseConfig,
    /// How its branes go to other nodes.
    pub hand_over: HandOverConfig,
}

/// What reaches the fleet's actor.
pub(crate) enum FleetMsg {
    /// Who has the branes.
    Serve(ActorRef<DirectoryMsg>),
    /// Answered when the node is part of the fleet.
    Entered(OneshotSender<()>),
    /// The store's answer, or none.
    Answered { number: u64, answer: Option<Answer> },
    /// A brane was opened here.
    Opened { brane: BraneId, epoch: Epoch },
    /// It is held no more.
    Closed { brane: BraneId, epoch: Epoch },
    /// What nodes, perhaps this one, tell each other. Answered when it was heard.
    Heard { news: News, reply: OneshotSender<()> },
    /// Where the store says that nodes are; `None`: it did not answer.
    Nodes(Option<HashMap<NodeId, Arc<str>>>),
    /// It is time to ask for them once more.
    Look,
    /// A wish to be woken has come due.
    Tick,
    /// The lease's state.
    Status(OneshotSender<LeaseStatus>),
    /// The node ends: nothing is renewed any more.
    Leave(OneshotSender<()>),
}

/// The fleet, for whoever has to do with it.
#[derive(Clone)]
pub(crate) struct FleetLink {
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) actor: ActorRef<FleetMsg>,
    /// By which clients reach this node.
    pub(crate) address: Arc<str>,
    pub(crate) config: FleetConfig,
}

impl FleetLink {
    pub(crate) fn opened(&self, brane: BraneId, epoch: Epoch) {
        // Without the actor the whole system ends.
        let _ = self.actor.send_message(FleetMsg::Opened { brane, epoch });
    }

    pub(crate) fn closed(&self, brane: BraneId, epoch: Epoch) {
        let _ = self.actor.send_message(FleetMsg::Closed { brane, epoch });
    }

    /// Lets others have a brane that is not open here any more.
    pub(crate) async fn release(&self, brane: BraneId, epoch: Epoch) {
        match self.fleet.release(brane, epoch).await {
            // Another node has it already.
            Ok(()) | Err(StoreError::StaleEpoch { .. }) => {}
            // It is opened here when somebody comes, or is free when the node ends.
            Err(error) => warn!(%brane, %error, "a brane that is closed was not given up"),
        }
    }
}

pub(crate) struct FleetActor;

pub(crate) struct FleetArguments {
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) config: LeaseConfig,
    pub(crate) persistence: ActorRef<PersistenceMsg>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) struct Membership {
    fleet: Arc<dyn Fleet>,
    lease: Lease,
    persistence: ActorRef<PersistenceMsg>,
    metrics: Arc<Metrics>,
    directory: Option<ActorRef<DirectoryMsg>>,
    entering: Vec<OneshotSender<()>>,
    /// Questions to the store under way.
    asking: JoinSet<()>,
    places: Places,
    /// Whether there is a way by which nodes tell each other.
    hears: bool,
    has_left: bool,
}

impl Actor for FleetActor {
    type Msg = FleetMsg;
    type State = Membership;
    type Arguments = FleetArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<FleetMsg>,
        FleetArguments { fleet, config, persistence, metrics }: FleetArguments,
    ) -> Result<Membership, ActorProcessingErr> {
        myself.send_message(FleetMsg::Tick)?;
        Ok(Membership {
            fleet,
            lease: Lease::new(config),
            persistence,
            metrics,
            directory: None,
            entering: Vec::new(),
            asking: JoinSet::new(),
            places: Places::default(),
            hears: false,
            has_left: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<FleetMsg>,
        message: FleetMsg,
        state: &mut Membership,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            FleetMsg::Serve(directory) => state.directory = Some(directory),
            FleetMsg::Entered(reply) => state.entering.push(reply),
            FleetMsg::Answered { number, answer } => {
                state.feed(&myself, LeaseInput::Answered { number, answer });
            }
            FleetMsg::Opened { brane, epoch } => {
                state.feed(&myself, LeaseInput::Opened { brane, epoch });
            }
            FleetMsg::Closed { brane, epoch } => {
                state.feed(&myself, LeaseInput::Closed { brane, epoch });
            }
            FleetMsg::Heard { news, reply } => {
                state.hear(&myself, news);
                // Whoever tells may have stopped.
                let _ = reply.send(());
            }
            FleetMsg::Nodes(nodes) => state.on_nodes(&myself, nodes),
            FleetMsg::Look => state.ask_for_nodes(&myself),
            FleetMsg::Tick => state.feed(&myself, LeaseInput::Tick),
            FleetMsg::Status(reply) => {
                let _ = reply.send(state.lease.status(clock::monotonic_us()));
            }
            FleetMsg::Leave(reply) => state.on_leave(reply),
        }
        state.answer_entered();
        Ok(())
    }
}

impl Membership {
    fn feed(&mut self, myself: &ActorRef<FleetMsg>, input: LeaseInput) {
        self.feed_of(myself, input, None);
    }

    /// What is lost by this goes on at the address, if one is known.
    fn feed_of(&mut self, myself: &ActorRef<FleetMsg>, input: LeaseInput, to: Option<Arc<str>>) {
        if self.has_left {
            return;
        }
        let mut effects = Vec::new();
        self.lease.handle(clock::monotonic_us(), input, &mut effects);
        for effect in effects {
            self.perform(myself, effect, to.as_ref());
        }
    }

    fn perform(&mut self, myself: &ActorRef<FleetMsg>, effect: LeaseEffect, to: Option<&Arc<str>>) {
        match effect {
            LeaseEffect::Enter { number } => {
                self.ask(myself, number, |fleet| {
                    Box::pin(async move { fleet.enter().await.map(|()| Answer::default()) })
                });
            }
            LeaseEffect::Renew { number, held } => {
                let held = held.into_iter().map(|(brane, epoch)| Holding { brane, epoch });
                let held = held.collect();
                self.ask(myself, number, |fleet| {
                    Box::pin(async move { fleet.renew(held).await.map(answer) })
                });
            }
            LeaseEffect::Provisional(on) => self.on_provisional(myself, on),
            LeaseEffect::Lost { brane, epoch } => {
                warn!(%brane, %epoch, "another node has taken a brane");
                count(&self.metrics.branes_taken, 1);
                self.tell_directory(DirectoryMsg::Lost { brane, epoch, to: to.cloned() });
            }
            LeaseEffect::Preload { brane } => self.tell_directory(DirectoryMsg::Preload { brane }),
            LeaseEffect::Decided { brane } => self.tell_directory(DirectoryMsg::Decided { brane }),
            LeaseEffect::WakeAt(at_us) => {
                let pause = at_us.saturating_sub(clock::monotonic_us());
                myself.send_after(Duration::from_micros(pause), || FleetMsg::Tick);
            }
        }
    }

    /// Asks the store and brings its answer back.
    fn ask(
        &mut self,
        myself: &ActorRef<FleetMsg>,
        number: u64,
        question: impl FnOnce(Arc<dyn Fleet>) -> BoxFuture<'static, Result<Answer, StoreError>>,
    ) {
        let (asked, myself) = (question(Arc::clone(&self.fleet)), myself.clone());
        while self.asking.try_join_next().is_some() {}
        self.asking.spawn(async move {
            let answer = asked.await;
            if let Err(error) = &answer {
                warn!(%error, "the lease was not renewed");
            }
            // Without the actor nobody waits for the outcome.
            let _ = myself.send_message(FleetMsg::Answered { number, answer: answer.ok() });
        });
    }

    fn hear(&mut self, myself: &ActorRef<FleetMsg>, news: News) {
        self.hears = true;
        match news {
            News::Moved(moved) => match self.places.of(moved) {
                Some(to) => self.on_moved(myself, moved, to),
                None => self.look(myself),
            },
            News::Here(node) if self.places.knows(node) => {}
            News::Here(_) | News::Missed => self.look(myself),
        }
    }

    /// Whoever is in the brane goes on at the other node.
    fn on_moved(&mut self, myself: &ActorRef<FleetMsg>, moved: Moved, to: Arc<str>) {
        let Moved { brane, epoch, .. } = moved;
        self.feed_of(myself, LeaseInput::Moved { brane, epoch }, Some(to));
    }

    /// Has the store say where nodes are.
    fn look(&mut self, myself: &ActorRef<FleetMsg>) {
        if self.places.look() {
            self.ask_for_nodes(myself);
        }
    }

    fn ask_for_nodes(&self, myself: &ActorRef<FleetMsg>) {
        if self.has_left {
            return;
        }
        let (fleet, myself) = (Arc::clone(&self.fleet), myself.clone());
        tokio::spawn(async move {
            let nodes = fleet.nodes().await.ok();
            let place = |status: NodeStatus| (status.node.id, status.node.address.into());
            let nodes = nodes.map(|nodes| nodes.into_iter().map(place).collect());
            // Without the actor nobody waits for the outcome.
            let _ = myself.send_message(FleetMsg::Nodes(nodes));
        });
    }

    fn on_nodes(&mut self, myself: &ActorRef<FleetMsg>, nodes: Option<HashMap<NodeId, Arc<str>>>) {
        for (moved, to) in self.places.found(nodes) {
            self.on_moved(myself, moved, to);
        }
        if self.places.is_to_repeat() {
            myself.send_after(LOOK_PAUSE, || FleetMsg::Look);
        }
    }

    fn on_provisional(&mut self, myself: &ActorRef<FleetMsg>, on: bool) {
        match on {
            true => warn!("the lease is not sure any more: other nodes may take the branes"),
            false => {
                info!("the lease is sure");
                // It was asked in vain while it was away.
                if self.hears {
                    self.look(myself);
                }
            }
        }
        // Without the persistence actor the whole system ends.
        let _ = self.persistence.send_message(PersistenceMsg::Provisional(on));
    }

    fn on_leave(&mut self, reply: OneshotSender<()>) {
        self.has_left = true;
        let (fleet, mut asking) = (Arc::clone(&self.fleet), std::mem::take(&mut self.asking));
        tokio::spawn(async move {
            // A renewal behind it would bring the node back.
            while asking.join_next().await.is_some() {}
            match fleet.leave().await {
                Ok(()) => info!("left the fleet"),
                Err(error) => warn!(%error, "the fleet was not told that this node ends"),
            }
            // Whoever asked may have stopped waiting.
            let _ = reply.send(());
        });
    }

    fn answer_entered(&mut self) {
        if !self.entering.is_empty() && self.lease.is_sure(clock::monotonic_us()) {
            for reply in self.entering.drain(..) {
                // Whoever waited may have stopped.
                let _ = reply.send(());
            }
        }
    }

    fn tell_directory(&self, message: DirectoryMsg) {
        if let Some(directory) = &self.directory {
            // Without the directory the whole system ends.
            let _ = directory.send_message(message);
        }
    }
}

fn answer(renewed: Renewed) -> Answer {
    let Renewed { lapsed, lost, offered } = renewed;
    Answer { lapsed, lost, offered }
}
