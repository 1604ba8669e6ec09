//! What a copy takes, and what it does not.

use avvy_client::replica::{Replica, ReplicaError, Snapshot};
use avvy_model::{
    Epoch, Handle, Kind, MovePatch, Object, ObjectAt, ObjectId, Parts, Placement, Position,
    PropKey, Props, PropsPatch, Rotation, Seq, StateHash, Transform, UserId, Value, ValueLimits,
};
use avvy_protocol::{Channel, Flush, FlushItem, MoveRecord, SnapshotPart, WireChange, WireEvent};

const OWNER: UserId = UserId::from_bytes([7; 16]);

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch: Epoch(epoch), seq: Seq(seq) }
}

fn object(handle: u32, parent: u32, kind: Kind) -> ObjectAt {
    let object = Object {
        id: ObjectId::from_bytes([handle as u8; 16]),
        parent: Handle(parent),
        kind,
        owner: OWNER,
        transform: Transform::IDENTITY,
        props: Props::default(),
    };
    ObjectAt { handle: Handle(handle), object }
}

fn part(
    at: Position,
    index: u32,
    last: bool,
    objects: Vec<ObjectAt>,
    gone: &[u32],
) -> SnapshotPart {
    let gone = gone.iter().copied().map(Handle).collect();
    SnapshotPart { channel: Channel(1), at, index, last, objects, gone }
}

fn snapshot(parts: Vec<SnapshotPart>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for part in parts {
        snapshot.add(part).expect("parts follow each other");
    }
    snapshot
}

/// A root, a group 1 and a block 2 in it, at 1.10.
fn copy() -> Replica {
    let objects =
        vec![object(0, 0, Kind::Group), object(1, 0, Kind::Group), object(2, 1, Kind::Block)];
    let whole = snapshot(vec![part(at(1, 10), 0, true, objects, &[])]);
    let mut copy = Replica::new(whole, None, 8).expect("it is whole");
    copy.joins(Epoch(1), Seq(10));
    copy
}

fn flush(epoch: u64, from: u64, to: u64, items: Vec<FlushItem>) -> Flush {
    let (epoch, from, to) = (Epoch(epoch), Seq(from), Seq(to));
    Flush { channel: Channel(1), epoch, from, to, durable: Seq(10), ms: 0, items }
}

fn event(changes: Vec<WireChange>) -> FlushItem {
    FlushItem::Event(WireEvent { by: OWNER, changes })
}

fn moves(handles: &[u32]) -> FlushItem {
    let to = Transform::new([5, 6, 7], Rotation::IDENTITY, [2.0; 3]).expect("in range");
    let patch = MovePatch::new(Parts::POSITION, to);
    FlushItem::Moves(handles.iter().map(|h| MoveRecord { handle: Handle(*h), patch }).collect())
}

fn created(handle: u32, parent: u32) -> FlushItem {
    event(vec![WireChange::Created(Box::new(object(handle, parent, Kind::Block)))])
}

fn deleted(handles: &[u32]) -> FlushItem {
    event(vec![WireChange::Deleted { handles: handles.iter().copied().map(Handle).collect() }])
}

fn hash_of(copy: &Replica) -> StateHash {
    let objects = copy.handles();
    StateHash::sum(objects.iter().filter_map(|handle| Some((*handle, copy.get(*handle)?))))
}

#[test]
fn takes_only_what_fits() {
    let gap =
        |epoch, from| ReplicaError::Gap { at: at(1, 10), epoch: Epoch(epoch), from: Seq(from) };
    let limits = ValueLimits::default();
    let key = PropKey::new("name", &limits).expect("short");
    let patch = PropsPatch::new(vec![(key, Some(Value::int(1)))]).expect("one key");
    let update =
        |handle| event(vec![WireChange::Updated { handle: Handle(handle), patch: patch.clone() }]);
    let to = |parent| Placement { parent: Handle(parent), transform: Transform::IDENTITY };
    let reparent =
        |parent| event(vec![WireChange::Reparented { handle: Handle(2), to: to(parent) }]);
    let cases = [
        (flush(1, 10, 10, vec![]), Ok(())),
        (flush(1, 10, 12, vec![moves(&[1, 2])]), Ok(())),
        (flush(1, 10, 13, vec![FlushItem::Skip(2), update(2)]), Ok(())),
        (flush(1, 10, 11, vec![created(3, 1)]), Ok(())),
        (flush(1, 10, 11, vec![deleted(&[1, 2])]), Ok(())),
        (flush(1, 10, 11, vec![reparent(0)]), Ok(())),
        (flush(1, 11, 12, vec![moves(&[1])]), Err(gap(1, 11))),
        (flush(1, 9, 12, vec![moves(&[1])]), Err(gap(1, 9))),
        (flush(2, 10, 11, vec![moves(&[1])]), Err(gap(2, 10))),
        (flush(0, 10, 11, vec![moves(&[1])]), Err(gap(0, 10))),
        (flush(1, 10, 9, vec![]), Err(gap(1, 10))),
        (flush(1, 10, 12, vec![moves(&[1])]), Err(ReplicaError::Range { range: 2, items: 1 })),
        (flush(1, 10, 11, vec![moves(&[1, 1])]), Err(ReplicaError::Range { range: 1, items: 2 })),
        (
            flush(1, 10, 11, vec![FlushItem::Skip(u64::MAX)]),
            Err(ReplicaError::Range { range: 1, items: u64::MAX - 10 }),
        ),
        (flush(1, 10, 11, vec![moves(&[9])]), Err(ReplicaError::Missing(Handle(9)))),
        (flush(1, 10, 11, vec![update(9)]), Err(ReplicaError::Missing(Handle(9)))),
        (flush(1, 10, 11, vec![deleted(&[9])]), Err(ReplicaError::Missing(Handle(9)))),
        (flush(1, 10, 11, vec![created(2, 1)]), Err(ReplicaError::Exists(Handle(2)))),
        (flush(1, 10, 11, vec![created(3, 9)]), Err(ReplicaError::Missing(Handle(9)))),
        (flush(1, 10, 11, vec![created(3, 2)]), Err(ReplicaError::NotGroup(Handle(2)))),
        (flush(1, 10, 11, vec![reparent(2)]), Err(ReplicaError::NotGroup(Handle(2)))),
    ];
    for (flush, expected) in cases {
        let mut copy = copy();
        assert_eq!(copy.apply(&flush), expected, "{flush:?}");
        if expected.is_ok() {
            assert_eq!(copy.position(), Position { epoch: flush.epoch, seq: flush.to });
            assert_eq!(copy.state_hash(), hash_of(&copy), "{flush:?}");
        }
    }
}

