//! What a newcomer does: serve, demo, look, stop, inspect.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

    let line = ["demo", "--users", "8", "--walkers", "3", "--seconds", "2", "--json"];
    let walked = avvyland(&line, &data);
    let summary: Value = serde_json::from_slice(&walked.stdout).unwrap();
    assert!(walked.status.success(), "{summary}");
    assert_eq!(
        (&summary["walks"]["walkers"], &summary["walks"]["differing"]),
        (&3.into(), &0.into())
    );

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
    let watch = greeting.lines().find(|line| line.contains(" watch")).unwrap();
    let seen = paste(&format!("{watch} --events 1"));
    assert!(serde_json::from_str::<Value>(&seen).unwrap()["event"].is_string(), "{seen}");
    let (_, token) = greeting.split_once("Bearer $(").unwrap();
    let token = paste(token.split_once(')').unwrap().0);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    let objects = format!(" '{}/api/v1/brane/{}/objects?limit=3' ", server.url, server.demo_brane);
    assert!(greeting.contains(&objects), "{greeting}");
    assert_eq!(server.drain().code(), Some(0));
}

/// The terminal that it was started in is closed.
#[test]
fn a_hangup_drains_unless_it_is_to_be_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(&directory.path().join("data"));
    server.signal("-HUP");
    assert_eq!(server.wait().code(), Some(0));

    let server = Server::start_without_hangups(&directory.path().join("other"));
    server.signal("-HUP");
    assert_eq!(server.get("/livez").0, 200);
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

/// The address that was given is of a node that is gone.
#[test]
fn the_demo_goes_on_to_another_address() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("data"));
    let elsewhere = directory.path().join("elsewhere");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!("http://{gone}");
    let line = ["demo", "--users", "3", "--seconds", "1", "--json", "--token", &server.token];
    let also = ["--url", &gone, "--also", &gone, "--also", &server.url];
    let demo = avvyland(&[line.as_slice(), &also].concat(), &elsewhere);
    let summary: Value = serde_json::from_slice(&demo.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&demo.stderr)));
    assert!(demo.status.success() && summary["lost"] == 0, "{summary}");
    let alone = [line.as_slice(), &also[..2]].concat();
    let alone = avvyland(&alone, &elsewhere);
    assert!(String::from_utf8_lossy(&alone.stderr).contains("no brane was found"), "{alone:?}");
    assert_eq!(server.drain().code(), Some(0));
}

/// A directory whose server has ended, how it is said; with a few hundred objects.
fn data_of_a_server_that(ended: impl FnOnce(Server), directory: &Path) -> PathBuf {
    let data = directory.join("data");
    ended(Server::start(&data));
    data
}

/// Turns a bit of each of these texts wherever the database holds it.
fn spoil(data: &Path, texts: &[&str]) {
    let file = data.join("avvyland.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    let starts = |at: &usize| texts.iter().any(|text| bytes[*at..].starts_with(text.as_bytes()));
    let places: Vec<usize> = (0..bytes.len()).filter(starts).collect();
    assert!(!places.is_empty(), "{texts:?} is not there");
    places.into_iter().for_each(|at| bytes[at] ^= 1);
    std::fs::write(&file, bytes).unwrap();
}

/// What `inspect` finds, in both forms; whether it ends with 0.
fn inspect(data: &Path) -> (bool, Value, String) {
    let text = avvyland(&["inspect"], data);
    let json = avvyland(&["inspect", "--json"], data);
    assert_eq!(text.status.code(), json.status.code());
    let found: Value = serde_json::from_slice(&json.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&json.stderr)));
    assert_eq!(found["in_order"], text.status.success(), "{found}");
    (text.status.success(), found, String::from_utf8(text.stdout).unwrap())
}

fn town(found: &Value) -> &Value {
    let branes = found["branes"].as_array().unwrap();
    branes.iter().find(|brane| brane["name"] == "Demo town").unwrap()
}

