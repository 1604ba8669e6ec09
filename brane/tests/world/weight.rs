//! What an edit may weigh, and that what it weighs is what it takes in the
//! journal at most.

use avvy_brane::{World, journal};
use avvy_model::{
    BraneId, ClientId, Code, Counter, DeleteMode, Edit, EditId, Event, Handle, Kind, ObjectId,
    Operation, Principal, PropKey, Props, PropsPatch, Refusal, Role, Seq, Target, TraceId,
    Transform, UserId, Value, ValueLimits, WorldLimits, weight,
};
use proptest::prelude::*;

use crate::model::{self, Naive};
use crate::script::{edit, script, user};

const OWNER: Principal =
    Principal { user: UserId::from_bytes([1; 16]), ceiling: Role::Owner, invited: true };

fn limits(max_event_bytes: usize) -> WorldLimits {
    WorldLimits { max_event_bytes, ..WorldLimits::default() }
}

fn brane() -> BraneId {
    BraneId::from_bytes([0xbb; 16])
}

/// With the longest fields that an event can have.
fn event(seq: Seq, changes: avvy_model::Changes) -> Event {
    let edit = EditId { client: ClientId::from_bytes([7; 16]), counter: Counter(u64::MAX) };
    let trace = Some(TraceId::from_bytes([8; 16]));
    Event { seq, at_ms: u64::MAX, by: user(1), edit, trace, changes }
}

proptest! {
    #[test]
    fn no_edit_takes_more_than_it_may(steps in script(1..60), max in 200..2_000usize) {
        let mut world = World::new(brane(), user(1));
        let mut naive = Naive::new(model::root(ObjectId::new(brane().uuid()), user(1)));
        for step in &steps {
            let Some((who, edit)) = edit(step, &naive) else { continue };
            let at = world.seq().next();
            let before = (world.state_hash(), world.next_handle(), world.seq());
            let bounded = world.apply(at, 0, &who, &edit, &limits(max));
            let is_too_large = bounded.as_ref().is_err_and(|r| r.code == Code::EditTooLarge);
            let outcome = if is_too_large {
                prop_assert_eq!(before, (world.state_hash(), world.next_handle(), world.seq()));
                world.apply(at, 0, &who, &edit, &limits(usize::MAX))
            } else {
                bounded
            };
            let Ok(changes) = outcome else { continue };
            naive.follow(&changes);
            let event = event(at, changes);
            let weight = weight::event(&event);
            prop_assert_eq!(weight > max, is_too_large, "{} of {}", weight, max);
            let bytes = journal::encode(std::slice::from_ref(&event)).len();
            prop_assert!(bytes <= weight::CHUNK + weight, "{} of {}", bytes, weight);
        }
    }
}

/// A group with so many objects of 16 KiB in it.
fn loaded(count: u32) -> World {
    let mut world = World::new(brane(), user(1));
    for n in 0..=count {
        let operation = Operation::Create {
            id: ObjectId::from_bytes(u128::from(n).to_be_bytes()),
            parent: Target::Handle(Handle(n.min(1))),
            kind: if n == 0 { Kind::Group } else { Kind::Block },
            transform: Transform::IDENTITY,
            props: heavy(),
        };
        let edit = Edit::One(operation);
        world.apply(world.seq().next(), 0, &OWNER, &edit, &limits(1 << 20)).unwrap();
    }
    world
}

fn key(name: &str) -> PropKey {
    PropKey::new(name, &ValueLimits::default()).unwrap()
}

fn heavy() -> Props {
    let half = Value::text(&"x".repeat(8_100));
    let entries = vec![(key("a"), half.clone()), (key("b"), half)];
    Props::from_entries(entries, &ValueLimits::default()).unwrap()
}

#[test]
fn a_heavy_subtree_is_deleted_in_bites() {
    let mut world = loaded(1_100);
    let delete = |target| {
        let target = Target::Handle(Handle(target));
        Operation::Delete { target, mode: DeleteMode::Subtree }
    };
    let limits = WorldLimits::default();
    let mut apply = |edit: &Edit| {
        let at = world.seq().next();
        world.apply(at, 0, &OWNER, edit, &limits).map(|changes| event(at, changes))
    };
    assert_eq!(apply(&Edit::One(delete(1))), Err(Code::EditTooLarge.into()));
    let all = Edit::Batch((2..1_002).map(delete).collect());
    // 8 MiB hold 511 of them.
    let refused = Refusal { code: Code::EditTooLarge, operation: Some(511) };
    assert_eq!(apply(&all), Err(refused));
    for bite in [2..502, 502..1_002] {
        let event = apply(&Edit::Batch(bite.map(delete).collect())).unwrap();
        assert!(journal::encode(&[event]).len() < 8 << 20);
    }
    assert!(apply(&Edit::One(delete(1))).is_ok());
    assert_eq!(world.len(), 1);
}

#[test]
fn what_an_update_replaces_counts() {
    let mut world = loaded(600);
    let patch = PropsPatch::new(vec![(key("a"), None), (key("b"), None)]).unwrap();
    let update = |n| Operation::Update { target: Target::Handle(Handle(n)), patch: patch.clone() };
    let at = world.seq().next();
    let edit = Edit::Batch((1..=600).map(update).collect());
    let refused = world.apply(at, 0, &OWNER, &edit, &WorldLimits::default());
    assert_eq!(refused.unwrap_err().code, Code::EditTooLarge);
    assert_eq!(world.get(Handle(1)).unwrap().props, heavy());
}
