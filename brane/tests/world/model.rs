//! A world kept in the plainest way: whole objects in a map, every question
//! answered by looking at all of them, every edit tried on a copy.

use std::collections::BTreeMap;

use avvy_brane::World;
use avvy_model::{
    Change, Code, DeleteMode, Edit, Handle, Kind, Object, ObjectAt, ObjectId, Operation, Placement,
    Principal, PropKey, Props, PropsPatch, Role, StateHash, Target, Transform, Value, ValueLimits,
    WorldLimits, object_digest, weight,
};

use crate::script::user;

#[derive(Clone, PartialEq, Debug)]
pub struct Naive {
    pub objects: BTreeMap<Handle, Object>,
    pub next: Handle,
}

impl Naive {
    pub fn new(root: Object) -> Self {
        Self { objects: BTreeMap::from([(Handle::ROOT, root)]), next: Handle(1) }
    }

    pub fn of(world: &World) -> Self {
        let objects = world.iter().map(|(handle, object)| (handle, object.clone())).collect();
        Self { objects, next: world.next_handle() }
    }

    pub fn hash(&self) -> StateHash {
        let mut hash = StateHash::default();
        self.objects.iter().for_each(|(h, o)| hash.add(object_digest(*h, o)));
        hash
    }

    /// Counted anew from all of them.
    pub fn bytes(&self) -> u64 {
        self.objects.values().map(|object| weight::held(&object.props)).sum()
    }

    /// The state after the edit, or the reason and the operation.
    pub fn apply(
        &self,
        who: &Principal,
        edit: &Edit,
        limits: &WorldLimits,
    ) -> Result<Self, (Code, Option<u32>)> {
        let (operations, batch) = match edit {
            Edit::One(one) => (vec![one.clone()], false),
            Edit::Batch(all) => (all.clone(), true),
            Edit::Rule(_) | Edit::Follow(_) => panic!("no script holds one"),
        };
        if operations.is_empty() {
            return Err((Code::Empty, None));
        }
        if operations.len() > limits.max_batch {
            return Err((Code::BatchTooLarge, None));
        }
        let mut state = self.clone();
        let mut touched = Touched { count: 0, max: limits.max_touched };
        for (n, operation) in operations.iter().enumerate() {
            state = state
                .operate(who, operation, limits, &mut touched)
                .map_err(|code| (code, batch.then_some(n as u32)))?;
        }
        Ok(state)
    }

    fn operate(
        &self,
        who: &Principal,
        operation: &Operation,
        limits: &WorldLimits,
        touched: &mut Touched,
    ) -> Result<Self, Code> {
        match operation {
            Operation::Create { id, parent, kind, transform, props } => {
                may(who, true)?;
                let (id, parent, kind) = (*id, self.group(*parent)?, *kind);
                let (owner, transform, props) = (who.user, *transform, props.clone());
                let object = Object { id, parent, kind, owner, transform, props };
                self.create(object, limits, touched)
            }
            Operation::Update { target, patch } => {
                self.update(who, *target, patch, limits, touched)
            }
            Operation::Move { target, patch } => {
                let (handle, object) = self.movable(who, *target)?;
                touched.add(1)?;
                let mut new = self.clone();
                new.at(handle).transform = patch.apply(&object.transform);
                Ok(new)
            }
            Operation::Reparent { target, parent, transform } => {
                let (handle, object) = self.movable(who, *target)?;
                let parent = self.group(*parent)?;
                self.may_go_under(handle, parent, limits, touched)?;
                let mut new = self.clone();
                new.at(handle).parent = parent;
                new.at(handle).transform = transform.unwrap_or(object.transform);
                Ok(new)
            }
            Operation::Delete { target, mode: DeleteMode::Subtree } => {
                let (handle, _) = self.movable(who, *target)?;
                let subtree = self.subtree(handle);
                touched.add(subtree.len())?;
                let mut new = self.clone();
                new.objects.retain(|handle, _| !subtree.contains(handle));
                Ok(new)
            }
            Operation::Delete { target, mode: DeleteMode::KeepChildren } => {
                let (handle, object) = self.movable(who, *target)?;
                self.delete_alone(handle, object, touched)
            }
        }
    }

