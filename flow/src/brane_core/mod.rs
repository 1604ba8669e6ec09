//! One brane: its world, the order of its edits, and who is told what when.
//!
//! Invariants:
//! - `durable <= closed <= head`, `published <= closed`. A closed window has
//!   been given to the journal; a published one to the fan-out as well.
//! - Windows join and hold every accepted edit once. Their ranges are the
//!   journal's and the wire's alike.
//! - Views of the world (snapshots, differences, hashes) are taken only when
//!   everything was published, so that their position is the end of a window:
//!   the world already holds what is in the open window. Who needs one waits
//!   for that boundary, at most about one window long, and all who wait share
//!   one view.
//! - Every edit is answered, once for each time it was sent.
//!
//! The machine ends with its driver; [`BraneInput::Drain`] brings it to a
//! point where nothing is lost by that.

mod cells;
mod config;
mod durability;
mod edit;
mod join;
mod message;
mod rights;
mod snapshot;
mod status;
mod steps;
#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;

use avvy_brane::{Clients, World};
use avvy_model::{
    BraneId, ClientId, Counter, Epoch, Event, Position, Principal, Seq, StateHash, View,
};
use avvy_protocol::Channel;
use rustc_hash::FxHashMap;

use crate::flush_window::FlushWindow;
use crate::lineage::Lineage;
use crate::{Now, SessionKey};

pub use cells::CellWindow;
pub use config::{BraneConfig, Recovered};
pub use message::{
    Attach, BraneEffect, BraneInput, Parts, Selection, Show, SnapshotJob, Start, Window,
};
pub use status::BraneStatus;
pub use window::wire_items;

/// The machine of one brane under one epoch.
pub struct BraneCore {
    brane: BraneId,
    channel: Channel,
    config: BraneConfig,
    world: World,
    clients: Clients,
    lineage: Lineage,
    epoch: Epoch,
    sessions: FxHashMap<SessionKey, Session>,
    /// Who needs the world at a boundary, in the order of asking.
    waiting: Vec<join::Waiting>,
    /// Who waits to see more.
    steps: steps::Steps,
    /// When edits are cut into windows.
    pace: FlushWindow,
    /// The last edit accepted.
    head: Seq,
    /// The last edit given to the journal.
    closed: Seq,
    /// The last edit given to the fan-out.
    published: Seq,
    /// The last edit that the fan-out has dealt with.
    ready: Seq,
    /// The last edit that survives a power cut.
    durable: Seq,
    /// The oldest position that the fan-out can replay from.
    floor: Seq,
    /// The events of the open window.
    open: Vec<Event>,
    /// Where they are seen; empty when nobody sees a part of the brane.
    open_spots: Vec<cells::Spots>,
    /// Sessions that see a part of the brane or want to.
    scoped: usize,
    /// When there was one last, if there is none.
    scoped_us: Option<u64>,
    /// About how many bytes they are.
    open_bytes: usize,
    /// Sessions with edits in the open window.
    open_editors: Vec<SessionKey>,
    /// Closed windows that are not published.
    queue: VecDeque<window::Closed>,
    /// Edits that were sent again while their window is not published.
    repeats: Vec<(SessionKey, Counter, Seq)>,
    /// Whom the rulings of this update are about: they are told at its end.
    ruled: Vec<rights::RuledFor>,
    journal: durability::Journal,
    snapshots: snapshot::Snapshots,
    draining: bool,
    /// It goes to another node, which needs no last snapshot.
    leaving: bool,
    /// The journal's queue is too long.
    pressure: bool,
    /// The wish that the driver knows of.
    wake_us: Option<u64>,
    counters: BraneStatus,
}

/// A session that has joined or is about to.
struct Session {
    principal: Principal,
    client: ClientId,
    /// False until the session was attached.
    attached: bool,
    /// Waits for a hash.
    hash_wanted: bool,
    /// Waits for a new start.
    resync_wanted: bool,
    /// Waits for what it is to see more.
    step_wanted: bool,
    /// What it wants to see; `None`: the whole brane.
    goal: Option<View>,
    /// Own edits in the open window.
    acks: Vec<(Counter, Seq)>,
}