fn drained(server: Server) {
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn damage_is_told_with_its_place_and_what_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let data = data_of_a_server_that(drained, directory.path());
    let (is_well, before, text) = inspect(&data);
    assert!(is_well && text.ends_with("\nEverything is in order.\n"), "{text}");
    spoil(&data, &["Plot 1", "Plot 2", "Plot 3"]);
    let (is_well, found, text) = inspect(&data);
    assert!(!is_well && text.ends_with("\nNot in order.\n"), "{text}");
    let damages = town(&found)["damages"].as_array().unwrap();
    assert!(damages.iter().any(|damage| damage.as_str().unwrap().contains("chunk (")), "{found}");
    // It opens all the same: its snapshot is whole.
    assert_eq!(town(&found)["state_hash"], town(&before)["state_hash"]);
}

#[test]
fn a_damaged_record_hides_no_other_brane() {
    let directory = tempfile::tempdir().unwrap();
    let data = data_of_a_server_that(drained, directory.path());
    spoil(&data, &["Demo town"]);
    let (is_well, found, text) = inspect(&data);
    assert!(!is_well && text.contains("DAMAGED"), "{text}");
    let names: Vec<&Value> =
        found["branes"].as_array().unwrap().iter().map(|brane| &brane["name"]).collect();
    assert_eq!(names, ["health probe"], "{found}");
}

#[test]
fn a_torn_end_is_told_and_stays_on_record_when_it_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    // Killed, so that no snapshot holds the end; started once more, so that
    // the database holds the log.
    let data = data_of_a_server_that(Server::kill, directory.path());
    Server::start(&data).kill();
    let plots: Vec<String> = (21..=30).map(|plot| format!("Plot {plot}")).collect();
    spoil(&data, &plots.iter().map(String::as_str).collect::<Vec<_>>());
    let (is_well, found, text) = inspect(&data);
    assert!(!is_well && text.contains("TORN edits after 200 to 300"), "{text}");
    assert!(town(&found)["state_hash"].is_string(), "{found}");

    let server = Server::start(&data);
    let path = format!("/api/v1/brane/{}/objects?limit=1000", server.demo_brane);
    let (status, page) = server.get(&path);
    assert_eq!((status, page["objects"].as_array().unwrap().len()), (200, 201));
    assert_eq!(server.drain().code(), Some(0));
    let (is_well, found, text) = inspect(&data);
    assert!(is_well && text.contains("CUT edits after 200 to 300"), "{text}");
    assert!(!text.contains("Everything is in order"), "{text}");
    assert_eq!(town(&found)["torn"], Value::Null);
}

#[test]
fn what_is_no_data_directory_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let refused = avvyland(&["inspect"], directory.path());
    assert!(!refused.status.success());
    let reason = String::from_utf8(refused.stderr).unwrap();
    assert!(reason.contains("there is no avvyland.sqlite in"), "{reason}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_is_in_use_or_of_another_version_is_said_and_left() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let refused = |what: &str| {
        let refused = avvyland(&["inspect"], &data);
        let reason = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && reason.contains(what), "{reason}");
    };
    refused("is in use by another process");
    assert_eq!(server.drain().code(), Some(0));
    // The version is in the file's header, four bytes from 60 on.
    let file = data.join("avvyland.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[60..64].copy_from_slice(&1_u32.to_be_bytes());
    std::fs::write(&file, &bytes).unwrap();
    refused("the stored schema is version 1, this program's is ");
    refused("a start of the server migrates it");
    assert!(std::fs::read(&file).unwrap() == bytes);
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
fn a_server_whose_output_nobody_reads_serves_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    // At this level every request is logged.
    let server = Server::start_unheard(&data, &[("AVVY_LOG_LEVEL", "trace")]);
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    drained(Server::start(&data));
    for command in ["inspect", "token"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(binary())
            .args([command, "--data"])
            .arg(&data)
            .stdout(writer)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {told}");
        assert!(told.starts_with("avvyland: standard output"), "{command}: {told}");
    }
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

#[test]
fn a_token_that_is_revoked_stays_so_when_everything_is_moved() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let status = |server: &Server| server.get("/api/v1/brane").0;
    let mut server = Server::start(&first);
    let revoked = avvyland(&["token", "--role", "visitor"], &first);
    let revoked = String::from_utf8(revoked.stdout).unwrap().trim().to_owned();
    server.token.clone_from(&revoked);
    assert_eq!(status(&server), 200);
    assert!(avvyland(&["revoke", "--token", &revoked], &first).status.success());
    assert_eq!(status(&server), 401);
    assert_eq!(server.drain().code(), Some(0));
    let mut migrate = Command::new(binary());
    migrate.arg("migrate").arg("--from").arg(&first).arg("--to").arg(&second);
    assert!(migrate.current_dir(directory.path()).status().unwrap().success());
    std::fs::copy(first.join("auth-key.pem"), second.join("auth-key.pem")).unwrap();
    let mut server = Server::start(&second);
    assert_eq!(status(&server), 200, "others are as good as before");
    server.token = revoked;
    assert_eq!(status(&server), 401);
}

