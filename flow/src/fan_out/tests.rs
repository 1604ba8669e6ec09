mod levels;
mod random;
mod turns;
mod views;

use std::cell::Cell;
use std::vec::IntoIter;

use avvy_model::{Epoch, Position, Seq};

use super::*;

thread_local! {
    /// How often what a view shows of a window was made.
    static MADE: Cell<u64> = const { Cell::new(0) };
}

/// What a session received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Got {
    Window(u64),
    Part(u64),
    Complete(u64),
}
use Got::{Complete, Part, Window};

/// An outbox that is full after so many frames.
#[derive(Default, Debug)]
struct Outbox {
    got: Vec<Got>,
    room: usize,
    held: Vec<Got>,
}

impl Wire<u64> for Outbox {
    fn hold(&mut self, frame: u64) {
        self.held.push(Window(frame));
    }

    fn release(&mut self) {
        self.got.append(&mut self.held);
    }

    fn send(&mut self, frame: Frame<'_, u64>) -> Room {
        if matches!(frame, Frame::Windows(_)) {
            self.release();
        }
        match frame {
            Frame::Windows(windows) => self.got.extend(windows.iter().map(|to| Window(*to))),
            Frame::Part(number) => self.got.push(Part(number)),
            Frame::Complete(at) => self.got.push(Complete(at.seq.0)),
        }
        self.room = self.room.saturating_sub(1);
        if self.room == 0 { Room::Full } else { Room::More }
    }
}

impl Content<u64> for u64 {
    fn whole(&self) -> &u64 {
        self
    }

    /// A view is shown the windows that its reach divides.
    fn part(&self, view: &View, _from: Seq) -> super::Part<u64> {
        MADE.set(MADE.get() + 1);
        match self {
            13 => super::Part::Unknown,
            to if to % u64::from(view.reach) == 0 => super::Part::Shown(*to),
            _ => super::Part::Nothing,
        }
    }

    fn bytes(_frame: &u64) -> usize {
        8
    }

    fn nothing(&self, from: Seq) -> u64 {
        1_000 * from.0 + self
    }

    /// Up to three windows, as the last one and a million.
    fn collapsed(windows: &[&u64], view: Option<&View>, from: Seq) -> (usize, super::Part<u64>) {
        let count = windows.len().min(3);
        let last = windows[count - 1];
        match view {
            None => (count, super::Part::Shown(1_000_000 + last)),
            Some(view) => (1, windows[0].part(view, from)),
        }
    }
}

struct Bench {
    machine: FanOut<u64, u64, IntoIter<u64>, Outbox>,
    effects: Vec<FanOutEffect>,
    now_us: u64,
}

const ONE: SessionKey = SessionKey(1);
const TWO: SessionKey = SessionKey(2);

fn at(seq: u64) -> Position {
    Position { epoch: Epoch(1), seq: Seq(seq) }
}

/// Everybody is served everything.
fn small() -> FanOutConfig {
    let never = Threshold { bytes: usize::MAX, age_ms: u32::MAX };
    FanOutConfig {
        ring_max_windows: 4,
        bite_windows: 2,
        bite_parts: 2,
        degrade: [never; 4],
        ..Default::default()
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(small())
    }

    fn with(config: FanOutConfig) -> Self {
        Self { machine: FanOut::new(config, at(0)), effects: Vec::new(), now_us: 0 }
    }

    /// Publishes windows of one edit up to this one.
    fn publish_to(&mut self, to: u64) -> &mut Self {
        for to in self.machine.head().seq.0 + 1..=to {
            let (from, to) = (Seq(to - 1), Seq(to));
            let window = Published { epoch: Epoch(1), from, to, bytes: 1, at_us: 0, payload: to.0 };
            self.machine.publish(self.now_us, window, &mut self.effects);
        }
        self
    }

    fn attach(&mut self, key: SessionKey, room: usize, start: Start<IntoIter<u64>>) {
        let outbox = Outbox { room, ..Default::default() };
        self.machine.attach(self.now_us, key, outbox, Sight::default(), start, &mut self.effects);
    }

    fn load(&mut self, key: SessionKey, room: usize, parts: u64, seq: u64) {
        let parts = (0..parts).collect::<Vec<_>>().into_iter();
        self.attach(key, room, Start::Load { parts, at: at(seq) });
    }

    fn drained(&mut self, key: SessionKey, room: usize) {
        self.machine.wire_mut(key).expect("attached").room = room;
        self.machine.drained(self.now_us, key, &mut self.effects);
    }

    fn work(&mut self) {
        while self.machine.has_work() {
            self.machine.work(self.now_us, &mut self.effects);
        }
    }

    fn got(&mut self, key: SessionKey) -> Vec<Got> {
        std::mem::take(&mut self.machine.wire_mut(key).expect("attached").got)
    }

    /// What is to be done, but for what each publication leads to.
    fn effects(&mut self) -> Vec<FanOutEffect> {
        let effects = std::mem::take(&mut self.effects);
        effects.into_iter().filter(|e| !matches!(e, FanOutEffect::Ready { .. })).collect()
    }

    fn live(&self) -> usize {
        self.machine.status().live
    }
}

