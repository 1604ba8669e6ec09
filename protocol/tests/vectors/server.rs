//! What the server says.

use std::sync::Arc;

use avvy_model::*;
use avvy_protocol::codec::{decode_server, encode_flush, encode_server};
use avvy_protocol::*;

use super::samples::*;
use super::{check, vector};

#[test]
fn server_messages() {
    let mut vectors = Vec::new();
    for (name, message) in messages() {
        let bytes = encode_server(&message, NOW_MS);
        assert_eq!(decode_server(&bytes).unwrap(), message, "{name}");
        vectors.push(vector(name, &bytes));
    }
    let about = "Messages of the server, in deterministic encoding: `hex` is the CBOR, `content` \
                 the same by the JSON form of PROTOCOL.md.";
    check("server.json", about, vectors);
}

/// What comes straight from the log's events is what the types say.
#[test]
fn a_flush_of_events_is_the_flush_of_its_items() {
    for (name, items) in windows() {
        let events: Vec<Event> =
            events().into_iter().filter(|(n, _)| *n == name).map(|e| e.1).collect();
        if events.is_empty() {
            continue;
        }
        let expected = encode_server(&flush(items), NOW_MS);
        let bytes = encode_flush(Channel(1), Epoch(3), Seq(70_000), Seq(69_990), NOW_MS, &events);
        assert_eq!(bytes, expected, "{name}");
    }
}

fn flush(items: Vec<FlushItem>) -> ServerMessage {
    let edits: u64 = items
        .iter()
        .map(|item| match item {
            FlushItem::Moves(moves) => moves.len() as u64,
            FlushItem::Event(_) => 1,
            FlushItem::Skip(n) => *n,
        })
        .sum();
    ServerMessage::Flush(Arc::new(Flush {
        channel: Channel(1),
        epoch: Epoch(3),
        from: Seq(70_000),
        to: Seq(70_000 + edits),
        durable: Seq(69_990),
        ms: NOW_MS,
        items,
    }))
}

fn areas() -> Vec<(&'static str, ServerMessage)> {
    let flush = |cells, left, entered| {
        ServerMessage::AreaFlush(Arc::new(AreaFlush {
            channel: Channel(1),
            epoch: Epoch(3),
            from: Seq(70_000),
            to: Seq(70_012),
            durable: Seq(69_990),
            ms: NOW_MS,
            cells,
            left,
            entered,
        }))
    };
    let moves = |handle| FlushItem::Moves(vec![record(handle, 3, transform())]);
    let deleted = event(vec![WireChange::Deleted { handles: vec![Handle(9)] }]);
    vec![
        ("an area: nothing to show", flush(vec![], vec![], vec![])),
        (
            "an area: two cells",
            flush(vec![vec![moves(1)], vec![moves(2), deleted]], vec![], vec![]),
        ),
        (
            "an area: one object leaves, one enters",
            flush(vec![vec![moves(5)]], vec![Handle(5)], vec![object(300, 0, Kind::Block)]),
        ),
    ]
}

fn record(handle: u32, bits: u8, to: Transform) -> MoveRecord {
    MoveRecord { handle: Handle(handle), patch: moved(bits, to) }
}

fn event(changes: Vec<WireChange>) -> FlushItem {
    FlushItem::Event(WireEvent { by: user_id(0xb1), changes })
}

fn windows() -> Vec<(&'static str, Vec<FlushItem>)> {
    let reparented = WireChange::Reparented {
        handle: Handle(17),
        to: Placement { parent: Handle(2), transform: stretched() },
    };
    vec![
        ("an empty window", vec![]),
        ("one move", vec![FlushItem::Moves(vec![record(1_000, 3, transform())])]),
        (
            "moves of all parts",
            vec![FlushItem::Moves(vec![
                record(1, 1, transform()),
                record(70_000, 2, transform()),
                record(3, 4, stretched()),
                record(4, 7, stretched()),
            ])],
        ),
        (
            "a creation",
            vec![event(vec![WireChange::Created(Box::new(object(17, 0, Kind::Block)))])],
        ),
        (
            "an update",
            vec![event(vec![WireChange::Updated { handle: Handle(17), patch: patch() }])],
        ),
        ("a re-parenting", vec![event(vec![reparented.clone()])]),
        (
            "a deletion",
            vec![event(vec![WireChange::Deleted { handles: vec![Handle(17), Handle(18)] }])],
        ),
        (
            "a batch between moves",
            vec![
                FlushItem::Moves(vec![record(1, 3, transform()), record(2, 3, transform())]),
                event(vec![WireChange::Moved(record(5, 3, transform())), reparented]),
                FlushItem::Moves(vec![record(1, 1, stretched())]),
            ],
        ),
        (
            "edits with nothing to show",
            vec![
                FlushItem::Skip(3),
                FlushItem::Moves(vec![record(1, 3, transform())]),
                FlushItem::Skip(1_000),
            ],
        ),
    ]
}

