//! Random edits. Objects are named by a number that is looked up among those
//! that live when the edit is made, so that most edits hit something.

use avvy_model::{
    DeleteMode, Edit, Handle, Kind, MovePatch, ObjectId, Operation, Parts, Principal, PropKey,
    Props, PropsPatch, Role, Rotation, Target, Transform, UserId, Value, ValueLimits,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Naive;

/// Names an object.
#[derive(Clone, Debug)]
pub enum Who {
    /// The n-th of the living, by handle.
    Living(usize),
    /// The n-th of the living, by id.
    LivingById(usize),
    /// One of the ids that creations draw, there or not.
    Drawn(u8),
    /// A handle that may be dead or was never given.
    Any(u32),
}

#[derive(Clone, Debug)]
pub enum Op {
    Create { id: u8, parent: Who, group: bool, transform: Transform, props: Props },
    Update { target: Who, patch: PropsPatch },
    Move { target: Who, patch: MovePatch },
    Reparent { target: Who, parent: Who, transform: Option<Transform> },
    Delete { target: Who, keep: bool },
}

#[derive(Clone, Debug)]
pub enum Step {
    Edit { role: Role, user: u8, ops: Vec<Op>, batch: bool },
    AskHash,
    Freeze,
    Reload,
}

pub fn object_id(n: u8) -> ObjectId {
    ObjectId::from_bytes([n; 16])
}

pub fn user(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

impl Who {
    fn resolve(&self, state: &Naive) -> Target {
        let living = |n: usize| state.objects.iter().nth(n % state.objects.len()).unwrap();
        match self {
            Self::Living(n) => Target::Handle(*living(*n).0),
            Self::LivingById(n) => Target::Id(living(*n).1.id),
            Self::Drawn(n) => Target::Id(object_id(*n)),
            Self::Any(n) => Target::Handle(Handle(*n)),
        }
    }
}

impl Op {
    fn resolve(&self, state: &Naive) -> Operation {
        match self.clone() {
            Self::Create { id, parent, group, transform, props } => Operation::Create {
                id: object_id(id),
                parent: parent.resolve(state),
                kind: if group { Kind::Group } else { Kind::Block },
                transform,
                props,
            },
            Self::Update { target, patch } => {
                Operation::Update { target: target.resolve(state), patch }
            }
            Self::Move { target, patch } => {
                Operation::Move { target: target.resolve(state), patch }
            }
            Self::Reparent { target, parent, transform } => Operation::Reparent {
                target: target.resolve(state),
                parent: parent.resolve(state),
                transform,
            },
            Self::Delete { target, keep } => Operation::Delete {
                target: target.resolve(state),
                mode: if keep { DeleteMode::KeepChildren } else { DeleteMode::Subtree },
            },
        }
    }
}

/// The edit that a step makes in this state, and who makes it.
pub fn edit(step: &Step, state: &Naive) -> Option<(Principal, Edit)> {
    let Step::Edit { role, user: n, ops, batch } = step else { return None };
    let mut operations: Vec<_> = ops.iter().map(|op| op.resolve(state)).collect();
    let one = !batch && operations.len() == 1;
    let edit = if one { Edit::One(operations.remove(0)) } else { Edit::Batch(operations) };
    Some((Principal { user: user(*n), ceiling: *role, invited: true }, edit))
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        8 => any::<usize>().prop_map(Who::Living),
        3 => any::<usize>().prop_map(Who::LivingById),
        3 => (1..40u8).prop_map(Who::Drawn),
        1 => prop_oneof![0..60u32, any::<u32>()].prop_map(Who::Any),
    ]
}

/// Also such as leave the range when one is put within another.
pub fn transform() -> impl Strategy<Value = Transform> {
    let position = prop_oneof![4 => -50_000..50_000i32, 1 => any::<i32>()];
    let factor = prop_oneof![4 => 0.5..2.0f32, 1 => Just(-1.0), 1 => Just(9_000.0)];
    let quaternion = [-1.0..1.0f64, -1.0..1.0, -1.0..1.0, 0.1..1.0];
    let parts =
        (proptest::array::uniform3(position), quaternion, proptest::array::uniform3(factor));
    parts.prop_map(|(position, q, scale)| {
        Transform::new(position, Rotation::from_quaternion(q).unwrap(), scale).unwrap()
    })
}

fn key() -> impl Strategy<Value = PropKey> {
    prop::sample::select(vec!["a", "b", "cc", "name", "extent"])
        .prop_map(|key| PropKey::new(key, &ValueLimits::default()).unwrap())
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::int),
        any::<f64>().prop_map(Value::float),
        "[a-z]{0,30}".prop_map(|text| Value::text(&text)),
        Just(Value::null()),
    ]
}

pub fn props() -> impl Strategy<Value = Props> {
    prop::collection::btree_map(key(), value(), 0..4).prop_map(|entries| {
        Props::from_entries(entries.into_iter().collect(), &ValueLimits::default()).unwrap()
    })
}

pub fn patch() -> impl Strategy<Value = PropsPatch> {
    prop::collection::btree_map(key(), prop::option::of(value()), 0..4)
        .prop_map(|entries| PropsPatch::new(entries.into_iter().collect()).unwrap())
}

fn op() -> impl Strategy<Value = Op> {
    let moved = (1..8u8, transform())
        .prop_map(|(bits, to)| MovePatch::new(Parts::from_bits(bits).unwrap(), to));
    prop_oneof![
        5 => (1..40u8, who(), prop::bool::weighted(0.7), transform(), props()).prop_map(
            |(id, parent, group, transform, props)| {
                Op::Create { id, parent, group, transform, props }
            }
        ),
        2 => (who(), patch()).prop_map(|(target, patch)| Op::Update { target, patch }),
        2 => (who(), moved).prop_map(|(target, patch)| Op::Move { target, patch }),
        4 => (who(), who(), prop::option::of(transform())).prop_map(
            |(target, parent, transform)| Op::Reparent { target, parent, transform }
        ),
        2 => (who(), any::<bool>()).prop_map(|(target, keep)| Op::Delete { target, keep }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let role = prop_oneof![
        8 => Just(Role::Owner), 4 => Just(Role::Builder), 1 => Just(Role::Visitor)
    ];
    let edit = prop_oneof![
        6 => vec(op(), 1).prop_map(|ops| (ops, false)),
        3 => vec(op(), 0..6).prop_map(|ops| (ops, true)),
    ];
    prop_oneof![
        16 => (role, 1..4u8, edit)
            .prop_map(|(role, user, (ops, batch))| Step::Edit { role, user, ops, batch }),
        1 => Just(Step::AskHash),
        1 => Just(Step::Freeze),
        1 => Just(Step::Reload),
    ]
}

pub fn script(steps: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), steps)
}
