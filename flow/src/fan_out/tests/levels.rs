//! Sessions that cannot keep up.

use super::*;

/// Levels at 3, 6, 9 and 12 bytes owed, which are windows here.
fn levels() -> FanOutConfig {
    let step = |bytes| Threshold { bytes, age_ms: 1_000_000 };
    FanOutConfig {
        ring_max_windows: 99,
        bite_windows: 8,
        degrade: [step(3), step(6), step(9), step(12)],
        recover_ms: 10,
        ..small()
    }
}

fn changes(bench: &mut Bench) -> Vec<(Level, LevelReason)> {
    let effects = bench.effects().into_iter();
    let changes = effects.filter_map(|effect| match effect {
        FanOutEffect::Level { change, .. } => Some((change.to, change.reason)),
        _ => None,
    });
    changes.collect()
}

#[test]
fn a_slow_session_gets_several_windows_as_one() {
    let mut bench = Bench::with(levels());
    bench.attach(ONE, 1, Start::Replay(at(0)));
    bench.publish_to(8);
    let risen = [(Level::NoPresence, LevelReason::Bytes), (Level::Collapsed, LevelReason::Bytes)];
    assert_eq!(changes(&mut bench), risen);
    bench.drained(ONE, 99);
    let merged = [Window(1_000_004), Complete(4), Window(1_000_007), Complete(7)];
    let got = bench.got(ONE);
    assert_eq!(got[..5], [vec![Window(1)], merged.to_vec()].concat());
    assert_eq!((bench.live(), bench.machine.status().degraded), (1, [0, 1, 0, 0]));
}

#[test]
fn a_session_is_told_its_level_before_it_is_served_by_it() {
    let mut bench = Bench::with(levels());
    bench.attach(ONE, 1, Start::Replay(at(0)));
    bench.publish_to(3);
    bench.effects();
    bench.attach(SessionKey(3), 99, Start::Replay(at(0)));
    let risen = [(Level::NoPresence, LevelReason::Bytes)];
    assert_eq!((changes(&mut bench), bench.got(SessionKey(3))), (risen.to_vec(), vec![]));
    bench.work();
    assert_eq!(bench.got(SessionKey(3)), replayed(1..=3));
}

#[test]
fn a_level_falls_when_nothing_was_owed_for_a_while() {
    let mut bench = Bench::with(levels());
    bench.attach(ONE, 1, Start::Replay(at(0)));
    bench.publish_to(8).drained(ONE, 99);
    bench.effects();
    for level in [Level::NoPresence, Level::Full] {
        bench.now_us = bench.machine.deadline().expect("it is not served everything");
        bench.machine.expire(bench.now_us, &mut bench.effects);
        assert_eq!(changes(&mut bench), [(level, LevelReason::Recovered)]);
    }
    let status = bench.machine.status();
    assert_eq!((status.degraded, bench.machine.deadline()), ([0; 4], None));
    assert_eq!((status.degradations, status.level_changes), ([1, 1, 0, 0], [2, 0, 2]));
    assert_eq!(status.degraded_ms, [10, 10, 0, 0]);
}

#[test]
fn a_slow_walker_is_left_what_is_near_and_grows_again() {
    let mut bench = Bench::with(levels());
    let wide = view(0, 4);
    bench.watch(ONE, 1, wide);
    bench.publish_to(4 + 9);
    let near = view(0, 1);
    let anew = FanOutEffect::Resync { session: ONE, at: None, view: Some(near) };
    assert_eq!(bench.effects.last(), Some(&anew));
    assert_eq!(changes(&mut bench).last(), Some(&(Level::Near, LevelReason::Bytes)));
    let start = Start::Load { parts: vec![7].into_iter(), at: at(13) };
    bench.machine.restart(0, ONE, Some(near), start, &mut bench.effects);
    bench.drained(ONE, 99);
    bench.work();
    assert_eq!((bench.live(), bench.effects()), (1, vec![]), "it stays near");
    bench.now_us = bench.machine.deadline().expect("it recovers");
    bench.machine.expire(bench.now_us, &mut bench.effects);
    let step = Bench::step(ONE, near, near.step(&wide));
    assert_eq!(bench.effects()[1..], step);
}

#[test]
fn who_owes_too_much_is_sent_the_difference() {
    let mut bench = Bench::with(levels());
    bench.attach(ONE, 1, Start::Replay(at(0)));
    bench.publish_to(13);
    let resync = FanOutEffect::Resync { session: ONE, at: Some(at(1)), view: None };
    assert_eq!(bench.effects.last(), Some(&resync));
    assert_eq!(bench.machine.status().resyncs, 1);
    assert_eq!(bench.machine.level(ONE), Level::Resync);
}

#[test]
fn how_long_it_was_served_less_counts_also_of_a_session_that_goes() {
    let mut bench = Bench::with(levels());
    bench.attach(ONE, 1, Start::Replay(at(0)));
    bench.publish_to(4);
    bench.attach(TWO, 1, Start::Replay(at(4)));
    bench.publish_to(13);
    let [one, two] = [ONE, TWO].map(|session| bench.machine.level(session));
    assert_eq!((one, two), (Level::Resync, Level::Collapsed));
    bench.now_us = 7_000;
    drop(bench.machine.detach(bench.now_us, TWO));
    assert_eq!(bench.machine.status().degraded_ms, [0, 7, 0, 0]);
    bench.effects.clear();
    bench.now_us = 30_000_000;
    bench.machine.expire(bench.now_us, &mut bench.effects);
    assert_eq!(bench.effects(), [FanOutEffect::Close { session: ONE, reason: Slow::Stalled }]);
    let status = bench.machine.status();
    assert_eq!((status.degraded, status.degraded_ms), ([0; 4], [0, 7, 0, 30_000]));
}
