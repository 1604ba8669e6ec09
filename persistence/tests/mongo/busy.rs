//! What goes on while a brane is written without a pause, however long each
//! look takes.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use avvy_model::{Epoch, Seq};
use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::{ChunkWrite, CompactPolicy, SnapshotStart, Store};
use mongodb::bson::{Document, doc};

use crate::common::{brane, chunk, part, snapshot};
use crate::help::{Faults, chunks, database, opened, options, store};

const SLOW: &str = "slow";

/// Does work on a store that is answered late, while another appends chunk
/// after chunk; what it writes is whole afterwards.
async fn beside_a_writer<T>(writer: &MongoStore, epoch: Epoch, work: impl Future<Output = T>) -> T {
    let faults = Faults::own().await;
    let late = doc! {"blockConnection": true, "blockTimeMS": 100};
    faults.plan(SLOW, &["find"], 1_000, late);
    let stop = AtomicBool::new(false);
    let work = async {
        let answer = work.await;
        stop.store(true, Ordering::Relaxed);
        answer
    };
    let write = async {
        let mut at = writer.verify_brane(brane(1)).await.unwrap().head.0;
        while !stop.load(Ordering::Relaxed) {
            let next = vec![chunk(1, epoch, at, at + 1)];
            assert_eq!(writer.append(next).await, Ok(vec![Ok(())]));
            at += 1;
        }
        at
    };
    let (answer, head) = tokio::join!(work, write);
    drop(faults);
    let report = writer.verify_brane(brane(1)).await.unwrap();
    assert_eq!((report.head, report.damage_count), (Seq(head), 0), "{:?}", report.damages);
    answer
}

/// Another way to the same database, that is answered late and soon tired.
async fn slow(options: &MongoOptions) -> std::sync::Arc<MongoStore> {
    let app_name = SLOW.to_owned();
    store(&MongoOptions { app_name, timeout_ms: 10_000, ..options.clone() }).await
}

#[tokio::test]
async fn a_snapshot_is_finished() {
    let options = options();
    let (writer, slow) = (store(&options).await, slow(&options).await);
    opened(&writer, 1).await;
    let epoch = slow.open(brane(1)).await.unwrap().epoch;
    slow.append(chunks(1, epoch, 0..5)).await.unwrap();
    let start = SnapshotStart { brane: brane(1), epoch, at: Seq(5), taken_ms: 1 };
    let id = slow.begin_snapshot(start).await.unwrap();
    slow.put_snapshot_part(brane(1), id, 0, part(1, 5, 0)).await.unwrap();
    let finish = slow.finish_snapshot(brane(1), id, 1);
    assert_eq!(beside_a_writer(&writer, epoch, finish).await, Ok(()));
}

#[tokio::test]
async fn what_is_due_is_deleted() {
    let options = options();
    let (writer, slow) = (store(&options).await, slow(&options).await);
    let epoch = opened(&writer, 1).await.epoch;
    writer.append(chunks(1, epoch, 0..500)).await.unwrap();
    snapshot(writer.as_ref(), 1, epoch, 500).await.unwrap();
    let compact = slow.compact(CompactPolicy {
        now_ms: u64::MAX,
        retention_ms: 0,
        max_journal_bytes: None,
        keep_snapshots: 1,
    });
    assert_eq!(beside_a_writer(&writer, epoch, compact).await.unwrap().chunks, 500);
}

/// A brane that somebody holds for long is left for another time, and what is
/// too much goes from the others.
#[tokio::test]
async fn a_brane_that_is_held_up_does_not_keep_what_is_too_much() {
    let options = options();
    let writer = store(&options).await;
    for nth in 1..3 {
        let epoch = opened(&writer, nth).await.epoch;
        let edits = 100 / u64::from(nth);
        writer.append(chunks(nth, epoch, 0..edits)).await.unwrap();
        snapshot(writer.as_ref(), nth, epoch, edits).await.unwrap();
    }
    let tired = store(&MongoOptions { timeout_ms: 10_000, ..options.clone() }).await;
    // Of another name, so that it is not ended.
    let other = MongoOptions { app_name: "holds".to_owned(), ..options };
    let branes = database(&other).await.collection::<Document>("branes");
    let mut session = branes.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let longest = doc! {"_id": brane(1).to_string()};
    let held = branes.update_one(longest, doc! {"$set": {"held": 1}});
    assert_eq!(held.session(&mut session).await.unwrap().matched_count, 1);
    let policy =
        CompactPolicy { now_ms: 1, retention_ms: 1, max_journal_bytes: Some(0), keep_snapshots: 1 };
    assert_eq!(tired.compact(policy).await.unwrap().chunks, 50);
    session.abort_transaction().await.unwrap();
    assert_eq!(tired.compact(policy).await.unwrap().chunks, 100);
}

/// An append needs no turn among the tasks of whoever asks for it.
#[tokio::test]
async fn an_append_goes_on_while_its_caller_is_busy() {
    let options = options();
    let writer = store(&options).await;
    let epoch = opened(&writer, 1).await.epoch;
    let append = tokio::spawn(async move { writer.append(chunks(1, epoch, 0..1)).await });
    tokio::task::yield_now().await;
    // From here on this thread, on which all of this test's tasks are, is busy.
    let stored = std::thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let other = store(&options).await;
            for _ in 0..6_000 {
                if other.verify_brane(brane(1)).await.unwrap().head == Seq(1) {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            false
        })
    });
    assert!(stored.join().unwrap(), "it is not stored");
    assert_eq!(append.await.unwrap(), Ok(vec![Ok(())]));
}

/// What compaction takes away or splits while a brane is looked through is not
/// missed, and not found twice.
#[tokio::test]
async fn a_brane_that_is_compacted_meanwhile_is_whole() {
    let options = options();
    let writer = store(&options).await;
    let faults = Faults::own().await;
    let policy = CompactPolicy {
        now_ms: u64::MAX,
        retention_ms: 0,
        max_journal_bytes: None,
        keep_snapshots: 1,
    };
    let looks = (1..22).flat_map(|find| [(find, false), (find, true)]);
    for (nth, (find, goes_on)) in (1..).zip(looks) {
        let epoch = opened(&writer, nth).await.epoch;
        // As much as is read at once, and at its end a pack of more than is due.
        let long = |from| ChunkWrite {
            body: vec![nth; (1 << 20) - 10].into(),
            ..chunk(nth, epoch, from, from + 1)
        };
        let all = (0..4).map(long).chain(chunks(nth, epoch, 4..12)).chain([long(12)]);
        writer.append(all.collect()).await.unwrap();
        for at in [4, 8] {
            snapshot(writer.as_ref(), nth, epoch, at).await.unwrap();
        }
        // The look stops before this one of its searches.
        let slow = slow(&options).await;
        let late = doc! {"blockConnection": true, "blockTimeMS": 300};
        let met = faults.met();
        faults.plan_from(SLOW, &["find"], find - 1, late);
        let look = tokio::spawn(async move { slow.verify_brane(brane(nth)).await.unwrap() });
        faults.wait(met + 1).await;
        let lifted = faults.lift();
        let mut due = 8;
        if goes_on {
            // Up to where its head was nothing is left.
            due = 13;
            writer.append(chunks(nth, epoch, due..due + 1)).await.unwrap();
            snapshot(writer.as_ref(), nth, epoch, due).await.unwrap();
        }
        assert_eq!(writer.compact(policy).await.unwrap().chunks, due);
        let report = look.await.unwrap();
        let damages = (report.damages, report.torn);
        assert_eq!(damages, (Vec::new(), None), "search {find}, {goes_on}");
        lifted.await.unwrap();
    }
}
