#![allow(clippy::unwrap_used)]
use avvy_model::{
    BraneId, ClientId, Code, Counter, Cuboid, DeleteMode, Edit, EditId, Event, Handle, Kind,
    MovePatch, ObjectId, Operation, POSITION_UNIT_M, Parts, PropKey, Props, PropsPatch, Reach,
    Refusal, Ruling, Seq, Target, Transform, Value, ValueLimits, Verb, WorldLimits,
};

use super::*;
use crate::World;

const OWNER: UserId = UserId::from_bytes([1; 16]);
const ANN: UserId = UserId::from_bytes([2; 16]);
const BOB: UserId = UserId::from_bytes([3; 16]);
const NOW_MS: u64 = 1_000_000;

fn as_role(user: UserId, ceiling: Role) -> Principal {
    Principal { user, ceiling, invited: true }
}

fn anybody(user: UserId) -> Principal {
    as_role(user, Role::Owner)
}

fn grant_id(n: u8) -> GrantId {
    GrantId::from_bytes([n; 16])
}

fn custom(name: &str) -> CustomRole {
    match name.parse().unwrap() {
        RoleName::Custom(name) => name,
        RoleName::Known(_) => panic!("{name} is known"),
    }
}

fn at(x: i32) -> Transform {
    let identity = Transform::IDENTITY;
    Transform::new([x, 0, 0], identity.rotation, identity.scale()).unwrap()
}

fn key(text: &str) -> PropKey {
    PropKey::new(text, &ValueLimits::default()).unwrap()
}

fn of_prototype(n: u8) -> Props {
    let id = PrototypeText(n).to_string();
    let entry = (key(avvy_model::Object::PROTOTYPE_KEY), Value::text(&id));
    Props::from_entries(vec![entry], &ValueLimits::default()).unwrap()
}

struct PrototypeText(u8);

impl std::fmt::Display for PrototypeText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        avvy_model::PrototypeId::from_bytes([self.0; 16]).fmt(f)
    }
}

/// A world with a group 1 at x = 1,000, a block 2 in it at x = 10, a block 3
/// at x = -5 under the root, and a block 4 of prototype 7.
struct Bench {
    world: World,
    limits: WorldLimits,
    events: Vec<Event>,
}

impl Bench {
    fn new() -> Self {
        let world = World::new(BraneId::from_bytes([0xbb; 16]), OWNER);
        let mut bench = Self { world, limits: WorldLimits::default(), events: Vec::new() };
        for (id, parent, kind, x, props) in [
            (1, 0, Kind::Group, 1_000, Props::default()),
            (2, 1, Kind::Block, 10, Props::default()),
            (3, 0, Kind::Block, -5, Props::default()),
            (4, 0, Kind::Block, 0, of_prototype(7)),
        ] {
            let operation = Operation::Create {
                id: ObjectId::from_bytes([id; 16]),
                parent: Target::Handle(Handle(parent)),
                kind,
                transform: at(x),
                props,
            };
            bench.edit(&anybody(OWNER), operation).unwrap();
        }
        bench
    }

    fn apply(&mut self, who: &Principal, now_ms: u64, edit: &Edit) -> Result<(), Code> {
        let seq = self.world.seq().next();
        let applied = self.world.apply(seq, now_ms, who, edit, &self.limits);
        let changes = applied.map_err(|Refusal { code, .. }| code)?;
        let edit = EditId { client: ClientId::from_bytes([1; 16]), counter: Counter(seq.0) };
        let (at_ms, by, trace) = (now_ms, who.user, None);
        self.events.push(Event { seq, at_ms, by, edit, trace, changes });
        Ok(())
    }

    fn edit(&mut self, who: &Principal, operation: Operation) -> Result<(), Code> {
        self.apply(who, NOW_MS, &Edit::One(operation))
    }

    fn rule_at(&mut self, who: &Principal, now_ms: u64, ruling: Ruling) -> Result<(), Code> {
        self.apply(who, now_ms, &Edit::Rule(Box::new(ruling)))
    }

    fn rule(&mut self, who: &Principal, ruling: Ruling) -> Result<(), Code> {
        self.rule_at(who, NOW_MS, ruling)
    }

    /// The owner appoints.
    fn appoint(&mut self, user: UserId, role: RoleName) {
        self.rule(&anybody(OWNER), Ruling::Appoint { user, role: Some(role) }).unwrap();
    }

    /// The owner grants this to Ann, who is a visitor.
    fn grant(&mut self, id: u8, verbs: &[Verb], reach: Reach) {
        self.appoint(ANN, Role::Visitor.into());
        let (id, verbs) = (grant_id(id), Verbs::of(verbs));
        let grant = Ruling::Grant { id, to: ANN, verbs, reach, until_ms: None };
        self.rule(&anybody(OWNER), grant).unwrap();
    }

    /// Whether Ann may; the world stays as it is.
    fn may(&mut self, operation: Operation) -> bool {
        let seq = self.world.seq().next();
        let edit = Edit::One(operation);
        match self.world.apply(seq, NOW_MS, &anybody(ANN), &edit, &self.limits) {
            Ok(changes) => {
                self.world.retract(&changes);
                true
            }
            Err(refusal) => {
                assert_eq!(refusal.code, Code::NotPermitted, "{edit:?}");
                false
            }
        }
    }
}

fn target(handle: u32) -> Target {
    Target::Handle(Handle(handle))
}

fn create_in(parent: u32, x: i32, props: Props) -> Operation {
    Operation::Create {
        id: ObjectId::from_bytes([99; 16]),
        parent: target(parent),
        kind: Kind::Block,
        transform: at(x),
        props,
    }
}

fn set(handle: u32, name: &str) -> Operation {
    let patch = PropsPatch::new(vec![(key(name), Some(Value::null()))]).unwrap();
    Operation::Update { target: target(handle), patch }
}

fn move_to(handle: u32, x: i32) -> Operation {
    let patch = MovePatch::new(Parts::POSITION, at(x));
    Operation::Move { target: target(handle), patch }
}

fn hang(handle: u32, parent: u32, x: i32) -> Operation {
    let (target, parent) = (target(handle), target(parent));
    Operation::Reparent { target, parent, transform: Some(at(x)) }
}

fn delete(handle: u32) -> Operation {
    Operation::Delete { target: target(handle), mode: DeleteMode::Subtree }
}

/// One operation for each verb.
fn samples() -> [(Verb, Operation); 6] {
    [
        (Verb::Create, create_in(0, 0, Props::default())),
        (Verb::Move, move_to(3, 1)),
        (Verb::Move, hang(3, 1, 0)),
        (Verb::Edit, set(3, "colour")),
        (Verb::Delete, delete(3)),
        (Verb::Configure, set(0, "sky")),
    ]
}

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
