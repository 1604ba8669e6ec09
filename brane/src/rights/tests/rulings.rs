//! Which rulings take effect, and where they are kept.

use std::sync::Arc;

use super::*;

#[test]
fn nobody_gives_takes_or_overrules_what_they_lack() {
    let mut bench = Bench::new();
    let (owner, ann) = (anybody(OWNER), anybody(ANN));
    let warden = custom("warden");
    let verbs = Some(Verbs::of(&[Verb::Edit, Verb::Govern]));
    bench.rule(&owner, Ruling::Role { name: warden.clone(), verbs }).unwrap();
    bench.appoint(ANN, RoleName::Custom(warden.clone()));
    bench.appoint(BOB, Role::Visitor.into());
    bench.rule(&owner, Ruling::Everybody { role: Role::Visitor.into() }).unwrap();
    let full = Ruling::Grant {
        id: grant_id(9),
        to: BOB,
        verbs: Verbs::of(&[Verb::Delete]),
        reach: Reach::default(),
        until_ms: None,
    };
    bench.rule(&owner, full).unwrap();
    let grant = |id, verb: Verb| Ruling::Grant {
        id: grant_id(id),
        to: BOB,
        verbs: Verbs::of(&[verb]),
        reach: Reach::default(),
        until_ms: None,
    };
    let role = |name: &str, verbs: Option<&[Verb]>| Ruling::Role {
        name: custom(name),
        verbs: verbs.map(Verbs::of),
    };
    let appoint = |user, role: RoleName| Ruling::Appoint { user, role: Some(role) };
    let ban = |user| Ruling::Ban { user, ban: Some(Sanction { until_ms: None }) };
    let cases = [
        (grant(1, Verb::Edit), Ok(())),
        (grant(2, Verb::Move), Err(Code::BeyondOwn)),
        (grant(1, Verb::Edit), Err(Code::GrantExists)),
        (Ruling::Revoke { id: grant_id(9) }, Err(Code::BeyondOwn)),
        (Ruling::Revoke { id: grant_id(1) }, Ok(())),
        (Ruling::Revoke { id: grant_id(1) }, Err(Code::GrantNotFound)),
        (role("painter", Some(&[Verb::Edit])), Ok(())),
        (role("mover", Some(&[Verb::Move])), Err(Code::BeyondOwn)),
        (Ruling::Everybody { role: Role::Editor.into() }, Err(Code::BeyondOwn)),
        (Ruling::Everybody { role: RoleName::Custom(custom("painter")) }, Ok(())),
        (appoint(BOB, Role::Builder.into()), Err(Code::BeyondOwn)),
        (appoint(BOB, RoleName::Custom(custom("painter"))), Ok(())),
        (appoint(BOB, RoleName::Custom(warden)), Ok(())),
        (appoint(OWNER, Role::Visitor.into()), Err(Code::BeyondOwn)),
        (ban(OWNER), Err(Code::BeyondOwn)),
        (ban(BOB), Ok(())),
    ];
    for (ruling, expected) in cases {
        assert_eq!(bench.rule(&ann, ruling.clone()), expected, "{ruling:?}");
    }
    // To have no role of one's own is to have everybody's.
    bench.rule(&owner, Ruling::Everybody { role: Role::Builder.into() }).unwrap();
    bench.appoint(BOB, Role::Visitor.into());
    for user in [BOB, ANN] {
        let ruling = Ruling::Appoint { user, role: None };
        assert_eq!(bench.rule(&ann, ruling), Err(Code::BeyondOwn));
    }
    // What others have put on her is not hers to lift.
    let mute = |mute| Ruling::Mute { user: ANN, mute };
    bench.rule(&owner, mute(Some(Sanction { until_ms: None }))).unwrap();
    assert_eq!(bench.rule(&ann, mute(None)), Err(Code::BeyondOwn));
    // One who has more than she has is not hers to overrule.
    bench.appoint(BOB, Role::Builder.into());
    assert_eq!(bench.rule(&ann, ban(BOB)), Err(Code::BeyondOwn));
    // Who does not govern rules over nothing, nor does a token for less.
    let ruling = grant(3, Verb::Edit);
    assert_eq!(bench.rule(&anybody(BOB), ruling.clone()), Err(Code::NotPermitted));
    assert_eq!(bench.rule(&as_role(ANN, Role::Builder), ruling.clone()), Err(Code::NotPermitted));
    assert_eq!(bench.rule(&as_role(OWNER, Role::Builder), ruling), Err(Code::NotPermitted));
}

