//! What roles, grants and tokens allow.

use super::*;

#[test]
fn roles_and_tokens_bound_what_somebody_may() {
    for role in Role::ALL {
        let mut bench = Bench::new();
        bench.appoint(ANN, role.into());
        for ceiling in Role::ALL {
            let who = as_role(ANN, ceiling);
            let allowed = role.min(ceiling).verbs();
            assert_eq!(bench.world.rights().verbs(&who), allowed);
            let may_write = bench.world.rights().may_write(&who, NOW_MS);
            assert_eq!(may_write, !allowed.is_empty());
            for (verb, operation) in samples() {
                let seq = bench.world.seq().next();
                let edit = Edit::One(operation);
                let applied = bench.world.apply(seq, NOW_MS, &who, &edit, &bench.limits);
                assert_eq!(
                    applied.is_ok(),
                    allowed.contains(verb),
                    "{role:?} {ceiling:?} {edit:?}"
                );
                match applied {
                    Ok(changes) => bench.world.retract(&changes),
                    Err(refusal) => assert_eq!(refusal.code, Code::NotPermitted),
                }
            }
        }
    }
}

#[test]
fn everybody_builds_until_it_is_ruled_otherwise() {
    let mut bench = Bench::new();
    assert!(bench.may(delete(3)));
    let owner = anybody(OWNER);
    bench.rule(&owner, Ruling::Everybody { role: Role::Editor.into() }).unwrap();
    assert!(bench.may(move_to(3, 1)) && bench.may(set(3, "a")));
    assert!(!bench.may(delete(3)) && !bench.may(create_in(0, 0, Props::default())));
    bench.rule(&owner, Ruling::Everybody { role: Role::Visitor.into() }).unwrap();
    assert!(!bench.may(set(3, "a")));
    // The owner's rights are nobody's to take.
    assert!(bench.edit(&owner, set(0, "sky")).is_ok());
}

#[test]
fn a_role_of_the_branes_own_counts_as_it_is_defined() {
    let mut bench = Bench::new();
    let (owner, mover) = (anybody(OWNER), custom("mover"));
    let role = RoleName::Custom(mover.clone());
    let appoint = Ruling::Appoint { user: ANN, role: Some(role.clone()) };
    assert_eq!(bench.rule(&owner, appoint.clone()), Err(Code::RoleUnknown));
    let define = |verbs| Ruling::Role { name: mover.clone(), verbs };
    assert_eq!(bench.rule(&owner, define(None)), Err(Code::RoleUnknown));
    bench.rule(&owner, define(Some(Verbs::of(&[Verb::Move])))).unwrap();
    bench.rule(&owner, appoint).unwrap();
    assert!(bench.may(move_to(3, 1)) && !bench.may(set(3, "a")));
    bench.rule(&owner, define(Some(Verbs::of(&[Verb::Edit])))).unwrap();
    assert!(!bench.may(move_to(3, 1)) && bench.may(set(3, "a")));
    assert_eq!(bench.rule(&owner, define(None)), Err(Code::RoleInUse));
    bench.rule(&owner, Ruling::Appoint { user: ANN, role: None }).unwrap();
    bench.rule(&owner, Ruling::Everybody { role }).unwrap();
    assert_eq!(bench.rule(&owner, define(None)), Err(Code::RoleInUse));
    bench.rule(&owner, Ruling::Everybody { role: Role::Visitor.into() }).unwrap();
    bench.rule(&owner, define(None)).unwrap();
}

#[test]
fn a_grant_adds_its_verbs_and_nothing_else() {
    for granted in [Verb::Create, Verb::Move, Verb::Edit, Verb::Delete] {
        let mut bench = Bench::new();
        bench.grant(1, &[granted], Reach::default());
        for (verb, operation) in samples() {
            assert_eq!(bench.may(operation.clone()), verb == granted, "{granted:?} {operation:?}");
        }
        // A token for looking allows no more than that.
        let visitor = as_role(ANN, Role::Visitor);
        assert!(!bench.world.rights().may_write(&visitor, NOW_MS));
        let (_, operation) = samples().into_iter().find(|(verb, _)| *verb == granted).unwrap();
        assert_eq!(bench.edit(&visitor, operation), Err(Code::NotPermitted));
        bench.rule(&anybody(OWNER), Ruling::Revoke { id: grant_id(1) }).unwrap();
        assert!(samples().into_iter().all(|(_, operation)| !bench.may(operation)));
    }
}

