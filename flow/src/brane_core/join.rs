//! Joins, new starts and hashes: what a copy of the world needs.

use std::sync::Arc;

use avvy_brane::{Frozen, Region};
use avvy_model::{Area, Code, Handle, Position, Principal, Scope, Seq, View};
use avvy_protocol::{CatchUp, Join, Joined, Resume, ServerMessage};
use rustc_hash::FxHashMap;

use super::{Attach, BraneCore, BraneEffect, Parts, Selection, Session, Start};
use crate::lineage::Standing;
use crate::{Now, SessionKey};

/// Objects of a region that are listed at a boundary, which takes a millisecond
/// or so. With more, the whole view of the world is searched, in bites and
/// elsewhere.
pub(super) const MAX_LISTED: usize = 16_384;

/// Who waits for a boundary, and for what.
pub(super) enum Waiting {
    /// A view of the world.
    View { session: SessionKey, rewind: Option<Position>, need: Need },
    /// The state hash.
    Hash(SessionKey),
}

impl Waiting {
    fn session(&self) -> SessionKey {
        match self {
            Self::View { session, .. } | Self::Hash(session) => *session,
        }
    }
}

/// What a copy lacks.
pub(super) enum Need {
    /// Everything.
    All,
    /// What changed after `since`, and these handles.
    Since { since: Seq, touched: Vec<Handle> },
    /// What a view shows.
    View(View),
}

impl Need {
    /// What the copy is of then.
    fn view(&self) -> Option<View> {
        match self {
            Self::View(view) => Some(*view),
            Self::All | Self::Since { .. } => None,
        }
    }
}

/// Views of the world at one boundary, for all who wait for it.
#[derive(Default)]
pub(super) struct Boundary {
    frozen: Option<Frozen>,
    regions: FxHashMap<Region, (Selection, Arc<[Handle]>)>,
}

impl Boundary {
    /// Whether it is known already what a region holds.
    pub(super) fn has(&self, region: &Region) -> bool {
        self.regions.contains_key(region)
    }
}

/// How a join begins.
enum Plan {
    /// At once, from the fan-out's ring.
    Replay(Position, Option<View>),
    /// At the next boundary.
    View(Option<Position>, Need),
}

/// How a session begins, or begins anew.
struct Begin {
    catch_up: CatchUp,
    rewind: Option<Position>,
    view: Option<View>,
    start: Start,
}

impl BraneCore {
    pub(super) fn on_join(
        &mut self,
        now: Now,
        session: SessionKey,
        principal: Principal,
        join: Join,
        effects: &mut Vec<BraneEffect>,
    ) {
        if let Err(code) = self.admit(now, session, principal, &join) {
            effects.push(BraneEffect::Refuse { session, code });
            return;
        }
        let joined = Session {
            principal,
            client: join.client,
            attached: false,
            hash_wanted: false,
            resync_wanted: false,
            step_wanted: false,
            goal: join.area.map(|area| self.world.grid().view(area)),
            acks: Vec::new(),
        };
        let goal = joined.goal;
        self.count_scoped(now, None, goal);
        self.sessions.insert(session, joined);
        match self.plan(join.resume, goal) {
            Plan::Replay(at, view) => {
                self.counters.replays += 1;
                let (catch_up, start) = (CatchUp::Replay, Start::Replay(at));
                let begin = Begin { catch_up, rewind: None, view, start };
                self.attach(now, session, begin, effects);
            }
            Plan::View(rewind, need) => {
                self.counters.rewinds += u64::from(rewind.is_some());
                self.waiting.push(Waiting::View { session, rewind, need });
            }
        }
    }

    pub(super) fn on_leave(
        &mut self,
        now: Now,
        session: SessionKey,
        effects: &mut Vec<BraneEffect>,
    ) {
        if self.remove_session(now, session) == Some(true) {
            effects.push(BraneEffect::Detach { session });
        }
    }

    /// Forgets a session; says whether it was attached.
    pub(super) fn remove_session(&mut self, now: Now, session: SessionKey) -> Option<bool> {
        let left = self.sessions.remove(&session)?;
        self.count_scoped(now, left.goal, None);
        self.waiting.retain(|waiting| waiting.session() != session);
        self.steps.forget(session);
        if !left.acks.is_empty() {
            // It may come back before the window is closed, and is then one editor, not two.
            self.open_editors.retain(|editor| *editor != session);
        }
        self.clients.release(left.client, now.unix_ms);
        Some(left.attached)
    }

