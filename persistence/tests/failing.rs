//! Writes and syncs of the device fail, one at a time: what is acknowledged is
//! there, at once and after a power cut.
//!
//! More of it by hand: `AVVY_POWERCUT_SEEDS=100 cargo test -p avvy-persistence
//! --test failing`.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use avvy_model::{Epoch, Seq};
use avvy_persistence::powercut::{self, Failure, Keep};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use avvy_persistence::{CompactPolicy, SnapshotId, SnapshotStart, Store, StoreError};
use bytes::Bytes;
use common::told::{Told, open};
use common::{Draw, brane, chunk, record, snapshot};

const BRANES: u8 = 3;
const STEPS: u32 = 120;

fn options(directory: &Path) -> SqliteOptions {
    SqliteOptions {
        vfs: Some(powercut::register().unwrap().to_owned()),
        // Small, so that the log is folded and begun anew many times a round.
        wal_bytes: 64 << 10,
        readers: 1,
        ..SqliteOptions::at(directory)
    }
}

/// How many operations met a failure, and how many calls of the store failed.
#[derive(Clone, Copy, Default, Debug)]
struct Met {
    failures: u32,
    calls: u32,
}

struct Life<'a> {
    directory: &'a Path,
    store: SqliteStore,
    told: &'a mut [Told],
    draw: &'a mut Draw,
    met: Met,
}

impl Life<'_> {
    async fn step(&mut self) {
        let is_armed = self.draw.below(3) == 0;
        if is_armed {
            let failure = if self.draw.below(2) == 0 { Failure::Io } else { Failure::Full };
            powercut::fail_after(self.directory, Some((self.draw.below(12), failure)));
        }
        match self.draw.below(20) {
            0 | 1 => self.snapshot().await,
            2 => self.compact().await,
            3 => self.open().await,
            _ => self.append().await,
        }
        if is_armed {
            self.met.failures += u32::from(!powercut::is_failing(self.directory));
            powercut::fail_after(self.directory, None);
        }
    }

    fn brane(&mut self) -> u8 {
        self.draw.below(u64::from(BRANES)) as u8
    }

    fn note(&mut self, error: &StoreError) {
        self.met.calls += 1;
        assert!(error.is_retryable(), "a failing device is taken for damage: {error}");
    }

    /// A group is repeated as it was until it is stored.
    async fn append(&mut self) {
        let mut group = Vec::new();
        for _ in 0..=self.draw.below(5) {
            let nth = self.brane();
            let told = &mut self.told[usize::from(nth)];
            let to = told.perhaps + 1 + self.draw.below(4);
            group.push(chunk(nth, Epoch(told.epoch), told.perhaps, to));
            told.perhaps = to;
        }
        let answers = loop {
            match self.store.append(group.clone()).await {
                Ok(answers) => break answers,
                Err(error) => self.note(&error),
            }
        };
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        self.told.iter_mut().for_each(|told| told.durable = told.perhaps);
    }

    async fn snapshot(&mut self) {
        let nth = self.brane();
        let (epoch, at) = {
            let told = &self.told[usize::from(nth)];
            (Epoch(told.epoch), told.durable)
        };
        match snapshot(&self.store, nth, epoch, at).await {
            Ok(()) => self.told[usize::from(nth)].snapshot = Some(at),
            Err(error) => self.note(&error),
        }
    }

    async fn compact(&mut self) {
        let policy = CompactPolicy {
            now_ms: u64::MAX,
            retention_ms: 0,
            max_journal_bytes: None,
            keep_snapshots: 1,
        };
        if let Err(error) = self.store.compact(policy).await {
            self.note(&error);
        }
    }

    /// Opening again also holds everything to what was told.
    async fn open(&mut self) {
        let nth = self.brane();
        while let Err(error) = open(&self.store, nth, &mut self.told[usize::from(nth)]).await {
            self.note(&error);
        }
    }
}

async fn rounds(seed: u64, rounds: u32) -> Met {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    let options = options(&directory);
    let mut draw = Draw(seed);
    let mut told = vec![Told::default(); usize::from(BRANES)];
    let mut total = Met::default();
    for round in 0..=rounds {
        let store = SqliteStore::open(&options).unwrap();
        for (nth, told) in (0..BRANES).zip(&mut told) {
            open(&store, nth, told).await.unwrap();
        }
        if round == rounds {
            break;
        }
        let met = Met::default();
        let mut life = Life { directory: &directory, store, told: &mut told, draw: &mut draw, met };
        for _ in 0..STEPS {
            life.step().await;
        }
        total.failures += life.met.failures;
        total.calls += life.met.calls;
        powercut::cut(&directory);
        drop(life);
        let seed = draw.below(u64::MAX);
        let keep = if round % 2 == 0 { Keep::Synced } else { Keep::Some { seed } };
        powercut::restore(&directory, keep).unwrap();
    }
    println!("seed {seed}: {total:?}");
    total
}

