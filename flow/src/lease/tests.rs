#![allow(clippy::unwrap_used)]

use super::hand_over::{Answer as Said, Ended, HandOverConfig, HandOverEffect, HandOverInput};
use super::*;

const A: BraneId = BraneId::from_bytes([1; 16]);
const B: BraneId = BraneId::from_bytes([2; 16]);

/// A lease of 1,000 ms: renewed every 200 ms, overdue after 300 ms, and sure
/// for 950 ms.
struct Bench {
    lease: Lease,
    now_us: u64,
}

impl Bench {
    fn new() -> Self {
        Self { lease: Lease::new(LeaseConfig { lease_ms: 1_000 }), now_us: 0 }
    }

    /// Entered at 0.
    fn entered() -> Self {
        let mut bench = Self::new();
        bench.at(0, LeaseInput::Tick);
        bench.ok(0, 1, Answer::default());
        bench
    }

    fn at(&mut self, ms: u64, input: LeaseInput) -> Vec<LeaseEffect> {
        self.now_us = ms * 1_000;
        let mut effects = Vec::new();
        self.lease.handle(self.now_us, input, &mut effects);
        effects
    }

    fn ok(&mut self, ms: u64, number: u64, answer: Answer) -> Vec<LeaseEffect> {
        self.at(ms, LeaseInput::Answered { number, answer: Some(answer) })
    }

    fn fails(&mut self, ms: u64, number: u64) -> Vec<LeaseEffect> {
        self.at(ms, LeaseInput::Answered { number, answer: None })
    }

    fn open(&mut self, brane: BraneId, epoch: u64) {
        self.at(self.now_us / 1_000, LeaseInput::Opened { brane, epoch: Epoch(epoch) });
    }

    fn is_sure(&self, ms: u64) -> bool {
        self.lease.is_sure(ms * 1_000)
    }
}

fn renew(number: u64, held: &[(BraneId, u64)]) -> LeaseEffect {
    let held = held.iter().map(|(brane, epoch)| (*brane, Epoch(*epoch))).collect();
    LeaseEffect::Renew { number, held }
}

fn wake(ms: u64) -> LeaseEffect {
    LeaseEffect::WakeAt(ms * 1_000)
}

fn lost(brane: BraneId) -> Answer {
    Answer { lapsed: true, lost: vec![brane], ..Answer::default() }
}

#[test]
fn enters_then_renews_five_times_a_lease() {
    let mut bench = Bench::new();
    let entering = bench.at(0, LeaseInput::Tick);
    assert_eq!(entering, [LeaseEffect::Enter { number: 1 }, wake(300)]);
    assert!(!bench.is_sure(0));
    let entered = bench.ok(20, 1, Answer::default());
    assert_eq!(entered, [LeaseEffect::Provisional(false), wake(200)]);
    assert!(bench.is_sure(949), "from when it was sent");
    assert!(!bench.is_sure(950), "less a margin");
    bench.open(A, 7);
    assert_eq!(bench.at(200, LeaseInput::Tick), [renew(2, &[(A, 7)]), wake(500)]);
    assert_eq!(bench.ok(201, 2, Answer::default()), [wake(400)]);
    assert!(bench.is_sure(1_149));
    let status = bench.lease.status(201_000);
    assert_eq!((status.held, status.renewals, status.sure_ms), (1, 2, 949));
}

#[test]
fn is_provisional_until_a_renewal_succeeds_again() {
    let mut bench = Bench::entered();
    bench.open(A, 1);
    bench.at(200, LeaseInput::Tick);
    let mut said = Vec::new();
    let mut number = 2;
    let mut ms = 210;
    while ms < 1_300 {
        said.extend(bench.fails(ms, number));
        ms += 50;
        let ticked = bench.at(ms, LeaseInput::Tick);
        let sent = ticked.iter().any(|effect| matches!(effect, LeaseEffect::Renew { .. }));
        number += u64::from(sent);
        said.extend(ticked);
    }
    let provisional = said.iter().filter(|e| matches!(e, LeaseEffect::Provisional(true)));
    assert_eq!(provisional.count(), 1);
    assert!(said.iter().all(|effect| !matches!(effect, LeaseEffect::Lost { .. })));
    let back = bench.ok(ms, number, Answer { lapsed: true, ..Answer::default() });
    assert_eq!(back[0], LeaseEffect::Provisional(false), "it lost nothing and goes on");
    assert_eq!(bench.lease.epoch(A), Some(Epoch(1)));
    assert_eq!(bench.lease.status(ms * 1_000).lapses, 1);
}

