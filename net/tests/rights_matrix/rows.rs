//! The rows of the matrix that are edits: one of every kind, and what it takes.
//! A new kind does not compile here before it is named, and then fails until
//! there is a row.

use std::collections::BTreeSet;

use avvy_model::{
    Code, CustomRole, DeleteMode, Edit, Follow, FollowStep, GrantId, Handle, Kind, MovePatch,
    ObjectId, Operation, Parts, PropKey, Props, PropsPatch, PrototypeId, Reach, Role, RoleName,
    Ruling, Sanction, Target, Transform, UserId, Value, ValueLimits, Verb, Verbs,
};
use uuid::Uuid;

/// A group that is there from the beginning.
pub const HALL: Handle = Handle(1);

/// What the role that is removed, and the grant that is taken back, allows.
const SPARE: &[Verb] = &[Verb::Move];

/// One edit of every kind, done to this object, and to people who are new in
/// each call.
pub fn rows(object: Handle) -> Vec<Edit> {
    let operations = operations(object).into_iter().map(Edit::One);
    let rulings = rulings().into_iter().map(|ruling| Edit::Rule(Box::new(ruling)));
    // No client can send one: on the wire it is a batch like any other.
    let prototype = PrototypeId::new(Uuid::new_v4());
    let follow = Follow::new(prototype, FollowStep::Drop, Vec::new()).unwrap();
    operations.chain(rulings).chain([Edit::Follow(Box::new(follow))]).collect()
}

fn operations(object: Handle) -> Vec<Operation> {
    let target = Target::Handle(object);
    let root = Target::Handle(Handle::ROOT);
    let prototype = Uuid::new_v4().to_string();
    vec![
        create(),
        Operation::Update { target, patch: patch("lit", Value::int(1)) },
        Operation::Update { target, patch: patch("prototype", Value::text(&prototype)) },
        Operation::Update { target: root, patch: patch("lit", Value::int(1)) },
        Operation::Move { target, patch: MovePatch::new(Parts::POSITION, Transform::IDENTITY) },
        Operation::Reparent { target, parent: Target::Handle(HALL), transform: None },
        Operation::Delete { target, mode: DeleteMode::Subtree },
        Operation::Delete { target, mode: DeleteMode::KeepChildren },
    ]
}

/// A group of its own.
pub fn create() -> Operation {
    Operation::Create {
        id: ObjectId::new(Uuid::new_v4()),
        parent: Target::Handle(Handle::ROOT),
        kind: Kind::Group,
        transform: Transform::IDENTITY,
        props: Props::default(),
    }
}

fn patch(key: &str, value: Value) -> PropsPatch {
    PropsPatch::new(vec![(PropKey::new(key, &ValueLimits::NONE).unwrap(), Some(value))]).unwrap()
}

fn rulings() -> Vec<Ruling> {
    let user = UserId::new(Uuid::new_v4());
    let id = GrantId::new(Uuid::new_v4());
    let for_good = Some(Sanction { until_ms: None });
    vec![
        Ruling::Everybody { role: Role::Visitor.into() },
        Ruling::Role { name: custom("fresh"), verbs: Some(Verbs::of(&[Verb::Delete])) },
        Ruling::Role { name: custom("spare"), verbs: None },
        Ruling::Appoint { user, role: Some(Role::Editor.into()) },
        Ruling::Appoint { user, role: None },
        Ruling::Ban { user, ban: for_good },
        Ruling::Ban { user, ban: None },
        Ruling::Mute { user, mute: for_good },
        Ruling::Mute { user, mute: None },
        grant(id, user, &[Verb::Edit]),
        Ruling::Revoke { id },
    ]
}

fn grant(id: GrantId, to: UserId, verbs: &[Verb]) -> Ruling {
    Ruling::Grant { id, to, verbs: Verbs::of(verbs), reach: Reach::default(), until_ms: None }
}

/// A role of the brane's own.
pub fn custom(name: &str) -> CustomRole {
    match name.parse() {
        Ok(RoleName::Custom(name)) => name,
        other => panic!("{name}: {other:?}"),
    }
}

/// What has to be there for this edit, beside the object.
pub fn ground(edit: &Edit) -> Option<Ruling> {
    let Edit::Rule(ruling) = edit else { return None };
    match &**ruling {
        Ruling::Role { name, verbs: None } => {
            Some(Ruling::Role { name: name.clone(), verbs: Some(Verbs::of(SPARE)) })
        }
        Ruling::Revoke { id } => Some(grant(*id, UserId::new(Uuid::new_v4()), SPARE)),
        _ => None,
    }
}

