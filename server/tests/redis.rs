//! Two servers on one Redis, by their settings alone.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/session.rs"]
mod session;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use avvy_persistence::testing::redis_server::RedisServer;
use avvy_protocol::close::CloseCode;
use common::Server;
use session::Session;

/// The binary of these tests: the release is built without Redis.
const BINARY: &str = env!("CARGO_BIN_EXE_avvyland");

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that hears of others by Redis, or not at all.
fn start(data: &Path, redis: &RedisServer) -> Server {
    let url = redis.url();
    let settings = [
        ("AVVY_REDIS_URL", url.as_str()),
        ("AVVY_REDIS_RETRY_MS", "50"),
        ("AVVY_AUTH_REVOCATION_POLL_MS", "3600000"),
        ("AVVY_SERVER_DEMO_OBJECTS", "0"),
    ];
    Server::start_program(BINARY.as_ref(), data, &settings)
}

/// A line of the metrics.
fn metric(server: &Server, name: &str) -> Option<u64> {
    let text = server.text("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.parse().ok()
}

fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come to be so");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A data directory beside this one, whose server signs with the same key.
fn with_the_key_of(here: &Path, name: &str) -> PathBuf {
    let there = here.with_file_name(name);
    std::fs::create_dir(&there).unwrap();
    std::fs::copy(here.join("auth-key.pem"), there.join("auth-key.pem")).unwrap();
    there
}

#[test]
fn a_token_that_is_revoked_on_one_server_counts_on_no_other() {
    let mut redis = RedisServer::start();
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().join("here");
    let a = start(&here, &redis);
    let b = start(&with_the_key_of(&here, "there"), &redis);
    until(|| [&a, &b].iter().all(|server| metric(server, "avvy_redis_listening") == Some(1)));
    let mut session = Session::open(&b, &a.token);
    assert_eq!(session.frame().0, 2, "a welcome");
    let revoke = |token: &str| {
        let mut revoke = Command::new(BINARY);
        revoke.args(["revoke", "--token", token, "--data"]).arg(&here);
        let output = revoke.current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    revoke(&a.token);
    assert_eq!(session.closed(), CloseCode::TokenRevoked.number());
    assert_eq!(a.get("/api/v1/brane").0, 401);
    assert_eq!(Session::open(&b, &a.token).closed(), CloseCode::TokenRevoked.number());
    assert_eq!(b.get("/api/v1/brane").0, 200, "its own token counts");
    // A Redis that has forgotten is told again, by those who know.
    redis.restart();
    until(|| metric(&b, "avvy_redis_connects_total") == Some(2));
    assert_eq!(b.drain().code(), Some(0));
    let b = start(&with_the_key_of(&here, "third"), &redis);
    until(|| metric(&b, "avvy_revocations") == Some(1));
    assert_eq!(Session::open(&b, &a.token).closed(), CloseCode::TokenRevoked.number());
    assert_eq!(a.drain().code(), Some(0));
    assert_eq!(b.drain().code(), Some(0));
}

#[test]
fn without_redis_a_server_starts_and_serves_and_says_so() {
    let mut redis = RedisServer::start();
    redis.kill();
    let directory = tempfile::tempdir().unwrap();
    let server = start(&directory.path().join("data"), &redis);
    assert_eq!(server.get("/api/v1/brane").0, 200);
    assert_eq!(metric(&server, "avvy_redis_listening"), Some(0));
    assert_eq!(server.get("/healthz").0, 200);
    redis.restart();
    until(|| metric(&server, "avvy_redis_listening") == Some(1));
    assert_eq!(server.drain().code(), Some(0));
}
