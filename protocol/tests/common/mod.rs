//! Arbitrary messages. Not every test needs all of them.
#![allow(dead_code)]

use std::sync::Arc;

use avvy_model::*;
use avvy_protocol::*;
use proptest::array::uniform16;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

macro_rules! ids {
    ($($name:ident: $type:ty),*) => {
        $(pub fn $name() -> impl Strategy<Value = $type> {
            uniform16(any::<u8>()).prop_map(<$type>::from_bytes)
        })*
    };
}
ids!(
    object_id: ObjectId, user_id: UserId, client_id: ClientId, brane_id: BraneId,
    trace_id: TraceId, grant_id: GrantId, prototype_id: PrototypeId
);

pub fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..30u64, 0..70_000u64, any::<u32>().prop_map(u64::from), any::<u64>()]
}

pub fn handle() -> impl Strategy<Value = Handle> {
    prop_oneof![0..300u32, any::<u32>()].prop_map(Handle)
}

fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![0..30u32, any::<u32>()].prop_map(Channel)
}

fn position() -> impl Strategy<Value = Position> {
    (number(), number()).prop_map(|(e, s)| Position { epoch: Epoch(e), seq: Seq(s) })
}

pub fn transform() -> impl Strategy<Value = Transform> {
    let scale = prop_oneof![1e-4..1e4f64, -1e4..-1e-4f64];
    (
        [-2e5..2e5f64, -2e5..2e5, -2e5..2e5],
        [-1.0..1.0f64, -1.0..1.0, -1.0..1.0, 0.1..1.0],
        [scale.clone(), scale.clone(), scale],
    )
        .prop_map(|(p, q, s)| Transform::from_parts(p, q, s).unwrap())
}

pub fn patch() -> impl Strategy<Value = MovePatch> {
    // Parts that are not set are those of the identity, as a reader makes them.
    (1..8u8, transform()).prop_map(|(bits, to)| {
        let parts = Parts::from_bits(bits).unwrap();
        MovePatch::new(parts, MovePatch::new(parts, to).apply(&Transform::IDENTITY))
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "\\PC{1,12}"]
}

pub fn key() -> impl Strategy<Value = PropKey> {
    "[a-zA-Zä]{1,20}".prop_map(|k| PropKey::new(&k, &ValueLimits::default()).unwrap())
}

pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::null()),
        any::<bool>().prop_map(Value::bool),
        any::<i64>().prop_map(Value::int),
        any::<f64>().prop_map(Value::float),
        any::<f32>().prop_map(|f| Value::float(f.into())),
        text().prop_map(|t| Value::text(&t)),
        proptest::array::uniform32(any::<u8>()).prop_map(|h| Value::asset(AssetHash(h))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        vec(inner, 0..4).prop_map(|items| {
            let mut bytes = vec![0x80 | items.len() as u8];
            items.iter().for_each(|item| bytes.extend_from_slice(item.as_bytes()));
            Value::parse(&bytes, &ValueLimits::default()).unwrap()
        })
    })
}

pub fn props() -> impl Strategy<Value = Props> {
    proptest::collection::hash_map(key_text(), value(), 0..5).prop_map(|map| {
        let limits = ValueLimits::default();
        let entries = map.into_iter().map(|(k, v)| (PropKey::new(&k, &limits).unwrap(), v));
        Props::from_entries(entries.collect(), &limits).unwrap()
    })
}

fn key_text() -> impl Strategy<Value = String> {
    key().prop_map(|k| k.as_str().to_owned())
}

fn props_patch() -> impl Strategy<Value = PropsPatch> {
    proptest::collection::hash_map(key_text(), option::of(value()), 0..5).prop_map(|map| {
        let limits = ValueLimits::default();
        let entries = map.into_iter().map(|(k, v)| (PropKey::new(&k, &limits).unwrap(), v));
        PropsPatch::new(entries.collect()).unwrap()
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Group), Just(Kind::Block)]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![handle().prop_map(Target::Handle), object_id().prop_map(Target::Id)]
}

