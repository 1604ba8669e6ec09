//! The end of branes on the real server, also when it dies over one.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::lives::{brane, changed, life};
use common::{Server, avvyland};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_was_deleted_stays_so_whatever_dies_and_is_purged_when_it_is_due() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let start = |restorable_s: &str| {
        // The store is looked after when the server has started, and not again.
        let settings = [
            ("AVVY_STORE_COMPACTION_INTERVAL_S", "3600"),
            ("AVVY_BRANE_RESTORABLE_S", restorable_s),
        ];
        Server::start_with(&data, &settings)
    };
    let server = start("3600");
    let brane = brane(&server);
    let objects = |server: &Server| server.get(&format!("/api/v1/brane/{brane}/objects")).0;
    assert_eq!(objects(&server), 200);
    changed(&server, "DELETE", &brane, &Value::Null);
    server.kill();

    let server = start("0");
    assert_eq!((life(&server, &brane), objects(&server)), ("deleted".to_owned(), 404));
    changed(&server, "POST", &format!("{brane}/restore"), &Value::Null);
    assert_eq!((life(&server, &brane), objects(&server)), ("active".to_owned(), 200));
    changed(&server, "DELETE", &brane, &Value::Null);
    server.kill();

    let server = start("3600");
    let began = Instant::now();
    while life(&server, &brane) != "not_found" {
        assert!(began.elapsed() < PATIENCE, "it is not purged");
    }
    let (status, refused) = server.post_own("/api/v1/brane", &json!({"id": brane, "name": "Hall"}));
    assert_eq!((status, &refused["code"]), (409, &json!("exists")), "{refused}");
    assert_eq!(server.drain().code(), Some(0));
    let found = avvyland(&["inspect", "--json"], &data);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let of = |found: &&Value| found["id"] == json!(brane);
    let found = found["branes"].as_array().unwrap().iter().find(of).unwrap();
    assert_eq!((&found["life"], &found["chunks"]), (&json!("purged"), &json!(0)), "{found}");
}
