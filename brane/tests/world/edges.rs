//! Single cases at the edges of the rules, by name.

use avvy_brane::{Diff, ReplayError, World};
use avvy_model::{
    BraneId, Change, Changes, ClientId, Code, Counter, DeleteMode, Edit, EditId, Event, Handle,
    Kind, MovePatch, ObjectId, Operation, Parts, Principal, PropKey, Props, PropsPatch, Refusal,
    Role, Seq, Target, Transform, UserId, Value, ValueLimits, WorldLimits,
};

struct Bench {
    world: World,
    limits: WorldLimits,
    events: Vec<Event>,
}

fn user() -> UserId {
    UserId::from_bytes([1; 16])
}

fn handle(n: u32) -> Target {
    Target::Handle(Handle(n))
}

fn create(id: u16, parent: u32, kind: Kind) -> Operation {
    Operation::Create {
        id: ObjectId::from_bytes(u128::from(id).to_be_bytes()),
        parent: handle(parent),
        kind,
        transform: Transform::IDENTITY,
        props: Props::default(),
    }
}

fn delete(target: u32, mode: DeleteMode) -> Operation {
    Operation::Delete { target: handle(target), mode }
}

fn reparent(target: u32, parent: u32) -> Operation {
    Operation::Reparent { target: handle(target), parent: handle(parent), transform: None }
}

fn a_move(target: u32, x: i32) -> Operation {
    let identity = Transform::IDENTITY;
    let to = Transform::new([x, 0, 0], identity.rotation, identity.scale()).unwrap();
    Operation::Move { target: handle(target), patch: MovePatch::new(Parts::POSITION, to) }
}

fn set(target: Target, key: &str, value: Value) -> Operation {
    let key = PropKey::new(key, &ValueLimits::default()).unwrap();
    let patch = PropsPatch::new(vec![(key, Some(value))]).unwrap();
    Operation::Update { target, patch }
}

impl Bench {
    fn new() -> Self {
        let world = World::new(BraneId::from_bytes([0xbb; 16]), user());
        Self { world, limits: WorldLimits::default(), events: Vec::new() }
    }

    fn apply_as(&mut self, role: Role, edit: &Edit) -> Result<Changes, Refusal> {
        let seq = self.world.seq().next();
        let who = Principal { user: user(), ceiling: role, invited: true };
        let changes = self.world.apply(seq, 0, &who, edit, &self.limits)?;
        let edit = EditId { client: ClientId::from_bytes([1; 16]), counter: Counter(seq.0) };
        let changed = changes.clone();
        self.events.push(Event { seq, at_ms: 0, by: user(), edit, trace: None, changes: changed });
        Ok(changes)
    }

    fn one(&mut self, operation: Operation) -> Result<Changes, Refusal> {
        self.apply_as(Role::Owner, &Edit::One(operation))
    }

    /// A chain of groups, each in the one before; the handles go from 1.
    fn chain(&mut self, len: u16) {
        (0..len).for_each(|n| drop(self.one(create(n + 1, n.into(), Kind::Group)).unwrap()));
    }
}

#[test]
fn a_new_world_is_its_root() {
    let world = World::new(BraneId::from_bytes([0xbb; 16]), user());
    let root = world.get(Handle::ROOT).unwrap();
    assert_eq!((root.id, root.owner), (ObjectId::from_bytes([0xbb; 16]), user()));
    assert_eq!((root.parent, root.kind), (Handle::ROOT, Kind::Group));
    assert_eq!((world.len(), world.next_handle(), world.seq()), (1, Handle(1), Seq(0)));
    assert!(!world.is_empty());
    assert_eq!(world.children(Handle::ROOT).count(), 0);
    assert_eq!(world.children(Handle(77)).count(), 0);
}

#[test]
fn the_root_is_protected_and_its_properties_are_the_owners() {
    let mut bench = Bench::new();
    bench.chain(1);
    for operation in [
        a_move(0, 1),
        reparent(0, 1),
        reparent(0, 0),
        delete(0, DeleteMode::Subtree),
        delete(0, DeleteMode::KeepChildren),
    ] {
        assert_eq!(bench.one(operation), Err(Code::RootProtected.into()));
    }
    let sky = |target| Edit::One(set(target, "sky", Value::null()));
    for target in [handle(0), Target::Id(ObjectId::from_bytes([0xbb; 16]))] {
        let refused = bench.apply_as(Role::Builder, &sky(target));
        assert_eq!(refused, Err(Code::NotPermitted.into()));
        assert!(bench.apply_as(Role::Owner, &sky(target)).is_ok());
    }
    // Elsewhere a builder may; a visitor may nothing, nor learn what is there.
    assert!(bench.apply_as(Role::Builder, &sky(handle(1))).is_ok());
    assert!(bench.apply_as(Role::Builder, &Edit::One(create(9, 0, Kind::Block))).is_ok());
    for operation in
        [a_move(1, 1), a_move(99, 1), create(1, 0, Kind::Block), delete(0, DeleteMode::Subtree)]
    {
        let refused = bench.apply_as(Role::Visitor, &Edit::One(operation));
        assert_eq!(refused, Err(Code::NotPermitted.into()));
    }
}

