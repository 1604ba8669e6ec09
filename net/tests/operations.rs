//! What operators and their machines ask for.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_persistence::memory::{Fault, Operation};
use common::TestServer;
use serde_json::json;

const JSON: (&str, &str) = ("accept", "application/json");

#[tokio::test]
async fn a_well_server_says_so() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.token = None;
    for path in ["/livez", "/readyz"] {
        let answer = client.ask("GET", path, &[JSON], b"").await;
        assert_eq!((answer.status, answer.as_json()), (200, json!({"status": "ok"})), "{path}");
    }
    let answer = client.ask("GET", "/healthz", &[JSON], b"").await;
    let body = answer.as_json();
    assert_eq!(answer.status, 200, "{body}");
    assert!(body["durable_us"].as_u64() >= body["fan_out_us"].as_u64(), "{body}");
    // The answer stands for a moment: asking again makes no edit.
    assert_eq!(client.ask("GET", "/healthz", &[JSON], b"").await.as_json(), body);
    assert_eq!(client.ask("HEAD", "/livez", &[], b"").await.status, 200);
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
    for path in ["/readyz", "/healthz"] {
        let answer = client.ask("GET", path, &[], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"), "{path}");
    }
    assert_eq!(client.ask("GET", "/livez", &[], b"").await.status, 200);
    server.disk.heal();
    server.end().await;
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
    let expected = ["avvy_branes 1\n", "avvy_http_responses_total{class=\"4xx\"} 1\n"];
    for sample in expected {
        assert!(answer.text().contains(sample), "{sample} is not in\n{}", answer.text());
    }
    assert!(answer.text().contains("avvy_brane_edits_accepted_total{brane=\""));
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