/// The events behind some of the windows.
fn events() -> Vec<(&'static str, Event)> {
    let event = |seq, changes: Vec<Change>| Event {
        seq: Seq(70_000 + seq),
        at_ms: NOW_MS,
        by: user_id(0xb1),
        edit: EditId { client: client_id(0xc1), counter: Counter(seq) },
        trace: None,
        changes: changes.into(),
    };
    let shift = |handle, bits, after| Change::Moved {
        handle: Handle(handle),
        parts: parts(bits),
        before: Transform::IDENTITY,
        after,
    };
    let placement = |parent, transform| Placement { parent: Handle(parent), transform };
    let reparented = Change::Reparented {
        handle: Handle(17),
        before: placement(0, Transform::IDENTITY),
        after: placement(2, stretched()),
    };
    vec![
        ("one move", event(1, vec![shift(1_000, 3, transform())])),
        ("moves of all parts", event(1, vec![shift(1, 1, transform())])),
        ("moves of all parts", event(2, vec![shift(70_000, 2, transform())])),
        ("moves of all parts", event(3, vec![shift(3, 4, stretched())])),
        ("moves of all parts", event(4, vec![shift(4, 7, stretched())])),
        ("a creation", event(1, vec![Change::Created(Box::new(object(17, 0, Kind::Block)))])),
        (
            "a deletion",
            event(
                1,
                vec![Change::Deleted {
                    removed: vec![object(17, 0, Kind::Group), object(18, 17, Kind::Block)],
                }],
            ),
        ),
        (
            "an update",
            event(
                1,
                vec![Change::Updated {
                    handle: Handle(17),
                    before: PropsPatch::default(),
                    after: patch(),
                }],
            ),
        ),
        ("a batch between moves", event(1, vec![shift(1, 3, transform())])),
        ("a batch between moves", event(2, vec![shift(2, 3, transform())])),
        ("a batch between moves", event(3, vec![shift(5, 3, transform()), reparented])),
        ("a batch between moves", event(4, vec![shift(1, 1, stretched())])),
    ]
}

pub fn messages() -> Vec<(&'static str, ServerMessage)> {
    let mut all = sessions();
    all.extend(branes());
    all.extend(windows().into_iter().map(|(name, items)| (name, flush(items))));
    all.extend(areas());
    all.extend(outcomes());
    all.extend(super::people::news());
    all
}

fn sessions() -> Vec<(&'static str, ServerMessage)> {
    use ServerMessage as M;
    let welcome = Welcome {
        version: 1,
        session: trace_id(0x5e),
        user: user_id(0xb1),
        heartbeat_ms: 15_000,
        max_message_bytes: 524_288,
        max_edits_in_flight: 256,
        max_channels: 16,
        expires: 1_767_229_200,
        ms: NOW_MS,
    };
    let error = |code: Code| ErrorMessage {
        code,
        message: code.meaning().to_owned(),
        details: None,
        trace: trace_id(0x7e),
        retry_after_ms: None,
        operation: None,
        channel: None,
        address: None,
    };
    vec![
        ("welcome", M::Welcome(welcome)),
        ("auth.refreshed", M::Refreshed { expires: 1_767_232_800 }),
        ("auth.expiring", M::Expiring { expires: 1_767_229_200 }),
        ("pong", M::Pong { nonce: 9, ms: NOW_MS }),
        ("error", M::Error(error(Code::Internal))),
        (
            "error with everything",
            M::Error(ErrorMessage {
                details: Some("no such operation".to_owned()),
                retry_after_ms: Some(1_500),
                operation: Some("object.fly".to_owned()),
                channel: Some(Channel(1)),
                ..error(Code::UnknownOperation)
            }),
        ),
        (
            "error of what moved",
            M::Error(ErrorMessage {
                retry_after_ms: Some(3_200),
                operation: Some("brane.join".to_owned()),
                address: Some("https://two.example".to_owned()),
                ..error(Code::Moved)
            }),
        ),
    ]
}

