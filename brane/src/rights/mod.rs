//! Who may do what in a brane.
//!
//! A user has one role: the owner's, one of their own, or everybody's. It
//! bounds what they may do together with what their token allows. Grants add
//! single verbs about some objects for some time, as far as the token allows.
//!
//! All of it is part of the world's log: a [`Ruling`] is an edit, and its
//! outcome a [`Ruled`] event. So whoever owns the log decides, wherever the
//! edit came in, and a right that was taken is gone for the next edit. It is
//! no part of the state hash, as clients' copies do not hold it.
//!
//! Time comes with the edits. What is over counts for nothing, and is
//! forgotten sooner or later ([`Rights::forget`]), which changes no answer.

mod bytes;
mod decide;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use avvy_model::{
    Code, CustomRole, Grant, GrantId, Principal, Role, RoleName, Ruled, Sanction, Seq, Standing,
    UserId, Verbs,
};

pub(crate) use bytes::{Entry, read_entry, read_ruled, write_entry, write_ruled};

/// How many of the last rulings are kept at hand. All of them are in the journal.
pub const KEPT_RULINGS: usize = 256;

/// One ruling that took effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RulingRecord {
    /// Its place in the log.
    pub seq: Seq,
    /// Server's Unix time in milliseconds.
    pub at_ms: u64,
    /// Whose it was.
    pub by: UserId,
    /// What it changed.
    pub ruled: Ruled,
}

/// The rights in one brane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rights {
    owner: UserId,
    everybody: RoleName,
    roles: BTreeMap<CustomRole, Verbs>,
    standings: BTreeMap<UserId, Standing>,
    /// Whose each grant is.
    granted: BTreeMap<GrantId, UserId>,
    /// The grants of each user by id: side by side, as each decision looks at all.
    grants: BTreeMap<UserId, Vec<Grant>>,
    /// One more than [`KEPT_RULINGS`] at most, so that one can be taken back.
    rulings: VecDeque<RulingRecord>,
}

impl Rights {
    /// Those of a new brane: everybody who may see it builds.
    pub const fn new(owner: UserId) -> Self {
        Self {
            owner,
            everybody: RoleName::Known(Role::Builder),
            roles: BTreeMap::new(),
            standings: BTreeMap::new(),
            granted: BTreeMap::new(),
            grants: BTreeMap::new(),
            rulings: VecDeque::new(),
        }
    }

    /// Whether nobody has ruled yet.
    pub(crate) fn is_new(&self) -> bool {
        *self == Self::new(self.owner)
    }

    /// The role that a user has, whatever their token says.
    pub fn role_of(&self, user: UserId) -> RoleName {
        if user == self.owner {
            return Role::Owner.into();
        }
        self.own_role(user).unwrap_or(&self.everybody).clone()
    }

    /// What a user's role allows, bounded by their token.
    pub fn verbs(&self, principal: &Principal) -> Verbs {
        self.role_verbs(principal.user).and(principal.ceiling.verbs())
    }

    /// Whether the user may see the brane: its owner, who has a role of their
    /// own, and who is invited.
    fn may_see(&self, principal: &Principal) -> bool {
        let user = principal.user;
        principal.invited || user == self.owner || self.own_role(user).is_some()
    }

    /// Whether the user may come in now.
    ///
    /// # Errors
    /// [`Code::NotFound`] when they may not see the brane, which then does not
    /// exist for them; [`Code::Banned`].
    pub fn may_enter(&self, principal: &Principal, now_ms: u64) -> Result<(), Code> {
        if !self.may_see(principal) {
            return Err(Code::NotFound);
        }
        match self.ban(principal.user, now_ms) {
            Some(_) => Err(Code::Banned),
            None => Ok(()),
        }
    }

    /// The ban under which the user is now.
    pub fn ban(&self, user: UserId, now_ms: u64) -> Option<Sanction> {
        let ban = self.standings.get(&user)?.ban;
        ban.filter(|ban| ban.counts(now_ms))
    }

    /// The mute under which the user is now.
    pub fn mute(&self, user: UserId, now_ms: u64) -> Option<Sanction> {
        let mute = self.standings.get(&user)?.mute;
        mute.filter(|mute| mute.counts(now_ms))
    }

    /// The grants of a user that count now, by id.
    pub fn grants_of(&self, user: UserId, now_ms: u64) -> impl Iterator<Item = &Grant> {
        let grants = self.grants.get(&user).into_iter().flatten();
        grants.filter(move |grant| grant.counts(now_ms))
    }

    /// What everybody may do who has no role of their own.
    pub const fn everybody(&self) -> &RoleName {
        &self.everybody
    }

