//! What one user and one address may have and do: who is beyond it is told
//! when to come back, and nobody else notices.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_actors::{Limit, Rate, SystemConfig, UserConfig};
use avvy_model::{Area, BraneId, Code, Role, Visibility};
use avvy_net::NetConfig;
use avvy_protocol::close::CloseCode;
use avvy_protocol::{Channel, ClientMessage, ServerMessage};
use common::ws::Ws;
use common::{Answer, Client, PATIENCE, TestServer};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// So slow that no test sees it fill.
const fn slow(burst: u32) -> Rate {
    Rate { per_second: 1, burst }
}

async fn server(net: NetConfig, tune: impl FnOnce(&mut SystemConfig)) -> TestServer {
    let mut system = SystemConfig::default();
    tune(&mut system);
    TestServer::tuned(net, system, 0, None).await
}

async fn server_for(user: UserConfig) -> TestServer {
    server(NetConfig::default(), |system| system.user = user).await
}

fn hits(server: &TestServer, limit: Limit) -> u64 {
    server.system.metrics().limits.of(limit)
}

/// The next error: its code, its operation, and that it says when to come back.
async fn refused(ws: &mut Ws) -> (Code, String) {
    let error = ws.error().await;
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
    (error.code, error.operation.unwrap())
}

/// That a request was refused for its rate, and says when to come back.
fn is_rate_limited(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"));
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

async fn ask(client: &mut Client, method: &str, path: &str, body: &str) -> Answer {
    let json = [("content-type", "application/json"), ("accept", "application/json")];
    client.ask(method, path, &json, body.as_bytes()).await
}

async fn leave(ws: &mut Ws, channel: Channel) {
    ws.say(&ClientMessage::Leave { channel }).await;
    ws.until(|m| matches!(m, ServerMessage::Left { code: None, .. })).await;
}

#[tokio::test]
async fn a_user_has_so_many_sessions() {
    let server = server_for(UserConfig { max_sessions: 2, ..UserConfig::default() }).await;
    let (first, second) = (Ws::welcomed(&server, 1).await, Ws::welcomed(&server, 1).await);
    let mut third = Ws::open(&server).await;
    third.hello(&server.token()).await;
    assert_eq!(refused(&mut third).await, (Code::TooManySessions, "hello".to_owned()));
    assert_eq!(third.closed().await, Some(CloseCode::TooManySessions));
    assert_eq!(hits(&server, Limit::SessionsOfUser), 1);
    let other = Ws::welcomed(&server, 2).await;

    drop(first);
    // The place is free when the server has seen the end.
    let gets_in = async {
        loop {
            let mut again = Ws::open(&server).await;
            again.hello(&server.token()).await;
            if let common::ws::Heard::Message(ServerMessage::Welcome(_)) = again.hear().await {
                return again;
            }
        }
    };
    let again = timeout(PATIENCE, gets_in).await.unwrap();
    drop((second, third, other, again));
    server.end().await;
}

#[tokio::test]
async fn who_joins_and_leaves_all_the_time_is_slowed_and_then_closed() {
    let server = server(NetConfig::default(), |system| {
        system.user.joins = slow(3);
        system.session.messages_per_second = 1;
        system.session.messages_burst = 30;
    })
    .await;
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(&server, 1).await;
    for n in 0..3 {
        let channel = ws.join(brane, n).await;
        leave(&mut ws, channel).await;
    }
    ws.ask_to_join(brane, 9).await;
    assert_eq!(refused(&mut ws).await, (Code::RateLimited, "brane.join".to_owned()));
    // The rate is the user's, whatever the session.
    let mut another = Ws::welcomed(&server, 1).await;
    another.ask_to_join(brane, 10).await;
    assert_eq!(refused(&mut another).await.0, Code::RateLimited);
    let mut other_user = Ws::welcomed(&server, 2).await;
    other_user.join(brane, 11).await;

    for _ in 0..30 {
        ws.ask_to_join(brane, 9).await;
    }
    assert_eq!(ws.closed().await, Some(CloseCode::RateLimited));
    assert!(hits(&server, Limit::JoinRate) > 1);
    assert_eq!(hits(&server, Limit::MessageRate), 1);
    drop((ws, another, other_user));
    server.end().await;
}

#[tokio::test]
async fn hashes_and_new_tokens_have_their_rates() {
    let config = UserConfig { hashes: slow(2), refreshes: slow(1), ..UserConfig::default() };
    let server = server_for(config).await;
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(&server, 1).await;
    let channel = ws.join(brane, 1).await;
    for _ in 0..2 {
        ws.say(&ClientMessage::Hash { channel }).await;
        ws.until(|m| matches!(m, ServerMessage::Hash { .. })).await;
    }
    ws.say(&ClientMessage::Hash { channel }).await;
    assert_eq!(refused(&mut ws).await, (Code::RateLimited, "brane.hash".to_owned()));

    let refresh = ClientMessage::Refresh { token: server.token() };
    ws.say(&refresh).await;
    ws.until(|m| matches!(m, ServerMessage::Refreshed { .. })).await;
    ws.say(&refresh).await;
    assert_eq!(refused(&mut ws).await, (Code::RateLimited, "auth.refresh".to_owned()));
    assert_eq!((hits(&server, Limit::HashRate), hits(&server, Limit::RefreshRate)), (1, 1));
    // Edits go on.
    ws.edit(channel, 1).await;
    assert_eq!(ws.refused().await, Code::ObjectNotFound);
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn a_session_looks_elsewhere_so_often_over_all_its_branes() {
    let server = server(NetConfig::default(), |system| system.session.views = slow(3)).await;
    let branes = [server.brane(Visibility::Public).await, server.brane(Visibility::Public).await];
    let mut ws = Ws::welcomed(&server, 1).await;
    let channels = [ws.join(branes[0], 7).await, ws.join(branes[1], 8).await];
    let look = |channel, x_m| {
        let area = Some(Area::from_metres([x_m, 0.0, 0.0], 1.0).unwrap());
        ClientMessage::View { channel, area }
    };
    for channel in [channels[0], channels[1], channels[0], channels[1]] {
        ws.say(&look(channel, 100.0)).await;
    }
    let error = ws.error().await;
    assert_eq!(error.channel, Some(channels[1]));
    assert_eq!((error.code, error.operation.as_deref()), (Code::RateLimited, Some("brane.view")));
    assert!(error.retry_after_ms.is_some_and(|ms| (1..=1_000).contains(&ms)), "{error:?}");
    assert_eq!((hits(&server, Limit::ViewRate), hits(&server, Limit::MessageRate)), (1, 0));
    // Another session of the same user has a rate of its own.
    let mut another = Ws::welcomed(&server, 1).await;
    let channel = another.join(branes[0], 9).await;
    another.say(&look(channel, 100.0)).await;
    another.until(|m| matches!(m, ServerMessage::Joined(joined) if joined.scope.is_some())).await;
    drop((ws, another));
    server.end().await;
}

#[tokio::test]
async fn a_user_has_joined_so_many_branes_by_all_sessions_together() {
    let server = server_for(UserConfig { max_joined_branes: 2, ..UserConfig::default() }).await;
    let mut branes = Vec::new();
    for _ in 0..3 {
        branes.push(server.brane(Visibility::Public).await);
    }
    let (mut one, mut two) = (Ws::welcomed(&server, 1).await, Ws::welcomed(&server, 1).await);
    let first = one.join(branes[0], 1).await;
    two.join(branes[0], 2).await;
    let second = two.join(branes[1], 2).await;
    one.ask_to_join(branes[2], 1).await;
    assert_eq!(one.error().await.code, Code::TooManyChannels);
    assert_eq!(hits(&server, Limit::JoinedByUser), 1);
    leave(&mut one, first).await;
    one.ask_to_join(branes[2], 1).await;
    assert_eq!(one.error().await.code, Code::TooManyChannels, "the other is still there");
    leave(&mut two, second).await;
    one.join(branes[2], 1).await;
    drop((one, two));
    server.end().await;
}

#[tokio::test]
async fn a_user_edits_so_fast_by_all_sessions_and_requests_together() {
    let server = server_for(UserConfig { edits: slow(3), ..UserConfig::default() }).await;
    let brane = server.brane(Visibility::Public).await;
    let (mut one, mut two) = (Ws::welcomed(&server, 1).await, Ws::welcomed(&server, 1).await);
    let (first, second) = (one.join(brane, 1).await, two.join(brane, 2).await);
    for n in 1..=3 {
        one.edit(first, n).await;
        assert_eq!(one.refused().await, Code::ObjectNotFound);
    }
    let mut client = server.client().await;
    let body = json!({"client": "6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11", "edits": [
        {"n": 1, "op": "update", "t": 99, "set": {"a": 1}}]});
    let edits = format!("/api/v1/brane/{brane}/edits");
    is_rate_limited(&ask(&mut client, "POST", &edits, &body.to_string()).await);
    // Another user is served at once.
    let mut other = Ws::welcomed(&server, 2).await;
    let channel = other.join(brane, 3).await;
    other.edit(channel, 1).await;
    assert_eq!(other.refused().await, Code::ObjectNotFound);
    assert_eq!(hits(&server, Limit::EditRateOfUser), 1);

    two.edit(second, 1).await;
    assert_eq!(two.refused().await, Code::ObjectNotFound, "later, and not never");
    assert_eq!(hits(&server, Limit::EditRateOfUser), 2);
    assert_eq!(hits(&server, Limit::EditRate), 0);
    drop((one, two, other));
    server.end().await;
}

#[tokio::test]
async fn new_branes_and_pages_of_lists_have_their_rates() {
    let config = UserConfig { creates: slow(2), pages: slow(3), ..UserConfig::default() };
    let server = server_for(config).await;
    let mut client = server.client().await;
    let (branes, hall) = ("/api/v1/brane", json!({"name": "Hall"}).to_string());
    let id = ask(&mut client, "POST", branes, &hall).await.as_json()["id"].clone();
    assert_eq!(ask(&mut client, "POST", branes, &hall).await.status, 201);
    is_rate_limited(&ask(&mut client, "POST", branes, &hall).await);

    let objects = format!("{branes}/{}/objects", id.as_str().unwrap());
    for path in [branes, &objects, branes] {
        assert_eq!(ask(&mut client, "GET", path, "").await.status, 200, "{path}");
    }
    for path in [branes, &objects] {
        is_rate_limited(&ask(&mut client, "GET", path, "").await);
    }
    assert_eq!((hits(&server, Limit::CreateRate), hits(&server, Limit::PageRate)), (1, 2));
    client.token = Some(server.token_for(2, Role::Owner, 1_000));
    assert_eq!(ask(&mut client, "GET", branes, "").await.status, 200);
    assert_eq!(ask(&mut client, "POST", branes, &hall).await.status, 201);
    server.end().await;
}

/// A brane whose first page of objects is larger than what the kernel keeps
/// for a reader that does not read.
async fn warehouse(server: &TestServer) -> BraneId {
    let brane = server.brane(Visibility::Public).await;
    let mut client = server.client().await;
    let text = "x".repeat(8_000);
    let crates = (1..=20_u64).map(|n| {
        json!({"n": n, "op": "create", "id": uuid::Uuid::new_v4().to_string(), "parent": 0,
            "kind": "block", "props": {"a": text, "b": text}})
    });
    let edits = json!({"client": "6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11",
        "edits": crates.collect::<Vec<_>>()});
    let path = format!("/api/v1/brane/{brane}/edits");
    assert_eq!(ask(&mut client, "POST", &path, &edits.to_string()).await.status, 200);
    brane
}

/// Asks for many pages and reads none; returns when one of them waits.
async fn greedy(server: &TestServer, brane: BraneId, user: u128) -> TcpStream {
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    let token = server.token_for(user, Role::Owner, 1_000);
    let request = format!(
        "GET /api/v1/brane/{brane}/objects HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    greedy.write_all(request.repeat(200).as_bytes()).await.unwrap();
    greedy
}

/// Asks for a page until the answer is this.
async fn until_answered(client: &mut Client, brane: BraneId, status: u16) -> Answer {
    let path = format!("/api/v1/brane/{brane}/objects");
    let asking = async {
        loop {
            let answer = ask(client, "GET", &path, "").await;
            if answer.status == status {
                return answer;
            }
        }
    };
    timeout(PATIENCE, asking).await.unwrap()
}

#[tokio::test]
async fn pages_that_a_user_or_an_address_does_not_read_are_few() {
    for (per_user, per_address, limit) in
        [(1, 32, Limit::PagesOfUser), (32, 1, Limit::PagesOfAddress)]
    {
        let net = NetConfig { max_pages_per_address: per_address, ..NetConfig::default() };
        let tune = |system: &mut SystemConfig| {
            system.user.max_pages = per_user;
            system.user.pages.burst = 1_000_000;
        };
        let server = server(net, tune).await;
        let brane = warehouse(&server).await;
        let greedy = greedy(&server, brane, 1).await;
        let mut client = server.client().await;
        is_rate_limited(&until_answered(&mut client, brane, 429).await);
        assert!(hits(&server, limit) > 0);
        let mut other = server.client().await;
        other.token = Some(server.token_for(2, Role::Owner, 1_000));
        let status = if limit == Limit::PagesOfUser { 200 } else { 429 };
        assert_eq!(until_answered(&mut other, brane, status).await.status, status);
        drop(greedy);
        until_answered(&mut client, brane, 200).await;
        server.end().await;
    }
}

/// Whether a new connection is closed unanswered.
async fn is_turned_away(server: &TestServer) -> bool {
    let mut client = server.client().await;
    client.say(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await;
    client.answer("GET").await.is_none()
}

#[tokio::test]
async fn an_address_has_so_many_connections() {
    let net = NetConfig { max_connections_per_address: 2, ..NetConfig::default() };
    let server = TestServer::with(net).await;
    let held = [Ws::open(&server).await, Ws::open(&server).await];
    assert!(is_turned_away(&server).await);
    assert_eq!(hits(&server, Limit::ConnectionsOfAddress), 1);
    drop(held);
    let let_in = async { while is_turned_away(&server).await {} };
    timeout(PATIENCE, let_in).await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn who_connects_all_the_time_is_turned_away() {
    let net = NetConfig { connections_per_second: 1, connections_burst: 5, ..NetConfig::default() };
    let server = TestServer::with(net).await;
    let mut kept = server.client().await;
    assert_eq!(kept.ask("GET", "/livez", &[], b"").await.status, 200);
    let rejected = async { while !is_turned_away(&server).await {} };
    timeout(PATIENCE, rejected).await.unwrap();
    assert!(hits(&server, Limit::ConnectionRate) > 0);
    // A connection that is there goes on.
    let page = kept.ask("GET", "/metrics", &[], b"").await;
    let text = page.text();
    let sample = "avvy_limit_hits_total{limit=\"limits.connections_per_second\"} ";
    assert!(text.contains(sample) && !text.contains(&format!("{sample}0")), "{text}");
    server.end().await;
}

#[tokio::test]
async fn a_brane_holds_so_many_sessions_and_bytes() {
    let server = server(NetConfig::default(), |system| {
        system.brane.max_sessions = 1;
        system.brane.limits.max_bytes = 700;
    })
    .await;
    let brane = server.brane(Visibility::Public).await;
    let mut first = Ws::welcomed(&server, 1).await;
    let channel = first.join(brane, 1).await;
    let mut second = Ws::welcomed(&server, 2).await;
    second.ask_to_join(brane, 2).await;
    assert_eq!(refused(&mut second).await, (Code::BraneFull, "brane.join".to_owned()));
    assert_eq!(hits(&server, Limit::SessionsOfBrane), 1);

    first.group(channel, 1).await;
    first.group(channel, 2).await;
    assert_eq!(first.refused().await, Code::BraneTooLarge);
    let mut client = server.client().await;
    let page = client.ask("GET", "/metrics", &[], b"").await;
    for sample in [
        "avvy_edit_refusals_total{code=\"brane_too_large\"} 1\n",
        "avvy_session_errors_total{code=\"brane_full\"} 1\n",
        "avvy_brane_world_bytes{brane=\"other\"} 0\n",
    ] {
        assert!(page.text().contains(sample), "{sample} is not in\n{}", page.text());
    }
    let bytes = format!("avvy_brane_world_bytes{{brane=\"{brane}\"}} 602\n");
    assert!(page.text().contains(&bytes), "{}", page.text());
    drop((first, second));
    server.end().await;
}
