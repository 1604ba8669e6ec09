use avvy_model::{BraneId, Epoch, Seq};
use bytes::Bytes;

use super::SpoolingEffect::{CutOff, Drain, Full, WakeAt, Write};
use super::*;
use crate::group_commit::JournalChunk;

fn brane(nth: u8) -> BraneId {
    BraneId::from_bytes([nth; 16])
}

/// A chunk of the nth brane.
fn of(nth: u8, to: u64) -> QueuedChunk {
    let (from, body) = (Seq(to - 1), Bytes::from_static(b"edits"));
    let chunk = JournalChunk { epoch: Epoch(1), from, to: Seq(to), at_ms: 0, body };
    QueuedChunk { brane: brane(nth), chunk }
}

fn chunk(to: u64) -> QueuedChunk {
    of(1, to)
}

fn chunks(range: std::ops::RangeInclusive<u64>) -> Vec<QueuedChunk> {
    range.map(chunk).collect()
}

/// A machine with its effects.
#[derive(Default)]
struct Bench {
    machine: Spooling,
    effects: Vec<SpoolingEffect>,
}

impl Bench {
    /// One for which the store went away while these waited, and that wrote
    /// them.
    fn away(waiting: std::ops::RangeInclusive<u64>) -> Self {
        let mut bench = Self::default();
        assert_eq!(bench.failed(waiting.clone()), [Write(chunks(waiting))]);
        assert_eq!(bench.written(Written::Kept), []);
        bench
    }

