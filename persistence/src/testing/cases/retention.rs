//! What compaction may delete, and what it must.

use avvy_model::Seq;

use super::Case;
use super::list;
use crate::error::{Place, StoreError};
use crate::report::CompactPolicy;
use crate::testing::fixture::{Failure, Fixture, Verdict};
use crate::testing::samples::{
    brane, ensure, ensure_eq, expect_filled, fill, newest, opened, part, snapshot,
};

pub(super) const CASES: &[Case] = list![
    deletes_old_covered_chunks,
    keeps_what_no_snapshot_covers,
    keeps_young_chunks,
    deletes_down_to_a_cap,
    keeps_the_newest_snapshots,
    compacts_long_journals,
    keeps_something_to_fall_back_on,
    keeps_the_journal_of_a_single_snapshot,
];

/// Chunks are written at the second of their last edit.
fn policy(now_s: u64, retention_s: u64) -> CompactPolicy {
    CompactPolicy {
        now_ms: now_s * 1_000,
        retention_ms: retention_s * 1_000,
        max_journal_bytes: None,
        keep_snapshots: 1,
    }
}

/// The same, with something to fall back on.
fn careful(now_s: u64, retention_s: u64) -> CompactPolicy {
    CompactPolicy { keep_snapshots: 2, ..policy(now_s, retention_s) }
}

async fn deletes_old_covered_chunks(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    snapshot(&fixture.store(), 1, epoch, 6, 1).await?;
    let done = fixture.store().compact(policy(1_000, 10)).await?;
    ensure_eq!((done.chunks, done.chunk_bytes), (6, 240), "what was deleted");
    let again = fixture.store().compact(policy(1_000, 10)).await?;
    ensure_eq!(again.chunks, 0, "what was deleted the second time");
    for _ in 0..2 {
        let store = fixture.store();
        let compacted = Err(StoreError::Compacted { oldest: Seq(6) });
        ensure_eq!(store.read_chunks(brane(1), Seq(0), 100).await, compacted, "after 0");
        ensure_eq!(store.read_chunks(brane(1), Seq(5), 100).await, compacted, "after 5");
        expect_filled(fixture, 1, 6..10).await?;
        let report = store.verify_brane(brane(1)).await?;
        ensure_eq!((report.chunks, report.oldest, report.damage_count), (4, Seq(6), 0), "report");
        fixture.crash().await?;
    }
    let opened = fixture.store().open(brane(1)).await?;
    ensure_eq!((opened.head, opened.torn), (Seq(10), None), "head and tail");
    fill(&fixture.store(), 1, opened.epoch, 10..12).await?;
    expect_filled(fixture, 1, 6..12).await
}

async fn keeps_what_no_snapshot_covers(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    let mut hard = policy(1_000_000, 0);
    hard.max_journal_bytes = Some(0);
    ensure_eq!(fixture.store().compact(hard).await?.chunks, 0, "chunks deleted without a snapshot");
    let covered = snapshot(&fixture.store(), 1, epoch, 10, 1).await?;
    ensure_eq!(fixture.store().compact(hard).await?.chunks, 10, "chunks deleted when covered");
    fixture.reopen().await?;
    let store = fixture.store();
    let compacted = Err(StoreError::Compacted { oldest: Seq(10) });
    ensure_eq!(store.read_chunks(brane(1), Seq(3), 100).await, compacted, "after 3");
    let opened = store.open(brane(1)).await?;
    ensure_eq!(newest(&opened), Some(covered), "the snapshot");
    ensure_eq!((opened.head, opened.torn), (Seq(10), None), "head and tail of an empty journal");
    fill(&store, 1, opened.epoch, 10..13).await?;
    expect_filled(fixture, 1, 10..13).await
}

async fn keeps_young_chunks(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    snapshot(&fixture.store(), 1, epoch, 10, 1).await?;
    // Now is second 14 and 10 s are kept: the chunks of seconds 1 to 3 go.
    let done = fixture.store().compact(policy(14, 10)).await?;
    ensure_eq!(done.chunks, 3, "chunks deleted");
    expect_filled(fixture, 1, 3..10).await?;
    let done = fixture.store().compact(policy(5, 10)).await?;
    ensure_eq!(done.chunks, 0, "chunks deleted when all are young");
    Ok(())
}

