//! What clients say.

use avvy_model::*;
use avvy_protocol::codec::{decode_client, encode_client};
use avvy_protocol::*;
use serde_json::json;

use super::samples::*;
use super::{check, content, hex, vector};

#[test]
fn client_messages() {
    let mut vectors = Vec::new();
    for (name, message) in messages() {
        let bytes = encode_client(&message);
        let read = decode_client(&bytes, &DecodeLimits::default()).unwrap();
        assert_eq!(read, message, "{name}");
        vectors.push(vector(name, &bytes));
    }
    let about = "Messages of a client, in deterministic encoding: `hex` is the CBOR, `content` \
                 the same by the JSON form of PROTOCOL.md.";
    check("client.json", about, vectors);
}

/// Other bytes that say the same: a server must read them, too.
#[test]
fn other_forms_of_client_messages() {
    let mut vectors = Vec::new();
    for (name, same_as, bytes) in other_forms() {
        let read = decode_client(&bytes, &DecodeLimits::default()).unwrap();
        let (_, expected) = messages().into_iter().find(|(n, _)| *n == same_as).unwrap();
        assert_eq!(read, expected, "{name}");
        vectors.push(json!({
            "name": name, "hex": hex(&bytes), "content": content(&bytes), "same_as": same_as,
        }));
    }
    let about = "Messages of a client in forms that this project does not write but must read. \
                 `same_as` names the vector of client.json that means the same.";
    check("client_forms.json", about, vectors);
}

fn update(channel: u32, trace: Option<TraceId>, edits: Vec<(u64, Edit)>) -> ClientMessage {
    let edits = edits.into_iter();
    ClientMessage::Update(Update {
        channel: Channel(channel),
        trace,
        edits: edits.map(|(n, edit)| NumberedEdit { counter: Counter(n), edit }).collect(),
    })
}

fn one(channel: u32, n: u64, operation: Operation) -> ClientMessage {
    update(channel, None, vec![(n, Edit::One(operation))])
}

fn shift(handle: u32, bits: u8, to: Transform) -> Operation {
    Operation::Move { target: Target::Handle(Handle(handle)), patch: moved(bits, to) }
}

pub fn messages() -> Vec<(&'static str, ClientMessage)> {
    let mut all = sessions();
    all.extend(edits());
    all.extend(rulings());
    all.extend(super::people::requests());
    all
}

fn sessions() -> Vec<(&'static str, ClientMessage)> {
    use ClientMessage as M;
    let join = |known, resume| {
        M::Join(Join { brane: brane_id(0xb0), client: client_id(0xc1), known, resume, area: None })
    };
    let hello = |token: Option<&str>, agent: Option<&str>| {
        let (token, agent) = (token.map(str::to_owned), agent.map(str::to_owned));
        M::Hello(Hello { min_version: 1, max_version: 1, token, agent })
    };
    let resume = |touched| Some(Resume { version: at(3, 70_000), touched, scope: None });
    let area = Area::from_metres([-12.5, 0.0, 3.25], 30.0).unwrap();
    let walker = Join {
        brane: brane_id(0xb0),
        client: client_id(0xc1),
        known: true,
        resume: Some(Resume { version: at(3, 70_000), touched: None, scope: Some(scope()) }),
        area: Some(area),
    };
    vec![
        ("hello", hello(None, None)),
        ("hello with token", hello(Some("eyJhbGciOiJFZERTQSJ9.e30.c2ln"), Some("example/1.0"))),
        ("auth.refresh", M::Refresh { token: "eyJhbGciOiJFZERTQSJ9.e30.c2ln".to_owned() }),
        ("brane.join anew", join(false, None)),
        ("brane.join with resume_version", join(true, resume(None))),
        (
            "brane.join with touched",
            join(true, resume(Some(vec![Handle(1), Handle(24), Handle(65_536)]))),
        ),
        ("brane.join with nothing touched", join(true, resume(Some(vec![])))),
        ("brane.join with an area", M::Join(Join { resume: None, ..walker.clone() })),
        ("brane.join with an area and its copy", M::Join(walker)),
        ("brane.view", M::View { channel: Channel(1), area: Some(area) }),
        ("brane.view of everything", M::View { channel: Channel(1), area: None }),
        ("brane.leave", M::Leave { channel: Channel(1) }),
        ("brane.hash", M::Hash { channel: Channel(300) }),
        ("ping", M::Ping { nonce: 0 }),
        ("ping with a large nonce", M::Ping { nonce: u64::MAX }),
    ]
}