/// How many seeds are taken.
fn seeds() -> u64 {
    std::env::var("AVVY_POWERCUT_SEEDS").map_or(4, |text| text.parse().unwrap())
}

#[tokio::test]
async fn what_is_acknowledged_survives_failing_writes_and_syncs() {
    for seed in 0..seeds() {
        let met = rounds(seed, 4).await;
        assert!(met.failures > 20 && met.calls > 10, "too few failures prove nothing: {met:?}");
    }
}

/// A sync that failed is not made good by one that succeeds: whatever it was
/// to bring to the device may be lost.
#[tokio::test]
async fn a_snapshot_that_is_finished_is_on_the_device_whichever_sync_failed() {
    let mut finished = 0;
    for nth in 0..6 {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("data");
        std::fs::create_dir(&directory).unwrap();
        let options = options(&directory);
        let store = SqliteStore::open(&options).unwrap();
        let epoch = {
            store.create_brane(record(1)).await.unwrap();
            store.open(brane(1)).await.unwrap().epoch
        };
        powercut::fail_after(&directory, Some((nth, Failure::Sync)));
        let parts = (0..12).map(|index| Bytes::from(vec![index as u8; 1 << 20]));
        let parts: Vec<_> = parts.collect();
        let id = large_snapshot(&store, epoch, &parts).await;
        finished += u32::from(id.is_ok());
        powercut::cut(&directory);
        drop(store);
        powercut::restore(&directory, Keep::Synced).unwrap();
        let store = SqliteStore::open(&options).unwrap();
        let found = store.open(brane(1)).await.unwrap().snapshots;
        assert!(id.is_err() || !found.is_empty(), "sync {nth}: the snapshot is lost");
        for info in found {
            for (index, part) in (0..).zip(&parts) {
                let read = store.read_snapshot_part(brane(1), info.id, index).await;
                assert!(read.as_ref() == Ok(part), "sync {nth}: part {index}");
            }
        }
    }
    assert!(finished > 1, "too few snapshots were finished to prove anything");
}

async fn large_snapshot(
    store: &SqliteStore,
    epoch: Epoch,
    parts: &[Bytes],
) -> Result<SnapshotId, StoreError> {
    let start = SnapshotStart { brane: brane(1), epoch, at: Seq(0), taken_ms: 1 };
    let id = store.begin_snapshot(start).await?;
    for (index, part) in (0..).zip(parts) {
        store.put_snapshot_part(brane(1), id, index, part.clone()).await?;
    }
    store.finish_snapshot(brane(1), id, parts.len() as u32).await?;
    Ok(id)
}

/// What failed commits leave in the log is not taken for commits that were
/// acknowledged and lost their beginning.
#[tokio::test]
async fn remains_of_failed_commits_do_not_keep_a_store_closed() {
    let root = tempfile::tempdir().unwrap();
    let (directory, killed) = (root.path().join("data"), root.path().join("killed"));
    std::fs::create_dir(&directory).unwrap();
    let options = options(&directory);
    let store = SqliteStore::open(&options).unwrap();
    let mut epochs = Vec::new();
    for nth in 0..2 {
        store.create_brane(record(nth)).await.unwrap();
        epochs.push(store.open(brane(nth)).await.unwrap().epoch);
    }
    // Each is shorter than the one before, so its end does not cover that.
    for (nth, length) in [(0, 100_000), (1, 40_000)] {
        let mut long = chunk(nth, epochs[usize::from(nth)], 0, 1);
        long.body = vec![nth; length].into();
        powercut::fail_after(&directory, Some((0, Failure::Sync)));
        let answer = store.append(vec![long]).await;
        assert!(matches!(answer, Err(StoreError::Io(_))), "{answer:?}");
    }
    store.put_meta("short", Bytes::from_static(b"value")).await.unwrap();
    // What is on disk at this moment is what a killed process leaves.
    std::fs::create_dir(&killed).unwrap();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), killed.join(entry.file_name())).unwrap();
    }
    let store = SqliteStore::open(&SqliteOptions::at(&killed)).unwrap();
    assert_eq!(store.meta("short").await.unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.open(brane(0)).await.unwrap().torn, None);
}
