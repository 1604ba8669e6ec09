//! Exclusive cells: random edits of a few blocks in a small place, against a
//! model that multiplies matrices and looks at every pair of blocks.

use std::collections::{BTreeMap, BTreeSet};

use avvy_brane::{Clients, World, snapshot};
use avvy_model::{
    BraneId, ClientId, Code, Counter, DeleteMode, Edit, EditId, Epoch, Event, Handle, Kind,
    MovePatch, Object, ObjectId, Operation, Parts, Position, Principal, PropKey, Props, PropsPatch,
    Refusal, Role, Rotation, Target, Transform, Value, ValueLimits, WorldLimits,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Naive;
use crate::script::user;

/// What can be done to the objects that there are.
#[derive(Clone, Debug)]
enum Act {
    Create { parent: usize, block: bool, at: Place, cells: Option<Value> },
    Move { nth: usize, to: Place },
    Hang { nth: usize, parent: usize, at: Option<Place> },
    Delete { nth: usize, keep: bool },
    Box { nth: usize, cells: Option<Value> },
    Exclusive { on: bool },
}

#[derive(Clone, Debug)]
enum Step {
    Edit(Vec<Act>),
    Reload,
    Replay,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => act().prop_map(|act| Step::Edit(vec![act])),
        4 => vec(act(), 2..4).prop_map(Step::Edit),
        1 => Just(Step::Reload),
        1 => Just(Step::Replay),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let nth = any::<usize>;
    prop_oneof![
        6 => (nth(), prop::bool::weighted(0.7), place(), cells())
            .prop_map(|(parent, block, at, cells)| Act::Create { parent, block, at, cells }),
        6 => (nth(), place()).prop_map(|(nth, to)| Act::Move { nth, to }),
        2 => (nth(), nth(), prop::option::of(place()))
            .prop_map(|(nth, parent, at)| Act::Hang { nth, parent, at }),
        2 => (nth(), any::<bool>()).prop_map(|(nth, keep)| Act::Delete { nth, keep }),
        2 => (nth(), cells()).prop_map(|(nth, cells)| Act::Box { nth, cells }),
        1 => prop::bool::weighted(0.8).prop_map(|on| Act::Exclusive { on }),
    ]
}

/// A place of a few cells, turned by quarters: of a block in the middle of a
/// cell and turned a little more, of a group at a cell's corner, so that no
/// rounding moves what is in it to another.
#[derive(Clone, Debug)]
struct Place {
    cell: [i32; 3],
    quarters: [u8; 2],
    more: (usize, f64),
}

impl Place {
    fn of(&self, kind: Kind) -> Transform {
        let [first, second] =
            [0, 1].map(|axis| quaternion(axis, f64::from(self.quarters[axis]) * 90.0));
        let mut turned = multiply(second, first);
        let mut middle = 0;
        if kind == Kind::Block {
            (turned, middle) = (multiply(quaternion(self.more.0, self.more.1), turned), 500);
        }
        let rotation = Rotation::from_quaternion(turned).unwrap();
        Transform::new(self.cell.map(|c| c * 1_000 + middle), rotation, [1.0; 3]).unwrap()
    }
}

fn place() -> impl Strategy<Value = Place> {
    let turn = (proptest::array::uniform2(0..4u8), 0..3usize, -20.0..20.0f64);
    (proptest::array::uniform3(-3..3i32), turn).prop_map(|(cell, (quarters, axis, more))| Place {
        cell,
        quarters,
        more: (axis, more),
    })
}

fn quaternion(axis: usize, degrees: f64) -> [f64; 4] {
    let half = degrees.to_radians() / 2.0;
    let mut q = [0.0, 0.0, 0.0, half.cos()];
    q[axis] = half.sin();
    q
}

fn multiply(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
    [
        a[3] * b[0] + a[0] * b[3] + a[1] * b[2] - a[2] * b[1],
        a[3] * b[1] - a[0] * b[2] + a[1] * b[3] + a[2] * b[0],
        a[3] * b[2] + a[0] * b[1] - a[1] * b[0] + a[2] * b[3],
        a[3] * b[3] - a[0] * b[0] - a[1] * b[1] - a[2] * b[2],
    ]
}

fn cells() -> impl Strategy<Value = Option<Value>> {
    let list = |edges: Vec<u8>| {
        let mut bytes = vec![0x80 + edges.len() as u8];
        edges.iter().for_each(|edge| bytes.push(*edge));
        Value::parse(&bytes, &ValueLimits::NONE).unwrap()
    };
    prop_oneof![
        4 => Just(None),
        6 => vec(1..4u8, 3).prop_map(move |edges| Some(list(edges))),
        1 => vec(0..3u8, 0..5).prop_map(move |edges| Some(list(edges))),
        1 => Just(Some(Value::text("wide"))),
    ]
}

fn key(text: &str) -> PropKey {
    PropKey::new(text, &ValueLimits::NONE).unwrap()
}

fn owner() -> Principal {
    Principal { user: user(1), ceiling: Role::Owner, invited: true }
}

fn operation(act: &Act, state: &Naive, id: u64) -> Operation {
    let living = |nth: usize| *state.objects.keys().nth(nth % state.objects.len()).unwrap();
    let target = |nth| Target::Handle(living(nth));
    let placed = |nth, place: Place| place.of(state.objects[&living(nth)].kind);
    let set = |target, key: &str, value: Option<Value>| Operation::Update {
        target,
        patch: PropsPatch::new(vec![(self::key(key), value)]).unwrap(),
    };
    match act.clone() {
        Act::Create { parent, block, at, cells } => {
            let cells = cells.map(|cells| (key(Object::CELLS_KEY), cells));
            let kind = if block { Kind::Block } else { Kind::Group };
            Operation::Create {
                id: ObjectId::from_bytes(u128::from(id).to_be_bytes()),
                parent: target(parent),
                kind,
                transform: at.of(kind),
                props: Props::from_entries(cells.into_iter().collect(), &ValueLimits::NONE)
                    .unwrap(),
            }
        }
        Act::Move { nth, to } => Operation::Move {
            target: target(nth),
            patch: MovePatch::new(Parts::ALL, placed(nth, to)),
        },
        Act::Hang { nth, parent, at } => {
            let transform = at.map(|at| placed(nth, at));
            Operation::Reparent { target: target(nth), parent: target(parent), transform }
        }
        Act::Delete { nth, keep } => {
            let mode = if keep { DeleteMode::KeepChildren } else { DeleteMode::Subtree };
            Operation::Delete { target: target(nth), mode }
        }
        Act::Box { nth, cells } => set(target(nth), Object::CELLS_KEY, cells),
        Act::Exclusive { on } => {
            let root = Target::Handle(Handle::ROOT);
            set(root, Object::EXCLUSIVE_KEY, Some(Value::bool(on)))
        }
    }
}

/// Row-major.
fn product(a: [f64; 16], b: [f64; 16]) -> [f64; 16] {
    std::array::from_fn(|i| (0..4).map(|k| a[i / 4 * 4 + k] * b[k * 4 + i % 4]).sum())
}

/// The cells of a block, if its box is one.
fn taken(state: &Naive, block: &Object) -> Option<BTreeSet<[i32; 3]>> {
    let edges = match block.props.get(Object::CELLS_KEY) {
        None => vec![1, 1, 1],
        Some(value) => match value.as_bytes() {
            [0x83, edges @ ..] if edges.iter().all(|edge| (1..24).contains(edge)) => edges.to_vec(),
            _ => return None,
        },
    };
    let mut matrix = block.transform.to_matrix();
    let mut parent = block.parent;
    while parent != Handle::ROOT {
        let group = &state.objects[&parent];
        matrix = product(group.transform.to_matrix(), matrix);
        parent = group.parent;
    }
    let column = |c: usize| [0, 1, 2].map(|row| matrix[row * 4 + c]);
    let anchor = column(3).map(|metres| (metres * 10.0).floor() as i32);
    let axes = [0, 1, 2].map(|c| {
        let column = column(c);
        let axis = (0..3).max_by(|a, b| column[*a].abs().total_cmp(&column[*b].abs())).unwrap();
        (axis, if column[axis] < 0.0 { -1 } else { 1 })
    });
    let mut cells = BTreeSet::new();
    for x in 0..edges[0] {
        for y in 0..edges[1] {
            for z in 0..edges[2] {
                let mut cell = anchor;
                for (steps, (axis, sign)) in [x, y, z].into_iter().zip(axes) {
                    cell[axis] += sign * i32::from(steps);
                }
                cells.insert(cell);
            }
        }
    }
    Some(cells)
}

/// Why a state cannot be where cells are exclusive.
fn faults(state: &Naive) -> BTreeSet<Code> {
    let root = &state.objects[&Handle::ROOT];
    if root.props.get(Object::EXCLUSIVE_KEY) != Some(Value::bool(true)) {
        return BTreeSet::new();
    }
    let blocks = state.objects.values().filter(|object| object.kind == Kind::Block);
    let (mut faults, mut seen) = (BTreeSet::new(), BTreeMap::new());
    for block in blocks {
        match taken(state, block) {
            None => drop(faults.insert(Code::FootprintInvalid)),
            Some(cells) => {
                for cell in cells {
                    if seen.insert(cell, block.id).is_some() {
                        faults.extend([Code::CellTaken, Code::CellsOverlap]);
                    }
                }
            }
        }
    }
    faults
}

struct Run {
    world: World,
    events: Vec<Event>,
    limits: WorldLimits,
}

impl Run {
    fn new() -> Self {
        let world = World::new(BraneId::from_bytes([0xbb; 16]), user(1));
        Self { world, events: Vec::new(), limits: WorldLimits::default() }
    }

    fn apply(&mut self, edit: &Edit) -> Result<(), Refusal> {
        let seq = self.world.seq().next();
        let changes = self.world.apply(seq, 0, &owner(), edit, &self.limits)?;
        let edit = EditId { client: ClientId::from_bytes([1; 16]), counter: Counter(seq.0) };
        let by = owner().user;
        self.events.push(Event { seq, at_ms: 0, by, edit, trace: None, changes });
        Ok(())
    }

    fn edit(&mut self, acts: &[Act], id: u64) {
        let before = Naive::of(&self.world);
        let operations: Vec<_> =
            acts.iter().zip(id * 8..).map(|(act, id)| operation(act, &before, id)).collect();
        let edit = Edit::Batch(operations);
        let expected = before.apply(&owner(), &edit, &self.limits);
        let found = self.apply(&edit);
        match expected {
            Err((code, operation)) => assert_eq!(found, Err(Refusal { code, operation })),
            Ok(after) => {
                let faults = faults(&after);
                match found {
                    Ok(()) => {
                        assert_eq!(faults, BTreeSet::new(), "{edit:?}");
                        assert_eq!(Naive::of(&self.world), after);
                        self.take_back_and_do_again(&before, &edit);
                    }
                    Err(refusal) => {
                        assert!(faults.contains(&refusal.code), "{edit:?}: {refusal:?}");
                        assert!(refusal.operation.is_some_and(|n| (n as usize) < acts.len()));
                        assert_eq!(Naive::of(&self.world), before);
                    }
                }
            }
        }
    }

    fn take_back_and_do_again(&mut self, before: &Naive, edit: &Edit) {
        let event = self.events.pop().unwrap();
        self.world.retract(&event.changes);
        assert_eq!(Naive::of(&self.world), *before);
        self.apply(edit).unwrap();
        assert_eq!(self.events.last(), Some(&event));
    }

    fn reload(&mut self) {
        let position = Position { epoch: Epoch(1), seq: self.world.seq() };
        let (frozen, hash) = (self.world.freeze(), self.world.state_hash());
        let clients = Clients::new(&self.limits);
        let mut encoder = snapshot::Encoder::new(frozen, clients, position, hash);
        let mut decoder = snapshot::Decoder::new(&self.limits);
        while let Some(part) = encoder.next_part() {
            decoder.feed(&part).unwrap();
        }
        self.world = decoder.finish().unwrap().world;
    }

    fn replay(&mut self) {
        let mut world = World::new(BraneId::from_bytes([0xbb; 16]), user(1));
        self.events.iter().for_each(|event| world.replay(event).unwrap());
        self.world = world;
    }
}

proptest! {
    #[test]
    fn no_cell_is_taken_twice(steps in vec(step(), 0..60)) {
        let mut run = Run::new();
        run.edit(&[Act::Exclusive { on: true }], 0);
        for (step, id) in steps.iter().zip(1..) {
            match step {
                Step::Edit(acts) => run.edit(acts, id),
                Step::Reload => run.reload(),
                Step::Replay => run.replay(),
            }
        }
    }
}

fn block(id: u64, x: i32) -> Operation {
    Operation::Create {
        id: ObjectId::from_bytes(u128::from(id).to_be_bytes()),
        parent: Target::Handle(Handle::ROOT),
        kind: Kind::Block,
        transform: Transform::new([x, 0, 0], Rotation::IDENTITY, [1.0; 3]).unwrap(),
        props: Props::default(),
    }
}

fn shift(handle: u32, x: i32) -> Operation {
    let to = Transform::new([x, 0, 0], Rotation::IDENTITY, [1.0; 3]).unwrap();
    let patch = MovePatch::new(Parts::POSITION, to);
    Operation::Move { target: Target::Handle(Handle(handle)), patch }
}

fn exclusive(on: bool) -> Operation {
    let patch = PropsPatch::new(vec![(key(Object::EXCLUSIVE_KEY), Some(Value::bool(on)))]).unwrap();
    Operation::Update { target: Target::Handle(Handle::ROOT), patch }
}

fn refused(code: Code, operation: u32) -> Result<(), Refusal> {
    Err(Refusal { code, operation: Some(operation) })
}

#[test]
fn two_blocks_change_places_in_a_batch_and_not_one_by_one() {
    let mut run = Run::new();
    run.apply(&Edit::Batch(vec![exclusive(true), block(1, 0), block(2, 1_000)])).unwrap();
    let alone = Err(Refusal { code: Code::CellTaken, operation: None });
    assert_eq!(run.apply(&Edit::One(shift(1, 1_999))), alone);
    run.apply(&Edit::Batch(vec![shift(1, 1_000), shift(2, 0)])).unwrap();
    // The last that is in the way is named.
    let batch = Edit::Batch(vec![block(3, 5_000), shift(1, 5_000), shift(2, 9_000)]);
    assert_eq!(run.apply(&batch), refused(Code::CellTaken, 1));
}

#[test]
fn cells_become_exclusive_where_nothing_overlaps_and_are_free_again() {
    let mut run = Run::new();
    run.apply(&Edit::Batch(vec![block(1, 0), block(2, 1)])).unwrap();
    let batch = Edit::Batch(vec![block(3, 9_000), exclusive(true)]);
    assert_eq!(run.apply(&batch), refused(Code::CellsOverlap, 1));
    run.apply(&Edit::Batch(vec![exclusive(true), shift(2, 1_000)])).unwrap();
    assert_eq!(run.apply(&Edit::Batch(vec![block(3, 0)])), refused(Code::CellTaken, 0));
    run.apply(&Edit::Batch(vec![exclusive(false), block(3, 0)])).unwrap();
}

/// A million cells are not emptied and filled again, a thousand times over, for
/// one that is taken.
#[test]
fn what_is_refused_costs_no_more_than_it_asks_for() {
    let mut run = Run::new();
    let cells = Value::parse(&[0x83, 16, 16, 16], &ValueLimits::NONE).unwrap();
    let cells = Props::from_entries(vec![(key(Object::CELLS_KEY), cells)], &ValueLimits::NONE);
    let cells = cells.unwrap();
    let group = ObjectId::from_bytes([9; 16]);
    let at_root = |id, x: i32, kind, props: &Props| Operation::Create {
        id,
        parent: Target::Handle(Handle::ROOT),
        kind,
        transform: Transform::new([x, 0, 0], Rotation::IDENTITY, [1.0; 3]).unwrap(),
        props: props.clone(),
    };
    let groups = at_root(group, 0, Kind::Group, &Props::default());
    run.apply(&Edit::Batch(vec![exclusive(true), groups, block(1, -5_000)])).unwrap();
    for sixteen in 0..16_i32 {
        let blocks = (16 * sixteen..16 * (sixteen + 1)).map(|nth| {
            let id = ObjectId::from_bytes((0x1000 + u128::from(nth.unsigned_abs())).to_be_bytes());
            let Operation::Create { transform, .. } = block(0, nth * 16_000) else { panic!() };
            let (parent, kind, props) = (Target::Id(group), Kind::Block, cells.clone());
            Operation::Create { id, parent, kind, transform, props }
        });
        run.apply(&Edit::Batch(blocks.collect())).unwrap();
    }
    let delete = Operation::Delete { target: Target::Id(group), mode: DeleteMode::Subtree };
    let batch = Edit::Batch(vec![delete, block(2, -5_000)]);
    for _ in 0..1_000 {
        assert_eq!(run.apply(&batch), refused(Code::CellTaken, 1));
    }
}

#[test]
fn each_bound_has_its_code() {
    let few = |limit: fn(&mut WorldLimits)| {
        let mut run = Run::new();
        limit(&mut run.limits);
        run.apply(&Edit::One(exclusive(true))).unwrap();
        run
    };
    let wide = |id, x: i32| {
        let Operation::Create { id, parent, kind, transform, .. } = block(id, x) else { panic!() };
        let cells = Value::parse(&[0x83, 4, 1, 1], &ValueLimits::NONE).unwrap();
        let props = vec![(key(Object::CELLS_KEY), cells)];
        let props = Props::from_entries(props, &ValueLimits::NONE).unwrap();
        Operation::Create { id, parent, kind, transform, props }
    };
    let batch = || Edit::Batch(vec![block(1, 0), wide(2, 5_000)]);
    let mut run = few(|limits| limits.max_footprint_cells = 3);
    assert_eq!(run.apply(&batch()), refused(Code::FootprintInvalid, 1));
    let mut run = few(|limits| limits.max_edit_cells = 4);
    assert_eq!(run.apply(&batch()), refused(Code::TouchesTooMany, 1));
    let mut run = few(|limits| limits.max_occupied_cells = 4);
    assert_eq!(run.apply(&batch()), refused(Code::TooManyCells, 1));
    run.apply(&Edit::Batch(vec![wide(2, 5_000)])).unwrap();
    let full = Err(Refusal { code: Code::TooManyCells, operation: None });
    assert_eq!(run.apply(&Edit::One(block(1, 0))), full);
    // Moving what is there takes none.
    run.apply(&Edit::One(shift(1, 0))).unwrap();
}
