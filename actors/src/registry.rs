//! Every open session, for what concerns all of them: time-outs, a brane's
//! loss, shutdown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use avvy_flow::SessionKey;
use avvy_model::BraneId;
use avvy_protocol::close::CloseCode;
use dashmap::DashMap;
use ractor::{ActorId, ActorRef};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::accounts::Accounts;
use crate::budget;
use crate::clock;
use crate::session::Shared;
use crate::session_actor::SessionMsg;

/// How often time-outs are looked for. They are seconds long.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// The open sessions of this process.
#[derive(Default)]
pub(crate) struct Registry {
    sessions: DashMap<SessionKey, Entry>,
    /// Set at shutdown: no session is made any more.
    ending: AtomicBool,
    /// Woken when the last session has ended.
    emptied: Notify,
}

struct Entry {
    shared: Arc<Shared>,
    actor: ActorRef<SessionMsg>,
}

impl Registry {
    pub(crate) fn insert(&self, shared: Arc<Shared>, actor: ActorRef<SessionMsg>) {
        self.sessions.insert(shared.key, Entry { shared: Arc::clone(&shared), actor });
        // One that came while all were being closed has not been told.
        if self.is_ending() {
            shared.close(CloseCode::GoingAway);
        }
    }

    pub(crate) fn remove(&self, session: SessionKey) {
        if let Some((_, entry)) = self.sessions.remove(&session) {
            entry.shared.exit();
        }
        if self.sessions.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// The brane did not let the session in by this join, or has let go of it:
    /// a later one is not a second one. It may be on its way already.
    pub(crate) fn forget_join(&self, session: SessionKey, brane: BraneId, join: u64) {
        if let Some(entry) = self.sessions.get(&session) {
            entry.shared.routes().retain(|route| (route.brane, route.join) != (brane, join));
        }
    }

    /// Tells the sessions that have joined a brane that its actor is gone.
    /// With an address it goes on at the node there. They have been told when
    /// this returns: a node that ends closes them next.
    pub(crate) fn brane_lost(&self, brane: BraneId, address: Option<&str>) {
        for entry in &self.sessions {
            entry.shared.brane_lost(brane, address);
        }
    }

    /// Has every session look whether its token still counts.
    pub(crate) fn recheck(&self) {
        for entry in &self.sessions {
            // A session that ends at this moment has nothing to look at.
            let _ = entry.actor.send_message(SessionMsg::Recheck);
        }
    }

    /// Closes one session.
    pub(crate) fn close(&self, session: SessionKey, code: CloseCode) {
        if let Some(entry) = self.sessions.get(&session) {
            entry.shared.close(code);
        }
    }

    /// A session's actor has failed: its client is told to come back, and its
    /// branes are left.
    pub(crate) fn failed(&self, actor: ActorId) {
        let failed = self.sessions.iter().find(|entry| entry.actor.get_id() == actor);
        if let Some(entry) = failed {
            entry.shared.leave_all();
            entry.shared.close(CloseCode::Internal);
        }
    }

    /// Closes every session and lets no more in.
    pub(crate) fn close_all(&self) {
        self.ending.store(true, Ordering::Release);
        for entry in &self.sessions {
            entry.shared.close(CloseCode::GoingAway);
        }
    }

    /// Returns when no session is left.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.sessions.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Ends sessions until the others hold no more than so many bytes.
    fn make_room(&self, max_bytes: u64) {
        let staying = self.sessions.iter().filter(|entry| !entry.shared.is_ending());
        let held = staying.map(|entry| (entry.shared.held_bytes(), *entry.key())).collect();
        for session in budget::beyond(held, max_bytes) {
            if let Some(entry) = self.sessions.get(&session) {
                warn!(session = session.0, "all sessions hold too much, this one the most");
                entry.shared.give_way();
            }
        }
    }

    /// Looks after time-outs until the registry is dropped.
    pub(crate) async fn sweep(registry: Weak<Self>, accounts: Arc<Accounts>, max_bytes: u64) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(registry) = registry.upgrade() else { return };
            let (now_ms, now_s) = (clock::monotonic_ms(), clock::unix_s());
            accounts.sweep(now_ms);
            let cut = |entry: &Entry| entry.shared.sweep(now_ms, now_s);
            let over =
                registry.sessions.iter().filter(|entry| cut(entry)).map(|entry| *entry.key());
            for session in over.collect::<Vec<_>>() {
                registry.remove(session);
            }
            registry.make_room(max_bytes);
        }
    }
}
