//! How often a window is encoded.

use std::cell::Cell as Count;

use avvy_model::{Cell, Epoch, Kind, MovePatch, Object, ObjectId, Parts, Props, Transform, UserId};
use avvy_protocol::{Channel, MoveRecord, codec};

use super::*;

thread_local! {
    /// Cells, and objects that cross.
    static ENCODED: [Count<u64>; 2] = const { [Count::new(0), Count::new(0)] };
}

/// Counts.
pub(super) fn encode_cell(items: &[FlushItem]) -> Vec<u8> {
    ENCODED.with(|[cells, _]| cells.set(cells.get() + 1));
    codec::encode_cell(items)
}

/// Counts.
pub(super) fn encode_objects(objects: &[ObjectAt]) -> EncodedObjects {
    ENCODED.with(|[_, objects]| objects.set(objects.get() + 1));
    codec::encode_objects(objects)
}

const CELLS: i32 = 4;

/// A move in each of the cells in a row, and something that comes into the
/// first of them from afar.
fn window(n: u64) -> Window {
    let moved = |x: i32| {
        let mut to = Transform::IDENTITY;
        to.position = [160_000 * x, 0, 0];
        let patch = MovePatch::new(Parts::POSITION, to);
        FlushItem::Moves(vec![MoveRecord { handle: Handle(x as u32), patch }])
    };
    let home = |x: i32| Home::Cell(Cell([x, 0, 0]));
    let object = Object {
        id: ObjectId::from_bytes([1; 16]),
        parent: Handle::ROOT,
        kind: Kind::Block,
        owner: UserId::from_bytes([2; 16]),
        transform: Transform::IDENTITY,
        props: Props::default(),
    };
    let crossing = Crossing {
        handle: Handle(99),
        from: home(1_000),
        to: Some(home(0)),
        followed: false,
        objects: CrossedObjects::Whole(vec![ObjectAt { handle: Handle(99), object }]),
    };
    let cells = (0..CELLS).map(|x| (home(x), vec![moved(x)])).collect();
    let (from, to) = (Seq(n * 4), Seq(n * 4 + 4));
    let flush = Flush {
        channel: Channel(1),
        epoch: Epoch(1),
        from,
        to,
        durable: from,
        ms: 0,
        items: (0..CELLS).map(moved).collect(),
    };
    let cells = Some(Arc::new(CellWindow { cells, crossings: vec![crossing] }));
    Window { flush: Arc::new(flush), cells, acks: Vec::new() }
}

#[test]
fn a_cell_of_a_window_is_encoded_once_whoever_sees_it() {
    let windows: Vec<_> = (0..5).map(|n| WindowFrames::publish(&window(n))).collect();
    for x in 0..50 {
        let view = View { center: Cell([x % 7 - 3, x / 7, 0]), reach: 8 };
        for window in &windows {
            let Part::Shown(frame) = window.payload.part(&view, window.from) else {
                panic!("{view:?} has all of them");
            };
            let Ok(ServerMessage::AreaFlush(flush)) = decode_server(frame.payload()) else {
                panic!("it is a part of a window");
            };
            assert_eq!((flush.cells.len(), flush.entered.len()), (CELLS as usize, 1));
        }
    }
    let encoded = ENCODED.with(|counts| counts.each_ref().map(Count::get));
    assert_eq!(encoded, [5 * CELLS as u64, 5], "of each window");
}
