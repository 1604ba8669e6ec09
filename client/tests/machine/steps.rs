//! Copies of parts of a brane: steps and windows, in order and out of it.

use avvy_client::machine::{CopyKind, FlushHead, Input, MachineOptions, Notify, Output};
use avvy_client::replica::ReplicaError;
use avvy_model::{
    Area, Cell, Epoch, Grid, Handle, Kind, Object, ObjectAt, ObjectId, Position, Props, Scope, Seq,
    Transform, UserId, View,
};
use avvy_protocol::{
    AreaFlush, CatchUp, Channel, ClientMessage, Flush, FlushItem, Join, Joined, ServerMessage,
    SnapshotPart, ViewPart,
};

use crate::{BRANE, Talk, at, joined};

fn area() -> Area {
    Area::from_metres([0.0; 3], 40.0).expect("in range")
}

fn scope(reach: u32) -> Scope {
    Scope { grid: Grid::default(), view: View { center: Cell([0; 3]), reach } }
}

/// Joined with an area, with a copy of the root as far as its first view.
fn walker(options: MachineOptions) -> Talk {
    let mut talk = Talk::new(options);
    talk.connect();
    talk.machine.look(talk.now_ms, BRANE, Some(area()), &mut talk.out);
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    let_in(&mut talk, at(1, 0), CatchUp::Snapshot, 1);
    talk.root(at(1, 0));
    talk.out.clear();
    talk
}

fn let_in(talk: &mut Talk, head: Position, catch_up: CatchUp, reach: u32) {
    let joined = joined(BRANE, head, 0, catch_up);
    let joined = Joined { scope: Some(scope(reach)), ..joined };
    talk.hear(ServerMessage::Joined(joined));
}

fn block(handle: u32) -> ObjectAt {
    let object = Object {
        id: ObjectId::from_bytes([handle as u8; 16]),
        parent: Handle::ROOT,
        kind: Kind::Block,
        owner: UserId::from_bytes([7; 16]),
        transform: Transform::IDENTITY,
        props: Props::default(),
    };
    ObjectAt { handle: Handle(handle), object }
}

fn part(at: Position, index: u32, last: bool, handles: &[u32]) -> SnapshotPart {
    let objects = handles.iter().copied().map(block).collect();
    SnapshotPart { channel: Channel(5), at, index, last, objects, gone: vec![] }
}

fn view(reach: u32, part: SnapshotPart) -> ServerMessage {
    ServerMessage::View(ViewPart { scope: scope(reach), part })
}

fn window(from: u64, to: u64, left: &[u32], entered: &[u32]) -> ServerMessage {
    let flush = AreaFlush {
        channel: Channel(5),
        epoch: Epoch(1),
        from: Seq(from),
        to: Seq(to),
        durable: Seq(0),
        ms: 0,
        cells: vec![],
        left: left.iter().copied().map(Handle).collect(),
        entered: entered.iter().copied().map(block).collect(),
    };
    ServerMessage::AreaFlush(flush.into())
}

/// The handles of the copy, without the root's.
fn holds(talk: &Talk) -> Vec<u32> {
    let handles = talk.machine.replica(BRANE).map(|copy| copy.handles()).unwrap_or_default();
    handles.into_iter().map(|handle| handle.0).filter(|handle| *handle != 0).collect()
}

fn broken(talk: &mut Talk) -> Option<ReplicaError> {
    talk.out.iter().find_map(|output| match output {
        Output::Notify(Notify::Broken { error, .. }) => Some(*error),
        _ => None,
    })
}

fn scope_of(talk: &Talk) -> Option<Scope> {
    talk.machine.replica(BRANE).and_then(|copy| copy.scope())
}

#[test]
fn steps_and_windows_take_turns() {
    let mut talk = walker(MachineOptions::default());
    talk.hear(window(0, 3, &[], &[1]));
    // Nothing that was to be seen lies between.
    talk.hear(view(2, part(at(1, 5), 0, false, &[2])));
    assert_eq!((holds(&talk), scope_of(&talk)), (vec![1], Some(scope(1))), "not by halves");
    talk.hear(view(2, part(at(1, 5), 1, true, &[3])));
    assert_eq!((holds(&talk), scope_of(&talk)), (vec![1, 2, 3], Some(scope(2))));
    talk.hear(window(5, 9, &[1, 77], &[4]));
    talk.hear(window(9, 9, &[], &[]));
    let gone = SnapshotPart { gone: vec![Handle(3)], ..part(at(1, 9), 0, true, &[]) };
    talk.hear(view(1, gone));
    assert_eq!((holds(&talk), scope_of(&talk)), (vec![2, 4], Some(scope(1))));
    assert_eq!(talk.machine.position(BRANE), Some(at(1, 9)));
    let viewed = talk.out.iter().filter_map(|output| match output {
        Output::Notify(Notify::Viewed { at, scope, .. }) => Some((at.seq.0, scope.view.reach)),
        _ => None,
    });
    assert_eq!(viewed.collect::<Vec<_>>(), [(5, 2), (9, 1)]);
    assert_eq!(broken(&mut talk), None);
}