#[test]
fn depth_is_steps_from_the_root() {
    let mut bench = Bench::new();
    bench.chain(64);
    assert_eq!(bench.one(create(65, 64, Kind::Block)), Err(Code::TooDeep.into()));
    // 33 over 32 and itself: 32 + 33 is one too deep.
    bench.one(create(100, 0, Kind::Group)).unwrap();
    let mut bench = Bench::new();
    bench.chain(40);
    let base = bench.world.next_handle().0;
    bench.one(create(100, 0, Kind::Group)).unwrap();
    for n in 0..24 {
        bench.one(create(101 + n, base + u32::from(n), Kind::Group)).unwrap();
    }
    assert_eq!(bench.one(reparent(base, 40)), Err(Code::TooDeep.into()));
    assert!(bench.one(reparent(base, 39)).is_ok());
    // Up again needs no room.
    bench.limits.max_depth = 10;
    assert!(bench.one(reparent(base, 38)).is_ok());
    assert!(bench.one(reparent(base, 0)).is_ok());
    assert_eq!(bench.one(reparent(base, 1)), Err(Code::TooDeep.into()));
}

#[test]
fn a_batch_speaks_of_what_it_creates_by_id() {
    let mut bench = Bench::new();
    let id = |n: u16| Target::Id(ObjectId::from_bytes(u128::from(n).to_be_bytes()));
    let inner = Operation::Create {
        id: ObjectId::from_bytes([7; 16]),
        parent: id(1),
        kind: Kind::Block,
        transform: Transform::IDENTITY,
        props: Props::default(),
    };
    let hang = Operation::Reparent { target: id(2), parent: id(1), transform: None };
    let batch = vec![create(1, 0, Kind::Group), inner, create(2, 0, Kind::Block), hang];
    let changes = bench.apply_as(Role::Owner, &Edit::Batch(batch)).unwrap();
    assert_eq!(changes.len(), 4);
    assert_eq!(bench.world.children(Handle(1)).count(), 2);
}

#[test]
fn a_refused_batch_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.chain(3);
    bench.one(create(50, 2, Kind::Block)).unwrap();
    let (hash, next) = (bench.world.state_hash(), bench.world.next_handle());
    let batch = Edit::Batch(vec![
        create(60, 3, Kind::Group),
        a_move(4, 12),
        reparent(4, 5),
        delete(2, DeleteMode::KeepChildren),
        delete(1, DeleteMode::Subtree),
        a_move(0, 1),
    ]);
    let refused = bench.apply_as(Role::Owner, &batch).unwrap_err();
    assert_eq!(refused, Refusal { code: Code::RootProtected, operation: Some(5) });
    assert_eq!((bench.world.state_hash(), bench.world.next_handle()), (hash, next));
    assert_eq!(bench.world.seq(), Seq(4));
    assert_eq!(bench.world.find(ObjectId::from_bytes(60u128.to_be_bytes())), None);
    assert_eq!(bench.world.children(Handle(2)).count(), 2);
    // Nothing after the last edit: a copy at the head lacks nothing.
    assert_eq!(bench.world.diff(Seq(4), &[]), Some(Diff::default()));
}

#[test]
fn an_edit_may_touch_so_many_objects() {
    let mut bench = Bench::new();
    bench.chain(1);
    for n in 0..10 {
        bench.one(create(100 + n, 1, Kind::Block)).unwrap();
    }
    bench.one(create(200, 0, Kind::Group)).unwrap();
    let group = bench.world.next_handle().0 - 1;
    bench.limits.max_touched = 10;
    for operation in
        [delete(1, DeleteMode::Subtree), delete(1, DeleteMode::KeepChildren), reparent(1, group)]
    {
        assert_eq!(bench.one(operation), Err(Code::TouchesTooMany.into()));
    }
    bench.limits.max_touched = 11;
    assert!(bench.one(reparent(1, group)).is_ok());
    // Going up walks nothing.
    bench.limits.max_touched = 1;
    assert!(bench.one(reparent(1, 0)).is_ok());
    bench.limits.max_touched = 11;
    assert_eq!(bench.one(delete(1, DeleteMode::KeepChildren)).unwrap().len(), 11);
    assert!(bench.one(delete(group, DeleteMode::Subtree)).is_ok());
}

#[test]
fn who_is_beyond_the_bound_of_bytes_can_only_shrink() {
    let mut bench = Bench::new();
    bench.one(create(1, 0, Kind::Group)).unwrap();
    bench.one(set(handle(1), "a", Value::text("two words"))).unwrap();
    // An operator has lowered it.
    bench.limits.max_bytes = 500;
    let refused = |outcome: Result<Changes, Refusal>| outcome.unwrap_err().code;
    assert_eq!(refused(bench.one(create(2, 0, Kind::Block))), Code::BraneTooLarge);
    let longer = set(handle(1), "a", Value::text("three words here"));
    assert_eq!(refused(bench.one(longer)), Code::BraneTooLarge);
    bench.one(set(handle(1), "a", Value::text("as before"))).unwrap();
    bench.one(a_move(1, 7)).unwrap();
    let exchange = [delete(1, DeleteMode::Subtree), create(2, 0, Kind::Block)];
    assert_eq!(
        refused(bench.apply_as(Role::Owner, &Edit::Batch(exchange.into()))),
        Code::BraneTooLarge
    );
    bench.one(delete(1, DeleteMode::Subtree)).unwrap();
    assert_eq!(bench.world.bytes(), 301);
}