#[test]
fn rulings_that_say_nothing_sensible_are_refused() {
    let mut bench = Bench::new();
    let owner = anybody(OWNER);
    let grant = |verbs: &[Verb], reach| Ruling::Grant {
        id: grant_id(1),
        to: ANN,
        verbs: Verbs::of(verbs),
        reach,
        until_ms: None,
    };
    let keys = |keys: Vec<PropKey>| Reach { keys: Some(keys.into()), ..Reach::default() };
    let many = (0..=avvy_model::MAX_GRANT_KEYS).map(|n| key(&n.to_string())).collect();
    let inside_out = Some(Cuboid { min: [1, 0, 0], max: [0, 0, 0] });
    for ruling in [
        grant(&[], Reach::default()),
        grant(&[Verb::Govern], Reach::default()),
        grant(&[Verb::Edit, Verb::Configure], Reach::default()),
        grant(&[Verb::Edit], keys(vec![])),
        grant(&[Verb::Edit], keys(many)),
        grant(&[Verb::Edit], keys(vec![key("prototype")])),
        grant(&[Verb::Edit], Reach { region: inside_out, ..Reach::default() }),
    ] {
        assert_eq!(bench.rule(&owner, ruling.clone()), Err(Code::RulingInvalid), "{ruling:?}");
    }
}

#[test]
fn there_is_room_for_so_many() {
    let mut bench = Bench::new();
    let owner = anybody(OWNER);
    bench.limits = WorldLimits {
        max_roles: 1,
        max_standings: 2,
        max_grants: 3,
        max_grants_per_user: 2,
        ..bench.limits
    };
    let user = |n: u8| UserId::from_bytes([100 + n; 16]);
    let grant = |id: u8, to, until_ms| Ruling::Grant {
        id: grant_id(id),
        to,
        verbs: Verbs::of(&[Verb::Edit]),
        reach: Reach::default(),
        until_ms,
    };
    let role = |name: &str| Ruling::Role { name: custom(name), verbs: Some(Verbs::NONE) };
    let ban = |n, until_ms| Ruling::Ban { user: user(n), ban: Some(Sanction { until_ms }) };
    let soon = Some(NOW_MS + 1);
    for (now_ms, ruling, fits) in [
        (NOW_MS, role("a"), true),
        (NOW_MS, role("b"), false),
        (NOW_MS, role("a"), true),
        (NOW_MS, ban(1, None), true),
        (NOW_MS, ban(2, soon), true),
        (NOW_MS, ban(3, None), false),
        (NOW_MS, ban(2, soon), true),
        (NOW_MS + 1, ban(3, None), true),
        (NOW_MS, grant(1, ANN, None), true),
        (NOW_MS, grant(2, ANN, soon), true),
        (NOW_MS, grant(3, ANN, None), false),
        (NOW_MS, grant(3, BOB, None), true),
        (NOW_MS, grant(4, BOB, None), false),
        (NOW_MS + 1, grant(4, BOB, None), true),
        (NOW_MS + 1, grant(5, ANN, None), false),
    ] {
        let expected = if fits { Ok(()) } else { Err(Code::TooManyRights) };
        assert_eq!(bench.rule_at(&owner, now_ms, ruling.clone()), expected, "{ruling:?}");
    }
}

