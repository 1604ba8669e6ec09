//! Spoiled files: every answer is right or a typed error, and nothing panics.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use avvy_model::{Epoch, Seq};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use avvy_persistence::{AppendRefusal, BraneFilter, CompactPolicy, Cut, Place, Store, StoreError};
use bytes::Bytes;
use common::{Draw, body, brane, chunk, part, record, snapshot};

const BRANES: u8 = 4;
const CHUNKS: u64 = 60;
const AT: u64 = 40;

/// A store with a bit of everything; closed, or as a kill leaves it.
async fn make(directory: &Path, killed: Option<&Path>) {
    let store = SqliteStore::open(&SqliteOptions::at(directory)).unwrap();
    store.put_meta("demo", Bytes::from_static(b"value")).await.unwrap();
    for nth in 0..BRANES {
        store.create_brane(record(nth)).await.unwrap();
        let epoch = store.open(brane(nth)).await.unwrap().epoch;
        for from in 0..CHUNKS {
            let answers = store.append(vec![chunk(nth, epoch, from, from + 1)]).await.unwrap();
            assert_eq!(answers, [Ok(())]);
        }
        snapshot(&store, nth, epoch, AT).await.unwrap();
    }
    if let Some(killed) = killed {
        copy(directory, killed);
    }
    store.close().await.unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// What came of a spoiled directory.
#[derive(Default, Debug)]
struct Tally {
    refused_at_start: u32,
    errors: u32,
    torn: u32,
    untouched: u32,
}

/// Flips a few bits, fills a sector with noise, or cuts the end off.
fn spoil(file: &Path, draw: &mut Draw) -> String {
    let mut bytes = fs::read(file).unwrap();
    let at = draw.below(bytes.len() as u64) as usize;
    let how = match draw.below(8) {
        0 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            let end = (at + 512).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = draw.below(256) as u8);
            format!("noise at {at}")
        }
        _ => {
            let bit = draw.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
    };
    fs::write(file, bytes).unwrap();
    how
}

/// Asks for everything. What is answered must be right.
async fn ask(directory: &Path, tally: &mut Tally) {
    let store = match SqliteStore::open(&SqliteOptions::at(directory)) {
        Ok(store) => store,
        Err(error) => {
            assert!(is_typed(&error), "{error}");
            tally.refused_at_start += 1;
            return;
        }
    };
    let mut errors = 0;
    let mut torn = 0;
    let mut note = |error: StoreError| {
        assert!(is_typed(&error), "{error}");
        errors += 1;
    };
    match store.meta("demo").await {
        Ok(value) => assert_eq!(value.as_deref(), Some(&b"value"[..])),
        Err(error) => note(error),
    }
    match store.branes(BraneFilter::All, None, 100).await {
        Ok(page) => {
            let all: Vec<_> = (0..BRANES).map(record).collect();
            assert!(page.branes.iter().all(|found| all.contains(found)), "a listing");
            let damages = store.verify_store().await.map_or(1, |report| report.damages.len());
            assert!(page.branes == all || damages > 0, "a listing leaves a brane out silently");
        }
        Err(error) => note(error),
    }
    for nth in 0..BRANES {
        match store.brane(brane(nth)).await {
            Ok(found) => assert_eq!(found, record(nth), "a record"),
            Err(error) => note(error),
        }
        let report = store.verify_brane(brane(nth)).await;
        let mut head = CHUNKS;
        match store.open(brane(nth)).await {
            Ok(opened) => {
                assert_eq!(opened.lineage.first(), Some(&(Epoch(1), Seq(0))), "the lineage");
                assert_eq!(
                    opened.snapshots.first().map(|info| info.at),
                    Some(Seq(AT)),
                    "the snapshot"
                );
                assert_eq!(opened.torn.is_some(), opened.head < Seq(CHUNKS), "a silent cut");
                head = opened.head.0;
                torn += u32::from(opened.torn.is_some());
                for index in 0..3 {
                    let id = opened.snapshots[0].id;
                    match store.read_snapshot_part(brane(nth), id, index).await {
                        Ok(found) => assert_eq!(found, part(nth, AT, index), "a part"),
                        Err(error) => note(error),
                    }
                }
            }
            Err(error) => {
                let is_known = report.as_ref().map_or(true, |report| report.damage_count > 0);
                assert!(is_known, "an inspection sees nothing of {error}");
                note(error);
            }
        }
        match read(&store, nth, head).await {
            // Chunks that a snapshot includes look as if they were compacted
            // away; only an inspection counts them.
            Err(StoreError::Compacted { oldest }) => {
                let is_known = report
                    .as_ref()
                    .map_or(true, |report| report.damage_count > 0 || report.torn.is_some());
                assert!(is_known, "an inspection does not see that {oldest} is not the beginning");
            }
            Err(error) => note(error),
            Ok(()) => {}
        }
    }
    let _ = store.verify_store().await;
    tally.errors += u32::from(errors > 0);
    tally.torn += u32::from(errors == 0 && torn > 0);
    tally.untouched += u32::from(errors == 0 && torn == 0);
}

