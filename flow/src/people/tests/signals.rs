//! What they say.

use avvy_model::Value;
use avvy_protocol::{Audience, SignalSend};

use super::*;

fn send(crowd: &mut Crowd, session: u64, to: Audience) -> Result<(), Refused> {
    let body = Some(Value::int(session as i64));
    let signal = SignalSend { channel: CHANNEL, to, kind: "wave".to_owned(), body };
    let sent = crowd.machine.signal(crowd.now, SessionKey(session), signal);
    crowd.read();
    sent
}

fn heard(crowd: &mut Crowd) -> Vec<u64> {
    crowd.read();
    let heard = |(session, (_, seen)): (&u64, &mut (Queue, Seen))| {
        (!std::mem::take(&mut seen.signals).is_empty()).then_some(*session)
    };
    crowd.sessions.iter_mut().filter_map(heard).collect()
}

#[test]
fn a_signal_reaches_those_whom_it_is_for() {
    let mut crowd = Crowd::new(PeopleConfig::default());
    for session in 1..=4 {
        crowd.join(session);
    }
    for (session, metres) in [(1, 0.0), (2, 50.0), (3, 50.01)] {
        crowd.pose(session, metres);
    }
    send(&mut crowd, 1, Audience::All).unwrap();
    let signal = crowd.seen(4).signals[0].clone();
    assert_eq!((signal.from, signal.user, signal.ms), (Person(1), user(1), 5_000));
    assert_eq!((signal.kind.as_str(), signal.body), ("wave", Some(Value::int(1))));
    assert_eq!(heard(&mut crowd), [2, 3, 4]);
    send(&mut crowd, 1, Audience::Near).unwrap();
    assert_eq!(heard(&mut crowd), [2]);
    send(&mut crowd, 1, Audience::One(Person(4))).unwrap();
    assert_eq!(heard(&mut crowd), [4]);
    assert_eq!(crowd.machine.status().signals_delivered, 5);
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let config = PeopleConfig { visitors_may_signal: false, ..PeopleConfig::default() };
    let mut crowd = Crowd::new(config);
    crowd.join(1);
    crowd.join_as(2, Voice { writes_until_ms: 0, mute: None });
    assert_eq!(send(&mut crowd, 1, Audience::Near).unwrap_err().code, Code::NoPose);
    assert_eq!(send(&mut crowd, 1, Audience::One(Person(9))).unwrap_err().code, Code::NotFound);
    assert_eq!(send(&mut crowd, 2, Audience::All).unwrap_err().code, Code::Forbidden);
    assert_eq!(send(&mut crowd, 3, Audience::All).unwrap_err().code, Code::NotJoined);
    assert_eq!(crowd.machine.status().signals_refused, 4);
    let mut crowd = Crowd::new(PeopleConfig::default());
    crowd.join(1);
    crowd.join_as(2, Voice { writes_until_ms: 0, mute: None });
    send(&mut crowd, 2, Audience::All).unwrap();
    assert_eq!(heard(&mut crowd), [1]);
}

#[test]
fn each_kind_of_audience_has_its_rate() {
    let mut crowd = Crowd::new(PeopleConfig::default());
    crowd.join(1);
    crowd.join(2);
    crowd.pose(1, 0.0);
    let bursts = [(Audience::All, 5), (Audience::Near, 20), (Audience::One(Person(2)), 40)];
    for (to, burst) in bursts {
        for _ in 0..burst {
            send(&mut crowd, 1, to).unwrap();
        }
        let refused = send(&mut crowd, 1, to).unwrap_err();
        assert_eq!(refused.code, Code::RateLimited);
        crowd.pass(refused.retry_after_ms.unwrap() - 1);
        assert!(send(&mut crowd, 1, to).is_err());
        crowd.pass(1);
        send(&mut crowd, 1, to).unwrap();
    }
    send(&mut crowd, 2, Audience::All).unwrap();
}

#[test]
fn a_brane_delivers_so_many_and_no_more() {
    let signal_deliveries = Rate { per_second: 10, burst: 12 };
    let mut crowd = Crowd::new(PeopleConfig { signal_deliveries, ..PeopleConfig::default() });
    (1..=11).for_each(|session| crowd.join(session));
    send(&mut crowd, 1, Audience::All).unwrap();
    let refused = send(&mut crowd, 2, Audience::All).unwrap_err();
    assert_eq!((refused.code, refused.retry_after_ms), (Code::RateLimited, Some(800)));
    crowd.pass(800);
    send(&mut crowd, 2, Audience::All).unwrap();
    // More than there ever is.
    (12..=30).for_each(|session| crowd.join(session));
    crowd.pass(10_000);
    send(&mut crowd, 3, Audience::All).unwrap();
}

#[test]
fn a_full_outbox_misses_it() {
    let mut crowd = Crowd::new(PeopleConfig::default());
    (1..=3).for_each(|session| crowd.join(session));
    crowd.fill(2, true);
    send(&mut crowd, 1, Audience::All).unwrap();
    crowd.fill(2, false);
    assert_eq!(heard(&mut crowd), [3]);
    assert_eq!(crowd.machine.status().signals_dropped, 1);
}
