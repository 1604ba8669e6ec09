//! Good requests with a few bytes spoiled: never a failure of the server,
//! never a panic.

use avvy_model::{ClientId, Code, Visibility};
use avvy_net::NetConfig;
use avvy_protocol::json::to_cbor;
use avvy_protocol::{ClientMessage, Hello, Join, ServerMessage, codec};
use serde_json::json;

use crate::common::TestServer;
use crate::common::ws::{self, BINARY, CLOSE, FIN, Heard, PING, Ws, frame};

/// Rounds of each kind; each is a request.
const ROUNDS: u64 = 500;

/// xorshift64*: enough chance for this, and the seed is in a failure's text.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    /// Changes, drops or doubles a few bytes.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match self.below(4) {
                0 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, self.below(256) as u8),
            }
        }
    }
}

#[tokio::test]
async fn spoiled_bodies_are_answered() {
    let config = NetConfig { requests_burst: 1_000_000, ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    let (_, brane) = client.json("POST", "/api/v1/brane", Some(json!({"name": "Target"}))).await;
    let path = format!("/api/v1/brane/{}/edits", brane["id"].as_str().unwrap());
    let body = json!({"client": "6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11", "edits": [
        {"n": 1, "op": "create", "id": "0b9d8e7f-6a5c-4d3e-8f1a-2b3c4d5e6f70", "parent": 0,
            "kind": "group", "transform": [1,0,0,0, 0,1,0,2, 0,0,1,0, 0,0,0,1], "props": {"a": [1.5]}},
        {"n": 2, "op": "batch", "ops": [{"op": "move", "t": 1, "position": [1.0, 2.0, 3.0]}]},
        {"n": 3, "op": "update", "t": 1, "set": {"a": {"$bytes": "00ff"}}, "remove": ["b"]},
    ]});
    let mut cbor = Vec::new();
    ciborium::into_writer(&to_cbor(&body).unwrap(), &mut cbor).unwrap();
    let forms = [("application/cbor", cbor), ("application/json", body.to_string().into_bytes())];
    for (form, good) in &forms {
        for seed in 1..=ROUNDS {
            let mut body = good.clone();
            Chance(seed * 0x9e37_79b9).spoil(&mut body);
            let answer = client.ask("POST", &path, &[("content-type", form)], &body).await;
            let expected = matches!(answer.status, 200 | 400 | 409 | 413);
            assert!(expected, "seed {seed}, {form}: {} {}", answer.status, answer.code());
        }
    }
    // The brane is well, and what it holds can be read.
    let (status, _) = client.json("GET", &path.replace("edits", "objects"), None).await;
    assert_eq!(status, 200);
    server.end().await;
}

#[tokio::test]
async fn spoiled_heads_are_answered_or_cut() {
    let config = NetConfig {
        requests_burst: 1_000_000,
        header_read_timeout: std::time::Duration::from_millis(100),
        ..NetConfig::default()
    };
    let server = TestServer::with(config).await;
    let good = "GET /api/v1/brane/6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11/objects?limit=3&after=7 \
        HTTP/1.1\r\nhost: test\r\nauthorization: Bearer TOKEN\r\naccept: application/json;q=0.5\r\n\
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
        content-type: application/json\r\nconnection: close\r\n\r\n"
        .replace("TOKEN", &server.token());
    for seed in 1..=ROUNDS / 5 {
        let mut head = good.clone().into_bytes();
        Chance(seed * 0x9e37_79b9).spoil(&mut head);
        let mut client = server.client().await;
        client.say(&head).await;
        if let Some(answer) = client.answer("HEAD").await {
            assert!(answer.status < 500, "seed {seed}: {answer:?}");
        }
    }
    let mut client = server.client().await;
    assert_eq!(client.ask("GET", "/livez", &[], b"").await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn spoiled_websockets_end() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let message = |message| frame(FIN | BINARY, &codec::encode_client(&message));
    let token = Some(server.token());
    let hello = message(ClientMessage::Hello(Hello {
        min_version: 1,
        max_version: 1,
        token,
        agent: Some("a spoiled client".to_owned()),
    }));
    let client = ClientId::new(ws::version_4(7));
    let join = Join { brane, client, known: false, resume: None, area: None };
    let rest = [
        message(ClientMessage::Join(join)),
        frame(FIN | PING, b"in between"),
        message(ClientMessage::Ping { nonce: 7 }),
        message(ClientMessage::Refresh { token: "a.b.c".to_owned() }),
        frame(FIN | CLOSE, &1_000_u16.to_be_bytes()),
    ]
    .concat();
    for seed in 1..=ROUNDS / 2 {
        let mut chance = Chance(seed * 0x9e37_79b9);
        let (mut first, mut rest) = (hello.clone(), rest.clone());
        chance.spoil(if seed % 4 == 0 { &mut first } else { &mut rest });
        let mut ws = Ws::open(&server).await;
        ws.raw(&[first, rest].concat()).await;
        ws.shut_down().await;
        while !matches!(ws.hear().await, Heard::End | Heard::Reset) {}
    }
    let mut ws = Ws::welcomed(&server, 1).await;
    let channel = ws.join(brane, 8).await;
    ws.edit(channel, 1).await;
    assert_eq!(ws.refused().await, Code::ObjectNotFound, "the brane is well");
    ws.say(&ClientMessage::Leave { channel }).await;
    ws.until(|m| matches!(m, ServerMessage::Left { code: None, .. })).await;
    drop(ws);
    server.end().await;
}
