//! Snapshots: what is written is read, whole and in order, or refused.

use avvy_brane::snapshot::{Decoder, Encoder, Restored};
use avvy_brane::{Clients, Outcome, SnapshotError, World};
use avvy_model::{
    BraneId, ClientId, Code, Counter, Edit, EditId, Epoch, Handle, Kind, Object, ObjectId,
    Operation, Position, Principal, PropKey, Props, Refusal, Role, Seq, StateHash, Target,
    Transform, UserId, Value, ValueLimits, WorldLimits,
};
use proptest::collection::vec;
use proptest::prelude::*;

const AT: Position = Position { epoch: Epoch(4), seq: Seq(70_000) };

fn limits() -> WorldLimits {
    WorldLimits::default()
}

fn owner() -> Principal {
    Principal { user: UserId::from_bytes([1; 16]), ceiling: Role::Owner, invited: true }
}

/// So many objects in a few groups, made by a few users.
pub fn world(count: u32) -> World {
    let mut world = World::new(BraneId::from_bytes([0xbb; 16]), owner().user);
    for n in 1..count {
        let value = Value::text(&"x".repeat(n as usize % 300));
        let key = PropKey::new("note", &ValueLimits::default()).unwrap();
        let operation = Operation::Create {
            id: ObjectId::from_bytes(u128::from(n).to_be_bytes()),
            parent: Target::Handle(Handle(n % 8 / 2)),
            kind: if n < 4 { Kind::Group } else { Kind::Block },
            transform: Transform::IDENTITY,
            props: Props::from_entries(vec![(key, value)], &ValueLimits::default()).unwrap(),
        };
        let who = Principal {
            user: UserId::from_bytes([n as u8 % 5; 16]),
            ceiling: Role::Owner,
            invited: true,
        };
        let edit = Edit::One(operation);
        world.apply(Seq(n.into()), 0, &who, &edit, &limits()).unwrap();
    }
    world
}

pub fn clients(count: u16) -> Clients {
    let mut clients = Clients::new(&limits());
    for n in 0..count {
        let id =
            ClientId::from_bytes((u128::from(n) * 0x0123_4567_89ab_cdef_0123_4567).to_be_bytes());
        for counter in 1..300 {
            let outcome = match counter % 5 {
                0 => Outcome::Refused(Code::Cycle.into()),
                1 => Outcome::Refused(Refusal { code: Code::TooDeep, operation: Some(3) }),
                _ => Outcome::Applied(Seq(counter * 1_000)),
            };
            let id = EditId { client: id, counter: Counter(counter * 2) };
            clients.record(id, UserId::from_bytes([n as u8; 16]), outcome, 1_000 + u64::from(n));
        }
    }
    clients
}

pub fn parts(world: &mut World, clients: &Clients) -> Vec<Vec<u8>> {
    let hash = world.state_hash();
    let mut encoder = Encoder::new(world.freeze(), clients.clone(), AT, hash);
    std::iter::from_fn(|| encoder.next_part()).collect()
}

pub fn read(parts: &[Vec<u8>]) -> Result<Restored, SnapshotError> {
    let mut decoder = Decoder::new(&limits());
    parts.iter().try_for_each(|part| decoder.feed(part))?;
    decoder.finish()
}

#[test]
fn parts_are_bounded_and_come_back() {
    let (mut world, clients) = (world(9_000), clients(200));
    let parts = parts(&mut world, &clients);
    assert!(parts.len() > 8, "{}", parts.len());
    assert!(parts.iter().all(|part| part.len() <= 256 * 1024));
    let mut restored = read(&parts).unwrap();
    assert_eq!(restored.position, AT);
    assert_eq!(restored.clients, clients);
    assert_eq!(restored.world.state_hash(), world.state_hash());
    assert_eq!(restored.world.next_handle(), world.next_handle());
    assert!(restored.world.iter().eq(world.iter()));
    for (handle, object) in world.iter() {
        assert_eq!(restored.world.find(object.id), Some(handle));
        let sorted = |world: &World| {
            let mut children: Vec<_> = world.children(handle).collect();
            children.sort_unstable();
            children
        };
        assert_eq!(sorted(&restored.world), sorted(&world));
    }
}

#[test]
fn those_who_never_wrote_are_left_out() {
    let mut some = clients(3);
    some.admit(ClientId::from_bytes([0x77; 16]), owner().user, false, 5).unwrap();
    let restored = read(&parts(&mut world(3), &some)).unwrap();
    assert_eq!(restored.clients, clients(3));
}

