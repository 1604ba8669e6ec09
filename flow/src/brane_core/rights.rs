//! What a ruling means for those who are there: it counts for their next edit,
//! and they are told at once.

use avvy_brane::Rights;
use avvy_model::{Code, Principal, RoleName, Ruled, UserId};
use avvy_protocol::{OwnRights, ServerMessage};

use super::{BraneCore, BraneEffect};
use crate::people::Voice;
use crate::{Now, SessionKey};

/// Whose rights a ruling has changed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum RuledFor {
    /// One user's.
    User(UserId),
    /// All who have this role.
    Role(RoleName),
}

impl RuledFor {
    pub(super) fn of(ruled: &Ruled) -> Self {
        match ruled {
            Ruled::Everybody { after, .. } => Self::Role(after.clone()),
            Ruled::Role { name, .. } => Self::Role(RoleName::Custom(name.clone())),
            Ruled::Standing { user, .. } => Self::User(*user),
            Ruled::Granted(grant) | Ruled::Revoked(grant) => Self::User(grant.to),
        }
    }

    fn holds(&self, rights: &Rights, user: UserId) -> bool {
        match self {
            Self::User(one) => *one == user,
            Self::Role(role) => rights.role_of(user) == *role,
        }
    }
}

impl BraneCore {
    /// What somebody may say to others.
    pub(super) fn voice(&self, now: Now, principal: &Principal) -> Voice {
        let rights = self.world.rights();
        Voice {
            writes_until_ms: rights.writes_until_ms(principal, now.unix_ms),
            mute: rights.mute(principal.user, now.unix_ms),
        }
    }

    /// Tells those whom the rulings of an update are about, once, and lets go of
    /// those who may not stay.
    pub(super) fn tell_rights(&mut self, now: Now, effects: &mut Vec<BraneEffect>) {
        if self.ruled.is_empty() {
            return;
        }
        let ruled = std::mem::take(&mut self.ruled);
        let rights = self.world.rights();
        let is_concerned = |user| ruled.iter().any(|whom| whom.holds(rights, user));
        let sessions = self.sessions.iter();
        let mut concerned: Vec<_> = sessions
            .filter(|(_, session)| is_concerned(session.principal.user))
            .map(|(key, session)| (*key, session.principal))
            .collect();
        concerned.sort_unstable_by_key(|(key, _)| *key);
        for (key, principal) in concerned {
            match self.world.rights().may_enter(&principal, now.unix_ms) {
                Err(code) => self.expel(now, key, code, effects),
                Ok(()) => self.tell_new_rights(now, key, &principal, effects),
            }
        }
    }

    fn tell_new_rights(
        &self,
        now: Now,
        key: SessionKey,
        principal: &Principal,
        effects: &mut Vec<BraneEffect>,
    ) {
        // One that is not attached yet is told when it is.
        if self.sessions.get(&key).is_some_and(|session| session.attached) {
            let voice = self.voice(now, principal);
            effects.push(BraneEffect::Voice { session: key, voice });
            self.tell_own_rights(now, key, principal, effects);
        }
    }

    /// Tells a session what its user may do here.
    pub(super) fn tell_own_rights(
        &self,
        now: Now,
        key: SessionKey,
        principal: &Principal,
        effects: &mut Vec<BraneEffect>,
    ) {
        let rights = self.world.rights();
        let own = OwnRights {
            channel: self.channel,
            role: rights.role_of(principal.user),
            verbs: rights.verbs(principal),
            grants: rights.grants_of(principal.user, now.unix_ms).cloned().collect(),
            mute: rights.mute(principal.user, now.unix_ms),
        };
        let message = ServerMessage::Rights(Box::new(own));
        effects.push(BraneEffect::Tell { session: key, message });
    }

    /// Lets go of those who were in only because anybody might be.
    pub(super) fn on_invited(
        &mut self,
        now: Now,
        invited: &[(SessionKey, bool)],
        effects: &mut Vec<BraneEffect>,
    ) {
        for (key, invited) in invited {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.principal.invited = *invited;
            let principal = session.principal;
            if let Err(code) = self.world.rights().may_enter(&principal, now.unix_ms) {
                self.expel(now, *key, code, effects);
            }
        }
    }

    fn expel(&mut self, now: Now, key: SessionKey, code: Code, effects: &mut Vec<BraneEffect>) {
        let Some(attached) = self.remove_session(now, key) else { return };
        effects.push(match attached {
            true => BraneEffect::Expel { session: key, code },
            false => BraneEffect::Refuse { session: key, code },
        });
    }
}