#[test]
fn a_grant_reaches_no_farther_than_it_says() {
    let all = [Verb::Create, Verb::Move, Verb::Edit, Verb::Delete];
    let keys = Reach { keys: Some([key("colour")].into()), ..Reach::default() };
    let prototype = avvy_model::PrototypeId::from_bytes([7; 16]);
    let prototype = Reach { prototype: Some(prototype), ..Reach::default() };
    let within = Reach { within: Some(Handle(1)), ..Reach::default() };
    // Group 1 is at 1,000, so block 2 is at 1,010.
    let region = Cuboid { min: [1_000, -1, -1], max: [1_020, 1, 1] };
    let region = Reach { region: Some(region), ..Reach::default() };
    let plain = Props::default;
    let cases = [
        (&keys, set(3, "colour"), true),
        (&keys, set(3, "size"), false),
        (&keys, set(0, "colour"), false),
        (&keys, move_to(3, 1), true),
        (&prototype, set(4, "colour"), true),
        (&prototype, set(4, "prototype"), false),
        (&prototype, set(3, "colour"), false),
        (&prototype, set(3, "prototype"), false),
        (&prototype, delete(4), true),
        (&prototype, create_in(0, 0, of_prototype(7)), true),
        (&prototype, create_in(0, 0, of_prototype(8)), false),
        (&prototype, create_in(0, 0, plain()), false),
        (&within, move_to(2, 1), true),
        (&within, move_to(1, 1), true),
        (&within, move_to(3, 1), false),
        (&within, create_in(1, 0, plain()), true),
        (&within, create_in(0, 0, plain()), false),
        (&within, hang(2, 0, 0), false),
        (&within, hang(3, 1, 0), false),
        (&region, set(2, "a"), true),
        (&region, set(3, "a"), false),
        (&region, move_to(2, 0), true),
        (&region, move_to(2, 20), true),
        (&region, move_to(2, 21), false),
        (&region, move_to(2, -1), false),
        (&region, move_to(3, 1_010), false),
        (&region, create_in(0, 1_005, plain()), true),
        (&region, create_in(1, 5, plain()), true),
        (&region, create_in(1, 1_005, plain()), false),
        (&region, hang(2, 0, 1_010), true),
        (&region, hang(2, 0, 10), false),
        (&region, delete(2), true),
        (&region, delete(4), false),
    ];
    for (reach, operation, expected) in cases {
        let mut bench = Bench::new();
        bench.grant(1, &all, reach.clone());
        assert_eq!(bench.may(operation.clone()), expected, "{reach:?} {operation:?}");
    }
    assert!(f64::from(1_020) * POSITION_UNIT_M < 1.0, "a cell or so");
}

