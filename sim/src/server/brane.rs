//! The brane actor: performs what [`BraneCore`] decides. On the way, the
//! reference sees every chunk, window and answer.

use std::collections::BTreeMap;

use avvy_brane::journal;
use avvy_flow::brane_core::{
    BraneCore, BraneEffect, BraneInput, BraneStatus, Selection, Start, Window,
};
use avvy_flow::group_commit::JournalChunk;
use avvy_flow::{Admission, SessionKey};
use avvy_model::{BraneId, ClientId, Code, EditId, NumberedEdit, Position, StateHash, UserId};
use avvy_protocol::close::CloseCode;
use avvy_protocol::{Channel, ServerMessage, Update};

use super::entry::Knock;
use super::jobs::SnapshotRun;
use super::{ActorId, Ctx, Life, Msg, Process};
use crate::env::{Env, Event};
use crate::net::SharedOutbox;
use crate::reference::Door;

/// How often an actor fails between two of its effects, in millionths.
const CRASH_PPM: u64 = 3_000;

pub(super) struct Brane {
    pub(super) brane: BraneId,
    pub(super) channel: Channel,
    pub(super) core: BraneCore,
    /// Who may come in now, and who should.
    pub(super) admission: Admission<Knock>,
    pub(super) door: Door,
    /// Whether a [`Msg::EntryTick`] is under way.
    pub(super) entry_tick: bool,
    pub(super) members: BTreeMap<SessionKey, (SharedOutbox, UserId)>,
    /// Under which names they write.
    writers: BTreeMap<SessionKey, ClientId>,
    tick_us: Option<u64>,
    empty_since_us: Option<u64>,
    pub(super) closing: bool,
}

impl Brane {
    pub(super) fn new(env: &Env, brane: BraneId, channel: Channel, core: BraneCore) -> Self {
        Self {
            brane,
            channel,
            core,
            admission: Admission::new(env.setup.admission),
            door: Door::default(),
            entry_tick: false,
            members: BTreeMap::new(),
            writers: BTreeMap::new(),
            tick_us: None,
            empty_since_us: Some(env.now_us),
            closing: false,
        }
    }

    pub(super) fn state(&mut self) -> (Position, StateHash) {
        (self.core.head(), self.core.state_hash())
    }

    pub(super) fn status(&self) -> BraneStatus {
        self.core.status()
    }

    /// What a client asks of the catalogue comes as a batch that nobody else
    /// may send. The catalogue knows what it is, and says it in its own words.
    fn vouch(&self, ctx: &Ctx<'_>, session: SessionKey, update: &mut Update) {
        let reference = ctx.references.get(&self.brane);
        let Some((reference, client)) = reference.zip(self.writers.get(&session).copied()) else {
            return;
        };
        for NumberedEdit { counter, edit } in &mut update.edits {
            let asked = reference.asked_to_follow(EditId { client, counter: *counter });
            *edit = asked.unwrap_or_else(|| edit.clone());
        }
    }

    fn close_slow(&self, ctx: &mut Ctx<'_>, session: SessionKey) {
        if let Some((outbox, _)) = self.members.get(&session) {
            ctx.env.count("slow session closed");
            outbox.borrow_mut().close(CloseCode::SlowConsumer);
        }
    }
}

