//! What is refused, and how.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use avvy_model::Role;
use avvy_net::NetConfig;
use common::{PATIENCE, TestServer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

const NOWHERE: &str = "/api/v1/brane/6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11";
const JSON: (&str, &str) = ("accept", "application/json");

#[tokio::test]
async fn errors_have_one_envelope_in_both_forms() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for headers in [&[][..], &[JSON]] {
        let answer = client.ask("GET", NOWHERE, headers, b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    }
    let body = client.ask("GET", NOWHERE, &[JSON], b"").await.as_json();
    assert_eq!((&body["number"], &body["code"]), (&1008.into(), &"not_found".into()));
    assert!(body["message"].is_string() && body["timestamp"].is_u64());
    server.end().await;
}

#[tokio::test]
async fn a_trace_goes_through() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let parent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let answer = client.ask("GET", NOWHERE, &[parent, JSON], b"").await;
    assert_eq!(answer.as_json()["trace_id"], "0af76519-16cd-43dd-8448-eb211c80319c");
    let answer = client.ask("GET", "/livez", &[parent], b"").await;
    assert_eq!(answer.header("x-trace-id"), Some("0af76519-16cd-43dd-8448-eb211c80319c"));
    let drawn = client.ask("GET", "/livez", &[("traceparent", "nonsense")], b"").await;
    assert_eq!(drawn.header("x-trace-id").unwrap().len(), 36);
    server.end().await;
}