fn replayed(range: impl Iterator<Item = u64>) -> Vec<Got> {
    range.flat_map(|seq| [Window(seq), Complete(seq)]).collect()
}

#[test]
fn a_session_at_the_head_is_live_at_once() {
    let mut bench = Bench::new();
    bench.publish_to(3).attach(ONE, 99, Start::Replay(at(3)));
    assert_eq!((bench.live(), bench.got(ONE)), (1, vec![]));
    bench.publish_to(5);
    assert_eq!(bench.got(ONE), [Window(4), Window(5)], "live windows are not marked complete");
}

#[test]
fn replay_comes_in_bites_and_every_window_is_complete() {
    let mut bench = Bench::new();
    bench.publish_to(4).attach(ONE, 99, Start::Replay(at(1)));
    assert_eq!(bench.got(ONE), replayed(2..=3), "the first bite");
    assert_eq!(bench.live(), 0);
    bench.publish_to(5);
    assert_eq!(bench.got(ONE), [], "what is published meanwhile waits in the ring");
    bench.work();
    assert_eq!(bench.got(ONE), replayed(4..=5));
    assert_eq!(bench.live(), 1);
}

#[test]
fn a_full_outbox_stops_a_live_session_and_drained_goes_on() {
    let mut bench = Bench::new();
    bench.attach(ONE, 2, Start::Replay(at(0)));
    bench.attach(TWO, 99, Start::Replay(at(0)));
    bench.publish_to(4);
    assert_eq!(bench.got(ONE), [Window(1), Window(2)], "the frame that filled it was taken");
    assert_eq!(bench.got(TWO).len(), 4);
    bench.work();
    assert_eq!(bench.got(ONE), [], "a full outbox gets nothing");
    bench.drained(ONE, 99);
    assert_eq!(bench.got(ONE), replayed(3..=4));
    assert_eq!((bench.live(), bench.machine.status().fell_behind), (2, 1));
    bench.publish_to(5);
    assert_eq!(bench.got(ONE), [Window(5)]);
}

#[test]
fn filled_by_the_last_window_it_is_live_when_drained() {
    let mut bench = Bench::new();
    bench.attach(ONE, 1, Start::Replay(at(0)));
    bench.publish_to(1);
    bench.drained(ONE, 99);
    assert_eq!((bench.live(), bench.got(ONE)), (1, vec![Window(1)]));
}

#[test]
fn all_filled_in_one_publication() {
    let mut bench = Bench::new();
    for key in 0..10 {
        bench.attach(SessionKey(key), if key % 3 == 0 { 1 } else { 99 }, Start::Replay(at(0)));
    }
    bench.publish_to(1);
    assert_eq!((bench.live(), bench.machine.status().lagging), (6, 4));
    bench.publish_to(2);
    for key in 0..10 {
        bench.drained(SessionKey(key), 99);
        let expected = if key % 3 == 0 {
            vec![Window(1), Window(2), Complete(2)]
        } else {
            vec![Window(1), Window(2)]
        };
        assert_eq!(bench.got(SessionKey(key)), expected, "session {key}");
    }
    assert_eq!(bench.live(), 10);
}

#[test]
fn a_snapshot_then_the_ring_then_live() {
    let mut bench = Bench::new();
    bench.publish_to(2).load(ONE, 99, 5, 2);
    assert_eq!(bench.got(ONE), [Part(0), Part(1)]);
    bench.publish_to(4);
    bench.work();
    let mut expected = vec![Part(2), Part(3), Part(4)];
    expected.extend(replayed(3..=4));
    assert_eq!(bench.got(ONE), expected);
    assert_eq!(bench.live(), 1);
}