#[test]
fn an_eighth_of_the_room_is_the_owners() {
    let mut bench = Bench::new();
    bench.limits = WorldLimits { max_standings: 8, max_grants: 8, ..bench.limits };
    bench.appoint(ANN, Role::Owner.into());
    let mute = |n: u8| Ruling::Mute {
        user: UserId::from_bytes([100 + n; 16]),
        mute: Some(Sanction { until_ms: None }),
    };
    let grant = |id: u8| Ruling::Grant {
        id: grant_id(id),
        to: BOB,
        verbs: Verbs::of(&[Verb::Edit]),
        reach: Reach::default(),
        until_ms: None,
    };
    for n in 1..7 {
        bench.rule(&anybody(ANN), mute(n)).unwrap();
    }
    for n in 1..8 {
        bench.rule(&anybody(ANN), grant(n)).unwrap();
    }
    for ruling in [mute(7), grant(8)] {
        let full = Err(Code::TooManyRights);
        assert_eq!(bench.rule(&anybody(ANN), ruling.clone()), full, "{ruling:?}");
        assert_eq!(bench.rule(&anybody(OWNER), ruling.clone()), Ok(()), "{ruling:?}");
    }
}

#[test]
fn a_private_brane_is_for_its_owner_the_invited_and_who_has_a_role() {
    let mut bench = Bench::new();
    let stranger = |user| Principal { user, ceiling: Role::Owner, invited: false };
    let enter = |bench: &Bench, user| bench.world.rights().may_enter(&stranger(user), NOW_MS);
    assert_eq!(enter(&bench, OWNER), Ok(()));
    assert_eq!(enter(&bench, ANN), Err(Code::NotFound));
    assert_eq!(bench.world.rights().may_enter(&anybody(ANN), NOW_MS), Ok(()));
    bench.appoint(ANN, Role::Visitor.into());
    assert_eq!(enter(&bench, ANN), Ok(()));
    bench.rule(&anybody(OWNER), Ruling::Appoint { user: ANN, role: None }).unwrap();
    assert_eq!(enter(&bench, ANN), Err(Code::NotFound));
    // A ban without a role lets nobody learn that there is a brane.
    let ban = Some(Sanction { until_ms: None });
    bench.rule(&anybody(OWNER), Ruling::Ban { user: ANN, ban }).unwrap();
    assert_eq!(enter(&bench, ANN), Err(Code::NotFound));
    assert_eq!(bench.world.rights().may_enter(&anybody(ANN), NOW_MS), Err(Code::Banned));
}

/// Rulings of every kind.
fn rulings() -> Vec<Ruling> {
    let reach = Reach {
        keys: Some([key("colour"), key("size")].into()),
        prototype: Some(avvy_model::PrototypeId::from_bytes([7; 16])),
        region: Some(Cuboid { min: [i32::MIN, -1, 0], max: [1, 2, i32::MAX] }),
        within: Some(Handle(1)),
    };
    let sanction = |until_ms| Some(Sanction { until_ms });
    let grant = |id, reach, until_ms| Ruling::Grant {
        id: grant_id(id),
        to: ANN,
        verbs: Verbs::of(&[Verb::Edit, Verb::Move]),
        reach,
        until_ms,
    };
    let role = |verbs: Option<Verbs>| Ruling::Role { name: custom("crew"), verbs };
    vec![
        Ruling::Everybody { role: Role::Visitor.into() },
        role(Some(Verbs::ALL)),
        role(Some(Verbs::NONE)),
        Ruling::Appoint { user: ANN, role: Some(RoleName::Custom(custom("crew"))) },
        Ruling::Ban { user: ANN, ban: sanction(None) },
        Ruling::Mute { user: BOB, mute: sanction(Some(NOW_MS * 2)) },
        grant(1, reach, Some(NOW_MS * 3)),
        grant(2, Reach::default(), None),
        Ruling::Revoke { id: grant_id(2) },
        Ruling::Ban { user: ANN, ban: None },
        Ruling::Appoint { user: ANN, role: None },
        role(None),
        Ruling::Appoint { user: BOB, role: Some(Role::Owner.into()) },
    ]
}