fn moved(brane: BraneId, epoch: u64) -> LeaseInput {
    LeaseInput::Moved { brane, epoch: Epoch(epoch) }
}

#[test]
fn a_sure_node_asks_the_store_whether_a_hint_is_true() {
    let mut bench = Bench::entered();
    bench.open(A, 2);
    for (hint, why) in [(moved(B, 9), "not held here"), (moved(A, 2), "it was here")] {
        assert_eq!(bench.at(10, hint), [], "{why}");
    }
    assert_eq!(bench.at(20, moved(A, 3)), [wake(70)]);
    assert_eq!(bench.at(40, moved(A, 3)), [], "once for all hints");
    assert_eq!(bench.at(70, LeaseInput::Tick)[0], renew(2, &[(A, 2)]));
    assert_eq!(bench.ok(71, 2, Answer::default()), [wake(270)], "it was not: the brane stays");
    assert_eq!(bench.lease.epoch(A), Some(Epoch(2)));
}

#[test]
fn a_node_that_is_not_sure_goes_by_a_hint() {
    let mut bench = Bench::entered();
    bench.open(A, 2);
    bench.open(B, 2);
    let lost = LeaseEffect::Lost { brane: A, epoch: Epoch(2) };
    assert!(bench.at(950, moved(A, 3)).contains(&lost));
    assert_eq!((bench.lease.epoch(A), bench.lease.epoch(B)), (None, Some(Epoch(2))));
    assert_eq!(bench.lease.status(950_000).taken, 1);
    assert!(!bench.at(951, moved(A, 3)).contains(&lost), "once");
}

#[test]
fn a_pause_longer_than_the_lease_is_noticed_at_once() {
    let mut bench = Bench::entered();
    bench.open(A, 1);
    bench.open(B, 3);
    bench.at(200, LeaseInput::Tick);
    // The answer lay there while the process was stopped.
    let woken = bench.ok(9_000, 2, Answer::default());
    assert_eq!(woken[0], LeaseEffect::Provisional(true));
    assert_eq!(woken[1], renew(3, &[(A, 1), (B, 3)]));
    let answered = bench.ok(9_010, 3, lost(A));
    let expected =
        [LeaseEffect::Lost { brane: A, epoch: Epoch(1) }, LeaseEffect::Provisional(false)];
    assert_eq!(answered[..2], expected);
    assert_eq!((bench.lease.epoch(A), bench.lease.epoch(B)), (None, Some(Epoch(3))));
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let mut bench = Bench::entered();
    bench.open(A, 1);
    assert_eq!(bench.at(200, LeaseInput::Tick), [renew(2, &[(A, 1)]), wake(500)]);
    assert_eq!(bench.at(499, LeaseInput::Tick), [wake(500)]);
    assert_eq!(bench.at(500, LeaseInput::Tick), [renew(3, &[(A, 1)]), wake(800)]);
    // It comes after all, before that of the later one, and counts.
    bench.ok(600, 2, Answer::default());
    assert!(bench.is_sure(1_149) && !bench.is_sure(1_150));
    bench.ok(610, 3, Answer::default());
    assert!(bench.is_sure(1_449));
    assert_eq!(bench.lease.status(610_000).failures, 1);
    // An earlier one that is late takes nothing back.
    let mut bench = Bench::entered();
    bench.at(200, LeaseInput::Tick);
    bench.at(500, LeaseInput::Tick);
    bench.ok(600, 3, Answer::default());
    bench.ok(700, 2, Answer::default());
    assert!(bench.is_sure(1_449));
}

