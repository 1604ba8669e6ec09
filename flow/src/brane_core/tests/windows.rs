use avvy_protocol::FlushItem;

use super::*;
use crate::flush_window::FlushWindowConfig;

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
        Edit::Batch(_) => unreachable!(),
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
