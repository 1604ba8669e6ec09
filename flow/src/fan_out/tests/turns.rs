//! Views that take turns, because their viewers are many.

use super::*;

const THREE: SessionKey = SessionKey(3);

fn crowded(turn_sessions: usize) -> Bench {
    let mut bench = Bench::with(FanOutConfig { turn_sessions, ..small() });
    bench.watch(ONE, 99, view(0, 1));
    bench.watch(TWO, 99, view(1, 1));
    bench
}

impl Bench {
    /// The turn under way ends now; the next one is due.
    fn turned(&mut self, took_us: u64) -> &mut Self {
        self.now_us += took_us;
        assert!(self.machine.is_turning());
        self.machine.turned(self.now_us);
        self.now_us = self.machine.deadline().expect("views wait");
        self.machine.expire(self.now_us, &mut self.effects);
        self
    }

    fn take_turn(&mut self) {
        self.machine.take_turn(self.now_us, &mut self.effects);
    }
}

fn ready(published: u64, paced: bool) -> FanOutEffect {
    FanOutEffect::Ready { published: Seq(published), floor: Seq(0), paced }
}

#[test]
fn who_waits_longest_is_served_first_with_all_that_it_lacks() {
    let mut bench = crowded(2);
    bench.watch(THREE, 99, view(2, 1));
    bench.publish_to(1);
    assert_eq!([bench.got(ONE), bench.got(TWO)], [[Window(1)], [Window(1)]]);
    assert_eq!((bench.got(THREE), &bench.effects), (vec![], &vec![]), "the next turn is its own");
    bench.turned(500);
    assert_eq!(bench.now_us, 833, "turns take three fifths of the time");
    assert_eq!(bench.effects, [ready(1, true)], "the brane publishes first what it has");
    bench.publish_to(3);
    assert_eq!(bench.got(THREE), [], "it may have several windows");
    bench.take_turn();
    let got = [bench.got(THREE), bench.got(ONE), bench.got(TWO)];
    let after = vec![Window(2), Window(3)];
    assert_eq!(got, [vec![Window(1), Window(2), Window(3)], after.clone(), vec![]]);
    bench.publish_to(4).take_turn();
    assert_eq!(bench.got(TWO), [], "the turn was taken");
    bench.effects.clear();
    bench.turned(0).take_turn();
    let got = [bench.got(TWO), bench.got(ONE), bench.got(THREE)];
    assert_eq!(got, [vec![Window(2), Window(3), Window(4)], vec![Window(4)], vec![]]);
    bench.turned(0).take_turn();
    assert_eq!(bench.got(THREE), [Window(4)]);
    assert_eq!(bench.effects, [ready(4, true), ready(4, true), ready(4, false)]);
    assert_eq!((bench.machine.deadline(), bench.machine.is_turning()), (None, false));
}

#[test]
fn who_comes_to_a_waiting_view_joins_it_in_its_turn() {
    let mut bench = crowded(1);
    bench.publish_to(2);
    bench.watch(THREE, 99, view(1, 1));
    assert_eq!((bench.live(), bench.machine.has_work()), (2, false));
    bench.turned(500).publish_to(3).take_turn();
    assert_eq!(bench.got(TWO), [Window(1), Window(2), Window(3)]);
    assert_eq!(bench.got(THREE), [Window(3), Complete(3)]);
    assert_eq!(bench.live(), 3);
    bench.turned(500).take_turn();
    bench.publish_to(4);
    bench.turned(500).take_turn();
    assert_eq!((bench.got(TWO), bench.got(THREE)), (vec![Window(4)], vec![Window(4)]));
}

#[test]
fn who_steps_out_of_a_waiting_view_is_brought_to_the_head_alone() {
    let mut bench = crowded(1);
    bench.watch(THREE, 99, view(1, 1));
    bench.publish_to(2);
    bench.machine.aim(0, TWO, Some(view(2, 1)), &mut bench.effects);
    bench.show(TWO, view(1, 1), view(2, 1), 1, 2);
    assert_eq!(bench.got(TWO), [Window(1), Window(2), Part(0)]);
    assert_eq!(bench.got(THREE), []);
}

#[test]
fn a_waiting_view_whose_windows_are_gone_begins_anew() {
    let mut bench = crowded(1);
    bench.publish_to(12);
    bench.turned(500).take_turn();
    let anew = |session, x| {
        let view = Some(view(x, 1));
        FanOutEffect::Resync { session, at: None, view }
    };
    assert_eq!(bench.effects(), [anew(TWO, 1), anew(ONE, 0)]);
    assert_eq!((bench.got(TWO), bench.machine.status().live), (vec![], 0));
}

#[test]
fn a_waiting_view_to_which_a_window_cannot_be_shown_takes_no_step() {
    let config = FanOutConfig { ring_max_windows: 99, turn_sessions: 1, ..small() };
    let mut bench = Bench::with(config);
    bench.watch(ONE, 99, view(0, 1));
    bench.watch(TWO, 99, view(1, 1));
    bench.publish_to(13);
    bench.machine.aim(0, TWO, Some(view(2, 1)), &mut bench.effects);
    bench.effects();
    bench.show(TWO, view(1, 1), view(2, 1), 1, 13);
    let anew = FanOutEffect::Resync { session: TWO, at: None, view: Some(view(2, 1)) };
    assert_eq!((bench.effects(), bench.got(TWO)), (vec![anew], vec![]));
}

