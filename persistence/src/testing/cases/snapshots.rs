//! Snapshots: whole or not at all.

use avvy_model::Seq;
use bytes::Bytes;

use super::Case;
use super::list;
use crate::error::{Place, StoreError};
use crate::report::CompactPolicy;
use crate::snapshot::{MAX_PART_BYTES, SnapshotInfo};
use crate::testing::fixture::{Failure, Fixture, Verdict};
use crate::testing::samples::{
    brane, ensure, ensure_eq, expect_filled, fill, newest, opened, part, snapshot, start,
};

pub(super) const CASES: &[Case] = list![
    keeps_a_snapshot,
    opens_from_the_newest_snapshot,
    hides_an_unfinished_snapshot,
    refuses_an_incomplete_snapshot,
    refuses_a_snapshot_ahead_of_the_journal,
    gives_up_a_snapshot,
    appends_while_a_snapshot_is_written,
    reads_no_damaged_part,
    opens_past_a_damaged_entry,
    cuts_nothing_that_a_damaged_entry_may_hold,
];

async fn keeps_a_snapshot(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..5).await?;
    let id = snapshot(&store, 1, epoch, 4, 3).await?;
    ensure_eq!(store.finish_snapshot(brane(1), id, 3).await, Ok(()), "finishing again");
    let bytes = (0..3).map(|index| part(4, index).len() as u64).sum();
    let expected = SnapshotInfo { id, epoch, at: Seq(4), parts: 3, bytes, taken_ms: 4_000 };
    for life in 0..3 {
        let store = fixture.store();
        let opened = store.open(brane(1)).await?;
        ensure_eq!(opened.snapshots, vec![expected], "the snapshot, life {life}");
        ensure_eq!(opened.head, Seq(5), "the head, life {life}");
        for index in 0..3 {
            let found = store.read_snapshot_part(brane(1), id, index).await?;
            ensure!(found == part(4, index), "part {index} is not what was put, life {life}");
        }
        let beyond = store.read_snapshot_part(brane(1), id, 3).await;
        let unknown = StoreError::UnknownSnapshot { brane: brane(1), snapshot: id };
        ensure_eq!(beyond, Err(unknown), "a part beyond the last");
        match life {
            0 => fixture.crash().await?,
            _ => fixture.reopen().await?,
        }
    }
    Ok(())
}

async fn opens_from_the_newest_snapshot(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    let mut epoch = epoch;
    let mut ids = Vec::new();
    for at in [3, 3, 6, 9, 8] {
        let id = snapshot(&fixture.store(), 1, epoch, at, 1).await?;
        ensure!(!ids.contains(&id), "a snapshot's name is used again");
        ids.push(id);
        fixture.crash().await?;
        let opened = fixture.store().open(brane(1)).await?;
        epoch = opened.epoch;
        let newest = opened.snapshots.first().map(|info| (info.id, info.at));
        // The furthest one; of two at the same edit the later one.
        let expected = if at == 8 { (ids[3], Seq(9)) } else { (id, Seq(at)) };
        ensure_eq!(newest, Some(expected), "the newest snapshot");
    }
    let found = fixture.store().open(brane(1)).await?.snapshots;
    let found: Vec<_> = found.iter().map(|info| (info.id, info.at.0)).collect();
    let expected = vec![(ids[3], 9), (ids[4], 8), (ids[2], 6), (ids[1], 3), (ids[0], 3)];
    ensure_eq!(found, expected, "all snapshots, newest first");
    Ok(())
}

