//! Several processes on one database.

use avvy_model::Seq;
use avvy_persistence::cache::{Member, MetaSet, SharedSet};
use avvy_persistence::mongo::MongoOptions;
use avvy_persistence::{
    AppendRefusal, ChunkWrite, CompactPolicy, SnapshotStart, Store, StoreError,
};
use bytes::Bytes;
use mongodb::bson::doc;

use crate::common::{brane, chunk, part, snapshot};
use crate::help::{Faults, chunks, database, expect_journal, opened, options, store};

#[tokio::test]
async fn the_older_of_two_writers_is_refused() {
    let options = options();
    let (old, new) = (store(&options).await, store(&options).await);
    let before = opened(&old, 1).await.epoch;
    let kept = chunks(1, before, 0..3);
    assert_eq!(old.append(kept.clone()).await, Ok(vec![Ok(()); 3]));
    let current = new.open(brane(1)).await.unwrap().epoch;
    let stale = Err(AppendRefusal::StaleEpoch { current });
    assert_eq!(old.append(chunks(1, before, 3..4)).await, Ok(vec![stale]));
    // What it was told of before counts as done, also now.
    assert_eq!(old.append(kept.clone()).await, Ok(vec![Ok(()); 3]));
    let more = chunks(1, current, 3..5);
    assert_eq!(new.append(more.clone()).await, Ok(vec![Ok(()); 2]));
    expect_journal(&new, 1, &[kept, more].concat()).await;
}

#[tokio::test]
async fn a_writer_is_shut_out_between_two_of_its_chunks() {
    let options = options();
    let (old, new) = (store(&options).await, store(&options).await);
    let before = opened(&old, 1).await.epoch;
    let (so_far, mut told) = tokio::sync::watch::channel(0_u64);
    let writer = async {
        let mut kept = Vec::new();
        for from in 0.. {
            let next = chunk(1, before, from, from + 1);
            match old.append(vec![next.clone()]).await.unwrap()[0] {
                Ok(()) => kept.push(next),
                Err(refusal) => return (kept, refusal),
            }
            so_far.send_replace(from);
        }
        unreachable!("nobody shut the writer out")
    };
    let opener = async {
        told.wait_for(|from| *from >= 5).await.unwrap();
        new.open(brane(1)).await.unwrap()
    };
    let ((kept, refusal), opened) = tokio::join!(writer, opener);
    assert_eq!(refusal, AppendRefusal::StaleEpoch { current: opened.epoch });
    assert_eq!(opened.head, Seq(kept.len() as u64), "the opening saw another journal");
    expect_journal(&new, 1, &kept).await;
}

#[tokio::test]
async fn of_two_that_append_at_the_same_place_one_is_refused() {
    let options = options();
    let (one, other) = (store(&options).await, store(&options).await);
    let epoch = opened(&one, 1).await.epoch;
    for from in 0..10 {
        let mut rival = chunk(1, epoch, from, from + 1);
        rival.body = Bytes::from_static(b"of the other");
        let own = chunk(1, epoch, from, from + 1);
        let (left, right) = tokio::join!(one.append(vec![own]), other.append(vec![rival]));
        let mut answers = [left.unwrap()[0], right.unwrap()[0]];
        answers.sort_by_key(Result::is_err);
        let gap = Err(AppendRefusal::Gap { head: Seq(from + 1) });
        assert_eq!(answers, [Ok(()), gap]);
    }
    let report = one.verify_brane(brane(1)).await.unwrap();
    assert_eq!((report.head, report.chunks, report.damage_count), (Seq(10), 10, 0));
}

#[tokio::test]
async fn groups_of_many_branes_that_overlap_are_all_stored() {
    let options = options();
    let (one, other) = (store(&options).await, store(&options).await);
    let mut epochs = Vec::new();
    for nth in 0..8 {
        epochs.push(opened(&one, nth).await.epoch);
    }
    for round in 0..5 {
        // Both stores write to all branes, in opposite orders.
        let of = |nth: u8| chunk(nth, epochs[nth as usize], round, round + 1);
        let up: Vec<_> = (0..8).map(of).collect();
        let down: Vec<_> = (0..8).rev().map(of).collect();
        let (up, down) = tokio::join!(one.append(up), other.append(down));
        assert_eq!((up, down), (Ok(vec![Ok(()); 8]), Ok(vec![Ok(()); 8])));
    }
    for nth in 0..8 {
        expect_journal(&other, nth, &chunks(nth, epochs[nth as usize], 0..5)).await;
    }
}

#[tokio::test]
async fn what_a_dead_process_was_writing_goes_and_what_a_live_one_is_stays() {
    let options = options();
    let (dead, live) = (store(&options).await, store(&options).await);
    let policy =
        CompactPolicy { now_ms: 1, retention_ms: 0, max_journal_bytes: None, keep_snapshots: 2 };
    let parts = database(&options).await.collection::<mongodb::bson::Document>("snapshot_parts");
    let count = || async { parts.count_documents(mongodb::bson::doc! {}).await.unwrap() };

    let epoch = opened(&dead, 1).await.epoch;
    let start = SnapshotStart { brane: brane(1), epoch, at: Seq(0), taken_ms: 1 };
    let id = dead.begin_snapshot(start).await.unwrap();
    dead.put_snapshot_part(brane(1), id, 0, part(1, 0, 0)).await.unwrap();
    live.compact(policy).await.unwrap();
    assert_eq!(count().await, 1, "somebody may still be writing it");
    dead.put_snapshot_part(brane(1), id, 1, part(1, 0, 1)).await.unwrap();

    let current = live.open(brane(1)).await.unwrap().epoch;
    let stale = Err(StoreError::StaleEpoch { current });
    assert_eq!(dead.finish_snapshot(brane(1), id, 2).await, stale);
    snapshot(live.as_ref(), 1, current, 0).await.unwrap();
    live.compact(policy).await.unwrap();
    assert_eq!(count().await, 3, "parts of the snapshot that can be seen");
    let unknown = Err(StoreError::UnknownSnapshot { brane: brane(1), snapshot: id });
    assert_eq!(dead.finish_snapshot(brane(1), id, 2).await, unknown);
    assert_eq!(live.verify_brane(brane(1)).await.unwrap().damage_count, 0);
}

