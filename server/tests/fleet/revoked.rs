//! Tokens that nodes of a fleet revoke.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::testing::mongod::{fresh_database, shared};

use crate::common::{Server, revoked as full};
use crate::{BINARY, PATIENCE};

/// Looks at what others revoke at its start alone.
const NEVER: &str = "3600000";

/// Nodes that share a database and a key, and sign as one.
struct Nodes {
    directory: tempfile::TempDir,
    database: String,
}

impl Nodes {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), database: fresh_database() }
    }

    fn key(&self) -> String {
        self.directory.path().join("key.pem").to_str().unwrap().to_owned()
    }

    fn data(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, name: &str, poll_ms: &str, more: &[(&str, &str)]) -> Server {
        let key = self.key();
        let settings = [
            ("AVVY_STORE_KIND", "mongodb"),
            ("AVVY_STORE_URI", shared()),
            ("AVVY_STORE_DATABASE", &self.database),
            ("AVVY_STORE_OPERATION_TIMEOUT_MS", "60000"),
            ("AVVY_FLEET_ADDRESS", "http://127.0.0.1:0"),
            ("AVVY_AUTH_KEY_FILE", &key),
            ("AVVY_AUTH_REVOCATION_POLL_MS", poll_ms),
            ("AVVY_SERVER_DEMO_OBJECTS", "0"),
        ];
        Server::start_program(BINARY.as_ref(), &self.data(name), &[&settings, more].concat())
    }

    /// Tokens of so many users.
    fn tokens(&self, count: usize) -> Vec<String> {
        let token = |data: &Path| {
            let mut command = Command::new(BINARY);
            command.arg("token").arg("--data").arg(data).env("AVVY_AUTH_KEY_FILE", self.key());
            let output = command.current_dir(self.directory.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        (0..count).map(|_| token(&self.data("none"))).collect()
    }
}

fn revoke(server: &Server, token: &str) {
    let (status, body) = server.request("POST", "/api/v1/token/revoke", token);
    assert_eq!(status, 200, "{body}");
}

fn counts(server: &Server, token: &str) -> bool {
    match server.request("GET", "/api/v1/brane", token) {
        (200, _) => true,
        (401, body) if body.contains("token_revoked") => false,
        other => panic!("{other:?}"),
    }
}

pub fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come to be so");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Each node revokes one of each pair, both at the same moment.
fn revoke_in_pairs(nodes: [&Server; 2], pairs: &[&[String]]) {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for (side, node) in nodes.into_iter().enumerate() {
            let start = &start;
            scope.spawn(move || {
                for pair in pairs {
                    start.wait();
                    revoke(node, &pair[side]);
                }
            });
        }
    });
}

/// The store alone tells them of each other. What it was told is kept for
/// whoever comes after the death of both.
#[test]
fn what_two_nodes_revoke_at_the_same_moment_counts_nowhere() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.start("one", NEVER, &[]), nodes.start("two", NEVER, &[]));
    let tokens = nodes.tokens(24);
    let pairs: Vec<&[String]> = tokens.chunks(2).collect();
    let (early, late) = pairs.split_at(10);
    assert!(counts(&one, &tokens[1]) && counts(&two, &tokens[0]));
    revoke_in_pairs([&one, &two], early);
    one.kill();
    two.kill();
    let (one, two) = (nodes.start("one", "50", &[]), nodes.start("two", "50", &[]));
    for node in [&one, &two] {
        let good: Vec<_> = early.concat().into_iter().filter(|token| counts(node, token)).collect();
        assert_eq!(good, Vec::<String>::new(), "revoked, and good again");
    }
    // Those that live hear of each other.
    revoke_in_pairs([&one, &two], late);
    for token in late.concat() {
        until(|| !counts(&one, &token) && !counts(&two, &token));
    }
    assert_eq!(one.drain().code(), Some(0));
    assert_eq!(two.drain().code(), Some(0));
}

#[test]
fn whoever_comes_with_many_accounts_keeps_nobody_from_signing_out() {
    let nodes = Nodes::new();
    let options =
        MongoOptions { timeout_ms: 60_000, ..MongoOptions::at(shared(), nodes.database.clone()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = MongoStore::open(&options).await.unwrap();
        full::fill(Arc::new(store)).await;
    });
    let more = [("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true")];
    full::nobody_is_kept_from_signing_out(|| nodes.start("one", "1000", &more));
}

/// Redis, by which nodes hear of each other at once, dies: the store is looked
/// at again after `auth.revocation_poll_ms`, and no later.
#[cfg(feature = "redis")]
#[test]
fn what_is_revoked_while_redis_is_away_is_heard_of_by_the_store() {
    use avvy_persistence::testing::redis_server::RedisServer;

    const POLL: Duration = Duration::from_millis(1_500);
    let mut redis = RedisServer::start();
    let url = redis.url();
    let poll_ms = POLL.as_millis().to_string();
    let nodes = Nodes::new();
    let start = |name: &str| nodes.start(name, &poll_ms, &[("AVVY_REDIS_URL", &url)]);
    let (one, two) = (start("one"), start("two"));
    let tokens = nodes.tokens(2);
    let listens = |node: &Server| node.text("/metrics").contains("\navvy_redis_listening 1\n");
    until(|| listens(&one) && listens(&two));
    redis.kill();
    until(|| !listens(&one) && !listens(&two));
    assert!(counts(&two, &tokens[0]));
    revoke(&one, &tokens[0]);
    let told = Instant::now();
    until(|| !counts(&two, &tokens[0]));
    eprintln!("known to the other node {:?} later; it looks every {POLL:?}", told.elapsed());
    assert!(counts(&one, &tokens[1]) && counts(&two, &tokens[1]), "and no other one");
    // Back, and empty: whoever knows puts it there.
    redis.restart();
    until(|| listens(&one) && listens(&two));
    assert!(!counts(&one, &tokens[0]) && !counts(&two, &tokens[0]));
    assert_eq!(one.drain().code(), Some(0));
    assert_eq!(two.drain().code(), Some(0));
}
