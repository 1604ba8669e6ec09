//! `cargo xtask up` and `down`, as in the tour of the README.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary of these tests: the release is built without MongoDB.
const BINARY: &str = env!("CARGO_BIN_EXE_avvyland");

/// A fleet in a folder of its own, which is ended whatever becomes of the test.
struct Fleet {
    folder: PathBuf,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("fleet");
        Self { folder, port: four_ports(), _directory: directory }
    }

    fn xtask(&self, command: &str, more: &[&str]) -> String {
        told(&self.command(command, more).output().unwrap())
    }

    fn command(&self, command: &str, more: &[&str]) -> Command {
        let mut xtask = Command::new(env!("CARGO"));
        xtask.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
        xtask.args(["run", "--quiet", "--locked", "--package", "xtask", "--", command]);
        xtask.arg("--folder").arg(&self.folder).args(more);
        xtask
    }

    fn up(&self) -> String {
        told(&self.command_up().output().unwrap())
    }

    fn command_up(&self) -> Command {
        self.command("up", &["--port", &self.port.to_string(), "--server", BINARY])
    }

    fn down(&self) -> String {
        self.xtask("down", &[])
    }

    /// A program's process, as the tour finds it.
    fn process(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.join(format!("{name}.pid"))).unwrap();
        text.split(' ').next().unwrap().to_owned()
    }

    /// Builders at a node: nothing is lost and all agree.
    fn play(&self, node: &str) -> Value {
        let mut demo = Command::new(BINARY);
        demo.args(["demo", "--users", "6", "--seconds", "1", "--json", "--data"]);
        let output = demo.arg(self.folder.join(node)).output().unwrap();
        let text = told(&output);
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["edits"], summary["durable"], "{text}");
        summary
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.down();
    }
}

fn told(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

/// The first of four ports that are free, one after another, below those that
/// are given to whoever asks for any. Each test of this process has its own.
fn four_ports() -> u16 {
    static FLEETS: AtomicU16 = AtomicU16::new(0);
    let is_free = |port: &u16| (0..4).all(|n| TcpListener::bind(("127.0.0.1", port + n)).is_ok());
    let nth = FLEETS.fetch_add(1, Ordering::Relaxed);
    let first = 20_000 + (std::process::id() % 1_000) as u16 * 8 + nth * 400;
    (first..32_000).step_by(4).find(is_free).unwrap()
}

fn lives(process: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // One that nobody has asked about has ended all the same.
    !state.is_empty() && !state.contains(") Z ")
}

#[test]
fn a_fleet_comes_up_goes_on_and_goes_down() {
    let fleet = Fleet::new();
    assert!(fleet.down().contains("no fleet runs"));
    let hints = fleet.up();
    assert!(hints.contains(&format!("http://127.0.0.1:{}", fleet.port + 1)), "{hints}");
    // At either node, and one alone serves the brane.
    fleet.play("node-1");
    fleet.play("node-2");
    let names = ["node-1", "node-2", "redis", "mongod"];
    let before = names.map(|name| fleet.process(name));
    // Nothing that runs is touched, and what does not is started.
    let killed = &before[0];
    assert!(Command::new("kill").args(["-9", killed]).status().unwrap().success());
    fleet.play("node-2");
    fleet.up();
    let after = names.map(|name| fleet.process(name));
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1..], before[1..]);
    fleet.play("node-1");
    // As if `up` had crashed while something was stopped.
    assert!(Command::new("kill").args(["-STOP", &after[1]]).status().unwrap().success());
    let ended = fleet.down();
    assert!(ended.contains("ended: node-1, node-2, redis, mongod"), "{ended}");
    assert!(after.iter().all(|process| !lives(process)), "{after:?}");
    assert!(fleet.down().contains("no fleet runs"));
}

fn signal(name: &str, process: &str) {
    assert!(Command::new("kill").args([name, process]).status().unwrap().success());
}

/// Two at once would start everything twice.
#[test]
fn a_second_up_leaves_the_first_alone_and_says_so() {
    let fleet = Fleet::new();
    let mut first = fleet.command_up();
    let first = first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lock = fleet.folder.join("turn.lock");
    let deadline = Instant::now() + Duration::from_secs(120);
    let process = loop {
        let text = std::fs::read_to_string(&lock).unwrap_or_default();
        if let Some(process) = text.strip_suffix('\n') {
            break process.to_owned();
        }
        assert!(Instant::now() < deadline, "the first does not begin");
        std::thread::park_timeout(Duration::from_millis(10));
    };
    // In the middle of what it does, for as long as the second takes.
    signal("-STOP", &process);
    for command in ["up", "down"] {
        let second = fleet.command(command, &[]).output().unwrap();
        let text = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(!second.status.success(), "{text}");
        assert!(text.contains(&format!("started or ended by process {process}:")), "{text}");
    }
    signal("-CONT", &process);
    let text = told(&first.wait_with_output().unwrap());
    assert!(text.contains("Two nodes run"), "{text}");
    fleet.play("node-1");
    assert!(fleet.up().contains("Two nodes run"), "once it is up that is no error");
    assert!(fleet.down().contains("ended: node-1, node-2, redis, mongod"));
}
