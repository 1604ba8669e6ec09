//! One process: actors with mailboxes, the store, and what both lose when the
//! process dies. The actors are thin: they drive the machines of `avvy-flow`
//! as the real ones do, and everything they are told goes past the reference
//! on its way.

mod brane;
mod directory;
mod entry;
mod fan_out;
mod jobs;
mod people;
mod persistence;
mod session;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use avvy_flow::group_commit::{JournalChunk, Rejected};
use avvy_flow::{Load, SessionKey};
use avvy_model::{
    Area, BraneId, Code, Epoch, Position, Principal, Role, Seq, StateHash, UserId, View,
};
use avvy_persistence::Store;
use avvy_persistence::memory::MemoryStore;
use avvy_protocol::{Channel, ClientMessage, Join, PeopleRequest, ServerMessage, Update};

use crate::env::{Env, Event};
use crate::net::{ConnId, Net, SharedOutbox};
use crate::reference::Reference;
use crate::sim::Fates;
use directory::Directory;
use jobs::Job;
pub(crate) use jobs::{journal_chunk, load_config, sources};
pub(crate) use persistence::Persistence;

/// One life of a brane's actors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Life(pub(crate) u32);

/// An actor of a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum ActorId {
    Brane(Life),
    FanOut(Life),
    Session(SessionKey),
    Directory,
    Persistence,
}

/// A store operation with several steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct JobId(pub(crate) u64);

/// Credits in use; given back when the message was dealt with or dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    session: SessionKey,
    load: Load,
}

/// An open brane, as sessions know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    brane: BraneId,
    channel: Channel,
    life: Life,
}

/// What actors tell each other.
pub(crate) enum Msg {
    // To a brane.
    Join {
        session: SessionKey,
        outbox: SharedOutbox,
        principal: Principal,
        join: Join,
        permit: Permit,
    },
    Entered(Vec<SessionKey>),
    EntryTick,
    Leave {
        session: SessionKey,
        farewell: bool,
    },
    Update {
        session: SessionKey,
        update: Update,
        permit: Permit,
    },
    Look {
        session: SessionKey,
        area: Option<Area>,
        permit: Permit,
    },
    Hash {
        session: SessionKey,
        permit: Permit,
    },
    Durable {
        epoch: Epoch,
        seq: Seq,
    },
    Superseded {
        epoch: Epoch,
    },
    Pressure(bool),
    FanOutReady {
        published: Seq,
        floor: Seq,
        paced: bool,
    },
    TakeTurn,
    Resync {
        session: SessionKey,
        at: Option<Position>,
        view: Option<View>,
    },
    Step {
        session: SessionKey,
        from: View,
        to: View,
    },
    TooSlow {
        session: SessionKey,
    },
    Tick {
        at_us: u64,
    },
    SnapshotEnded {
        at: Seq,
        stored: bool,
    },
    IdleTick,
    Drain,
    // To a fan-out.
    Attach {
        attach: Box<avvy_flow::brane_core::Attach>,
        user: UserId,
        outbox: SharedOutbox,
    },
    Detach {
        session: SessionKey,
        /// With a last word, and why.
        farewell: Option<Option<Code>>,
    },
    Voice {
        session: SessionKey,
        voice: avvy_flow::people::Voice,
    },
    Aim {
        session: SessionKey,
        goal: Option<View>,
    },
    Show(Box<avvy_flow::brane_core::Show>),
    Publish(avvy_flow::brane_core::Window),
    DurableTo {
        at: Position,
        waiting: Vec<SessionKey>,
    },
    Tell {
        session: SessionKey,
        message: ServerMessage,
    },
    Drained(SessionKey),
    People {
        session: SessionKey,
        request: PeopleRequest,
        permit: Option<Permit>,
    },
    PeopleWork,
    Work,
    Expire,
    // To a session.
    Received(ClientMessage, Permit),
    Opened {
        join: Box<Join>,
        result: Result<Route, Code>,
        permit: Permit,
    },
    BraneLost {
        brane: BraneId,
    },
    JoinRefused {
        brane: BraneId,
    },
    Ended,
    // To the directory.
    Open {
        session: SessionKey,
        join: Box<Join>,
        permit: Permit,
    },
    Loaded {
        brane: BraneId,
        loaded: Result<Box<jobs::Loaded>, Code>,
    },
    Idle {
        brane: BraneId,
        life: Life,
    },
    // To the persistence actor.
    Append {
        brane: BraneId,
        chunk: JournalChunk,
    },
    Settle {
        brane: BraneId,
        job: JobId,
    },
    Committed(Result<Vec<Rejected>, ()>),
    RetryTick,
}

/// What every actor may reach.
pub(crate) struct Ctx<'a> {
    pub(crate) env: &'a mut Env,
    pub(crate) net: &'a mut Net,
    pub(crate) references: &'a mut BTreeMap<BraneId, Reference>,
}

impl Ctx<'_> {
    /// The model of a brane.
    pub(crate) fn reference(&mut self, brane: BraneId) -> Option<(&mut Env, &mut Reference)> {
        Some((self.env, self.references.get_mut(&brane)?))
    }
}