/// How an edit by somebody is refused who may do this much; `None`: it is
/// applied.
pub fn refusal(edit: &Edit, own: Verbs) -> Option<Code> {
    let not_permitted = |needed: Verbs| (!own.covers(needed)).then_some(Code::NotPermitted);
    match edit {
        Edit::One(operation) => not_permitted(needed(operation)),
        Edit::Batch(operations) => operations.iter().map(needed).find_map(not_permitted),
        Edit::Rule(ruling) => not_permitted(Verbs::of(&[Verb::Govern]))
            .or_else(|| (!own.covers(ruled_over(ruling))).then_some(Code::BeyondOwn)),
        Edit::Follow(_) => {
            not_permitted(Verbs::of(&[Verb::Configure])).or(Some(Code::PropertyReserved))
        }
    }
}

/// What an operation takes.
fn needed(operation: &Operation) -> Verbs {
    match operation {
        Operation::Create { .. } => Verbs::of(&[Verb::Create]),
        Operation::Update { target: Target::Handle(Handle::ROOT), .. } => {
            Verbs::of(&[Verb::Configure])
        }
        Operation::Update { patch, .. } if names_prototype(patch) => {
            Verbs::of(&[Verb::Edit, Verb::Create])
        }
        Operation::Update { .. } => Verbs::of(&[Verb::Edit]),
        Operation::Move { .. } | Operation::Reparent { .. } => Verbs::of(&[Verb::Move]),
        Operation::Delete { mode: DeleteMode::Subtree | DeleteMode::KeepChildren, .. } => {
            Verbs::of(&[Verb::Delete])
        }
    }
}

fn names_prototype(patch: &PropsPatch) -> bool {
    patch.entries().iter().any(|(key, _)| key.as_str() == "prototype")
}

/// What a ruling gives or takes, which whoever rules has to have.
fn ruled_over(ruling: &Ruling) -> Verbs {
    match ruling {
        Ruling::Everybody { role } => verbs_of(Some(role)),
        Ruling::Role { verbs, .. } => verbs.unwrap_or(Verbs::of(SPARE)),
        Ruling::Appoint { role, .. } => verbs_of(role.as_ref()),
        // It is about somebody who has the role of everybody, which is none.
        Ruling::Ban { .. } | Ruling::Mute { .. } => Verbs::NONE,
        Ruling::Grant { verbs, .. } => *verbs,
        Ruling::Revoke { .. } => Verbs::of(SPARE),
    }
}

fn verbs_of(role: Option<&RoleName>) -> Verbs {
    match role {
        Some(RoleName::Known(role)) => role.verbs(),
        Some(RoleName::Custom(_)) | None => Verbs::NONE,
    }
}

/// The variants of an enum, by name, and which of them a value is.
macro_rules! variants {
    ($name:ident, $all:ident, $type:ident: $($variant:ident)+) => {
        const $all: &[&str] = &[$(concat!(stringify!($type), "::", stringify!($variant))),+];

        fn $name(value: &$type) -> &'static str {
            match value {
                $($type::$variant { .. } => concat!(stringify!($type), "::", stringify!($variant)),)+
            }
        }
    };
}

variants!(of_operation, OPERATIONS, Operation: Create Update Move Reparent Delete);
variants!(of_deletion, DELETIONS, DeleteMode: Subtree KeepChildren);
variants!(of_ruling, RULINGS, Ruling: Everybody Role Appoint Ban Mute Grant Revoke);
variants!(of_edit, EDITS, Edit: One Batch Rule Follow);

#[test]
fn every_kind_of_edit_has_a_row() {
    // What is one edit comes as a batch, too: see `ways`.
    let mut found = BTreeSet::from(["Edit::Batch"]);
    let mut verbs = Verbs::NONE;
    for edit in rows(HALL) {
        found.insert(of_edit(&edit));
        match &edit {
            Edit::Rule(ruling) => drop(found.insert(of_ruling(ruling))),
            Edit::One(_) | Edit::Batch(_) | Edit::Follow(_) => {}
        }
        for operation in edit.operations() {
            found.insert(of_operation(operation));
            verbs = verbs.or(needed(operation));
            if let Operation::Delete { mode, .. } = operation {
                found.insert(of_deletion(mode));
            }
        }
    }
    let expected: BTreeSet<_> =
        [OPERATIONS, DELETIONS, RULINGS, EDITS].concat().into_iter().collect();
    assert_eq!(found, expected);
    assert_eq!(verbs.or(Verbs::of(&[Verb::Govern])), Verbs::ALL);
}
