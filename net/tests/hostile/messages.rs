//! Frames in order that hold no message, or one out of its turn.

use avvy_model::{Edit, Follow, FollowStep, Followed, Props, PrototypeId, Visibility};

use crate::cases::{Case, case, first_told, told, told_by_itself};
use crate::common::TestServer;
use crate::common::ws::{BINARY, FIN, Ws, version_4};

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> =
        [bytes(), fields(), turns()].concat().into_iter().map(said).collect();
    cases.extend(edits().into_iter().map(edited));
    cases.extend([
        join_of_nothing(),
        too_many_malformed(),
        visitor(),
        made_up_defaults(),
        stranger_says_much(),
        stranger_asks(),
    ]);
    cases
}

type Said = (&'static str, Vec<u8>);

/// A message of a welcomed client.
fn said((name, message): Said) -> Case {
    case(name, move |server| {
        let message = message.clone();
        Box::pin(async move {
            let mut ws = Ws::welcomed(server, 1).await;
            ws.frame(FIN | BINARY, &message).await;
            told(&mut ws).await
        })
    })
}

/// An edit of a welcomed client that has joined a brane.
fn edited((name, edit): Said) -> Case {
    case(name, move |server| {
        let edit = edit.clone();
        Box::pin(async move {
            let mut ws = Ws::welcomed(server, 1).await;
            let brane = server.brane(Visibility::Public).await;
            let channel = ws.join(brane, 7).await;
            let head = [b"\xa3\x62ch".as_slice(), &uint(u64::from(channel.0))].concat();
            let update = [&head[..], b"\x62op\x6dobject.update\x65edits", &edit].concat();
            ws.frame(FIN | BINARY, &update).await;
            first_told(&mut ws).await
        })
    })
}

fn uint(n: u64) -> Vec<u8> {
    [&[0x1b][..], &n.to_be_bytes()].concat()
}

/// A text of any length.
fn text(text: &str) -> Vec<u8> {
    [&[0x7a][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

/// A map with `op` and one more field.
fn with_field(op: &str, name: &str, value: &[u8]) -> Vec<u8> {
    [b"\xa2\x62op", &text(op)[..], &text(name), value].concat()
}

/// A join with these ids.
fn join(brane: &str, client: &str) -> Vec<u8> {
    let head = [b"\xa3\x62op".as_slice(), &text("brane.join")].concat();
    [&head[..], &text("brane"), &text(brane), &text("client"), &text(client)].concat()
}

/// Lengths that lie, depth, and what is no CBOR.
fn bytes() -> Vec<Said> {
    let deep = |opening: &[u8]| [&opening.repeat(10_000)[..], &[0]].concat();
    let huge = |head: u8| with_field("ping", "x", &[&[head][..], &[0xff; 8]].concat());
    vec![
        ("cbor-nothing", vec![]),
        ("cbor-no-map", b"\x80".to_vec()),
        ("cbor-reserved", b"\xa1\x62op\x1c".to_vec()),
        ("cbor-break-of-nothing", b"\xff".to_vec()),
        ("cbor-cut", with_field("ping", "nonce", &[0x19, 1])),
        ("cbor-more-behind", [&with_field("ping", "nonce", &[7])[..], &[0]].concat()),
        ("cbor-deep-arrays", with_field("ping", "x", &deep(&[0x81]))),
        ("cbor-deep-endless-arrays", with_field("ping", "x", &deep(&[0x9f]))),
        ("cbor-deep-maps", with_field("ping", "x", &deep(b"\xa1\x61a"))),
        ("cbor-deep-tags", with_field("ping", "x", &deep(&[0xd8, 0x29]))),
        ("cbor-deep-from-the-start", deep(&[0x81])),
        ("cbor-huge-array", huge(0x9b)),
        ("cbor-huge-map", huge(0xbb)),
        ("cbor-huge-bytes", huge(0x5b)),
        ("cbor-huge-text", huge(0x7b)),
        ("cbor-endless-text", with_field("auth.refresh", "token", b"\x7f\x61a\x61b\xff")),
        ("cbor-endless-map", b"\xbf\x62op\x64ping\x65nonce\x07\xff".to_vec()),
        ("cbor-text-not-utf8", with_field("auth.refresh", "token", b"\x62\xff\xfe")),
        ("cbor-key-twice", b"\xa3\x62op\x64ping\x65nonce\x07\x65nonce\x08".to_vec()),
        ("cbor-op-twice", b"\xa3\x62op\x64ping\x62op\x64ping\x65nonce\x07".to_vec()),
        ("cbor-key-no-text", b"\xa3\x62op\x64ping\x65nonce\x07\x01\x02".to_vec()),
        ("cbor-unknown-field", b"\xa3\x62op\x64ping\x65nonce\x07\x65extra\xf6".to_vec()),
    ]
}

/// Fields of the wrong kind.
fn fields() -> Vec<Said> {
    let id = version_4(7).to_string();
    let nonce = |value: &[u8]| with_field("ping", "nonce", value);
    vec![
        ("field-missing", b"\xa1\x62op\x64ping".to_vec()),
        ("field-null", nonce(b"\xf6")),
        ("field-float-for-an-integer", nonce(b"\xfb\x42\x00\x00\x00\x00\x00\x00\x00")),
        ("field-fraction-for-an-integer", nonce(b"\xf9\x3e\x00")),
        ("field-negative", nonce(b"\x20")),
        ("field-not-a-number", nonce(b"\xf9\x7e\x00")),
        ("field-big-number", nonce(b"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00")),
        ("field-text-for-an-integer", nonce(b"\x617")),
        ("field-op-no-text", b"\xa1\x62op\x07".to_vec()),
        ("field-op-missing", b"\xa0".to_vec()),
        ("field-op-unknown", b"\xa1\x62op\x63fly".to_vec()),
        ("field-op-long", [b"\xa1\x62op", &text(&"x".repeat(100_000))[..]].concat()),
        ("id-that-is-none", join("seven", &id)),
        ("id-in-braces", join(&format!("{{{id}}}"), &id)),
        ("id-without-dashes", join(&id.replace('-', ""), &id)),
        ("id-long", join(&id, &id.repeat(1_000))),
        ("id-of-a-client-that-is-none", join(&id, "")),
        (
            "join-touched-too-long",
            [
                b"\xa5".as_slice(),
                &join(&id, &id)[1..],
                &text("resume_version"),
                &[0x82, 1, 1],
                &text("touched"),
                &[0x9a, 0, 1, 0, 1],
                &[0; 65_537],
            ]
            .concat(),
        ),
    ]
}

/// Good messages out of their turn.
fn turns() -> Vec<Said> {
    let versions = |from: u8, to: u8| {
        let head = [b"\xa3\x62op".as_slice(), &text("hello"), &text("min_version")].concat();
        [&head[..], &[from], &text("max_version"), &[to]].concat()
    };
    vec![
        ("hello-twice", versions(1, 1)),
        ("leave-what-is-not-joined", with_field("brane.leave", "ch", &[9])),
        ("hash-of-what-is-not-joined", with_field("brane.hash", "ch", &[9])),
        (
            "edit-where-not-joined",
            b"\xa3\x62ch\x09\x62op\x6dobject.update\x65edits\x81\xa4\x61n\x01\x62op\x66delete\x61t\x09\x64mode\x67subtree"
                .to_vec(),
        ),
        ("event-of-a-server", b"\xa2\x65event\x64pong\x65nonce\x07".to_vec()),
    ]
}

/// The items of `edits`.
fn edits() -> Vec<Said> {
    let one = |edit: &[u8]| [b"\x81", edit].concat();
    let value = |value: &[u8]| {
        one(&[b"\xa4\x61n\x01\x62op\x66update\x61t\x00\x63set\xa1\x61k", value].concat())
    };
    let moved = |parts: &[u8]| {
        let record = [&[0, 0, 0, 0][..], parts].concat();
        one(&[b"\xa3\x61n\x01\x62op\x64move\x61m", &[0x40 | record.len() as u8][..], &record]
            .concat())
    };
    let delete = b"\xa3\x62op\x66delete\x61t\x09\x64mode\x67subtree";
    let batch = |count: u16, operation: &[u8]| {
        let head = [b"\xa3\x61n\x01\x62op\x65batch\x63ops\x99".as_slice(), &count.to_be_bytes()];
        one(&[&head.concat()[..], &operation.repeat(usize::from(count))].concat())
    };
    let numbered = b"\xa4\x61n\x01\x62op\x66delete\x61t\x09\x64mode\x67subtree";
    let many = |count: u16| {
        [&[0x99][..], &count.to_be_bytes(), &numbered.repeat(usize::from(count))].concat()
    };
    vec![
        ("edits-no-list", b"\x07".to_vec()),
        ("edits-huge", [&[0x9b][..], &[0xff; 8]].concat()),
        ("edits-too-many", many(1_025)),
        ("edit-without-a-number", one(b"\xa1\x62op\x64move")),
        ("edit-number-no-integer", one(b"\xa2\x61n\x617\x62op\x64move")),
        ("edit-unknown", one(b"\xa2\x61n\x01\x62op\x63fly")),
        ("edit-of-nothing", one(numbered)),
        ("edit-batch-in-a-batch", batch(1, b"\xa2\x62op\x65batch\x63ops\x80")),
        ("edit-batch-too-large", batch(1_001, delete)),
        ("edit-batch-empty", batch(0, delete)),
        ("edit-value-deep", value(&[&[0x81; 17][..], &[0]].concat())),
        ("edit-value-very-deep", value(&[&[0x81; 10_000][..], &[0]].concat())),
        ("edit-value-long", value(&text(&"x".repeat(9_000)))),
        ("edit-value-key-twice", value(b"\xa2\x61a\x01\x61a\x02")),
        ("edit-value-tag", value(b"\xc1\x00")),
        ("edit-value-undefined", value(b"\xf7")),
        ("edit-move-no-parts", moved(&[0])),
        ("edit-move-unknown-parts", moved(&[8])),
        ("edit-move-cut", moved(&[1, 0, 0])),
        ("edit-move-rotation-of-none", moved(&[&[2][..], &[0xff; 6]].concat())),
        ("edit-move-scale-of-zero", moved(&[&[4][..], &[0; 12]].concat())),
        (
            "edit-move-scale-not-a-number",
            moved(&[&[4][..], &[0, 0, 0xc0, 0x7f].repeat(3)].concat()),
        ),
        (
            "edit-move-position-endless",
            one(b"\xa4\x61n\x01\x62op\x64move\x61t\x00\x68position\x83\xf9\x7c\x00\xf9\x7c\x00\xf9\x7c\x00"),
        ),
    ]
}

fn join_of_nothing() -> Case {
    case("id-of-nothing", |server| {
        Box::pin(async move {
            let mut ws = Ws::welcomed(server, 1).await;
            let id = version_4(7).to_string();
            ws.frame(FIN | BINARY, &join(&id, &id)).await;
            first_told(&mut ws).await
        })
    })
}

fn too_many_malformed() -> Case {
    case("malformed-again-and-again", |server| {
        Box::pin(async move {
            let mut ws = Ws::welcomed(server, 1).await;
            for _ in 0..8 {
                ws.frame(FIN | BINARY, b"\xff\x00").await;
            }
            told_by_itself(&mut ws).await
        })
    })
}

fn visitor() -> Case {
    case("edit-of-a-visitor", |server: &TestServer| {
        Box::pin(async move {
            let brane = server.brane(Visibility::Public).await;
            let mut ws = Ws::open(server).await;
            ws.greet(&server.token_for(2, avvy_model::Role::Visitor, 1_000)).await;
            let channel = ws.join(brane, 7).await;
            ws.group(channel, 1).await;
            first_told(&mut ws).await
        })
    })
}

fn made_up_defaults() -> Case {
    case("edit-defaults-made-up", |server| {
        Box::pin(async move {
            let brane = server.brane(Visibility::Public).await;
            let mut ws = Ws::welcomed(server, 1).await;
            let channel = ws.join(brane, 1).await;
            let prototype = PrototypeId::from_bytes([7; 16]);
            let made_up = Followed { version: prototype, number: 1, defaults: Props::default() };
            let follow = Follow::new(prototype, FollowStep::Adopt(made_up), Vec::new()).unwrap();
            ws.submit(channel, 1, Edit::Follow(Box::new(follow))).await;
            first_told(&mut ws).await
        })
    })
}

fn stranger_says_much() -> Case {
    case("stranger-large-message", |server| {
        Box::pin(async move {
            let mut ws = Ws::open(server).await;
            ws.frame(BINARY, &[0; 12 * 1024]).await;
            ws.frame(0, &[0; 12 * 1024]).await;
            told_by_itself(&mut ws).await
        })
    })
}

fn stranger_asks() -> Case {
    case("stranger-without-hello", |server| {
        Box::pin(async move {
            let mut ws = Ws::open(server).await;
            ws.ask_to_join(server.brane(Visibility::Public).await, 7).await;
            told_by_itself(&mut ws).await
        })
    })
}