fn operation() -> impl Strategy<Value = Operation> {
    let mode = prop_oneof![Just(DeleteMode::Subtree), Just(DeleteMode::KeepChildren)];
    prop_oneof![
        (object_id(), target(), kind(), transform(), props()).prop_map(
            |(id, parent, kind, transform, props)| Operation::Create {
                id,
                parent,
                kind,
                transform,
                props
            }
        ),
        (target(), props_patch()).prop_map(|(target, patch)| Operation::Update { target, patch }),
        (target(), patch()).prop_map(|(target, patch)| Operation::Move { target, patch }),
        (target(), target(), option::of(transform())).prop_map(|(target, parent, transform)| {
            Operation::Reparent { target, parent, transform }
        }),
        (target(), mode).prop_map(|(target, mode)| Operation::Delete { target, mode }),
    ]
}

fn role_name() -> impl Strategy<Value = RoleName> {
    let custom = "[a-z][a-z0-9-]{0,9}".prop_map(|name| name.parse().unwrap());
    prop_oneof![(0..4usize).prop_map(|n| Role::ALL[n].into()), custom]
}

fn custom_role() -> impl Strategy<Value = CustomRole> {
    "x[a-z0-9-]{0,31}".prop_map(|name| match name.parse().unwrap() {
        RoleName::Custom(name) => name,
        RoleName::Known(role) => panic!("{role:?} begins with x"),
    })
}

fn verbs() -> impl Strategy<Value = Verbs> {
    (0..64u8).prop_map(|bits| Verbs::from_bits(bits).unwrap())
}

fn sanction() -> impl Strategy<Value = Sanction> {
    option::of(number()).prop_map(|until_ms| Sanction { until_ms })
}

fn reach() -> impl Strategy<Value = Reach> {
    let region = any::<([i32; 3], [i32; 3])>().prop_map(|(min, max)| Cuboid { min, max });
    let keys = option::of(vec(key(), 0..4).prop_map(Vec::into_boxed_slice));
    (keys, option::of(prototype_id()), option::of(region), option::of(handle()))
        .prop_map(|(keys, prototype, region, within)| Reach { keys, prototype, region, within })
}

fn grant() -> impl Strategy<Value = Grant> {
    (grant_id(), user_id(), verbs(), reach(), option::of(number()), user_id()).prop_map(
        |(id, to, verbs, reach, until_ms, by)| Grant { id, to, verbs, reach, until_ms, by },
    )
}

fn ruling() -> impl Strategy<Value = Ruling> {
    prop_oneof![
        role_name().prop_map(|role| Ruling::Everybody { role }),
        (custom_role(), option::of(verbs())).prop_map(|(name, verbs)| Ruling::Role { name, verbs }),
        (user_id(), option::of(role_name()))
            .prop_map(|(user, role)| Ruling::Appoint { user, role }),
        (user_id(), option::of(sanction())).prop_map(|(user, ban)| Ruling::Ban { user, ban }),
        (user_id(), option::of(sanction())).prop_map(|(user, mute)| Ruling::Mute { user, mute }),
        grant().prop_map(|grant| {
            let Grant { id, to, verbs, reach, until_ms, .. } = grant;
            Ruling::Grant { id, to, verbs, reach, until_ms }
        }),
        grant_id().prop_map(|id| Ruling::Revoke { id }),
    ]
}

fn own_rights() -> impl Strategy<Value = OwnRights> {
    let grants = vec(grant(), 0..3);
    (channel(), role_name(), verbs(), grants, option::of(sanction())).prop_map(
        |(channel, role, verbs, grants, mute)| OwnRights { channel, role, verbs, grants, mute },
    )
}

fn edit() -> impl Strategy<Value = NumberedEdit> {
    let edit = prop_oneof![
        3 => operation().prop_map(Edit::One),
        1 => vec(operation(), 0..4).prop_map(Edit::Batch),
        1 => ruling().prop_map(|ruling| Edit::Rule(Box::new(ruling))),
    ];
    (number(), edit).prop_map(|(n, edit)| NumberedEdit { counter: Counter(n), edit })
}