#[test]
fn few_renewals_are_under_way_at_a_time() {
    let mut bench = Bench::entered();
    let sent = (1..100).flat_map(|nth| bench.at(nth * 300, LeaseInput::Tick));
    let sent = sent.filter(|effect| matches!(effect, LeaseEffect::Renew { .. })).count();
    assert_eq!(sent, MAX_UNDER_WAY);
    let next = bench.fails(40_000, 2);
    assert!(matches!(next[0], LeaseEffect::Renew { .. }), "{next:?}");
}

#[test]
fn a_loss_counts_for_the_epoch_that_was_named() {
    let mut bench = Bench::entered();
    bench.open(A, 1);
    bench.at(200, LeaseInput::Tick);
    // Lost, noticed by a refused chunk, and opened again here.
    bench.at(210, LeaseInput::Closed { brane: A, epoch: Epoch(1) });
    bench.open(A, 3);
    let answered = bench.ok(220, 2, lost(A));
    assert!(answered.iter().all(|e| !matches!(e, LeaseEffect::Lost { .. })), "{answered:?}");
    assert_eq!(bench.lease.epoch(A), Some(Epoch(3)));
    // The end of an opening that another has followed takes nothing away.
    bench.at(230, LeaseInput::Closed { brane: A, epoch: Epoch(1) });
    assert_eq!(bench.lease.epoch(A), Some(Epoch(3)));
    assert_eq!(bench.at(400, LeaseInput::Tick)[0], renew(3, &[(A, 3)]));
}

#[test]
fn offers_are_seen_once_and_their_end_too() {
    let mut bench = Bench::entered();
    let offers = |offered: &[BraneId]| Answer { offered: offered.to_vec(), ..Answer::default() };
    bench.at(200, LeaseInput::Tick);
    let seen = bench.ok(210, 2, offers(&[A]));
    assert_eq!(seen[0], LeaseEffect::Preload { brane: A });
    bench.at(400, LeaseInput::Tick);
    let seen = bench.ok(410, 3, offers(&[A, B]));
    assert_eq!(seen[0], LeaseEffect::Preload { brane: B });
    assert_eq!(bench.lease.status(410_000).offered, 2);
    bench.at(600, LeaseInput::Tick);
    bench.at(900, LeaseInput::Tick);
    let seen = bench.ok(910, 5, offers(&[B]));
    assert_eq!(seen[0], LeaseEffect::Decided { brane: A });
    // An earlier answer that is late knows nothing of that.
    let late = bench.ok(920, 4, offers(&[A, B]));
    assert!(late.iter().all(|e| !matches!(e, LeaseEffect::Preload { .. })), "{late:?}");
}

#[test]
fn an_entry_that_fails_is_repeated() {
    let mut bench = Bench::new();
    bench.at(0, LeaseInput::Tick);
    assert_eq!(bench.fails(10, 1), [wake(60)]);
    assert_eq!(bench.at(60, LeaseInput::Tick), [LeaseEffect::Enter { number: 2 }, wake(360)]);
    assert!(!bench.lease.status(60_000).entered);
    bench.ok(70, 2, Answer::default());
    assert!(bench.is_sure(1_009));
}

#[test]
fn the_node_with_the_fewest_branes_is_next() {
    let mut spread = Spread::new([('a', 3), ('b', 1), ('c', 2)]);
    let given: Vec<_> = (0..5).filter_map(|_| spread.next_node()).collect();
    assert_eq!(given, ['b', 'b', 'c', 'a', 'b']);
    assert_eq!(Spread::<char>::new([]).next_node(), None);
}

/// A hand-over that begins at 0, asks every 100 ms and gives up after 1,000 ms.
struct Desk(HandOver);

impl Desk {
    fn new() -> Self {
        let mut effects = Vec::new();
        let config = HandOverConfig { timeout_ms: 1_000, ask_ms: 100 };
        let machine = HandOver::begin(config, 0, &mut effects);
        assert_eq!(effects, [HandOverEffect::Offer, HandOverEffect::WakeAt(1_000_000)]);
        Self(machine)
    }