#[test]
fn what_comes_in_no_order_breaks_the_copy() {
    let whole = |from, to| {
        let (channel, epoch, items) = (Channel(5), Epoch(1), vec![FlushItem::Skip(1)]);
        let (from, to, durable) = (Seq(from), Seq(to), Seq(0));
        let flush = Flush { channel, epoch, from, to, durable, ms: 0, items };
        ServerMessage::Flush(flush.into())
    };
    let half = || view(2, part(at(1, 0), 0, false, &[2]));
    let cases = [
        ("a window amidst a step", vec![half(), window(0, 1, &[], &[])]),
        ("a part left out", vec![half(), view(2, part(at(1, 0), 2, true, &[3]))]),
        ("a part twice", vec![half(), half()]),
        ("parts of two positions", vec![half(), view(2, part(at(1, 4), 1, true, &[3]))]),
        (
            "a step into the past",
            vec![window(0, 4, &[], &[]), view(2, part(at(1, 3), 0, true, &[]))],
        ),
        ("a gap", vec![window(1, 2, &[], &[])]),
        ("a window twice", vec![window(0, 2, &[], &[]), window(0, 2, &[], &[])]),
        ("a window of the whole brane", vec![whole(0, 1)]),
        (
            "a snapshot that was not begun",
            vec![ServerMessage::Snapshot(part(at(1, 0), 0, true, &[]))],
        ),
    ];
    for (name, messages) in cases {
        let mut talk = walker(MachineOptions::default());
        for message in messages {
            assert_eq!(broken(&mut talk), None, "{name}: too early");
            talk.hear(message);
        }
        assert!(broken(&mut talk).is_some(), "{name}");
        assert!(talk.machine.replica(BRANE).is_none(), "{name}: it is good for nothing");
        talk.out.clear();
        talk.hear(ServerMessage::Left { channel: Channel(5), code: None, address: None });
        let joins = joins(&talk);
        assert_eq!((&joins[0].resume, joins[0].area), (&None, Some(area())), "{name}");
    }
}

fn joins(talk: &Talk) -> Vec<Join> {
    let joins = talk.out.iter().filter_map(|output| match output {
        Output::Send(ClientMessage::Join(join)) => Some(join.clone()),
        _ => None,
    });
    joins.collect()
}

#[test]
fn a_whole_copy_takes_no_part() {
    for message in [window(0, 1, &[], &[]), view(2, part(at(1, 0), 0, true, &[]))] {
        let mut talk = Talk::joined();
        talk.hear(message);
        assert_eq!(broken(&mut talk), Some(ReplicaError::Scope));
    }
}

#[test]
fn a_copy_of_a_part_is_resumed_as_what_it_is() {
    let mut talk = walker(MachineOptions::default());
    talk.hear(view(2, part(at(1, 0), 0, true, &[1])));
    talk.hear(window(0, 7, &[], &[2]));
    // The half of a step is of no use any more.
    talk.hear(view(3, part(at(1, 7), 0, false, &[3])));
    talk.cut();
    let join = joins(&talk).remove(0);
    let resume = join.resume.expect("there is a copy");
    assert_eq!((resume.version, resume.scope), (at(1, 7), Some(scope(2))));
    assert_eq!((resume.touched, join.area), (None, Some(area())));
    let_in(&mut talk, at(1, 8), CatchUp::Replay, 2);
    talk.hear(window(7, 8, &[], &[4]));
    talk.hear(view(3, part(at(1, 8), 0, true, &[3])));
    assert_eq!((holds(&talk), scope_of(&talk)), (vec![1, 2, 3, 4], Some(scope(3))));
    assert!(talk.machine.is_live(BRANE));
    // A new start: what was there is dropped.
    let_in(&mut talk, at(1, 20), CatchUp::Snapshot, 1);
    talk.root(at(1, 20));
    assert_eq!((holds(&talk), scope_of(&talk)), (vec![], Some(scope(1))));
    assert_eq!(broken(&mut talk), None);
}

#[test]
fn what_is_wanted_is_said_once() {
    let options = MachineOptions { look_interval_ms: 0, ..MachineOptions::default() };
    let mut talk = walker(options);
    let farther = Area::from_metres([29.0, 0.0, 0.0], 40.0).ok();
    for wanted in [Some(area()), farther, farther, None, None] {
        talk.machine.look(talk.now_ms, BRANE, wanted, &mut talk.out);
    }
    let said = talk.out.iter().filter_map(|output| match output {
        Output::Send(ClientMessage::View { channel, area }) => Some((channel.0, *area)),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [(5, farther), (5, None)]);
    talk.cut();
    assert_eq!(joins(&talk)[0].area, None, "the last counts after a cut, too");
}

#[test]
fn a_position_follows_steps_and_windows_alike() {
    let options = MachineOptions { copy: CopyKind::Position, ..MachineOptions::default() };
    let mut talk = walker(options);
    let (from, to, durable) = (Seq(0), Seq(2), Seq(0));
    let head = FlushHead { channel: Channel(5), epoch: Epoch(1), from, to, durable };
    talk.tell(Input::FlushHead(head));
    talk.hear(view(2, part(at(1, 4), 0, false, &[2])));
    talk.hear(view(2, part(at(1, 4), 1, true, &[3])));
    talk.hear(window(4, 6, &[2], &[]));
    assert_eq!((talk.machine.position(BRANE), broken(&mut talk)), (Some(at(1, 6)), None));
    talk.cut();
    let resume = joins(&talk).remove(0).resume.expect("it stands somewhere");
    assert_eq!((resume.version, resume.scope), (at(1, 6), Some(scope(2))));
}
