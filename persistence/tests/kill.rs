//! A process that is killed, with and without its page cache.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use avvy_model::Seq;
use avvy_persistence::powercut::{self, Keep};
use avvy_persistence::sqlite::{SqliteOptions, SqliteReader, SqliteStore};
use avvy_persistence::{BraneFilter, BraneRecord, CompactPolicy, Life, Store};
use common::{Draw, body, brane, chunk, contents, record, snapshot};
use rusqlite::Connection;

/// Names the directory to the child that purges.
const PURGER: &str = "AVVY_TEST_KILL_PURGER";

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

/// The child that deletes brane 2 and purges it, until it is killed.
#[tokio::test]
async fn purger() {
    let Some(directory) = std::env::var_os(PURGER).map(PathBuf::from) else {
        return;
    };
    let store = SqliteStore::open(&options(&directory)).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\nBEGINS").unwrap();
    store.purge_brane(brane(2), 2).await.unwrap();
    writeln!(out, "\nPURGED").unwrap();
}

/// Two branes with a journal of many bites and a snapshot; the second is
/// deleted.
async fn furnish(directory: &Path) {
    let store = SqliteStore::open(&options(directory)).unwrap();
    for nth in [1, 2] {
        store.create_brane(record(nth)).await.unwrap();
        let epoch = store.open(brane(nth)).await.unwrap().epoch;
        let chunks: Vec<_> = (0..4_000).map(|from| chunk(nth, epoch, from, from + 1)).collect();
        assert!(store.append(chunks).await.unwrap().iter().all(Result::is_ok));
        snapshot(&store, nth, epoch, 4_000).await.unwrap();
    }
    let life = Life::Doomed { since_ms: 1, purge_ms: 2 };
    let deleted = BraneRecord { life, version: 2, ..record(2) };
    store.update_brane(deleted, 1).await.unwrap();
    store.close().await.unwrap();
}

/// Kills a purge after `pause`; true if it was at its end.
fn purge_and_kill(directory: &Path, pause: Duration) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "purger", "--nocapture"])
        .env(PURGER, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "BEGINS"));
    let began = Instant::now();
    while began.elapsed() < pause {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    let is_done = lines.any(|line| line == "PURGED");
    child.wait().unwrap();
    is_done
}

/// What a purge that was cut off has left: the brane as it was, or nothing that
/// can be seen; and the other brane whole.
async fn verify_purge(directory: &Path) -> Life {
    let store = SqliteStore::open(&options(directory)).unwrap();
    let life = store.brane(brane(2)).await.unwrap().life;
    let report = store.verify_brane(brane(2)).await.unwrap();
    let seen = (report.chunks, report.snapshots.len());
    assert_eq!(seen, if life.is_over() { (0, 0) } else { (4_000, 1) });
    assert_eq!((report.damage_count, report.torn), (0, None));
    let due = store.branes(BraneFilter::Due(2), None, 10).await.unwrap().branes;
    assert_eq!(due.is_empty(), matches!(life, Life::Purged { .. }));
    let other = store.verify_brane(brane(1)).await.unwrap();
    assert_eq!((other.chunks, other.snapshots.len(), other.damage_count), (4_000, 1, 0));
    assert_eq!(store.verify_store().await.unwrap().damages, []);
    store.close().await.unwrap();
    life
}

#[tokio::test]
async fn a_purge_goes_on_where_it_was_cut_off() {
    let mut met = [0; 3];
    let mut draw = Draw(7);
    for round in 0..9 {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("data");
        furnish(&directory).await;
        for _ in 0..20 {
            let is_done = purge_and_kill(&directory, Duration::from_micros(draw.below(12_000)));
            if round % 2 == 1 {
                powercut::restore(&directory, Keep::Some { seed: round }).unwrap();
            }
            let life = verify_purge(&directory).await;
            met[match life {
                Life::Purging { .. } => 1,
                Life::Purged { .. } => 2,
                _ => 0,
            }] += 1;
            assert!(!is_done || matches!(life, Life::Purged { .. }), "done, and {life:?}");
            if matches!(life, Life::Purged { .. }) {
                break;
            }
        }
        let store = SqliteStore::open(&options(&directory)).unwrap();
        store.purge_brane(brane(2), 2).await.unwrap();
        store.close().await.unwrap();
        assert!(matches!(verify_purge(&directory).await, Life::Purged { .. }));
        let rows = |sql| {
            let db = Connection::open(directory.join("avvyland.sqlite")).unwrap();
            db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(rows("SELECT count(*) FROM chunks"), 4_000);
        assert_eq!(rows("SELECT count(*) FROM lineages"), 1);
    }
    println!("before it began, in its midst, at its end: {met:?}");
    assert!(met[1] > 0, "no purge was cut off in its midst, so this proves nothing");
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