/// What each of two processes is told is kept is kept, also when both add to
/// the same page and the first members end.
#[tokio::test(flavor = "multi_thread")]
async fn sets_to_which_two_add_at_once_keep_all() {
    let options = options();
    let set = async || MetaSet::new(store(&options).await, "revoked");
    let member = |nth: u16, until_s| {
        let name = [&nth.to_be_bytes()[..], &[7; 31]].concat();
        Member { name, until_s }
    };
    let (one, other) = (set().await, set().await);
    one.add((0..2_000).map(|nth| member(nth, 10 + u64::from(nth % 20))).collect(), 0)
        .await
        .unwrap();
    for round in 0..20 {
        let mine = |side: u16| vec![member(2_000 + 2 * round + side, 1_000)];
        let now_s = 10 + u64::from(round);
        let added = tokio::join!(one.add(mine(0), now_s), other.add(mine(1), now_s));
        assert_eq!(added, (Ok(()), Ok(())), "round {round}");
    }
    let mut kept = set().await.all().await.unwrap();
    kept.retain(|member| member.until_s == 1_000);
    kept.sort();
    assert_eq!(kept, (2_000..2_040).map(|nth| member(nth, 1_000)).collect::<Vec<_>>());
}

/// A group that continues what this store has stored is an insertion, a change
/// of heads and a commit; nothing is read for it.
#[tokio::test]
async fn a_journal_that_is_continued_is_not_read_again() {
    let faults = Faults::own().await;
    let options = MongoOptions { app_name: "unread".to_owned(), ..options() };
    let store = store(&options).await;
    let mut epochs = Vec::new();
    for nth in 0..3 {
        epochs.push(opened(&store, nth).await.epoch);
    }
    let group = |from: u64| -> Vec<ChunkWrite> {
        (0..3).flat_map(|nth| chunks(nth, epochs[nth as usize], from..from + 2)).collect()
    };
    assert_eq!(store.append(group(0)).await, Ok(vec![Ok(()); 6]));
    let (before, met) = (store.writes().unwrap(), faults.met());
    faults.plan("unread", &["find", "aggregate"], 1, doc! {"errorCode": 2});
    for round in 1..4 {
        assert_eq!(store.append(group(2 * round)).await, Ok(vec![Ok(()); 6]));
    }
    assert_eq!(faults.met() - met, 0, "it was read");
    let after = store.writes().unwrap();
    assert_eq!(after.operations - before.operations, 6);
    assert_eq!(after.commits - before.commits, 3);
    // Two of each brane are one document.
    assert_eq!(after.documents - before.documents, 3 * (3 + 3));
    assert_eq!(after.chunks - before.chunks, 18);
    let bodies: u64 = (1..4).flat_map(group_bodies(&group)).sum();
    assert_eq!(after.chunk_bytes - before.chunk_bytes, bodies);
    let overhead = (after.bytes - before.bytes - bodies) / 18;
    assert!((200..800).contains(&overhead), "{overhead} bytes beside each body");
    for nth in 0..3 {
        expect_journal(&store, nth, &chunks(nth, epochs[nth as usize], 0..8)).await;
    }
}

/// The lengths of the bodies of the nth group.
fn group_bodies(group: &impl Fn(u64) -> Vec<ChunkWrite>) -> impl Fn(u64) -> Vec<u64> {
    |nth| group(2 * nth).iter().map(|chunk| chunk.body.len() as u64).collect()
}

/// What others did to a journal is found when it is continued.
#[tokio::test]
async fn a_journal_that_others_changed_is_read_again() {
    let options = options();
    let (one, other) = (store(&options).await, store(&options).await);
    let epoch = opened(&one, 1).await.epoch;
    assert_eq!(one.append(chunks(1, epoch, 0..4)).await, Ok(vec![Ok(()); 4]));
    // The head counts fewer chunks.
    snapshot(other.as_ref(), 1, epoch, 4).await.unwrap();
    let policy = CompactPolicy {
        now_ms: 1 << 40,
        retention_ms: 0,
        max_journal_bytes: None,
        keep_snapshots: 1,
    };
    assert_eq!(other.compact(policy).await.unwrap().chunks, 4);
    assert_eq!(one.append(chunks(1, epoch, 4..6)).await, Ok(vec![Ok(()); 2]));
    // It goes on at another place.
    assert_eq!(other.append(chunks(1, epoch, 6..7)).await, Ok(vec![Ok(())]));
    let gap = Err(AppendRefusal::Gap { head: Seq(7) });
    let mut rival = chunk(1, epoch, 6, 7);
    rival.body = Bytes::from_static(b"of the other");
    assert_eq!(one.append(vec![rival]).await, Ok(vec![gap]));
    assert_eq!(one.append(chunks(1, epoch, 6..8)).await, Ok(vec![Ok(()); 2]));
    let report = other.verify_brane(brane(1)).await.unwrap();
    assert_eq!((report.head, report.chunks, report.damage_count), (Seq(8), 4, 0));
}