fn rulings() -> Vec<(&'static str, ClientMessage)> {
    let rule = |n, ruling| update(1, None, vec![(n, Edit::Rule(Box::new(ruling)))]);
    let crew = || match "stage-crew".parse().unwrap() {
        RoleName::Custom(name) => name,
        RoleName::Known(_) => panic!("every brane knows it"),
    };
    let user = user_id(0xa1);
    let until = |until_ms| Some(Sanction { until_ms });
    let grant = |verbs: &[Verb], reach, until_ms| Ruling::Grant {
        id: grant_id(0xe0),
        to: user,
        verbs: Verbs::of(verbs),
        reach,
        until_ms,
    };
    let verbs = Some(Verbs::of(&[Verb::Move, Verb::Govern]));
    vec![
        ("everybody", rule(1, Ruling::Everybody { role: Role::Visitor.into() })),
        ("define_role", rule(2, Ruling::Role { name: crew(), verbs })),
        ("remove_role", rule(3, Ruling::Role { name: crew(), verbs: None })),
        ("appoint", rule(4, Ruling::Appoint { user, role: Some(Role::Editor.into()) })),
        (
            "appoint to a role of the brane",
            rule(5, Ruling::Appoint { user, role: Some(RoleName::Custom(crew())) }),
        ),
        ("appoint to nothing", rule(6, Ruling::Appoint { user, role: None })),
        ("ban", rule(7, Ruling::Ban { user, ban: until(None) })),
        ("ban for a while", rule(8, Ruling::Ban { user, ban: until(Some(NOW_MS)) })),
        ("unban", rule(9, Ruling::Ban { user, ban: None })),
        ("mute", rule(10, Ruling::Mute { user, mute: until(Some(NOW_MS)) })),
        ("unmute", rule(11, Ruling::Mute { user, mute: None })),
        ("grant", rule(12, grant(&[Verb::Move], Reach::default(), None))),
        (
            "grant that is narrowed",
            rule(13, grant(&[Verb::Create, Verb::Edit], reach(), Some(NOW_MS))),
        ),
        ("revoke", rule(14, Ruling::Revoke { id: grant_id(0xe0) })),
    ]
}

fn edits() -> Vec<(&'static str, ClientMessage)> {
    let id = |n| Target::Id(object_id(n));
    let handle = |n| Target::Handle(Handle(n));
    let create = |parent, kind, transform, props| Operation::Create {
        id: object_id(7),
        parent,
        kind,
        transform,
        props,
    };
    let delete = |target, mode| Operation::Delete { target, mode };
    vec![
        ("no edits", update(1, None, vec![])),
        ("move of position and rotation", one(1, 5, shift(1_000, 3, transform()))),
        ("move of position", one(1, 6, shift(1_000, 1, transform()))),
        ("move of rotation", one(1, 7, shift(1_000, 2, transform()))),
        ("move of scale", one(1, 8, shift(1_000, 4, stretched()))),
        ("move of all parts", one(1, 9, shift(1_000, 7, stretched()))),
        ("move by id", one(1, 10, Operation::Move { target: id(7), patch: moved(3, transform()) })),
        ("create of a block", one(1, 1, create(handle(0), Kind::Block, transform(), props()))),
        (
            "create of a group",
            one(1, 2, create(id(9), Kind::Group, Transform::IDENTITY, Props::default())),
        ),
        ("update", one(1, 3, Operation::Update { target: handle(17), patch: patch() })),
        (
            "reparent",
            one(1, 4, Operation::Reparent { target: id(7), parent: handle(2), transform: None }),
        ),
        (
            "reparent with a transform",
            one(
                1,
                5,
                Operation::Reparent {
                    target: handle(7),
                    parent: id(2),
                    transform: Some(stretched()),
                },
            ),
        ),
        ("delete of a subtree", one(1, 6, delete(handle(7), DeleteMode::Subtree))),
        ("delete that keeps the children", one(1, 7, delete(id(7), DeleteMode::KeepChildren))),
        ("several edits with a trace", several()),
    ]
}

fn several() -> ClientMessage {
    let batch = vec![
        Operation::Create {
            id: object_id(8),
            parent: Target::Handle(Handle(0)),
            kind: Kind::Group,
            transform: Transform::IDENTITY,
            props: Props::default(),
        },
        Operation::Move { target: Target::Id(object_id(8)), patch: moved(1, transform()) },
        shift(24, 3, transform()),
    ];
    update(
        70_000,
        Some(trace_id(0x7e)),
        vec![
            (100, Edit::One(shift(1, 3, transform()))),
            (101, Edit::One(shift(256, 3, stretched()))),
            (102, Edit::Batch(batch)),
        ],
    )
}

fn other_forms() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let packed = hex(&encode_client(&one(1, 5, shift(1_000, 3, transform()))));
    let record = &packed[packed.len() - 46 - 22..packed.len() - 22];
    let bytes = |hex: &str| {
        let digits = hex.replace(' ', "");
        let pairs = digits.as_bytes().chunks(2);
        pairs.map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()).collect()
    };
    let text = |t: &str| format!("{:02x}{}", 0x60 + t.len(), hex(t.as_bytes()));
    let (op, ch, edits, n) = (text("op"), text("ch"), text("edits"), text("n"));
    let (update, shift) = (text("object.update"), text("move"));
    let (position, rotation) = (text("position"), text("rotation"));
    vec![
        (
            "keys in another order",
            "move of position and rotation",
            bytes(&format!("a3 {op}{update} {edits}81a3 {n}05 {op}{shift} 616d57{record} {ch}01")),
        ),
        (
            "unknown fields",
            "move of position and rotation",
            bytes(&format!(
                "a4 61788201a0 {op}{update} {ch}01 {edits}81a4 6178f6 {n}05 {op}{shift} 616d57{record}"
            )),
        ),
        (
            "indefinite lengths and long forms",
            "move of position and rotation",
            bytes(&format!(
                "bf {op}{update} {ch}1a00000001 {edits}9fbf {n}1b0000000000000005 {op}{shift} 616d5817{record} ff ff ff"
            )),
        ),
        (
            "a move in floats",
            "move of position and rotation",
            bytes(&format!(
                "a3 {ch}01 {op}{update} {edits}81a5 {n}05 {op}{shift} 6174 1903e8 \
                 {position} 83 f93e00 00 fbc034400000000000 \
                 {rotation} 84 00 01 00 01"
            )),
        ),
        (
            "a nonce as a float",
            "ping",
            bytes(&format!("a2 {op}{} 656e6f6e6365 f90000", text("ping"))),
        ),
    ]
}