#[test]
fn an_outbox_filled_by_parts_is_loaded_on() {
    let mut bench = Bench::new();
    bench.load(ONE, 1, 3, 0);
    bench.work();
    assert_eq!(bench.got(ONE), [Part(0)]);
    bench.drained(ONE, 1);
    bench.drained(ONE, 1);
    assert_eq!(bench.got(ONE), [Part(1), Part(2)]);
    assert_eq!(bench.live(), 0, "full, though it has everything");
    bench.drained(ONE, 1);
    assert_eq!(bench.live(), 1);
}

#[test]
fn fallen_out_of_the_ring_asks_for_a_new_start() {
    let mut bench = Bench::new();
    bench.attach(ONE, 1, Start::Replay(at(0)));
    bench.publish_to(9);
    bench.drained(ONE, 99);
    assert_eq!(
        bench.effects(),
        [FanOutEffect::Resync { session: ONE, at: Some(at(1)), view: None }]
    );
    bench.publish_to(10).work();
    bench.drained(ONE, 99);
    assert_eq!(bench.effects(), [], "asked once");
    let start = Start::Load { parts: vec![7].into_iter(), at: at(10) };
    assert!(bench.machine.restart(0, ONE, None, start, &mut bench.effects));
    assert_eq!(bench.got(ONE), [Window(1), Part(7)]);
    bench.work();
    assert_eq!(bench.live(), 1);
    bench.publish_to(11);
    assert_eq!(bench.got(ONE), [Window(11)]);
}

#[test]
fn positions_that_never_were_are_lost() {
    for seq in [3, 77] {
        let mut bench = Bench::new();
        bench.publish_to(2).attach(ONE, 99, Start::Replay(at(seq)));
        assert_eq!(
            bench.effects(),
            [FanOutEffect::Resync { session: ONE, at: Some(at(seq)), view: None }]
        );
    }
}

#[test]
fn evicted_again_and_again_is_closed() {
    let mut bench = Bench::new();
    bench.attach(ONE, 1, Start::Replay(at(0)));
    bench.publish_to(1);
    for round in 1..=3 {
        let head = bench.machine.head().seq.0;
        bench.publish_to(head + 9).drained(ONE, 1);
        assert_eq!(bench.effects().len(), 1, "round {round}");
        let start = Start::Load { parts: vec![0].into_iter(), at: bench.machine.head() };
        bench.machine.restart(0, ONE, None, start, &mut bench.effects);
    }
    let head = bench.machine.head().seq.0;
    bench.publish_to(head + 9).drained(ONE, 1);
    assert_eq!(
        bench.effects(),
        [FanOutEffect::Close { session: ONE, reason: Slow::Resyncs }],
        "the fourth time"
    );
    assert!(!bench.machine.contains(ONE));
    assert_eq!((bench.machine.status().resyncs, bench.machine.status().closed_slow), (4, 1));
}

#[test]
fn becoming_live_forgives_resyncs() {
    let mut bench = Bench::new();
    bench.attach(ONE, 1, Start::Replay(at(0)));
    for _ in 0..10 {
        let head = bench.machine.head().seq.0;
        bench.publish_to(head + 9).drained(ONE, 9);
        assert!(matches!(bench.effects()[..], [FanOutEffect::Resync { .. }]));
        let start = Start::Load { parts: vec![].into_iter(), at: bench.machine.head() };
        bench.machine.restart(0, ONE, None, start, &mut bench.effects);
        assert_eq!(bench.live(), 1);
        bench.machine.wire_mut(ONE).expect("attached").room = 1;
    }
}

#[test]
fn a_stalled_session_is_closed_in_time() {
    let mut bench = Bench::new();
    bench.attach(ONE, 1, Start::Replay(at(0)));
    bench.attach(TWO, 99, Start::Replay(at(0)));
    bench.now_us = 5;
    bench.publish_to(1);
    assert_eq!(bench.machine.deadline(), Some(30_000_005));
    bench.machine.expire(30_000_004, &mut bench.effects);
    assert_eq!(bench.effects(), []);
    bench.now_us = 30_000_005;
    bench.publish_to(2);
    assert_eq!(bench.effects(), [FanOutEffect::Close { session: ONE, reason: Slow::Stalled }]);
    assert_eq!(bench.machine.detach(bench.now_us, ONE).map(|wire| wire.got), None);
    assert_eq!((bench.live(), bench.machine.deadline()), (1, None));
}

