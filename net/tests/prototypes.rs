//! A brane follows a prototype: those who are there see it, pages of objects
//! overlay, and no client says what the defaults are.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_model::{
    BraneId, ClientId, Code, Edit, Follow, FollowStep, Followed, Handle, Kind, Object, ObjectId,
    Operation, PropKey, Props, PropsPatch, PrototypeId, Role, Target, TraceId, Transform, Value,
    ValueLimits, Visibility,
};
use avvy_protocol::{FlushItem, ServerMessage, WireChange};
use common::TestServer;
use common::ws::{Ws, version_4};
use serde_json::json;

const OWNER: u128 = 1;
const GUEST: u128 = 2;
const LAMP: PrototypeId = PrototypeId::from_bytes([7; 16]);

fn props(entries: Vec<(&str, Value)>) -> Props {
    let key = |text| PropKey::new(text, &ValueLimits::NONE).unwrap();
    let entries = entries.into_iter().map(|(text, value)| (key(text), value)).collect();
    Props::from_entries(entries, &ValueLimits::NONE).unwrap()
}

fn version(number: u8) -> Followed {
    let defaults = props(vec![("lit", Value::bool(true)), ("watts", Value::int(number.into()))]);
    Followed { version: PrototypeId::from_bytes([number; 16]), number: number.into(), defaults }
}

fn instance() -> Operation {
    let named = Value::text(&LAMP.to_string());
    Operation::Create {
        id: ObjectId::new(version_4(50)),
        parent: Target::Handle(Handle::ROOT),
        kind: Kind::Block,
        transform: Transform::IDENTITY,
        props: props(vec![(Object::PROTOTYPE_KEY, named), ("lit", Value::bool(false))]),
    }
}

async fn follow(
    server: &TestServer,
    brane: BraneId,
    user: u128,
    step: FollowStep,
    then: Vec<Operation>,
) -> Result<(), Code> {
    let token = server.token_for(user, Role::Owner, 60);
    let claims = server.system.verify(&token).unwrap();
    let follow = Follow::new(LAMP, step, then).unwrap();
    let (client, trace) = (ClientId::new(uuid::Uuid::new_v4()), TraceId::from_bytes([1; 16]));
    let done = server.system.follow(brane, &claims, client, trace, follow).await;
    done.map(drop).map_err(|denied| denied.code)
}

#[tokio::test]
async fn instances_have_the_defaults_of_what_is_followed() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(&server, GUEST).await;
    ws.join(brane, GUEST).await;

    // Whoever may create may adopt; the instance comes with it.
    follow(&server, brane, GUEST, FollowStep::Adopt(version(1)), vec![instance()]).await.unwrap();
    let flush = ws.until(|message| matches!(message, ServerMessage::Flush(_))).await;
    let ServerMessage::Flush(flush) = flush else { panic!("{flush:?}") };
    let [FlushItem::Event(event)] = flush.items.as_slice() else { panic!("{flush:?}") };
    let [WireChange::Updated { handle, .. }, WireChange::Created(_)] = event.changes.as_slice()
    else {
        panic!("{event:?}")
    };
    assert_eq!(*handle, Handle::ROOT);

    let again = follow(&server, brane, GUEST, FollowStep::Adopt(version(2)), Vec::new()).await;
    assert_eq!(again, Err(Code::PrototypeFollowed));
    let update = || FollowStep::Update { from: version(1).version, to: version(2) };
    let refused = follow(&server, brane, GUEST, update(), Vec::new()).await;
    assert_eq!(refused, Err(Code::NotPermitted));
    follow(&server, brane, OWNER, update(), Vec::new()).await.unwrap();
    let used = follow(&server, brane, OWNER, FollowStep::Drop, Vec::new()).await;
    assert_eq!(used, Err(Code::PrototypeInUse));

    let mut client = server.client().await;
    let path = format!("/api/v1/brane/{brane}/objects");
    let (_, page) = client.json("GET", &path, None).await;
    let lamp = LAMP.to_string();
    let [root, object] = page["objects"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!(object["props"], json!({"lit": false, "prototype": lamp}));
    assert_eq!(object["in_effect"], json!({"lit": false, "prototype": lamp, "watts": 2}));
    assert_eq!(root["props"][format!("prototype:{lamp}")]["number"], json!(2));
    assert!(root.get("in_effect").is_none());

    let token = server.token_for(OWNER, Role::Owner, 60);
    let claims = server.system.verify(&token).unwrap();
    let world = server.system.view(brane, &claims).await.unwrap().world;
    assert_eq!((world.followed(LAMP), world.instances(LAMP)), (Some(version(2)), Some(1)));
    server.end().await;
}

#[tokio::test]
async fn no_client_says_what_is_followed() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(&server, OWNER).await;
    let channel = ws.join(brane, OWNER).await;
    let value = version(1).to_value().unwrap();
    let patch = PropsPatch::new(vec![(Followed::key(LAMP), Some(value))]).unwrap();
    let fake = Operation::Update { target: Target::Handle(Handle::ROOT), patch };
    let follow = Follow::new(LAMP, FollowStep::Adopt(version(1)), Vec::new()).unwrap();
    // In the words of the wire both are the same.
    for (edit, n) in [Edit::One(fake), Edit::Follow(Box::new(follow))].into_iter().zip(1..) {
        ws.submit(channel, n, edit).await;
        let refused = ws.until(|m| matches!(m, ServerMessage::Refused { .. })).await;
        let ServerMessage::Refused { edits, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(edits[0].code, Code::PropertyReserved);
    }
    server.end().await;
}