/// The ids of the published keys.
fn published(server: &Server) -> Vec<String> {
    let (status, set) = server.get("/.well-known/jwks.json");
    assert_eq!(status, 200);
    let kid = |key: &Value| key["kid"].as_str().unwrap().to_owned();
    set["keys"].as_array().unwrap().iter().map(kid).collect()
}

#[test]
fn keys_take_turns_and_no_token_ends_by_it() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let file = data.join("auth-key.pem");
    let mut server = Server::start(&data);
    let (first, token) = (published(&server), server.token.clone());
    assert_eq!((first.len(), server.drain().code()), (1, Some(0)));
    // As if it had signed for long.
    let text = std::fs::read_to_string(&file).unwrap();
    let since = text.split("Since: ").nth(1).unwrap().lines().next().unwrap();
    std::fs::write(&file, text.replace(since, "1000000000")).unwrap();
    server = Server::start(&data);
    let both = published(&server);
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    assert_eq!(server.drain().code(), Some(0));
    // As if the next one had been published for long, too.
    let text = std::fs::read_to_string(&file).unwrap();
    let next = text.split("Use: next").nth(1).unwrap();
    let since = next.split("Since: ").nth(1).unwrap().lines().next().unwrap();
    std::fs::write(&file, text.replace(since, "1000000000")).unwrap();
    server = Server::start(&data);
    assert_eq!(published(&server), [both[1].clone(), both[0].clone()]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("PRIVATE KEY").count(), 2, "the former one's is forgotten");
    assert_eq!(server.get("/api/v1/brane").0, 200);
    let made = avvyland(&["token", "--role", "visitor"], &data);
    let made = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    for token in [token, made] {
        server.token = token;
        assert_eq!(server.get("/api/v1/brane").0, 200);
    }
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn keys_take_turns_while_the_server_runs() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let file = data.join("auth-key.pem");
    assert_eq!(Server::start(&data).drain().code(), Some(0));
    // The next key is due in a moment: a day before thirty are over.
    let text = std::fs::read_to_string(&file).unwrap();
    let since = text.split("Since: ").nth(1).unwrap().lines().next().unwrap();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let due = (now_s - 29 * 86_400 + 4).to_string();
    std::fs::write(&file, text.replace(since, &due)).unwrap();
    let server = Server::start(&data);
    let deadline = Instant::now() + Duration::from_secs(60);
    while published(&server).len() < 2 {
        assert!(Instant::now() < deadline, "no key is published");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("Use: next"), "what is published is in the file");
    assert_eq!(server.get("/api/v1/brane").0, 200);
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn a_key_that_openssl_made_will_do() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let file = data.join("auth-key.pem");
    // RFC 8410, section 10.3.
    let pem = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    std::fs::write(&file, pem).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let server = Server::start(&data);
    assert_eq!((published(&server).len(), server.get("/api/v1/brane").0), (1, 200));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(pem) && text.contains("Since: "), "it is known since when it signs");
    assert_eq!(server.drain().code(), Some(0));
}
