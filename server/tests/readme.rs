//! The tour of `README.md` works as it stands there: a shell runs all of it.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Server, binary};
use serde_json::{Value, json};

const README: &str = include_str!("../../README.md");

/// Where the server of the tour is.
const ADDRESS: &str = "127.0.0.1:7878";

/// What the shell says before each part.
const MARK: &str = "=== part";

/// Nothing of what the shell starts outlives it, whatever it ends for. `soon`
/// waits until something is so, for a minute at most.
const BEFORE: &str = "
set -eu
trap 'kill -9 $(jobs -p) 2> /dev/null || true' EXIT
soon() { for _ in $(seq 600); do if eval \"$1\"; then return; fi; sleep 0.1; done; false; }
";

/// What is done in a test instead of what stands in a part, which has to be
/// there: fewer people for a shorter time, and waiting for what happens rather
/// than for so many seconds.
const INSTEAD: [(usize, &str, &str); 9] = [
    // The test itself has started it.
    (0, "AVVY_AUTH_DEVELOPMENT_SIGN_IN=true cargo xtask run\n", ""),
    (1, "--users 200", "--users 4 --seconds 1"),
    (2, "--users 60 --walkers 6", "--users 4 --walkers 2 --seconds 1"),
    (7, "watch --brane \"$HALL\" &", "watch --brane \"$HALL\" > watched &"),
    (7, "sleep 1\n", "soon 'grep -q here watched'\n"),
    (10, "--users 50 --seconds 15 &", "--users 4 --seconds 4 &"),
    (
        10,
        "sleep 6;",
        "soon 'curl -s http://127.0.0.1:7878/metrics | grep -q \"^avvy_sessions 4$\"';",
    ),
    (10, "avvyland serve &", "avvyland serve --bind 127.0.0.1:7878 > /dev/null 2>&1 &"),
    (11, "sleep 2\n", "wait $!\n"),
];

/// The parts of the tour that a shell runs.
fn tour() -> Vec<String> {
    let (_, tour) = README.split_once("\n## Five minutes\n").unwrap();
    let (tour, _) = tour.split_once("\n## ").unwrap();
    let parts = tour.split("```sh\n").skip(1);
    parts.map(|part| part.split_once("```").unwrap().0.to_owned()).collect()
}

/// The tour as one script, with the server at another address.
fn script(address: &str) -> String {
    let mut parts = tour();
    assert_eq!(parts.len(), 12, "another part is to be looked at, too");
    for (part, of, done) in INSTEAD {
        assert_eq!(parts[part].matches(of).count(), 1, "`{of}` in {}", parts[part]);
        parts[part] = parts[part].replace(of, done);
    }
    let parts = parts.iter().map(|part| format!("echo '{MARK}'\n{part}"));
    (BEFORE.to_owned() + &parts.collect::<String>()).replace(ADDRESS, address)
}

/// What each part has printed.
struct Printed(Vec<String>);

impl Printed {
    fn by(script: &str, directory: &Path) -> Self {
        let mut shell = Command::new("bash");
        shell.args(["-c", script]).current_dir(directory).stdin(Stdio::null());
        let output = shell.output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}\n{errors}");
        Self(printed.split(MARK).skip(1).map(str::to_owned).collect())
    }

    /// The lines of a part that are JSON.
    fn answers<const N: usize>(&self, part: usize) -> [Value; N] {
        let lines = self.0[part].lines();
        let answers: Vec<Value> =
            lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
        answers.try_into().unwrap_or_else(|_| panic!("not {N} answers: {}", self.0[part]))
    }

    /// Those of a part, none of which is a refusal.
    fn good<const N: usize>(&self, part: usize) -> [Value; N] {
        assert!(!self.0[part].contains("\"code\""), "{}", self.0[part]);
        self.answers(part)
    }
}

#[test]
fn the_tour_can_be_pasted() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::create_dir_all(at.join("target/release")).unwrap();
    symlink(binary().canonicalize().unwrap(), at.join("target/release/avvyland")).unwrap();
    let setting = [("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true")];
    let mut server = Server::start_with(&at.join("data"), &setting);
    let printed = Printed::by(&script(server.address()), at);
    assert!(!server.wait().success(), "it was killed");

    for part in [1, 2, 10] {
        let text = &printed.0[part];
        assert!(text.contains(" 0 lost)") && text.contains(": all agree"), "{text}");
    }
    shows_a_map(&printed.0[2]);
    let [health] = printed.good(3);
    assert_eq!(health["status"], "ok");
    assert_eq!(printed.0[3].lines().filter(|line| line.contains("avvy_")).count(), 3);
    let [page] = printed.good(4);
    assert_eq!(page["objects"].as_array().unwrap().len(), 2);
    let [_] = printed.good(5);
    people_and_rights(&printed, at);
    prototypes_and_ends(&printed);
    assert!(printed.0[11].contains("Everything is in order."), "{}", printed.0[11]);
}

/// Of nine rows, with the walker's own cell in the middle.
fn shows_a_map(text: &str) {
    let (_, map) = text.split_once("objects in each cell, its own in brackets:\n").unwrap();
    let map: Vec<&str> = map.lines().take(9).collect();
    let (_, own) = map[4].split_once('[').unwrap_or_else(|| panic!("{text}"));
    let (own, _) = own.split_once(']').unwrap();
    assert!(own.parse::<u32>().is_ok(), "{text}");
}

/// What bob may is taken away while he watches.
fn people_and_rights(printed: &Printed, at: &Path) {
    let [appointed, created] = printed.good(6);
    assert!(appointed["outcomes"][0]["seq"].is_u64() && created["outcomes"][0]["seq"].is_u64());
    let [appointed, refused] = printed.answers(7);
    assert!(appointed["outcomes"][0]["seq"].is_u64(), "{appointed}");
    let part = &tour()[7];
    let (_, told) = part.rsplit_once("# ").unwrap();
    assert_eq!(refused["outcomes"][0]["code"], told.trim());
    assert_eq!(told.trim(), "not_permitted");
    let watched = std::fs::read_to_string(at.join("watched")).unwrap();
    let watched: Vec<Value> =
        watched.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rights: Vec<&Value> = watched.iter().filter(|line| line["event"] == "rights").collect();
    let [before, after] = rights.as_slice() else { panic!("{watched:?}") };
    assert_eq!([&before["role"], &after["role"]], ["builder", "visitor"]);
    assert_eq!(after["verbs"], json!([]));
    let last = watched.last().unwrap();
    assert_eq!([&last["event"], &last["code"]], ["closed", "brane_deleted"]);
}

fn prototypes_and_ends(printed: &Printed) {
    let [published, placed, page, found] = printed.good(8);
    assert_eq!(published["visibility"], "public");
    assert_eq!(placed["prototype"], published["id"]);
    let chair = page["objects"].as_array().unwrap().last().unwrap();
    assert_eq!((&chair["id"], &chair["in_effect"]["colour"]), (&placed["id"], &json!("brown")));
    assert_eq!(found["things"][0]["id"], published["id"]);
    let [told, deleted, listed, restored] = printed.good(9);
    assert_eq!([&told["description"], &told["visibility"]], ["Where we meet.", "public"]);
    assert_eq!([&deleted["life"], &restored["life"]], ["deleted", "active"]);
    let listed = listed["branes"].as_array().unwrap();
    assert!(listed.len() == 1 && listed[0]["id"] == told["id"], "{listed:?}");
}
