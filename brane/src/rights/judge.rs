//! Whether a ruling takes effect. Nobody gives, takes or overrules what they
//! do not have themselves, and nobody overrules the owner.

use std::collections::BTreeSet;

use avvy_model::{
    Code, CustomRole, Grant, GrantId, MAX_GRANT_KEYS, Object, Principal, Reach, RoleName, Ruled,
    Ruling, Sanction, Standing, UserId, Verb, Verbs, WorldLimits,
};

use super::Rights;

impl Rights {
    /// What a ruling changes at this time. Forgets what is over when room is
    /// needed.
    ///
    /// # Errors
    /// Why it takes no effect.
    pub(crate) fn judge(
        &mut self,
        principal: &Principal,
        now_ms: u64,
        ruling: &Ruling,
        limits: &WorldLimits,
    ) -> Result<Ruled, Code> {
        let own = self.verbs(principal);
        if !own.contains(Verb::Govern) {
            return Err(Code::NotPermitted);
        }
        match ruling {
            Ruling::Everybody { role } => self.judge_everybody(own, role),
            Ruling::Role { name, verbs } => self.judge_role(own, name, *verbs, limits),
            Ruling::Appoint { user, role } => {
                let verbs = role.as_ref().map(|role| self.verbs_of(role).ok_or(Code::RoleUnknown));
                covers(own, verbs.transpose()?.unwrap_or_default())?;
                let after = |standing| Standing { role: role.clone(), ..standing };
                self.judge_standing(own, *user, after, now_ms, limits)
            }
            Ruling::Ban { user, ban } => {
                check_end(ban.and_then(|ban| ban.until_ms), now_ms)?;
                let after = |standing| Standing { ban: *ban, ..standing };
                self.judge_standing(own, *user, after, now_ms, limits)
            }
            Ruling::Mute { user, mute } => {
                check_end(mute.and_then(|mute: Sanction| mute.until_ms), now_ms)?;
                let after = |standing| Standing { mute: *mute, ..standing };
                self.judge_standing(own, *user, after, now_ms, limits)
            }
            Ruling::Grant { id, to, verbs, reach, until_ms } => {
                covers(own, *verbs)?;
                check_grant(*verbs, reach)?;
                check_end(*until_ms, now_ms)?;
                self.check_room_for(*id, *to, now_ms, limits)?;
                let (reach, until_ms, by) = (reach.clone(), *until_ms, principal.user);
                Ok(Ruled::Granted(Grant { id: *id, to: *to, verbs: *verbs, reach, until_ms, by }))
            }
            Ruling::Revoke { id } => {
                let grant = self.grants.get(id).ok_or(Code::GrantNotFound)?;
                covers(own, grant.verbs)?;
                Ok(Ruled::Revoked(grant.clone()))
            }
        }
    }

    fn judge_everybody(&self, own: Verbs, role: &RoleName) -> Result<Ruled, Code> {
        covers(own, self.verbs_of(role).ok_or(Code::RoleUnknown)?)?;
        covers(own, self.verbs_of(&self.everybody).unwrap_or_default())?;
        Ok(Ruled::Everybody { before: self.everybody.clone(), after: role.clone() })
    }

    fn judge_role(
        &self,
        own: Verbs,
        name: &CustomRole,
        after: Option<Verbs>,
        limits: &WorldLimits,
    ) -> Result<Ruled, Code> {
        let before = self.roles.get(name).copied();
        covers(own, after.unwrap_or_default().or(before.unwrap_or_default()))?;
        let full_name = RoleName::Custom(name.clone());
        match (before, after) {
            (None, None) => return Err(Code::RoleUnknown),
            (None, Some(_)) if self.roles.len() >= limits.max_roles => {
                return Err(Code::TooManyRights);
            }
            (Some(_), None) => {
                let has_it = |standing: &Standing| standing.role.as_ref() == Some(&full_name);
                if self.everybody == full_name || self.standings.values().any(has_it) {
                    return Err(Code::RoleInUse);
                }
            }
            _ => {}
        }
        Ok(Ruled::Role { name: name.clone(), before, after })
    }

    fn judge_standing(
        &mut self,
        own: Verbs,
        user: UserId,
        change: impl FnOnce(Standing) -> Standing,
        now_ms: u64,
        limits: &WorldLimits,
    ) -> Result<Ruled, Code> {
        if user == self.owner {
            return Err(Code::BeyondOwn);
        }
        covers(own, self.role_verbs(user))?;
        if self.standings.len() >= limits.max_standings && !self.standings.contains_key(&user) {
            self.forget(now_ms);
            if self.standings.len() >= limits.max_standings {
                return Err(Code::TooManyRights);
            }
        }
        let before = self.standings.get(&user).cloned().unwrap_or_default();
        Ok(Ruled::Standing { user, after: change(before.clone()), before })
    }

    fn check_room_for(
        &mut self,
        id: GrantId,
        to: UserId,
        now_ms: u64,
        limits: &WorldLimits,
    ) -> Result<(), Code> {
        if self.grants.contains_key(&id) {
            return Err(Code::GrantExists);
        }
        let is_full = |rights: &Self| {
            let theirs = rights.by_user.get(&to).map_or(0, BTreeSet::len);
            rights.grants.len() >= limits.max_grants || theirs >= limits.max_grants_per_user
        };
        if is_full(self) {
            self.forget(now_ms);
        }
        if is_full(self) { Err(Code::TooManyRights) } else { Ok(()) }
    }
}

fn covers(own: Verbs, others: Verbs) -> Result<(), Code> {
    if own.covers(others) { Ok(()) } else { Err(Code::BeyondOwn) }
}

fn check_end(until_ms: Option<u64>, now_ms: u64) -> Result<(), Code> {
    let is_over = until_ms.is_some_and(|until_ms| until_ms <= now_ms);
    if is_over { Err(Code::RulingInvalid) } else { Ok(()) }
}

fn check_grant(verbs: Verbs, reach: &Reach) -> Result<(), Code> {
    let keys = reach.keys.as_deref();
    let are_keys_fit = keys.is_none_or(|keys| {
        let names = 1..=MAX_GRANT_KEYS;
        names.contains(&keys.len()) && keys.iter().all(|key| key.as_str() != Object::PROTOTYPE_KEY)
    });
    let is_region_fit =
        reach.region.is_none_or(|region| (0..3).all(|axis| region.min[axis] <= region.max[axis]));
    let are_verbs_fit = !verbs.is_empty() && Verbs::OF_OBJECTS.covers(verbs);
    if are_keys_fit && is_region_fit && are_verbs_fit { Ok(()) } else { Err(Code::RulingInvalid) }
}
