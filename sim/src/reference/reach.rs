//! What a grant is about, by the words of the protocol, looking at all objects.

use avvy_model::{DeleteMode, Handle, ObjectId, Operation, Reach, Target, Transform, Value};

use super::part::Objects;

/// Whether a grant with this reach is about this operation in a world of these
/// objects.
pub(super) fn holds(reach: &Reach, objects: &Objects, operation: &Operation) -> bool {
    if let Operation::Update { patch, .. } = operation {
        let is_named = |key| reach.keys.as_ref().is_none_or(|keys| keys.contains(key));
        let is_prototype = |key: &str| key == "prototype";
        if !patch.entries().iter().all(|(key, _)| is_named(key) && !is_prototype(key.as_str())) {
            return false;
        }
    }
    let holds = |handle| holds_object(reach, objects, handle);
    match operation {
        Operation::Create { parent, transform, props, .. } => {
            let Some(parent) = find(objects, *parent) else { return false };
            is_within(reach, objects, parent)
                && is_instance(reach, props.get("prototype"))
                && is_in(reach, objects, parent, transform)
        }
        Operation::Update { target, .. } => find(objects, *target).is_some_and(holds),
        Operation::Move { target, patch } => find(objects, *target).is_some_and(|handle| {
            let object = &objects[&handle];
            holds(handle) && is_in(reach, objects, object.parent, &patch.apply(&object.transform))
        }),
        Operation::Reparent { target, parent, transform } => {
            let (target, parent) = (find(objects, *target), find(objects, *parent));
            let Some((handle, parent)) = target.zip(parent) else { return false };
            let after = transform.unwrap_or(objects[&handle].transform);
            holds(handle)
                && is_within(reach, objects, parent)
                && is_in(reach, objects, parent, &after)
        }
        Operation::Delete { target, mode } => {
            let Some(top) = find(objects, *target) else { return false };
            let below = objects.keys().filter(|handle| is_below(objects, **handle, top));
            let below: Vec<Handle> = below.copied().collect();
            holds(top)
                && match mode {
                    DeleteMode::Subtree => below.into_iter().all(holds),
                    DeleteMode::KeepChildren => reach.within != Some(top) || below.is_empty(),
                }
        }
    }
}

fn holds_object(reach: &Reach, objects: &Objects, handle: Handle) -> bool {
    let object = &objects[&handle];
    is_within(reach, objects, handle)
        && is_instance(reach, object.props.get("prototype"))
        && is_in(reach, objects, object.parent, &object.transform)
}

fn is_within(reach: &Reach, objects: &Objects, handle: Handle) -> bool {
    reach.within.is_none_or(|group| handle == group || is_below(objects, handle, group))
}

fn is_instance(reach: &Reach, named: Option<Value>) -> bool {
    reach.prototype.is_none_or(|prototype| named == Some(Value::text(&prototype.to_string())))
}

/// Whether what hangs here like this is in the region. Nobody turns or scales
/// anything.
fn is_in(reach: &Reach, objects: &Objects, mut parent: Handle, transform: &Transform) -> bool {
    let Some(region) = reach.region else { return true };
    let mut at = transform.position.map(i64::from);
    while parent != Handle::ROOT {
        let group = &objects[&parent];
        at.iter_mut().zip(group.transform.position).for_each(|(sum, own)| *sum += i64::from(own));
        parent = group.parent;
    }
    let is_between =
        |axis: usize| (region.min[axis].into()..=region.max[axis].into()).contains(&at[axis]);
    (0..3).all(is_between)
}

fn is_below(objects: &Objects, mut handle: Handle, top: Handle) -> bool {
    while handle != Handle::ROOT {
        let Some(object) = objects.get(&handle) else { return false };
        handle = object.parent;
        if handle == top {
            return true;
        }
    }
    false
}

/// The object that this names.
pub(super) fn find(objects: &Objects, target: Target) -> Option<Handle> {
    let is = |id: ObjectId| objects.iter().find(|(_, object)| object.id == id);
    match target {
        Target::Handle(handle) => objects.contains_key(&handle).then_some(handle),
        Target::Id(id) => is(id).map(|(handle, _)| *handle),
    }
}
