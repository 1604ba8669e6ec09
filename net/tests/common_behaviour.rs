//! What all routes have in common: requests that come again, versions, names of
//! requests, origins, packed answers, and the document that says so.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_model::Role;
use avvy_net::NetConfig;
use common::{Answer, Client, TestServer};
use serde_json::{Value as Json, json};
use uuid::Uuid;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn post(client: &mut Client, key: &str, body: &Json) -> Answer {
    let headers = [JSON, ("idempotency-key", key)];
    client.ask("POST", "/api/v1/brane", &headers, body.to_string().as_bytes()).await
}

async fn count_branes(client: &mut Client) -> usize {
    let (_, page) = client.json("GET", "/api/v1/brane", None).await;
    page["branes"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_request_that_comes_again_is_answered_and_not_done_again() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let (key, asked) = (Uuid::new_v4().to_string(), json!({"name": "Once"}));
    let first = post(&mut client, &key, &asked).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
    // On another connection, too.
    let mut other = server.client().await;
    let again = post(&mut other, &key, &asked).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
    assert_eq!(again.body, first.body);
    for name in ["content-type", "location", "etag"] {
        assert_eq!(again.header(name), first.header(name));
    }
    assert_eq!(count_branes(&mut client).await, 1);

    let reused = post(&mut client, &key, &json!({"name": "Twice"})).await;
    assert_eq!((reused.status, reused.code().as_str()), (409, "key_reused"));
    // Of another user it is another key.
    client.token = Some(server.token_for(2, Role::Owner, 1_000));
    let theirs = post(&mut client, &key, &asked).await;
    assert_eq!((theirs.status, theirs.header("idempotency-replayed")), (201, None));
    server.end().await;
}

#[tokio::test]
async fn a_refusal_is_an_answer_too() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let (key, asked) = (Uuid::new_v4().to_string(), json!({"name": ""}));
    let first = post(&mut client, &key, &asked).await;
    assert_eq!((first.status, first.code().as_str()), (400, "malformed"));
    let again = post(&mut client, &key, &asked).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (400, Some("true")));
    assert_eq!(again.body, first.body);
    server.end().await;
}

#[tokio::test]
async fn what_may_change_is_done_again() {
    let server = TestServer::with_sessions(|config| {
        config.user.creates = avvy_actors::Rate { per_second: 0, burst: 1 };
    })
    .await;
    let mut client = server.client().await;
    let first = post(&mut client, &Uuid::new_v4().to_string(), &json!({"name": "A"})).await;
    assert_eq!(first.status, 201);
    let (key, asked) = (Uuid::new_v4().to_string(), json!({"name": "B"}));
    for _ in 0..2 {
        let refused = post(&mut client, &key, &asked).await;
        assert_eq!(refused.code(), "rate_limited");
        assert_eq!(refused.header("idempotency-replayed"), None);
    }
    server.end().await;
}

#[tokio::test]
async fn of_two_at_once_one_is_done() {
    let server = TestServer::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    let (key, asked) = (Uuid::new_v4().to_string(), json!({"name": "Once"}));
    let (first, second) = tokio::join!(post(&mut one, &key, &asked), post(&mut two, &key, &asked));
    let mut answers = [first, second];
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(answers[0].status, 201);
    if answers[1].status == 409 {
        assert_eq!(answers[1].code(), "in_progress");
        assert_eq!(answers[1].header("retry-after"), Some("1"));
    } else {
        assert_eq!(answers[0].body, answers[1].body);
    }
    assert_eq!(count_branes(&mut one).await, 1);
    server.end().await;
}

#[tokio::test]
async fn answers_outlive_the_server() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let (key, asked) = (Uuid::new_v4().to_string(), json!({"name": "Once"}));
    let first = post(&mut client, &key, &asked).await;
    let disk = server.disk.clone();
    server.end().await;
    let server = TestServer::again(&disk).await;
    let mut client = server.client().await;
    let again = post(&mut client, &key, &asked).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
    assert_eq!(again.body, first.body);
    server.end().await;
}

#[tokio::test]
async fn keys_are_bounded() {
    let mut config = NetConfig::default();
    config.repeats.keys_per_day = 2;
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    for name in ["A", "B"] {
        let key = Uuid::new_v4().to_string();
        assert_eq!(post(&mut client, &key, &json!({"name": name})).await.status, 201);
    }
    let refused = post(&mut client, &Uuid::new_v4().to_string(), &json!({"name": "C"})).await;
    assert_eq!(refused.code(), "rate_limited");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() <= 86_400);
    for odd in
        ["", "1", "5f1d2c6a-3b7e-1c1d-9a52-1e0f6d7c8b90", "{5f1d2c6a3b7e4c1d9a521e0f6d7c8b90}"]
    {
        assert_eq!(
            post(&mut client, odd, &json!({"name": "D"})).await.code(),
            "malformed",
            "{odd}"
        );
    }
    server.end().await;
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let made = post(&mut client, &Uuid::new_v4().to_string(), &json!({"name": "Hall"})).await;
    let path = made.header("location").unwrap().to_owned();
    let accept = ("accept", "application/json");
    let read = client.ask("GET", &path, &[accept], b"").await;
    let tag = read.header("etag").unwrap().to_owned();
    assert_eq!(Some(tag.as_str()), made.header("etag"));
    let known = client.ask("GET", &path, &[accept, ("if-none-match", &tag)], b"").await;
    assert_eq!((known.status, known.header("etag"), known.body.len()), (304, Some(&*tag), 0));
    // Another form is other bytes.
    let cbor = client.ask("GET", &path, &[("if-none-match", &tag)], b"").await;
    assert_eq!(cbor.status, 200);
    assert_ne!(cbor.header("etag"), Some(&*tag));
    server.end().await;
}