    pub(super) fn on_hash(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.attached && !session.hash_wanted {
            session.hash_wanted = true;
            self.waiting.push(Waiting::Hash(key));
        }
    }

    pub(super) fn on_view(
        &mut self,
        now: Now,
        key: SessionKey,
        area: Option<Area>,
        effects: &mut Vec<BraneEffect>,
    ) {
        let goal = area.map(|area| self.world.grid().view(area));
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.goal == goal {
            return;
        }
        let before = std::mem::replace(&mut session.goal, goal);
        if session.attached {
            effects.push(BraneEffect::Aim { session: key, goal });
        }
        self.count_scoped(now, before, goal);
    }

    pub(super) fn on_resync(&mut self, key: SessionKey, at: Option<Position>, view: Option<View>) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if !session.attached || session.resync_wanted {
            return;
        }
        session.resync_wanted = true;
        self.counters.resyncs += 1;
        let standing = at.map(|at| (at, self.lineage.standing(at, self.published)));
        let need = match (view, standing) {
            (Some(view), _) => Need::View(view),
            (None, Some((at, Standing::OnLine))) => {
                Need::Since { since: at.seq, touched: Vec::new() }
            }
            (None, _) => Need::All,
        };
        self.waiting.push(Waiting::View { session: key, rewind: None, need });
    }

    /// Answers everyone who waited for a boundary, which this is.
    pub(super) fn serve_waiting(&mut self, now: Now, effects: &mut Vec<BraneEffect>) {
        if self.waiting.is_empty() && !self.steps.is_due(now.us) {
            return;
        }
        // Whoever begins to see a part must be told of all that happens in it
        // from here on; no window is open.
        self.track(now);
        let mut boundary = Boundary::default();
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Hash(session) => self.tell_hash(session, effects),
                Waiting::View { session, rewind, need } => {
                    let view = need.view();
                    let (catch_up, parts) = self.parts(&mut boundary, need);
                    let begin = Begin { catch_up, rewind, view, start: Start::Parts(parts) };
                    self.attach(now, session, begin, effects);
                }
            }
        }
        self.serve_steps(now, &mut boundary, effects);
    }

    /// No one is let in any more.
    pub(super) fn refuse_waiting_joins(&mut self, now: Now, effects: &mut Vec<BraneEffect>) {
        let Self { sessions, clients, waiting, scoped, .. } = self;
        waiting.retain(|waiting| {
            let session = waiting.session();
            if sessions.get(&session).is_none_or(|session| session.attached) {
                return true;
            }
            if let Some(refused) = sessions.remove(&session) {
                *scoped -= usize::from(refused.goal.is_some());
                clients.release(refused.client, now.unix_ms);
            }
            effects.push(BraneEffect::Refuse { session, code: Code::Unavailable });
            false
        });
    }

    fn admit(
        &mut self,
        now: Now,
        session: SessionKey,
        principal: Principal,
        join: &Join,
    ) -> Result<(), Code> {
        if join.brane != self.brane {
            return Err(Code::NotFound);
        }
        if self.draining {
            return Err(Code::Unavailable);
        }
        if self.sessions.contains_key(&session) {
            return Err(Code::AlreadyJoined);
        }
        self.world.rights().may_enter(&principal, now.unix_ms)?;
        if self.sessions.len() >= self.config.max_sessions {
            return Err(Code::BraneFull);
        }
        self.clients.admit(join.client, principal.user, join.known, now.unix_ms)
    }

    fn plan(&self, resume: Option<Resume>, goal: Option<View>) -> Plan {
        let Some(Resume { version, touched, scope }) = resume else {
            return Plan::View(None, Self::anew(goal));
        };
        let standing = self.lineage.standing(version, self.published);
        let rewind = match standing {
            Standing::Past(fork) => Some(fork),
            Standing::OnLine | Standing::Unknown => None,
        };
        let view = scope.filter(|scope| scope.grid == self.world.grid()).map(|scope| scope.view);
        // A copy of the whole brane is mended, one of a part is small.
        let is_whole = scope.is_none() && goal.is_none();
        let is_part = view.is_some() && goal.is_some();
        match standing {
            Standing::OnLine if (is_whole || is_part) && self.can_replay(version.seq) => {
                Plan::Replay(version, view)
            }
            Standing::OnLine if is_whole => {
                Plan::View(None, Need::Since { since: version.seq, touched: Vec::new() })
            }
            Standing::Past(fork) if is_whole => {
                let need = touched.map(|touched| Need::Since { since: fork.seq, touched });
                Plan::View(rewind, need.unwrap_or(Need::All))
            }
            _ => Plan::View(rewind, Self::anew(goal)),
        }
    }

    /// What a copy lacks that has nothing that is of use.
    fn anew(goal: Option<View>) -> Need {
        goal.map_or(Need::All, |goal| Need::View(goal.first()))
    }

    fn can_replay(&self, seq: Seq) -> bool {
        seq >= self.floor && self.head.0.saturating_sub(seq.0) <= self.config.replay_max_edits
    }

    fn parts(&mut self, boundary: &mut Boundary, need: Need) -> (CatchUp, Parts) {
        let diff = match need {
            Need::View(view) => {
                let region = Region { view, known: None };
                self.counters.snapshots_sent += 1;
                return (CatchUp::Snapshot, self.region(boundary, region, None));
            }
            Need::All => None,
            Need::Since { since, touched } => self.world.diff(since, &touched),
        };
        let frozen = boundary.frozen.get_or_insert_with(|| self.world.freeze()).clone();
        let at = self.position(self.published);
        let (catch_up, selection, gone) = match diff {
            Some(diff) => {
                self.counters.diffs += 1;
                (CatchUp::Diff, Selection::Listed(diff.changed.into()), diff.gone)
            }
            None => {
                self.counters.snapshots_sent += 1;
                (CatchUp::Snapshot, Selection::All, Vec::new())
            }
        };
        (catch_up, Parts { frozen, selection, gone: gone.into(), at, scope: None })
    }

    /// What a region holds. Looked up once for all at a boundary.
    pub(super) fn region(
        &self,
        boundary: &mut Boundary,
        region: Region,
        scope: Option<Scope>,
    ) -> Parts {
        let frozen = boundary.frozen.get_or_insert_with(|| self.world.freeze()).clone();
        let found = boundary.regions.entry(region).or_insert_with(|| {
            let listed = self.world.region(&region, MAX_LISTED);
            let selection = match listed {
                Some(handles) => Selection::Listed(handles.into()),
                None => Selection::Region(self.world.grid(), region),
            };
            (selection, self.world.leaving(&region).into())
        });
        let (selection, gone) = found.clone();
        Parts { frozen, selection, gone, at: self.position(self.published), scope }
    }

    fn attach(&mut self, now: Now, key: SessionKey, begin: Begin, effects: &mut Vec<BraneEffect>) {
        let Begin { catch_up, rewind, view, start } = begin;
        let head = self.position(self.head);
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let is_new = !session.attached;
        session.attached = true;
        session.resync_wanted = false;
        let principal = session.principal;
        let joined = Joined {
            channel: self.channel,
            brane: self.brane,
            role: self.world.rights().role_of(principal.user),
            head,
            durable: self.durable,
            catch_up,
            scope: view.map(|view| Scope { grid: self.world.grid(), view }),
            client_memory_s: self.config.limits.client_memory_ms / 1_000,
        };
        let goal = session.goal;
        let voice = self.voice(now, &principal);
        let attach = Attach { session: key, joined, rewind, view, goal, voice, start };
        effects.push(BraneEffect::Attach(Box::new(attach)));
        if is_new {
            self.tell_own_rights(now, key, &principal, effects);
        }
    }

    fn tell_hash(&mut self, key: SessionKey, effects: &mut Vec<BraneEffect>) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.hash_wanted = false;
        let hash = self.world.state_hash().to_bytes();
        let at = self.position(self.published);
        let message = ServerMessage::Hash { channel: self.channel, at, hash };
        effects.push(BraneEffect::Tell { session: key, message });
    }
}
