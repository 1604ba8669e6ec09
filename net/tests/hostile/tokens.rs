//! Tokens that do not count, wherever a token can be.

use std::time::{SystemTime, UNIX_EPOCH};

use avvy_auth::{Claims, Issuer, Keys, Policy};
use avvy_model::Role;
use avvy_protocol::ClientMessage;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::json;
use uuid::Uuid;

use crate::cases::{Case, answered, case, told, told_by_itself};
use crate::common::TestServer;
use crate::common::ws::{Ws, user};

/// The key of the servers of the tests, and one that is not theirs.
const THEIRS: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];

type Forge = fn(&TestServer) -> String;

/// The forgeries, with their names where HTTP, `hello` and `auth.refresh`
/// carry them.
const FORGERIES: [([&str; 3], Forge); 13] = [
    (["http-token-empty", "hello-token-empty", "refresh-token-empty"], |_| String::new()),
    (["http-token-garbage", "hello-token-garbage", "refresh-token-garbage"], |_| "a.b.c".into()),
    (["http-token-alg-none", "hello-token-alg-none", "refresh-token-alg-none"], |server| {
        unsigned(&server.token(), NONE)
    }),
    (["http-token-alg-hmac", "hello-token-alg-hmac", "refresh-token-alg-hmac"], |server| {
        unsigned(&server.token(), HS256) + "AAAA"
    }),
    (["http-token-wrong-key", "hello-token-wrong-key", "refresh-token-wrong-key"], |_| {
        issue(OTHER, "test", "test", 1_000)
    }),
    (
        ["http-token-wrong-audience", "hello-token-wrong-audience", "refresh-token-wrong-audience"],
        |_| issue(THEIRS, "test", "elsewhere", 1_000),
    ),
    (["http-token-wrong-issuer", "hello-token-wrong-issuer", "refresh-token-wrong-issuer"], |_| {
        issue(THEIRS, "somebody", "test", 1_000)
    }),
    (["http-token-expired", "hello-token-expired", "refresh-token-expired"], |server| {
        server.token_for(1, Role::Owner, -1)
    }),
    (["http-token-truncated", "hello-token-truncated", "refresh-token-truncated"], |server| {
        let token = server.token();
        token[..token.len() - 1].to_owned()
    }),
    (["http-token-changed", "hello-token-changed", "refresh-token-changed"], |server| {
        let mut token = server.token().into_bytes();
        token[80] = if token[80] == b'A' { b'B' } else { b'A' };
        String::from_utf8(token).unwrap()
    }),
    (["http-token-not-text", "hello-token-not-text", "refresh-token-not-text"], |_| {
        "\u{1f980}.\u{1f980}.\u{1f980}".into()
    }),
    (["http-token-9000-bytes", "hello-token-9000-bytes", "refresh-token-9000-bytes"], |server| {
        server.token() + &"A".repeat(9_000)
    }),
    (["http-token-megabyte", "hello-token-megabyte", "refresh-token-megabyte"], |server| {
        server.token() + &"A".repeat(1 << 20)
    }),
];

/// `{"alg":"none"}` and `{"alg":"HS256"}`.
const NONE: &str = "eyJhbGciOiJub25lIn0";
const HS256: &str = "eyJhbGciOiJIUzI1NiJ9";

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for ([http, hello, refresh], forge) in FORGERIES {
        cases.push(case(http, move |server| Box::pin(over_http(server, forge(server)))));
        cases.push(case(hello, move |server| Box::pin(in_hello(server, forge(server)))));
        cases.push(case(refresh, move |server| Box::pin(in_refresh(server, forge(server)))));
    }
    for (name, issuer) in [
        ("issuer-keys-long", "long"),
        ("issuer-keys-nested", "nested"),
        ("issuer-keys-redirecting", "redirecting"),
        ("issuer-keys-secret", "secret"),
        ("issuer-keys-that-do-not-come", "silent"),
    ] {
        let forge = move |_: &TestServer| of_issuer(issuer);
        cases.push(case(name, move |server| Box::pin(over_http(server, forge(server)))));
    }
    cases.push(case("http-token-none", |server| {
        Box::pin(async move {
            let mut client = server.client().await;
            client.token = None;
            answered(&client.ask("GET", "/api/v1/brane", &[], b"").await)
        })
    }));
    cases.push(case("http-token-of-another-scheme", |server| {
        Box::pin(async move {
            let mut client = server.client().await;
            client.token = None;
            let basic = [("authorization", "Basic eDp5")];
            answered(&client.ask("GET", "/api/v1/brane", &basic, b"").await)
        })
    }));
    cases.push(case("upgrade-token-garbage", |server| {
        Box::pin(async move {
            let mut client = server.client().await;
            client.token = Some("a.b.c".to_owned());
            answered(&client.ask("GET", "/ws", &[], b"").await)
        })
    }));
    cases.push(case("hello-token-none", |server| {
        Box::pin(async move {
            let mut ws = Ws::open(server).await;
            let hello =
                avvy_protocol::Hello { min_version: 1, max_version: 1, token: None, agent: None };
            ws.say(&ClientMessage::Hello(hello)).await;
            told_by_itself(&mut ws).await
        })
    }));
    cases.push(case("hello-of-no-version", |server| {
        Box::pin(async move {
            let mut ws = Ws::open(server).await;
            let hello = avvy_protocol::Hello {
                min_version: 1_000,
                max_version: 1_001,
                token: Some(server.token()),
                agent: None,
            };
            ws.say(&ClientMessage::Hello(hello)).await;
            told_by_itself(&mut ws).await
        })
    }));
    cases.push(case("refresh-token-of-somebody-else", |server| {
        let token = server.token_for(2, Role::Owner, 1_000);
        Box::pin(in_refresh(server, token))
    }));
    cases
}

async fn over_http(server: &TestServer, token: String) -> String {
    let mut client = server.client().await;
    client.token = Some(token);
    answered(&client.ask("GET", "/api/v1/brane", &[], b"").await)
}

async fn in_hello(server: &TestServer, token: String) -> String {
    let mut ws = Ws::open(server).await;
    ws.hello(&token).await;
    // Whoever was not welcomed and asks for more is closed.
    told(&mut ws).await
}

async fn in_refresh(server: &TestServer, token: String) -> String {
    let mut ws = Ws::welcomed(server, 1).await;
    ws.say(&ClientMessage::Refresh { token }).await;
    told(&mut ws).await
}

/// The claims of a good token under another header, without a signature.
fn unsigned(token: &str, header: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    format!("{header}.{claims}.")
}

fn issue(key: [u8; 32], issuer: &str, audience: &str, seconds: u64) -> String {
    let (issuer, audience) = (issuer.to_owned(), audience.to_owned());
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Issuer::new(Keys::generate(key), Policy { issuer, audience, leeway_s: 0 }).issue(&Claims {
        user: user(1),
        role: Role::Owner,
        name: None,
        branes: Vec::new(),
        session: None,
        token: Uuid::new_v4(),
        issued_s: now_s,
        expires_s: now_s + seconds,
    })
}

/// A token of another issuer, under the name of its secret key.
fn of_issuer(issuer: &str) -> String {
    let part =
        |json: serde_json::Value| Base64UrlUnpadded::encode_string(json.to_string().as_bytes());
    let header = part(json!({"alg": "RS256", "kid": "k"}));
    let claims = part(json!({"iss": issuer, "sub": "x", "aud": "test", "iat": 1, "exp": 2}));
    format!("{header}.{claims}.AAAA")
}
