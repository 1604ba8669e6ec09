//! The index of portals: random edits, against a look at all objects.

use avvy_brane::{Clients, World, snapshot};
use avvy_model::{
    BraneId, DeleteMode, Edit, Epoch, Handle, Kind, Object, ObjectId, Operation, Portal, Position,
    Principal, PropKey, Props, PropsPatch, Role, Target, Transform, Value, ValueLimits,
    WorldLimits,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::script::user;

const HERE: BraneId = BraneId::from_bytes([0xbb; 16]);

#[derive(Clone, Debug)]
enum Act {
    Create { parent: usize, leads: Leads },
    Lead { nth: usize, leads: Leads },
    Rehang { nth: usize, under: usize },
    Delete { nth: usize, keep: bool },
    TakeBack,
    Reload,
}

#[derive(Clone, Copy, Debug)]
enum Leads {
    Nowhere,
    /// Something that is no id.
    Wrong,
    Elsewhere,
}

impl Leads {
    fn value(self) -> Option<Value> {
        match self {
            Self::Nowhere => None,
            Self::Wrong => Some(Value::text("the hall")),
            Self::Elsewhere => Some(Value::text(&BraneId::from_bytes([7; 16]).to_string())),
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    let nth = any::<usize>;
    let leads = || prop_oneof![Just(Leads::Nowhere), Just(Leads::Wrong), Just(Leads::Elsewhere)];
    prop_oneof![
        4 => (nth(), leads()).prop_map(|(parent, leads)| Act::Create { parent, leads }),
        4 => (nth(), leads()).prop_map(|(nth, leads)| Act::Lead { nth, leads }),
        1 => (nth(), nth()).prop_map(|(nth, under)| Act::Rehang { nth, under }),
        2 => (nth(), any::<bool>()).prop_map(|(nth, keep)| Act::Delete { nth, keep }),
        2 => Just(Act::TakeBack),
        1 => Just(Act::Reload),
    ]
}

fn operation(world: &World, act: &Act, n: u64) -> Operation {
    let target = |nth: usize| {
        let (handle, _) = world.iter().nth(nth % world.len() as usize).unwrap();
        Target::Handle(handle)
    };
    let key = PropKey::new(Object::PORTAL_KEY, &ValueLimits::NONE).unwrap();
    match *act {
        Act::Create { parent, leads } => {
            let entries = leads.value().map(|value| (key, value)).into_iter().collect();
            Operation::Create {
                id: ObjectId::from_bytes(u128::from(n).to_be_bytes()),
                parent: target(parent),
                kind: Kind::Group,
                transform: Transform::IDENTITY,
                props: Props::from_entries(entries, &ValueLimits::NONE).unwrap(),
            }
        }
        Act::Lead { nth, leads } => Operation::Update {
            target: target(nth),
            patch: PropsPatch::new(vec![(key, leads.value())]).unwrap(),
        },
        Act::Rehang { nth, under } => {
            Operation::Reparent { target: target(nth), parent: target(under), transform: None }
        }
        Act::Delete { nth, keep } => {
            let mode = if keep { DeleteMode::KeepChildren } else { DeleteMode::Subtree };
            Operation::Delete { target: target(nth), mode }
        }
        Act::TakeBack | Act::Reload => panic!("no operation"),
    }
}

fn through_snapshot(world: &mut World) -> World {
    let limits = WorldLimits::default();
    let position = Position { epoch: Epoch(1), seq: world.seq() };
    let (frozen, hash) = (world.freeze(), world.state_hash());
    let mut encoder = snapshot::Encoder::new(frozen, Clients::new(&limits), position, hash);
    let mut decoder = snapshot::Decoder::new(&limits);
    while let Some(part) = encoder.next_part() {
        decoder.feed(&part).unwrap();
    }
    decoder.finish().unwrap().world
}

fn check(world: &World) {
    let is_portal = |object: &Object| {
        Portal::of(&object.props).is_some() && object.id != ObjectId::new(HERE.uuid())
    };
    let portals = world.iter().filter(|(_, object)| is_portal(object));
    let portals: Vec<Handle> = portals.map(|(handle, _)| handle).collect();
    assert_eq!(world.portals(None).collect::<Vec<_>>(), portals);
    for (nth, portal) in portals.iter().enumerate() {
        assert_eq!(world.portals(Some(*portal)).collect::<Vec<_>>(), portals[nth + 1..]);
    }
}

proptest! {
    #[test]
    fn every_portal_is_listed_and_nothing_else(acts in vec(act(), 0..60)) {
        let who = Principal { user: user(1), ceiling: Role::Owner, invited: true };
        let mut world = World::new(HERE, user(1));
        let mut done = Vec::new();
        for (act, n) in acts.iter().zip(1..) {
            match act {
                Act::TakeBack => {
                    if let Some(changes) = done.pop() {
                        world.retract(&changes);
                    }
                }
                Act::Reload => world = through_snapshot(&mut world),
                act => {
                    let edit = Edit::One(operation(&world, act, n));
                    let seq = world.seq().next();
                    done.extend(world.apply(seq, 0, &who, &edit, &WorldLimits::default()));
                }
            }
            check(&world);
        }
    }
}