async fn hides_an_unfinished_snapshot(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..5).await?;
    let id = store.begin_snapshot(start(1, epoch, 5)).await?;
    store.put_snapshot_part(brane(1), id, 0, part(5, 0)).await?;
    let unknown = StoreError::UnknownSnapshot { brane: brane(1), snapshot: id };
    for life in 0..3 {
        let store = fixture.store();
        let opened = store.open(brane(1)).await?;
        ensure_eq!(opened.snapshots, vec![], "the snapshots, life {life}");
        let read = store.read_snapshot_part(brane(1), id, 0).await;
        ensure_eq!(read, Err(unknown.clone()), "its part, life {life}");
        if life > 0 {
            let put = store.put_snapshot_part(brane(1), id, 1, part(5, 1)).await;
            ensure_eq!(put, Err(unknown.clone()), "another part, life {life}");
            let finish = store.finish_snapshot(brane(1), id, 1).await;
            ensure_eq!(finish, Err(unknown.clone()), "finishing it, life {life}");
        }
        match life {
            0 => fixture.crash().await?,
            _ => fixture.reopen().await?,
        }
    }
    Ok(())
}

async fn refuses_an_incomplete_snapshot(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..5).await?;
    let id = store.begin_snapshot(start(1, epoch, 5)).await?;
    for index in [0, 2, 3] {
        store.put_snapshot_part(brane(1), id, index, part(5, index)).await?;
    }
    for parts in [1, 2, 3, 4, 0] {
        let answer = store.finish_snapshot(brane(1), id, parts).await;
        let is_refused = matches!(answer, Err(StoreError::SnapshotIncomplete { .. }));
        ensure!(is_refused, "finishing {parts} parts of 0, 2, 3: {answer:?}");
    }
    store.put_snapshot_part(brane(1), id, 2, Bytes::from_static(b"replaced")).await?;
    store.put_snapshot_part(brane(1), id, 1, part(5, 1)).await?;
    store.finish_snapshot(brane(1), id, 4).await?;
    let replaced = store.read_snapshot_part(brane(1), id, 2).await?;
    ensure_eq!(replaced, Bytes::from_static(b"replaced"), "a part that was put twice");
    let long = Bytes::from(vec![0; MAX_PART_BYTES + 1]);
    let next = store.begin_snapshot(start(1, epoch, 5)).await?;
    let answer = store.put_snapshot_part(brane(1), next, 0, long).await;
    ensure!(matches!(answer, Err(StoreError::Invalid(_))), "a long part: {answer:?}");
    Ok(())
}

async fn refuses_a_snapshot_ahead_of_the_journal(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..5).await?;
    let answer = snapshot(&store, 1, epoch, 6, 1).await;
    ensure_eq!(answer, Err(StoreError::SnapshotAhead { head: Seq(5) }), "a snapshot at 6");
    ensure_eq!(store.open(brane(1)).await?.snapshots, vec![], "the snapshots");
    Ok(())
}

async fn gives_up_a_snapshot(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..5).await?;
    let first = store.begin_snapshot(start(1, epoch, 5)).await?;
    for index in 0..40 {
        store.put_snapshot_part(brane(1), first, index, part(5, index)).await?;
    }
    let second = store.begin_snapshot(start(1, epoch, 5)).await?;
    let unknown = |snapshot| StoreError::UnknownSnapshot { brane: brane(1), snapshot };
    let put = store.put_snapshot_part(brane(1), first, 40, part(5, 40)).await;
    ensure_eq!(put, Err(unknown(first)), "a part of the snapshot that was replaced");
    store.put_snapshot_part(brane(1), second, 0, part(5, 0)).await?;
    store.abort_snapshot(brane(1), second).await?;
    ensure_eq!(store.abort_snapshot(brane(1), second).await, Ok(()), "giving up again");
    let finish = store.finish_snapshot(brane(1), second, 1).await;
    ensure_eq!(finish, Err(unknown(second)), "finishing what was given up");
    let third = snapshot(&store, 1, epoch, 5, 2).await?;
    ensure!(third != first && third != second, "a snapshot's name is used again");
    store.abort_snapshot(brane(1), third).await?;
    let left = newest(&store.open(brane(1)).await?);
    ensure_eq!(left, Some(third), "a finished snapshot is not given up");
    Ok(())
}

