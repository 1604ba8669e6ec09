//! Tokens of a running server: who signs them, and who ends them.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use avvy_auth::{KeyRing, Keys, MIN_PERIOD_S, PUBLISH_LEAD_S};
use avvy_persistence::Store;
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use base64ct::{Base64UrlUnpadded, Encoding};
use common::{Server, revoked};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Time for a server to start before the next key signs, in seconds.
const AHEAD_S: u64 = 10;

fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Writes keys of which the next one is published and signs from then on, and
/// gives their names.
fn write_keys(file: &Path, turn_s: u64) -> [String; 2] {
    let mut ring = KeyRing::new(Keys::generate([1; 32]), turn_s - MIN_PERIOD_S);
    assert!(ring.advance(turn_s - PUBLISH_LEAD_S, MIN_PERIOD_S, [2; 32]), "the next is published");
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).unwrap();
    file.write_all(ring.to_text().as_bytes()).unwrap();
    let names: Vec<String> = ring.public_keys().iter().map(|key| key.kid().to_owned()).collect();
    names.try_into().unwrap()
}

fn start(data: &Path, keys: &Path) -> Server {
    let settings = [
        ("AVVY_AUTH_KEY_FILE", keys.to_str().unwrap()),
        ("AVVY_AUTH_KEY_ROTATION_DAYS", "7"),
        ("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true"),
        ("AVVY_SERVER_DEMO_OBJECTS", "0"),
    ];
    Server::start_with(data, &settings)
}

fn sign_in(server: &Server) -> Value {
    let (status, tokens) = server.post("/api/v1/auth/dev", &json!({"name": "ada"}));
    assert_eq!(status, 200, "{tokens}");
    tokens
}

fn text(tokens: &Value, key: &str) -> String {
    tokens[key].as_str().unwrap_or_else(|| panic!("{key} in {tokens}")).to_owned()
}

/// Which key has signed an access token.
fn signed_by(tokens: &Value) -> String {
    let access = text(tokens, "access_token");
    let head = Base64UrlUnpadded::decode_vec(access.split('.').next().unwrap()).unwrap();
    text(&serde_json::from_slice(&head).unwrap(), "kid")
}

fn counts(server: &Server, tokens: &Value) -> bool {
    server.request("GET", "/api/v1/auth/sessions", &text(tokens, "access_token")).0 == 200
}

/// What the server publishes for others who judge its tokens.
fn published(server: &Server) -> Vec<String> {
    let (status, found) = server.get("/.well-known/jwks.json");
    assert_eq!(status, 200, "{found}");
    found["keys"].as_array().unwrap().iter().map(|key| text(key, "kid")).collect()
}

#[test]
fn the_next_key_signs_in_a_running_server_and_the_former_one_still_counts() {
    let directory = tempfile::tempdir().unwrap();
    let (data, keys) = (directory.path().join("data"), directory.path().join("key.pem"));
    let [old, new] = write_keys(&keys, unix_s() + AHEAD_S);
    let server = start(&data, &keys);
    let before = sign_in(&server);
    assert_eq!(signed_by(&before), old, "the server took more than {AHEAD_S} s to start");
    assert_eq!(published(&server), [&*old, &*new], "the next one is known before it signs");

    let deadline = Instant::now() + PATIENCE;
    while published(&server)[0] != new {
        assert!(Instant::now() < deadline, "the next key does not sign");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let after = sign_in(&server);
    assert_eq!(signed_by(&after), new);
    assert_eq!(published(&server), [&*new, &*old], "both are published");
    assert!(counts(&server, &before) && counts(&server, &after));
    let refresh = json!({"refresh_token": text(&before, "refresh_token")});
    let (status, next) = server.post("/api/v1/auth/refresh", &refresh);
    assert_eq!((status, signed_by(&next)), (200, new.clone()), "{next}");

    assert_eq!(server.drain().code(), Some(0));
    let server = start(&data, &keys);
    assert_eq!(published(&server), [&*new, &*old]);
    assert!(counts(&server, &before) && counts(&server, &after), "also after a restart");
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn whoever_comes_with_many_accounts_keeps_nobody_from_signing_out() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(SqliteStore::open(&SqliteOptions::at(&data)).unwrap());
        revoked::fill(Arc::<SqliteStore>::clone(&store)).await;
        store.close().await.unwrap();
    });
    let settings = [("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true"), ("AVVY_SERVER_DEMO_OBJECTS", "0")];
    revoked::nobody_is_kept_from_signing_out(|| Server::start_with(&data, &settings));
}