pub fn client_message() -> impl Strategy<Value = ClientMessage> {
    let hello = (any::<u32>(), any::<u32>(), option::of(text()), option::of(text())).prop_map(
        |(min_version, max_version, token, agent)| {
            ClientMessage::Hello(Hello { min_version, max_version, token, agent })
        },
    );
    let resume = (position(), option::of(vec(handle(), 0..9)), option::of(scope()))
        .prop_map(|(version, touched, scope)| Resume { version, touched, scope });
    let join = (brane_id(), client_id(), any::<bool>(), option::of(resume), option::of(area()))
        .prop_map(|(brane, client, known, resume, area)| {
            ClientMessage::Join(Join { brane, client, known, resume, area })
        });
    let update = (channel(), option::of(trace_id()), vec(edit(), 0..5)).prop_map(
        |(channel, trace, edits)| ClientMessage::Update(Update { channel, trace, edits }),
    );
    let one_move =
        (channel(), number(), handle(), patch()).prop_map(|(channel, n, handle, patch)| {
            let edit = Edit::One(Operation::Move { target: Target::Handle(handle), patch });
            let edits = vec![NumberedEdit { counter: Counter(n), edit }];
            ClientMessage::Update(Update { channel, trace: None, edits })
        });
    prop_oneof![
        1 => hello,
        1 => join,
        4 => update,
        2 => one_move,
        1 => text().prop_map(|token| ClientMessage::Refresh { token }),
        1 => channel().prop_map(|channel| ClientMessage::Leave { channel }),
        1 => (channel(), option::of(area()))
            .prop_map(|(channel, area)| ClientMessage::View { channel, area }),
        1 => channel().prop_map(|channel| ClientMessage::Hash { channel }),
        2 => people_request().prop_map(ClientMessage::People),
        1 => number().prop_map(|nonce| ClientMessage::Ping { nonce }),
    ]
}

fn area() -> impl Strategy<Value = Area> {
    let center = proptest::array::uniform3(any::<i32>());
    (center, any::<u32>()).prop_map(|(center, radius)| Area { center, radius })
}

fn scope() -> impl Strategy<Value = Scope> {
    let center = proptest::array::uniform3(any::<i32>()).prop_map(Cell);
    let size = (Grid::MIN_SIZE..=Grid::MAX_SIZE).prop_map(|size| Grid::new(size).unwrap());
    (center, 1..u32::MAX, size)
        .prop_map(|(center, reach, grid)| Scope { grid, view: View { center, reach } })
}

fn object_at() -> impl Strategy<Value = ObjectAt> {
    (handle(), object_id(), handle(), kind(), user_id(), transform(), props()).prop_map(
        |(handle, id, parent, kind, owner, transform, props)| ObjectAt {
            handle,
            object: Object { id, parent, kind, owner, transform, props },
        },
    )
}

fn move_record() -> impl Strategy<Value = MoveRecord> {
    (handle(), patch()).prop_map(|(handle, patch)| MoveRecord { handle, patch })
}

fn wire_change() -> impl Strategy<Value = WireChange> {
    prop_oneof![
        object_at().prop_map(|object| WireChange::Created(Box::new(object))),
        (handle(), props_patch()).prop_map(|(handle, patch)| WireChange::Updated { handle, patch }),
        move_record().prop_map(WireChange::Moved),
        (handle(), handle(), transform()).prop_map(|(handle, parent, transform)| {
            WireChange::Reparented { handle, to: Placement { parent, transform } }
        }),
        vec(handle(), 0..6).prop_map(|handles| WireChange::Deleted { handles }),
    ]
}

fn flush_item() -> impl Strategy<Value = FlushItem> {
    prop_oneof![
        vec(move_record(), 1..6).prop_map(FlushItem::Moves),
        (user_id(), vec(wire_change(), 1..4))
            .prop_map(|(by, changes)| FlushItem::Event(WireEvent { by, changes })),
        (1..9u64).prop_map(FlushItem::Skip),
    ]
}