async fn read(store: &SqliteStore, nth: u8, head: u64) -> Result<(), StoreError> {
    let mut after = Seq(0);
    while after.0 < head {
        let chunks = store.read_chunks(brane(nth), after, 2_000).await?;
        assert!(!chunks.is_empty(), "the journal of brane {nth} ends at {after}, not {head}");
        for chunk in chunks {
            assert_eq!((chunk.from, chunk.to), (after, after.next()), "a hole");
            assert_eq!(chunk.body, body(nth, chunk.from.0, chunk.to.0), "a body");
            after = chunk.to;
        }
    }
    Ok(())
}

/// What spoiled files may be answered with.
fn is_typed(error: &StoreError) -> bool {
    use StoreError::{
        BraneExists, Compacted, Damaged, Io, NewerSchema, UnknownBrane, UnknownSnapshot,
    };
    match error {
        Damaged { .. } | Io(_) | NewerSchema { .. } => true,
        // These would be wrong answers, not errors.
        UnknownBrane(_) | BraneExists(_) | UnknownSnapshot { .. } | Compacted { .. } => false,
        _ => false,
    }
}

async fn rounds(file: &str, killed: bool, seeds: std::ops::Range<u64>) -> Tally {
    let root = tempfile::tempdir().unwrap();
    let (closed, left) = (root.path().join("closed"), root.path().join("left"));
    make(&closed, Some(&left)).await;
    let good = if killed { &left } else { &closed };
    let mut tally = Tally::default();
    for seed in seeds {
        let directory = root.path().join(seed.to_string());
        copy(good, &directory);
        let how = spoil(&directory.join(file), &mut Draw(seed));
        println!("seed {seed}: {file}, {how}");
        ask(&directory, &mut tally).await;
        fs::remove_dir_all(&directory).unwrap();
    }
    println!("{file}: {tally:?}");
    tally
}

#[tokio::test]
async fn a_spoiled_journal_is_never_believed() {
    let tally = rounds("avvyland.sqlite", false, 0..300).await;
    assert!(tally.refused_at_start > 0 && tally.errors > 0 && tally.torn > 0, "{tally:?}");
}

#[tokio::test]
async fn a_spoiled_snapshot_is_never_believed() {
    let tally = rounds("snapshots.sqlite", false, 1_000..1_100).await;
    assert!(tally.errors > 0, "{tally:?}");
}

#[tokio::test]
async fn a_spoiled_log_of_parts_is_never_believed() {
    let tally = rounds("snapshots.sqlite-wal", true, 2_000..2_050).await;
    assert!(tally.errors > 0, "{tally:?}");
}

/// The journal's log is different: it is read before SQLite reads it. Only
/// its last commit may be taken for one that was never acknowledged, and then
/// the start says that something was dropped.
#[tokio::test]
async fn a_spoiled_log_of_the_journal_loses_no_more_than_its_end() {
    let root = tempfile::tempdir().unwrap();
    let (closed, left) = (root.path().join("closed"), root.path().join("left"));
    make(&closed, Some(&left)).await;
    let (mut refused, mut dropped, mut whole) = (0, 0, 0);
    for seed in 3_000..3_100 {
        let directory = root.path().join(seed.to_string());
        copy(&left, &directory);
        let log = directory.join("avvyland.sqlite-wal");
        let how = flip(&log, &mut Draw(seed));
        match SqliteStore::open(&SqliteOptions::at(&directory)) {
            Err(error) => {
                assert!(matches!(error, StoreError::Damaged { .. }), "{how}: {error}");
                refused += 1;
            }
            Ok(store) => {
                let report = store.verify_store().await.unwrap();
                let mut heads = 0;
                for nth in 0..BRANES {
                    heads += store.open(brane(nth)).await.unwrap().head.0;
                }
                let all = CHUNKS * u64::from(BRANES);
                assert!(heads == all || report.dropped > 0, "{how}: {heads} edits, silently");
                assert!(heads >= all - 2, "{how}: {heads} of {all} edits");
                dropped += u32::from(report.dropped > 0);
                whole += u32::from(report.dropped == 0);
            }
        }
        fs::remove_dir_all(&directory).unwrap();
    }
    println!("{refused} refused, {dropped} with a dropped end, {whole} whole");
    assert!(refused > 50);
}

