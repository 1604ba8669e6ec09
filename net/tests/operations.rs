//! What operators and their machines ask for.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use avvy_auth::{Keys, Policy, Verifier};
use avvy_net::NetConfig;
use avvy_persistence::memory::{Fault, Operation};
use base64ct::{Base64UrlUnpadded, Encoding};
use common::{PATIENCE, TestServer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const JSON: (&str, &str) = ("accept", "application/json");

#[tokio::test]
async fn a_well_server_says_so() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.token = None;
    for path in ["/livez", "/readyz", "/api/v1/health/live", "/api/v1/health/ready"] {
        let answer = client.ask("GET", path, &[JSON], b"").await;
        assert_eq!((answer.status, answer.as_json()), (200, json!({"status": "ok"})), "{path}");
    }
    let answer = client.ask("GET", "/healthz", &[JSON], b"").await;
    let body = answer.as_json();
    assert_eq!(answer.status, 200, "{body}");
    assert!(body["durable_us"].as_u64() >= body["fan_out_us"].as_u64(), "{body}");
    // The answer stands for a moment: asking again makes no edit.
    for path in ["/healthz", "/api/v1/health"] {
        assert_eq!(client.ask("GET", path, &[JSON], b"").await.as_json(), body);
    }
    assert_eq!(client.ask("HEAD", "/livez", &[], b"").await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn the_keys_of_tokens_are_there_for_everybody() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.token = None;
    let published = |answer: common::Answer| {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
        let set: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let kid = |key: &serde_json::Value| key["kid"].as_str().unwrap().to_owned();
        set["keys"].as_array().unwrap().iter().map(kid).collect::<Vec<_>>()
    };
    let path = "/.well-known/jwks.json";
    let before = published(client.ask("GET", path, &[], b"").await);
    let head = server.token();
    let head = Base64UrlUnpadded::decode_vec(head.split('.').next().unwrap()).unwrap();
    assert!(String::from_utf8(head).unwrap().contains(&before[0]));
    // While the server runs, another key takes its turn.
    let policy = Policy { issuer: "test".into(), audience: "test".into(), leeway_s: 0 };
    let next = Keys::generate([8; 32]);
    let mut keys = vec![next.public().clone()];
    server.system.replace_verifier(Verifier::new(policy.clone(), keys.clone()));
    assert_eq!(published(client.ask("GET", path, &[], b"").await), [keys[0].kid()]);
    client.token = Some(server.token());
    let answer = client.ask("GET", "/api/v1/brane", &[], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_invalid"));
    keys.push(Keys::generate([7; 32]).public().clone());
    server.system.replace_verifier(Verifier::new(policy, keys));
    assert_eq!(client.ask("GET", "/api/v1/brane", &[], b"").await.status, 200);
    assert_eq!(client.ask("POST", path, &[], b"").await.status, 405);
    server.end().await;
}

#[tokio::test]
async fn a_server_that_stops_is_not_ready() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    assert_eq!(client.ask("GET", "/readyz", &[], b"").await.status, 200);
    server.stop.send(true).unwrap();
    let answer = client.ask("GET", "/readyz", &[], b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(answer.header("retry-after").is_some());
    assert!(client.is_closed().await);
    server.end().await;
}

#[tokio::test]
async fn a_sick_store_is_seen() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    server.disk.plan(|_: Operation, _: u64| Fault::FailBefore);
    for path in ["/readyz", "/healthz", "/api/v1/health", "/api/v1/health/ready"] {
        let answer = client.ask("GET", path, &[], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"), "{path}");
    }
    for path in ["/livez", "/api/v1/health/live"] {
        assert_eq!(client.ask("GET", path, &[], b"").await.status, 200);
    }
    server.disk.heal();
    server.end().await;
}

/// Whoever asks may hang up at once: all who ask share one probe, which goes
/// on without them and leaves nobody in its brane.
#[tokio::test]
async fn a_health_check_that_hangs_up_leaves_nobody_behind() {
    let config = NetConfig { health_timeout: 3 * PATIENCE, ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    server.system.probe().await.unwrap();
    // From here on a probe takes until the store is well again.
    server.disk.plan(|operation, _: u64| match operation {
        Operation::Append => Fault::FailBefore,
        _ => Fault::None,
    });
    for _ in 0..50 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        sessions(&server, |sessions| sessions > 0).await;
        stream.shutdown().await.unwrap();
        // The server ends the connection, and with it the request.
        let end = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.unwrap();
        assert_eq!(end.unwrap_or_default(), 0);
    }
    assert_eq!(sessions(&server, |_| true).await, 1, "one probe for all");
    server.disk.heal();
    let answer = client.ask("GET", "/healthz", &[JSON], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    sessions(&server, |sessions| sessions == 0).await;
    server.end().await;
}

#[tokio::test]
async fn a_health_check_that_takes_too_long_leaves_nobody_behind() {
    let config = NetConfig { health_timeout: Duration::from_millis(100), ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    server.system.probe().await.unwrap();
    server.disk.plan(|operation, _: u64| match operation {
        Operation::Append => Fault::FailBefore,
        _ => Fault::None,
    });
    let answer = client.ask("GET", "/healthz", &[JSON], b"").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("timeout"), "{}", answer.text());
    sessions(&server, |sessions| sessions == 0).await;
    server.disk.heal();
    server.end().await;
}

/// Sessions in all branes, as soon as they are as wanted.
async fn sessions(server: &TestServer, wanted: impl Fn(usize) -> bool) -> usize {
    let look = async {
        loop {
            let status = server.system.status().await.unwrap();
            let sessions = status.branes.iter().map(|brane| brane.core.sessions).sum();
            if wanted(sessions) {
                return sessions;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, look).await.expect("not as many sessions as there should be")
}

#[tokio::test]
async fn figures_are_what_prometheus_reads() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.ask("GET", "/healthz", &[], b"").await;
    client.ask("GET", "/nothing", &[], b"").await;
    let answer = client.ask("GET", "/metrics", &[], b"").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut family = "";
    for line in answer.text().lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["#", "HELP", name, ..] => family = *name,
            ["#", "TYPE", name, "counter" | "gauge"] => assert_eq!(*name, family),
            [sample, value] => {
                assert_eq!(sample.split('{').next(), Some(family), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
            _ => panic!("{line}"),
        }
    }
    // The probe's brane is nobody's business, but is counted.
    let expected = [
        "avvy_branes 1\n",
        "avvy_http_responses_total{class=\"4xx\"} 1\n",
        "avvy_brane_edits_accepted_total{brane=\"other\"} 1\n",
    ];
    for sample in expected {
        assert!(answer.text().contains(sample), "{sample} is not in\n{}", answer.text());
    }
    server.end().await;
}

/// Knowing the id of an unlisted brane is what lets one in.
#[tokio::test]
async fn figures_name_only_public_branes() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut ids = Vec::new();
    for visibility in ["public", "unlisted", "private"] {
        let body = json!({"name": visibility, "visibility": visibility});
        let (_, brane) = client.json("POST", "/api/v1/brane", Some(body)).await;
        let id = brane["id"].as_str().unwrap().to_owned();
        let (status, _) = client.json("GET", &format!("/api/v1/brane/{id}/objects"), None).await;
        assert_eq!(status, 200);
        ids.push(id);
    }
    client.token = None;
    let answer = client.ask("GET", "/metrics", &[], b"").await;
    let named: Vec<bool> = ids.iter().map(|id| answer.text().contains(id)).collect();
    assert_eq!(named, [true, false, false], "{}", answer.text());
    assert!(answer.text().contains("avvy_branes 3\n"), "{}", answer.text());
    server.end().await;
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for _ in 0..50 {
        assert_eq!(client.ask("GET", "/livez", &[], b"").await.status, 200);
        assert_eq!(client.ask("GET", "/nothing", &[], b"").await.status, 404);
        assert_eq!(client.ask("POST", "/api/v1/brane", &[], b"hello").await.status, 400);
    }
    // Two at once, answered in order.
    client
        .say(b"GET /livez HTTP/1.1\r\nhost: t\r\n\r\nGET /nothing HTTP/1.1\r\nhost: t\r\n\r\n")
        .await;
    assert_eq!(client.answer("GET").await.unwrap().status, 200);
    assert_eq!(client.answer("GET").await.unwrap().status, 404);
    server.end().await;
}

#[tokio::test]
async fn a_person_finds_a_page() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let answer = client.ask("GET", "/", &[("accept", "text/html")], b"").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/html"));
    assert!(!answer.text().contains("http"), "the page asks nobody else");
    server.end().await;
}