#[derive(Default)]
struct Mailbox {
    messages: VecDeque<Msg>,
    /// An [`Event::Actor`] is planned.
    awake: bool,
    stalled_until_us: u64,
}

/// The process.
pub(crate) struct Process {
    number: u64,
    store: MemoryStore,
    fates: Arc<Mutex<Fates>>,
    /// Branes that another process has opened since this one started.
    intruded: BTreeSet<BraneId>,
    owners: BTreeMap<BraneId, UserId>,
    users: BTreeMap<UserId, Role>,
    mailboxes: BTreeMap<ActorId, Mailbox>,
    branes: BTreeMap<Life, brane::Brane>,
    fan_outs: BTreeMap<Life, fan_out::Fan>,
    sessions: BTreeMap<SessionKey, session::Session>,
    directory: Directory,
    persistence: Persistence,
    jobs: BTreeMap<JobId, Job>,
    last_session: u64,
    last_life: u32,
    last_job: u64,
    /// Its actor has failed just now.
    doomed: Option<BraneId>,
    /// The store has lost its power, and the process with it.
    is_dead: Cell<bool>,
}

impl Process {
    /// Starts on this store.
    pub(crate) fn new(
        env: &Env,
        number: u64,
        store: MemoryStore,
        fates: Arc<Mutex<Fates>>,
        owners: BTreeMap<BraneId, UserId>,
        users: BTreeMap<UserId, Role>,
    ) -> Self {
        let persistence = Persistence::new(env.setup.commits);
        let mailboxes = [ActorId::Directory, ActorId::Persistence];
        Self {
            number,
            store,
            fates,
            intruded: BTreeSet::new(),
            owners,
            users,
            mailboxes: mailboxes.map(|actor| (actor, Mailbox::default())).into(),
            branes: BTreeMap::new(),
            fan_outs: BTreeMap::new(),
            sessions: BTreeMap::new(),
            directory: Directory::default(),
            persistence,
            jobs: BTreeMap::new(),
            last_session: 0,
            last_life: 0,
            last_job: 0,
            doomed: None,
            is_dead: Cell::new(false),
        }
    }

