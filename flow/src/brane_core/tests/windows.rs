use avvy_model::{Area, DeleteMode};
use avvy_protocol::{FlushItem, WireChange};

use super::*;
use crate::flush_window::FlushWindowConfig;

/// Cells are read one after the other, in whatever order.
#[test]
fn what_was_hung_under_what_is_deleted_leaves_with_its_own_cell() {
    let group = |n: u128, x: i32| {
        let mut transform = Transform::IDENTITY;
        transform.position = [x, 0, 0];
        let (id, parent) =
            (ObjectId::new(Uuid::from_u128(0x3000 + n)), Target::Handle(Handle::ROOT));
        let (kind, props) = (Kind::Group, Props::default());
        Edit::One(Operation::Create { id, parent, kind, transform, props })
    };
    let below = |handle, parent| {
        let [target, parent] = [handle, parent].map(|n| Target::Handle(Handle(n)));
        Edit::One(Operation::Reparent { target, parent, transform: None })
    };
    let delete = |handle| {
        let mode = DeleteMode::Subtree;
        Edit::One(Operation::Delete { target: Target::Handle(Handle(handle)), mode })
    };
    let mut bench = Bench::joined();
    let area = Some(Area { center: [0; 3], radius: 10 });
    bench.input(BraneInput::View { session: TWO, area });
    // One here with something in it, two far away in the same cell.
    bench.update(ONE, [(1, group(1, 0)), (2, group(2, 9_000_000)), (3, group(3, 9_000_000))]);
    bench.pass_us(50_000).update(ONE, [(4, group(4, 0))]);
    bench.pass_us(50_000).update(ONE, [(5, below(4, 1)), (6, below(3, 2))]);
    bench.pass_us(50_000).tick();
    bench.take();
    let last = [(8, shift(1, 1)), (9, below(1, 2)), (10, delete(2))];
    let [one, two, three] = last;
    bench.update(ONE, [(7, shift(2, 8_999_999)), one, two, three]);
    let windows = bench.take().windows;
    let cells = windows.iter().filter_map(|window| window.cells.as_deref());
    let items = cells.clone().flat_map(|cells| cells.cells.iter().flat_map(|(_, items)| items));
    let changes = items.filter_map(|item| match item {
        FlushItem::Event(event) => Some(event.changes.clone()),
        _ => None,
    });
    let deleted = WireChange::Deleted { handles: vec![Handle(2), Handle(3)] };
    assert_eq!(changes.collect::<Vec<_>>(), [vec![deleted]]);
    let left: Vec<_> = cells.flat_map(|cells| &cells.crossings).map(|one| one.handle).collect();
    assert_eq!(left, [Handle(1)]);
}

#[test]
fn parts_are_noted_for_a_while_after_their_last_viewer() {
    let mut bench = Bench::with(BraneConfig { part_linger_ms: 100, ..BraneConfig::default() });
    bench.join(ONE, None).join(TWO, None);
    let mut last = 0;
    let mut are_noted = |bench: &mut Bench, pause_us| {
        last += 1;
        bench.pass_us(pause_us).update(ONE, [(last, create(last.into()))]);
        bench.take().windows.iter().map(|window| window.cells.is_some()).collect::<Vec<_>>()
    };
    let area = Some(Area { center: [0; 3], radius: 10 });
    assert_eq!(are_noted(&mut bench, 50_000), [false]);
    bench.input(BraneInput::View { session: TWO, area });
    are_noted(&mut bench, 50_000);
    bench.pass_us(10_000_000).input(BraneInput::View { session: TWO, area: None });
    assert_eq!(are_noted(&mut bench, 50_000), [true]);
    assert_eq!(are_noted(&mut bench, 49_999), [true], "somebody may come back");
    assert_eq!(are_noted(&mut bench, 50_000), [true], "it was open before");
    assert_eq!(are_noted(&mut bench, 50_000), [false]);
}

#[test]
fn idle_is_published_at_once_and_journaled_before() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1)), (2, create(2))]);
    let done = bench.take();
    assert_eq!(done.journal.len(), 1);
    let [window] = &done.windows[..] else { panic!("one window") };
    let flush = &window.flush;
    assert_eq!((flush.epoch, flush.from, flush.to), (Epoch(1), Seq(0), Seq(2)));
    assert_eq!((flush.channel, flush.ms, flush.durable), (CHANNEL, 1_700_000_000_000, Seq(0)));
    assert_eq!(flush.items.len(), 2);
    assert_eq!(acks(window), [(1, vec![(1, 1), (2, 2)])]);
}

#[test]
fn runs_of_moves_are_one_item() {
    let mut bench = Bench::joined();
    let edits =
        [(1, create(1)), (2, shift(1, 1)), (3, shift(1, 2)), (4, create(2)), (5, shift(2, 1))];
    bench.update(ONE, edits);
    let done = bench.take();
    let items = done.windows[0].flush.items.iter();
    let shape = items.map(|item| match item {
        FlushItem::Moves(moves) => moves.len(),
        FlushItem::Event(_) => 0,
        FlushItem::Skip(_) => 99,
    });
    assert_eq!(shape.collect::<Vec<_>>(), [0, 2, 0, 1]);
}

