//! Joins, new starts and hashes: what a copy of the world needs.

use avvy_brane::Frozen;
use avvy_model::{Code, Handle, Position, Principal, Seq};
use avvy_protocol::{CatchUp, Join, Joined, Resume, ServerMessage};

use super::{Attach, BraneCore, BraneEffect, Parts, Session, Start};
use crate::lineage::Standing;
use crate::{Now, SessionKey};

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
}

/// How a join begins.
enum Plan {
    /// At once, from the fan-out's ring.
    Replay(Position),
    /// At the next boundary.
    View(Option<Position>, Need),
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
            acks: Vec::new(),
        };
        self.sessions.insert(session, joined);
        match self.plan(join.resume) {
            Plan::Replay(at) => {
                self.counters.replays += 1;
                self.attach(session, CatchUp::Replay, None, Start::Replay(at), effects);
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
        let Some(left) = self.sessions.remove(&session) else { return };
        self.waiting.retain(|waiting| waiting.session() != session);
        if !left.acks.is_empty() {
            // It may come back before the window is closed, and is then one editor, not two.
            self.open_editors.retain(|editor| *editor != session);
        }
        self.clients.release(left.client, now.unix_ms);
        if left.attached {
            effects.push(BraneEffect::Detach { session });
        }
    }

    pub(super) fn on_hash(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.attached && !session.hash_wanted {
            session.hash_wanted = true;
            self.waiting.push(Waiting::Hash(key));
        }
    }

    pub(super) fn on_resync(&mut self, key: SessionKey, at: Position) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if !session.attached || session.resync_wanted {
            return;
        }
        session.resync_wanted = true;
        self.counters.resyncs += 1;
        let need = match self.lineage.standing(at, self.published) {
            Standing::OnLine => Need::Since { since: at.seq, touched: Vec::new() },
            Standing::Past(_) | Standing::Unknown => Need::All,
        };
        self.waiting.push(Waiting::View { session: key, rewind: None, need });
    }

    /// Answers everyone who waited for a boundary, which this is.
    pub(super) fn serve_waiting(&mut self, effects: &mut Vec<BraneEffect>) {
        if self.waiting.is_empty() {
            return;
        }
        let mut shared = None;
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Hash(session) => self.tell_hash(session, effects),
                Waiting::View { session, rewind, need } => {
                    let frozen = shared.get_or_insert_with(|| self.world.freeze()).clone();
                    let (catch_up, parts) = self.parts(frozen, need);
                    self.attach(session, catch_up, rewind, Start::Parts(parts), effects);
                }
            }
        }
    }

    /// No one is let in any more.
    pub(super) fn refuse_waiting_joins(&mut self, now: Now, effects: &mut Vec<BraneEffect>) {
        let Self { sessions, clients, waiting, .. } = self;
        waiting.retain(|waiting| {
            let session = waiting.session();
            if sessions.get(&session).is_none_or(|session| session.attached) {
                return true;
            }
            if let Some(refused) = sessions.remove(&session) {
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
        if self.sessions.len() >= self.config.max_sessions {
            return Err(Code::BraneFull);
        }
        self.clients.admit(join.client, principal.user, join.known, now.unix_ms)
    }

    fn plan(&self, resume: Option<Resume>) -> Plan {
        let Some(Resume { version, touched }) = resume else {
            return Plan::View(None, Need::All);
        };
        match self.lineage.standing(version, self.published) {
            Standing::Unknown => Plan::View(None, Need::All),
            Standing::Past(fork) => {
                let need = touched.map(|touched| Need::Since { since: fork.seq, touched });
                Plan::View(Some(fork), need.unwrap_or(Need::All))
            }
            Standing::OnLine if self.can_replay(version.seq) => Plan::Replay(version),
            Standing::OnLine => {
                Plan::View(None, Need::Since { since: version.seq, touched: Vec::new() })
            }
        }
    }

    fn can_replay(&self, seq: Seq) -> bool {
        seq >= self.floor && self.head.0.saturating_sub(seq.0) <= self.config.replay_max_edits
    }

    fn parts(&mut self, frozen: Frozen, need: Need) -> (CatchUp, Parts) {
        let at = self.position(self.published);
        let diff = match need {
            Need::All => None,
            Need::Since { since, touched } => self.world.diff(since, &touched),
        };
        match diff {
            Some(diff) => {
                self.counters.diffs += 1;
                let handles = Some(diff.changed);
                (CatchUp::Diff, Parts { frozen, handles, gone: diff.gone, at })
            }
            None => {
                self.counters.snapshots_sent += 1;
                (CatchUp::Snapshot, Parts { frozen, handles: None, gone: Vec::new(), at })
            }
        }
    }

    fn attach(
        &mut self,
        key: SessionKey,
        catch_up: CatchUp,
        rewind: Option<Position>,
        start: Start,
        effects: &mut Vec<BraneEffect>,
    ) {
        let head = self.position(self.head);
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.attached = true;
        session.resync_wanted = false;
        let joined = Joined {
            channel: self.channel,
            brane: self.brane,
            role: session.principal.role,
            head,
            durable: self.durable,
            catch_up,
            client_memory_s: self.config.limits.client_memory_ms / 1_000,
        };
        effects.push(BraneEffect::Attach(Box::new(Attach { session: key, joined, rewind, start })));
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