pub fn area_flush() -> impl Strategy<Value = AreaFlush> {
    let cells = vec(vec(flush_item(), 0..4), 0..4);
    let lists = (cells, vec(handle(), 0..4), vec(object_at(), 0..4));
    let seq = 0..u64::MAX / 2;
    (channel(), number(), seq, 0..1_000u64, number(), number(), lists).prop_map(
        |(channel, epoch, from, edits, durable, ms, (cells, left, entered))| AreaFlush {
            channel,
            epoch: Epoch(epoch),
            from: Seq(from),
            to: Seq(from + edits),
            durable: Seq(durable),
            ms,
            cells,
            left,
            entered,
        },
    )
}

pub fn flush() -> impl Strategy<Value = Flush> {
    let item = flush_item();
    let seq = 0..u64::MAX / 2;
    (channel(), number(), seq, number(), number(), vec(item, 0..6)).prop_map(
        |(channel, epoch, from, durable, ms, items)| {
            let edits: u64 = items
                .iter()
                .map(|item| match item {
                    FlushItem::Moves(moves) => moves.len() as u64,
                    FlushItem::Event(_) => 1,
                    FlushItem::Skip(n) => *n,
                })
                .sum();
            let (epoch, durable) = (Epoch(epoch), Seq(durable));
            Flush { channel, epoch, from: Seq(from), to: Seq(from + edits), durable, ms, items }
        },
    )
}

fn code() -> impl Strategy<Value = Code> {
    (0..Code::ALL.len()).prop_map(|i| Code::ALL[i])
}

fn joined() -> impl Strategy<Value = Joined> {
    let catch_up = prop_oneof![Just(CatchUp::Snapshot), Just(CatchUp::Replay), Just(CatchUp::Diff)];
    let catch_up = (catch_up, option::of(scope()));
    (channel(), brane_id(), role_name(), position(), number(), catch_up, number()).prop_map(
        |(channel, brane, role, head, durable, (catch_up, scope), client_memory_s)| Joined {
            channel,
            brane,
            role,
            head,
            durable: Seq(durable),
            catch_up,
            scope,
            client_memory_s,
        },
    )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    (trace_id(), user_id(), proptest::array::uniform5(any::<u32>()), number(), number()).prop_map(
        |(session, user, n, expires, ms)| Welcome {
            version: n[0],
            session,
            user,
            heartbeat_ms: n[1],
            max_message_bytes: n[2],
            max_edits_in_flight: n[3],
            max_channels: n[4],
            expires,
            ms,
        },
    )
}

fn error() -> impl Strategy<Value = ErrorMessage> {
    (
        code(),
        text(),
        option::of(text()),
        trace_id(),
        option::of(number()),
        option::of(text()),
        option::of(channel()),
        option::of(text()),
    )
        .prop_map(
            |(code, message, details, trace, retry_after_ms, operation, channel, address)| {
                ErrorMessage {
                    code,
                    message,
                    details,
                    trace,
                    retry_after_ms,
                    operation,
                    channel,
                    address,
                }
            },
        )
}

fn refused() -> impl Strategy<Value = RefusedEdit> {
    (number(), code(), option::of(any::<u32>())).prop_map(|(n, code, operation)| RefusedEdit {
        counter: Counter(n),
        code,
        operation,
    })
}

fn snapshot() -> impl Strategy<Value = SnapshotPart> {
    let objects = vec(object_at(), 0..4);
    (channel(), position(), any::<u32>(), any::<bool>(), objects, vec(handle(), 0..4)).prop_map(
        |(channel, at, index, last, objects, gone)| SnapshotPart {
            channel,
            at,
            index,
            last,
            objects,
            gone,
        },
    )
}

