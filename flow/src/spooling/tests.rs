use avvy_model::{BraneId, Epoch, Seq};
use bytes::Bytes;

use super::SpoolingEffect::{Drain, Full, WakeAt, Write};
use super::*;
use crate::group_commit::JournalChunk;

fn chunk(to: u64) -> QueuedChunk {
    let (from, body) = (Seq(to - 1), Bytes::from_static(b"edits"));
    let chunk = JournalChunk { epoch: Epoch(1), from, to: Seq(to), at_ms: 0, body };
    QueuedChunk { brane: BraneId::from_bytes([1; 16]), chunk }
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
    assert_eq!(bench.written(Written::NoRoom), [Full(true), Write(chunks(3..=3))]);
    assert_eq!(bench.written(Written::NoRoom), []);
    assert_eq!(bench.stored(3, 0), [Full(false), Drain]);
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
    assert_eq!(bench.written(Written::Failed), []);
    assert_eq!(bench.stored(1, 0), [Drain], "it may be there");
}