#[test]
fn journal_and_snapshot_hold_rights() {
    let mut bench = Bench::new();
    let mut hashes = Vec::new();
    for ruling in rulings() {
        bench.rule(&anybody(OWNER), ruling).unwrap();
        hashes.push(bench.world.state_hash());
        let clients = crate::Clients::new(&bench.limits);
        let at = avvy_model::Position { epoch: avvy_model::Epoch(1), seq: bench.world.seq() };
        let hash = bench.world.state_hash();
        let mut encoder = crate::snapshot::Encoder::new(bench.world.freeze(), clients, at, hash);
        let mut decoder = crate::snapshot::Decoder::new(&bench.limits);
        while let Some(part) = encoder.next_part() {
            decoder.feed(&part).unwrap();
        }
        let restored = decoder.finish().unwrap().world;
        assert_eq!(restored.rights(), bench.world.rights());
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "no object has changed");
    let chunk = crate::journal::encode(&bench.events);
    let events = crate::journal::decode(&chunk).unwrap();
    assert_eq!(events, bench.events);
    let mut replayed = World::new(BraneId::from_bytes([0xbb; 16]), OWNER);
    for event in &events {
        replayed.replay(event).unwrap();
        let len = crate::journal::encode(std::slice::from_ref(event)).len();
        let bound = avvy_model::weight::CHUNK + avvy_model::weight::event(event);
        assert!(len <= bound, "{len} {bound} {event:?}");
    }
    assert_eq!(replayed.rights(), bench.world.rights());
    assert_eq!(replayed.state_hash(), bench.world.state_hash());
}

#[test]
fn a_ruling_that_is_taken_back_was_never_made() {
    let mut bench = Bench::new();
    let rulings = rulings();
    let cycle = rulings.iter().cycle().take(KEPT_RULINGS + 2 * rulings.len());
    for (n, ruling) in cycle.enumerate() {
        // Of what was given once, another one.
        let mut ruling = ruling.clone();
        if let Ruling::Grant { id, .. } | Ruling::Revoke { id } = &mut ruling {
            let round = (n / rulings.len()) as u128;
            *id = GrantId::from_bytes((id.uuid().as_u128() ^ round).to_be_bytes());
        }
        let before = bench.world.rights().clone();
        let seq = bench.world.seq().next();
        let edit = Edit::Rule(Box::new(ruling));
        let applied = bench.world.apply(seq, NOW_MS, &anybody(OWNER), &edit, &bench.limits);
        let changes = applied.unwrap();
        assert_eq!(bench.world.rights().rulings().last().unwrap().seq, seq);
        bench.world.retract(&changes);
        let shown = |rights: &Rights| rights.rulings().cloned().collect::<Vec<_>>();
        assert_eq!(shown(bench.world.rights()), shown(&before));
        let mut after = bench.world.rights().clone();
        after.rulings.clone_from(&before.rulings);
        assert_eq!(after, before);
        assert_eq!(bench.world.seq(), Seq(seq.0 - 1));
        bench.apply(&anybody(OWNER), NOW_MS, &edit).unwrap();
    }
    assert_eq!(bench.world.rights().rulings().count(), KEPT_RULINGS);
}

/// A table that somebody has a view of is large to copy, and whoever may not
/// rule could ask for it again and again.
#[test]
fn what_changes_nothing_copies_nothing() {
    let mut bench = Bench::new();
    let user = BOB;
    bench.rule(&anybody(OWNER), Ruling::Mute { user, mute: None }).unwrap();
    let ban = Ruling::Ban { user, ban: Some(Sanction { until_ms: Some(NOW_MS + 1) }) };
    bench.rule(&anybody(OWNER), ban).unwrap();
    let view = bench.world.freeze();
    let everybody = Ruling::Everybody { role: Role::Owner.into() };
    assert_eq!(bench.rule(&anybody(ANN), everybody), Err(Code::NotPermitted));
    bench.world.forget_rights(NOW_MS);
    assert!(Arc::ptr_eq(&view.rights, &bench.world.rights));
    bench.world.forget_rights(NOW_MS + 1);
    assert_eq!(view.rights().standings().count(), 1);
    assert_eq!(bench.world.rights().standings().count(), 0);
}
