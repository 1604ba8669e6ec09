//! Tokens that are revoked before their end.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_model::{Code, Role};
use avvy_protocol::close::CloseCode;
use avvy_protocol::{ClientMessage, ServerMessage};
use common::TestServer;
use common::ws::Ws;
use serde_json::json;

const PATH: &str = "/api/v1/token/revoke";

/// A connection that is closed because of its token.
async fn refused(server: &TestServer, token: &str) {
    let mut ws = Ws::open(server).await;
    ws.hello(token).await;
    assert_eq!(ws.error().await.code, Code::TokenRevoked);
    assert_eq!(ws.closed().await, Some(CloseCode::TokenRevoked));
    let mut client = server.client().await;
    client.token = Some(token.to_owned());
    let answer = client.ask("GET", "/api/v1/brane", &[], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"));
}

async fn is_open(ws: &mut Ws) {
    ws.say(&ClientMessage::Ping { nonce: 7 }).await;
    ws.until(|message| matches!(message, ServerMessage::Pong { .. })).await;
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_its_sessions_and_lets_nobody_in() {
    let server = TestServer::start().await;
    let (token, other) = (server.token(), server.token());
    let (mut mine, mut another) = (Ws::open(&server).await, Ws::open(&server).await);
    mine.greet(&token).await;
    another.greet(&other).await;
    let mut client = server.client().await;
    client.token = Some(token.clone());
    let answer = client.ask("POST", PATH, &[("accept", "application/json")], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.as_json()["until"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(mine.closed().await, Some(CloseCode::TokenRevoked));
    refused(&server, &token).await;
    // The user's other token counts; the revoked one cannot take its place.
    another.say(&ClientMessage::Refresh { token }).await;
    assert_eq!(another.error().await.code, Code::TokenRevoked);
    is_open(&mut another).await;
    // By another token of the user, the token itself or its id.
    client.token = Some(server.token());
    assert_eq!(client.json("POST", PATH, Some(json!({"token": other}))).await.0, 200);
    assert_eq!(another.closed().await, Some(CloseCode::TokenRevoked));
    assert_eq!(client.json("POST", PATH, Some(json!({"token": other}))).await.0, 200);
    let status = server.system.status().await.unwrap().revocations;
    assert_eq!((status.revoked, status.failures), (2, 0));
    drop((mine, another));
    server.end().await;
}

#[tokio::test]
async fn all_of_a_user_are_revoked_and_stay_so_after_a_restart() {
    let server = TestServer::start().await;
    let old = server.token();
    let (mut mine, mut theirs) = (Ws::welcomed(&server, 1).await, Ws::welcomed(&server, 2).await);
    let mut client = server.client().await;
    let (status, body) = client.json("POST", PATH, Some(json!({"before": u64::MAX}))).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(mine.closed().await, Some(CloseCode::TokenRevoked));
    refused(&server, &old).await;
    is_open(&mut theirs).await;
    drop((mine, theirs, client));
    let disk = server.disk.clone();
    server.end().await;
    let server = TestServer::again(&disk).await;
    refused(&server, &old).await;
    let theirs = Ws::welcomed(&server, 2).await;
    drop(theirs);
    server.end().await;
}

#[tokio::test]
async fn nobody_revokes_what_is_not_theirs() {
    let server = TestServer::start().await;
    let theirs = server.token_for(2, Role::Owner, 900);
    let mut client = server.client().await;
    let (status, body) = client.json("POST", PATH, Some(json!({"token": theirs}))).await;
    assert_eq!((status, body["code"].as_str()), (403, Some("forbidden")));
    for nonsense in [
        json!({"token": "nonsense"}),
        json!({"id": "nonsense"}),
        json!({"before": -1}),
        json!({"before": 1, "token": theirs}),
        json!([]),
    ] {
        let (status, body) = client.json("POST", PATH, Some(nonsense.clone())).await;
        assert_eq!((status, body["code"].as_str()), (400, Some("malformed")), "{nonsense}");
    }
    client.token = None;
    assert_eq!(client.json("POST", PATH, Some(json!({}))).await.0, 401);
    // An id is of the user who names it.
    client.token = Some(server.token());
    let id = json!({"id": "0b9d8e7f-6a5c-4d3e-8f1a-2b3c4d5e6f70"});
    for _ in 0..2 {
        assert_eq!(client.json("POST", PATH, Some(id.clone())).await.0, 200);
    }
    assert_eq!(server.system.status().await.unwrap().revocations.revoked, 1);
    server.end().await;
}
