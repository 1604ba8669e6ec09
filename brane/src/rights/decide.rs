//! Whether an edit is allowed.

use avvy_model::{
    DeleteMode, Grant, Handle, Object, Operation, Principal, PropsPatch, Reach, Transform, Value,
    Verb,
};

use super::Rights;
use crate::World;

/// How many objects under a group go with it at most where only a grant that is
/// about some of the brane's objects allows to delete it: each is looked at.
pub(super) const MAX_DELETED_BY_GRANT: usize = 256;

impl Rights {
    /// Whether the user may write anything at all. Of who may not, no outcome
    /// is remembered: each edit is refused again as often as it comes.
    pub fn may_write(&self, principal: &Principal, now_ms: u64) -> bool {
        self.writes_until_ms(principal, now_ms) > now_ms
    }

    /// Until when the user may write anything at all by what is ruled now, in
    /// Unix milliseconds; 0: not at all, `u64::MAX`: without end.
    pub fn writes_until_ms(&self, principal: &Principal, now_ms: u64) -> u64 {
        if !self.verbs(principal).is_empty() {
            return u64::MAX;
        }
        let grants = self.grants_of(principal.user, now_ms);
        let of_use = grants.filter(|g| !g.verbs.and(principal.ceiling.verbs()).is_empty());
        of_use.map(|grant| grant.until_ms.unwrap_or(u64::MAX)).max().unwrap_or(0)
    }

    /// Whether the user may do this in this world, whose rights these are.
    ///
    /// `target` is the object that the operation names, for a creation the
    /// group that the object goes into; `None` when there is no such object.
    /// An operation is judged by the object that it names; a deletion under a
    /// grant also by all that goes or is put elsewhere with it.
    pub(crate) fn allows(
        &self,
        world: &World,
        principal: &Principal,
        now_ms: u64,
        operation: &Operation,
        target: Option<(Handle, &Object)>,
    ) -> bool {
        let role = self.verbs(principal);
        let verb = verb_of(operation, target);
        if role.contains(verb) {
            // What another prototype is named for is another thing.
            return !names_prototype(operation) || role.contains(Verb::Create);
        }
        principal.ceiling.verbs().contains(verb)
            && self
                .grants_of(principal.user, now_ms)
                .any(|grant| grant.verbs.contains(verb) && reaches(grant, world, operation, target))
    }
}

fn verb_of(operation: &Operation, target: Option<(Handle, &Object)>) -> Verb {
    let of_root = target.is_some_and(|(handle, _)| handle == Handle::ROOT);
    match operation {
        Operation::Create { .. } => Verb::Create,
        Operation::Update { .. } if of_root => Verb::Configure,
        Operation::Update { .. } => Verb::Edit,
        Operation::Move { .. } | Operation::Reparent { .. } => Verb::Move,
        Operation::Delete { .. } => Verb::Delete,
    }
}

fn names_prototype(operation: &Operation) -> bool {
    matches!(operation, Operation::Update { patch, .. } if touches_prototype(patch))
}

fn touches_prototype(patch: &PropsPatch) -> bool {
    patch.entries().iter().any(|(key, _)| key.as_str() == Object::PROTOTYPE_KEY)
}

/// Whether the grant is about this, whose verb it has.
fn reaches(
    grant: &Grant,
    world: &World,
    operation: &Operation,
    target: Option<(Handle, &Object)>,
) -> bool {
    // What is not there is found to be missing next.
    let Some((handle, object)) = target else { return true };
    let reach = &grant.reach;
    reaches_keys(reach, operation)
        && reaches_prototype(reach, operation, object)
        && reaches_within(reach, world, operation, handle)
        && reaches_region(reach, world, operation, handle, object)
        && reaches_below(reach, world, operation, handle)
}

/// Whether a deletion takes along, or puts out of reach, only what the grant is
/// about.
fn reaches_below(reach: &Reach, world: &World, operation: &Operation, top: Handle) -> bool {
    let Operation::Delete { mode, .. } = operation else { return true };
    match mode {
        // Children stay where they are, but not in the group that is gone.
        DeleteMode::KeepChildren => {
            reach.within != Some(top) || world.children(top).next().is_none()
        }
        DeleteMode::Subtree if reach.prototype.is_none() && reach.region.is_none() => true,
        DeleteMode::Subtree => {
            let mut open: Vec<_> = world.children(top).take(MAX_DELETED_BY_GRANT + 1).collect();
            let mut count = 0;
            while let Some(handle) = open.pop() {
                count += 1;
                if count + open.len() > MAX_DELETED_BY_GRANT {
                    return false;
                }
                let Some(object) = world.get(handle) else { continue };
                if !reaches_prototype(reach, operation, object)
                    || !reaches_region(reach, world, operation, handle, object)
                {
                    return false;
                }
                open.extend(world.children(handle).take(MAX_DELETED_BY_GRANT + 1));
            }
            true
        }
    }
}

fn reaches_keys(reach: &Reach, operation: &Operation) -> bool {
    let Operation::Update { patch, .. } = operation else { return true };
    let is_named = |key| reach.keys.as_ref().is_none_or(|keys| keys.contains(key));
    !touches_prototype(patch) && patch.entries().iter().all(|(key, _)| is_named(key))
}

fn reaches_prototype(reach: &Reach, operation: &Operation, object: &Object) -> bool {
    let Some(prototype) = reach.prototype else { return true };
    let props = match operation {
        Operation::Create { props, .. } => props,
        _ => &object.props,
    };
    props.get(Object::PROTOTYPE_KEY) == Some(Value::text(&prototype.to_string()))
}

fn reaches_within(reach: &Reach, world: &World, operation: &Operation, handle: Handle) -> bool {
    let Some(group) = reach.within else { return true };
    let is_within = |handle| world.is_within(handle, group);
    is_within(handle)
        && match operation {
            Operation::Reparent { parent, .. } => world.resolve(*parent).is_none_or(is_within),
            _ => true,
        }
}

fn reaches_region(
    reach: &Reach,
    world: &World,
    operation: &Operation,
    handle: Handle,
    object: &Object,
) -> bool {
    let Some(region) = reach.region else { return true };
    let is_in = |parent, transform| {
        world.position_in(parent, transform).is_some_and(|at| region.contains(at))
    };
    let before = || is_in(object.parent, object.transform);
    match operation {
        Operation::Create { transform, .. } => is_in(handle, *transform),
        Operation::Move { patch, .. } => {
            before() && is_in(object.parent, patch.apply(&object.transform))
        }
        Operation::Reparent { parent, transform, .. } => {
            let after = |parent| is_in(parent, transform.unwrap_or(object.transform));
            before() && world.resolve(*parent).is_none_or(after)
        }
        Operation::Update { .. } | Operation::Delete { .. } => before(),
    }
}

impl World {
    /// Where in the brane something is that hangs in this group like this, in
    /// units of 0.1 mm; `None` when that is outside of what can be said.
    fn position_in(&self, parent: Handle, transform: Transform) -> Option<[i32; 3]> {
        Some(self.transform_in(parent, transform)?.position)
    }
}
