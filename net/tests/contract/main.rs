//! The routes keep to their document, also towards those who mean no good: what
//! is asked is made from `docs/openapi.json` itself, so a new route is tried
//! without a new line here.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod fields;
mod operation;
mod others;
mod people;

use avvy_model::{Role, Visibility};
use avvy_net::NetConfig;
use common::TestServer;
use operation::Operation;
use serde_json::json;
use uuid::Uuid;

const JSON: (&str, &str) = ("content-type", "application/json");
const ADMIN: &str = "0123456789abcdef0123456789abcdef";

fn is_probe(operation: &Operation) -> bool {
    !operation.path.starts_with("/api/v1")
}

#[tokio::test]
async fn nothing_is_told_without_a_token() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.token = None;
    let id = Uuid::new_v4().to_string();
    for operation in Operation::all() {
        let answer = operation.ask(&mut client, &operation.path_of(&id), &[]).await;
        if operation.needs("token") {
            assert_eq!(answer.status, 401, "{} {}", operation.method, operation.path);
        } else if operation.needs("admin") {
            // There is no such token here, so there is nothing.
            assert_eq!(answer.status, 404, "{} {}", operation.method, operation.path);
        }
    }
    server.end().await;
}

/// Where a request has to have a key, one without does nothing.
#[tokio::test]
async fn changes_that_need_a_key_are_refused_without() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let id = Uuid::new_v4().to_string();
    for operation in Operation::all() {
        let name = operation.name();
        let family = operation.path.split('/').nth(3).unwrap_or_default();
        let is_keyed = ["object", "prototype", "users"].contains(&family);
        let is_change = operation.method != "GET";
        assert_eq!(operation.requires("Idempotency-Key"), is_keyed && is_change, "{name}");
        if !(is_keyed && is_change) {
            continue;
        }
        let headers = [JSON, ("accept", "application/json"), ("if-match", "*")];
        let (path, body) = (operation.path_of(&id), operation.example());
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let answer = client.ask(&operation.method, &path, &headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "malformed"), "{name}");
        let details = answer.as_json()["details"].clone();
        assert_eq!(details, "Idempotency-Key: a UUID of version 4 is required", "{name}");
    }
    server.end().await;
}

/// What a query has to have is in the document, and nothing else is needed.
#[tokio::test]
async fn queries_without_what_they_need_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let id = Uuid::new_v4().to_string();
    let mut needing = Vec::new();
    for operation in Operation::all() {
        let parameters = operation.told["parameters"].as_array().unwrap().iter();
        let mut of_query = parameters.filter(|it| it["in"] == "query").peekable();
        if of_query.peek().is_none() {
            continue;
        }
        let name = operation.name();
        let answer = operation.ask(&mut client, &operation.path_of(&id), &[]).await;
        let is_refused = answer.status == 400 && answer.code() == "malformed";
        assert_eq!(is_refused, of_query.any(|it| it["required"] == true), "{name}");
        if is_refused {
            needing.push(name);
        }
    }
    assert!(!needing.is_empty());
    server.end().await;
}

