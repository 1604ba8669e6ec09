//! The sessions in a brane, and which of them writes under which client id.

use std::collections::HashMap;
use std::sync::Arc;

use avvy_auth::{Claims, is_invited};
use avvy_flow::SessionKey;
use avvy_model::{BraneId, ClientId, Principal, Role, UserId};
use avvy_persistence::BraneRecord;

use crate::wire::Wire;

impl Guest {
    /// As whom the bearer of these claims comes into a brane.
    pub(crate) fn of(claims: &Claims, brane: BraneId) -> Self {
        let is_named = claims.branes.contains(&brane);
        Self { user: claims.user, ceiling: claims.role, is_named }
    }

    /// As whom it is there by this record.
    pub(crate) fn principal(self, record: &BraneRecord) -> Principal {
        let Self { user, ceiling, is_named } = self;
        let invited = is_invited(user, is_named, record.owner, record.visibility);
        Principal { user, ceiling, invited }
    }
}

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
    guest: Guest,
}

/// As whom a session comes, whatever the brane's record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Guest {
    pub(crate) user: UserId,
    /// The most that the token allows.
    pub(crate) ceiling: Role,
    /// The token names the brane.
    pub(crate) is_named: bool,
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
        guest: Guest,
        wire: Arc<dyn Wire>,
    ) {
        self.members.insert(session, Member { join, wire, client, guest });
    }

    /// By which of its joins a session is here.
    pub(crate) fn join(&self, session: SessionKey) -> Option<u64> {
        self.members.get(&session).map(|member| member.join)
    }

    /// Whose a session is.
    pub(crate) fn user(&self, session: SessionKey) -> Option<UserId> {
        self.guest(session).map(|guest| guest.user)
    }

    /// As whom a session is here.
    pub(crate) fn guest(&self, session: SessionKey) -> Option<Guest> {
        self.members.get(&session).map(|member| member.guest)
    }

    /// Every session, whether it was let in or waits.
    pub(crate) fn sessions(&self) -> Vec<SessionKey> {
        self.members.keys().copied().collect()
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