async fn appends_while_a_snapshot_is_written(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..5).await?;
    let id = store.begin_snapshot(start(1, epoch, 5)).await?;
    for index in 0..10 {
        store.put_snapshot_part(brane(1), id, index, part(5, index)).await?;
        fill(&store, 1, epoch, 5 + u64::from(index)..6 + u64::from(index)).await?;
    }
    store.finish_snapshot(brane(1), id, 10).await?;
    fixture.crash().await?;
    let opened = fixture.store().open(brane(1)).await?;
    ensure_eq!(opened.head, Seq(15), "the head");
    ensure_eq!(opened.snapshots.first().map(|info| info.at), Some(Seq(5)), "the snapshot");
    expect_filled(fixture, 1, 0..15).await
}

async fn reads_no_damaged_part(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..5).await?;
    let id = snapshot(&fixture.store(), 1, epoch, 5, 3).await?;
    let place = Place::Part { brane: brane(1), snapshot: id, index: 1 };
    fixture.damage(place.clone()).await?;
    let store = fixture.store();
    for index in [0, 2] {
        let found = store.read_snapshot_part(brane(1), id, index).await?;
        ensure!(found == part(5, index), "part {index} is not what was put");
    }
    match store.read_snapshot_part(brane(1), id, 1).await {
        Err(StoreError::Damaged { place: found, .. }) => {
            ensure_eq!(found, place, "the place");
            Ok(())
        }
        other => Err(Failure(format!("a damaged part was read: {other:?}"))),
    }
}

async fn opens_past_a_damaged_entry(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    let older = snapshot(&fixture.store(), 1, epoch, 4, 1).await?;
    let newer = snapshot(&fixture.store(), 1, epoch, 8, 1).await?;
    let place = Place::Snapshot { brane: brane(1), snapshot: newer };
    fixture.damage(place.clone()).await?;
    let store = fixture.store();
    let opened = store.open(brane(1)).await?;
    let found: Vec<_> = opened.snapshots.iter().map(|info| info.id).collect();
    ensure_eq!((found, opened.head), (vec![older], Seq(10)), "the snapshots and the head");
    let read = store.read_snapshot_part(brane(1), newer, 0).await;
    ensure!(matches!(read, Err(StoreError::Damaged { .. })), "its part: {read:?}");
    let report = store.verify_brane(brane(1)).await?;
    let places: Vec<_> = report.damages.into_iter().map(|damage| damage.place).collect();
    ensure_eq!(places, vec![place], "what an inspection finds");
    // What it covers is not known, so nothing is deleted for it.
    let policy = CompactPolicy {
        now_ms: u64::MAX,
        retention_ms: 0,
        max_journal_bytes: Some(0),
        keep_snapshots: 1,
    };
    let done = store.compact(policy).await?;
    ensure_eq!((done.chunks, done.snapshots), (0, 0), "chunks and snapshots deleted");
    ensure!(done.skipped > 0, "the compaction does not say that it skipped a brane");
    expect_filled(fixture, 1, 0..10).await
}

async fn cuts_nothing_that_a_damaged_entry_may_hold(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    let id = snapshot(&fixture.store(), 1, epoch, 10, 1).await?;
    let policy = CompactPolicy {
        now_ms: u64::MAX,
        retention_ms: 0,
        max_journal_bytes: None,
        keep_snapshots: 1,
    };
    ensure_eq!(fixture.store().compact(policy).await?.chunks, 10, "chunks deleted");
    fixture.damage(Place::Snapshot { brane: brane(1), snapshot: id }).await?;
    for attempt in 0..2 {
        let answer = fixture.store().open(brane(1)).await;
        let is_refused = matches!(answer, Err(StoreError::Damaged { .. }));
        ensure!(is_refused, "a brane without journal and snapshot, attempt {attempt}: {answer:?}");
    }
    ensure_eq!(fixture.store().verify_brane(brane(1)).await?.head, Seq(10), "the head");
    Ok(())
}
