//! A world as a map of objects, changed by outcomes; every outcome is checked
//! against what it claims was there before.

use std::collections::BTreeSet;
use std::rc::Rc;

use avvy_brane::World;
use avvy_client::replica::Replica;
use avvy_model::{
    BraneId, Change, Event, Handle, Kind, Object, ObjectAt, ObjectId, Operation, Props, StateHash,
    Transform, UserId, ValueLimits, object_digest,
};

use super::{Objects, places, prototypes, reach};

/// The map.
#[derive(Clone)]
pub(crate) struct NaiveWorld {
    objects: Objects,
    hash: StateHash,
    next: Handle,
    new: bool,
}

impl NaiveWorld {
    /// The root alone.
    pub(crate) fn new(brane: BraneId, owner: UserId) -> Self {
        let root = Object {
            id: ObjectId::from_bytes(brane.to_bytes()),
            parent: Handle::ROOT,
            kind: Kind::Group,
            owner,
            transform: Transform::IDENTITY,
            props: Props::default(),
        };
        let mut world = Self {
            objects: Objects::new(),
            hash: StateHash::default(),
            next: Handle(1),
            new: true,
        };
        world.put(Handle::ROOT, root);
        world
    }

    pub(crate) fn is_new(&self) -> bool {
        self.new
    }

