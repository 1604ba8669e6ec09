//! Sessions over real sockets: how they begin, what they are told, and with
//! which number each of them ends.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use avvy_model::{BraneId, Code, Role, Visibility};
use avvy_net::NetConfig;
use avvy_protocol::close::CloseCode;
use avvy_protocol::{Channel, ClientMessage, ServerMessage};
use common::ws::{BINARY, CLOSE, FIN, Heard, PING, Ws, head_of, version_4};
use common::{PATIENCE, TestServer};
use tokio::time::timeout;

/// Ends the session; the number that the server counts for it.
async fn ends(ws: &mut Ws, server: &TestServer, code: CloseCode) {
    assert_eq!(ws.closed().await, Some(code));
    let counted = server.system.metrics().closes();
    assert_eq!(counted.get(code.name()), Some(&1), "{counted:?}");
}

#[tokio::test]
async fn only_a_welcome_keeps_a_place() {
    let server = TestServer::with_sessions(|system| {
        system.session.hello_timeout_ms = 100;
        system.session.messages_burst = 1_000_000;
    })
    .await;
    let mut ws = Ws::open(&server).await;
    let pinging = async {
        loop {
            ws.frame(FIN | PING, b"still here").await;
            match ws.hear().await {
                Heard::Pong => {}
                other => return other,
            }
        }
    };
    let heard = timeout(PATIENCE, pinging).await.expect("a sign of life is no token");
    let number = CloseCode::HelloTimeout.number();
    assert!(matches!(heard, Heard::Closed(n) if n == number), "{heard:?}");
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn a_stranger_is_served_nothing() {
    let server = TestServer::start().await;
    let mut ws = Ws::open(&server).await;
    ws.say(&ClientMessage::Ping { nonce: 7 }).await;
    assert_eq!(ws.error().await.code, Code::NotAuthenticated);
    ends(&mut ws, &server, CloseCode::NotAuthenticated).await;
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn a_stranger_cannot_make_the_server_keep_much() {
    let server = TestServer::start().await;
    let mut whole = Ws::open(&server).await;
    whole.raw(&[head_of(FIN | BINARY, 16 * 1024 + 1), vec![0; 4]].concat()).await;
    ends(&mut whole, &server, CloseCode::TooLarge).await;

    let mut pieces = Ws::open(&server).await;
    pieces.frame(BINARY, &[0; 12 * 1024]).await;
    pieces.frame(0, &[0; 12 * 1024]).await;
    assert_eq!(pieces.closed().await, Some(CloseCode::TooLarge));
    drop((whole, pieces));
    server.end().await;
}

/// Who says goodbye and stays gets the time of a close to go, and no more: not
/// until the silence of a client that is there would be noticed.
#[tokio::test]
async fn who_says_goodbye_and_stays_is_cut() {
    let server = TestServer::with_sessions(|system| {
        system.session.close_timeout_ms = 100;
        system.session.heartbeat_ms = 3_600_000;
    })
    .await;
    let mut ws = Ws::welcomed(&server, 1).await;
    ws.frame(FIN | CLOSE, &1_000_u16.to_be_bytes()).await;
    assert!(matches!(ws.hear().await, Heard::Closed(1_000)));
    // The server has said all that it had to say; this side stays open.
    assert!(matches!(ws.hear().await, Heard::End));
    let gone = async {
        while server.system.status().await.unwrap().sessions > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn what_follows_a_hello_at_once_is_served_after_it() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::open(&server).await;
    ws.hello(&server.token()).await;
    ws.ask_to_join(brane, 7).await;
    ws.until(|m| matches!(m, ServerMessage::Welcome(_))).await;
    ws.until(|m| matches!(m, ServerMessage::Joined(_))).await;
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn a_token_is_renewed_in_the_session() {
    let server = TestServer::with_sessions(|system| system.session.token_warning_s = 60).await;
    let mut ws = Ws::open(&server).await;
    ws.greet(&server.token_for(1, Role::Owner, 50)).await;
    let warned = ws.until(|m| matches!(m, ServerMessage::Expiring { .. })).await;
    let ServerMessage::Expiring { expires: before } = warned else { unreachable!() };

    ws.say(&ClientMessage::Refresh { token: "nonsense".to_owned() }).await;
    assert_eq!(ws.error().await.code, Code::TokenInvalid);
    ws.say(&ClientMessage::Refresh { token: server.token_for(2, Role::Owner, 900) }).await;
    assert_eq!(ws.error().await.code, Code::Forbidden);
    ws.say(&ClientMessage::Refresh { token: server.token_for(1, Role::Owner, 900) }).await;
    let refreshed = ws.until(|m| matches!(m, ServerMessage::Refreshed { .. })).await;
    let ServerMessage::Refreshed { expires: after } = refreshed else { unreachable!() };
    assert!(after > before + 800, "{before}, {after}");
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn a_token_ends_the_session_at_its_end() {
    let server = TestServer::start().await;
    let mut ws = Ws::open(&server).await;
    ws.greet(&server.token_for(1, Role::Owner, 1)).await;
    ends(&mut ws, &server, CloseCode::TokenExpired).await;

    let mut late = Ws::open(&server).await;
    late.hello(&server.token_for(1, Role::Owner, -1)).await;
    assert_eq!(late.error().await.code, Code::TokenExpired);
    assert_eq!(late.closed().await, Some(CloseCode::TokenExpired));
    drop((ws, late));
    server.end().await;
}

#[tokio::test]
async fn clocks_that_differ_do_not_end_a_session() {
    let server =
        TestServer::tuned(NetConfig::default(), avvy_actors::SystemConfig::default(), 600, None)
            .await;
    let mut ws = Ws::open(&server).await;
    // Its end is past, but not by more than the clocks may differ.
    ws.greet(&server.token_for(1, Role::Owner, -5)).await;
    // The warning comes with the look at the token that would close, too.
    ws.until(|m| matches!(m, ServerMessage::Expiring { .. })).await;
    ws.say(&ClientMessage::Ping { nonce: 1 }).await;
    ws.until(|m| matches!(m, ServerMessage::Pong { .. })).await;
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn what_a_new_token_allows_is_learnt_by_joining_again() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::open(&server).await;
    ws.greet(&server.token_for(1, Role::Owner, 900)).await;
    let channel = ws.join(brane, 7).await;
    ws.say(&ClientMessage::Refresh { token: server.token_for(1, Role::Owner, 901) }).await;
    ws.until(|m| matches!(m, ServerMessage::Refreshed { .. })).await;
    ws.edit(channel, 1).await;
    assert_eq!(ws.refused().await, Code::ObjectNotFound, "a token for the same changes nothing");

    ws.say(&ClientMessage::Refresh { token: server.token_for(1, Role::Visitor, 902) }).await;
    let left = ws.until(|m| matches!(m, ServerMessage::Left { .. })).await;
    assert_eq!(left, ServerMessage::Left { channel, code: Some(Code::Unavailable), address: None });
    ws.ask_to_join(brane, 7).await;
    let joined = ws.until(|m| matches!(m, ServerMessage::Joined(_))).await;
    let ServerMessage::Joined(joined) = joined else { unreachable!() };
    assert_eq!(joined.role, Role::Owner.into());
    let rights = ws.until(|m| matches!(m, ServerMessage::Rights(_))).await;
    let ServerMessage::Rights(rights) = rights else { unreachable!() };
    assert!(rights.verbs.is_empty(), "{rights:?}");
    ws.edit(joined.channel, 2).await;
    assert_eq!(ws.refused().await, Code::NotPermitted);
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn a_client_id_belongs_to_its_newest_connection() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut old = Ws::welcomed(&server, 1).await;
    old.join(brane, 7).await;
    let mut other_user = Ws::welcomed(&server, 2).await;
    other_user.ask_to_join(brane, 7).await;
    assert_eq!(other_user.error().await.code, Code::ClientTaken);
    let mut other_client = Ws::welcomed(&server, 1).await;
    let other_channel = other_client.join(brane, 8).await;

    let mut new = Ws::welcomed(&server, 1).await;
    let channel = new.join(brane, 7).await;
    ends(&mut old, &server, CloseCode::Replaced).await;
    for (ws, channel) in [(&mut new, channel), (&mut other_client, other_channel)] {
        ws.edit(channel, 1).await;
        assert_eq!(ws.refused().await, Code::ObjectNotFound);
    }
    drop((old, other_user, other_client, new));
    server.end().await;
}

#[tokio::test]
async fn silence_ends_a_session() {
    let server = TestServer::with_sessions(|system| system.session.heartbeat_ms = 100).await;
    let mut ws = Ws::welcomed(&server, 1).await;
    ends(&mut ws, &server, CloseCode::HeartbeatTimeout).await;
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn too_many_messages_end_a_session() {
    let server = TestServer::with_sessions(|system| {
        system.session.messages_burst = 10;
        system.session.messages_per_second = 1;
    })
    .await;
    let mut ws = Ws::welcomed(&server, 1).await;
    for nonce in 0..20 {
        ws.say(&ClientMessage::Ping { nonce }).await;
    }
    ends(&mut ws, &server, CloseCode::RateLimited).await;
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn a_full_server_says_so() {
    let server = TestServer::with_sessions(|system| system.max_sessions = 1).await;
    let mut first = Ws::welcomed(&server, 1).await;
    let mut second = Ws::open(&server).await;
    second.hello(&server.token()).await;
    ends(&mut second, &server, CloseCode::Overloaded).await;
    first.say(&ClientMessage::Ping { nonce: 1 }).await;
    first.until(|m| matches!(m, ServerMessage::Pong { .. })).await;
    drop((first, second));
    server.end().await;
}

#[tokio::test]
async fn a_drain_is_told_to_everyone() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut sessions = Vec::new();
    for n in 0..20 {
        let mut ws = Ws::welcomed(&server, 1).await;
        ws.join(brane, n).await;
        sessions.push(ws);
    }
    let clients = tokio::spawn(async move {
        for ws in &mut sessions {
            assert_eq!(ws.closed().await, Some(CloseCode::GoingAway));
        }
    });
    server.end().await;
    clients.await.unwrap();
}

#[tokio::test]
async fn a_client_may_end_it_itself() {
    let server = TestServer::start().await;
    let mut ws = Ws::welcomed(&server, 1).await;
    ws.frame(FIN | CLOSE, &1_000_u16.to_be_bytes()).await;
    assert_eq!(ws.closed().await, Some(CloseCode::Normal));
    assert!(server.system.metrics().closes().is_empty(), "it was not the server that closed");
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn joins_beyond_the_bound_are_refused() {
    let server = TestServer::with_sessions(|system| system.session.max_channels = 2).await;
    let branes = [
        server.brane(Visibility::Public).await,
        server.brane(Visibility::Public).await,
        server.brane(Visibility::Public).await,
    ];
    let mut ws = Ws::welcomed(&server, 1).await;
    let first = ws.join(branes[0], 7).await;
    ws.join(branes[1], 7).await;
    ws.ask_to_join(branes[2], 7).await;
    let error = ws.error().await;
    assert_eq!(
        (error.code, error.operation.as_deref()),
        (Code::TooManyChannels, Some("brane.join"))
    );
    ws.say(&ClientMessage::Leave { channel: first }).await;
    ws.until(|m| matches!(m, ServerMessage::Left { code: None, .. })).await;
    ws.join(branes[2], 7).await;
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn edits_on_a_channel_that_is_not_joined_get_one_error() {
    let server = TestServer::start().await;
    let mut ws = Ws::welcomed(&server, 1).await;
    let channel = Channel(4_711);
    ws.edit(channel, 1).await;
    let error = ws.error().await;
    assert_eq!((error.code, error.channel), (Code::NotJoined, Some(channel)));
    assert_eq!(error.operation.as_deref(), Some("object.update"));
    ws.say(&ClientMessage::Ping { nonce: 1 }).await;
    let next = ws.hear().await;
    assert!(matches!(next, Heard::Message(ServerMessage::Pong { .. })), "{next:?}");
    drop(ws);
    server.end().await;
}

/// A `brane.join` with this as its `area`.
fn join_with(brane: BraneId, area: &[u8]) -> Vec<u8> {
    let text = |text: &str| [&[0x78, text.len() as u8][..], text.as_bytes()].concat();
    let client = version_4(9).to_string();
    let fields = [("op", "brane.join"), ("brane", &brane.to_string()), ("client", &client)];
    let fields = fields.iter().flat_map(|(key, value)| [text(key), text(value)].concat());
    [vec![0xa4], fields.collect(), text("area"), area.to_vec()].concat()
}

#[tokio::test]
async fn what_is_no_area_is_refused() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(&server, 2).await;
    let float = |f: f64| [&[0xfb][..], &f.to_be_bytes()].concat();
    let area = |at: &[f64], radius: f64| {
        let at = [vec![0x80 | at.len() as u8], at.iter().flat_map(|f| float(*f)).collect()];
        [&b"\xa2\x62at"[..], &at.concat(), &b"\x66radius"[..], &float(radius)].concat()
    };
    let cases = [
        ("no number", area(&[f64::NAN, 0.0, 0.0], 1.0)),
        ("a radius that is no number", area(&[0.0; 3], f64::NAN)),
        ("a radius below zero", area(&[0.0; 3], -1.0)),
        ("a radius without end", area(&[0.0; 3], f64::INFINITY)),
        ("far away", area(&[0.0, 1e9, 0.0], 1.0)),
        ("two numbers", area(&[0.0; 2], 1.0)),
        ("four numbers", area(&[0.0; 4], 1.0)),
        ("nothing", vec![0xa0]),
        ("a number", vec![7]),
    ];
    for (name, area) in cases {
        // Who says many such is closed.
        let mut ws = Ws::welcomed(&server, 3).await;
        ws.frame(FIN | BINARY, &join_with(brane, &area)).await;
        let error = ws.error().await;
        assert!(matches!(error.code, Code::OutOfRange | Code::Malformed), "{name}: {error:?}");
    }
    let message = ClientMessage::View { channel: Channel(77), area: None };
    ws.say(&message).await;
    let error = ws.error().await;
    assert_eq!((error.code, error.channel), (Code::NotJoined, Some(Channel(77))));
    ws.frame(FIN | BINARY, &join_with(brane, &area(&[0.0; 3], 400_000.0))).await;
    let joined = ws.until(|m| matches!(m, ServerMessage::Joined(_))).await;
    let ServerMessage::Joined(joined) = joined else { unreachable!() };
    assert_eq!(joined.scope.map(|scope| scope.view.reach), Some(1), "as far as can be seen");
    drop(ws);
    server.end().await;
}
