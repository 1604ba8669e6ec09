//! The examples of `docs/API.md` work as they stand there.

#![allow(clippy::unwrap_used)]

mod common;

use common::TestServer;

const API: &str = include_str!("../../docs/API.md");

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