    fn create(
        &self,
        object: Object,
        limits: &WorldLimits,
        touched: &mut Touched,
    ) -> Result<Self, Code> {
        refuse(self.objects.values().any(|o| o.id == object.id), Code::ObjectExists)?;
        let full = self.objects.len() >= limits.max_objects as usize;
        refuse(full, Code::TooManyObjects)?;
        refuse(self.path(object.parent).len() as u32 > limits.max_depth, Code::TooDeep)?;
        fits(&object.props, limits)?;
        let mut new = self.clone();
        new.objects.insert(self.next, object);
        new.next = Handle(self.next.0 + 1);
        refuse(new.bytes() > limits.max_bytes, Code::BraneTooLarge)?;
        touched.add(1)?;
        Ok(new)
    }

    fn update(
        &self,
        who: &Principal,
        target: Target,
        patch: &PropsPatch,
        limits: &WorldLimits,
        touched: &mut Touched,
    ) -> Result<Self, Code> {
        let found = self.look(target);
        may(who, found.is_none_or(|(handle, _)| handle != Handle::ROOT))?;
        let (handle, object) = found.ok_or(Code::ObjectNotFound)?;
        refuse(patch.is_empty(), Code::Empty)?;
        touched.add(1)?;
        let props = patched(&object.props, patch);
        fits(&props, limits)?;
        let mut new = self.clone();
        new.at(handle).props = props;
        let is_too_large = new.bytes() > self.bytes().max(limits.max_bytes);
        refuse(is_too_large, Code::BraneTooLarge)?;
        Ok(new)
    }

    /// Whoever goes deeper takes the subtree along.
    fn may_go_under(
        &self,
        handle: Handle,
        parent: Handle,
        limits: &WorldLimits,
        touched: &mut Touched,
    ) -> Result<(), Code> {
        refuse(self.path(parent).contains(&handle), Code::Cycle)?;
        let (old, depth) = (self.path(handle).len() - 1, self.path(parent).len());
        if depth <= old {
            return touched.add(1);
        }
        refuse(depth as u32 > limits.max_depth, Code::TooDeep)?;
        let subtree = self.subtree(handle);
        touched.add(subtree.len())?;
        let deepest = subtree.iter().map(|h| self.path(*h).len() - 1 - old + depth).max();
        refuse(deepest.unwrap() as u32 > limits.max_depth, Code::TooDeep)
    }

    fn delete_alone(
        &self,
        handle: Handle,
        object: &Object,
        touched: &mut Touched,
    ) -> Result<Self, Code> {
        let children = || self.objects.iter().filter(|(_, o)| o.parent == handle);
        touched.add(1 + children().count())?;
        let mut new = self.clone();
        for (child, c) in children() {
            new.at(*child).parent = object.parent;
            new.at(*child).transform =
                c.transform.within(&object.transform).map_err(|_| Code::OutOfRange)?;
        }
        new.objects.remove(&handle);
        Ok(new)
    }

