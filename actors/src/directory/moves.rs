//! Branes that come from other nodes and go to them.

use std::sync::Arc;

use avvy_flow::group_commit::Rejected;
use avvy_flow::lease::hand_over::{Ended, HandOverInput};
use avvy_flow::recovery::Recovery;
use avvy_model::{BraneId, Code, Epoch, Rejection};
use avvy_persistence::Node;
use ractor::ActorRef;
use ractor::concurrency::OneshotSender;
use tracing::{info, warn};

use super::{Directory, DirectoryMsg, Entry, OpenReply};
use crate::Denied;
use crate::brane::BraneMsg;
use crate::fleet::hand_over::{self, Desk};
use crate::loading::{self, Preloaded};
use crate::metrics::count;
use crate::probe;

/// Branes that are loaded at a time for being offered.
const PRELOADING: usize = 4;

/// A brane that another node offers.
pub(super) enum Coming {
    /// Others are loaded first.
    Waiting,
    Loading,
    /// Up to what was durable then.
    Loaded(Preloaded),
}

impl Directory {
    /// Another node has taken this brane: nothing of it is stored any more.
    pub(super) fn on_lost(&mut self, brane: BraneId, epoch: Epoch, to: Option<Arc<str>>) {
        if let Some(Entry::Open(handle)) = self.branes.get(&brane)
            && handle.epoch == epoch
        {
            self.taken_to.extend(to.map(|to| (brane, to)));
            let opening = Rejected { brane, epoch, why: Rejection::Superseded };
            // If it is gone already, its end is under way to us.
            let _ = handle.actor.send_message(BraneMsg::Rejected(opening));
        }
    }

    /// Another node offers a brane.
    pub(super) fn on_preload(&mut self, myself: &ActorRef<DirectoryMsg>, brane: BraneId) {
        let has_room = self.branes.len() + self.coming.len() < self.context.config.max_open_branes;
        if self.is_draining || self.going_to.is_some() || !has_room {
            return info!(%brane, "a brane is offered that has no room here");
        }
        // Who asks for it meanwhile is sent to where it is.
        if matches!(self.branes.get(&brane), None | Some(Entry::Opening(_))) {
            self.coming.entry(brane).or_insert(Coming::Waiting);
            self.preload_next(myself);
        }
    }

    fn preload_next(&mut self, myself: &ActorRef<DirectoryMsg>) {
        let is_loading = |coming: &&Coming| matches!(coming, Coming::Loading);
        let mut loading = self.coming.values().filter(is_loading).count();
        for (brane, coming) in &mut self.coming {
            if loading >= PRELOADING {
                return;
            }
            if matches!(coming, Coming::Waiting) {
                *coming = Coming::Loading;
                loading += 1;
                let (context, directory, brane) = (self.context.clone(), myself.clone(), *brane);
                tokio::spawn(async move {
                    let loaded = loading::preload(&context, brane).await.map(Box::new);
                    // Only at shutdown is there no directory any more.
                    let _ = directory.send_message(DirectoryMsg::Preloaded { brane, loaded });
                });
            }
        }
    }

    /// A brane that is offered was loaded: its node may hand it over.
    pub(super) fn on_preloaded(
        &mut self,
        myself: &ActorRef<DirectoryMsg>,
        brane: BraneId,
        loaded: Result<Box<Recovery>, Code>,
    ) {
        if let Some(coming) = self.coming.get_mut(&brane) {
            match loaded {
                Ok(recovery) => {
                    *coming = Coming::Loaded(Preloaded::new(recovery));
                    self.say_ready(brane);
                }
                Err(code) => {
                    warn!(%brane, %code, "a brane that is offered could not be loaded");
                    self.coming.remove(&brane);
                }
            }
        }
        self.preload_next(myself);
    }

    fn say_ready(&self, brane: BraneId) {
        let Some(link) = self.context.fleet.clone() else { return };
        tokio::spawn(async move {
            if let Err(error) = link.fleet.ready(brane).await {
                warn!(%brane, %error, "a node was not told that its brane may come");
            }
        });
    }

    /// A brane is offered no more. If it is this node's now, it opens; if it
    /// stayed where it was, the store says so. A node that ends opens nothing:
    /// whoever asks for it has it as soon as this one has left.
    pub(super) fn on_decided(&mut self, myself: &ActorRef<DirectoryMsg>, brane: BraneId) {
        let is_new = self.coming.contains_key(&brane) && !self.branes.contains_key(&brane);
        if is_new && !self.is_draining {
            self.start_loading(myself, brane, Vec::new());
        }
        self.coming.remove(&brane);
    }

    /// What is loaded of a brane that was offered. It stays until the brane is
    /// open here, or is offered no more: whoever asks too early is refused.
    pub(super) fn preloaded(&self, brane: BraneId) -> Option<Preloaded> {
        match self.coming.get(&brane) {
            Some(Coming::Loaded(preloaded)) => Some(preloaded.clone()),
            Some(Coming::Waiting | Coming::Loading) | None => None,
        }
    }