fn change(directory: &Path, sql: &str) {
    let db = rusqlite::Connection::open(directory.join("avvyland.sqlite")).unwrap();
    assert_eq!(db.execute(sql, []).unwrap(), 1);
}

/// A record that is not what was written takes its own brane away and no other.
#[tokio::test]
async fn one_damaged_record_stops_nobody_else() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    make(&directory, None).await;
    change(&directory, "UPDATE branes SET name = 'other' WHERE no = 2");
    let store = SqliteStore::open(&SqliteOptions::at(&directory)).unwrap();
    let others: Vec<_> = [0, 2, 3].map(record).to_vec();
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = store.branes(BraneFilter::All, after, 1).await.unwrap();
        listed.extend(page.branes);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, others);
    let policy = CompactPolicy {
        now_ms: u64::MAX,
        retention_ms: 0,
        max_journal_bytes: Some(0),
        keep_snapshots: 1,
    };
    let done = store.compact(policy).await.unwrap();
    assert_eq!((done.chunks, done.skipped), (3 * AT, 1));
    let report = store.verify_store().await.unwrap();
    let places: Vec<_> = report.damages.into_iter().map(|damage| damage.place).collect();
    assert_eq!((report.branes, places), (3, vec![Place::Brane(brane(1))]));
    let group =
        vec![chunk(1, Epoch(1), CHUNKS, CHUNKS + 1), chunk(2, Epoch(1), CHUNKS, CHUNKS + 1)];
    assert_eq!(store.append(group).await.unwrap(), [Err(AppendRefusal::Damaged), Ok(())]);
}

/// A brane that has edits was opened, so it has a lineage.
#[tokio::test]
async fn a_lost_lineage_is_no_empty_one() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    make(&directory, None).await;
    change(&directory, "DELETE FROM lineages WHERE no = 1");
    let store = SqliteStore::open(&SqliteOptions::at(&directory)).unwrap();
    for _ in 0..2 {
        let answer = store.open(brane(0)).await;
        let place = Place::Brane(brane(0));
        assert!(matches!(answer, Err(StoreError::Damaged { place: found, .. }) if found == place));
    }
    let report = store.verify_brane(brane(0)).await.unwrap();
    assert_eq!(report.damages[0].place, Place::Brane(brane(0)));
}

/// What is cut was stored once, so it is still there for whoever looks.
#[tokio::test]
async fn a_cut_tail_is_put_aside() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    make(&directory, None).await;
    change(
        &directory,
        "UPDATE chunks SET body = CAST(body || x'00' AS BLOB) WHERE key = (1 << 42) + 60",
    );
    let store = SqliteStore::open(&SqliteOptions::at(&directory)).unwrap();
    let opened = store.open(brane(0)).await.unwrap();
    assert_eq!(opened.head, Seq(CHUNKS - 1));
    let report = store.verify_brane(brane(0)).await.unwrap();
    assert_eq!(report.cuts, [Cut { epoch: opened.epoch, torn: opened.torn.unwrap() }]);
    assert_eq!(report.cuts[0].torn.claimed, Seq(CHUNKS));
    store.close().await.unwrap();
    let db = rusqlite::Connection::open(directory.join("avvyland.sqlite")).unwrap();
    let sql = "SELECT no, cut_epoch, from_seq, body FROM cut_chunks";
    let found: (i64, i64, i64, Vec<u8>) = db
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap();
    let mut spoiled = body(0, CHUNKS - 1, CHUNKS).to_vec();
    spoiled.push(0);
    let (epoch, from) = (opened.epoch.0 as i64, CHUNKS as i64 - 1);
    assert_eq!(found, (1, epoch, from, spoiled));
}

/// Flips a bit of one byte.
fn flip(file: &Path, draw: &mut Draw) -> String {
    let mut bytes = fs::read(file).unwrap();
    let at = draw.below(bytes.len() as u64) as usize;
    let bit = draw.below(8);
    bytes[at] ^= 1 << bit;
    fs::write(file, bytes).unwrap();
    format!("bit {bit} of byte {at}")
}
