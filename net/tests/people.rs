//! People over real sockets.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use avvy_actors::{PeopleStatus, SystemConfig};
use avvy_model::{BraneId, Role, Rotation, Value, ValueLimits, Visibility};
use avvy_net::{NetConfig, OutboxLimits};
use avvy_protocol::{
    Audience, Channel, ClientMessage, PeopleList, PeopleNews, PeopleRequest, Person, Pose,
    PoseUpdate, ServerMessage, SignalSend,
};
use common::ws::Ws;
use common::{PATIENCE, TestServer};
use tokio::time::timeout;

async fn ask(ws: &mut Ws, request: PeopleRequest) {
    ws.say(&ClientMessage::People(request)).await;
}

async fn list(ws: &mut Ws, channel: Channel) {
    ask(ws, PeopleRequest::List(PeopleList { channel, after: None, limit: None })).await;
}

async fn news(ws: &mut Ws) -> PeopleNews {
    match ws.until(|m| matches!(m, ServerMessage::People(_))).await {
        ServerMessage::People(news) => news,
        other => panic!("{other:?}"),
    }
}

async fn status(server: &TestServer) -> PeopleStatus {
    server.system.status().await.unwrap().branes[0].people
}

fn stand(channel: Channel, x: i32) -> PeopleRequest {
    let rotation = Rotation::from_quaternion([0.0, 0.0, 0.0, 1.0]).unwrap();
    let pose = Pose { position: [x, 0, 0], rotation };
    PeopleRequest::Pose(PoseUpdate { channel, pose, state: vec![7] })
}

#[tokio::test]
async fn two_people_see_and_hear_each_other() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut a = Ws::welcomed(&server, 1).await;
    let channel = a.join(brane, 1).await;
    list(&mut a, channel).await;
    let PeopleNews::Page(page) = news(&mut a).await else { panic!("a page") };
    assert_eq!(page.you, Person(1));
    let mut b = Ws::welcomed(&server, 2).await;
    let channel = b.join(brane, 2).await;
    let PeopleNews::Changed(changed) = news(&mut a).await else { panic!("a join") };
    assert_eq!((changed.from, changed.joined[0].user), (page.at, common::ws::user(2)));
    ask(&mut b, stand(channel, 4)).await;
    let PeopleNews::Poses(poses) = news(&mut a).await else { panic!("a pose") };
    assert_eq!((poses.poses[0].1.position, poses.states), ([4, 0, 0], vec![(Person(2), vec![7])]));
    let body = Some(Value::text("hello"));
    let (to, kind) = (Audience::One(Person(1)), "wave".to_owned());
    ask(&mut b, PeopleRequest::Signal(SignalSend { channel, to, kind, body: body.clone() })).await;
    let PeopleNews::Signal(signal) = news(&mut a).await else { panic!("a signal") };
    assert_eq!((signal.from, signal.body), (Person(2), body));
    server.end().await;
}

/// Sends signals to somebody who does not read, until one has been dropped.
async fn fill(server: &TestServer, ws: &mut Ws, channel: Channel, to: Person) {
    let large = [&[0x59, 0x03, 0xe0][..], &[7; 0x3e0]].concat();
    let body = Value::parse(&large, &ValueLimits::default()).unwrap();
    let filling = async {
        while status(server).await.signals_dropped == 0 {
            for _ in 0..256 {
                let (to, kind) = (Audience::One(to), "fill".to_owned());
                let signal = SignalSend { channel, to, kind, body: Some(body.clone()) };
                ask(ws, PeopleRequest::Signal(signal)).await;
            }
        }
    };
    timeout(PATIENCE, filling).await.expect("it is full at last");
}

async fn come_and_go(server: &TestServer, brane: BraneId, people: u128) {
    for n in 0..people {
        let mut ws = Ws::welcomed(server, 100 + n).await;
        let channel = ws.join(brane, 100 + n).await;
        ws.say(&ClientMessage::Leave { channel }).await;
        ws.until(|m| matches!(m, ServerMessage::Left { .. })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_misses_signals_and_no_join() {
    let limits = OutboxLimits {
        high_water_bytes: 16 * 1024,
        low_water_bytes: 4 * 1024,
        max_bytes: 1024 * 1024,
    };
    let mut system = SystemConfig::default();
    (system.session.messages_per_second, system.session.messages_burst) = (1_000_000, 1_000_000);
    system.people.signals_to_one.burst = 1_000_000;
    system.people.roster_interval_ms = 1;
    let net = NetConfig { outbox: limits, ..NetConfig::default() };
    let server = TestServer::tuned(net, system, 0, None).await;
    let brane = server.brane(Visibility::Public).await;
    let mut slow = Ws::narrow(&server).await;
    slow.greet(&server.token_for(1, Role::Owner, 1_000)).await;
    let channel = slow.join(brane, 1).await;
    list(&mut slow, channel).await;
    let PeopleNews::Page(page) = news(&mut slow).await else { panic!("a page") };
    let mut other = Ws::welcomed(&server, 2).await;
    let channel = other.join(brane, 2).await;
    fill(&server, &mut other, channel, page.you).await;
    come_and_go(&server, brane, 20).await;
    ask(&mut other, stand(channel, 9)).await;
    let (mut at, mut joined, mut left) = (page.at, 0, BTreeSet::new());
    let reading = async {
        while left.len() < 20 {
            if let PeopleNews::Changed(changed) = news(&mut slow).await {
                assert_eq!((changed.from, changed.reset), (at, false));
                at = changed.to;
                joined += changed.joined.len();
                left.extend(changed.left);
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("every join and leave comes");
    assert_eq!(joined, 21);
    server.end().await;
}