#[tokio::test]
async fn every_route_of_the_api_needs_a_token() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let stranger = TestServer::start().await;
    let tokens = [
        (None, "not_authenticated"),
        (Some("a.b.c".to_owned()), "token_invalid"),
        (Some(server.token() + "x"), "token_invalid"),
        (Some(server.token_for(1, Role::Owner, -1)), "token_expired"),
    ];
    let routes = [
        ("GET", "/api/v1/brane".to_owned()),
        ("POST", "/api/v1/brane".to_owned()),
        ("GET", NOWHERE.to_owned()),
        ("GET", format!("{NOWHERE}/objects")),
        ("POST", format!("{NOWHERE}/edits")),
        ("GET", "/api/v1/no/such/route".to_owned()),
    ];
    for (token, code) in tokens {
        client.token = token;
        for (method, path) in &routes {
            let answer = client.ask(method, path, &[], b"").await;
            assert_eq!((answer.status, answer.code().as_str()), (401, code), "{method} {path}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    stranger.end().await;
    server.end().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for path in ["/nothing", "/api/v1/nothing", "/api/v1/brane/no-id", "/api/v2/branes"] {
        let answer = client.ask("GET", path, &[], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    let cases = [
        ("DELETE", "/api/v1/brane", "GET,HEAD,POST"),
        ("GET", &format!("{NOWHERE}/edits"), "POST"),
        ("POST", "/metrics", "GET,HEAD"),
    ];
    for (method, path, allow) in cases {
        let answer = client.ask(method, path, &[], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
    server.end().await;
}

#[tokio::test]
async fn forms_that_are_not_spoken_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let branes = "/api/v1/brane";
    let text = ("content-type", "text/plain");
    let answer = client.ask("POST", branes, &[text], b"name=x").await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"));
    let answer = client.ask("GET", branes, &[("accept", "text/html")], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (406, "unsupported_media_type"));
    // Pages with a form of their own do not mind.
    for path in ["/", "/metrics"] {
        let answer = client.ask("GET", path, &[("accept", "text/html")], b"").await;
        assert_eq!(answer.status, 200, "{path}");
    }
    server.end().await;
}

#[tokio::test]
async fn large_bodies_are_not_read() {
    let server =
        TestServer::with(NetConfig { max_body_bytes: 1_000, ..NetConfig::default() }).await;
    let mut client = server.client().await;
    // Said at once: answered before a byte of it came.
    client.token = None;
    let head = format!(
        "POST /api/v1/brane HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n",
        server.token()
    );
    client.say(format!("{head}content-length: 1001\r\n\r\n").as_bytes()).await;
    let answer = client.answer("POST").await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    // Not said: read up to the bound and no further.
    let mut client = server.client().await;
    client.say(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await;
    for _ in 0..3 {
        client.say(format!("190\r\n{}\r\n", "x".repeat(0x190)).as_bytes()).await;
    }
    let answer = client.answer("POST").await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    let mut client = server.client().await;
    let answer = client.ask("POST", "/api/v1/brane", &[], &[0; 1_000]).await;
    assert_eq!(answer.code(), "malformed");
    server.end().await;
}

#[tokio::test]
async fn bodies_under_a_coding_are_not_taken_as_they_are() {
    let server = TestServer::start().await;
    let head = format!(
        "POST /api/v1/brane HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\n",
        server.token()
    );
    let body = "\r\n10\r\n{\"name\": \"Hall\"}\r\n0\r\n\r\n";
    let gzip = ["gzip, chunked", "gzip\r\ntransfer-encoding: chunked"];
    for coding in gzip {
        let mut client = server.client().await;
        client.say(format!("{head}transfer-encoding: {coding}\r\n{body}").as_bytes()).await;
        let answer = client.answer("POST").await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (501, "malformed"), "{coding}");
        assert!(client.is_closed().await, "{coding}");
    }
    let mut client = server.client().await;
    client.say(format!("{head}transfer-encoding: Chunked\r\n{body}").as_bytes()).await;
    assert_eq!(client.answer("POST").await.unwrap().status, 201);
    let (json, gzip) = (("content-type", "application/json"), ("content-encoding", "gzip"));
    let [none, capital] = ["identity", "Identity"].map(|none| ("content-encoding", none));
    let cases = [(&[json, gzip][..], 415), (&[json, none, gzip], 415), (&[json, capital], 201)];
    for (coded, expected) in cases {
        let answer = client.ask("POST", "/api/v1/brane", coded, b"{\"name\": \"Hall\"}").await;
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    server.end().await;
}

/// Whoever stands before the server may go by the last where the server goes by
/// the first.
#[tokio::test]
async fn of_two_tokens_none_counts() {
    let admin = "0123456789abcdef0123456789abcdef";
    let config = NetConfig { admin_token: Some(admin.to_owned()), ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    for other in ["Bearer nonsense".to_owned(), format!("Bearer {}", server.token())] {
        let both = [("authorization", other.as_str())];
        let answer = client.ask("GET", "/api/v1/brane", &both, b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "not_authenticated"));
    }
    let status = "/api/v1/admin/status";
    assert_eq!(client.ask("GET", status, &[("x-admin-token", admin)], b"").await.status, 200);
    let both = [("x-admin-token", admin), ("x-admin-token", "x")];
    let answer = client.ask("GET", status, &both, b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "not_authenticated"));
    server.end().await;
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let config = NetConfig { requests_per_second: 1, requests_burst: 5, ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    for _ in 0..5 {
        assert_eq!(client.ask("GET", "/livez", &[], b"").await.status, 200);
    }
    let answer = client.ask("GET", "/livez", &[JSON], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let wait = answer.as_json()["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1_000).contains(&wait), "{wait}");
    server.end().await;
}

#[tokio::test]
async fn edits_count_as_requests() {
    let config = NetConfig { requests_per_second: 1, requests_burst: 10, ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    let operation = r#""op": "update", "t": 0, "set": {"a": 1}"#;
    let edits: Vec<String> = (1..=3).map(|n| format!(r#"{{"n": {n}, {operation}}}"#)).collect();
    let batch = vec![format!("{{{operation}}}"); 7].join(",");
    let bodies = [edits.join(","), format!(r#"{{"n": 4, "op": "batch", "ops": [{batch}]}}"#)];
    let bodies = bodies.map(|edits| {
        format!(r#"{{"client": "6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11", "edits": [{edits}]}}"#)
    });
    let json = ("content-type", "application/json");
    let path = format!("{NOWHERE}/edits");
    for body in &bodies {
        let answer = client.ask("POST", &path, &[json], body.as_bytes()).await;
        assert_eq!(answer.code(), "not_found", "three and seven are as many as may come at once");
    }
    let answer = client.ask("POST", &path, &[json], bodies[0].as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"));
    server.end().await;
}

#[tokio::test]
async fn who_asks_and_never_reads_is_not_waited_for() {
    let config = NetConfig {
        max_connections: 1,
        requests_burst: 1_000_000,
        write_timeout: Duration::from_millis(100),
        ..NetConfig::default()
    };
    let server = TestServer::with(config).await;
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    let requests = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(100);
    let ask = async { while greedy.write_all(&requests).await.is_ok() {} };
    timeout(PATIENCE, ask).await.expect("the server waits");
    // Its place is free for who reads.
    let mut client = server.client().await;
    assert_eq!(client.ask("GET", "/livez", &[], b"").await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn websockets_count_as_connections() {
    let config = NetConfig { max_connections: 2, ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask("GET", "/ws", &HANDSHAKE, b"").await.status, 101);
    }
    assert!(is_turned_away(&server).await);
    first.stream.get_mut().shutdown().await.unwrap();
    assert!(first.ended().await);
    let mut third = server.client().await;
    assert_eq!(third.ask("GET", "/livez", &[], b"").await.status, 200);
    assert!(is_turned_away(&server).await);
    drop(second);
    server.end().await;
}

/// Whether a new connection is closed unanswered.
async fn is_turned_away(server: &TestServer) -> bool {
    let mut client = server.client().await;
    client.say(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await;
    client.answer("GET").await.is_none()
}

const HANDSHAKE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn a_websocket_needs_its_handshake() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let answer = client.ask("GET", "/ws", &[], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed"));
    client.token = Some("a.b.c".to_owned());
    let answer = client.ask("GET", "/ws", &[], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_invalid"));
    client.token = None;
    let answer = client.ask("GET", "/ws", &HANDSHAKE, b"").await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    drop(client);
    server.end().await;
}
