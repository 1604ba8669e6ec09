//! What becomes of branes, and what takes more than one, where two nodes serve
//! them.

use std::time::Instant;

use avvy_persistence::testing::faketime::wall_clock_off_by;
use avvy_persistence::testing::mongod::{fresh_database, journaled, shared};
use serde_json::{Value, json};
use uuid::Uuid;

use super::common::Server;
use super::common::copies::{copy, expect_whole, large_brane, numbers, try_copy};
use super::common::lives::{brane, change, changed, life, life_for};
use super::{PATIENCE, Pair, node_with};

/// Waits until it holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

/// Its first page of objects; whoever is asked first serves the brane.
fn objects(node: &Server, brane: &str) -> (u16, Value) {
    node.get(&format!("/api/v1/brane/{brane}/objects"))
}

/// What one node copied is free for whoever is asked for it.
#[test]
fn a_copy_is_served_by_the_node_that_is_asked() {
    let pair = Pair::start(1);
    let (brane, id) = (large_brane(&pair.one), Uuid::new_v4().to_string());
    assert_eq!(copy(&pair.one, &brane, &id).0, 201);
    expect_whole(&pair.two, &id);
    assert_eq!(numbers(&pair.one, &brane), numbers(&pair.two, &id));
    assert_eq!(objects(&pair.one, &id).0, 421);
}

#[test]
fn a_portal_to_a_brane_elsewhere_names_the_node() {
    let pair = Pair::start(1);
    let [here, there] = [&pair.one, &pair.two].map(|node| {
        let (status, brane) = node.post_own("/api/v1/brane", &json!({"name": "Hall"}));
        assert_eq!(status, 201, "{brane}");
        let brane = brane["id"].as_str().unwrap().to_owned();
        assert_eq!(objects(node, &brane).0, 200);
        brane
    });
    let path = format!("/api/v1/brane/{here}/portals");
    let (status, made) = pair.one.post_own(&path, &json!({"to": {"brane": there}}));
    assert_eq!(status, 201, "{made}");
    let portal = made["id"].as_str().unwrap();
    let (status, way) = pair.one.get(&format!("{path}/{portal}"));
    let told = json!({"state": "elsewhere", "brane": there, "node": pair.two.url});
    assert_eq!((status, way), (200, told));

    // Its exit cannot be made from here, and then there is no portal either.
    let asked = json!({"to": {"brane": there}, "two_way": true});
    let (status, refused) = pair.one.post_own(&path, &asked);
    assert_eq!((status, &refused["code"]), (503, &json!("unavailable")), "{refused}");
    let (_, listed) = pair.one.get(&path);
    assert_eq!(listed["portals"].as_array().unwrap().len(), 1);
}

/// Whether a private brane is there is told to those who have a role in it alone,
/// also where the portal named another one that it has succeeded.
#[test]
fn a_portal_to_a_private_brane_elsewhere_is_closed_to_strangers() {
    let directory = tempfile::tempdir().unwrap();
    let database = fresh_database();
    let settings = [("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true")];
    let start = |name| node_with(directory.path(), name, &database, 1, &settings);
    let (one, two) = (start("one"), start("two"));
    let (hall, old) = (brane(&one), brane(&one));
    let (status, made) = two.post_own("/api/v1/brane", &json!({"name": "Study"}));
    assert_eq!(status, 201, "{made}");
    let study = made["id"].as_str().unwrap();
    assert_eq!(objects(&two, study).0, 200);
    changed(&one, "POST", &format!("{old}/archive"), &json!({"successor": study}));
    let path = format!("/api/v1/brane/{hall}/portals");
    let (status, made) = one.post_own(&path, &json!({"to": {"brane": old}}));
    assert_eq!(status, 201, "{made}");
    let portal = format!("{path}/{}", made["id"].as_str().unwrap());

    let (status, bob) = one.post("/api/v1/auth/dev", &json!({"name": "bob"}));
    assert_eq!(status, 200, "{bob}");
    let way = || -> Value {
        let (_, body) = one.request("GET", &portal, bob["access_token"].as_str().unwrap());
        serde_json::from_str(&body).unwrap()
    };
    assert_eq!(way(), json!({"state": "closed", "brane": old}));
    let elsewhere = json!({"state": "elsewhere", "brane": study, "node": two.url});
    assert_eq!(one.get(&portal), (200, elsewhere.clone()));
    let appoint = json!({"n": 1, "op": "appoint", "user": bob["user"], "role": "visitor"});
    let edits = json!({"client": Uuid::new_v4().to_string(), "edits": [appoint]});
    let (status, ruled) = two.post_own(&format!("/api/v1/brane/{study}/edits"), &edits);
    assert!(status == 200 && ruled["outcomes"][0]["seq"].is_u64(), "{ruled}");
    until("it is told where that is", || way() == elsewhere);
}