#[test]
fn parts_must_be_all_there_and_in_order() {
    let parts = parts(&mut world(3_000), &clients(3));
    assert!(parts.len() >= 5);
    for missing in 0..parts.len() {
        let mut some = parts.clone();
        some.remove(missing);
        let error = read(&some).unwrap_err();
        let expected = missing as u64;
        if missing + 1 == parts.len() {
            assert_eq!(error, SnapshotError::Incomplete);
        } else {
            assert_eq!(error, SnapshotError::OutOfOrder { expected, found: expected + 1 });
        }
        let mut twice = parts.clone();
        twice.insert(missing, parts[missing].clone());
        assert!(matches!(read(&twice), Err(SnapshotError::OutOfOrder { .. })));
    }
    assert_eq!(Decoder::new(&limits()).finish().unwrap_err(), SnapshotError::Incomplete);
}

#[test]
fn other_objects_than_were_written_are_found_out() {
    let mut world = world(5);
    let mut encoder = Encoder::new(world.freeze(), clients(0), AT, StateHash::from_bytes([5; 16]));
    let parts: Vec<_> = std::iter::from_fn(|| encoder.next_part()).collect();
    let expected = StateHash::from_bytes([5; 16]);
    let found = world.state_hash();
    assert_eq!(read(&parts).unwrap_err(), SnapshotError::HashMismatch { expected, found });
}

/// Snapshot parts of these objects, put together by hand.
fn by_hand(
    objects: &[(Handle, Object)],
    next: u32,
    counts: (u32, u64),
    more: bool,
) -> Vec<Vec<u8>> {
    let extra = u64::from(more);
    let start = |index: u64, kind: u64, fields: u64| {
        let mut part = Vec::new();
        let mut e = minicbor::Encoder::new(&mut part);
        e.map(4 + fields + extra).unwrap().u8(0).unwrap().u64(1 + extra).unwrap();
        e.u8(1).unwrap().u8(1).unwrap().u8(2).unwrap().u64(index).unwrap();
        e.u8(3).unwrap().u64(kind).unwrap();
        part
    };
    let end = |mut part: Vec<u8>| {
        if more {
            minicbor::Encoder::new(&mut part).u8(70).unwrap().begin_array().unwrap().end().unwrap();
        }
        part
    };
    let mut head = start(0, 0, 6);
    let mut e = minicbor::Encoder::new(&mut head);
    let hash = StateHash::sum(objects.iter().map(|(h, o)| (*h, o)));
    e.u8(4).unwrap().u64(4).unwrap().u8(5).unwrap().u64(70_000).unwrap();
    e.u8(6).unwrap().u32(next).unwrap().u8(7).unwrap().u32(counts.0).unwrap();
    e.u8(8).unwrap().bytes(&hash.to_bytes()).unwrap().u8(9).unwrap().u64(counts.1).unwrap();

    let mut body = start(1, 1, 2);
    let mut e = minicbor::Encoder::new(&mut body);
    e.u8(4).unwrap().array(1).unwrap().bytes(&[1; 16]).unwrap();
    e.u8(5).unwrap().array(objects.len() as u64).unwrap();
    for (handle, o) in objects {
        e.array(7 + extra).unwrap().u32(handle.0).unwrap().bytes(&o.id.to_bytes()).unwrap();
        e.u32(o.parent.0).unwrap().u8(o.kind.number()).unwrap().u8(0).unwrap();
        e.bytes(&o.transform.to_packed()).unwrap().writer_mut().extend(o.props.as_bytes());
        if more {
            e.bool(true).unwrap();
        }
    }
    let mut parts = vec![end(head), end(body)];
    if more {
        parts.push(end(start(2, 9, 0)));
    }
    parts.push(end(start(parts.len() as u64, 3, 0)));
    parts
}

fn group(id: u8, parent: u32) -> Object {
    Object {
        id: ObjectId::from_bytes([id; 16]),
        parent: Handle(parent),
        kind: Kind::Group,
        owner: owner().user,
        transform: Transform::IDENTITY,
        props: Props::default(),
    }
}

#[test]
fn unknown_fields_and_parts_are_passed_over() {
    let objects = [(Handle(0), group(9, 0)), (Handle(3), group(1, 5)), (Handle(5), group(2, 0))];
    for more in [false, true] {
        let restored = read(&by_hand(&objects, 7, (3, 0), more)).unwrap();
        assert_eq!(restored.world.next_handle(), Handle(7));
        assert_eq!(restored.world.get(Handle(3)), Some(&objects[1].1));
        assert_eq!(restored.world.children(Handle(5)).collect::<Vec<_>>(), [Handle(3)]);
    }
}

