//! Which branes are open. A brane is opened for the first join, and closed by
//! its own wish when nobody is there.

use std::collections::BTreeMap;

use avvy_flow::SessionKey;
use avvy_flow::brane_core::{BraneCore, Recovered};
use avvy_model::{BraneId, Code, Position};
use avvy_protocol::{Channel, Join};

use super::brane::Brane;
use super::fan_out::Fan;
use super::jobs::Loaded;
use super::{ActorId, Ctx, Life, Mailbox, Msg, Permit, Process, Route};

/// Someone who waits for a brane to be open.
struct Waiting {
    session: SessionKey,
    join: Box<Join>,
    permit: Permit,
}

enum Entry {
    Opening(Vec<Waiting>),
    Open(Route),
    Closing(Route, Vec<Waiting>),
}

/// The directory.
#[derive(Default)]
pub(super) struct Directory {
    entries: BTreeMap<BraneId, Entry>,
    last_channel: u32,
}

impl Directory {
    pub(super) fn life_of(&self, brane: BraneId) -> Option<Life> {
        match self.entries.get(&brane)? {
            Entry::Open(route) | Entry::Closing(route, _) => Some(route.life),
            Entry::Opening(_) => None,
        }
    }
}

impl Process {
    pub(super) fn on_directory(&mut self, ctx: &mut Ctx<'_>, message: Msg) {
        match message {
            Msg::Open { session, join, permit } => {
                self.on_open(ctx, Waiting { session, join, permit });
            }
            Msg::Loaded { brane, loaded } => self.on_loaded(ctx, brane, loaded),
            Msg::Idle { brane, life } => {
                let entry = self.directory.entries.get_mut(&brane);
                if let Some(entry) = entry
                    && let Entry::Open(route) = entry
                    && route.life == life
                {
                    *entry = Entry::Closing(*route, Vec::new());
                    self.send(ctx, ActorId::Brane(life), Msg::Drain);
                }
            }
            _ => ctx.env.fail(|| "the directory got another's message".to_owned()),
        }
    }

    fn on_open(&mut self, ctx: &mut Ctx<'_>, waiting: Waiting) {
        let brane = waiting.join.brane;
        match self.directory.entries.get_mut(&brane) {
            Some(Entry::Open(route)) => {
                let result = Ok(*route);
                self.answer(ctx, waiting, result);
            }
            Some(Entry::Opening(all) | Entry::Closing(_, all)) => all.push(waiting),
            None => self.open(ctx, brane, vec![waiting]),
        }
    }

    fn open(&mut self, ctx: &mut Ctx<'_>, brane: BraneId, waiting: Vec<Waiting>) {
        // Never used twice in a process: an update that is on its way to the
        // life before would reach another brane.
        self.directory.last_channel += 1;
        let channel = Channel(self.directory.last_channel);
        self.directory.entries.insert(brane, Entry::Opening(waiting));
        self.start_load(ctx, brane, channel);
    }

    fn on_loaded(&mut self, ctx: &mut Ctx<'_>, brane: BraneId, loaded: Result<Box<Loaded>, Code>) {
        let Some(Entry::Opening(waiting)) = self.directory.entries.remove(&brane) else {
            return;
        };
        let result = match loaded {
            Ok(loaded) => Ok(self.spawn_brane(ctx, brane, *loaded)),
            Err(code) => Err(code),
        };
        if let Ok(route) = result {
            self.directory.entries.insert(brane, Entry::Open(route));
        }
        for waiting in waiting {
            self.answer(ctx, waiting, result);
        }
    }

    fn spawn_brane(&mut self, ctx: &mut Ctx<'_>, brane: BraneId, loaded: Loaded) -> Route {
        self.last_life += 1;
        let life = Life(self.last_life);
        let Loaded { channel, recovered, windows } = loaded;
        let floor = match windows.first() {
            Some(first) => Position { epoch: first.epoch, seq: first.from },
            None => recovered.lineage.position_of(recovered.head),
        };
        let (now, config) = (ctx.env.now(), ctx.env.setup.brane);
        let setup = &ctx.env.setup;
        let fan = Fan::new(now.us, channel, setup.fan_out, setup.people, floor, windows);
        let Recovered { head, .. } = recovered;
        ctx.env.check(fan.head().seq == head, || {
            format!("the ring was filled to {}, the head is {head}", fan.head())
        });
        let mut core = BraneCore::open(brane, channel, recovered, config, now);
        let (epoch, hash) = (core.head().epoch, core.state_hash());
        if let Some((env, reference)) = ctx.reference(brane) {
            reference.opened(env, epoch, head, hash);
            env.count("brane opened");
            env.trace(|| format!("brane {brane} opened at {epoch}.{head}"));
        }
        self.branes.insert(life, Brane::new(ctx.env, brane, channel, core));
        self.fan_outs.insert(life, fan);
        for actor in [ActorId::Brane(life), ActorId::FanOut(life)] {
            self.mailboxes.insert(actor, Mailbox::default());
        }
        if self.persistence.register(brane, life) {
            self.send(ctx, ActorId::Brane(life), Msg::Pressure(true));
        }
        self.send(ctx, ActorId::Brane(life), Msg::IdleTick);
        Route { brane, channel, life }
    }

    /// A brane's actors are gone, by a crash or because it was closed.
    pub(super) fn on_brane_ended(&mut self, ctx: &mut Ctx<'_>, brane: BraneId) {
        let waiting = match self.directory.entries.remove(&brane) {
            Some(Entry::Closing(_, waiting) | Entry::Opening(waiting)) => waiting,
            Some(Entry::Open(_)) | None => Vec::new(),
        };
        for session in self.members() {
            self.send(ctx, ActorId::Session(session), Msg::BraneLost { brane });
        }
        if !waiting.is_empty() {
            self.open(ctx, brane, waiting);
        }
    }

    fn answer(&mut self, ctx: &mut Ctx<'_>, waiting: Waiting, result: Result<Route, Code>) {
        let Waiting { session, join, permit } = waiting;
        self.send(ctx, ActorId::Session(session), Msg::Opened { join, result, permit });
    }
}