#[test]
fn a_view_whose_last_windows_show_nothing_hears_of_the_head() {
    let mut bench = Bench::with(FanOutConfig { turn_sessions: 1, ..small() });
    bench.watch(ONE, 99, view(0, 1));
    bench.watch(TWO, 99, view(1, 2));
    bench.publish_to(3).turned(500).take_turn();
    assert_eq!(bench.got(TWO), [Window(2)], "it was not shown the last one");
    bench.turned(500).take_turn();
    let deadline = bench.machine.deadline().expect("it stands behind the head");
    bench.machine.expire(deadline, &mut bench.effects);
    assert_eq!(bench.got(TWO), [Window(2_003)]);
}

#[test]
fn outcomes_wait_for_the_window_that_shows_them() {
    let mut bench = crowded(1);
    bench.watch(THREE, 99, view(2, 9));
    for (session, outcome) in [(ONE, 71), (TWO, 72), (THREE, 73)] {
        bench.machine.hold(session, outcome);
    }
    bench.publish_to(1);
    assert_eq!((bench.got(ONE), bench.got(TWO)), (vec![Window(71), Window(1)], vec![]));
    bench.turned(500).take_turn();
    assert_eq!(bench.got(TWO), [Window(72), Window(1)]);
    bench.turned(500).take_turn();
    assert_eq!(bench.got(THREE), [Window(73)], "no window comes for which it could wait");
}

#[test]
fn outcomes_do_not_wait_for_a_window_that_does_not_come_this_way() {
    let mut bench = crowded(1);
    bench.attach(THREE, 99, Start::Replay(at(9)));
    bench.machine.hold(THREE, 73);
    assert_eq!(bench.got(THREE), [Window(73)], "it waits for the brane");
    bench.publish_to(1);
    bench.machine.hold(TWO, 72);
    bench.machine.aim(0, TWO, Some(view(2, 1)), &mut bench.effects);
    bench.show(TWO, view(1, 1), view(2, 1), 1, 1);
    assert_eq!(bench.got(TWO), [Window(72), Window(1), Part(0)], "it steps out of its view");
}

#[test]
fn outcomes_are_told_to_who_leaves_before_the_turn() {
    let mut bench = crowded(1);
    bench.machine.hold(TWO, 72);
    bench.publish_to(1);
    let left = bench.machine.detach(bench.now_us, TWO).expect("it was there");
    assert_eq!(left.got, [Window(72)]);
}

#[test]
fn who_waits_for_others_is_not_slow() {
    let mut bench = Bench::with(FanOutConfig { turn_sessions: 1, ring_max_windows: 99, ..small() });
    bench.watch(ONE, 99, view(0, 1));
    bench.watch(TWO, 99, view(1, 1));
    bench.publish_to(2);
    bench.watch(THREE, 99, view(1, 1));
    bench.now_us = 60_000_000;
    bench.machine.expire(bench.now_us, &mut bench.effects);
    assert_eq!(bench.effects(), [], "its view has not had its turn");
    bench.turned(500).publish_to(6).take_turn();
    bench.machine.expire(bench.now_us, &mut bench.effects);
    assert_eq!((bench.effects(), bench.live()), (vec![], 2), "it catches up");
    bench.work();
    assert_eq!(bench.live(), 3);
}

#[test]
fn who_is_full_when_the_others_were_served_is_handed_nothing() {
    let mut bench = crowded(1);
    bench.publish_to(2);
    bench.watch(THREE, 99, view(1, 1));
    bench.machine.full(0, THREE);
    bench.turned(500).publish_to(3).take_turn();
    assert_eq!(bench.got(THREE), []);
    bench.drained(THREE, 99);
    assert_eq!((bench.got(THREE), bench.live()), (replayed(3..=3), 3));
}

#[test]
fn a_turn_in_which_the_process_stood_still_is_soon_followed_by_the_next() {
    let config = FanOutConfig { turn_sessions: 1, turn_budget_percent: 1, ..small() };
    let mut bench = Bench::with(config);
    bench.watch(ONE, 99, view(0, 1));
    bench.watch(TWO, 99, view(1, 1));
    bench.publish_to(1).turned(60_000_000);
    assert_eq!(bench.now_us, 61_000_000);
}

/// Of eight bytes each, two go at a time.
fn heavy() -> Bench {
    let mut bench = Bench::with(FanOutConfig {
        turn_sessions: 1,
        turn_bytes: 16,
        ring_max_windows: 99,
        ..small()
    });
    bench.watch(ONE, 99, view(0, 1));
    bench.watch(TWO, 99, view(1, 1));
    bench.publish_to(5);
    bench
}

#[test]
fn what_is_too_much_for_one_turn_comes_in_several() {
    let mut bench = heavy();
    assert_eq!(bench.got(ONE), [Window(1)]);
    for (session, first, last) in [(TWO, 1, 2), (ONE, 2, 3), (TWO, 3, 4), (ONE, 4, 5)] {
        bench.turned(500).take_turn();
        assert_eq!(bench.got(session), [Window(first), Window(last)]);
    }
    assert!(bench.machine.is_turning(), "one has not seen all");
    bench.turned(500).take_turn();
    assert_eq!((bench.got(TWO), bench.machine.is_turning()), (vec![Window(5)], false));
}

#[test]
fn who_lacks_too_much_for_a_step_catches_up_first() {
    let mut bench = heavy();
    let (here, there) = (view(1, 1), view(2, 1));
    bench.machine.aim(bench.now_us, TWO, Some(there), &mut bench.effects);
    assert_eq!(bench.effects(), Bench::step(TWO, here, there));
    bench.show(TWO, here, there, 1, 5);
    bench.work();
    assert_eq!(bench.got(TWO), replayed(1..=5));
    assert_eq!(bench.effects(), Bench::step(TWO, here, there), "and asks again");
}
