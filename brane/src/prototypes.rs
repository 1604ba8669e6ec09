//! What a brane follows: how many instances there are of each prototype, and
//! whether a change of what is followed takes effect.

use std::collections::BTreeMap;

use avvy_model::{
    Code, Follow, FollowStep, Followed, Handle, Principal, Props, PrototypeId, ValueLimits, Verb,
    WorldLimits,
};

use crate::World;

/// How many objects name each prototype. The root never counts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Instances(BTreeMap<PrototypeId, u32>);

impl Instances {
    pub(crate) fn of(&self, prototype: PrototypeId) -> u32 {
        self.0.get(&prototype).copied().unwrap_or(0)
    }

    /// Counts an instance in.
    pub(crate) fn add(&mut self, prototype: PrototypeId) {
        *self.0.entry(prototype).or_default() += 1;
    }

    /// Counts an instance out.
    pub(crate) fn remove(&mut self, prototype: PrototypeId) {
        let Some(count) = self.0.get_mut(&prototype) else { return };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&prototype);
        }
    }
}

impl World {
    /// How many objects are instances of a prototype, followed or not.
    pub fn instances(&self, prototype: PrototypeId) -> u32 {
        self.ties.instances.of(prototype)
    }

    /// What the brane follows of a prototype.
    pub fn followed(&self, prototype: PrototypeId) -> Option<Followed> {
        Followed::of_root(&self.get(Handle::ROOT)?.props, prototype)
    }

    /// Of all that is followed, how many instances there are.
    pub(crate) fn followed_instances(&self) -> Vec<(PrototypeId, u32)> {
        let Some(root) = self.get(Handle::ROOT) else { return Vec::new() };
        let followed = Followed::all(&root.props);
        followed.map(|(prototype, _)| (prototype, self.ties.instances.of(prototype))).collect()
    }

    /// Whether this user may take this step now.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judge_follow(&self, principal: &Principal, follow: &Follow) -> Result<(), Code> {
        let verb = match follow.step() {
            FollowStep::Adopt(_) => Verb::Create,
            FollowStep::Update { .. } | FollowStep::Drop => Verb::Configure,
        };
        if !self.rights.verbs(principal).contains(verb) {
            return Err(Code::NotPermitted);
        }
        let prototype = follow.prototype();
        match (follow.step(), self.followed(prototype)) {
            (FollowStep::Adopt(_), None) => Ok(()),
            (FollowStep::Adopt(_), Some(_)) => Err(Code::PrototypeFollowed),
            (FollowStep::Update { from, .. }, Some(now)) if now.version == *from => Ok(()),
            (FollowStep::Drop, Some(_)) if self.instances(prototype) == 0 => Ok(()),
            (FollowStep::Drop, Some(_)) => Err(Code::PrototypeInUse),
            (FollowStep::Update { .. } | FollowStep::Drop, _) => Err(Code::PrototypeNotFollowed),
        }
    }
}

/// Whether a root may go from these properties to those, as far as what is
/// followed is concerned.
///
/// # Errors
/// [`Code::TooManyFollowed`] when there is more of it, and more than may be.
pub(crate) fn check_room(before: &Props, after: &Props, limits: &WorldLimits) -> Result<(), Code> {
    let ((bytes_before, count_before), (bytes, count)) =
        (Followed::weigh(before), Followed::weigh(after));
    let is_over = bytes > bytes_before.max(limits.max_prototype_bytes)
        || count > count_before.max(limits.max_prototypes);
    if is_over { Err(Code::TooManyFollowed) } else { Ok(()) }
}

/// The limits of a root's properties but what is followed.
pub(crate) fn limits_beside(root: &Props, limits: &ValueLimits) -> ValueLimits {
    let (bytes, _) = Followed::weigh(root);
    ValueLimits { max_props_bytes: limits.max_props_bytes.saturating_add(bytes), ..*limits }
}
