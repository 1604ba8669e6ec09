//! What is acknowledged survives a power cut, and the test can tell.
//!
//! More of it by hand: `AVVY_POWERCUT_SEEDS=100 cargo test -p avvy-persistence
//! --test powercut`.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use avvy_model::{Epoch, Seq};
use avvy_persistence::powercut::{self, Keep, Restored};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore, Synchronous};
use avvy_persistence::{CompactPolicy, Store, StoreError};
use common::told::{Told, open};
use common::{Draw, brane, chunk, record, snapshot};

const BRANES: u8 = 3;

fn options(directory: &Path, synchronous: Synchronous) -> SqliteOptions {
    SqliteOptions {
        vfs: Some(powercut::register().unwrap().to_owned()),
        synchronous,
        // Small, so that the log is folded and begun anew many times a round.
        wal_bytes: 64 << 10,
        readers: 1,
        ..SqliteOptions::at(directory)
    }
}

/// Lives until the power goes: at a random write, truncation, sync or deletion.
async fn live(options: &SqliteOptions, told: &mut [Told], draw: &mut Draw) {
    std::fs::create_dir_all(&options.directory).unwrap();
    powercut::cut_after(&options.directory, 1 + draw.below(1_500));
    let result = work(options, told, draw).await;
    assert!(powercut::is_cut(&options.directory), "failed with power: {result:?}");
}

async fn work(
    options: &SqliteOptions,
    told: &mut [Told],
    draw: &mut Draw,
) -> Result<(), StoreError> {
    let store = SqliteStore::open(options)?;
    for (nth, told) in (0..BRANES).zip(told.iter_mut()) {
        open(&store, nth, told).await?;
    }
    loop {
        step(&store, told, draw).await?;
    }
}

async fn step(store: &SqliteStore, told: &mut [Told], draw: &mut Draw) -> Result<(), StoreError> {
    let nth = draw.below(u64::from(BRANES)) as u8;
    match draw.below(30) {
        0 => {
            let told = &mut told[usize::from(nth)];
            let at = told.durable;
            snapshot(store, nth, Epoch(told.epoch), at).await?;
            told.snapshot = Some(at);
        }
        1 => {
            let policy = CompactPolicy {
                now_ms: u64::MAX,
                retention_ms: 0,
                max_journal_bytes: None,
                keep_snapshots: 1,
            };
            store.compact(policy).await?;
        }
        2 => {
            let told = &mut told[usize::from(nth)];
            told.epoch = store.open(brane(nth)).await?.epoch.0;
        }
        _ => {
            let mut group = Vec::new();
            for _ in 0..=draw.below(5) {
                let nth = draw.below(u64::from(BRANES)) as u8;
                let told = &mut told[usize::from(nth)];
                let to = told.perhaps + 1 + draw.below(4);
                group.push(chunk(nth, Epoch(told.epoch), told.perhaps, to));
                told.perhaps = to;
            }
            let answers = store.append(group).await?;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
            told.iter_mut().for_each(|told| told.durable = told.perhaps);
        }
    }
    Ok(())
}

/// How many seeds each test takes.
fn seeds() -> u64 {
    std::env::var("AVVY_POWERCUT_SEEDS").map_or(4, |text| text.parse().unwrap())
}

/// Many lives in one directory with a power cut after each.
async fn rounds(seed: u64, rounds: u32, synchronous: Synchronous, keep_some: bool) -> Restored {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    let options = options(&directory, synchronous);
    let mut draw = Draw(seed);
    let mut told = vec![Told::default(); usize::from(BRANES)];
    let mut total = Restored::default();
    for _ in 0..rounds {
        live(&options, &mut told, &mut draw).await;
        let seed = draw.below(u64::MAX);
        let keep = if keep_some { Keep::Some { seed } } else { Keep::Synced };
        let done = powercut::restore(&directory, keep).unwrap();
        total.files += done.files;
        total.lost += done.lost;
        total.kept += done.kept;
    }
    let store = SqliteStore::open(&options).unwrap();
    for (nth, told) in (0..BRANES).zip(&mut told) {
        open(&store, nth, told).await.unwrap();
    }
    let edits: u64 = told.iter().map(|told| told.durable).sum();
    println!("seed {seed}: {rounds} power cuts, {edits} edits durable, {total:?}");
    total
}

#[tokio::test]
async fn what_is_acknowledged_survives() {
    for seed in 0..seeds() {
        let total = rounds(seed, 15, Synchronous::Full, false).await;
        assert!(total.lost > 0, "the cuts took nothing, so they prove nothing");
    }
}

#[tokio::test]
async fn what_is_acknowledged_survives_when_some_of_the_rest_does() {
    for seed in (1 << 32..).take(seeds() as usize) {
        let total = rounds(seed, 15, Synchronous::Full, true).await;
        assert!(total.lost > 0 && total.kept > 0, "the cuts took nothing, or everything");
    }
}

/// The same without syncs must lose something, or the test is blind.
#[tokio::test]
async fn without_syncs_it_does_not() {
    let mut losses = 0;
    for seed in 20..24 {
        let life = tokio::spawn(rounds(seed, 5, Synchronous::Off, seed % 2 == 0));
        losses += u32::from(life.await.is_err());
    }
    assert_eq!(losses, 4, "runs that noticed their losses");
}

/// Another process that is killed is restored by its images alone.
#[tokio::test]
async fn images_are_enough_after_a_kill() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let store = SqliteStore::open(&options(&first, Synchronous::Full)).unwrap();
    store.create_brane(record(1)).await.unwrap();
    let epoch = store.open(brane(1)).await.unwrap().epoch;
    for from in 0..50 {
        let answers = store.append(vec![chunk(1, epoch, from, from + 1)]).await.unwrap();
        assert_eq!(answers, [Ok(())]);
    }
    // What is on disk at this moment is what a killed process leaves.
    std::fs::create_dir(&second).unwrap();
    for entry in std::fs::read_dir(&first).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), second.join(entry.file_name())).unwrap();
    }
    drop(store);
    powercut::restore(&second, Keep::Synced).unwrap();
    let store = SqliteStore::open(&options(&second, Synchronous::Full)).unwrap();
    assert_eq!(store.open(brane(1)).await.unwrap().head, Seq(50));
}
