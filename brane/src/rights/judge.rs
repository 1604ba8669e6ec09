//! Whether a ruling takes effect. Nobody gives, takes or overrules what they
//! do not have themselves, and nobody overrules the owner.

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
                covers(own, self.verbs_after(role.as_ref())?)?;
                let after = |standing| Standing { role: role.clone(), ..standing };
                self.judge_standing(principal, *user, after, now_ms, limits)
            }
            // Or whoever rules could lift what others put on them.
            Ruling::Ban { user, .. } | Ruling::Mute { user, .. } if *user == principal.user => {
                Err(Code::BeyondOwn)
            }
            Ruling::Ban { user, ban } => {
                check_end(ban.and_then(|ban| ban.until_ms), now_ms)?;
                let after = |standing| Standing { ban: *ban, ..standing };
                self.judge_standing(principal, *user, after, now_ms, limits)
            }
            Ruling::Mute { user, mute } => {
                check_end(mute.and_then(|mute: Sanction| mute.until_ms), now_ms)?;
                let after = |standing| Standing { mute: *mute, ..standing };
                self.judge_standing(principal, *user, after, now_ms, limits)
            }
            Ruling::Grant { id, to, verbs, reach, until_ms } => {
                covers(own, *verbs)?;
                check_grant(*verbs, reach)?;
                check_end(*until_ms, now_ms)?;
                self.check_room_for(principal, *id, *to, now_ms, limits)?;
                let (reach, until_ms, by) = (reach.clone(), *until_ms, principal.user);
                Ok(Ruled::Granted(Grant { id: *id, to: *to, verbs: *verbs, reach, until_ms, by }))
            }
            Ruling::Revoke { id } => {
                let grant = self.grant(*id).ok_or(Code::GrantNotFound)?;
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

    /// What somebody may do who is given this role, or none of their own.
    fn verbs_after(&self, role: Option<&RoleName>) -> Result<Verbs, Code> {
        match role {
            Some(role) => self.verbs_of(role).ok_or(Code::RoleUnknown),
            None => Ok(self.verbs_of(&self.everybody).unwrap_or_default()),
        }
    }

    /// Of so many rulings how many this one may fill: an eighth is the owner's,
    /// who can rule whatever others have ruled before.
    fn room(&self, principal: &Principal, max: usize) -> usize {
        if principal.user == self.owner { max } else { max - max / 8 }
    }

    fn judge_standing(
        &mut self,
        principal: &Principal,
        user: UserId,
        change: impl FnOnce(Standing) -> Standing,
        now_ms: u64,
        limits: &WorldLimits,
    ) -> Result<Ruled, Code> {
        if user == self.owner {
            return Err(Code::BeyondOwn);
        }
        covers(self.verbs(principal), self.role_verbs(user))?;
        let room = self.room(principal, limits.max_standings);
        if self.standings.len() >= room && !self.standings.contains_key(&user) {
            self.forget(now_ms);
            if self.standings.len() >= room {
                return Err(Code::TooManyRights);
            }
        }
        let before = self.standings.get(&user).cloned().unwrap_or_default();
        Ok(Ruled::Standing { user, after: change(before.clone()), before })
    }

    fn check_room_for(
        &mut self,
        principal: &Principal,
        id: GrantId,
        to: UserId,
        now_ms: u64,
        limits: &WorldLimits,
    ) -> Result<(), Code> {
        if self.granted.contains_key(&id) {
            return Err(Code::GrantExists);
        }
        let room = self.room(principal, limits.max_grants);
        let of_one = self.room(principal, limits.max_grants_per_user);
        let is_full = |rights: &Self| {
            let theirs = rights.grants.get(&to).map_or(0, Vec::len);
            rights.granted.len() >= room || theirs >= of_one
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