#[test]
fn busy_collects_until_the_fan_out_is_ready_and_the_interval_has_passed() {
    let flush = FlushWindowConfig { burst_windows: 1, ..Default::default() };
    let mut bench = Bench::joined_with(BraneConfig { flush, ..Default::default() });
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]);
    bench.take();
    bench.update(ONE, [(2, create(2))]).update(TWO, [(1, create(3))]);
    assert_eq!(bench.done.windows.len(), 0, "one is in flight");
    bench.pass_us(2_000).ready(Seq(1));
    assert_eq!(bench.done.windows.len(), 0, "2 ms of fan-out want 4 ms between windows");
    assert_eq!(bench.done.wakes.last(), Some(&1_000_004_000));
    bench.pass_us(2_000).tick();
    let done = bench.take();
    assert_eq!(done.windows.len(), 1);
    assert_eq!(acks(&done.windows[0]), [(1, vec![(2, 2)]), (2, vec![(1, 3)])]);
}

#[test]
fn a_stuck_fan_out_does_not_keep_edits_from_the_journal() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2))]);
    assert_eq!(bench.take().wakes.last(), Some(&1_000_033_000));
    bench.pass_us(33_000).tick();
    let done = bench.take();
    assert_eq!((done.journal.len(), done.windows.len()), (1, 0));
    bench.update(ONE, [(3, create(3))]).pass_us(33_000).ready(Seq(1));
    assert_eq!(bench.ranges(), [(1, 2), (2, 3)], "then all that is closed goes out");
}

#[test]
fn every_edit_alone() {
    let flush = FlushWindowConfig { flush_every_edit: true, ..Default::default() };
    let mut bench = Bench::joined_with(BraneConfig { flush, ..Default::default() });
    bench.eager = false;
    bench.update(ONE, [(1, create(1)), (2, create(2)), (3, delete_root())]);
    bench.update(ONE, [(4, create(4))]);
    assert_eq!(bench.done.journal.len(), 3);
    assert_eq!(bench.ranges(), [(0, 1), (1, 2), (2, 3)]);
}

#[test]
fn a_large_update_is_cut() {
    let flush = FlushWindowConfig { max_window_events: 2, ..Default::default() };
    let mut bench = Bench::joined_with(BraneConfig { flush, ..Default::default() });
    let edits = [1, 2, 3, 4, 5].map(|n| (n, create(n.into())));
    bench.update(ONE, edits);
    assert_eq!(bench.done.journal.len(), 3);
    let told: Vec<_> = bench.done.windows.iter().flat_map(acks).collect();
    let expected = [vec![(1, 1), (2, 2)], vec![(3, 3), (4, 4)], vec![(5, 5)]];
    assert_eq!(told, expected.map(|edits| (1, edits)));
    assert_eq!(bench.ranges(), [(0, 2), (2, 4), (4, 5)]);
}

#[test]
fn a_window_is_closed_before_it_grows_beyond_its_bytes() {
    let flush = FlushWindowConfig { max_window_bytes: 850, ..Default::default() };
    let mut bench = Bench::joined_with(BraneConfig { flush, ..Default::default() });
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]);
    bench.take();
    // A creation weighs 273 bytes, and three in a batch 627.
    let three = [4, 5, 6].map(|n| match create(n) {
        Edit::One(operation) => operation,
        Edit::Batch(_) | Edit::Rule(_) | Edit::Follow(_) => unreachable!(),
    });
    let batch = Edit::Batch(three.into());
    bench.update(ONE, [(2, create(2)), (3, create(3)), (4, batch), (5, create(7))]);
    bench.ready(Seq(1)).pass_us(50_000).tick();
    assert_eq!(bench.ranges(), [(1, 3), (3, 4), (4, 5)]);
}

#[test]
fn wakes_are_asked_for_once() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]);
    for n in 2..10 {
        bench.update(ONE, [(n, create(n.into()))]);
    }
    assert_eq!(bench.take().wakes.len(), 1);
}

#[test]
fn a_fan_out_that_never_finishes_is_a_bound() {
    let config = BraneConfig { max_unpublished_edits: 3, ..Default::default() };
    let mut bench = Bench::joined_with(config);
    bench.eager = false;
    for n in 1..=5 {
        bench.update(ONE, [(n, create(n.into()))]);
    }
    let refused = [(4, Code::Unavailable), (5, Code::Unavailable)];
    assert_eq!(refusals(&bench.take()), refused);
    assert!(bench.core.status().unavailable);
    bench.ready(Seq(1)).update(ONE, [(6, create(6))]);
    assert_eq!(refusals(&bench.take()), []);
}
