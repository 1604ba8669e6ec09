//! Rights in a small world: whether edits are allowed, and rulings take effect.

#![allow(clippy::unwrap_used)]

mod edits;
mod rulings;

use avvy_model::{
    BraneId, ClientId, Code, Counter, Cuboid, DeleteMode, Edit, EditId, Event, Handle, Kind,
    MovePatch, ObjectId, Operation, POSITION_UNIT_M, Parts, PropKey, Props, PropsPatch, Reach,
    Refusal, Ruling, Seq, Target, Transform, Value, ValueLimits, Verb, WorldLimits,
};

use super::*;
use crate::World;

const OWNER: UserId = UserId::from_bytes([1; 16]);
const ANN: UserId = UserId::from_bytes([2; 16]);
const BOB: UserId = UserId::from_bytes([3; 16]);
const NOW_MS: u64 = 1_000_000;

fn as_role(user: UserId, ceiling: Role) -> Principal {
    Principal { user, ceiling, invited: true }
}

fn anybody(user: UserId) -> Principal {
    as_role(user, Role::Owner)
}

fn grant_id(n: u8) -> GrantId {
    GrantId::from_bytes([n; 16])
}

fn custom(name: &str) -> CustomRole {
    match name.parse().unwrap() {
        RoleName::Custom(name) => name,
        RoleName::Known(_) => panic!("{name} is known"),
    }
}

fn at(x: i32) -> Transform {
    let identity = Transform::IDENTITY;
    Transform::new([x, 0, 0], identity.rotation, identity.scale()).unwrap()
}

fn key(text: &str) -> PropKey {
    PropKey::new(text, &ValueLimits::default()).unwrap()
}

fn of_prototype(n: u8) -> Props {
    let id = PrototypeText(n).to_string();
    let entry = (key(avvy_model::Object::PROTOTYPE_KEY), Value::text(&id));
    Props::from_entries(vec![entry], &ValueLimits::default()).unwrap()
}

struct PrototypeText(u8);

impl std::fmt::Display for PrototypeText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        avvy_model::PrototypeId::from_bytes([self.0; 16]).fmt(f)
    }
}

/// A world with a group 1 at x = 1,000, a block 2 in it at x = 10, a block 3
/// at x = -5 under the root, and a block 4 of prototype 7.
struct Bench {
    world: World,
    limits: WorldLimits,
    events: Vec<Event>,
}

impl Bench {
    fn new() -> Self {
        let world = World::new(BraneId::from_bytes([0xbb; 16]), OWNER);
        let mut bench = Self { world, limits: WorldLimits::default(), events: Vec::new() };
        for (id, parent, kind, x, props) in [
            (1, 0, Kind::Group, 1_000, Props::default()),
            (2, 1, Kind::Block, 10, Props::default()),
            (3, 0, Kind::Block, -5, Props::default()),
            (4, 0, Kind::Block, 0, of_prototype(7)),
        ] {
            let operation = Operation::Create {
                id: ObjectId::from_bytes([id; 16]),
                parent: Target::Handle(Handle(parent)),
                kind,
                transform: at(x),
                props,
            };
            bench.edit(&anybody(OWNER), operation).unwrap();
        }
        bench
    }

    fn apply(&mut self, who: &Principal, now_ms: u64, edit: &Edit) -> Result<(), Code> {
        let seq = self.world.seq().next();
        let applied = self.world.apply(seq, now_ms, who, edit, &self.limits);
        let changes = applied.map_err(|Refusal { code, .. }| code)?;
        let edit = EditId { client: ClientId::from_bytes([1; 16]), counter: Counter(seq.0) };
        let (at_ms, by, trace) = (now_ms, who.user, None);
        self.events.push(Event { seq, at_ms, by, edit, trace, changes });
        Ok(())
    }

    fn edit(&mut self, who: &Principal, operation: Operation) -> Result<(), Code> {
        self.apply(who, NOW_MS, &Edit::One(operation))
    }

    fn rule_at(&mut self, who: &Principal, now_ms: u64, ruling: Ruling) -> Result<(), Code> {
        self.apply(who, now_ms, &Edit::Rule(Box::new(ruling)))
    }

    fn rule(&mut self, who: &Principal, ruling: Ruling) -> Result<(), Code> {
        self.rule_at(who, NOW_MS, ruling)
    }

    /// The owner appoints.
    fn appoint(&mut self, user: UserId, role: RoleName) {
        self.rule(&anybody(OWNER), Ruling::Appoint { user, role: Some(role) }).unwrap();
    }

    /// The owner grants this to Ann, who is a visitor.
    fn grant(&mut self, id: u8, verbs: &[Verb], reach: Reach) {
        self.appoint(ANN, Role::Visitor.into());
        let (id, verbs) = (grant_id(id), Verbs::of(verbs));
        let grant = Ruling::Grant { id, to: ANN, verbs, reach, until_ms: None };
        self.rule(&anybody(OWNER), grant).unwrap();
    }

    /// Whether Ann may; the world stays as it is.
    fn may(&mut self, operation: Operation) -> bool {
        let seq = self.world.seq().next();
        let edit = Edit::One(operation);
        match self.world.apply(seq, NOW_MS, &anybody(ANN), &edit, &self.limits) {
            Ok(changes) => {
                self.world.retract(&changes);
                true
            }
            Err(refusal) => {
                assert_eq!(refusal.code, Code::NotPermitted, "{edit:?}");
                false
            }
        }
    }
}

fn target(handle: u32) -> Target {
    Target::Handle(Handle(handle))
}

fn create_in(parent: u32, x: i32, props: Props) -> Operation {
    Operation::Create {
        id: ObjectId::from_bytes([99; 16]),
        parent: target(parent),
        kind: Kind::Block,
        transform: at(x),
        props,
    }
}

fn set(handle: u32, name: &str) -> Operation {
    let patch = PropsPatch::new(vec![(key(name), Some(Value::null()))]).unwrap();
    Operation::Update { target: target(handle), patch }
}

fn move_to(handle: u32, x: i32) -> Operation {
    let patch = MovePatch::new(Parts::POSITION, at(x));
    Operation::Move { target: target(handle), patch }
}

fn hang(handle: u32, parent: u32, x: i32) -> Operation {
    let (target, parent) = (target(handle), target(parent));
    Operation::Reparent { target, parent, transform: Some(at(x)) }
}

fn delete(handle: u32) -> Operation {
    Operation::Delete { target: target(handle), mode: DeleteMode::Subtree }
}

/// One operation for each verb.
fn samples() -> [(Verb, Operation); 6] {
    [
        (Verb::Create, create_in(0, 0, Props::default())),
        (Verb::Move, move_to(3, 1)),
        (Verb::Move, hang(3, 1, 0)),
        (Verb::Edit, set(3, "colour")),
        (Verb::Delete, delete(3)),
        (Verb::Configure, set(0, "sky")),
    ]
}
