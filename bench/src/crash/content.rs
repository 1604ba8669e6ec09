//! What the writers ask for, and a naive world that it is applied to.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use avvy_client::replica::Replica;
use avvy_model::{
    DeleteMode, Edit, Handle, Kind, MovePatch, ObjectId, Operation, Parts, PropKey, Props,
    PropsPatch, Target, Transform, Value, ValueLimits,
};

use crate::draw::Draw;

/// The property that updates set.
const KEY: &str = "n";
/// Objects that a writer has, about.
const OBJECTS: usize = 12;

/// One operation on one object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Create(ObjectId),
    Move(ObjectId, [i32; 3]),
    Set(ObjectId, i64),
    Delete(ObjectId),
}

/// One edit: its steps are applied together or not at all.
pub(super) type Content = Vec<Step>;

/// The edit as it is sent.
pub(super) fn edit(content: &[Step]) -> Result<Edit> {
    let mut operations = content.iter().map(operation).collect::<Result<Vec<_>>>()?;
    Ok(if operations.len() == 1 {
        Edit::One(operations.remove(0))
    } else {
        Edit::Batch(operations)
    })
}

fn operation(step: &Step) -> Result<Operation> {
    Ok(match *step {
        Step::Create(id) => Operation::Create {
            id,
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Block,
            transform: Transform::IDENTITY,
            props: Props::default(),
        },
        Step::Move(id, position) => {
            let mut to = Transform::IDENTITY;
            to.position = position;
            Operation::Move { target: Target::Id(id), patch: MovePatch::new(Parts::POSITION, to) }
        }
        Step::Set(id, n) => {
            let key = PropKey::new(KEY, &ValueLimits::default())?;
            let patch = PropsPatch::new(vec![(key, Some(Value::int(n)))])?;
            Operation::Update { target: Target::Id(id), patch }
        }
        Step::Delete(id) => Operation::Delete { target: Target::Id(id), mode: DeleteMode::Subtree },
    })
}

/// Thinks up edits of one writer, each on objects of its own that are there
/// if all edits before it were applied.
#[derive(Debug)]
pub(super) struct Script {
    draw: Draw,
    objects: Vec<ObjectId>,
    count: i64,
}

impl Script {
    pub(super) const fn new(draw: Draw) -> Self {
        Self { draw, objects: Vec::new(), count: 0 }
    }

    /// The next edit.
    pub(super) fn next(&mut self) -> Content {
        self.count += 1;
        if self.objects.len() < OBJECTS / 2 {
            return vec![self.create()];
        }
        match self.draw.below(100) {
            0..5 if self.objects.len() < OBJECTS => vec![self.create()],
            0..5 => vec![self.delete()],
            5..25 => vec![self.set()],
            25..35 => {
                // Perhaps the new object is changed in the batch that makes it.
                let mut steps =
                    vec![self.create(), self.set(), self.shift(), self.set(), self.shift()];
                if self.objects.len() > OBJECTS {
                    steps.push(self.delete());
                }
                steps
            }
            _ => vec![self.shift()],
        }
    }

    fn create(&mut self) -> Step {
        let id = ObjectId::new(self.draw.uuid());
        self.objects.push(id);
        Step::Create(id)
    }

    fn delete(&mut self) -> Step {
        let at = self.draw.below(self.objects.len() as u64) as usize;
        Step::Delete(self.objects.swap_remove(at))
    }

    fn any(&mut self) -> ObjectId {
        self.objects[self.draw.below(self.objects.len() as u64) as usize]
    }

    fn set(&mut self) -> Step {
        Step::Set(self.any(), self.count)
    }

    fn shift(&mut self) -> Step {
        let number = self.draw.number();
        Step::Move(self.any(), [number as i32, (number >> 32) as i32, self.count as i32])
    }
}

/// An object as the naive world holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Thing {
    position: [i32; 3],
    n: Option<i64>,
}

/// A world of objects under the root, by id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct NaiveWorld(BTreeMap<ObjectId, Thing>);

impl NaiveWorld {
    /// Applies an edit.
    pub(super) fn apply(&mut self, content: &[Step]) -> Result<()> {
        for step in content {
            match *step {
                Step::Create(id) => {
                    ensure!(self.0.insert(id, Thing::default()).is_none(), "created twice");
                }
                Step::Move(id, position) => self.get(id)?.position = position,
                Step::Set(id, n) => self.get(id)?.n = Some(n),
                Step::Delete(id) => drop(self.0.remove(&id).context("deleted twice")?),
            }
        }
        Ok(())
    }

    fn get(&mut self, id: ObjectId) -> Result<&mut Thing> {
        self.0.get_mut(&id).with_context(|| format!("an edit of {id}, which is not there"))
    }

    /// The world that a client's copy shows.
    pub(super) fn of(replica: &Replica) -> Self {
        let objects = replica.handles().into_iter().filter(|handle| *handle != Handle::ROOT);
        let thing = |handle| {
            let object = replica.get(handle)?;
            let position = object.transform.position;
            let n = object.props.get(KEY).and_then(|value| as_int(&value));
            Some((object.id, Thing { position, n }))
        };
        Self(objects.filter_map(thing).collect())
    }

    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first object in which two worlds differ.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let ids = self.0.keys().chain(other.0.keys());
        let differing = ids.into_iter().find(|id| self.0.get(id) != other.0.get(id))?;
        let [own, theirs] = [self, other].map(|world| world.0.get(differing));
        Some(format!("{differing}: {own:?} and {theirs:?}"))
    }
}

fn as_int(value: &Value) -> Option<i64> {
    ciborium::from_reader(value.as_bytes()).ok()
}