#[test]
fn what_is_no_tree_is_refused() {
    let root = || (Handle(0), group(9, 0));
    let block = || Object { kind: Kind::Block, ..group(4, 0) };
    let of = |objects: &[(Handle, Object)]| {
        read(&by_hand(objects, 9, (objects.len() as u32, 0), false)).map(|_| ()).unwrap_err()
    };
    let tree = SnapshotError::NotATree;
    assert_eq!(of(&[]), tree);
    assert_eq!(of(&[(Handle(1), group(1, 1))]), tree);
    assert_eq!(of(&[(Handle(0), block())]), tree);
    assert_eq!(of(&[(Handle(0), group(9, 3)), (Handle(3), group(3, 0))]), tree);
    assert_eq!(of(&[root(), (Handle(1), group(1, 7))]), tree);
    assert_eq!(of(&[root(), (Handle(1), block()), (Handle(2), group(2, 1))]), tree);
    // In a circle, and alone.
    assert_eq!(of(&[root(), (Handle(1), group(1, 2)), (Handle(2), group(2, 1))]), tree);
    assert_eq!(of(&[root(), (Handle(1), group(1, 1))]), tree);
    // The same id twice, a handle that was not given out yet.
    assert_eq!(of(&[root(), (Handle(1), group(9, 0))]), tree);
    assert_eq!(of(&[root(), (Handle(9), group(1, 0))]), tree);
    // Descending handles.
    let disorder = [root(), (Handle(2), group(2, 0)), (Handle(1), group(1, 0))];
    assert_eq!(of(&disorder), SnapshotError::Malformed(1));
}

#[test]
fn counts_that_lie_are_refused() {
    let objects = [(Handle(0), group(9, 0)), (Handle(1), group(1, 0))];
    let of = |counts| read(&by_hand(&objects, 9, counts, false)).map(|_| ()).unwrap_err();
    assert_eq!(of((1, 0)), SnapshotError::Malformed(1));
    assert_eq!(of((3, 0)), SnapshotError::Incomplete);
    assert_eq!(of((2, 1)), SnapshotError::Incomplete);
}

#[test]
fn later_formats_are_refused_or_read_as_they_say() {
    let mut parts = parts(&mut world(3), &clients(1));
    // {0: 1, 1: oldest reader, ..}
    assert_eq!(parts[1][1..5], [0, 1, 1, 1]);
    parts[1][4] = 3;
    assert_eq!(read(&parts).unwrap_err(), SnapshotError::TooNew(3));
    (parts[1][2], parts[1][4]) = (3, 1);
    assert!(read(&parts).is_ok());
}

#[test]
fn the_last_handle_is_given_once() {
    let objects = [(Handle(0), group(9, 0))];
    let mut world = read(&by_hand(&objects, u32::MAX - 1, (1, 0), false)).unwrap().world;
    let create = |id: u8| {
        Edit::One(Operation::Create {
            id: ObjectId::from_bytes([id; 16]),
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Block,
            transform: Transform::IDENTITY,
            props: Props::default(),
        })
    };
    let mut apply = |seq, id| world.apply(Seq(seq), 0, &owner(), &create(id), &limits());
    assert!(apply(70_001, 1).is_ok());
    assert_eq!(apply(70_002, 2), Err(Code::HandlesExhausted.into()));
    assert!(world.get(Handle(u32::MAX - 1)).is_some());
    assert_eq!(world.next_handle(), Handle(u32::MAX));
    let clients = clients(0);
    assert!(read(&parts(&mut world, &clients)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_survived(damage in vec((any::<usize>(), any::<usize>(), any::<u8>()), 1..4), cut in any::<(usize, usize)>()) {
        let mut parts = parts(&mut world(12), &clients(1));
        for (part, at, byte) in damage {
            let count = parts.len();
            let part = &mut parts[part % count];
            let len = part.len();
            part[at % len] = byte;
        }
        if let Ok(mut restored) = read(&parts) {
            let hash = restored.world.state_hash();
            prop_assert_eq!(hash, StateHash::sum(restored.world.iter()));
        }
        let count = parts.len();
        let part = &mut parts[cut.0 % count];
        part.truncate(cut.1 % part.len());
        prop_assert!(read(&parts).is_err());
    }
}
