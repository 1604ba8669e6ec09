use avvy_brane::World;
use avvy_model::{
    BraneId, Edit, Epoch, Kind, ObjectId, Operation, Position, Principal, PropKey, Props, Role,
    Target, Transform, UserId, Value, ValueLimits, WorldLimits,
};
use avvy_protocol::codec::decode_server;

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;

fn shared(max_kept_bytes: usize) -> SharedParts {
    SharedParts::new(Channel(7), PartsConfig { max_kept_bytes, ..PartsConfig::default() })
}

/// A world of so many blocks, each with more than 8 KB.
fn world(blocks: u64) -> World {
    let who = Principal { user: UserId::from_bytes([1; 16]), ceiling: Role::Owner, invited: true };
    let mut world = World::new(BraneId::from_bytes([2; 16]), who.user);
    let limits = ValueLimits::default();
    let text = (PropKey::new("text", &limits).unwrap(), Value::text(&"x".repeat(8_100)));
    let props = Props::from_entries(vec![text], &limits).unwrap();
    for n in 1..=blocks {
        let create = Operation::Create {
            id: ObjectId::from_bytes(u128::from(n).to_be_bytes()),
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Block,
            transform: Transform::IDENTITY,
            props: props.clone(),
        };
        let edit = Edit::One(create);
        world.apply(Seq(n), 0, &who, &edit, &WorldLimits::default()).unwrap();
    }
    world
}

fn whole(world: &World) -> Parts {
    let at = Position { epoch: Epoch(1), seq: world.seq() };
    let (frozen, selection) = (world.freeze(), Selection::All);
    Parts { frozen, selection, gone: Arc::from([]), at, scope: None }
}

fn some(world: &World, handles: &[u32]) -> Parts {
    let handles = handles.iter().map(|handle| Handle(*handle)).collect();
    let selection = Selection::Listed(handles);
    Parts { selection, gone: Arc::from([Handle(999)]), ..whole(world) }
}

fn part(frame: &Frame) -> SnapshotPart {
    match decode_server(frame.payload()).unwrap() {
        ServerMessage::Snapshot(part) => part,
        other => panic!("{other:?}"),
    }
}

/// Checks that the parts are those of one snapshot; the handles in them.
fn handles(frames: &[Frame]) -> Vec<u32> {
    let parts: Vec<_> = frames.iter().map(part).collect();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        assert_eq!((part.index as usize, part.last), (index, last));
        assert!(index == 0 || part.gone.is_empty());
    }
    parts.iter().flat_map(|part| part.objects.iter().map(|object| object.handle.0)).collect()
}

#[test]
fn sessions_that_start_from_one_view_get_the_same_bytes() {
    let world = world(60);
    let shared = shared(1 << 20);
    let mut first = shared.start(NOW_MS, whole(&world));
    let begun = first.next().unwrap();
    let rest: Vec<_> = first.collect();
    let frames: Vec<_> = [begun].into_iter().chain(rest).collect();
    assert_eq!(handles(&frames), (0..=60).collect::<Vec<_>>());
    for _ in 0..3 {
        let again: Vec<_> = shared.start(NOW_MS, whole(&world)).collect();
        let same = |(a, b): (&Frame, &Frame)| a.as_wire().as_ptr() == b.as_wire().as_ptr();
        assert!(again.len() == frames.len() && again.iter().zip(&frames).all(same));
    }
    assert_eq!(shared.shelf().encoded, frames.len() as u64);
}

#[test]
fn another_selection_or_position_is_another_view() {
    let (small, large) = (world(2), world(3));
    let shared = shared(1 << 20);
    let selections = [whole(&small), some(&small, &[1]), some(&small, &[2]), whole(&large)];
    let expected = [vec![0, 1, 2], vec![1], vec![2], vec![0, 1, 2, 3]];
    for (parts, expected) in selections.into_iter().zip(expected) {
        let gone = parts.gone.clone();
        let frames: Vec<_> = shared.start(NOW_MS, parts).collect();
        assert_eq!(handles(&frames), expected);
        assert_eq!(part(&frames[0]).gone[..], gone[..]);
    }
    assert_eq!(shared.shelf().views.len(), 4);
}

#[test]
fn who_is_far_behind_has_parts_encoded_alone_and_memory_is_bounded() {
    let world = world(200);
    let bound = 500_000;
    let shared = shared(bound);
    let mut slow = shared.start(NOW_MS, whole(&world));
    let mut slow_frames = vec![slow.next().unwrap()];
    let quick: Vec<_> = shared.start(NOW_MS, whole(&world)).collect();
    let twin: Vec<_> = shared.start(NOW_MS, some(&world, &[5, 6, 7])).collect();
    assert!(shared.shelf().kept_bytes <= bound);
    let encoded = shared.shelf().encoded;
    assert_eq!(encoded, quick.len() as u64 + twin.len() as u64);
    slow_frames.extend(slow);
    assert!(shared.shelf().encoded > encoded);
    assert_eq!(handles(&slow_frames), handles(&quick));
    let Shelf { kept, kept_bytes, views, .. } = &*shared.shelf();
    let held = views.values().flat_map(|view| view.frames.iter().flatten());
    let sizes: Vec<_> = held.map(|frame| frame.as_wire().len()).collect();
    assert_eq!((sizes.iter().sum::<usize>(), sizes.len()), (*kept_bytes, kept.len()));
    assert!(*kept_bytes <= bound);
}

#[test]
fn views_are_let_go_of() {
    let world = world(40);
    let shared = shared(1 << 20);
    let reader = shared.start(NOW_MS, whole(&world));
    drop(shared.start(NOW_MS, some(&world, &[1])));
    shared.passed(Seq(40));
    assert_eq!(shared.shelf().views.len(), 2, "one may still start there");
    shared.passed(Seq(41));
    assert_eq!(shared.shelf().views.len(), 1, "somebody reads it");
    assert_eq!(handles(&reader.collect::<Vec<_>>()).len(), 41);
    assert!(shared.shelf().kept_bytes > 0);
    shared.tidy();
    assert!(!shared.is_empty(), "it was started from lately");
    shared.tidy();
    assert!(shared.is_empty());
    let shelf = shared.shelf();
    assert_eq!((shelf.kept.len(), shelf.kept_bytes), (0, 0));
}
