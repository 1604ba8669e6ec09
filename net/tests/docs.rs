//! The examples of `docs/API.md` work as they stand there.

#![allow(clippy::unwrap_used)]

mod common;

use common::TestServer;
use serde_json::Value as Json;

const API: &str = include_str!("../../docs/API.md");
const OPENAPI: &str = include_str!("../../docs/openapi.json");
const PROTOCOL: &str = include_str!("../../protocol/PROTOCOL.md");
const ID: &str = "5f1d2c6a-3b7e-4c1d-9a52-1e0f6d7c8b90";

/// Every path that the documents name is there, under the methods that they
/// name, and every route is documented.
#[tokio::test]
async fn the_routes_are_those_of_the_documents() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let headings = API.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let mut routes: Vec<(&str, &str)> =
        headings.map(|heading| heading.split_once(' ').unwrap()).collect();
    let table = API.split("\n| path | 200 means |").nth(1).unwrap();
    let rows = table.split("\n\n").next().unwrap().split("\n| `").skip(1);
    routes.extend(rows.map(|row| ("GET", row.split('`').next().unwrap())));
    routes.push(("GET", "/ws"));
    let document: Json = serde_json::from_str(OPENAPI).unwrap();
    let mut served: Vec<(String, &str)> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys();
        served.extend(methods.map(|method| (method.to_uppercase(), path.as_str())));
    }
    for (method, path) in &served {
        assert!(routes.contains(&(method, path)), "API.md does not tell of {method} {path}");
    }
    assert_eq!(served.len(), routes.len());
    for (method, path) in &routes {
        let answer = client.ask(method, &path.replace("{id}", ID), &[], b"").await;
        let details = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!details.contains("no such path") && answer.status != 405, "{method} {path}");
    }
    for (name, document) in [("API.md", API), ("PROTOCOL.md", PROTOCOL)] {
        for path in document.split("/api/v1/").skip(1) {
            let end = path.find(|c: char| !c.is_ascii_alphanumeric() && !"-/{}.".contains(c));
            let path = format!("/api/v1/{}", &path[..end.unwrap_or(path.len())]);
            let path = path.trim_end_matches('.').replace(ID, "{id}");
            assert!(routes.iter().any(|(_, route)| *route == path), "{name} names {path}");
        }
    }
    server.end().await;
}

#[tokio::test]
async fn the_examples_can_be_pasted() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.token = None;
    let examples: Vec<&str> = API
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .filter(|block| block.starts_with("curl"))
        .collect();
    assert!(examples.len() >= 4);
    for example in examples {
        let command = example.replace("$TOKEN", &server.token()).replace("$AVVY", "");
        let curl = Curl::parse(&command);
        let headers: Vec<(&str, &str)> =
            curl.headers.iter().map(|header| header.split_once(": ").unwrap()).collect();
        let method = if curl.body.is_some() { "POST" } else { "GET" };
        let body = curl.body.unwrap_or_default();
        let answer = client.ask(method, &curl.path, &headers, body.as_bytes()).await;
        assert!(matches!(answer.status, 200 | 201), "{command}\n{}", answer.text());
        let answer = answer.as_json();
        for outcome in answer["outcomes"].as_array().into_iter().flatten() {
            assert!(outcome["seq"].is_u64(), "{command}\n{outcome}");
        }
    }
    server.end().await;
}

#[derive(Default)]
struct Curl {
    path: String,
    headers: Vec<String>,
    body: Option<String>,
}

impl Curl {
    fn parse(command: &str) -> Self {
        let (mut curl, mut words) = (Self::default(), words(command).into_iter());
        assert_eq!(words.next().as_deref(), Some("curl"));
        while let Some(word) = words.next() {
            match word.as_str() {
                "-s" => {}
                "-H" => curl.headers.push(words.next().unwrap()),
                "-d" => curl.body = words.next(),
                path => curl.path = path.to_owned(),
            }
        }
        curl
    }
}

/// Words as a shell cuts them, as far as the examples go: quotes of both kinds.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars().chain([' ']) {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (c, _) => word.push(c),
        }
    }
    words
}
