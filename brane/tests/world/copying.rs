//! A copy of a world: random worlds against what every object has to be, and
//! a large one.

use std::collections::BTreeMap;

use avvy_brane::{CopyOf, Copying, World, journal};
use avvy_model::{
    Attachment, BraneId, ClientId, DeleteMode, Edit, Event, Grid, Handle, Kind, Object, ObjectId,
    Operation, Portal, Principal, PropKey, Props, PropsPatch, Renaming, Role, Seq, Slot, StateHash,
    Target, Transform, Value, ValueLimits, WorldLimits, object_digest, weight,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::script::user;

const HERE: BraneId = BraneId::from_bytes([0xbb; 16]);
const RENAMING: Renaming =
    Renaming { key: [7; 16], from: HERE, to: BraneId::from_bytes([0xcc; 16]) };

fn of() -> CopyOf {
    let client = ClientId::from_bytes([6; 16]);
    CopyOf { renaming: RENAMING, owner: user(2), client, at_ms: 9, trace: None }
}

fn key(text: &str) -> PropKey {
    PropKey::new(text, &ValueLimits::NONE).unwrap()
}

fn apply(world: &mut World, operation: Operation) -> bool {
    let who = Principal { user: user(1), ceiling: Role::Owner, invited: true };
    let seq = world.seq().next();
    world.apply(seq, 0, &who, &Edit::One(operation), &WorldLimits::default()).is_ok()
}

fn set(world: &mut World, handle: Handle, entries: Vec<(PropKey, Value)>) -> bool {
    let entries = entries.into_iter().map(|(key, value)| (key, Some(value)));
    let patch = PropsPatch::new(entries.collect()).unwrap();
    apply(world, Operation::Update { target: Target::Handle(handle), patch })
}

fn create(world: &mut World, n: u32, parent: Handle) -> Handle {
    let handle = world.next_handle();
    let is_done = apply(
        world,
        Operation::Create {
            id: ObjectId::from_bytes(u128::from(n).to_be_bytes()),
            parent: Target::Handle(parent),
            kind: Kind::Group,
            transform: Transform::IDENTITY,
            props: Props::default(),
        },
    );
    assert!(is_done);
    handle
}

/// The log of a copy, through the bytes of the journal.
fn events(world: &World) -> (Grid, Vec<Event>) {
    let mut copying = Copying::new(world.freeze(), of());
    let mut events = Vec::new();
    while let Some(event) = copying.next_event() {
        events.extend(journal::decode(&journal::encode(&[event])).unwrap());
    }
    (copying.grid(), events)
}

fn copy(world: &World) -> World {
    let (grid, events) = events(world);
    let mut copy = World::with_grid(RENAMING.to, user(2), grid);
    events.iter().for_each(|event| copy.replay(event).unwrap());
    copy
}

/// The hash that a copy has to have, from the objects of both: handles are
/// found by ids.
fn expected(world: &World, copy: &World) -> StateHash {
    let handles: BTreeMap<ObjectId, Handle> =
        copy.iter().map(|(handle, object)| (object.id, handle)).collect();
    let mut hash = StateHash::default();
    for (handle, object) in world.iter() {
        let parent = world.get(object.parent).unwrap().id;
        let owner = if handle == Handle::ROOT { user(2) } else { object.owner };
        let renamed = Object {
            id: RENAMING.object(object.id),
            parent: handles[&RENAMING.object(parent)],
            owner,
            props: RENAMING.props(&object.props),
            ..object.clone()
        };
        hash.add(object_digest(handles[&renamed.id], &renamed));
    }
    hash
}

#[derive(Clone, Debug)]
enum Act {
    Create(usize),
    Rehang(usize, usize),
    Offer(usize),
    Attach(usize, usize),
    LeadHere(usize, usize),
    LeadAway(usize),
    Delete(usize),
    Resize(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let nth = any::<usize>;
    prop_oneof![
        4 => nth().prop_map(Act::Create),
        3 => (nth(), nth()).prop_map(|(nth, under)| Act::Rehang(nth, under)),
        2 => nth().prop_map(Act::Offer),
        3 => (nth(), nth()).prop_map(|(nth, to)| Act::Attach(nth, to)),
        2 => (nth(), nth()).prop_map(|(nth, to)| Act::LeadHere(nth, to)),
        1 => nth().prop_map(Act::LeadAway),
        1 => nth().prop_map(Act::Delete),
        1 => any::<u8>().prop_map(Act::Resize),
    ]
}

fn act_on(world: &mut World, act: &Act, n: u32) {
    let nth = |world: &World, nth: usize| {
        let (handle, object) = world.iter().nth(nth % world.len() as usize).unwrap();
        (handle, object.id)
    };
    let portal = |to, exit| Portal { to, exit: Some(exit) }.entries();
    match *act {
        Act::Create(parent) => {
            let parent = nth(world, parent).0;
            create(world, n, parent);
        }
        Act::Rehang(at, under) => {
            let (target, parent) = (nth(world, at).0, nth(world, under).0);
            let (target, parent) = (Target::Handle(target), Target::Handle(parent));
            apply(world, Operation::Reparent { target, parent, transform: None });
        }
        Act::Offer(at) => {
            let slots = Value::from_canonical(&[0x83, 1, 2, 3]).unwrap();
            let handle = nth(world, at).0;
            set(world, handle, vec![(key(Object::SLOTS_KEY), slots)]);
        }
        Act::Attach(at, to) => {
            let to = nth(world, to).1;
            let slot = Slot::new((n % 3) as u8 + 1).unwrap();
            let handle = nth(world, at).0;
            set(world, handle, vec![Attachment { to, slot }.entry().unwrap()]);
        }
        Act::LeadHere(at, to) => {
            let (handle, exit) = (nth(world, at).0, nth(world, to).1);
            set(world, handle, portal(HERE, exit));
        }
        Act::LeadAway(at) => {
            let (handle, exit) = nth(world, at);
            set(world, handle, portal(BraneId::from_bytes([5; 16]), exit));
        }
        Act::Delete(at) => {
            let target = Target::Handle(nth(world, at).0);
            apply(world, Operation::Delete { target, mode: DeleteMode::Subtree });
        }
        Act::Resize(n) => {
            let size = Value::int(i64::from(n) + 1);
            set(world, Handle::ROOT, vec![(key(Grid::SIZE_KEY), size)]);
        }
    }
}

proptest! {
    #[test]
    fn a_copy_is_the_same_world_under_other_ids(acts in vec(act(), 0..60)) {
        let mut world = World::new(HERE, user(1));
        for (act, n) in acts.iter().zip(1..) {
            act_on(&mut world, act, n);
        }
        let mut copy = copy(&world);
        prop_assert_eq!(copy.len(), world.len());
        prop_assert_eq!(copy.state_hash(), expected(&world, &copy));
        // Handles are given out densely, and what refers to an object follows.
        prop_assert_eq!(copy.next_handle().0, copy.len());
        for (_, object) in world.iter() {
            let carried = |world: &World, id| {
                let attached = world.attached_to(id).into_iter();
                attached.map(|(slot, at)| (slot, world.get(at).unwrap().id)).collect::<Vec<_>>()
            };
            let mut expected = carried(&world, object.id);
            expected.iter_mut().for_each(|(_, id)| *id = RENAMING.object(*id));
            let mut found = carried(&copy, RENAMING.object(object.id));
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
        prop_assert_eq!(copy.portals(None).count(), world.portals(None).count());
    }
}

/// As deep as worlds are, with parents that came after their children.
#[test]
fn depth_and_late_parents_are_copied() {
    let mut world = World::new(HERE, user(1));
    let depth = WorldLimits::default().max_depth;
    let groups: Vec<Handle> = (1..=depth).map(|n| create(&mut world, n, Handle::ROOT)).collect();
    for pair in groups.windows(2) {
        let (target, parent) = (Target::Handle(pair[0]), Target::Handle(pair[1]));
        assert!(apply(&mut world, Operation::Reparent { target, parent, transform: None }));
    }
    let mut copy = copy(&world);
    assert_eq!(copy.state_hash(), expected(&world, &copy));
}

#[test]
fn a_hundred_thousand_objects_come_in_events_of_a_windows_size() {
    let mut world = World::new(HERE, user(1));
    let groups: Vec<Handle> = (1..=100).map(|n| create(&mut world, n, Handle::ROOT)).collect();
    for n in 101..=100_000 {
        create(&mut world, n, groups[n as usize % groups.len()]);
    }
    let (_, events) = events(&world);
    let is_bounded = |event: &Event| weight::event(event) <= 256 * 1024;
    assert!(events.iter().all(is_bounded) && events.len() < 200, "{} events", events.len());
    assert_eq!(events.last().map(|event| event.seq), Some(Seq(events.len() as u64)));
    let mut copy = copy(&world);
    assert_eq!(copy.len(), 100_001);
    assert_eq!(copy.state_hash(), expected(&world, &copy));
}
