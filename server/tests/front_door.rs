//! What a newcomer does: serve, demo, look, stop, inspect.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Server, avvyland, binary};
use serde_json::Value;

#[test]
fn serves_demonstrates_drains_and_is_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data);

    let (status, health) = server.get("/healthz");
    assert_eq!((status, health["status"].as_str()), (200, Some("ok")), "{health}");
    let (status, page) =
        server.get(&format!("/api/v1/brane/{}/objects?limit=5", server.demo_brane));
    assert_eq!((status, page["objects"].as_array().unwrap().len()), (200, 5), "{page}");

    let demo = avvyland(
        &["demo", "--users", "40", "--edits-per-second", "5", "--seconds", "3", "--json"],
        &data,
    );
    let summary: Value = serde_json::from_slice(&demo.stdout).unwrap();
    assert!(demo.status.success(), "{summary}");
    assert_eq!(summary["lost"], 0);
    assert_eq!(summary["edits"], summary["durable"]);
    assert!(summary["deliveries"].as_u64().unwrap() > 40 * 40, "{summary}");
    for key in ["users", "p50_ms", "p99_ms", "resyncs"] {
        assert!(summary[key].is_number(), "{key} in {summary}");
    }

    assert_eq!(server.drain().code(), Some(0));
    assert!(!data.join("running.json").exists());
    let inspected = avvyland(&["inspect", "--json"], &data);
    assert!(inspected.status.success());
    let found: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let branes = found["branes"].as_array().unwrap();
    let town = branes.iter().find(|brane| brane["name"] == "Demo town").unwrap();
    // A drained brane opens from its snapshot alone.
    assert_eq!(town["snapshots"][0], town["head"]);
    assert!(town["objects"].as_u64().unwrap() > 300);
}

/// What the server says to try next works as it stands there.
#[test]
fn the_hints_can_be_pasted() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("my data");
    let server = Server::start(&data);
    let paste = |line: &str| {
        let output =
            Command::new("sh").args(["-c", line]).current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let greeting = &server.greeting;
    let demo = greeting.lines().find(|line| line.contains(" demo ")).unwrap();
    let demo = demo.replace("--users 200", "--users 2 --seconds 1 --json");
    let summary: Value = serde_json::from_str(&paste(&demo)).unwrap();
    assert_eq!(summary["lost"], 0, "{summary}");
    let (_, token) = greeting.split_once("Bearer $(").unwrap();
    let token = paste(token.split_once(')').unwrap().0);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    let objects = format!(" '{}/api/v1/brane/{}/objects?limit=3' ", server.url, server.demo_brane);
    assert!(greeting.contains(&objects), "{greeting}");
    assert_eq!(server.drain().code(), Some(0));
}

/// Somebody elsewhere has an address and a token, and nothing else.
#[test]
fn the_demo_finds_a_public_brane_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("data"));
    let elsewhere = directory.path().join("elsewhere");
    for url in [server.url.clone(), format!("ws://{}/ws", server.address())] {
        let line = ["demo", "--users", "2", "--seconds", "1", "--json", "--url", &url];
        let demo = avvyland(&[&line[..], &["--token", &server.token]].concat(), &elsewhere);
        let summary: Value = serde_json::from_slice(&demo.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&demo.stderr)));
        assert!(demo.status.success(), "{summary}");
    }
    let wrong = avvyland(&["demo", "--url", &server.url, "--token", "a.b.c"], &elsewhere);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("token_invalid"), "{wrong:?}");
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn secrets_are_for_their_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    for (file, mode) in [("", 0o700), ("auth-key.pem", 0o600), ("running.json", 0o600)] {
        let found = std::fs::metadata(data.join(file)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{file}");
    }
    let token = avvyland(&["token", "--role", "visitor"], &data);
    assert!(token.status.success());
    assert_eq!(String::from_utf8(token.stdout).unwrap().trim().split('.').count(), 3);
    drop(server);
    std::fs::set_permissions(data.join("auth-key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let refused = avvyland(&["serve", "--bind", "127.0.0.1:0"], &data);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("may be read by others"));
    assert!(!refused.status.success());
}

#[test]
fn one_process_has_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let second = avvyland(&["serve", "--bind", "127.0.0.1:0"], &data);
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use"), "{second:?}");
    assert_eq!(server.get("/livez").0, 200);
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn a_start_waits_for_a_process_that_is_ending() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let first = Server::start(&data);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| Server::start(&data));
        first.kill();
        assert_eq!(second.join().unwrap().drain().code(), Some(0));
    });
}

#[test]
fn wrong_settings_are_refused_with_line_and_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, "[server]\nbind = \"127.0.0.1:0\"\nspeed = 9\n").unwrap();
    let refused = Command::new(binary()).args(["serve", "--config"]).arg(&file).output().unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(text.contains("speed") && text.contains(":3"), "{text}");
}

#[test]
fn a_brane_is_the_same_after_every_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut seen = None;
    for round in 0..3 {
        let server = Server::start(&data);
        let path = format!("/api/v1/brane/{}/objects?limit=1000", server.demo_brane);
        let (status, page) = server.get(&path);
        assert_eq!(status, 200);
        let objects = page["objects"].clone();
        assert_eq!(*seen.get_or_insert_with(|| objects.clone()), objects);
        if round == 1 { server.kill() } else { assert_eq!(server.drain().code(), Some(0)) }
    }
}