    fn at(&mut self, ms: u64, input: HandOverInput) -> Vec<HandOverEffect> {
        let mut effects = Vec::new();
        self.0.handle(ms * 1_000, input, &mut effects);
        effects
    }
}

use HandOverEffect as Does;
use HandOverInput as In;

fn asleep(ms: u64) -> HandOverEffect {
    Does::WakeAt(ms * 1_000)
}

#[test]
fn a_brane_stops_when_the_other_node_is_ready() {
    let mut desk = Desk::new();
    assert_eq!(desk.at(5, In::Offered(Said::Done(()))), [asleep(105)]);
    assert_eq!(desk.at(105, In::Tick), [Does::AskReady, asleep(1_000)]);
    assert_eq!(desk.at(110, In::Ready(Said::Done(false))), [asleep(210)]);
    assert_eq!(desk.at(210, In::Tick), [Does::AskReady, asleep(1_000)]);
    assert_eq!(desk.at(215, In::Ready(Said::Failed)), [asleep(315)]);
    desk.at(315, In::Tick);
    assert!(desk.0.is_serving());
    assert_eq!(desk.at(320, In::Ready(Said::Done(true))), [Does::Stop]);
    assert!(!desk.0.is_serving());
    // However long that takes.
    assert_eq!(desk.at(1_200, In::Tick), []);
    assert_eq!(desk.at(1_300, In::Stopped), [Does::HandOver, asleep(1_320)]);
    assert_eq!(desk.at(1_310, In::HandedOver(Said::Done(()))), [Does::Ended(Ended::Moved)]);
    assert_eq!(desk.at(1_400, In::Tick), []);
}

#[test]
fn a_node_that_is_not_ready_in_time_does_not_get_it() {
    let kept = [Does::Withdraw, Does::Ended(Ended::Kept)];
    let mut desk = Desk::new();
    desk.at(5, In::Offered(Said::Done(())));
    desk.at(105, In::Tick);
    assert_eq!(desk.at(1_000, In::Tick), kept, "a question that is not answered");
    assert_eq!(desk.at(1_001, In::Ready(Said::Done(true))), [], "too late");
    assert_eq!(Desk::new().at(5, In::Offered(Said::Failed)), kept);
    assert_eq!(Desk::new().at(1_000, In::Tick), kept);
}

#[test]
fn what_is_gone_is_not_handed_over() {
    let gone = [Does::Ended(Ended::Gone)];
    assert_eq!(Desk::new().at(5, In::Offered(Said::Stale)), gone);
    assert_eq!(Desk::new().at(5, In::Gone), gone);
    let mut desk = Desk::new();
    desk.at(5, In::Offered(Said::Done(())));
    desk.at(105, In::Tick);
    desk.at(110, In::Ready(Said::Done(true)));
    assert_eq!(desk.at(120, In::Gone), gone);
}

#[test]
fn a_store_that_does_not_answer_is_asked_again_for_a_while() {
    let stopped = || {
        let mut desk = Desk::new();
        desk.at(5, In::Offered(Said::Done(())));
        desk.at(105, In::Tick);
        desk.at(110, In::Ready(Said::Done(true)));
        desk.at(120, In::Stopped);
        desk
    };
    let mut desk = stopped();
    assert_eq!(desk.at(200, In::HandedOver(Said::Failed)), [asleep(300)]);
    assert_eq!(desk.at(300, In::Tick), [Does::HandOver, asleep(1_110)]);
    // The first attempt was done, and the other node has opened it.
    assert_eq!(desk.at(310, In::HandedOver(Said::Stale)), [Does::Ended(Ended::Moved)]);
    let mut desk = stopped();
    assert_eq!(desk.at(1_110, In::Tick), [Does::Ended(Ended::Stranded)]);
    assert_eq!(desk.at(1_111, In::HandedOver(Said::Done(()))), []);
}