    /// Whether the store has lost its power, and the process with it.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.get()
    }

    /// A client has connected.
    pub(crate) fn accept(&mut self, ctx: &mut Ctx<'_>, id: ConnId, user: UserId) {
        self.last_session += 1;
        // Never twice, also over several processes.
        let key = SessionKey(self.number << 32 | self.last_session);
        let Some(conn) = ctx.net.conns.get_mut(&id) else { return };
        conn.session = Some(key);
        let outbox = conn.outbox.clone();
        let session = session::Session::new(id, outbox, user, ctx.env.setup.edits_in_flight);
        self.sessions.insert(key, session);
        self.mailboxes.insert(ActorId::Session(key), Mailbox::default());
    }

    /// Something happened to this process.
    pub(crate) fn on_event(&mut self, ctx: &mut Ctx<'_>, event: Event) {
        match event {
            Event::Actor(number, actor) if number == self.number => self.run(ctx, actor),
            Event::Timer(number, actor, at_us) if number == self.number => {
                let message = match actor {
                    ActorId::Brane(_) => Msg::Tick { at_us },
                    ActorId::FanOut(_) => Msg::Expire,
                    ActorId::Persistence => Msg::RetryTick,
                    ActorId::Session(_) | ActorId::Directory => return,
                };
                self.send(ctx, actor, message);
            }
            Event::Idle(number, actor) if number == self.number => {
                self.send(ctx, actor, Msg::IdleTick);
            }
            Event::Entry(number, actor) if number == self.number => {
                self.send(ctx, actor, Msg::EntryTick);
            }
            Event::Job(number, job) if number == self.number => self.run_job(ctx, job),
            Event::ToServer(conn) => self.on_arrival(ctx, conn),
            Event::ServerNotices(conn) => self.on_conn_ended(ctx, conn),
            _ => {}
        }
        for session in ctx.net.pump(ctx.env) {
            self.on_drained(ctx, session);
        }
    }

    /// Something crashes in a brane's actor: it and its fan-out are gone, the
    /// chunks that it gave to the journal are not.
    pub(crate) fn crash_brane(&mut self, ctx: &mut Ctx<'_>, brane: BraneId) -> bool {
        let Some(life) = self.directory.life_of(brane) else { return false };
        ctx.env.count("crash of a brane");
        ctx.env.trace(|| format!("brane {brane} crashes"));
        self.end_brane(ctx, life);
        self.on_brane_ended(ctx, brane);
        true
    }

    /// Another process opens a brane: who has it open here can store nothing
    /// any more, and finds out when it tries.
    pub(crate) fn supersede(&mut self, ctx: &mut Ctx<'_>, brane: BraneId) {
        if self.ask(self.store.open(brane)).is_ok() {
            ctx.env.count("brane opened by another process");
            ctx.env.trace(|| format!("another process opens {brane}"));
        }
        // It may be open there even if the answer was lost.
        self.intruded.insert(brane);
    }

    /// Holds up one of the actors.
    pub(crate) fn stall(&mut self, env: &mut Env) {
        let actors: Vec<ActorId> = self.mailboxes.keys().copied().collect();
        let Some(actor) = env.rng.pick(&actors).copied() else { return };
        let pause_us = env.rng.range(10_000, 2_000_000);
        if let Some(mailbox) = self.mailboxes.get_mut(&actor) {
            mailbox.stalled_until_us = env.now_us + pause_us;
            env.count("stalled actor");
        }
    }

    /// Ends the stalls.
    pub(crate) fn unstall(&mut self, env: &mut Env) {
        for (actor, mailbox) in &mut self.mailboxes {
            mailbox.stalled_until_us = 0;
            if mailbox.awake {
                // The planned turn may be far away; an extra one does no harm.
                env.after(0, Event::Actor(self.number, *actor));
            }
        }
    }

    /// The state hash and the head of a brane, if it is open.
    pub(crate) fn state_of(&mut self, brane: BraneId) -> Option<(Position, StateHash)> {
        let life = self.directory.life_of(brane)?;
        self.branes.get_mut(&life).map(brane::Brane::state)
    }

    pub(crate) fn is_open(&self, brane: BraneId) -> bool {
        self.directory.life_of(brane).is_some()
    }

    pub(crate) fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// What keeps this from being quiet, for whoever has to find out.
    pub(crate) fn unrest(&self) -> String {
        let mail = self.mailboxes.iter().filter(|(_, mailbox)| !mailbox.messages.is_empty());
        let mail: Vec<ActorId> = mail.map(|(actor, _)| *actor).collect();
        let branes: Vec<_> = self.branes.values().map(brane::Brane::status).collect();
        let commits = self.persistence.status();
        format!("mail {mail:?}, jobs {}, branes {branes:?}, {commits:?}", self.jobs.len())
    }

    fn send(&mut self, ctx: &mut Ctx<'_>, to: ActorId, message: Msg) {
        let Some(mailbox) = self.mailboxes.get_mut(&to) else {
            return self.drop_message(ctx, message);
        };
        mailbox.messages.push_back(message);
        if !mailbox.awake {
            mailbox.awake = true;
            self.plan_turn(ctx, to);
        }
    }

    fn plan_turn(&mut self, ctx: &mut Ctx<'_>, actor: ActorId) {
        let mean_us = ctx.env.setup.mailbox_us;
        let delay_us = ctx.env.rng.exponential(mean_us);
        let at_us = ctx.env.now_us + delay_us;
        let stalled_us = self.mailboxes.get(&actor).map_or(0, |mailbox| mailbox.stalled_until_us);
        ctx.env.at(at_us.max(stalled_us), Event::Actor(self.number, actor));
    }

    /// An actor takes its next message.
    fn run(&mut self, ctx: &mut Ctx<'_>, actor: ActorId) {
        let Some(mailbox) = self.mailboxes.get_mut(&actor) else { return };
        if mailbox.stalled_until_us > ctx.env.now_us {
            return self.plan_turn(ctx, actor);
        }
        let Some(message) = mailbox.messages.pop_front() else {
            mailbox.awake = false;
            return;
        };
        match actor {
            ActorId::Brane(life) => self.on_brane(ctx, life, message),
            ActorId::FanOut(life) => self.on_fan_out(ctx, life, message),
            ActorId::Session(session) => self.on_session(ctx, session, message),
            ActorId::Directory => self.on_directory(ctx, message),
            ActorId::Persistence => self.on_persistence(ctx, message),
        }
        if let Some(brane) = self.doomed.take() {
            self.crash_brane(ctx, brane);
        }
        let Some(mailbox) = self.mailboxes.get_mut(&actor) else { return };
        mailbox.awake = !mailbox.messages.is_empty();
        if mailbox.awake {
            self.plan_turn(ctx, actor);
        }
    }

    /// The actor is gone; what was in its mailbox is dropped.
    fn end_actor(&mut self, ctx: &mut Ctx<'_>, actor: ActorId) {
        if let Some(mailbox) = self.mailboxes.remove(&actor) {
            for message in mailbox.messages {
                self.drop_message(ctx, message);
            }
        }
    }

    fn drop_message(&mut self, ctx: &mut Ctx<'_>, message: Msg) {
        match message {
            Msg::Join { permit, .. }
            | Msg::Update { permit, .. }
            | Msg::Look { permit, .. }
            | Msg::Hash { permit, .. }
            | Msg::People { permit: Some(permit), .. }
            | Msg::Received(_, permit)
            | Msg::Opened { permit, .. }
            | Msg::Open { permit, .. } => self.give(ctx, permit),
            _ => {}
        }
    }

    /// Both actors of a brane are gone.
    fn end_brane(&mut self, ctx: &mut Ctx<'_>, life: Life) {
        if let Some(mut brane) = self.branes.remove(&life) {
            self.drop_knocks(ctx, &mut brane);
        }
        self.fan_outs.remove(&life);
        self.end_actor(ctx, ActorId::Brane(life));
        self.end_actor(ctx, ActorId::FanOut(life));
    }

    fn members(&self) -> BTreeSet<SessionKey> {
        self.sessions.keys().copied().collect()
    }
}