#[test]
fn a_session_that_never_catches_up_is_closed() {
    let mut bench = Bench::with(FanOutConfig { ring_max_windows: 999, ..small() });
    bench.attach(ONE, 1, Start::Replay(at(0)));
    while bench.machine.contains(ONE) {
        bench.now_us += 1_000_000;
        let head = bench.machine.head().seq.0;
        bench.publish_to(head + 2);
        if bench.machine.contains(ONE) {
            bench.drained(ONE, 1);
        }
    }
    let closed = FanOutEffect::Close { session: ONE, reason: Slow::Behind };
    assert_eq!((bench.effects(), bench.now_us), (vec![closed], 31_000_000));
}

#[test]
fn a_snapshot_that_takes_for_ever_is_given_up() {
    let mut bench = Bench::new();
    bench.load(ONE, 1, 10_000, 0);
    for second in 0..299 {
        bench.now_us = second * 1_000_000;
        bench.drained(ONE, 1);
        bench.machine.expire(bench.now_us, &mut bench.effects);
    }
    assert_eq!(bench.effects(), [], "as long as it makes progress");
    bench.machine.expire(300_000_000, &mut bench.effects);
    assert_eq!(bench.effects(), [FanOutEffect::Close { session: ONE, reason: Slow::Loading }]);
}

#[test]
fn detach_in_every_state() {
    let mut bench = Bench::new();
    bench.attach(SessionKey(0), 99, Start::Replay(at(0)));
    bench.attach(SessionKey(3), 1, Start::Replay(at(0)));
    bench.publish_to(3);
    bench.load(SessionKey(1), 1, 9, 3);
    bench.attach(SessionKey(2), 99, Start::Replay(at(77)));
    bench.attach(SessionKey(4), 99, Start::Replay(at(3)));
    for key in 0..5 {
        assert!(bench.machine.detach(bench.now_us, SessionKey(key)).is_some());
        assert!(bench.machine.detach(bench.now_us, SessionKey(key)).is_none());
        bench.publish_to(4 + key).work();
        bench.machine.drained(0, SessionKey(key), &mut bench.effects);
        bench.machine.full(0, SessionKey(key));
        let start = Start::Replay(at(0));
        assert!(!bench.machine.restart(0, SessionKey(key), None, start, &mut bench.effects));
    }
    let status = bench.machine.status();
    assert_eq!((status.live, status.lagging), (0, 0));
}

#[test]
fn told_full_from_outside() {
    let mut bench = Bench::new();
    bench.attach(ONE, 99, Start::Replay(at(0)));
    bench.machine.full(0, ONE);
    bench.publish_to(2);
    assert_eq!(bench.got(ONE), []);
    bench.drained(ONE, 99);
    assert_eq!(bench.got(ONE), replayed(1..=2));
}

#[test]
fn work_is_shared_in_turn() {
    let mut bench = Bench::new();
    bench.load(ONE, 99, 10, 0);
    bench.load(TWO, 99, 10, 0);
    bench.machine.work(0, &mut bench.effects);
    bench.machine.work(0, &mut bench.effects);
    assert_eq!((bench.got(ONE).len(), bench.got(TWO).len()), (4, 4));
}

#[test]
#[should_panic(expected = "windows join")]
fn a_gap_is_a_broken_invariant() {
    let mut bench = Bench::new();
    let window =
        Published { epoch: Epoch(1), from: Seq(1), to: Seq(2), bytes: 1, at_us: 0, payload: 2 };
    bench.machine.publish(0, window, &mut bench.effects);
}

/// A view that is shown every `reach`-th window.
fn view(cell: i32, reach: u32) -> View {
    View { center: avvy_model::Cell([cell, 0, 0]), reach }
}

impl Bench {
    /// Attaches a session that sees `view` and stands at the head.
    fn watch(&mut self, key: SessionKey, room: usize, view: View) {
        let sight = Sight { view: Some(view), goal: Some(view) };
        let start = Start::Replay(self.machine.head());
        let outbox = Outbox { room, ..Default::default() };
        self.machine.attach(self.now_us, key, outbox, sight, start, &mut self.effects);
    }

    fn show(&mut self, key: SessionKey, from: View, to: View, parts: u64, seq: u64) {
        let parts = (0..parts).collect::<Vec<_>>().into_iter();
        self.machine.show(self.now_us, key, [from, to], parts, at(seq), &mut self.effects);
    }

    fn step(session: SessionKey, from: View, to: View) -> Vec<FanOutEffect> {
        vec![FanOutEffect::Step { session, from, to }]
    }
}