/// Who was sent a packed answer is spared that one, and told as much of it as
/// with the answer itself.
#[tokio::test]
async fn what_is_known_packed_is_not_sent_again() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let made = post(&mut client, &Uuid::new_v4().to_string(), &json!({"name": "Hall"})).await;
    let path = made.header("location").unwrap().to_owned();
    let long = json!({"description": "x".repeat(2_000)}).to_string();
    let json = [("content-type", "application/json"), ("if-match", "*")];
    assert_eq!(client.ask("PATCH", &path, &json, long.as_bytes()).await.status, 200);
    let takes = [("accept", "application/json"), ("accept-encoding", "gzip")];
    let packed = client.ask("HEAD", &path, &takes, b"").await;
    let tag = packed.header("etag").unwrap().to_owned();
    assert!(tag.ends_with(".gz\""), "{tag}");
    let weak = format!("W/{tag}");
    for named in [&tag, &weak] {
        let known = [takes[0], takes[1], ("if-none-match", named)];
        let known = client.ask("GET", &path, &known, b"").await;
        assert_eq!((known.status, known.header("etag")), (304, Some(&*tag)));
        assert!(known.lists("vary", "accept-encoding") && packed.lists("vary", "accept-encoding"));
    }
    server.end().await;
}

/// An answer says what its form went by, or a cache gives one form for the
/// other.
#[tokio::test]
async fn caches_are_told_what_a_form_goes_by() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let made = post(&mut client, &Uuid::new_v4().to_string(), &json!({"name": "Hall"})).await;
    let path = made.header("location").unwrap();
    let read = client.ask("GET", path, &[], b"").await;
    let tag = read.header("etag").unwrap();
    let known = client.ask("GET", path, &[("if-none-match", tag)], b"").await;
    let missing = client.ask("GET", "/api/v1/nothing", &[], b"").await;
    assert_eq!([read.status, known.status, missing.status], [200, 304, 404]);
    for answer in [read, known, missing] {
        let told = ["accept", "content-type"].map(|name| answer.lists("vary", name));
        assert_eq!(told, [true; 2], "{answer:?}");
    }
    // A page of one form alone goes by none.
    let page = client.ask("GET", "/", &[], b"").await;
    assert!(!page.lists("vary", "accept"));
    server.end().await;
}

#[tokio::test]
async fn a_request_keeps_its_name() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let named = client.ask("GET", "/livez", &[("x-request-id", "order-17")], b"").await;
    assert_eq!(named.header("x-request-id"), Some("order-17"));
    assert_ne!(named.header("x-trace-id"), Some("order-17"));
    for odd in ["", "two words", "ä", &"x".repeat(129)] {
        let answer = client.ask("GET", "/livez", &[("x-request-id", odd)], b"").await;
        assert_eq!(answer.header("x-request-id"), answer.header("x-trace-id"), "{odd}");
    }
    server.end().await;
}

#[tokio::test]
async fn pages_of_listed_origins_may_ask() {
    let ours = "https://app.example";
    let config = NetConfig { cors_origins: vec![ours.to_owned()], ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    let token = client.token.take();
    let asks = [("origin", ours), ("access-control-request-method", "PATCH")];
    let path = "/api/v1/brane";
    let allowed = client.ask("OPTIONS", path, &asks, b"").await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, Some(ours)));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert_eq!(allowed.header("access-control-allow-credentials"), None);
    let others = [("origin", "https://evil.example"), ("access-control-request-method", "GET")];
    let refused = client.ask("OPTIONS", path, &others, b"").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (405, None));
    assert!(refused.lists("vary", "origin"));
    // Also an error can be read by who may ask.
    let error = client.ask("GET", path, &[("origin", ours)], b"").await;
    assert_eq!((error.status, error.header("access-control-allow-origin")), (401, Some(ours)));
    client.token = token;
    let read = client.ask("GET", path, &[("origin", ours)], b"").await;
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some(ours)));
    server.end().await;
}

#[tokio::test]
async fn long_answers_are_packed_for_who_takes_that() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.token = None;
    let path = "/api/v1/openapi.json";
    let plain = client.ask("GET", path, &[], b"").await;
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
    let gzip = ("accept-encoding", "gzip");
    let packed = client.ask("HEAD", path, &[gzip], b"").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.header("vary"), Some("accept-encoding"));
    // It is packed once for all who take it so.
    let [first, again] =
        [client.ask("GET", path, &[gzip], b"").await, client.ask("GET", path, &[gzip], b"").await];
    assert!(first.body.starts_with(b"\x1f\x8b") && first.body.len() < plain.body.len() / 4);
    assert_eq!((first.header("content-encoding"), &first.body), (Some("gzip"), &again.body));
    for encoding in ["identity", "br", "gzip;q=0"] {
        let answer = client.ask("HEAD", path, &[("accept-encoding", encoding)], b"").await;
        assert_eq!(answer.header("content-encoding"), None, "{encoding}");
    }
    let short = client.ask("GET", "/livez", &[gzip], b"").await;
    assert_eq!((short.header("content-encoding"), short.body.is_empty()), (None, false));
    server.end().await;
}

#[tokio::test]
async fn the_document_is_served() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.token = None;
    let served = client.ask("GET", "/api/v1/openapi.json", &[], b"").await.as_json();
    assert_eq!(served["openapi"], "3.1.0");
    assert!(served["paths"]["/api/v1/brane/{id}"]["get"].is_object());
    let page = client.ask("GET", "/api/v1/docs", &[("accept", "text/html")], b"").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    assert!(text.contains("/api/v1/brane/{id}/objects") && !text.contains("<script"));
    server.end().await;
}
