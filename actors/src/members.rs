//! The sessions in a brane, and which of them writes under which client id.

use std::collections::HashMap;
use std::sync::Arc;

use avvy_flow::SessionKey;
use avvy_model::{ClientId, UserId};

use crate::wire::Wire;

/// Sessions that have joined or are about to. A client id has one holder:
/// two that number their edits under one would take each other's outcomes for
/// their own.
#[derive(Default)]
pub(crate) struct Members {
    members: HashMap<SessionKey, Member>,
    holders: HashMap<ClientId, SessionKey>,
}

struct Member {
    join: u64,
    wire: Arc<dyn Wire>,
    client: ClientId,
    user: UserId,
}

impl Members {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn insert(
        &mut self,
        session: SessionKey,
        join: u64,
        client: ClientId,
        user: UserId,
        wire: Arc<dyn Wire>,
    ) {
        self.members.insert(session, Member { join, wire, client, user });
    }

    /// By which of its joins a session is here.
    pub(crate) fn join(&self, session: SessionKey) -> Option<u64> {
        self.members.get(&session).map(|member| member.join)
    }

    /// Whose a session is.
    pub(crate) fn user(&self, session: SessionKey) -> Option<UserId> {
        self.members.get(&session).map(|member| member.user)
    }

    pub(crate) fn wire(&self, session: SessionKey) -> Option<Arc<dyn Wire>> {
        self.members.get(&session).map(|member| Arc::clone(&member.wire))
    }

    /// Whether it was let in and has its client id still.
    pub(crate) fn was_let_in(&self, session: SessionKey) -> bool {
        let client = self.members.get(&session).map(|member| member.client);
        client.is_some_and(|client| self.holders.get(&client) == Some(&session))
    }

    /// The session was let in and holds its client id from now on. Gives the
    /// one that held it before.
    pub(crate) fn hold(&mut self, session: SessionKey) -> Option<SessionKey> {
        let client = self.members.get(&session)?.client;
        self.holders.insert(client, session).filter(|holder| *holder != session)
    }

    pub(crate) fn remove(&mut self, session: SessionKey) -> Option<Arc<dyn Wire>> {
        let Member { wire, client, .. } = self.members.remove(&session)?;
        if self.holders.get(&client) == Some(&session) {
            self.holders.remove(&client);
        }
        Some(wire)
    }
}