    /// Takes the changes of an event forward, checking that each finds what
    /// it says it found.
    pub fn follow(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Created(new) => {
                    assert_eq!(new.handle, self.next);
                    assert!(self.objects.insert(new.handle, new.object.clone()).is_none());
                    self.next = Handle(new.handle.0 + 1);
                }
                Change::Updated { handle, before, after } => {
                    let object = self.at(*handle);
                    assert_eq!(*before, picked(&object.props, after), "before-image");
                    object.props = patched(&object.props, after);
                }
                Change::Moved { handle, parts, before, after } => {
                    let object = self.at(*handle);
                    assert_eq!(*before, object.transform, "before-image");
                    let set = avvy_model::MovePatch::new(*parts, *after);
                    assert_eq!(*after, set.apply(before), "only the stated parts change");
                    object.transform = *after;
                }
                Change::Reparented { handle, before, after } => {
                    let object = self.at(*handle);
                    let was = Placement { parent: object.parent, transform: object.transform };
                    assert_eq!(*before, was, "before-image");
                    (object.parent, object.transform) = (after.parent, after.transform);
                }
                Change::Deleted { removed } => {
                    let subtree = self.subtree(removed[0].handle);
                    assert_eq!(subtree.len(), removed.len());
                    for (n, ObjectAt { handle, object }) in removed.iter().enumerate() {
                        let above = removed[..n].iter().any(|o| o.handle == object.parent);
                        assert!(n == 0 || above, "parents before children");
                        assert_eq!(self.objects.remove(handle).as_ref(), Some(object));
                    }
                }
                Change::Ruled(_) => panic!("no script holds a ruling"),
            }
        }
    }

    /// Takes the changes of an event back by their before-images.
    pub fn undo(&mut self, changes: &[Change]) {
        for change in changes.iter().rev() {
            match change {
                Change::Created(new) => {
                    assert_eq!(self.objects.remove(&new.handle).as_ref(), Some(&new.object));
                    self.next = new.handle;
                }
                Change::Updated { handle, before, .. } => {
                    let object = self.at(*handle);
                    object.props = patched(&object.props, before);
                }
                Change::Moved { handle, before, .. } => self.at(*handle).transform = *before,
                Change::Reparented { handle, before, .. } => {
                    let object = self.at(*handle);
                    (object.parent, object.transform) = (before.parent, before.transform);
                }
                Change::Deleted { removed } => {
                    self.objects.extend(removed.iter().map(|o| (o.handle, o.object.clone())));
                }
                Change::Ruled(_) => panic!("no script holds a ruling"),
            }
        }
    }

    fn at(&mut self, handle: Handle) -> &mut Object {
        self.objects.get_mut(&handle).expect("the object is there")
    }

    fn look(&self, target: Target) -> Option<(Handle, &Object)> {
        let is = |handle: Handle, id: ObjectId| match target {
            Target::Handle(named) => named == handle,
            Target::Id(named) => named == id,
        };
        self.objects.iter().find(|(h, o)| is(**h, o.id)).map(|(h, o)| (*h, o))
    }

    fn movable(&self, who: &Principal, target: Target) -> Result<(Handle, &Object), Code> {
        may(who, true)?;
        let found = self.look(target).ok_or(Code::ObjectNotFound)?;
        refuse(found.0 == Handle::ROOT, Code::RootProtected)?;
        Ok(found)
    }

    /// What objects can be put into.
    fn group(&self, target: Target) -> Result<Handle, Code> {
        let (handle, object) = self.look(target).ok_or(Code::ParentNotFound)?;
        refuse(object.kind != Kind::Group, Code::ParentNotGroup)?;
        Ok(handle)
    }

    /// The object, its parent, and so on to the root.
    fn path(&self, handle: Handle) -> Vec<Handle> {
        match handle {
            Handle::ROOT => vec![handle],
            _ => [vec![handle], self.path(self.objects[&handle].parent)].concat(),
        }
    }

    fn subtree(&self, top: Handle) -> Vec<Handle> {
        self.objects.keys().copied().filter(|h| self.path(*h).contains(&top)).collect()
    }
}

/// How many objects an edit has touched.
struct Touched {
    count: usize,
    max: usize,
}

impl Touched {
    fn add(&mut self, count: usize) -> Result<(), Code> {
        self.count += count;
        refuse(self.count > self.max, Code::TouchesTooMany)
    }
}

fn refuse(condition: bool, code: Code) -> Result<(), Code> {
    if condition { Err(code) } else { Ok(()) }
}

fn may(who: &Principal, builder: bool) -> Result<(), Code> {
    let owns = who.user == user(1) && who.ceiling == Role::Owner;
    let may = owns || who.ceiling >= Role::Builder && builder;
    refuse(!may, Code::NotPermitted)
}

fn fits(props: &Props, limits: &WorldLimits) -> Result<(), Code> {
    let size = props.as_bytes().len();
    refuse(size > limits.values.max_props_bytes, Code::PropsTooLarge)
}

type Entries = BTreeMap<String, Value>;

fn entries(props: &Props) -> Entries {
    props.iter().map(|(k, v)| (k.to_owned(), Value::from_canonical(v).unwrap())).collect()
}

fn key(text: &str) -> PropKey {
    PropKey::new(text, &ValueLimits::NONE).unwrap()
}

fn patched(props: &Props, patch: &PropsPatch) -> Props {
    let mut all = entries(props);
    for (key, value) in patch.entries() {
        match value {
            Some(value) => drop(all.insert(key.as_str().to_owned(), value.clone())),
            None => drop(all.remove(key.as_str())),
        }
    }
    let all = all.into_iter().map(|(k, v)| (key(&k), v)).collect();
    Props::from_entries(all, &ValueLimits::NONE).unwrap()
}

/// What the keys of a patch are now.
fn picked(props: &Props, patch: &PropsPatch) -> PropsPatch {
    let all = entries(props);
    let now = patch.entries().iter().map(|(k, _)| (k.clone(), all.get(k.as_str()).cloned()));
    PropsPatch::new(now.collect()).unwrap()
}

/// For the tests' own roots.
pub fn root(id: ObjectId, owner: avvy_model::UserId) -> Object {
    Object {
        id,
        parent: Handle::ROOT,
        kind: Kind::Group,
        owner,
        transform: Transform::IDENTITY,
        props: Props::default(),
    }
}
