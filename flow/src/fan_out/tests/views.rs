//! Sessions that see parts of the brane.

use super::*;

#[test]
fn a_view_is_sent_what_it_shows_and_told_of_the_rest_once_a_second() {
    let mut bench = Bench::new();
    bench.watch(ONE, 99, view(0, 3));
    bench.publish_to(5);
    assert_eq!(bench.got(ONE), [Window(3)]);
    let due_us = bench.machine.deadline().expect("the view stands behind the head");
    bench.now_us = due_us;
    bench.machine.expire(due_us, &mut bench.effects);
    assert_eq!(bench.got(ONE), [Window(3_005)], "nothing from 3 to 5");
    assert_eq!(bench.machine.deadline(), None);
    bench.publish_to(6);
    assert_eq!(bench.got(ONE), [Window(6)]);
}

#[test]
fn sessions_of_a_view_stand_together() {
    let mut bench = Bench::new();
    bench.watch(ONE, 99, view(0, 4));
    bench.publish_to(2);
    bench.watch(TWO, 99, view(0, 4));
    assert_eq!(bench.got(ONE), [Window(2)], "before another one joins at the head");
    bench.publish_to(4);
    assert_eq!((bench.got(ONE), bench.got(TWO)), (vec![Window(4)], vec![Window(4)]));
    assert_eq!(bench.machine.status().views, 1);
    drop(bench.machine.detach(bench.now_us, ONE));
    drop(bench.machine.detach(bench.now_us, TWO));
    assert_eq!(bench.machine.status().views, 0);
}

#[test]
fn what_a_view_shows_is_made_once_whoever_has_it() {
    let mut bench = Bench::new();
    let views = [view(0, 1), view(1, 1), view(0, 2)];
    let sessions = (1..=100).map(SessionKey);
    for (session, view) in sessions.clone().zip(views.into_iter().cycle()) {
        bench.watch(session, 99, view);
    }
    MADE.set(0);
    bench.publish_to(5);
    assert_eq!(MADE.get(), 3 * 5, "of each window, for each view");
    let status = bench.machine.status();
    assert_eq!((status.views, status.views_shown, status.views_spared), (3, 5 + 5 + 2, 3));
    let got: usize = sessions.map(|session| bench.got(session).len()).sum();
    assert_eq!((got, status.deliveries), (67 * 5 + 33 * 2, 67 * 5 + 33 * 2));
}

#[test]
fn a_slow_view_replays_what_it_shows() {
    let mut bench = Bench::with(FanOutConfig { ring_max_windows: 99, ..small() });
    bench.watch(ONE, 1, view(0, 3));
    bench.publish_to(9);
    assert_eq!(bench.got(ONE), [Window(3)]);
    bench.drained(ONE, 99);
    bench.work();
    let replayed = [Window(3_005), Complete(5), Window(6), Complete(6)];
    let got = bench.got(ONE);
    assert_eq!(got[..4], replayed, "a bite is two windows, and its end is told");
    assert_eq!(got[got.len() - 2..], [Window(9), Complete(9)]);
    assert_eq!(bench.live(), 1);
}

#[test]
fn walks_step_by_step_once_it_is_live() {
    let mut bench = Bench::new();
    let (here, there) = (view(0, 2), view(1, 2));
    bench.watch(ONE, 1, here);
    bench.publish_to(2);
    bench.machine.aim(0, ONE, Some(there), &mut bench.effects);
    assert_eq!(bench.effects(), [], "its outbox is full");
    bench.drained(ONE, 99);
    assert_eq!(bench.effects(), Bench::step(ONE, here, there));
    bench.show(ONE, here, there, 2, 2);
    assert_eq!(bench.got(ONE), [Window(2), Part(0), Part(1)]);
    bench.work();
    assert_eq!((bench.machine.view(ONE), bench.live()), (Some(there), 1));
    assert_eq!(bench.effects(), [], "it has arrived");
}

#[test]
fn walks_before_the_first_edit_after_a_restart() {
    let mut bench = Bench::new();
    let (here, there) = (view(0, 2), view(1, 2));
    bench.publish_to(2);
    bench.watch(ONE, 99, here);
    bench.machine.aim(0, ONE, Some(there), &mut bench.effects);
    assert_eq!(bench.effects(), Bench::step(ONE, here, there));
    let (parts, at) = (vec![0].into_iter(), Position { epoch: Epoch(2), seq: Seq(2) });
    bench.machine.show(0, ONE, [here, there], parts, at, &mut bench.effects);
    bench.work();
    assert_eq!((bench.effects(), bench.got(ONE)), (vec![], vec![Part(0)]));
}

