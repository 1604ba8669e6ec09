//! Who may do what in a brane, written apart: rulings in the order of the log,
//! and of every edit in it whether its writer might make it.

use std::collections::BTreeMap;

use avvy_model::{
    Edit, Event, FollowStep, Grant, GrantId, Handle, ObjectId, Operation, Reach, Role, RoleName,
    Ruled, Ruling, Sanction, Seq, Target, UserId, Verb, Verbs,
};

use super::reach;
use super::world::NaiveWorld;

/// The model of a brane's rights.
#[derive(Clone)]
pub(crate) struct NaiveRights {
    owner: UserId,
    root: ObjectId,
    /// What each user's token allows.
    tokens: BTreeMap<UserId, Role>,
    everybody: RoleName,
    roles: BTreeMap<String, Verbs>,
    appointed: BTreeMap<UserId, RoleName>,
    banned: BTreeMap<UserId, (Seq, Sanction)>,
    grants: BTreeMap<GrantId, Grant>,
}

impl NaiveRights {
    pub(crate) fn new(owner: UserId, root: ObjectId, tokens: BTreeMap<UserId, Role>) -> Self {
        Self {
            owner,
            root,
            tokens,
            everybody: Role::Builder.into(),
            roles: BTreeMap::new(),
            appointed: BTreeMap::new(),
            banned: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }

    /// The same brane before anybody ruled.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.owner, self.root, self.tokens.clone())
    }

    /// Those who may come.
    pub(crate) fn users(&self) -> impl Iterator<Item = UserId> {
        self.tokens.keys().copied()
    }

    pub(crate) fn grants(&self) -> impl Iterator<Item = GrantId> {
        self.grants.keys().copied()
    }

    /// What everybody may do who has no role of their own.
    pub(crate) fn of_everybody(&self) -> Verbs {
        self.verbs_of(&self.everybody)
    }

    /// Whether somebody may rule.
    pub(crate) fn governs(&self, user: UserId) -> bool {
        self.verbs(user).contains(Verb::Govern)
    }

    /// Whether who is kept out writes nothing, where nobody sets the clock.
    pub(crate) fn check_ban(&self, event: &Event) -> Result<(), String> {
        match self.ban(event.by).filter(|(_, ban)| ban.counts(event.at_ms)) {
            Some((since, ban)) => Err(format!("{} was banned at {since}: {ban:?}", event.by)),
            None => Ok(()),
        }
    }

    /// Since which edit and for how long somebody is kept out.
    pub(crate) fn ban(&self, user: UserId) -> Option<(Seq, Sanction)> {
        self.banned.get(&user).copied()
    }