    /// The node ends: whoever takes a brane gets it.
    pub(super) fn on_hand_over(
        &mut self,
        myself: &ActorRef<DirectoryMsg>,
        reply: OneshotSender<()>,
    ) {
        let Some(link) = self.context.fleet.clone() else {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(());
            return;
        };
        self.going_to = Some(Vec::new());
        let directory = myself.clone();
        tokio::spawn(async move {
            match hand_over::targets(&link).await {
                Ok(targets) => {
                    let _ = directory.send_message(DirectoryMsg::Targets { targets, reply });
                }
                Err(error) => {
                    warn!(%error, "no other node is known; the branes are closed");
                    let _ = reply.send(());
                }
            }
        });
    }

    /// These nodes take this one's branes.
    pub(super) fn on_targets(
        &mut self,
        myself: &ActorRef<DirectoryMsg>,
        targets: Vec<(Node, u64)>,
        reply: OneshotSender<()>,
    ) {
        let Some(link) = self.context.fleet.clone() else { return };
        let open = self.open().filter(|handle| handle.brane != self.context.probe);
        let branes: Vec<_> = open.map(|handle| (handle.brane, handle.epoch)).collect();
        info!(branes = branes.len(), nodes = targets.len(), "handing branes over");
        self.going_to = Some(targets.iter().map(|(node, _)| node.clone()).collect());
        let directory = myself.clone();
        tokio::spawn(async move {
            hand_over::hand_over_all(&link, &directory, &targets, branes).await;
            // Behind what the hand-overs have said.
            let _ = directory.send_message(DirectoryMsg::HandedOver(reply));
        });
    }

    /// Where somebody should go who wants a brane that is not open, when this
    /// node gives its branes away.
    pub(super) fn elsewhere(&self, brane: BraneId) -> Option<Denied> {
        let targets = self.going_to.as_ref().filter(|targets| !targets.is_empty())?;
        let nth = brane.uuid().as_u128() % targets.len() as u128;
        targets.get(nth as usize).map(|node| Denied::moved(&node.address))
    }

    /// The other node is ready: the brane stops.
    pub(super) fn on_depart(&mut self, brane: BraneId, epoch: Epoch, desk: Desk) {
        match self.branes.get(&brane) {
            Some(Entry::Open(handle)) if handle.epoch == epoch => {
                // If it is gone already, its end is under way to us.
                let _ = handle.actor.send_message(BraneMsg::Depart);
                let channel = handle.channel;
                let departing = Entry::Closing { channel, waiting: Vec::new(), desk: Some(desk) };
                self.branes.insert(brane, departing);
            }
            _ => drop(desk.try_send(HandOverInput::Gone)),
        }
    }

    /// The actor of a brane that departs has ended.
    pub(super) fn on_stopped(
        &mut self,
        brane: BraneId,
        waiting: Vec<OpenReply>,
        desk: &Desk,
        has_failed: bool,
    ) {
        self.branes.insert(brane, Entry::Departing(waiting));
        let input = if has_failed { HandOverInput::Gone } else { HandOverInput::Stopped };
        // Its task tells how it ended.
        let _ = desk.try_send(input);
    }

    /// A hand-over is over.
    pub(super) fn on_departed(
        &mut self,
        myself: &ActorRef<DirectoryMsg>,
        brane: BraneId,
        epoch: Epoch,
        ended: Ended,
        to: &Node,
    ) {
        let metrics = &self.context.metrics;
        match ended {
            Ended::Moved => count(&metrics.branes_moved, 1),
            Ended::Kept | Ended::Gone | Ended::Stranded => count(&metrics.branes_not_moved, 1),
        }
        // Of one that was not stopped nothing has changed.
        let waiting = match self.branes.remove(&brane) {
            Some(Entry::Departing(waiting)) => waiting,
            Some(entry) => {
                self.branes.insert(brane, entry);
                return;
            }
            None => return,
        };
        if ended == Ended::Moved {
            self.context.registry.brane_lost(brane, Some(&to.address));
            waiting.into_iter().for_each(|reply| reply(Err(Denied::moved(&to.address))));
        } else {
            self.release(brane, epoch);
            self.context.registry.brane_lost(brane, None);
            waiting.into_iter().for_each(|reply| self.on_open(myself, brane, reply));
        }
        self.finish_draining();
    }

    /// Whoever opens the brane next has it. What this node still has to store
    /// of it goes before.
    pub(super) fn release(&self, brane: BraneId, epoch: Epoch) {
        let Some(link) = self.context.fleet.clone() else { return };
        let context = self.context.clone();
        tokio::spawn(async move {
            if loading::settle(&context, brane).await.is_ok() {
                link.release(brane, epoch).await;
            }
        });
    }
}

/// The brane of the probe of the node at this address: no two nodes share one.
pub(crate) fn probe_brane(address: Option<&str>) -> BraneId {
    let Some(address) = address else { return probe::BRANE };
    // FNV-1a: the same for as long as the address is.
    let hash =
        address.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
    BraneId::new(uuid::Builder::from_random_bytes(hash.to_be_bytes()).into_uuid())
}