    /// The brane's own roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = (&CustomRole, Verbs)> {
        self.roles.iter().map(|(name, verbs)| (name, *verbs))
    }

    /// The users of whom the brane says something, by id.
    pub fn standings(&self) -> impl Iterator<Item = (UserId, &Standing)> {
        self.standings.iter().map(|(user, standing)| (*user, standing))
    }

    /// All grants, by id.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.granted.keys().filter_map(|id| self.grant(*id))
    }

    /// A grant.
    fn grant(&self, id: GrantId) -> Option<&Grant> {
        let theirs = self.grants.get(self.granted.get(&id)?)?;
        theirs.binary_search_by_key(&id, |grant| grant.id).ok().and_then(|at| theirs.get(at))
    }

    /// The last rulings, at most [`KEPT_RULINGS`], oldest first.
    pub fn rulings(&self) -> impl DoubleEndedIterator<Item = &RulingRecord> {
        self.rulings.iter().skip(self.rulings.len().saturating_sub(KEPT_RULINGS))
    }

    /// Whether there is something to forget.
    pub(crate) fn has_over(&self, now_ms: u64) -> bool {
        let is_over = |sanction: Option<Sanction>| sanction.is_some_and(|s| !s.counts(now_ms));
        self.all_grants().any(|grant| !grant.counts(now_ms))
            || self.standings.values().any(|s| is_over(s.ban) || is_over(s.mute))
    }

    /// Forgets what is over.
    pub fn forget(&mut self, now_ms: u64) {
        let over: Vec<_> =
            self.all_grants().filter(|grant| !grant.counts(now_ms)).map(|g| g.id).collect();
        over.into_iter().for_each(|id| self.remove(id));
        self.standings.retain(|_, standing| {
            standing.ban = standing.ban.filter(|ban| ban.counts(now_ms));
            standing.mute = standing.mute.filter(|mute| mute.counts(now_ms));
            !standing.is_empty()
        });
    }

    /// All grants, by user.
    fn all_grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values().flatten()
    }

    fn role_verbs(&self, user: UserId) -> Verbs {
        if user == self.owner {
            return Role::Owner.verbs();
        }
        let role = self.own_role(user).unwrap_or(&self.everybody);
        self.verbs_of(role).unwrap_or_default()
    }

    fn own_role(&self, user: UserId) -> Option<&RoleName> {
        self.standings.get(&user)?.role.as_ref()
    }

    /// What a role allows, if there is one of this name.
    fn verbs_of(&self, role: &RoleName) -> Option<Verbs> {
        match role {
            RoleName::Known(role) => Some(role.verbs()),
            RoleName::Custom(name) => self.roles.get(name).copied(),
        }
    }

    /// Follows a ruling.
    pub(crate) fn follow(&mut self, record: RulingRecord) {
        self.set(&record.ruled);
        if self.rulings.len() > KEPT_RULINGS {
            self.rulings.pop_front();
        }
        self.rulings.push_back(record);
    }

    /// Takes the last ruling back.
    pub(crate) fn take_back(&mut self) {
        let Some(RulingRecord { ruled, .. }) = self.rulings.pop_back() else { return };
        self.set(&inverse(ruled));
    }

    fn set(&mut self, ruled: &Ruled) {
        match ruled {
            Ruled::Everybody { after, .. } => self.everybody = after.clone(),
            Ruled::Role { name, after: Some(verbs), .. } => {
                self.roles.insert(name.clone(), *verbs);
            }
            Ruled::Role { name, after: None, .. } => {
                self.roles.remove(name);
            }
            Ruled::Standing { user, after, .. } if after.is_empty() => {
                self.standings.remove(user);
            }
            Ruled::Standing { user, after, .. } => {
                self.standings.insert(*user, after.clone());
            }
            Ruled::Granted(grant) => self.add(grant.clone()),
            Ruled::Revoked(grant) => self.remove(grant.id),
        }
    }

    fn add(&mut self, grant: Grant) {
        // A journal may give an id anew whose former grant, over by then, is
        // still in the snapshot.
        self.remove(grant.id);
        self.granted.insert(grant.id, grant.to);
        let theirs = self.grants.entry(grant.to).or_default();
        // Most have one.
        theirs.reserve_exact(1);
        theirs.insert(theirs.partition_point(|other| other.id < grant.id), grant);
    }

    fn remove(&mut self, id: GrantId) {
        let Some(to) = self.granted.remove(&id) else { return };
        if let Some(theirs) = self.grants.get_mut(&to) {
            theirs.retain(|grant| grant.id != id);
            if theirs.is_empty() {
                self.grants.remove(&to);
            }
        }
    }
}

fn inverse(ruled: Ruled) -> Ruled {
    match ruled {
        Ruled::Everybody { before, after } => Ruled::Everybody { before: after, after: before },
        Ruled::Role { name, before, after } => Ruled::Role { name, before: after, after: before },
        Ruled::Standing { user, before, after } => {
            Ruled::Standing { user, before: after, after: before }
        }
        Ruled::Granted(grant) => Ruled::Revoked(grant),
        Ruled::Revoked(grant) => Ruled::Granted(grant),
    }
}
