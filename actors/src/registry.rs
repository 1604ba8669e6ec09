//! Every open session, for what concerns all of them: time-outs, a brane's
//! loss, shutdown.

use std::sync::Arc;
use std::time::Duration;

use avvy_flow::SessionKey;
use avvy_model::BraneId;
use avvy_protocol::close::CloseCode;
use dashmap::DashMap;
use ractor::ActorRef;

use crate::clock;
use crate::session::Shared;
use crate::session_actor::SessionMsg;

/// How often time-outs are looked for. They are seconds long.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// The open sessions of this process.
#[derive(Default)]
pub(crate) struct Registry {
    sessions: DashMap<SessionKey, Entry>,
}

struct Entry {
    shared: Arc<Shared>,
    actor: ActorRef<SessionMsg>,
}

impl Registry {
    pub(crate) fn insert(&self, shared: Arc<Shared>, actor: ActorRef<SessionMsg>) {
        self.sessions.insert(shared.key, Entry { shared, actor });
    }

    pub(crate) fn remove(&self, session: SessionKey) {
        self.sessions.remove(&session);
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The brane did not let the session in: a later join is not a second one.
    pub(crate) fn join_refused(&self, session: SessionKey, brane: BraneId) {
        if let Some(entry) = self.sessions.get(&session) {
            entry.shared.routes().retain(|route| route.brane != brane);
        }
    }

    /// Tells the sessions that have joined a brane that its actor is gone.
    pub(crate) fn brane_lost(&self, brane: BraneId) {
        for entry in &self.sessions {
            if entry.shared.routes().iter().any(|route| route.brane == brane) {
                // A session that ends at this moment needs no news.
                let _ = entry.actor.send_message(SessionMsg::BraneLost { brane });
            }
        }
    }

    /// Closes every session.
    pub(crate) fn close_all(&self, code: CloseCode) {
        for entry in &self.sessions {
            let _ = entry.actor.send_message(SessionMsg::Close(code));
        }
    }

    /// Looks after time-outs until the registry is dropped.
    pub(crate) async fn sweep(registry: std::sync::Weak<Self>) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(registry) = registry.upgrade() else { return };
            let (now_ms, now_s) = (clock::monotonic_ms(), clock::unix_s());
            for entry in &registry.sessions {
                entry.shared.sweep(now_ms, now_s);
            }
        }
    }
}