/// What is no name finds nothing, and comes back in no header.
#[tokio::test]
async fn names_lead_nowhere_else() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let long = "a".repeat(4_000);
    let odd = [
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%00",
        "%0d%0aset-cookie:%20a=b",
        "%c0%ae%c0%ae",
        "%ff",
        "5f1d2c6a3b7e4c1d9a521e0f6d7c8b90",
        "{5f1d2c6a-3b7e-4c1d-9a52-1e0f6d7c8b90}",
        "*",
        "'%20or%20'1'='1",
        "$ne",
        &long,
    ];
    for operation in Operation::all() {
        if !operation.needs("token") || !operation.is_named() {
            continue;
        }
        for name in odd {
            let answer = operation.ask(&mut client, &operation.path_of(name), &[]).await;
            assert!((400..500).contains(&answer.status), "{} {name}", operation.path);
            assert!(!answer.code().is_empty());
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    server.end().await;
}

/// A body that is packed, of another type, or of another shape is refused
/// before anything is done.
#[tokio::test]
async fn bodies_that_are_none_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let id = server.brane(Visibility::Public).await.to_string();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for operation in Operation::all() {
        let needs_body = operation.told["requestBody"]["required"] == true;
        if !operation.needs("token") || !needs_body {
            continue;
        }
        let path = operation.path_of(&id);
        let packed = operation.ask(&mut client, &path, &[("content-encoding", "gzip")]).await;
        assert_eq!(packed.status, 415, "{path}");
        for body in ["", "[]", "null", "7", "\"x\"", "{", "{\"name\": 1, \"name\": 2}", &deep] {
            let key = Uuid::new_v4().to_string();
            let headers = [JSON, ("idempotency-key", &*key)];
            let answer = client.ask(&operation.method, &path, &headers, body.as_bytes()).await;
            let shown = &body[..body.len().min(20)];
            assert!((400..500).contains(&answer.status), "{path} takes {shown}");
            assert!(operation.told["responses"].get(answer.status.to_string()).is_some());
        }
        for kind in ["text/plain", "multipart/form-data", "application/xml"] {
            let key = Uuid::new_v4().to_string();
            let headers = [("content-type", kind), ("idempotency-key", &*key)];
            let answer = client.ask(&operation.method, &path, &headers, b"x").await;
            assert_eq!(answer.status, 415, "{path} {kind}");
        }
    }
    server.end().await;
}

#[tokio::test]
async fn operators_have_a_token_of_their_own() {
    let config = NetConfig { admin_token: Some(ADMIN.to_owned()), ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let brane = server.brane(Visibility::Public).await;
    let mut guest = common::ws::Ws::welcomed(&server, 2).await;
    guest.join(brane, 2).await;
    // A user's token opens nothing here.
    let mut client = server.client().await;
    let status = "/api/v1/admin/status";
    assert_eq!(client.ask("GET", status, &[], b"").await.status, 401);
    let wrong = client.ask("GET", status, &[("x-admin-token", &ADMIN[1..])], b"").await;
    assert_eq!((wrong.status, wrong.code().as_str()), (401, "token_invalid"));
    client.token = None;
    let admin = [("x-admin-token", ADMIN), ("accept", "application/json")];
    let told = client.ask("GET", status, &admin, b"").await.as_json();
    assert_eq!((&told["sessions"], &told["open_branes"]), (&json!(1), &json!(1)));
    assert_eq!(told["branes"][0]["brane"], json!(brane.to_string()));
    let user = common::ws::user(2);
    let path = format!("/api/v1/admin/users/{user}/sign-out");
    assert_eq!(client.ask("POST", &path, &admin, b"").await.status, 200);
    client.token = Some(server.token_for(2, Role::Owner, 1_000));
    let refused = client.ask("GET", "/api/v1/brane", &[], b"").await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_revoked"));
    server.end().await;
}

/// Whoever guesses at the operator's token is soon asked to wait.
#[tokio::test]
async fn nobody_tries_many_tokens() {
    let config = NetConfig {
        admin_token: Some(ADMIN.to_owned()),
        requests_per_second: 1,
        requests_burst: 1_000,
        ..NetConfig::default()
    };
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    let mut tries = 0;
    let refused = loop {
        let guess = format!("{tries:032}");
        let headers = [("x-admin-token", guess.as_str())];
        let answer = client.ask("GET", "/api/v1/admin/status", &headers, b"").await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.status, 401);
        tries += 1;
    };
    assert!(tries <= 5 && refused.header("retry-after").is_some(), "{tries}");
    server.end().await;
}

#[test]
fn every_route_is_for_somebody() {
    for operation in Operation::all() {
        let is_open = operation.told["security"] == json!([]);
        let is_public = ["openapi.json", "docs"].iter().any(|end| operation.path.ends_with(end))
            || operation.path.starts_with("/api/v1/auth/")
            || operation.path.starts_with("/api/v1/health");
        assert!(!is_open || is_probe(&operation) || is_public, "{} is open", operation.path);
    }
}
