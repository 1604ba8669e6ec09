//! The examples of `docs/API.md` work as they stand there.

#![allow(clippy::unwrap_used)]

mod common;

use common::TestServer;
use serde_json::Value as Json;

const API: &str = include_str!("../../docs/API.md");
const OPENAPI: &str = include_str!("../../docs/openapi.json");
const PROTOCOL: &str = include_str!("../../protocol/PROTOCOL.md");
const ID: &str = "5f1d2c6a-3b7e-4c1d-9a52-1e0f6d7c8b90";

/// Every path that the documents name is there, and every path that is there is
/// named: by itself, or without `/api/v1` in the text of its family.
#[test]
fn the_routes_are_those_of_the_documents() {
    let document: Json = serde_json::from_str(OPENAPI).unwrap();
    let served: Vec<&str> = document["paths"].as_object().unwrap().keys().map(|p| &**p).collect();
    for path in &served {
        let short = path.trim_start_matches("/api/v1");
        let is_named = |name: &str| {
            let mut ends = API.match_indices(name).map(|(at, _)| API[at + name.len()..].chars());
            ends.any(|mut after| after.next().is_none_or(|c| !c.is_alphanumeric() && c != '/'))
        };
        assert!(is_named(path) || is_named(&format!(" {short}")), "API.md does not name {path}");
    }
    for heading in API.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')) {
        let Some((method, path)) = heading.split_once(' ') else { continue };
        let told = &document["paths"][path][method.to_lowercase()];
        assert!(told.is_object(), "there is no {heading}");
    }
    for (name, document) in [("API.md", API), ("PROTOCOL.md", PROTOCOL)] {
        for path in document.split("/api/v1/").skip(1) {
            let end = path.find(|c: char| !c.is_ascii_alphanumeric() && !"-/{}.".contains(c));
            let path = format!("/api/v1/{}", &path[..end.unwrap_or(path.len())]);
            let path = path.trim_end_matches(['.', '/']).replace(ID, "{id}");
            let is_family = |route: &&str| route.starts_with(&format!("{path}/"));
            let is_there = served.contains(&path.as_str()) || served.iter().any(is_family);
            assert!(is_there, "{name} names {path}");
        }
    }
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
