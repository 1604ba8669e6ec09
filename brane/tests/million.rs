//! A world as large as it may be: built, stored, read again, and taken down.

#![allow(clippy::unwrap_used)]

use avvy_brane::{Clients, World, snapshot};
use avvy_model::{
    BraneId, ClientId, Code, Counter, DeleteMode, Edit, EditId, Epoch, Event, Handle, Kind,
    ObjectId, Operation, Position, Principal, PropKey, Props, Role, Target, Transform, UserId,
    Value, ValueLimits, WorldLimits,
};

const WHO: Principal =
    Principal { user: UserId::from_bytes([1; 16]), ceiling: Role::Owner, invited: true };

fn new_world() -> World {
    World::new(BraneId::from_bytes([0xbb; 16]), WHO.user)
}

fn apply(world: &mut World, edit: &Edit) -> Result<Event, Code> {
    let seq = world.seq().next();
    let limits = WorldLimits::default();
    let changes = world.apply(seq, 0, &WHO, edit, &limits).map_err(|r| r.code)?;
    let edit = EditId { client: ClientId::from_bytes([1; 16]), counter: Counter(seq.0) };
    Ok(Event { seq, at_ms: seq.0, by: WHO.user, edit, trace: None, changes })
}

fn create(n: u32, parent: Handle, kind: Kind) -> Operation {
    let key = PropKey::new("n", &ValueLimits::default()).unwrap();
    let entries = vec![(key, Value::int(n.into()))];
    Operation::Create {
        id: ObjectId::from_bytes((u128::from(n) << 64 | u128::from(n)).to_be_bytes()),
        parent: Target::Handle(parent),
        kind,
        transform: Transform::IDENTITY,
        props: Props::from_entries(entries, &ValueLimits::default()).unwrap(),
    }
}

/// Where objects go: every eighth is a group, and hangs under one of those
/// before it. The first make a chain that is as deep as a world may be.
struct Plan {
    /// The groups that may have children, with their depth.
    groups: Vec<(Handle, u32)>,
    draw: u64,
}

impl Plan {
    fn next(&mut self, n: u32, max_depth: u32) -> Operation {
        let in_chain = n < max_depth;
        self.draw = self.draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let drawn = (self.draw >> 33) as usize % self.groups.len();
        let (parent, depth) = self.groups[if in_chain { self.groups.len() - 1 } else { drawn }];
        let is_group = (in_chain || n.is_multiple_of(8)) && depth + 1 < max_depth;
        if is_group {
            self.groups.push((Handle(n), depth + 1));
        }
        create(n, parent, if is_group { Kind::Group } else { Kind::Block })
    }
}

/// A full world, made in batches as large as they may be.
fn full_world() -> World {
    let limits = WorldLimits::default();
    let mut world = new_world();
    let mut plan = Plan { groups: vec![(Handle::ROOT, 0)], draw: 1 };
    let handles: Vec<u32> = (1..limits.max_objects).collect();
    for batch in handles.chunks(limits.max_batch) {
        let operations = batch.iter().map(|n| plan.next(*n, limits.max_depth)).collect();
        apply(&mut world, &Edit::Batch(operations)).unwrap();
    }
    world
}

fn through_snapshot(world: &mut World) -> World {
    let clients = Clients::new(&WorldLimits::default());
    let position = Position { epoch: Epoch(1), seq: world.seq() };
    let hash = world.state_hash();
    let mut encoder = snapshot::Encoder::new(world.freeze(), clients, position, hash);
    let mut decoder = snapshot::Decoder::new(&WorldLimits::default());
    while let Some(part) = encoder.next_part() {
        decoder.feed(&part).unwrap();
    }
    decoder.finish().unwrap().world
}

#[test]
fn a_full_world_is_stored_read_and_taken_down_in_bites() {
    let limits = WorldLimits::default();
    let mut world = full_world();
    assert_eq!(world.len(), limits.max_objects);
    let one_more = Edit::One(create(limits.max_objects, Handle::ROOT, Kind::Block));
    assert_eq!(apply(&mut world, &one_more), Err(Code::TooManyObjects));

    let mut copy = through_snapshot(&mut world);
    assert_eq!((copy.len(), copy.state_hash()), (world.len(), world.state_hash()));

    // What is too much for one edit goes after what is under it.
    let mut open: Vec<Handle> = world.children(Handle::ROOT).collect();
    let mut bites = 0;
    while let Some(handle) = open.pop() {
        let target = Target::Handle(handle);
        let delete = Operation::Delete { target, mode: DeleteMode::Subtree };
        match apply(&mut world, &Edit::One(delete)) {
            Ok(event) => {
                bites += 1;
                copy.replay(&event).unwrap();
            }
            Err(code) => {
                assert_eq!(code, Code::TouchesTooMany);
                open.push(handle);
                open.extend(world.children(handle));
            }
        }
    }
    assert!(bites >= limits.max_objects as usize / limits.max_touched, "{bites} bites");
    assert_eq!((world.len(), copy.len()), (1, 1));
    assert_eq!(world.state_hash(), new_world().state_hash());
    assert_eq!(copy.state_hash(), world.state_hash());
    assert!(apply(&mut world, &one_more).is_ok(), "there is room again");
}
