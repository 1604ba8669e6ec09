use super::*;

#[test]
fn a_refused_edit_does_not_stop_the_later_ones() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1)), (2, delete_root()), (3, create(1)), (4, create(2))]);
    let done = bench.take();
    assert_eq!(refusals(&done), [(2, Code::RootProtected), (3, Code::ObjectExists)]);
    assert_eq!(acks(&done.windows[0]), [(1, vec![(1, 1), (4, 2)])]);
    let status = bench.core.status();
    assert_eq!((status.accepted, status.refused, status.objects), (2, 2, 3));
}

#[test]
fn refusals_do_not_wait_for_the_window() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]);
    bench.take();
    bench.update(ONE, [(2, create(2)), (3, delete_root())]);
    let done = bench.take();
    assert_eq!((done.windows.len(), refusals(&done)), (0, vec![(3, Code::RootProtected)]));
}

#[test]
fn known_outcomes_are_told_again() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1)), (2, delete_root())]);
    bench.take();
    bench.update(ONE, [(1, create(9)), (2, create(8))]);
    let done = bench.take();
    assert_eq!(refusals(&done), [(2, Code::RootProtected)]);
    assert_eq!(done.told[1], (ONE, applied(1, 1)));
    assert_eq!(done.windows.len(), 0);
    assert_eq!((bench.core.status().repeated, bench.core.status().objects), (2, 2));
}

#[test]
fn an_edit_repeated_before_its_window_goes_out_is_told_after_it() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]);
    bench.update(ONE, [(2, create(2))]).update(ONE, [(2, create(2))]);
    bench.input(BraneInput::Leave { session: ONE });
    bench.take();
    // The same client on a new connection.
    let principal = Principal { user: user(1), ceiling: Role::Builder, invited: true };
    let three = SessionKey(3);
    let resume = Some(Resume { version: at(1, 1), touched: None, scope: None });
    let join = Join { brane: brane_id(), client: client(1), known: false, resume, area: None };
    bench.input(BraneInput::Join { session: three, principal, join });
    bench.update(three, [(2, create(2))]);
    assert_eq!(bench.take().told, [], "nothing is acknowledged that was not published");
    bench.pass_us(50_000).ready(Seq(1));
    let done = bench.take();
    assert_eq!(acks(&done.windows[0]), [], "the session that sent it first is gone");
    assert_eq!(done.told, [(three, applied(2, 2))]);
    bench.durable(2);
    assert_eq!(bench.take().durable, [(at(1, 2), vec![three])]);
}

#[test]
fn who_leaves_and_comes_back_within_a_window_learns_every_outcome() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]);
    bench.update(ONE, [(2, create(2))]).input(BraneInput::Leave { session: ONE });
    bench.resume(ONE, at(1, 1)).update(ONE, [(3, create(3)), (2, create(2))]);
    bench.take();
    bench.pass_us(50_000).ready(Seq(1));
    let done = bench.take();
    assert_eq!(acks(&done.windows[0]), [(1, vec![(3, 3)])], "one answer, which is not empty");
    assert_eq!(done.told, [(ONE, applied(2, 2))]);
    bench.durable(3);
    assert_eq!(bench.take().durable, [(at(1, 3), vec![ONE])]);
}

#[test]
fn a_repeated_edit_that_is_durable_is_said_to_be() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1))]).durable(1);
    bench.take();
    bench.update(ONE, [(1, create(1))]);
    let durable = ServerMessage::Durable { channel: CHANNEL, durable: at(1, 1) };
    assert_eq!(bench.take().told, [(ONE, applied(1, 1)), (ONE, durable)]);
}

#[test]
fn forgotten_outcomes_are_unknown() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(5, create(1))]);
    bench.take();
    bench.update(ONE, [(3, create(3))]);
    assert_eq!(refusals(&bench.take()), [(3, Code::OutcomeUnknown)]);
    for n in 6..=300 {
        bench.update(ONE, [(n, create(n.into()))]);
    }
    bench.take();
    bench.update(ONE, [(5, create(1))]);
    assert_eq!(refusals(&bench.take()), [(5, Code::OutcomeUnknown)]);
    assert_eq!(bench.core.status().unknown, 2);
}

