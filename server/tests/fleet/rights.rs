//! Rights that are given and taken away at one node and count at the other.

use std::time::{Duration, Instant};

use avvy_persistence::testing::mongod::fresh_database;
use avvy_persistence::testing::redis_server::RedisServer;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::Server;
use crate::node_with;
use crate::revoked::until;

/// What somebody's edit of a brane is answered with.
fn edit(node: &Server, brane: &str, token: &str, mut edit: Value) -> (u16, Value) {
    edit["n"] = json!(1);
    let asked = json!({"client": Uuid::new_v4().to_string(), "edits": [edit]});
    node.post_as(&format!("/api/v1/brane/{brane}/edits"), &asked, token)
}

fn create(node: &Server, brane: &str, token: &str) -> (u16, Value) {
    let id = Uuid::new_v4().to_string();
    edit(node, brane, token, json!({"op": "create", "id": id, "parent": 0, "kind": "block"}))
}

fn appoint(node: &Server, brane: &str, user: &Value, role: Option<&str>) {
    let ruling = json!({"op": "appoint", "user": user, "role": role});
    let (status, answer) = edit(node, brane, &node.token, ruling);
    assert_eq!((status, &answer["outcomes"][0]["code"]), (200, &Value::Null), "{answer}");
}

/// Whether a node shows somebody the brane among theirs.
fn is_listed(node: &Server, brane: &str, token: &str) -> bool {
    let (status, page) = node.request("GET", "/api/v1/brane", token);
    assert_eq!(status, 200, "{page}");
    page.contains(brane)
}

#[test]
fn a_right_taken_away_at_one_node_is_gone_at_the_other_within_a_second() {
    let (redis, directory, database) =
        (RedisServer::start(), tempfile::tempdir().unwrap(), fresh_database());
    let url = redis.url();
    let settings = [("AVVY_REDIS_URL", &*url), ("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true")];
    let start = |name| node_with(directory.path(), name, &database, 0, &settings);
    let (one, two) = (start("one"), start("two"));
    let (status, bob) = two.post("/api/v1/auth/dev", &json!({"name": "bob"}));
    assert_eq!(status, 200, "{bob}");
    let token = bob["access_token"].as_str().unwrap();
    let hall = json!({"name": "Hall", "visibility": "private"});
    let (status, hall) = one.post_own("/api/v1/brane", &hall);
    assert_eq!(status, 201, "{hall}");
    let hall = hall["id"].as_str().unwrap();
    assert!(!is_listed(&two, hall, token));

    // What is given at one node counts at both.
    appoint(&one, hall, &bob["user"], Some("builder"));
    until(|| is_listed(&two, hall, token));
    let (status, moved) = create(&two, hall, token);
    assert_eq!((status, &moved["code"]), (421, &json!("moved")), "{moved}");
    let (status, made) = create(&one, hall, token);
    assert_eq!((status, &made["outcomes"][0]["code"]), (200, &Value::Null), "{made}");

    // So does what is taken away: at the node that decides, at once.
    appoint(&one, hall, &bob["user"], None);
    let taken = Instant::now();
    assert_eq!(create(&one, hall, token).0, 404);
    until(|| !is_listed(&two, hall, token));
    let later = taken.elapsed();
    assert!(later <= Duration::from_secs(1), "gone at the other node {later:?} later");

    // And at the next node that decides.
    assert!(one.drain().success());
    until(|| create(&two, hall, &two.token).0 == 200);
    assert_eq!(create(&two, hall, token).0, 404);
}