#[test]
fn a_step_comes_after_the_windows_that_showed_nothing() {
    let mut bench = Bench::new();
    let (here, there) = (view(0, 3), view(1, 3));
    bench.watch(ONE, 99, here);
    bench.publish_to(5);
    bench.machine.aim(0, ONE, Some(there), &mut bench.effects);
    bench.show(ONE, here, there, 1, 5);
    let told = [Window(3), Window(3_005), Part(0)];
    assert_eq!(bench.got(ONE), told, "what is durable is in the window");
}

#[test]
fn a_step_that_comes_too_late_is_asked_for_again() {
    let mut bench = Bench::new();
    let (here, there) = (view(0, 2), view(1, 2));
    bench.watch(ONE, 1, here);
    bench.machine.aim(0, ONE, Some(there), &mut bench.effects);
    assert_eq!(bench.effects(), Bench::step(ONE, here, there));
    bench.publish_to(2);
    bench.show(ONE, here, there, 1, 2);
    assert_eq!(bench.got(ONE), [Window(2)], "it fell behind meanwhile");
    bench.drained(ONE, 99);
    assert_eq!(bench.effects(), Bench::step(ONE, here, there));
}

#[test]
fn what_cannot_be_shown_begins_anew_near() {
    let mut bench = Bench::with(FanOutConfig { ring_max_windows: 99, ..small() });
    bench.watch(ONE, 99, view(0, 5));
    bench.publish_to(13);
    let near = view(0, 1);
    let anew = FanOutEffect::Resync { session: ONE, at: None, view: Some(near) };
    assert_eq!(bench.effects(), [anew]);
    bench.got(ONE);
    let start = Start::Load { parts: vec![7].into_iter(), at: at(13) };
    bench.machine.restart(0, ONE, Some(near), start, &mut bench.effects);
    bench.work();
    assert_eq!(bench.got(ONE), [Part(7)]);
    let next = near.step(&view(0, 5));
    assert_eq!(bench.effects(), Bench::step(ONE, near, next), "and grows again");
}

#[test]
fn from_the_whole_to_a_part_and_back() {
    let mut bench = Bench::new();
    bench.attach(ONE, 99, Start::Replay(at(0)));
    bench.machine.aim(0, ONE, Some(view(2, 3)), &mut bench.effects);
    let near = view(2, 1);
    let part = FanOutEffect::Resync { session: ONE, at: None, view: Some(near) };
    assert_eq!(bench.effects(), [part]);
    let start = |n| Start::Load { parts: vec![n].into_iter(), at: at(0) };
    bench.machine.restart(0, ONE, Some(near), start(1), &mut bench.effects);
    bench.work();
    bench.machine.aim(0, ONE, None, &mut bench.effects);
    bench.effects.retain(|effect| matches!(effect, FanOutEffect::Resync { .. }));
    assert_eq!(bench.effects(), [FanOutEffect::Resync { session: ONE, at: None, view: None }]);
    bench.machine.restart(0, ONE, None, start(2), &mut bench.effects);
    bench.work();
    bench.publish_to(1);
    assert_eq!(bench.got(ONE), [Part(1), Part(2), Window(1)]);
    assert_eq!((bench.effects(), bench.machine.view(ONE)), (vec![], None));
}

/// What was asked for before a session left and came back can arrive after that.
#[test]
fn a_part_that_comes_to_a_session_of_the_whole_is_a_part() {
    let mut bench = Bench::new();
    bench.attach(ONE, 99, Start::Replay(at(0)));
    let start = Start::Load { parts: vec![1, 2, 3].into_iter(), at: at(0) };
    bench.machine.restart(0, ONE, Some(view(0, 1)), start, &mut bench.effects);
    assert_eq!(bench.machine.view(ONE), Some(view(0, 1)));
    bench.work();
    let anew = FanOutEffect::Resync { session: ONE, at: None, view: None };
    assert_eq!(bench.effects(), [anew], "it sees the whole again");
}