impl Process {
    pub(super) fn on_brane(&mut self, ctx: &mut Ctx<'_>, life: Life, message: Msg) {
        let Some(brane) = self.branes.get_mut(&life) else {
            return self.drop_message(ctx, message);
        };
        match message {
            Msg::Join { session, outbox, principal, join, permit } => {
                brane.members.insert(session, (outbox, principal.user));
                brane.writers.insert(session, join.client);
                brane.empty_since_us = None;
                self.on_knock(ctx, life, session, principal, join, permit);
            }
            Msg::Entered(sessions) => self.on_entered(ctx, life, &sessions),
            Msg::EntryTick => brane.entry_tick = false,
            Msg::Leave { session, farewell } => {
                let was_member = brane.members.remove(&session).is_some();
                brane.writers.remove(&session);
                self.forget_knock(ctx, life, session);
                if was_member && farewell {
                    let detach = Msg::Detach { session, farewell: Some(None) };
                    self.send(ctx, ActorId::FanOut(life), detach);
                }
                self.feed(ctx, life, BraneInput::Leave { session });
                self.watch_idleness(ctx, life);
            }
            Msg::Update { session, mut update, permit } => {
                brane.vouch(ctx, session, &mut update);
                self.feed(ctx, life, BraneInput::Update { session, update });
                self.give(ctx, permit);
            }
            Msg::Look { session, area, permit } => {
                self.feed(ctx, life, BraneInput::View { session, area });
                self.give(ctx, permit);
            }
            Msg::Hash { session, permit } => {
                self.feed(ctx, life, BraneInput::Hash { session });
                self.give(ctx, permit);
            }
            Msg::Durable { epoch, seq } => {
                self.feed(ctx, life, BraneInput::Durable { epoch, seq });
            }
            Msg::Superseded { epoch } => {
                if epoch == brane.core.status().epoch {
                    return self.end_superseded(ctx, life);
                }
            }
            Msg::Pressure(on) => self.feed(ctx, life, BraneInput::Pressure(on)),
            Msg::FanOutReady { published, floor, paced } => {
                self.feed(ctx, life, BraneInput::FanOutReady { published, floor, paced });
                if paced {
                    self.send(ctx, ActorId::FanOut(life), Msg::TakeTurn);
                }
            }
            Msg::Resync { session, at, view } => {
                ctx.env.count("resync of a slow session");
                ctx.env.trace(|| format!("{session:?} is to be resynced from {at:?}"));
                self.feed(ctx, life, BraneInput::Resync { session, at, view });
            }
            Msg::Step { session, from, to } => {
                self.feed(ctx, life, BraneInput::Step { session, from, to });
            }
            Msg::TooSlow { session } => brane.close_slow(ctx, session),
            Msg::Tick { at_us } => {
                if brane.tick_us == Some(at_us) {
                    brane.tick_us = None;
                    self.feed(ctx, life, BraneInput::Tick);
                }
            }
            Msg::SnapshotEnded { at, stored } => {
                let (at, failed) = (BraneInput::SnapshotStored { at }, BraneInput::SnapshotFailed);
                self.feed(ctx, life, if stored { at } else { failed });
            }
            Msg::IdleTick => self.watch_idleness(ctx, life),
            Msg::Drain => {
                brane.closing = true;
                self.feed(ctx, life, BraneInput::Drain);
            }
            _ => ctx.env.fail(|| "a brane got another's message".to_owned()),
        }
        self.let_in(ctx, life);
        self.close_if_drained(ctx, life);
    }

    pub(super) fn feed(&mut self, ctx: &mut Ctx<'_>, life: Life, input: BraneInput) {
        let Some(brane) = self.branes.get_mut(&life) else { return };
        let mut effects = Vec::new();
        brane.core.handle(ctx.env.now(), input, &mut effects);
        if ctx.env.setup.weights.brane_crash > 0 && effects.len() > 1 && ctx.env.rng.ppm(CRASH_PPM)
        {
            // The actor fails halfway through what it has decided.
            ctx.env.count("crash of a brane between two effects");
            effects.truncate(1 + ctx.env.rng.below(effects.len() as u64 - 1) as usize);
            self.doomed = Some(brane.brane);
        }
        for effect in effects {
            self.perform_brane(ctx, life, effect);
        }
    }

    fn perform_brane(&mut self, ctx: &mut Ctx<'_>, life: Life, effect: BraneEffect) {
        let Some(brane) = self.branes.get_mut(&life) else { return };
        let id = brane.brane;
        match effect {
            BraneEffect::Journal(chunk) => {
                observe_chunk(ctx, id, &chunk);
                if let Some((env, reference)) = ctx.reference(id) {
                    reference.judge_indexes(env, brane.core.world());
                }
                self.send(ctx, ActorId::Persistence, Msg::Append { brane: id, chunk });
            }
            BraneEffect::Publish(window) => {
                observe_window(ctx, id, &window);
                self.send(ctx, ActorId::FanOut(life), Msg::Publish(window));
            }
            BraneEffect::Attach(attach) => {
                ctx.env
                    .trace(|| format!("attach {:?}: {:?}", attach.session, brief(&attach.start)));
                if attach.rewind.is_some() {
                    ctx.env.count("rewind of a copy");
                }
                if let Some((outbox, user)) = brane.members.get(&attach.session).cloned() {
                    let attach = Msg::Attach { attach, user, outbox };
                    self.send(ctx, ActorId::FanOut(life), attach);
                }
            }
            BraneEffect::Aim { session, goal } => {
                self.send(ctx, ActorId::FanOut(life), Msg::Aim { session, goal });
            }
            BraneEffect::Show(show) => self.send(ctx, ActorId::FanOut(life), Msg::Show(show)),
            BraneEffect::Detach { session } => {
                let detach = Msg::Detach { session, farewell: None };
                self.send(ctx, ActorId::FanOut(life), detach);
            }
            BraneEffect::Expel { session, code } => {
                ctx.env.count("session let go of by a ruling");
                brane.members.remove(&session);
                self.forget_knock(ctx, life, session);
                self.send(ctx, ActorId::Session(session), Msg::JoinRefused { brane: id });
                let detach = Msg::Detach { session, farewell: Some(Some(code)) };
                self.send(ctx, ActorId::FanOut(life), detach);
                self.watch_idleness(ctx, life);
            }
            BraneEffect::Voice { session, voice } => {
                self.send(ctx, ActorId::FanOut(life), Msg::Voice { session, voice });
            }
            BraneEffect::Refuse { session, code } => self.refuse_join(ctx, life, session, code),
            BraneEffect::Tell { session, message } => {
                observe_answer(ctx, &message);
                self.send(ctx, ActorId::FanOut(life), Msg::Tell { session, message });
            }
            BraneEffect::Durable { at, waiting } => {
                self.send(ctx, ActorId::FanOut(life), Msg::DurableTo { at, waiting });
            }
            BraneEffect::Snapshot(job) => {
                self.start_snapshot(ctx, SnapshotRun::new(id, life, *job));
            }
            BraneEffect::WakeAt(at_us) => {
                brane.tick_us = Some(at_us);
                ctx.env.at(at_us, Event::Timer(self.number, ActorId::Brane(life), at_us));
            }
        }
    }