#[test]
fn outcomes_do_not_depend_on_how_children_were_linked() {
    let mut bench = Bench::new();
    bench.chain(2);
    for n in 0..6 {
        bench.one(create(100 + n, 1 + u32::from(n % 2), Kind::Block)).unwrap();
    }
    // The links of 1 are now out of order.
    [8, 4, 6].into_iter().for_each(|n| drop(bench.one(reparent(n, 1)).unwrap()));
    let mut again = World::new(BraneId::from_bytes([0xbb; 16]), user());
    bench.events.iter().for_each(|event| again.replay(event).unwrap());
    let changes = bench.one(delete(1, DeleteMode::Subtree)).unwrap();
    let Change::Deleted { removed } = &changes[0] else { panic!("{changes:?}") };
    let order: Vec<_> = removed.iter().map(|o| o.handle.0).collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn replay_takes_only_what_fits() {
    let mut bench = Bench::new();
    bench.chain(2);
    bench.one(create(50, 2, Kind::Block)).unwrap();
    bench.one(a_move(3, 9)).unwrap();
    bench.one(reparent(3, 1)).unwrap();
    for value in [Value::null(), Value::bool(true)] {
        bench.one(set(handle(3), "open", value)).unwrap();
    }
    let batch = Edit::Batch(vec![a_move(3, 1), delete(1, DeleteMode::Subtree)]);
    bench.apply_as(Role::Owner, &batch).unwrap();
    let events = bench.events;

    let mut world = World::new(BraneId::from_bytes([0xbb; 16]), user());
    let skipped = ReplayError::OutOfOrder { expected: Seq(1), found: Seq(2) };
    assert_eq!(world.replay(&events[1]), Err(skipped));
    for event in &events {
        for (n, _) in event.changes.iter().enumerate() {
            let hash = world.state_hash();
            let mut wrong = event.clone();
            spoil(&mut wrong.changes[n]);
            assert!(matches!(world.replay(&wrong), Err(ReplayError::Mismatch { .. })), "{wrong:?}");
            assert_eq!(world.state_hash(), hash);
            assert_eq!(world.seq().next(), event.seq);
        }
        world.replay(event).unwrap();
    }
    assert_eq!(world.state_hash(), bench.world.state_hash());
}

/// Makes a change not fit the state that it was made for.
fn spoil(change: &mut Change) {
    match change {
        Change::Created(created) => created.handle.0 += 1,
        Change::Updated { before, after, .. } => *before = after.clone(),
        Change::Moved { before, .. } => before.position[0] += 1,
        Change::Reparented { after, handle, .. } => after.parent = *handle,
        Change::Deleted { removed } => drop(removed.remove(removed.len() / 2)),
        Change::Ruled(_) => panic!("there is none"),
    }
}

#[test]
fn graves_are_forgotten_in_the_end() {
    let mut bench = Bench::new();
    bench.limits.max_batch = 20_000;
    bench.limits.max_touched = 20_000;
    let start = bench.world.seq();
    let mut handle = 1;
    for round in 0..7 {
        assert!(bench.world.diff(start, &[]).is_some(), "{round}");
        let creations = (0..10_000).map(|n| create(n + 1, 0, Kind::Block)).collect();
        bench.apply_as(Role::Owner, &Edit::Batch(creations)).unwrap();
        let deletions = (handle..handle + 10_000).map(|n| delete(n, DeleteMode::Subtree)).collect();
        handle += 10_000;
        bench.apply_as(Role::Owner, &Edit::Batch(deletions)).unwrap();
    }
    assert_eq!(bench.world.diff(start, &[]), None);
    let last =
        bench.world.diff(Seq(13), &[Handle(0), Handle(9), Handle(9), Handle(u32::MAX)]).unwrap();
    assert_eq!(last.changed, [Handle(0)]);
    assert_eq!(last.gone.len(), 10_002);
    assert!(last.gone.is_sorted());
    assert_eq!(bench.world.len(), 1);
}

#[test]
fn the_hash_is_right_whether_or_not_anybody_asks() {
    let mut bench = Bench::new();
    bench.limits.max_batch = 10_000;
    let creations = (0..9_000).map(|n| create(n + 1, 0, Kind::Block)).collect();
    bench.apply_as(Role::Owner, &Edit::Batch(creations)).unwrap();
    for n in 0..6_000 {
        let _ = bench.one(a_move(1 + n * 7 % 9_000, n as i32));
        if n % 3 == 0 {
            let _ = bench.one(delete(1 + n * 13 % 9_000, DeleteMode::Subtree));
        }
    }
    let expected = avvy_model::StateHash::sum(bench.world.iter());
    assert_eq!(bench.world.state_hash(), expected);
}
