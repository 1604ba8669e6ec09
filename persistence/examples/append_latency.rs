//! How long a durable append takes, beside a bare append and `fdatasync` of
//! the same bytes in the same run.
//!
//! ```text
//! cargo run --release -p avvy-persistence --example append_latency [SECONDS] [DIRECTORY]
//! ```
//!
//! Each load is one chunk every 5 ms: 100 bytes and 1 KiB (a small room), and
//! 4 KiB (10,000 edits a second). Bare and store take turns of one second, so
//! that both meet the same machine. The store folds its log in between, and
//! writes a snapshot in the last load. At the end a snapshot of 256 MiB is
//! written and read.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use avvy_model::{BraneId, Epoch, Seq, UserId};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use avvy_persistence::{BraneRecord, ChunkWrite, SnapshotStart, Store};
use bytes::Bytes;

const GAP: Duration = Duration::from_millis(5);
const TURN: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(10, |text| text.parse().unwrap());
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    for (name, length, snapshots) in [
        ("100 B", 100, false),
        ("1 KiB", 1_024, false),
        ("4 KiB", 4_096, false),
        ("4 KiB, snapshot under way", 4_096, true),
    ] {
        let root = tempfile::tempdir_in(&directory).unwrap();
        measure(name, length, seconds, snapshots, root.path()).await;
    }
    let root = tempfile::tempdir_in(&directory).unwrap();
    measure_snapshot(root.path()).await;
}

/// A store with one open brane.
async fn open(root: &Path) -> (Arc<SqliteStore>, BraneId, Epoch) {
    let store = SqliteStore::open(&SqliteOptions::at(root.join("data"))).unwrap();
    let brane = BraneId::from_bytes([1; 16]);
    let record = BraneRecord {
        name: "latency".to_owned(),
        ..BraneRecord::new(brane, UserId::from_bytes([2; 16]), 0)
    };
    store.create_brane(record).await.unwrap();
    let epoch = store.open(brane).await.unwrap().epoch;
    (Arc::new(store), brane, epoch)
}

async fn measure_snapshot(root: &Path) {
    const PARTS: u32 = 1_024;
    let (store, brane, epoch) = open(root).await;
    let part = Bytes::from((0..256_u64 << 10).map(|at| ((at * at) >> 7) as u8).collect::<Vec<_>>());
    let begun = Instant::now();
    let start = SnapshotStart { brane, epoch, at: Seq(0), taken_ms: 0 };
    let id = store.begin_snapshot(start).await.unwrap();
    for index in 0..PARTS {
        store.put_snapshot_part(brane, id, index, part.clone()).await.unwrap();
    }
    store.finish_snapshot(brane, id, PARTS).await.unwrap();
    let written = begun.elapsed();
    let begun = Instant::now();
    for index in 0..PARTS {
        assert_eq!(store.read_snapshot_part(brane, id, index).await.unwrap(), part);
    }
    let read = begun.elapsed();
    println!("snapshot of 256 MiB: written in {written:.2?}, read and verified in {read:.2?}");
}

async fn measure(name: &str, length: usize, seconds: u32, snapshots: bool, root: &Path) {
    let (store, brane, epoch) = open(root).await;
    let body = Bytes::from(vec![7; length]);
    let mut bare_file = File::create(root.join("bare")).unwrap();
    let (mut bare, mut stored, mut head) = (Vec::new(), Vec::new(), 0);
    let writer = snapshots.then(|| tokio::spawn(write_snapshots(store.clone(), brane, epoch)));
    for _ in 0..seconds {
        for _ in 0..TURN {
            tokio::time::sleep(GAP).await;
            let begun = Instant::now();
            bare_file.write_all(&body).unwrap();
            bare_file.sync_data().unwrap();
            bare.push(begun.elapsed());
        }
        for _ in 0..TURN {
            tokio::time::sleep(GAP).await;
            let begun = Instant::now();
            let (from, to) = (Seq(head), Seq(head + 50));
            let chunk = ChunkWrite { brane, epoch, from, to, at_ms: 0, body: body.clone() };
            let answers = store.append(vec![chunk]).await.unwrap();
            stored.push(begun.elapsed());
            assert_eq!(answers, [Ok(())]);
            head += 50;
        }
    }
    writer.inspect(tokio::task::JoinHandle::abort);
    let (bare, stored) = (spread(bare), spread(stored));
    println!("{name:>26}: bare {}, store {}", show(&bare), show(&stored));
    println!("{:>26}  p50 x {:.2}, p99 x {:.2}", "", stored[0] / bare[0], stored[1] / bare[1]);
}

/// One snapshot of 64 MiB after another.
async fn write_snapshots(store: Arc<SqliteStore>, brane: BraneId, epoch: Epoch) {
    let part = Bytes::from(vec![3; 256 << 10]);
    loop {
        let start = SnapshotStart { brane, epoch, at: Seq(0), taken_ms: 0 };
        let id = store.begin_snapshot(start).await.unwrap();
        for index in 0..256 {
            store.put_snapshot_part(brane, id, index, part.clone()).await.unwrap();
        }
        store.finish_snapshot(brane, id, 256).await.unwrap();
    }
}

/// p50, p99 and the longest, in milliseconds.
fn spread(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    [at(0.5), at(0.99), at(1.0)]
}

fn show([p50, p99, longest]: &[f64; 3]) -> String {
    format!("p50 {p50:.2} p99 {p99:.2} max {longest:.2} ms")
}
