//! Two servers on one Redis, by their settings alone.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/session.rs"]
mod session;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use avvy_client::net::{Client, ClientOptions};
use avvy_persistence::testing::proxy::{Proxy, Way};
use avvy_persistence::testing::redis_server::RedisServer;
use avvy_protocol::close::CloseCode;
use common::Server;
use common::lives::{brane, changed};
use serde_json::json;
use session::Session;

/// The binary of these tests: the release is built without Redis.
const BINARY: &str = env!("CARGO_BIN_EXE_avvyland");

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that hears of others by Redis, or not at all.
fn start(data: &Path, redis: &RedisServer) -> Server {
    start_with(data, &redis.url(), &[])
}

/// The same with these settings, too.
fn start_with(data: &Path, url: &str, more: &[(&str, &str)]) -> Server {
    let settings = [
        ("AVVY_REDIS_URL", url),
        ("AVVY_REDIS_RETRY_MS", "50"),
        ("AVVY_AUTH_REVOCATION_POLL_MS", "3600000"),
        ("AVVY_SERVER_DEMO_OBJECTS", "0"),
    ];
    Server::start_program(BINARY.as_ref(), data, &[&settings, more].concat())
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

/// How long a call to Redis is waited for.
const TIMEOUT: Duration = Duration::from_millis(300);
/// What anything may take that makes a few such calls: a busy machine is no
/// reason to fail, and who waits for Redis waits until the test ends.
const AT_ONCE: Duration = Duration::from_secs(6);
/// How often a brane is read while Redis hangs.
const READS: u64 = 40;
/// What all of them may take.
const READS_MOST: Duration = Duration::from_secs(30);

fn at_once<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = act();
    let took = began.elapsed();
    assert!(took < AT_ONCE, "{what} took {took:?}");
    outcome
}

fn join(server: &Server, brane: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connecting = Client::connect(&server.url, &server.token, ClientOptions::default());
        let client = tokio::time::timeout(PATIENCE, connecting).await.unwrap().unwrap();
        let joining = client.join(brane.parse().unwrap());
        tokio::time::timeout(PATIENCE, joining).await.unwrap().unwrap();
    });
}

/// Connections stay and nothing is answered, or late, or later than is waited for.
#[test]
fn a_redis_that_hangs_holds_nobody_up_and_the_server_says_so() {
    let redis = RedisServer::start();
    let way = Proxy::start(SocketAddr::from(([127, 0, 0, 1], redis.port())));
    let (url, timeout_ms) = (format!("redis://{}/", way.address()), TIMEOUT.as_millis());
    let timeout_ms = timeout_ms.to_string();
    // The process keeps nothing: each time that a brane is needed, Redis is asked.
    let more = [("AVVY_REDIS_TIMEOUT_MS", &*timeout_ms), ("AVVY_CACHE_MAX_ENTRIES", "0")];
    let directory = tempfile::tempdir().unwrap();
    let server = start_with(&directory.path().join("data"), &url, &more);
    let brane = brane(&server);
    let read = || assert_eq!(server.get(&format!("/api/v1/brane/{brane}")).0, 200);
    let says = |up, listening| {
        let told = |name| metric(&server, name) == Some(1);
        (told("avvy_redis_up"), told("avvy_redis_listening")) == (up, listening)
    };
    let is_well = || {
        // By a call it is found out.
        read();
        says(true, true)
    };
    for hangs in [Way::Swallowing, Way::Held, Way::delayed(2 * TIMEOUT)] {
        until(is_well);
        let [failed, bypassed] = ["avvy_redis_failures_total", "avvy_redis_bypassed_total"];
        let before = [failed, bypassed].map(|name| metric(&server, name));
        way.set(hangs);
        let began = Instant::now();
        (0..READS).for_each(|_| at_once("a read", read));
        let took = began.elapsed();
        assert!(took < READS_MOST, "{hangs:?}: {took:?} for all reads");
        let waited = metric(&server, failed).zip(before[0]).map(|(now, before)| now - before);
        let are_few = waited.is_some_and(|waited| waited < READS / 2);
        assert!(are_few, "{hangs:?}: {waited:?} have waited");
        at_once("a join", || join(&server, &brane));
        let name = json!({"name": format!("{hangs:?}")});
        at_once("a change", || changed(&server, "PATCH", &brane, &name));
        let (_, shown) = at_once("a read", || server.get(&format!("/api/v1/brane/{brane}")));
        assert_eq!(shown["name"], name["name"], "its own change");
        until(|| says(false, false));
        let after = [failed, bypassed].map(|name| metric(&server, name));
        assert!(after[0] > before[0] && after[1] > before[1], "{before:?}, {after:?}");
        // Nobody needs it.
        assert_eq!((server.get("/readyz").0, server.get("/healthz").0), (200, 200));
        way.set(Way::CLEAR);
    }
    until(is_well);
    way.set(Way::Swallowing);
    assert_eq!(server.drain().code(), Some(0));
}
