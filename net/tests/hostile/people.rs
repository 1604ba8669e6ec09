//! Poses, signals and areas that make no sense, or too many of them.

use avvy_actors::Rate;
use avvy_model::Visibility;
use avvy_protocol::Channel;

use crate::cases::{Case, case, closed, first_told, told};
use crate::common::ws::{BINARY, FIN, Ws, frame, version_4};

/// Position and rotation of nobody in particular.
const POSE: [u8; 18] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xbf, 0xff, 0xdf, 0xff, 0x6f];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> =
        poses().into_iter().map(|(name, says)| in_turn(name, says)).collect();
    cases.extend(signals().into_iter().map(|(name, says)| answered(name, says)));
    cases.extend(areas());
    cases.extend(storms());
    cases.extend(heavy());
    cases
}

type Said = (&'static str, Says);

fn text(text: &str) -> Vec<u8> {
    [&[0x7a][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [&[0x5a][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// The `op` of a message, and its further fields.
#[derive(Clone)]
struct Says {
    op: &'static str,
    fields: Vec<(&'static str, Vec<u8>)>,
}

fn fields(op: &'static str, fields: &[(&'static str, Vec<u8>)]) -> Says {
    Says { op, fields: fields.to_vec() }
}

/// The message on a channel.
fn on(channel: Channel, Says { op, fields }: &Says) -> Vec<u8> {
    let count = 0xa0 | (fields.len() + 2) as u8;
    let head = [vec![count], text("op"), text(op), text("ch"), vec![0x1a]].concat();
    let items = fields.iter().flat_map(|(name, item)| [text(name), item.clone()].concat());
    [&head[..], &channel.0.to_be_bytes(), &items.collect::<Vec<_>>()].concat()
}

/// Said by somebody who has joined; whatever is answered comes in its turn.
fn in_turn(name: &'static str, says: Says) -> Case {
    case(name, move |server| {
        let says = says.clone();
        Box::pin(async move {
            let brane = server.brane(Visibility::Public).await;
            let mut ws = Ws::welcomed(server, 1).await;
            let channel = ws.join(brane, 7).await;
            ws.frame(FIN | BINARY, &on(channel, &says)).await;
            told(&mut ws).await
        })
    })
}

/// Said by somebody who has joined, again and again until it is answered.
fn answered(name: &'static str, says: Says) -> Case {
    case(name, move |server| {
        let says = says.clone();
        Box::pin(async move {
            let brane = server.brane(Visibility::Public).await;
            let mut ws = Ws::welcomed(server, 1).await;
            let channel = ws.join(brane, 7).await;
            let says = frame(FIN | BINARY, &on(channel, &says));
            ws.raw(&says.repeat(if name.starts_with("storm") { 100 } else { 1 })).await;
            first_told(&mut ws).await
        })
    })
}

fn poses() -> Vec<Said> {
    let pose = |pose: &[u8]| ("pose", bytes(pose));
    let rotated = [&POSE[..12], &[0xff; 6]].concat();
    vec![
        ("pose-cut", fields("presence.pose", &[pose(&POSE[..17])])),
        ("pose-long", fields("presence.pose", &[pose(&[&POSE[..], &[0]].concat())])),
        ("pose-rotation-of-none", fields("presence.pose", &[pose(&rotated)])),
        ("pose-state-long", {
            fields("presence.pose", &[pose(&POSE), ("state", bytes(&[0; 33]))])
        }),
        ("pose-no-bytes", fields("presence.pose", &[("pose", vec![7])])),
        ("people-limit-none", fields("people.list", &[("limit", vec![0])])),
        ("people-limit-negative", fields("people.list", &[("limit", vec![0x20])])),
        ("people-after-64-bits", {
            fields("people.list", &[("after", vec![0x1b, 255, 255, 255, 255, 255, 255, 255, 255])])
        }),
        ("view-not-a-number", fields("brane.view", &[("area", area(f64::NAN, 1.0))])),
        ("view-endless", fields("brane.view", &[("area", area(f64::INFINITY, 1.0))])),
        ("view-radius-negative", fields("brane.view", &[("area", area(0.0, -1.0))])),
        ("view-radius-not-a-number", fields("brane.view", &[("area", area(0.0, f64::NAN))])),
        ("view-radius-huge", fields("brane.view", &[("area", area(0.0, 1e300))])),
        ("view-far-away", fields("brane.view", &[("area", area(1e300, 1.0))])),
    ]
}

fn area(x: f64, radius: f64) -> Vec<u8> {
    let float = |f: f64| [&[0xfb][..], &f.to_be_bytes()].concat();
    let at = [vec![0x83], float(x), float(0.0), float(0.0)].concat();
    [vec![0xa2], text("at"), at, text("radius"), float(radius)].concat()
}

fn signals() -> Vec<Said> {
    let signal = |to: Vec<u8>, kind: &str, body: Vec<u8>| {
        fields("signal.send", &[("to", to), ("kind", text(kind)), ("body", body)])
    };
    let all = || text("all");
    vec![
        ("signal-to-nobody", signal(vec![0x19, 3, 0xe7], "wave", vec![1])),
        ("signal-to-no-audience", signal(text("some"), "wave", vec![1])),
        ("signal-near-without-pose", signal(text("near"), "wave", vec![1])),
        ("signal-kind-empty", signal(all(), "", vec![1])),
        ("signal-kind-long", signal(all(), &"x".repeat(33), vec![1])),
        ("signal-body-long", signal(all(), "wave", text(&"x".repeat(2_000)))),
        ("signal-body-deep", signal(all(), "wave", [&[0x81; 40][..], &[0]].concat())),
        ("signal-body-key-twice", signal(all(), "wave", b"\xa2\x61a\x01\x61a\x02".to_vec())),
        ("storm-of-signals", signal(all(), "wave", vec![1])),
    ]
}

/// What is not answered, and counts all the same.
fn storms() -> impl Iterator<Item = Case> {
    let poses = fields("presence.pose", &[("pose", bytes(&POSE))]);
    let views = fields("brane.view", &[("area", area(0.0, 1.0))]);
    let storms = [("storm-of-poses", poses), ("storm-of-views", views)];
    storms.into_iter().map(|(name, says)| {
        let case = case(name, move |server| {
            let says = says.clone();
            Box::pin(async move {
                let brane = server.brane(Visibility::Public).await;
                let mut ws = Ws::welcomed(server, 1).await;
                let channel = ws.join(brane, 7).await;
                ws.raw(&frame(FIN | BINARY, &on(channel, &says)).repeat(1_000)).await;
                closed(&mut ws).await
            })
        });
        case.tuned(|_, system| system.session.messages_burst = 200)
    })
}

/// What costs much more than it takes to say.
fn heavy() -> Vec<Case> {
    let part = fields("brane.view", &[("area", area(0.0, 1.0))]);
    let wholes = vec![part, fields("brane.view", &[])];
    let looks = vec![fields("brane.view", &[("area", area(0.0, 1.0))])];
    let lists = vec![fields("people.list", &[])];
    let storm = |name, says: Vec<Says>| {
        case(name, move |server| {
            let says = says.clone();
            Box::pin(async move {
                let brane = server.brane(Visibility::Public).await;
                let mut ws = Ws::welcomed(server, 1).await;
                let channel = ws.join(brane, 7).await;
                for says in says.iter().cycle().take(100) {
                    ws.frame(FIN | BINARY, &on(channel, says)).await;
                }
                told(&mut ws).await
            })
        })
    };
    let few = Rate { per_second: 1, burst: 40 };
    vec![
        storm("storm-of-wholes", wholes).tuned(move |_, system| system.user.joins = few),
        storm("storm-of-looks", looks).tuned(move |_, system| system.session.views = few),
        storm("storm-of-lists", lists).tuned(move |_, system| system.user.people_pages = few),
    ]
}

/// Joins with an area.
fn areas() -> Vec<Case> {
    let joins = [
        ("join-area-not-a-number", area(f64::NAN, 1.0)),
        ("join-area-radius-negative", area(0.0, -1.0)),
        ("join-area-without-place", [vec![0xa1], text("radius"), vec![1]].concat()),
    ];
    let joined = |(name, area): (&'static str, Vec<u8>)| {
        case(name, move |server| {
            let area = area.clone();
            Box::pin(async move {
                let brane = server.brane(Visibility::Public).await.to_string();
                let mut ws = Ws::welcomed(server, 1).await;
                let client = text(&version_4(7).to_string());
                let ids = [text("brane"), text(&brane), text("client"), client].concat();
                let head = [vec![0xa4], text("op"), text("brane.join"), ids, text("area")].concat();
                ws.frame(FIN | BINARY, &[head, area].concat()).await;
                first_told(&mut ws).await
            })
        })
    };
    joins.into_iter().map(joined).collect()
}