    fn failed(&mut self, waiting: std::ops::RangeInclusive<u64>) -> Vec<SpoolingEffect> {
        self.machine.away(chunks(waiting).iter(), &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn push(&mut self, to: u64) -> Vec<SpoolingEffect> {
        self.machine.push(&chunk(to), &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn stored(&mut self, gone: u64, waiting: usize) -> Vec<SpoolingEffect> {
        self.machine.stored(0, gone, waiting, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn sure(&mut self, gone: u64) -> Vec<SpoolingEffect> {
        self.machine.sure(0, gone, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn written(&mut self, written: Written) -> Vec<SpoolingEffect> {
        self.machine.written(0, written, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn drained(&mut self, settled: bool) -> Vec<SpoolingEffect> {
        self.machine.drained(0, settled, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn tick(&mut self, now_us: u64) -> Vec<SpoolingEffect> {
        self.machine.tick(now_us, &mut self.effects);
        std::mem::take(&mut self.effects)
    }
}

#[test]
fn nothing_is_written_while_the_store_takes_it() {
    let mut bench = Bench::default();
    assert_eq!(bench.push(1), []);
    assert_eq!(bench.stored(1, 0), []);
    assert!(bench.machine.is_idle());
}

#[test]
fn what_waits_and_what_comes_is_written_a_write_at_a_time() {
    let mut bench = Bench::default();
    assert!(bench.machine.away(chunks(1..=2).iter(), &mut bench.effects), "it is news");
    assert_eq!(std::mem::take(&mut bench.effects), [Write(chunks(1..=2))]);
    assert_eq!((bench.push(3), bench.push(4)), (vec![], vec![]), "one is under way");
    assert!(!bench.machine.is_kept());
    assert_eq!(bench.failed(1..=4), [], "each is written once");
    assert_eq!(bench.written(Written::Kept), [Write(chunks(3..=4))]);
    assert_eq!(bench.written(Written::Kept), []);
    assert!(bench.machine.is_kept());
    assert_eq!(bench.push(5), [Write(chunks(5..=5))]);
}

#[test]
fn it_is_drained_when_the_store_has_all_of_it() {
    let mut bench = Bench::away(1..=3);
    assert_eq!(bench.stored(1, 2), [], "two are still on their way");
    assert_eq!(bench.push(4), [], "and later ones are not written");
    assert_eq!(bench.stored(2, 2), []);
    assert_eq!(bench.stored(3, 1), [Drain]);
    assert_eq!(bench.stored(4, 0), [], "one is under way");
    assert_eq!(bench.drained(true), []);
    assert!(bench.machine.is_idle());
    assert_eq!(bench.stored(5, 0), [], "nothing is there");
}

#[test]
fn a_node_that_is_sure_again_drains_though_nothing_is_committed() {
    let mut bench = Bench::away(1..=3);
    assert_eq!(bench.sure(3), [Drain]);
    assert_eq!(bench.drained(true), []);
    assert!(bench.machine.is_idle());
}

#[test]
fn what_is_being_written_when_the_store_returns_is_drained_after_it() {
    let mut bench = Bench::default();
    assert_eq!(bench.failed(1..=1), [Write(chunks(1..=1))]);
    assert_eq!(bench.push(2), []);
    assert_eq!(bench.stored(2, 0), [], "what was not written yet need not be");
    assert_eq!(bench.written(Written::Kept), [Drain]);
}

#[test]
fn a_drain_that_fails_is_tried_again_after_a_pause() {
    let mut bench = Bench::away(1..=1);
    assert_eq!(bench.stored(1, 0), [Drain]);
    assert_eq!(bench.drained(false), [WakeAt(1_000_000)]);
    assert_eq!(bench.stored(2, 0), [], "others do not cut the pause short");
    assert_eq!(bench.tick(999_999), []);
    assert_eq!(bench.tick(1_000_000), [Drain]);
    assert_eq!(bench.drained(true), []);
    assert_eq!(bench.tick(2_000_000), []);
}

#[test]
fn a_store_that_goes_away_again_has_everything_written_again() {
    let mut bench = Bench::away(1..=2);
    assert_eq!(bench.stored(1, 1), []);
    assert_eq!(bench.failed(2..=3), [Write(chunks(2..=3))]);
    assert_eq!(bench.tick(u64::MAX), [], "no drain while it is away");
    bench.written(Written::Kept);
    assert_eq!(bench.stored(2, 1), []);
    assert_eq!(bench.stored(3, 0), [Drain]);
    assert_eq!(bench.failed(4..=4), [], "a drain is under way");
    assert_eq!(bench.drained(true), [Write(chunks(4..=4))]);
}

#[test]
fn a_full_spool_is_told_once_and_until_the_store_is_back() {
    let mut bench = Bench::away(1..=1);
    assert_eq!(bench.push(2), [Write(chunks(2..=2))]);
    assert_eq!(bench.push(3), []);
    bench.machine.push(&of(2, 1), &mut bench.effects);
    let told = [CutOff(vec![brane(1)]), Full(true), Write(vec![of(2, 1)])];
    assert_eq!(bench.written(Written::NoRoom), told);
    assert_eq!(bench.written(Written::NoRoom), [CutOff(vec![brane(2)])]);
    assert_eq!(bench.stored(3, 0), [Full(false), Drain]);
}

/// Without what there was no room for, the journal has no place for what
/// follows; with it, all is well.
#[test]
fn nothing_is_written_behind_what_there_was_no_room_for() {
    let mut bench = Bench::away(1..=1);
    bench.machine.push(&of(2, 1), &mut bench.effects);
    assert_eq!(std::mem::take(&mut bench.effects), [Write(vec![of(2, 1)])]);
    assert_eq!(bench.written(Written::Kept), []);
    assert_eq!(bench.push(2), [Write(chunks(2..=2))]);
    // These wait for it.
    assert_eq!(bench.push(3), []);
    bench.machine.push(&of(2, 2), &mut bench.effects);
    let told = [CutOff(vec![brane(1)]), Full(true), Write(vec![of(2, 2)])];
    assert_eq!(bench.written(Written::NoRoom), told);
    assert!(bench.machine.is_cut_off(brane(1)) && !bench.machine.is_cut_off(brane(2)));
    assert_eq!(bench.written(Written::Kept), []);
    assert_eq!(bench.push(4), [], "smaller, and there may be room for it");
    assert!(bench.machine.is_kept());
    // The store has taken one, and goes away again: what waits has no gap.
    assert_eq!(bench.stored(1, 3), [Full(false)]);
    assert!(!bench.machine.is_cut_off(brane(1)));
    assert_eq!(bench.failed(2..=4), [Write(chunks(2..=4))]);
    assert_eq!(bench.written(Written::Kept), []);
    assert_eq!(bench.push(5), [Write(chunks(5..=5))]);
}

/// Everything that waits is written again when the store goes away again, so
/// what became of a write from before does not matter.
#[test]
fn a_write_from_before_cuts_nothing_off() {
    let mut bench = Bench::default();
    assert_eq!(bench.failed(1..=2), [Write(chunks(1..=2))]);
    assert_eq!(bench.stored(1, 1), []);
    assert_eq!(bench.failed(2..=2), [], "the write is under way");
    assert_eq!(bench.written(Written::Failed), [Write(chunks(2..=2))]);
    assert!(!bench.machine.is_cut_off(brane(1)));
}

#[test]
fn a_spool_that_is_full_when_the_store_is_back_keeps_nobody_out() {
    let mut bench = Bench::default();
    assert_eq!(bench.failed(1..=1), [Write(chunks(1..=1))]);
    assert_eq!(bench.stored(1, 0), []);
    assert_eq!(bench.written(Written::NoRoom), [Drain]);
}

#[test]
fn a_write_that_fails_keeps_nobody_out() {
    let mut bench = Bench::default();
    assert_eq!(bench.failed(1..=1), [Write(chunks(1..=1))]);
    assert_eq!(bench.written(Written::Failed), [CutOff(vec![brane(1)])]);
    assert_eq!(bench.push(2), [], "it may not be there");
    assert_eq!(bench.stored(2, 0), [Drain], "it may be there");
}