pub fn server_message() -> impl Strategy<Value = ServerMessage> {
    use ServerMessage as M;
    let applied = vec((number().prop_map(Counter), number().prop_map(Seq)), 0..5);
    prop_oneof![
        1 => welcome().prop_map(M::Welcome),
        1 => number().prop_map(|expires| M::Refreshed { expires }),
        1 => number().prop_map(|expires| M::Expiring { expires }),
        1 => joined().prop_map(M::Joined),
        1 => (channel(), option::of(code()), option::of(text()))
            .prop_map(|(channel, code, address)| M::Left { channel, code, address }),
        1 => snapshot().prop_map(M::Snapshot),
        1 => (scope(), snapshot()).prop_map(|(scope, part)| M::View(ViewPart { scope, part })),
        2 => area_flush().prop_map(|flush| M::AreaFlush(Arc::new(flush))),
        3 => flush().prop_map(|flush| M::Flush(Arc::new(flush))),
        1 => (channel(), position())
            .prop_map(|(channel, version)| M::VersionComplete { channel, version }),
        1 => (channel(), position()).prop_map(|(channel, to)| M::Rewind { channel, to }),
        1 => (channel(), 0..5usize, 0..3usize).prop_map(|(channel, level, reason)| {
            M::Level { channel, level: Level::ALL[level], reason: LevelReason::ALL[reason] }
        }),
        1 => (channel(), applied).prop_map(|(channel, edits)| M::Applied { channel, edits }),
        1 => (channel(), vec(refused(), 0..4))
            .prop_map(|(channel, edits)| M::Refused { channel, edits }),
        1 => (channel(), position()).prop_map(|(channel, durable)| M::Durable { channel, durable }),
        1 => (channel(), position(), uniform16(any::<u8>()))
            .prop_map(|(channel, at, hash)| M::Hash { channel, at, hash }),
        1 => own_rights().prop_map(|own| M::Rights(Box::new(own))),
        2 => people_news().prop_map(M::People),
        1 => (number(), number()).prop_map(|(nonce, ms)| M::Pong { nonce, ms }),
        1 => error().prop_map(M::Error),
    ]
}

fn person() -> impl Strategy<Value = Person> {
    prop_oneof![0..300u32, any::<u32>()].prop_map(Person)
}

fn pose() -> impl Strategy<Value = Pose> {
    (any::<[i32; 3]>(), transform())
        .prop_map(|(position, transform)| Pose { position, rotation: transform.rotation })
}

fn state() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=PoseUpdate::MAX_STATE)
}

fn people_request() -> impl Strategy<Value = PeopleRequest> {
    let to =
        prop_oneof![Just(Audience::All), Just(Audience::Near), person().prop_map(Audience::One)];
    prop_oneof![
        (channel(), option::of(person()), option::of(any::<u32>())).prop_map(
            |(channel, after, limit)| PeopleRequest::List(PeopleList { channel, after, limit })
        ),
        (channel(), pose(), state()).prop_map(|(channel, pose, state)| {
            PeopleRequest::Pose(PoseUpdate { channel, pose, state })
        }),
        (channel(), to, "[a-zä]{1,16}", option::of(value())).prop_map(
            |(channel, to, kind, body)| {
                PeopleRequest::Signal(SignalSend { channel, to, kind, body })
            }
        ),
    ]
}

fn people_news() -> impl Strategy<Value = PeopleNews> {
    let people =
        || vec((person(), user_id()).prop_map(|(person, user)| PersonAt { person, user }), 0..4);
    prop_oneof![
        (channel(), option::of(person()), person(), number(), people(), option::of(person()))
            .prop_map(|(channel, after, you, at, people, next)| {
                PeopleNews::Page(PeoplePage { channel, after, you, at, people, next })
            }),
        (channel(), number(), number(), people(), vec(person(), 0..4), any::<bool>()).prop_map(
            |(channel, from, to, joined, left, reset)| PeopleNews::Changed(PeopleChanged {
                channel,
                from,
                to,
                joined,
                left,
                reset
            })
        ),
        (
            channel(),
            number(),
            vec(person(), 0..4),
            vec((person(), pose()), 0..4),
            vec((person(), state()), 0..4)
        )
            .prop_map(|(channel, ms, away, poses, states)| {
                PeopleNews::Poses(Poses { channel, ms, away, poses, states })
            }),
        (channel(), person(), user_id(), "[a-z]{1,32}", option::of(value()), number()).prop_map(
            |(channel, from, user, kind, body, ms)| PeopleNews::Signal(Signal {
                channel,
                from,
                user,
                kind,
                body,
                ms
            })
        ),
    ]
}