impl BraneCore {
    /// Opens a brane with what was recovered.
    ///
    /// # Panics
    /// When the current epoch does not begin at the recovered head.
    pub fn open(
        brane: BraneId,
        channel: Channel,
        recovered: Recovered,
        config: BraneConfig,
        now: Now,
    ) -> Self {
        let Recovered { mut world, mut clients, lineage, head, floor, snapshot } = recovered;
        let (epoch, start) = lineage.current();
        assert_eq!(start, head, "an epoch begins at the durable head");
        clients.forget(now.unix_ms);
        world.forget_rights(now.unix_ms);
        world.adopt_grid();
        world.adopt_cells();
        Self {
            brane,
            channel,
            pace: FlushWindow::new(config.flush),
            config,
            world,
            clients,
            lineage,
            epoch,
            sessions: FxHashMap::default(),
            waiting: Vec::new(),
            steps: steps::Steps::default(),
            head,
            closed: head,
            published: head,
            ready: head,
            durable: head,
            floor,
            open: Vec::new(),
            open_spots: Vec::new(),
            scoped: 0,
            scoped_us: None,
            open_bytes: 0,
            open_editors: Vec::new(),
            queue: VecDeque::new(),
            repeats: Vec::new(),
            ruled: Vec::new(),
            journal: durability::Journal::default(),
            snapshots: snapshot::Snapshots::new(head, snapshot),
            draining: false,
            leaving: false,
            pressure: false,
            wake_us: None,
            counters: BraneStatus::default(),
        }
    }

    /// Takes in what has happened and says what is to be done.
    pub fn handle(&mut self, now: Now, input: BraneInput, effects: &mut Vec<BraneEffect>) {
        match input {
            BraneInput::Join { session, principal, join } => {
                self.on_join(now, session, principal, join, effects);
            }
            BraneInput::Leave { session } => self.on_leave(now, session, effects),
            BraneInput::Update { session, update } => {
                self.on_update(now, session, update, effects);
            }
            BraneInput::View { session, area } => self.on_view(now, session, area, effects),
            BraneInput::Hash { session } => self.on_hash(session),
            BraneInput::Durable { epoch, seq } => self.on_durable(epoch, seq, effects),
            BraneInput::FanOutReady { published, floor, paced } => {
                self.on_fan_out_ready(now, published, floor, paced);
            }
            BraneInput::Resync { session, at, view } => self.on_resync(session, at, view),
            BraneInput::Step { session, from, to } => self.on_step(session, from, to),
            BraneInput::Invited(invited) => self.on_invited(now, &invited, effects),
            BraneInput::Pressure(pressure) => self.pressure = pressure,
            BraneInput::Tick => self.wake_us = None,
            BraneInput::SnapshotStored { at } => self.snapshots.stored(at),
            BraneInput::SnapshotFailed => self.on_snapshot_failed(now),
            BraneInput::Drain => self.on_drain(now, effects),
            BraneInput::Depart => self.on_depart(now, effects),
        }
        self.tell_rights(now, effects);
        self.settle(now, effects);
    }

    /// The last edit that is known to be durable.
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// Whether all is published and durable after [`BraneInput::Drain`], and a
    /// last snapshot is stored or could not be; the brane can then be closed
    /// without loss. After [`BraneInput::Depart`] no snapshot is waited for.
    pub fn is_drained(&self) -> bool {
        let stored = self.leaving || self.snapshots.idle();
        self.draining && self.at_boundary() && self.durable == self.head && stored
    }

    /// The world with everything accepted so far.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The outcomes known so far.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The state hash with everything accepted so far.
    pub fn state_hash(&mut self) -> StateHash {
        self.world.state_hash()
    }

    /// The last edit accepted.
    pub fn head(&self) -> Position {
        self.position(self.head)
    }

    /// The channel of this brane on this node.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Whether every edit so far was published, so that each has its answer.
    pub fn is_published(&self) -> bool {
        self.at_boundary()
    }

    /// Does what became possible: closes and publishes windows, serves who
    /// waited for a boundary, takes snapshots, and asks to be woken.
    fn settle(&mut self, now: Now, effects: &mut Vec<BraneEffect>) {
        let flush_wake_us = self.pace(now, effects);
        if self.at_boundary() {
            self.serve_waiting(now, effects);
            self.take_snapshot_if_due(now);
        }
        self.emit_snapshot_if_durable(effects);
        let snapshot_wake_us = self.snapshots.retry_us();
        // Otherwise there is a boundary to come.
        let steps_wake_us = self.steps.due_us().filter(|_| self.at_boundary());
        let wakes = flush_wake_us.into_iter().chain(snapshot_wake_us).chain(steps_wake_us);
        let Some(wake_us) = wakes.min() else { return };
        if self.wake_us.is_none_or(|known| wake_us < known) {
            self.wake_us = Some(wake_us);
            effects.push(BraneEffect::WakeAt(wake_us));
        }
    }

    /// Whether what was published is all that the world holds.
    fn at_boundary(&self) -> bool {
        self.published == self.head
    }

    fn position(&self, seq: Seq) -> Position {
        Position { epoch: self.epoch, seq }
    }

    fn on_drain(&mut self, now: Now, effects: &mut Vec<BraneEffect>) {
        self.draining = true;
        self.refuse_waiting_joins(now, effects);
        self.snapshots.want(self.head);
    }

    fn on_depart(&mut self, now: Now, effects: &mut Vec<BraneEffect>) {
        (self.draining, self.leaving) = (true, true);
        self.refuse_waiting_joins(now, effects);
    }
}