#[test]
fn a_client_that_was_away_for_too_long_is_unknown() {
    const DAY_US: u64 = 24 * 3_600_000_000;
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1))]).update(TWO, [(1, create(2))]);
    bench.input(BraneInput::Leave { session: ONE }).durable(2);
    // What is too old is forgotten when a snapshot is taken.
    bench.pass_us(8 * DAY_US).input(BraneInput::Drain);
    let done = bench.take();
    assert_eq!((done.snapshots.len(), bench.core.clients().len()), (1, 1));
    bench.update(TWO, [(1, create(2))]);
    assert_eq!(bench.take().told[0], (TWO, applied(1, 2)), "who is here is remembered");
}

#[test]
fn no_outcome_of_a_visitor_is_remembered() {
    let mut bench = Bench::new();
    let visitor = Principal { user: user(1), ceiling: Role::Visitor, invited: true };
    bench.join_as(ONE, visitor, None);
    for _ in 0..2 {
        bench.update(ONE, [(1, create(1)), (2, delete_root())]);
        let refused = [(1, Code::NotPermitted), (2, Code::NotPermitted)];
        assert_eq!(refusals(&bench.take()), refused);
    }
    bench.input(BraneInput::Leave { session: ONE });
    assert_eq!(bench.core.clients().len(), 0);
    // What it did when it was more than that is told all the same.
    bench.join(ONE, None).update(ONE, [(1, create(1))]).input(BraneInput::Leave { session: ONE });
    bench.join_as(ONE, visitor, None).take();
    bench.update(ONE, [(1, create(1)), (2, create(2))]);
    let done = bench.take();
    assert_eq!(refusals(&done), [(2, Code::NotPermitted)]);
    assert_eq!(done.told[1], (ONE, applied(1, 1)));
}

#[test]
fn a_user_who_draws_ids_without_end_is_remembered_by_the_last() {
    let mut config = BraneConfig::default();
    config.limits.clients_per_user = 10;
    let mut bench = Bench::with(config);
    let principal = Principal { user: user(1), ceiling: Role::Builder, invited: true };
    let join = |n: u64, known| {
        let client = client(n.into());
        let join = Join { brane: brane_id(), client, known, resume: None, area: None };
        BraneInput::Join { session: SessionKey(n), principal, join }
    };
    for n in 1..=100 {
        bench.input(join(n, false)).update(SessionKey(n), [(1, create(n.into()))]);
        bench.input(BraneInput::Leave { session: SessionKey(n) }).pass_us(1_000);
    }
    bench.take();
    assert_eq!(bench.core.clients().len(), 10);
    bench.input(join(90, true)).input(join(91, true));
    assert_eq!(bench.take().refused, [(SessionKey(90), Code::ClientUnknown)]);
}

#[test]
fn strangers_and_visitors_edit_nothing() {
    let mut bench = Bench::joined();
    let stranger = SessionKey(99);
    bench.update(stranger, [(1, create(1)), (2, create(2))]);
    assert_eq!(refusals(&bench.take()), [(1, Code::NotJoined), (2, Code::NotJoined)]);
    let visitor = SessionKey(5);
    bench.join_as(
        visitor,
        Principal { user: user(5), ceiling: Role::Visitor, invited: true },
        None,
    );
    bench.update(visitor, [(1, create(1))]);
    assert_eq!(refusals(&bench.take()), [(1, Code::NotPermitted)]);
    assert_eq!(bench.core.head(), at(1, 0));
}

#[test]
fn who_is_not_attached_yet_has_not_joined() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2))]);
    let three = SessionKey(3);
    bench.join(three, None).update(three, [(1, create(3))]);
    assert_eq!(refusals(&bench.take()), [(1, Code::NotJoined)]);
}

#[test]
fn pressure_refuses_and_is_remembered_as_the_outcome() {
    let mut bench = Bench::joined();
    bench.input(BraneInput::Pressure(true)).update(ONE, [(1, create(1))]);
    assert_eq!(refusals(&bench.take()), [(1, Code::Unavailable)]);
    bench.input(BraneInput::Pressure(false)).update(ONE, [(1, create(1)), (2, create(1))]);
    let done = bench.take();
    assert_eq!(refusals(&done), [(1, Code::Unavailable)], "an outcome does not change");
    assert_eq!(acks(&done.windows[0]), [(1, vec![(2, 1)])]);
}