    pub(crate) fn hash(&self) -> StateHash {
        self.hash
    }

    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }

    pub(crate) fn differences(&self, replica: &Replica) -> Vec<String> {
        let mut handles: BTreeSet<Handle> = self.objects.keys().copied().collect();
        handles.extend(replica.handles());
        let differ =
            |handle: &Handle| self.objects.get(handle).map(Rc::as_ref) != replica.get(*handle);
        let tell = |handle: Handle| {
            format!("{handle}: {:?}, not {:?}", replica.get(handle), self.objects.get(&handle))
        };
        handles.into_iter().filter(differ).take(3).map(tell).collect()
    }

    /// Whether this world holds the same, object by object.
    pub(crate) fn compare(&self, world: &mut World) -> Result<(), String> {
        let handles = self.objects.keys().copied().chain(world.iter().map(|(handle, _)| handle));
        for handle in handles.collect::<BTreeSet<Handle>>() {
            let (found, expected) = (world.get(handle), self.objects.get(&handle).map(Rc::as_ref));
            expect(found == expected, || format!("{handle}: {found:?}, not {expected:?}"))?;
        }
        let (next, due) = (world.next_handle(), self.next);
        expect(next == due, || format!("{next} comes next, {due} was due"))?;
        self.compare_indexes(world)?;
        let (hash, due) = (world.state_hash(), self.hash);
        expect(hash == due, || format!("its hash is {hash}, not {due}"))
    }

    /// Does what the event says.
    pub(crate) fn follow(&mut self, event: &Event) -> Result<(), String> {
        self.new = false;
        if event.changes.is_empty() {
            return Err("it changes nothing".to_owned());
        }
        event.changes.iter().try_for_each(|change| self.change(change))
    }

    /// Does what an operation did, by the next of its event's changes. What
    /// lets go of something that is deleted may be left.
    pub(super) fn follow_operation<'a>(
        &mut self,
        operation: &Operation,
        changes: &mut impl Iterator<Item = &'a Change>,
    ) -> Result<(), String> {
        let target = match operation {
            Operation::Create { parent, .. } => *parent,
            Operation::Update { target, .. }
            | Operation::Move { target, .. }
            | Operation::Reparent { target, .. }
            | Operation::Delete { target, .. } => *target,
        };
        let target = reach::find(&self.objects, target).ok_or("it names what is not there")?;
        let is_done = |change: &Change| match (operation, change) {
            (Operation::Create { id, .. }, Change::Created(new)) => new.object.id == *id,
            (Operation::Update { .. }, Change::Updated { handle, .. })
            | (Operation::Move { .. }, Change::Moved { handle, .. })
            | (Operation::Reparent { .. }, Change::Reparented { handle, .. }) => *handle == target,
            (Operation::Delete { .. }, Change::Deleted { removed }) => {
                removed.iter().any(|at| at.handle == target)
            }
            _ => false,
        };
        for change in changes {
            self.change(change)?;
            if is_done(change) {
                return Ok(());
            }
        }
        Err(format!("nothing came of {operation:?}"))
    }

    /// Whether a world's indexes say what these objects do.
    pub(crate) fn compare_indexes(&self, world: &World) -> Result<(), String> {
        for (prototype, due) in prototypes::counts(&self.objects) {
            let found = world.instances(prototype);
            expect(found == due, || format!("{found} instances of {prototype}, not {due}"))?;
        }
        let (found, due) =
            (world.portals(None).collect::<Vec<_>>(), places::portals(&self.objects));
        expect(found == due, || format!("its portals are {found:?}, not {due:?}"))
    }

    fn change(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::Created(new) => self.create(new),
            Change::Updated { handle, before, after } => {
                let object = self.get(*handle)?;
                let limits = ValueLimits::default();
                let (props, undo) =
                    object.props.patched(after, &limits).map_err(|error| error.to_string())?;
                expect(undo == *before, || format!("{handle} had other properties"))?;
                self.put(*handle, Object { props, ..object });
                Ok(())
            }
            Change::Moved { handle, before, after, .. } => {
                let object = self.get(*handle)?;
                expect(object.transform == *before, || format!("{handle} was elsewhere"))?;
                self.put(*handle, Object { transform: *after, ..object });
                Ok(())
            }
            Change::Reparented { handle, before, after } => {
                let object = self.get(*handle)?;
                let was_there =
                    object.parent == before.parent && object.transform == before.transform;
                expect(was_there, || format!("{handle} hung elsewhere"))?;
                self.expect_group(after.parent)?;
                let (parent, transform) = (after.parent, after.transform);
                self.put(*handle, Object { parent, transform, ..object });
                expect(self.reaches_root(*handle), || format!("{handle} hangs in a cycle"))
            }
            Change::Deleted { removed } => self.delete(removed),
            Change::Ruled(_) => Ok(()),
        }
    }

    fn create(&mut self, new: &ObjectAt) -> Result<(), String> {
        let ObjectAt { handle, object } = new;
        let next = self.next;
        expect(*handle == next, || format!("{handle} was created, {next} was due"))?;
        self.next = Handle(next.0 + 1);
        let twin = self.objects.values().any(|other| other.id == object.id);
        expect(!twin, || format!("{} exists", object.id))?;
        self.expect_group(object.parent)?;
        self.put(*handle, object.clone());
        Ok(())
    }

    fn delete(&mut self, removed: &[ObjectAt]) -> Result<(), String> {
        let mut gone = BTreeSet::new();
        for ObjectAt { handle, object } in removed {
            expect(self.get(*handle)? == *object, || format!("{handle} was another"))?;
            let is_below = gone.is_empty() || gone.contains(&object.parent);
            expect(is_below, || format!("{handle} is not below the first"))?;
            gone.insert(*handle);
        }
        for handle in &gone {
            if let Some(object) = self.objects.remove(handle) {
                self.hash.remove(object_digest(*handle, &object));
            }
        }
        let orphan = self.objects.iter().find(|(_, object)| gone.contains(&object.parent));
        expect(orphan.is_none(), || format!("{orphan:?} lost its parent"))
    }

    fn get(&self, handle: Handle) -> Result<Object, String> {
        self.objects
            .get(&handle)
            .map(|object| Object::clone(object))
            .ok_or_else(|| format!("{handle} does not exist"))
    }

    fn expect_group(&self, handle: Handle) -> Result<(), String> {
        expect(self.get(handle)?.kind == Kind::Group, || format!("{handle} is no group"))
    }

    fn reaches_root(&self, mut handle: Handle) -> bool {
        for _ in 0..=self.objects.len() {
            if handle == Handle::ROOT {
                return true;
            }
            match self.objects.get(&handle) {
                Some(object) => handle = object.parent,
                None => return false,
            }
        }
        false
    }

    fn put(&mut self, handle: Handle, object: Object) {
        self.hash.add(object_digest(handle, &object));
        if let Some(old) = self.objects.insert(handle, Rc::new(object)) {
            self.hash.remove(object_digest(handle, &old));
        }
    }
}

fn expect(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