#[test]
fn a_later_epoch_counts_once_the_server_has_said_so() {
    let mut copy = copy();
    copy.joins(Epoch(3), Seq(10));
    copy.apply(&flush(2, 10, 11, vec![moves(&[1])])).expect("between the two");
    copy.apply(&flush(3, 11, 12, vec![moves(&[1])])).expect("the one that was named");
    assert!(copy.apply(&flush(2, 12, 13, vec![moves(&[1])])).is_err(), "epochs do not fall");
}

#[test]
fn the_hash_follows_every_change() {
    let mut copy = copy();
    let first = copy.state_hash();
    copy.apply(&flush(1, 10, 11, vec![created(3, 1)])).expect("fits");
    copy.apply(&flush(1, 11, 12, vec![moves(&[3])])).expect("fits");
    let second = copy.state_hash();
    assert_eq!(second, hash_of(&copy));
    assert_ne!(second, first);
    copy.apply(&flush(1, 12, 13, vec![deleted(&[3])])).expect("fits");
    assert_eq!(copy.state_hash(), first);
}

#[test]
fn a_copy_past_a_fork_is_mended() {
    let mut copy = copy();
    copy.apply(&flush(1, 10, 12, vec![created(3, 0), moves(&[2])])).expect("fits");
    assert_eq!(copy.touched(), Some(vec![Handle(2), Handle(3)]));
    let mut moved = object(2, 1, Kind::Block);
    moved.object.transform.position = [1, 2, 3];
    let parts = vec![
        part(at(2, 15), 0, false, vec![moved.clone()], &[3]),
        part(at(2, 15), 1, true, vec![object(4, 0, Kind::Block)], &[]),
    ];
    copy.mend(snapshot(parts)).expect("whole");
    assert_eq!(copy.position(), at(2, 15));
    assert_eq!(copy.get(Handle(2)), Some(&moved.object));
    assert_eq!(copy.handles(), [0, 1, 2, 4].map(Handle));
    assert_eq!(copy.state_hash(), hash_of(&copy));
    // Another fork may lie before the position that the copy has now.
    assert_eq!(copy.touched(), Some(vec![Handle(2), Handle(3), Handle(4)]));
    copy.joins(Epoch(2), Seq(15));
    assert_eq!(copy.touched(), Some(vec![]));
}

#[test]
fn what_was_touched_before_the_watermark_is_forgotten() {
    let mut copy = copy();
    copy.apply(&flush(1, 10, 12, vec![moves(&[1, 2])])).expect("fits");
    copy.durable(Seq(11));
    assert_eq!(copy.touched(), Some(vec![Handle(2)]));
    copy.durable(Seq(99));
    assert_eq!(copy.touched(), Some(vec![]));
    copy.apply(&flush(1, 12, 21, vec![moves(&[1; 9])])).expect("fits");
    assert_eq!(copy.touched(), None, "more than it counts");
}

#[test]
fn snapshots_are_whole() {
    let root = || vec![object(0, 0, Kind::Group)];
    let mut parts = Snapshot::default();
    assert_eq!(parts.add(part(at(1, 1), 0, false, root(), &[])), Ok(false));
    assert_eq!(
        parts.add(part(at(1, 1), 2, true, vec![], &[])),
        Err(ReplicaError::Part { expected: 1, got: 2 })
    );
    assert_eq!(parts.add(part(at(1, 2), 1, true, vec![], &[])), Err(ReplicaError::MixedSnapshot));
    assert!(matches!(Replica::new(parts, None, 8), Err(ReplicaError::Part { .. })));
    let rootless = snapshot(vec![part(at(1, 1), 0, true, vec![object(1, 0, Kind::Group)], &[])]);
    assert_eq!(Replica::new(rootless, None, 8).err(), Some(ReplicaError::NotWhole));
    let holed = snapshot(vec![part(at(1, 1), 0, true, root(), &[5])]);
    assert_eq!(Replica::new(holed, None, 8).err(), Some(ReplicaError::NotWhole));
}
