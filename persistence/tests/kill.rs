//! A process that is killed, with and without its page cache.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use avvy_model::Seq;
use avvy_persistence::powercut::{self, Keep};
use avvy_persistence::sqlite::{SqliteOptions, SqliteReader, SqliteStore};
use avvy_persistence::{CompactPolicy, Store};
use common::{Draw, body, brane, chunk, contents, record, snapshot};

/// Names the directory to the child, and makes the test below one.
const CHILD: &str = "AVVY_TEST_KILL_CHILD";

fn options(directory: &Path) -> SqliteOptions {
    let vfs = Some(powercut::register().unwrap().to_owned());
    SqliteOptions { vfs, wal_bytes: 64 << 10, readers: 1, ..SqliteOptions::at(directory) }
}

/// The child: says on standard output what is acknowledged, until it is killed.
#[tokio::test]
async fn child() {
    let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let store = SqliteStore::open(&options(&directory)).unwrap();
    store.create_brane(record(1)).await.unwrap();
    let opened = store.open(brane(1)).await.unwrap();
    let mut out = std::io::stdout();
    for from in opened.head.0.. {
        let answers = store.append(vec![chunk(1, opened.epoch, from, from + 1)]).await.unwrap();
        assert_eq!(answers, [Ok(())]);
        writeln!(out, "\nACKNOWLEDGED {}", from + 1).unwrap();
        if from % 100 == 99 {
            snapshot(&store, 1, opened.epoch, from + 1).await.unwrap();
            let policy = CompactPolicy {
                now_ms: u64::MAX,
                retention_ms: 0,
                max_journal_bytes: None,
                keep_snapshots: 1,
            };
            store.compact(policy).await.unwrap();
        }
    }
}

/// Runs the child until it has acknowledged some more, and kills it.
fn run_and_kill(directory: &Path, acknowledgements: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut numbers = lines.filter_map(|line| line.strip_prefix("ACKNOWLEDGED ")?.parse().ok());
    let mut last: Option<u64> = numbers.by_ref().take(acknowledgements as usize).last();
    child.kill().unwrap();
    // What the pipe still holds was acknowledged, too.
    last = numbers.last().or(last);
    child.wait().unwrap();
    last.unwrap()
}

async fn verify(directory: &Path, acknowledged: u64) {
    let store = SqliteStore::open(&options(directory)).unwrap();
    let opened = store.open(brane(1)).await.unwrap();
    assert!(opened.head.0 >= acknowledged, "{} of {acknowledged} edits", opened.head);
    assert!(opened.head.0 <= acknowledged + 1, "edits from nowhere");
    assert_eq!(opened.torn, None);
    let mut after = opened.snapshots.first().map_or(Seq(0), |info| info.at);
    while after < opened.head {
        for chunk in store.read_chunks(brane(1), after, 10_000).await.unwrap() {
            assert_eq!(chunk.body, body(1, chunk.from.0, chunk.to.0));
            after = chunk.to;
        }
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn acknowledged_edits_survive_kills_and_power_cuts() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    let mut draw = Draw(1);
    let mut lost = 0;
    for round in 0..12 {
        let acknowledged = run_and_kill(&directory, 1 + draw.below(250));
        let seed = draw.below(u64::MAX);
        match round % 3 {
            0 => {}
            1 => lost += powercut::restore(&directory, Keep::Synced).unwrap().lost,
            _ => lost += powercut::restore(&directory, Keep::Some { seed }).unwrap().lost,
        }
        verify(&directory, acknowledged).await;
    }
    assert!(lost > 0, "the cuts took nothing, so they prove nothing");
}

#[tokio::test]
async fn what_a_kill_leaves_can_be_looked_at() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    for acknowledgements in [1, 150] {
        let acknowledged = run_and_kill(&directory, acknowledgements);
        let before = contents(&directory);
        let store = SqliteReader::open(&SqliteOptions::at(&directory)).unwrap();
        let report = store.verify_brane(brane(1)).await.unwrap();
        assert!(report.head.0 >= acknowledged && report.head.0 <= acknowledged + 1);
        assert_eq!((report.damage_count, report.torn), (0, None));
        drop(store);
        assert!(contents(&directory) == before, "a file was changed, made or removed");
    }
}