    /// Takes an event of the log, which is the outcome of `edit` in this world.
    /// Says how it was allowed.
    pub(crate) fn follow(
        &mut self,
        event: &Event,
        edit: &Edit,
        world: &NaiveWorld,
    ) -> Result<&'static str, String> {
        match edit {
            Edit::Rule(ruling) => {
                self.check_ruling(event.by, event.at_ms, ruling)?;
                let ruled = event.ruled().ok_or("a ruling ruled nothing")?;
                self.rule(event.seq, ruled);
                Ok("ruling")
            }
            Edit::One(_) | Edit::Batch(_) | Edit::Follow(_) => {
                let mut how = "edit allowed by a role";
                let mut vouched = 0;
                if let Edit::Follow(follow) = edit {
                    self.check_follow(event.by, follow.step())?;
                    vouched = 1;
                }
                // Each sees the ones before it.
                let (mut world, mut changes) = (world.clone(), event.changes.iter());
                for (nth, operation) in edit.operations().iter().enumerate() {
                    if nth >= vouched {
                        how = self.check_operation(event, operation, &world, how)?;
                    }
                    world.follow_operation(operation, &mut changes)?;
                }
                Ok(how)
            }
        }
    }

    fn check_follow(&self, by: UserId, step: &FollowStep) -> Result<(), String> {
        let verb = match step {
            FollowStep::Adopt(_) => Verb::Create,
            FollowStep::Update { .. } | FollowStep::Drop => Verb::Configure,
        };
        let may = self.verbs(by).contains(verb);
        if may { Ok(()) } else { Err(format!("{by} might not {}: {step:?}", verb.name())) }
    }

    fn check_operation(
        &self,
        event: &Event,
        operation: &Operation,
        world: &NaiveWorld,
        how: &'static str,
    ) -> Result<&'static str, String> {
        let verb = self.verb_of(operation);
        if self.verbs(event.by).contains(verb) {
            return Ok(how);
        }
        let fits = |grant: &&Grant| {
            let is_theirs = grant.to == event.by && grant.counts(event.at_ms);
            is_theirs
                && grant.verbs.contains(verb)
                && reach::holds(&grant.reach, world.objects(), operation)
        };
        let token = self.tokens.get(&event.by).map_or(Verbs::NONE, |token| token.verbs());
        match self.grants.values().find(fits).filter(|_| token.contains(verb)) {
            Some(grant) => Ok(allowed_by(&grant.reach, operation)),
            None => Err(format!("{} might not {}: {operation:?}", event.by, verb.name())),
        }
    }

    fn verb_of(&self, operation: &Operation) -> Verb {
        let is_root = |target: &Target| match target {
            Target::Handle(handle) => *handle == Handle::ROOT,
            Target::Id(id) => *id == self.root,
        };
        match operation {
            Operation::Create { .. } => Verb::Create,
            Operation::Update { target, .. } if is_root(target) => Verb::Configure,
            Operation::Update { .. } => Verb::Edit,
            Operation::Move { .. } | Operation::Reparent { .. } => Verb::Move,
            Operation::Delete { .. } => Verb::Delete,
        }
    }

    fn check_ruling(&self, by: UserId, at_ms: u64, ruling: &Ruling) -> Result<(), String> {
        let own = self.verbs(by);
        let reached = match ruling {
            Ruling::Everybody { role } => self.verbs_of(role).or(self.verbs_of(&self.everybody)),
            Ruling::Role { name, verbs } => {
                let before = self.roles.get(name.as_str()).copied().unwrap_or_default();
                verbs.unwrap_or_default().or(before)
            }
            Ruling::Appoint { user, role } => {
                self.verbs_of(role.as_ref().unwrap_or(&self.everybody)).or(self.role_verbs(*user))
            }
            Ruling::Ban { user, .. } | Ruling::Mute { user, .. } => self.role_verbs(*user),
            Ruling::Grant { verbs, until_ms, .. } => {
                if until_ms.is_some_and(|until_ms| until_ms <= at_ms) {
                    return Err("a grant that is over was given".to_owned());
                }
                *verbs
            }
            Ruling::Revoke { id } => self.grants.get(id).map_or(Verbs::NONE, |grant| grant.verbs),
        };
        let of_owner = match ruling {
            Ruling::Appoint { user, .. } | Ruling::Ban { user, .. } | Ruling::Mute { user, .. } => {
                *user == self.owner
            }
            _ => false,
        };
        let of_self = match ruling {
            Ruling::Ban { user, .. } | Ruling::Mute { user, .. } => *user == by,
            _ => false,
        };
        if own.contains(Verb::Govern) && own.covers(reached) && !of_owner && !of_self {
            Ok(())
        } else {
            Err(format!("{by} with {own:?} ruled {ruling:?}"))
        }
    }

    fn rule(&mut self, seq: Seq, ruled: &Ruled) {
        match ruled {
            Ruled::Everybody { after, .. } => self.everybody = after.clone(),
            Ruled::Role { name, after: Some(verbs), .. } => {
                self.roles.insert(name.as_str().to_owned(), *verbs);
            }
            Ruled::Role { name, after: None, .. } => {
                self.roles.remove(name.as_str());
            }
            Ruled::Standing { user, after, .. } => {
                match &after.role {
                    Some(role) => self.appointed.insert(*user, role.clone()),
                    None => self.appointed.remove(user),
                };
                match after.ban {
                    Some(ban) => self.banned.insert(*user, (seq, ban)),
                    None => self.banned.remove(user),
                };
            }
            Ruled::Granted(grant) => {
                self.grants.insert(grant.id, grant.clone());
            }
            Ruled::Revoked(grant) => {
                self.grants.remove(&grant.id);
            }
        }
    }

    /// As their token allows.
    fn verbs(&self, user: UserId) -> Verbs {
        let token = self.tokens.get(&user).map_or(Verbs::NONE, |token| token.verbs());
        self.role_verbs(user).and(token)
    }

    fn role_verbs(&self, user: UserId) -> Verbs {
        if user == self.owner {
            return Role::Owner.verbs();
        }
        self.verbs_of(self.appointed.get(&user).unwrap_or(&self.everybody))
    }

    fn verbs_of(&self, role: &RoleName) -> Verbs {
        match role {
            RoleName::Known(role) => role.verbs(),
            RoleName::Custom(name) => self.roles.get(name.as_str()).copied().unwrap_or_default(),
        }
    }
}

fn allowed_by(reach: &Reach, operation: &Operation) -> &'static str {
    let Reach { prototype, region, within, .. } = reach;
    let is_narrow = prototype.is_some() || region.is_some() || within.is_some();
    match operation {
        Operation::Delete { .. } if is_narrow => "deletion allowed by a narrow grant",
        _ if prototype.is_some() => "edit allowed by a grant for a prototype",
        _ if region.is_some() => "edit allowed by a grant for a region",
        _ if within.is_some() => "edit allowed by a grant within a group",
        _ => "edit allowed by a grant",
    }
}
