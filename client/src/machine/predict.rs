//! How an object will look when the own edits that are on their way have been
//! applied: what a user sees of an own edit before the server has answered.
//!
//! A guess, never more: others' edits may come first, and the server may
//! refuse. The copy itself holds only what the server has said.

use avvy_model::{DeleteMode, Handle, Object, Operation, Target, UserId, ValueLimits};

use super::KeptEdit;
use crate::replica::Replica;

/// The object that `target` names, after `edits`; `None` when it is not there
/// or will be gone.
pub(super) fn predict<'a>(
    replica: &Replica,
    edits: impl Iterator<Item = KeptEdit<'a>>,
    user: UserId,
    target: Target,
) -> Option<Object> {
    let stands = replica.position().seq;
    let not_in_the_copy = |kept: &KeptEdit<'_>| kept.at.is_none_or(|at| at.seq > stands);
    let operations = edits.filter(not_in_the_copy).flat_map(|kept| kept.edit.operations());
    let handle = resolve(replica, target);
    let mut object = handle.and_then(|handle| replica.get(handle)).cloned();
    for operation in operations {
        object = match object {
            Some(object) => follow(replica, handle, object, operation),
            None => create(replica, user, target, operation),
        };
    }
    object
}

fn follow(
    replica: &Replica,
    handle: Option<Handle>,
    mut object: Object,
    operation: &Operation,
) -> Option<Object> {
    let is_it = |target: &Target| match target {
        Target::Handle(other) => handle == Some(*other),
        Target::Id(id) => *id == object.id,
    };
    match operation {
        Operation::Update { target, patch } if is_it(target) => {
            if let Ok((props, _)) = object.props.patched(patch, &ValueLimits::default()) {
                object.props = props;
            }
        }
        Operation::Move { target, patch } if is_it(target) => {
            object.transform = patch.apply(&object.transform);
        }
        Operation::Reparent { target, parent, transform } if is_it(target) => {
            object.parent = resolve(replica, *parent).unwrap_or(object.parent);
            object.transform = transform.unwrap_or(object.transform);
        }
        Operation::Delete { target, mode } => {
            let takes_it = *mode == DeleteMode::Subtree
                && resolve(replica, *target).is_some_and(|top| is_below(replica, &object, top));
            if is_it(target) || takes_it {
                return None;
            }
        }
        Operation::Create { .. }
        | Operation::Update { .. }
        | Operation::Move { .. }
        | Operation::Reparent { .. } => {}
    }
    Some(object)
}

/// An own object that has no handle yet. Its parent is the root as long as
/// that has none either.
fn create(
    replica: &Replica,
    owner: UserId,
    target: Target,
    operation: &Operation,
) -> Option<Object> {
    match operation {
        Operation::Create { id, parent, kind, transform, props } if target == Target::Id(*id) => {
            Some(Object {
                id: *id,
                parent: resolve(replica, *parent).unwrap_or(Handle::ROOT),
                kind: *kind,
                owner,
                transform: *transform,
                props: props.clone(),
            })
        }
        _ => None,
    }
}

fn resolve(replica: &Replica, target: Target) -> Option<Handle> {
    match target {
        Target::Handle(handle) => Some(handle),
        Target::Id(id) => replica.find(id),
    }
}

fn is_below(replica: &Replica, object: &Object, top: Handle) -> bool {
    let mut parent = object.parent;
    // No tree is deeper than it has objects.
    for _ in 0..replica.len() {
        if parent == top {
            return true;
        }
        if parent == Handle::ROOT {
            return false;
        }
        let Some(above) = replica.get(parent) else { return false };
        parent = above.parent;
    }
    false
}
