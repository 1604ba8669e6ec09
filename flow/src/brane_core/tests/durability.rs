use super::*;

#[test]
fn waiting_editors_are_told() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1))]).pass_us(50_000).update(TWO, [(1, create(2))]);
    bench.durable(1);
    assert_eq!(bench.take().durable, [(at(1, 1), vec![ONE])]);
    bench.durable(2);
    assert_eq!(bench.take().durable, [(at(1, 2), vec![TWO])]);
    assert_eq!(bench.core.status().durable, Seq(2));
}

#[test]
fn each_editor_is_told_once_for_several_windows() {
    let mut bench = Bench::joined();
    for n in 1..=4 {
        bench.update(ONE, [(n, create(n.into()))]).pass_us(50_000);
    }
    bench.durable(4);
    assert_eq!(bench.take().durable, [(at(1, 4), vec![ONE])]);
}

#[test]
fn the_watermark_only_rises_and_belongs_to_its_epoch() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1)), (2, create(2))]).durable(2);
    bench.take();
    bench.durable(1).durable(2);
    bench.input(BraneInput::Durable { epoch: Epoch(2), seq: Seq(2) });
    bench.input(BraneInput::Durable { epoch: Epoch(1), seq: Seq(3) });
    assert_eq!(bench.take().durable, []);
    let status = bench.core.status();
    assert_eq!((status.durable, status.foreign_durable), (Seq(2), 2));
}

#[test]
fn the_next_window_carries_the_watermark() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1))]).durable(1).pass_us(50_000).update(ONE, [(2, create(2))]);
    let marks: Vec<_> = bench.take().windows.iter().map(|window| window.flush.durable.0).collect();
    assert_eq!(marks, [0, 1]);
}

#[test]
fn many_editors_learn_it_from_the_window_that_is_near() {
    let config = BraneConfig { durable_tells: 1, ..Default::default() };
    let mut bench = Bench::joined_with(config);
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]);
    bench.update(ONE, [(2, create(2))]).update(TWO, [(1, create(3))]);
    bench.durable(1);
    assert_eq!(bench.take().durable, [(at(1, 1), vec![ONE])], "one is few");
    bench.pass_us(50_000).ready(Seq(1));
    bench.update(TWO, [(2, create(4))]);
    bench.take();
    bench.durable(3);
    assert_eq!(bench.take().durable, [], "a window is open");
    bench.pass_us(50_000).ready(Seq(3));
    let done = bench.take();
    assert_eq!((done.windows[0].flush.durable, done.durable), (Seq(3), vec![]));
}

#[test]
fn durable_is_never_told_before_the_edit_is_shown() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(TWO, [(1, create(2))]);
    bench.pass_us(33_000).tick();
    assert_eq!(bench.take().journal.len(), 2, "the second window is closed, not published");
    bench.durable(2);
    assert_eq!(bench.take().durable, [(at(1, 1), vec![ONE])]);
    bench.ready(Seq(1));
    let done = bench.take();
    assert_eq!(done.windows[0].flush.durable, Seq(2));
    assert_eq!(done.durable, [], "the window says it");
}

#[test]
fn a_long_journal_refuses_edits_until_the_store_catches_up() {
    let config = BraneConfig { max_journal_bytes: 1_000, ..Default::default() };
    let mut bench = Bench::joined_with(config);
    let mut counter = 0;
    while !bench.core.status().unavailable {
        counter += 1;
        bench.update(ONE, [(counter, create(counter.into()))]).pass_us(50_000);
        assert!(counter < 100, "there is a bound");
    }
    let pending = bench.core.status().journal_pending_bytes;
    assert!((1_000..1_300).contains(&pending), "{pending}");
    bench.take();
    bench.update(ONE, [(counter + 1, create(0))]);
    assert_eq!(refusals(&bench.take()), [(counter + 1, Code::Unavailable)]);
    bench.durable(counter);
    assert_eq!(bench.core.status().journal_pending_bytes, 0);
    assert_eq!(bench.core.status().journal_pending_chunks, 0);
    bench.update(ONE, [(counter + 2, create(0))]);
    assert_eq!(refusals(&bench.take()), []);
}

#[test]
fn who_left_is_not_told() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1))]).input(BraneInput::Leave { session: ONE }).durable(1);
    assert_eq!(bench.take().durable, []);
}