#[test]
fn under_a_grant_nothing_goes_that_it_is_not_about() {
    let prototype = avvy_model::PrototypeId::from_bytes([7; 16]);
    let prototype = Reach { prototype: Some(prototype), ..Reach::default() };
    let region = Some(Cuboid { min: [900, -1, -1], max: [1_020, 1, 1] });
    let region = Reach { region, ..Reach::default() };
    let within = Reach { within: Some(Handle(1)), ..Reach::default() };
    let keep = || Operation::Delete { target: target(1), mode: DeleteMode::KeepChildren };
    let group_of_prototype = |bench: &mut Bench| {
        let made_from = key(avvy_model::Object::PROTOTYPE_KEY);
        let prototype = Value::text(&PrototypeText(7).to_string());
        let patch = PropsPatch::new(vec![(made_from, Some(prototype))]).unwrap();
        let update = Operation::Update { target: target(1), patch };
        bench.edit(&anybody(OWNER), update).unwrap();
    };
    type Prepare<'a> = &'a dyn Fn(&mut Bench);
    let nothing: Prepare<'_> = &|_| {};
    let far: Prepare<'_> = &|bench| bench.edit(&anybody(OWNER), hang(2, 1, 21)).unwrap();
    let emptied: Prepare<'_> = &|bench| bench.edit(&anybody(OWNER), hang(2, 0, 0)).unwrap();
    let cases = [
        (&region, delete(1), nothing, true),
        (&region, delete(1), far, false),
        (&prototype, delete(1), &group_of_prototype, false),
        (&within, delete(1), nothing, true),
        (&within, keep(), nothing, false),
        (&within, keep(), emptied, true),
    ];
    for (reach, operation, prepare, expected) in cases {
        let mut bench = Bench::new();
        bench.grant(1, &[Verb::Delete], reach.clone());
        prepare(&mut bench);
        assert_eq!(bench.may(operation.clone()), expected, "{reach:?} {operation:?}");
    }
    // As many as are looked at.
    let mut bench = Bench::new();
    bench.grant(1, &[Verb::Delete], region.clone());
    for n in 1..=decide::MAX_DELETED_BY_GRANT {
        assert!(bench.may(delete(1)), "{n}");
        let create = Operation::Create {
            id: ObjectId::from_bytes((n as u128 | 1 << 127).to_be_bytes()),
            parent: target(1),
            kind: Kind::Block,
            transform: Transform::IDENTITY,
            props: Props::default(),
        };
        bench.edit(&anybody(OWNER), create).unwrap();
    }
    assert!(!bench.may(delete(1)));
}

#[test]
fn what_a_thing_was_made_from_is_changed_only_by_who_may_create() {
    let mut bench = Bench::new();
    bench.appoint(ANN, Role::Editor.into());
    assert!(bench.may(set(4, "colour")) && !bench.may(set(4, "prototype")));
    bench.appoint(ANN, Role::Builder.into());
    assert!(bench.may(set(4, "prototype")));
}

#[test]
fn grants_and_sanctions_end_by_themselves() {
    let mut bench = Bench::new();
    let owner = anybody(OWNER);
    bench.appoint(ANN, Role::Visitor.into());
    let until_ms = Some(NOW_MS + 10);
    let grant = |id, until_ms| Ruling::Grant {
        id: grant_id(id),
        to: ANN,
        verbs: Verbs::of(&[Verb::Edit]),
        reach: Reach::default(),
        until_ms,
    };
    let sanction = Some(Sanction { until_ms });
    bench.rule(&owner, grant(1, until_ms)).unwrap();
    bench.rule(&owner, Ruling::Ban { user: BOB, ban: sanction }).unwrap();
    bench.rule(&owner, Ruling::Mute { user: BOB, mute: sanction }).unwrap();
    for (now_ms, counts) in [(NOW_MS, true), (NOW_MS + 9, true), (NOW_MS + 10, false)] {
        let edited = bench.apply(&anybody(ANN), now_ms, &Edit::One(set(3, "a")));
        assert_eq!(edited.is_ok(), counts, "{now_ms}");
        let rights = bench.world.rights();
        assert_eq!(rights.grants_of(ANN, now_ms).count(), usize::from(counts));
        assert_eq!(rights.ban(BOB, now_ms).is_some(), counts);
        assert_eq!(rights.mute(BOB, now_ms).is_some(), counts);
        let entered = rights.may_enter(&anybody(BOB), now_ms);
        assert_eq!(entered, if counts { Err(Code::Banned) } else { Ok(()) });
    }
    // To forget them changes no answer.
    bench.world.forget_rights(NOW_MS + 10);
    assert_eq!(bench.world.rights().grants().count(), 0);
    assert_eq!(bench.world.rights().standings().count(), 1, "Ann's role has no end");
    // What is over before it begins is no ruling.
    let over = Some(Sanction { until_ms: Some(NOW_MS) });
    for ruling in [
        grant(2, Some(NOW_MS)),
        Ruling::Ban { user: BOB, ban: over },
        Ruling::Mute { user: BOB, mute: over },
    ] {
        assert_eq!(bench.rule(&owner, ruling), Err(Code::RulingInvalid));
    }
}
