//! Whom a ruling concerns of those who are there.

use avvy_model::{CustomRole, GrantId, Reach, RoleName, Ruling, Sanction, Verb, Verbs};

use super::*;

const OWNER: SessionKey = SessionKey(9);

/// The owner, and two who build.
fn governed() -> Bench {
    let mut bench = Bench::joined();
    let owner = Principal { user: user(0), ceiling: Role::Owner, invited: true };
    bench.join_as(OWNER, owner, None);
    bench.done = Done::default();
    bench
}

fn rule(bench: &mut Bench, n: u64, ruling: Ruling) -> Done {
    bench.update(OWNER, [(n, Edit::Rule(Box::new(ruling)))]);
    bench.take()
}

fn told(done: &Done) -> Vec<SessionKey> {
    done.rights.iter().map(|(session, _)| *session).collect()
}

#[test]
fn those_whom_a_ruling_is_about_are_told() {
    let mut bench = governed();
    let crew: CustomRole = match "crew".parse() {
        Ok(RoleName::Custom(name)) => name,
        other => panic!("{other:?}"),
    };
    let define =
        |verbs: &[Verb]| Ruling::Role { name: crew.clone(), verbs: Some(Verbs::of(verbs)) };
    let grant = Ruling::Grant {
        id: GrantId::new(Uuid::from_u128(7)),
        to: user(2),
        verbs: Verbs::of(&[Verb::Edit]),
        reach: Reach::default(),
        until_ms: None,
    };
    let role = Some(RoleName::Custom(crew.clone()));
    let nobody: &[SessionKey] = &[];
    let cases = [
        (define(&[]), nobody),
        (Ruling::Appoint { user: user(1), role }, &[ONE]),
        (define(&[Verb::Move]), &[ONE]),
        (Ruling::Everybody { role: Role::Visitor.into() }, &[TWO]),
        (grant, &[TWO]),
        (Ruling::Mute { user: user(2), mute: Some(Sanction { until_ms: None }) }, &[TWO]),
        (Ruling::Appoint { user: user(77), role: Some(Role::Owner.into()) }, nobody),
    ];
    for ((ruling, expected), n) in cases.into_iter().zip(1..) {
        let done = rule(&mut bench, n, ruling.clone());
        assert_eq!(told(&done), expected, "{ruling:?}");
        let voices: Vec<_> = done.voices.iter().map(|(session, _)| *session).collect();
        assert_eq!(voices, expected, "{ruling:?}");
        assert_eq!(done.windows.len(), 1, "a ruling has its place in the log");
    }
    bench.update(TWO, [(1, create(1))]);
    let refused = ServerMessage::Refused {
        channel: CHANNEL,
        edits: vec![RefusedEdit { counter: Counter(1), code: Code::NotPermitted, operation: None }],
    };
    assert_eq!(bench.take().told, [(TWO, refused)]);
}

#[test]
fn many_rulings_of_one_update_are_told_once() {
    let mut bench = governed();
    let mute = |n: u64| {
        let mute = n.is_multiple_of(2).then_some(Sanction { until_ms: None });
        (n, Edit::Rule(Box::new(Ruling::Mute { user: user(1), mute })))
    };
    bench.update(OWNER, std::array::from_fn::<_, 201, _>(|n| mute(n as u64 + 1)));
    let done = bench.take();
    assert_eq!((told(&done), done.voices.len()), (vec![ONE], 1));
    assert_eq!(done.rights[0].1.mute, None, "the last of them unmutes");
    bench.update(OWNER, [mute(202)]);
    assert!(bench.take().rights[0].1.mute.is_some());
}

#[test]
fn who_is_banned_is_let_go_of_at_once() {
    let mut bench = governed();
    bench.eager = false;
    let ban = |ban| Ruling::Ban { user: user(1), ban };
    // The same user is about to join once more, and waits for a window's end.
    bench.update(TWO, [(1, create(1))]).update(TWO, [(2, create(2))]);
    let one = Principal { user: user(1), ceiling: Role::Builder, invited: true };
    bench.join_as(SessionKey(3), one, None);
    bench.take();
    let until_ms = Some(bench.now.unix_ms + 5);
    let done = rule(&mut bench, 1, ban(Some(Sanction { until_ms })));
    assert_eq!(done.expelled, [(ONE, Code::Banned)]);
    assert_eq!(done.refused, [(SessionKey(3), Code::Banned)]);
    bench.update(ONE, [(1, create(2))]);
    let answer = bench.take();
    assert!(matches!(answer.told.as_slice(), [(ONE, ServerMessage::Refused { edits, .. })]
        if edits[0].code == Code::NotJoined));
    bench.join_as(SessionKey(4), one, None);
    assert_eq!(bench.take().refused, [(SessionKey(4), Code::Banned)]);
    bench.pass_us(5_000);
    bench.join_as(SessionKey(4), one, None);
    assert_eq!(bench.take().refused, []);
}

#[test]
fn whom_a_private_brane_no_longer_knows_it_lets_go() {
    let mut bench = governed();
    let stranger = Principal { user: user(5), ceiling: Role::Owner, invited: false };
    let key = SessionKey(5);
    bench.join_as(key, stranger, None);
    assert_eq!(bench.take().refused, [(key, Code::NotFound)]);
    let appoint = |role| Ruling::Appoint { user: user(5), role };
    rule(&mut bench, 1, appoint(Some(Role::Visitor.into())));
    bench.join_as(key, stranger, None);
    let done = bench.take();
    assert_eq!((told(&done), done.refused), (vec![key], vec![]));
    assert_eq!(done.attached[0].voice.writes_until_ms, 0);
    let done = rule(&mut bench, 2, appoint(None));
    assert_eq!(done.expelled, [(key, Code::NotFound)]);
}

#[test]
fn who_was_in_because_anybody_might_be_is_let_go() {
    let mut bench = governed();
    rule(&mut bench, 1, Ruling::Appoint { user: user(1), role: Some(Role::Visitor.into()) });
    let all = [ONE, TWO, OWNER];
    let become_private = all.map(|session| (session, session == OWNER));
    bench.input(BraneInput::Invited(become_private.to_vec()));
    assert_eq!(bench.take().expelled, [(TWO, Code::NotFound)], "the others have a role there");
    // Whoever stays only because it is open again goes with that.
    bench.input(BraneInput::Invited(vec![(ONE, true), (OWNER, true), (TWO, true)]));
    assert_eq!(bench.take().expelled, []);
    rule(&mut bench, 2, Ruling::Appoint { user: user(1), role: None });
    bench.input(BraneInput::Invited(vec![(ONE, false), (OWNER, true)]));
    assert_eq!(bench.take().expelled, [(ONE, Code::NotFound)]);
}
