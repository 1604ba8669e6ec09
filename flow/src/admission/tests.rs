use std::collections::BTreeMap;

use super::*;

const CONFIG: AdmissionConfig =
    AdmissionConfig { max_entering: 2, slow_after_ms: 100, max_waiting: 3, max_wait_ms: 1_000 };

fn key(n: u64) -> SessionKey {
    SessionKey(n)
}

fn full() -> Admission<u64> {
    let mut admission = Admission::new(CONFIG);
    for n in 1..=2 {
        assert_eq!(admission.ask(0, key(n), n), Answer::Enter(n));
    }
    for n in 3..=5 {
        assert_eq!(admission.ask(0, key(n), n), Answer::Wait);
    }
    admission
}

#[test]
fn who_waits_enters_in_order_when_there_is_room() {
    let mut admission = full();
    assert_eq!(admission.next(10), None);
    admission.entered(10, key(9));
    assert_eq!(admission.next(10), None, "a stranger makes no room");
    admission.entered(20, key(2));
    assert_eq!((admission.next(20), admission.next(20)), (Some(3), None));
    assert_eq!(admission.ask(30, key(6), 6), Answer::Wait, "nobody passes those who wait");
    assert!(matches!(admission.ask(30, key(7), 7), Answer::Later { item: 7, .. }));
    let status = AdmissionStatus {
        entering: 2,
        waiting: 3,
        admitted: 3,
        waited: 4,
        waited_ms: 0,
        sent_away: 1,
    };
    assert_eq!(admission.status(), status);
    assert_eq!(admission.give_up(key(5)), Some(5));
    assert_eq!(admission.give_up(key(5)), None);
    assert_eq!(admission.close().collect::<Vec<_>>(), [(key(4), 4), (key(6), 6)]);
}

#[test]
fn a_slow_one_keeps_nobody_out() {
    let mut admission = full();
    assert_eq!(admission.deadline(), Some(100_000));
    assert_eq!(admission.next(99_999), None);
    assert_eq!((admission.next(100_000), admission.next(100_000)), (Some(3), Some(4)));
    assert_eq!((admission.status().admitted, admission.status().waited_ms), (4, 200));
    assert_eq!(admission.deadline(), Some(200_000));
    admission.entered(100_001, key(1));
    assert_eq!(admission.next(100_001), None, "its room was given away");
}

#[test]
fn those_sent_away_come_back_one_by_one() {
    let mut admission = full();
    let mut later = |now_us, n| match admission.ask(now_us, key(n), n) {
        Answer::Later { item, retry_after_ms } if item == n => retry_after_ms,
        other => panic!("{other:?}"),
    };
    // Four milliseconds for those who wait, then one for each.
    assert_eq!((6..10).map(|n| later(0, n)).collect::<Vec<_>>(), [5, 6, 7, 8]);
    assert_eq!(later(6_000, 10), 5, "what has passed is not waited for");
    // Nobody is sent further away than it may be, and they do not pile up there.
    let all: Vec<u64> = (0..3_000).map(|n| later(7_000, 100 + n)).collect();
    let mut at = BTreeMap::new();
    all.iter().for_each(|ms| *at.entry(*ms).or_insert(0) += 1);
    assert!(at.keys().all(|ms| (1..=1_001).contains(ms)), "{:?}", at.last_key_value());
    assert!(at.values().all(|count| *count <= 4), "{at:?}");
}

/// A storm on a virtual clock: so many come within a second, each that is let
/// in takes its time, those sent away come back when they were told to.
struct Storm {
    config: AdmissionConfig,
    sessions: u64,
    /// How long one is on its way in, in microseconds, while the others are
    /// on theirs: what the machine can do is shared.
    us_each: u64,
}

struct Outcome {
    last_us: u64,
    most_tries: u32,
    most_arrivals_in_10_ms: usize,
}

impl Storm {
    fn run(&self) -> Outcome {
        let mut admission = Admission::new(self.config);
        // Arrivals and ends by time; the number makes them different.
        let mut arrivals: BTreeMap<(u64, u64), u32> = BTreeMap::new();
        let mut draw = 88_172_645_463_325_252u64;
        for n in 0..self.sessions {
            draw ^= draw << 13;
            draw ^= draw >> 7;
            draw ^= draw << 17;
            arrivals.insert((draw % 1_000_000, n), 1);
        }
        let mut serving: VecDeque<u64> = VecDeque::new();
        let (mut free_us, mut done, mut last_us) = (0u64, 0, 0);
        let mut outcome = Outcome { last_us: 0, most_tries: 0, most_arrivals_in_10_ms: 0 };
        let mut returns: BTreeMap<u64, usize> = BTreeMap::new();
        while done < self.sessions {
            let arrival = arrivals.first_key_value().map(|((at, _), _)| *at);
            let end = (!serving.is_empty()).then_some(free_us);
            let now_us = arrival.into_iter().chain(end).min().expect("somebody is on the way");
            assert!(now_us >= last_us, "time goes on");
            last_us = now_us;
            if end == Some(now_us) {
                let session = serving.pop_front().expect("it is served");
                admission.entered(now_us, key(session));
                (done, free_us) = (done + 1, now_us + self.us_each);
            } else if let Some(((_, session), tries)) = arrivals.pop_first() {
                outcome.most_tries = outcome.most_tries.max(tries);
                match admission.ask(now_us, key(session), session) {
                    Answer::Enter(session) => {
                        if serving.is_empty() {
                            free_us = now_us + self.us_each;
                        }
                        serving.push_back(session);
                    }
                    Answer::Wait => {}
                    Answer::Later { item, retry_after_ms } => {
                        let at_us = now_us + retry_after_ms * 1_000;
                        *returns.entry(at_us / 10_000).or_default() += 1;
                        arrivals.insert((at_us, item), tries + 1);
                    }
                }
            }
            while let Some(session) = admission.next(now_us) {
                serving.push_back(session);
            }
            let status = admission.status();
            assert!(status.entering <= self.config.max_entering);
            assert!(status.waiting <= self.config.max_waiting);
        }
        assert_eq!(admission.status().entering + admission.status().waiting, 0);
        outcome.last_us = last_us;
        outcome.most_arrivals_in_10_ms = returns.values().copied().max().unwrap_or(0);
        outcome
    }
}

#[test]
fn a_storm_is_let_in_at_the_pace_that_the_brane_has() {
    let config = AdmissionConfig { max_entering: 50, slow_after_ms: 2_000, ..Default::default() };
    for (max_waiting, us_each) in [(5_000, 200), (500, 200), (500, 2_000), (100, 5_000)] {
        let storm =
            Storm { config: AdmissionConfig { max_waiting, ..config }, sessions: 5_000, us_each };
        let Outcome { last_us, most_tries, most_arrivals_in_10_ms } = storm.run();
        let least_us = (5_000 * us_each).max(1_000_000);
        assert!(last_us < least_us * 3 / 2 + 1_000_000, "{max_waiting} {us_each}: {last_us} us");
        assert!(most_tries < 40, "{max_waiting} {us_each}: {most_tries} tries");
        let even = 10_000 / us_each as usize + 1;
        assert!(
            most_arrivals_in_10_ms <= 12 * even,
            "{max_waiting} {us_each}: {most_arrivals_in_10_ms} at once"
        );
    }
}
