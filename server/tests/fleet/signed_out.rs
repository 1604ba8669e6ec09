//! People who sign in at one node and out at another.

use std::time::{Duration, Instant};

use avvy_persistence::testing::mongod::fresh_database;
use avvy_persistence::testing::redis_server::RedisServer;
use avvy_protocol::close::CloseCode;
use serde_json::{Value, json};

use crate::common::Server;
use crate::revoked::until;
use crate::session::Session;
use crate::start;

fn text(tokens: &Value, key: &str) -> String {
    tokens[key].as_str().unwrap_or_else(|| panic!("{key} in {tokens}")).to_owned()
}

fn sign_in(node: &Server) -> Value {
    let (status, tokens) = node.post("/api/v1/auth/dev", &json!({"name": "ada"}));
    assert_eq!(status, 200, "{tokens}");
    tokens
}

/// How long after the answer of one node the other has closed what is open, at
/// most: what is promised of both ways to hear of it.
const WITHIN: Duration = Duration::from_secs(1);

/// The nodes have nothing in common but the database and Redis: the keys of
/// tokens are in the one, and by the other they hear of each other. Neither is
/// looked at again in this test.
#[test]
fn who_signs_out_everywhere_at_one_node_is_out_at_the_other() {
    let redis = RedisServer::start();
    let url = redis.url();
    let settings = [("AVVY_REDIS_URL", &*url), ("AVVY_AUTH_REVOCATION_POLL_MS", "3600000")];
    signs_out_everywhere(&settings, WITHIN, |node| {
        node.text("/metrics").contains("\navvy_redis_listening 1\n")
    });
}

/// Without a Redis they look at the database, as often as they do without a
/// setting: once in that second, and a busy machine may need another one to do it.
#[test]
fn who_signs_out_everywhere_is_out_at_the_other_without_a_redis() {
    signs_out_everywhere(&[], WITHIN + Duration::from_secs(1), |_| true);
}

fn signs_out_everywhere(more: &[(&str, &str)], within: Duration, hears: impl Fn(&Server) -> bool) {
    let directory = tempfile::tempdir().unwrap();
    let database = fresh_database();
    let node = |name: &str| {
        let settings = [
            ("AVVY_FLEET_ADDRESS", "http://127.0.0.1:0"),
            ("AVVY_SERVER_DEMO_OBJECTS", "0"),
            // Each its own, in its data directory.
            ("AVVY_AUTH_KEY_FILE", "key.pem"),
            ("AVVY_AUTH_KEY_SECRET", "a secret that both nodes have, and no database"),
            ("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true"),
        ];
        start(directory.path(), name, &database, &[&settings[..], more].concat())
    };
    let (one, two) = (node("one"), node("two"));
    assert_eq!(one.text("/.well-known/jwks.json"), two.text("/.well-known/jwks.json"));
    until(|| hears(&one) && hears(&two));

    let (first, second) = (sign_in(&one), sign_in(&two));
    assert_eq!(first["user"], second["user"], "one user on both");
    let mut sessions = [&first, &second].map(|tokens| {
        let mut session = Session::open(&two, &text(tokens, "access_token"));
        assert_eq!(session.frame().0, 2, "it is welcomed");
        session
    });
    let refresh = json!({"refresh_token": text(&first, "refresh_token")});
    let (status, next) = two.post("/api/v1/auth/refresh", &refresh);
    assert_eq!(status, 200, "{next}");

    let access = text(&next, "access_token");
    let (status, body) = one.request("POST", "/api/v1/auth/sign-out-everywhere", &access);
    let answered = Instant::now();
    assert_eq!(status, 204, "{body}");
    for session in &mut sessions {
        assert_eq!(session.closed(), CloseCode::TokenRevoked.number());
    }
    let later = answered.elapsed();
    assert!(later <= within, "closed at the other node {later:?} later");
    for tokens in [&first, &second, &next] {
        for node in [&one, &two] {
            let (status, _) = node.request("GET", "/api/v1/brane", &text(tokens, "access_token"));
            assert_eq!(status, 401);
            let refresh = json!({"refresh_token": text(tokens, "refresh_token")});
            let (status, body) = node.post("/api/v1/auth/refresh", &refresh);
            assert_eq!(status, 401, "{body}");
        }
    }
    let again = text(&sign_in(&two), "access_token");
    assert_eq!(one.request("GET", "/api/v1/auth/sessions", &again).0, 200);
    assert_eq!(one.drain().code(), Some(0));
    assert_eq!(two.drain().code(), Some(0));
}