    /// An empty brane asks to be closed.
    pub(super) fn watch_idleness(&mut self, ctx: &mut Ctx<'_>, life: Life) {
        let Some(brane) = self.branes.get_mut(&life) else { return };
        if !brane.members.is_empty() {
            brane.empty_since_us = None;
            return;
        }
        let idle_us = ctx.env.setup.idle_us;
        let since_us = *brane.empty_since_us.get_or_insert(ctx.env.now_us);
        if brane.closing {
            return;
        }
        if ctx.env.now_us >= since_us + idle_us {
            let idle = Msg::Idle { brane: brane.brane, life };
            self.send(ctx, ActorId::Directory, idle);
        } else {
            ctx.env.at(since_us + idle_us, Event::Idle(self.number, ActorId::Brane(life)));
        }
    }

    /// What it accepted and nobody stored is lost, and its viewers have to be
    /// sent back when it is open again.
    fn end_superseded(&mut self, ctx: &mut Ctx<'_>, life: Life) {
        let Some(id) = self.branes.get(&life).map(|brane| brane.brane) else { return };
        ctx.env.count("brane superseded");
        ctx.env.trace(|| format!("brane {id} is superseded"));
        if let Some((_, reference)) = ctx.reference(id) {
            reference.superseded();
        }
        self.end_brane(ctx, life);
        self.on_brane_ended(ctx, id);
    }

    fn close_if_drained(&mut self, ctx: &mut Ctx<'_>, life: Life) {
        let Some(brane) = self.branes.get(&life) else { return };
        if self.doomed.is_none() && brane.closing && brane.core.is_drained() {
            let id = brane.brane;
            ctx.env.count("idle brane closed");
            self.end_brane(ctx, life);
            self.on_brane_ended(ctx, id);
        }
    }
}

fn brief(start: &Start) -> String {
    match start {
        Start::Replay(at) => format!("replay from {at}"),
        Start::Parts(parts) => {
            let objects = match &parts.selection {
                Selection::All => "all".to_owned(),
                Selection::Listed(handles) => handles.len().to_string(),
                Selection::Region(_, region) => format!("{region:?}"),
            };
            format!("{objects} objects at {}", parts.at)
        }
    }
}

fn observe_chunk(ctx: &mut Ctx<'_>, brane: BraneId, chunk: &JournalChunk) {
    let Some((env, reference)) = ctx.reference(brane) else { return };
    match journal::decode(&chunk.body) {
        Ok(events) => reference.journaled(env, chunk.epoch, chunk.from, chunk.to, events),
        Err(error) => env.fail(|| format!("a chunk cannot be read: {error}")),
    }
}

fn observe_window(ctx: &mut Ctx<'_>, brane: BraneId, window: &Window) {
    if let Some((env, reference)) = ctx.reference(brane) {
        reference.published(env, window.flush.from, window.flush.to);
        for crossing in window.cells.iter().flat_map(|cells| &cells.crossings) {
            env.count(match (crossing.followed, crossing.to) {
                (true, _) => "area: an object moves to another home",
                (false, Some(_)) => "area: an object is hung elsewhere",
                (false, None) => "area: an object is hung elsewhere, and is gone or in another",
            });
        }
    }
}

fn observe_answer(ctx: &mut Ctx<'_>, message: &ServerMessage) {
    let ServerMessage::Refused { edits, .. } = message else { return };
    for edit in edits {
        ctx.env.count(match edit.code {
            Code::Unavailable => "edit refused as unavailable",
            Code::OutcomeUnknown => "edit's outcome unknown",
            Code::ClientUnknown => "edit of a forgotten client",
            Code::NotJoined => "edit of a session that is not in",
            _ => "edit refused by the world",
        });
    }
}