/// Whoever changes a brane, all nodes know it a moment later.
#[test]
fn what_one_node_changes_counts_at_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let database = fresh_database();
    let settings = [("AVVY_CACHE_TTL_MS", "500"), ("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true")];
    let start = |name| node_with(directory.path(), name, &database, 1, &settings);
    let (one, two) = (start("one"), start("two"));
    let (status, signed_in) = one.post("/api/v1/auth/dev", &json!({"name": "ada"}));
    assert_eq!(status, 200, "{signed_in}");
    let ada = signed_in["access_token"].as_str().unwrap();
    let brane = brane(&one);
    let seen = |node: &Server, life: &str| until(life, || life_for(node, &brane, ada) == life);
    seen(&two, "active");
    changed(&one, "PATCH", &brane, &json!({"name": "Cellar", "visibility": "private"}));
    assert_eq!(life_for(&one, &brane, ada), "not_found");
    // Whether Ada has a role there the node knows that has it open.
    seen(&two, "moved");
    until("it has its name", || two.get(&format!("/api/v1/brane/{brane}")).1["name"] == "Cellar");
    let (status, refused) = change(&two, "PATCH", &brane, &json!({"name": "Attic"}));
    assert_eq!((status, &refused["code"]), (421, &json!("moved")), "{refused}");

    changed(&one, "POST", &format!("{brane}/archive"), &Value::Null);
    seen(&two, "not_found");
    until("its owner knows", || life(&two, &brane) == "archived");
    // It is nobody's by then, or soon.
    let restore = format!("{brane}/restore");
    until("it is restored", || change(&two, "POST", &restore, &Value::Null).0 == 200);
    changed(&two, "PATCH", &brane, &json!({"visibility": "public"}));
    seen(&one, "active");
    let (status, refused) = change(&one, "DELETE", &brane, &Value::Null);
    assert_eq!((status, &refused["code"]), (421, &json!("moved")), "{refused}");
    changed(&two, "DELETE", &brane, &Value::Null);
    seen(&one, "not_found");
    until("its owner knows", || life(&one, &brane) == "deleted");
}

/// What a node leaves of a copy over which it died, another one clears away.
#[test]
fn half_a_copy_is_purged_by_the_other_node() {
    let directory = tempfile::tempdir().unwrap();
    let database = fresh_database();
    // So slow that there is a middle.
    let slow = [("AVVY_BRANE_SNAPSHOT_SHARE_PERCENT", "1")];
    let mut one = node_with(directory.path(), "one", &database, 1, &slow);
    let (brane, id) = (large_brane(&one), Uuid::new_v4().to_string());
    let written = || journaled(shared(), &database, &id);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| try_copy(&one, &brane, &id));
        until("something is written", || written() > 1);
        one.signal("-KILL");
        assert_eq!(asked.join().unwrap(), None, "it was answered");
    });
    one.wait();
    // It is due an hour after it would have been given up.
    let clock = wall_clock_off_by(2 * 3_600);
    let clock = clock.iter().map(|(name, value)| (*name, value.as_str()));
    let upkeep = [("AVVY_STORE_COMPACTION_INTERVAL_S", "1")];
    let more: Vec<_> = upkeep.into_iter().chain(clock).collect();
    let later = node_with(directory.path(), "later", &database, 1, &more);
    until("nothing is left of it", || written() == 0);
    assert_eq!(life(&later, &id), "not_found");
    let (status, refused) = copy(&later, &brane, &id);
    assert_eq!((status, &refused["code"]), (409, &json!("exists")), "{refused}");
    let whole = Uuid::new_v4().to_string();
    assert_eq!(copy(&later, &brane, &whole).0, 201);
    expect_whole(&later, &whole);
    assert_eq!(later.drain().code(), Some(0));
}