async fn deletes_down_to_a_cap(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let long = opened(&store, 1).await?.epoch;
    let short = opened(&store, 2).await?.epoch;
    fill(&store, 1, long, 0..20).await?;
    fill(&store, 2, short, 0..5).await?;
    snapshot(&store, 1, long, 18, 1).await?;
    snapshot(&store, 2, short, 5, 1).await?;
    // 25 chunks of 40 bytes; 600 bytes are 15 chunks.
    let cap = CompactPolicy { max_journal_bytes: Some(600), ..policy(0, 1_000) };
    ensure_eq!(store.compact(cap).await?.chunks, 10, "chunks deleted");
    expect_filled(fixture, 1, 10..20).await?;
    expect_filled(fixture, 2, 0..5).await?;
    ensure_eq!(store.compact(cap).await?.chunks, 0, "chunks deleted below the cap");
    Ok(())
}

async fn keeps_the_newest_snapshots(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    let mut ids = Vec::new();
    for at in [2, 4, 6, 8] {
        ids.push(snapshot(&fixture.store(), 1, epoch, at, 2).await?);
    }
    let done = fixture.store().compact(careful(0, 1_000)).await?;
    ensure_eq!((done.snapshots, done.chunks), (2, 0), "snapshots and chunks deleted");
    fixture.crash().await?;
    let store = fixture.store();
    for (nth, id) in ids.iter().enumerate() {
        let read = store.read_snapshot_part(brane(1), *id, 1).await;
        let expected = match nth {
            0 | 1 => Err(StoreError::UnknownSnapshot { brane: brane(1), snapshot: *id }),
            _ => Ok(part(2 + 2 * nth as u64, 1)),
        };
        ensure!(read == expected, "the part of snapshot {nth} of 4");
    }
    let none = CompactPolicy { keep_snapshots: 0, ..policy(0, 1_000) };
    store.compact(none).await?;
    let left = newest(&store.open(brane(1)).await?);
    ensure_eq!(left, ids.last().copied(), "the newest snapshot is always kept");
    Ok(())
}

async fn compacts_long_journals(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    let group = (0..1_000).map(|from| crate::testing::samples::chunk(1, epoch, from, from + 1));
    let answers = store.append(group.collect()).await?;
    ensure!(answers.iter().all(Result::is_ok), "a chunk was refused");
    snapshot(&store, 1, epoch, 990, 1).await?;
    let done = store.compact(policy(100_000, 1)).await?;
    if (done.chunks, done.skipped) != (990, 0) {
        return Err(Failure(format!("{done:?}, not 990 chunks")));
    }
    expect_filled(fixture, 1, 990..1_000).await
}

async fn keeps_something_to_fall_back_on(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    let mut ids = Vec::new();
    for at in [2, 4, 8] {
        ids.push(snapshot(&fixture.store(), 1, epoch, at, 2).await?);
    }
    let hard = CompactPolicy { max_journal_bytes: Some(0), ..careful(1_000_000, 0) };
    let done = fixture.store().compact(hard).await?;
    ensure_eq!((done.snapshots, done.chunks), (1, 4), "snapshots and chunks deleted");
    fixture.damage(Place::Part { brane: brane(1), snapshot: ids[2], index: 0 }).await?;
    let opened = fixture.store().open(brane(1)).await?;
    let found: Vec<_> = opened.snapshots.iter().map(|info| (info.id, info.at)).collect();
    ensure_eq!(found, vec![(ids[2], Seq(8)), (ids[1], Seq(4))], "the snapshots");
    for index in 0..2 {
        let read = fixture.store().read_snapshot_part(brane(1), ids[1], index).await?;
        ensure!(read == part(4, index), "part {index} of the snapshot to fall back on");
    }
    expect_filled(fixture, 1, 4..10).await
}

async fn keeps_the_journal_of_a_single_snapshot(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    let id = snapshot(&fixture.store(), 1, epoch, 8, 1).await?;
    let hard = CompactPolicy { max_journal_bytes: Some(0), ..careful(1_000_000, 0) };
    ensure_eq!(fixture.store().compact(hard).await?.chunks, 0, "chunks deleted");
    expect_filled(fixture, 1, 0..10).await?;
    // A second one at the same edit is as good to fall back on.
    let again = snapshot(&fixture.store(), 1, epoch, 8, 1).await?;
    ensure_eq!(fixture.store().compact(hard).await?.chunks, 8, "chunks deleted");
    let opened = fixture.store().open(brane(1)).await?;
    let found: Vec<_> = opened.snapshots.iter().map(|info| info.id).collect();
    ensure_eq!(found, vec![again, id], "the snapshots");
    expect_filled(fixture, 1, 8..10).await
}