fn branes() -> Vec<(&'static str, ServerMessage)> {
    use ServerMessage as M;
    let joined = |role: RoleName, catch_up| {
        M::Joined(Joined {
            channel: Channel(1),
            brane: brane_id(0xb0),
            role,
            head: at(3, 70_000),
            durable: Seq(69_990),
            catch_up,
            scope: None,
            client_memory_s: 604_800,
        })
    };
    let mut walker = joined(Role::Builder.into(), CatchUp::Snapshot);
    if let M::Joined(joined) = &mut walker {
        joined.scope = Some(scope());
    }
    let part = |index, last, objects, gone| {
        M::Snapshot(SnapshotPart {
            channel: Channel(1),
            at: at(3, 70_000),
            index,
            last,
            objects,
            gone,
        })
    };
    let left = |code, address: Option<&str>| M::Left {
        channel: Channel(1),
        code,
        address: address.map(str::to_owned),
    };
    let root = ObjectAt { handle: Handle(0), ..object(0, 0, Kind::Group) };
    vec![
        ("brane.joined, snapshot", joined(Role::Builder.into(), CatchUp::Snapshot)),
        ("brane.joined, replay", joined(Role::Owner.into(), CatchUp::Replay)),
        ("brane.joined, diff", joined(Role::Visitor.into(), CatchUp::Diff)),
        ("brane.joined, of an area", walker),
        ("brane.left", left(None, None)),
        ("brane.left with a code", left(Some(Code::Forbidden), None)),
        ("brane.left of what moved", left(Some(Code::Moved), Some("https://two.example"))),
        (
            "brane.snapshot, first part",
            part(0, false, vec![root, object(17, 0, Kind::Block)], vec![]),
        ),
        (
            "brane.snapshot, last part of a diff",
            part(1, true, vec![], vec![Handle(5), Handle(300)]),
        ),
        (
            "brane.view, the only part",
            M::View(ViewPart {
                scope: scope(),
                part: SnapshotPart {
                    channel: Channel(1),
                    at: at(3, 70_000),
                    index: 0,
                    last: true,
                    objects: vec![object(17, 0, Kind::Block)],
                    gone: vec![Handle(5), Handle(300)],
                },
            }),
        ),
        ("version_complete", M::VersionComplete { channel: Channel(1), version: at(3, 70_004) }),
        (
            "brane.level",
            M::Level { channel: Channel(1), level: Level::NoPresence, reason: LevelReason::Age },
        ),
        ("brane.rights", M::Rights(Box::new(rights(None)))),
        (
            "brane.rights of who is muted",
            M::Rights(Box::new(rights(Some(Sanction { until_ms: Some(NOW_MS) })))),
        ),
        ("brane.changed", M::Changed(Box::new(changed()))),
        ("rewind", M::Rewind { channel: Channel(1), to: at(2, 69_000) }),
        ("brane.hash", M::Hash { channel: Channel(1), at: at(3, 70_004), hash: [0x5a; 16] }),
    ]
}

fn changed() -> BraneChanged {
    BraneChanged {
        channel: Channel(1),
        name: "Town hall".to_owned(),
        description: "Where we meet.\nEvery day.".to_owned(),
        tags: vec!["town".to_owned(), "hall".to_owned()],
        kind: "showcase".to_owned(),
        visibility: Visibility::Unlisted,
        version: 3,
    }
}

fn rights(mute: Option<Sanction>) -> OwnRights {
    let grant = Grant {
        id: grant_id(0xe0),
        to: user_id(0xa1),
        verbs: Verbs::of(&[Verb::Edit]),
        reach: reach(),
        until_ms: Some(NOW_MS),
        by: user_id(0xb1),
    };
    OwnRights {
        channel: Channel(1),
        role: Role::Editor.into(),
        verbs: Role::Editor.verbs(),
        grants: if mute.is_some() { Vec::new() } else { vec![grant] },
        mute,
    }
}

fn outcomes() -> Vec<(&'static str, ServerMessage)> {
    use ServerMessage as M;
    let refused = |n, code, operation| RefusedEdit { counter: Counter(n), code, operation };
    vec![
        (
            "object.applied",
            M::Applied { channel: Channel(1), edits: vec![(Counter(5), Seq(70_001))] },
        ),
        (
            "object.applied, several",
            M::Applied {
                channel: Channel(1),
                edits: vec![(Counter(5), Seq(70_001)), (Counter(7), Seq(u64::MAX))],
            },
        ),
        (
            "object.refused",
            M::Refused {
                channel: Channel(1),
                edits: vec![
                    refused(6, Code::ObjectNotFound, None),
                    refused(8, Code::NotPermitted, Some(2)),
                ],
            },
        ),
        ("brane.durable", M::Durable { channel: Channel(1), durable: at(3, 70_001) }),
    ]
}
