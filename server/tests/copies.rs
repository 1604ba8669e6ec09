//! Copies of branes by the real server, also when it dies over one.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::Server;
use common::copies::{copy, expect_whole, large_brane, numbers, try_copy};
use uuid::Uuid;

/// Bytes of a directory.
fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map_while(Result::ok);
    entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

#[test]
fn a_copy_is_whole_and_stays_so() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let (brane, id) = (large_brane(&server), Uuid::new_v4().to_string());
    assert_eq!(copy(&server, &brane, &id).0, 201);
    expect_whole(&server, &id);
    server.kill();
    let server = Server::start(&data);
    expect_whole(&server, &id);
    assert_eq!(server.drain().code(), Some(0));
}

/// A copy that was cut off is not there, and is in nobody's way.
#[test]
fn half_a_copy_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    // So slow that there is a middle.
    let slow = [("AVVY_BRANE_SNAPSHOT_SHARE_PERCENT", "1")];
    let server = Server::start_with(&data, &slow);
    let (brane, id) = (large_brane(&server), Uuid::new_v4().to_string());
    let before = size(&data);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| try_copy(&server, &brane, &id));
        let began = Instant::now();
        while size(&data) < before + (2 << 20) {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is written");
        }
        server.signal("-KILL");
        assert_eq!(asked.join().unwrap(), None, "it was answered");
    });
    drop(server);
    let server = Server::start(&data);
    assert_eq!(server.get(&format!("/api/v1/brane/{id}/objects")).0, 404);
    let whole = Uuid::new_v4().to_string();
    assert_eq!(copy(&server, &brane, &id).0, 409);
    assert_eq!(copy(&server, &brane, &whole).0, 201);
    expect_whole(&server, &whole);
    assert_eq!(numbers(&server, &brane), numbers(&server, &whole));
    assert_eq!(server.drain().code(), Some(0));
}
