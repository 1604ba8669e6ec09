//! The newest chunks, in the documents of their branes.

use std::time::Duration;

use avvy_model::{Epoch, Seq};
use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::{
    AppendRefusal, BraneRecord, ChunkWrite, CompactPolicy, Life, Store, StoreError,
};
use mongodb::Collection;
use mongodb::bson::{Document, doc};

use crate::common::{brane, chunk, record, snapshot};
use crate::help::{Faults, chunks, database, expect_journal, opened, options, store};

/// Keeps what no snapshot has.
const HARD: CompactPolicy =
    CompactPolicy { now_ms: u64::MAX, retention_ms: 0, max_journal_bytes: None, keep_snapshots: 1 };

/// Chunks are appended one by one.
async fn append_each(store: &MongoStore, all: &[ChunkWrite]) {
    for chunk in all {
        assert_eq!(store.append(vec![chunk.clone()]).await, Ok(vec![Ok(())]), "{:?}", chunk.from);
    }
}

/// The documents of a brane, and of its chunks.
struct Found {
    branes: Collection<Document>,
    chunks: Collection<Document>,
    /// What openings put aside.
    aside: Collection<Document>,
    key: Document,
}

impl Found {
    async fn of(options: &MongoOptions, nth: u8) -> Self {
        let db = database(options).await;
        let key = doc! {"_id": brane(nth).to_string()};
        let (branes, chunks) = (db.collection("branes"), db.collection("chunks"));
        Self { branes, chunks, aside: db.collection("cut_chunks"), key }
    }

    /// How many chunks are in the tail, and among the others.
    async fn counts(&self) -> (usize, usize) {
        let found = self.branes.find_one(self.key.clone()).await.unwrap().unwrap();
        let tail = found.get_array("tail").map_or(0, Vec::len);
        (tail, self.documents().await.into_iter().map(|(_, chunks)| chunks).sum())
    }

    /// The documents of the other chunks: the edit before, and how many chunks
    /// are in each.
    async fn documents(&self) -> Vec<(i64, usize)> {
        let filter = doc! {"_id.brane": self.key.get_str("_id").unwrap()};
        let mut found = self.chunks.find(filter).sort(doc! {"_id": 1}).await.unwrap();
        let mut documents = Vec::new();
        while found.advance().await.unwrap() {
            let found = found.deserialize_current().unwrap();
            let from = found.get_document("_id").unwrap().get_i64("from").unwrap();
            documents.push((from, found.get_array("pack").map_or(1, Vec::len)));
        }
        documents
    }

    /// Waits until a tail that is long enough has gone among the others.
    async fn moved(&self) {
        let moved = async {
            while self.counts().await.0 > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), moved).await.expect("it is moved");
    }

    /// Changes the pack that follows an edit.
    async fn change_pack(&self, from: i64, change: Document) {
        let key = doc! {"brane": self.key.get_str("_id").unwrap(), "from": from};
        let changed = self.chunks.update_one(doc! {"_id": key}, change).await.unwrap();
        assert_eq!(changed.modified_count, 1);
    }

    async fn change(&self, change: Document) {
        let changed = self.branes.update_one(self.key.clone(), change).await.unwrap();
        assert_eq!(changed.modified_count, 1);
    }
}

/// A brane whose first chunk is alone, the next five are a pack, and so many
/// more are in the tail.
async fn with_a_pack(store: &MongoStore, nth: u8, length: u64) -> (Epoch, Vec<ChunkWrite>) {
    let (_, mut all) = with_a_tail(store, nth, 5).await;
    let epoch = store.open(brane(nth)).await.unwrap().epoch;
    let more = chunks(nth, epoch, 6..6 + length);
    append_each(store, &more).await;
    all.extend(more);
    (epoch, all)
}

/// A brane with one chunk among the others and so many in its tail.
async fn with_a_tail(store: &MongoStore, nth: u8, length: u64) -> (Epoch, Vec<ChunkWrite>) {
    let epoch = opened(store, nth).await.epoch;
    let all = chunks(nth, epoch, 0..length + 1);
    append_each(store, &all).await;
    (epoch, all)
}

#[tokio::test]
async fn small_chunks_are_pushed_and_moved_when_the_tail_is_long() {
    let options = options();
    let store = store(&options).await;
    let (epoch, _) = with_a_tail(&store, 1, 3).await;
    let found = Found::of(&options, 1).await;
    assert_eq!(found.counts().await, (3, 1));
    let before = store.writes().unwrap();
    let all = chunks(1, epoch, 0..110);
    append_each(&store, &all[4..20]).await;
    let after = store.writes().unwrap();
    assert_eq!((after.operations - before.operations, after.commits - before.commits), (16, 0));
    assert_eq!(after.chunks - before.chunks, 16);
    for some in [&all[20..33], &all[33..65], &all[65..97]] {
        append_each(&store, some).await;
        found.moved().await;
    }
    append_each(&store, &all[97..]).await;
    assert_eq!(found.counts().await, (13, 97));
    assert_eq!(found.documents().await, [(0, 1), (1, 32), (33, 32), (65, 32)]);
    expect_journal(&store, 1, &all).await;
    // From wherever it is read.
    for after in [0, 1, 3, 32, 33, 34, 35, 64, 65, 66, 96, 97, 98, 108, 109, 110] {
        let read = store.read_chunks(brane(1), Seq(after), 1 << 20).await.unwrap();
        assert_eq!(read.len() as u64, 110 - after, "after {after}");
        assert_eq!(read.first().map_or(after, |first| first.from.0), after);
    }
    // A bound of bytes ends in a tail or a pack as elsewhere.
    let bodies = |range: std::ops::Range<usize>| all[range].iter().map(|chunk| chunk.body.len());
    for from in [0, 20, 40, 64, 73] {
        let bytes = bodies(from..from + 37).sum();
        let read = store.read_chunks(brane(1), Seq(from as u64), bytes).await.unwrap();
        assert_eq!(read.len(), 37, "after {from}");
    }
    // And what is told again is known, wherever it is.
    append_each(&store, &all[28..40]).await;
    append_each(&store, &all[60..105]).await;
    assert_eq!(store.append(all.clone()).await, Ok(vec![Ok(()); 110]));
    let mut other = all[50].clone();
    other.body = vec![9; 7].into();
    let answers = store.append(vec![other]).await.unwrap();
    assert!(answers[0].is_err(), "{answers:?}");
    let report = store.verify_brane(brane(1)).await.unwrap();
    assert_eq!((report.chunks, report.damage_count), (110, 0), "{:?}", report.damages);
}

/// Into two branes at once, without a pause and with some, so that tails are moved
/// before, while and after more is pushed, and by what finds them full.
#[tokio::test]
async fn a_tail_is_moved_while_more_is_pushed() {
    let options = options();
    let store = store(&options).await;
    let write = async |nth: u8, pause: Duration| {
        let epoch = opened(&store, nth).await.epoch;
        let all = chunks(nth, epoch, 0..400);
        for chunk in &all {
            append_each(&store, std::slice::from_ref(chunk)).await;
            tokio::time::sleep(pause).await;
        }
        let found = Found::of(&options, nth).await;
        assert!(found.counts().await.0 <= 64);
        expect_journal(&store, nth, &all).await;
        // What comes back is known for what it is.
        append_each(&store, &all[300..]).await;
        expect_journal(&store, nth, &all).await;
    };
    tokio::join!(write(1, Duration::ZERO), write(2, Duration::from_millis(5)));
}

/// It grows to twice its length, and goes with what comes then.
#[tokio::test]
async fn a_tail_that_cannot_be_moved_goes_when_it_is_full() {
    let options = options();
    let store = store(&options).await;
    let (epoch, _) = with_a_tail(&store, 1, 31).await;
    let all = chunks(1, epoch, 0..98);
    let found = Found::of(&options, 1).await;
    // Somebody is about to put something where the tail is to go.
    let mut session = found.branes.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let key = doc! {"brane": brane(1).to_string(), "from": 1_i64};
    let held = found.chunks.insert_one(doc! {"_id": key});
    held.session(&mut session).await.unwrap();
    append_each(&store, &all[32..65]).await;
    assert_eq!(found.counts().await, (64, 1));
    let release = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        session.abort_transaction().await.unwrap();
    };
    tokio::join!(append_each(&store, &all[65..]), release);
    assert_eq!(found.documents().await[..2], [(0, 1), (1, 64)]);
    expect_journal(&store, 1, &all).await;
}

#[tokio::test]
async fn a_chunk_of_which_several_edits_were_seen_is_found_in_the_tail() {
    let store = store(&options()).await;
    let epoch = opened(&store, 1).await.epoch;
    let all = [chunk(1, epoch, 0, 5), chunk(1, epoch, 5, 10), chunk(1, epoch, 10, 12)];
    append_each(&store, &all).await;
    for (after, expected) in [(0, 3), (4, 3), (5, 2), (7, 2), (10, 1), (11, 1), (12, 0)] {
        let read = store.read_chunks(brane(1), Seq(after), 1 << 20).await.unwrap();
        assert_eq!(read.len(), expected, "after {after}");
    }
}

#[tokio::test]
async fn who_reads_while_a_tail_is_moved_misses_nothing() {
    let options = options();
    let (one, other) = (store(&options).await, store(&options).await);
    let mut epoch = opened(&one, 1).await.epoch;
    for round in 0..20 {
        let from = 20 * round;
        // The first after an opening is not pushed, so three are in the tail.
        let ends = [0, 5, 10, 15].map(|at| (from + at, from + at + 5));
        append_each(&one, &ends.map(|(from, to)| chunk(1, epoch, from, to))).await;
        let reader = async {
            for after in [12, 15, 17, 10, 7, 15, 12, 15] {
                let read = one.read_chunks(brane(1), Seq(from + after), 1 << 20).await.unwrap();
                let found: Vec<_> = read.iter().map(|chunk| (chunk.from.0, chunk.to.0)).collect();
                assert_eq!(found, ends[after as usize / 5..], "after {after}");
            }
        };
        let ((), opened) = tokio::join!(reader, other.open(brane(1)));
        epoch = opened.unwrap().epoch;
    }
}

#[tokio::test]
async fn what_is_long_or_much_is_not_pushed() {
    let options = options();
    let store = store(&options).await;
    let (epoch, mut all) = with_a_tail(&store, 1, 2).await;
    let found = Found::of(&options, 1).await;
    let long = ChunkWrite { body: vec![7; 5_000].into(), ..chunk(1, epoch, 3, 4) };
    append_each(&store, std::slice::from_ref(&long)).await;
    assert_eq!(found.counts().await, (0, 4), "the tail goes along");
    append_each(&store, &chunks(1, epoch, 4..5)).await;
    let many = chunks(1, epoch, 5..10);
    assert_eq!(store.append(many).await, Ok(vec![Ok(()); 5]));
    assert_eq!(found.counts().await, (0, 10));
    // Not many, but more than a tail has room for.
    let big: Vec<_> = (10..20)
        .map(|from| ChunkWrite { body: vec![7; 4_000].into(), ..chunk(1, epoch, from, from + 1) })
        .collect();
    append_each(&store, &big).await;
    all.push(long);
    all.extend(chunks(1, epoch, 4..10));
    all.extend(big);
    expect_journal(&store, 1, &all).await;
}

#[tokio::test]
async fn an_opening_elsewhere_takes_the_tail_along() {
    let options = options();
    let (old, new) = (store(&options).await, store(&options).await);
    let (stale, mut all) = with_a_tail(&old, 1, 5).await;
    let (other, others) = with_a_tail(&old, 2, 5).await;
    let taken = new.open(brane(1)).await.unwrap();
    assert_eq!((taken.head, taken.torn), (Seq(6), None));
    assert_eq!(Found::of(&options, 1).await.counts().await, (0, 6));
    // Of a push into two branes the one that was taken is refused.
    let group = vec![chunk(1, stale, 6, 7), chunk(2, other, 6, 7)];
    let refused = Err(AppendRefusal::StaleEpoch { current: taken.epoch });
    assert_eq!(old.append(group).await, Ok(vec![refused, Ok(())]));
    let more = chunks(1, taken.epoch, 6..9);
    append_each(&new, &more).await;
    all.extend(more);
    expect_journal(&old, 1, &all).await;
    expect_journal(&old, 2, &[others, chunks(2, other, 6..7)].concat()).await;
}

#[tokio::test]
async fn a_push_of_which_nothing_is_known_is_done_once() {
    let faults = Faults::own().await;
    let app = "pushing";
    let store = store(&MongoOptions { app_name: app.to_owned(), ..options() }).await;
    let (epoch, mut all) = with_a_tail(&store, 1, 2).await;
    let unknown = doc! {"code": 91, "errmsg": "planned"};
    let planned = [
        // It was done, and the majority may not have it.
        doc! {"writeConcernError": unknown},
        // It was not done.
        doc! {"closeConnection": true},
        doc! {"errorCode": 10_107, "errorLabels": ["RetryableWriteError"]},
    ];
    for (nth, fault) in (0..).zip(planned) {
        let next = chunks(1, epoch, 3 * nth + 3..3 * nth + 5);
        let before = faults.met();
        faults.plan(app, &["update"], 1, fault.clone());
        assert_eq!(store.append(next[..1].to_vec()).await, Ok(vec![Ok(())]), "{fault}");
        assert_eq!(faults.met() - before, 1, "{fault}");
        // Told again, it counts as done, in the tail or out of it.
        append_each(&store, &next).await;
        append_each(&store, &next).await;
        all.extend(next);
        expect_journal(&store, 1, &all).await;
        // From here on it is known again where the journal ends.
        let next = chunks(1, epoch, all.len() as u64..all.len() as u64 + 1);
        append_each(&store, &next).await;
        all.extend(next);
    }
}

#[tokio::test]
async fn a_push_does_not_wait_for_the_dead() {
    let options = options();
    let store = store(&options).await;
    let (epoch, mut all) = with_a_tail(&store, 1, 2).await;
    let found = Found::of(&options, 1).await;
    let mut session = found.branes.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let held = found.branes.update_one(found.key.clone(), doc! {"$set": {"held": 1}});
    held.session(&mut session).await.unwrap();
    let next = chunks(1, epoch, 3..4);
    append_each(&store, &next).await;
    all.extend(next);
    expect_journal(&store, 1, &all).await;
}

#[tokio::test]
async fn what_is_no_longer_kept_goes_from_a_tail_as_well() {
    let options = options();
    let store = store(&options).await;
    let (epoch, _) = with_a_tail(&store, 1, 5).await;
    snapshot(store.as_ref(), 1, epoch, 4).await.unwrap();
    assert_eq!(store.compact(HARD).await.unwrap().chunks, 4);
    assert_eq!(Found::of(&options, 1).await.counts().await, (0, 2));
    append_each(&store, &chunks(1, epoch, 6..9)).await;
    let report = store.verify_brane(brane(1)).await.unwrap();
    assert_eq!((report.head, report.chunks, report.damage_count), (Seq(9), 5, 0));
}

#[tokio::test]
async fn what_is_no_longer_kept_goes_from_a_pack_as_well() {
    let options = options();
    let store = store(&options).await;
    let (epoch, _) = with_a_pack(&store, 1, 2).await;
    let found = Found::of(&options, 1).await;
    assert_eq!(found.documents().await, [(0, 1), (1, 5), (6, 1)]);
    for (at, gone, left) in
        [(4, 4, &[(4, 2), (6, 1)][..]), (6, 2, &[(6, 1)]), (7, 1, &[]), (8, 1, &[])]
    {
        snapshot(store.as_ref(), 1, epoch, at).await.unwrap();
        assert_eq!(store.compact(HARD).await.unwrap().chunks, gone, "{at}");
        assert_eq!(found.documents().await, left, "{at}");
        let report = store.verify_brane(brane(1)).await.unwrap();
        assert_eq!((report.chunks, report.damage_count), (8 - at, 0), "{:?}", report.damages);
        assert_eq!(
            store.read_chunks(brane(1), Seq(at), 1 << 20).await.unwrap().len() as u64,
            8 - at
        );
    }
}

#[tokio::test]
async fn a_pack_is_cut_where_it_is_torn() {
    let options = options();
    let store = store(&options).await;
    let torn = |torn: avvy_persistence::TornTail| (torn.kept, torn.claimed, torn.chunks);
    let broken = [
        // The chunk after the fourth edit is another.
        (doc! {"$bit": {"pack.3.checksum": {"xor": 1_i64}}}, (Seq(4), Seq(6), 2)),
        // It is none, and what follows cannot be told from it.
        (doc! {"$set": {"pack.3": 7}}, (Seq(4), Seq(6), 1)),
        (doc! {"$set": {"pack.3._id.brane": "another"}}, (Seq(4), Seq(6), 1)),
        // The end vanished.
        (doc! {"$push": {"pack": {"$each": [], "$slice": 3}}}, (Seq(4), Seq(6), 0)),
        // The whole of it is no pack.
        (doc! {"$set": {"pack": 7}}, (Seq(1), Seq(6), 1)),
        (doc! {"$set": {"pack": []}}, (Seq(1), Seq(6), 1)),
        // The last is none, or ends elsewhere.
        (doc! {"$set": {"pack.4": 7}}, (Seq(5), Seq(6), 1)),
        (doc! {"$set": {"pack.4.to": 1_i64}}, (Seq(5), Seq(6), 1)),
    ];
    for (nth, (change, expected)) in (1..).zip(broken) {
        let (_, all) = with_a_pack(&store, nth, 0).await;
        let found = Found::of(&options, nth).await;
        found.change_pack(1, change.clone()).await;
        if expected.2 == 2 {
            found.change_pack(1, doc! {"$bit": {"pack.4.checksum": {"xor": 1_i64}}}).await;
        }
        let report = store.verify_brane(brane(nth)).await.unwrap();
        assert_eq!(report.torn.map(torn), Some(expected), "{change}: {:?}", report.damages);
        let again = store.open(brane(nth)).await.unwrap();
        assert_eq!(again.torn.map(torn), Some(expected), "{change}");
        let aside = found.aside.count_documents(doc! {"_id.chunk.brane": brane(nth).to_string()});
        assert_eq!(aside.await.unwrap(), u64::from(expected.2 > 0), "{change}");
        let kept = expected.0.0;
        let mut left: Vec<_> = all[..kept as usize].to_vec();
        let more = chunks(nth, again.epoch, kept..kept + 3);
        append_each(&store, &more).await;
        left.extend(more);
        expect_journal(&store, nth, &left).await;
        let report = store.verify_brane(brane(nth)).await.unwrap();
        assert_eq!((report.chunks, report.damage_count), (kept + 3, 0), "{:?}", report.damages);
    }
    // Nothing is left but a pack.
    let (epoch, _) = with_a_pack(&store, 20, 0).await;
    snapshot(store.as_ref(), 20, epoch, 1).await.unwrap();
    assert_eq!(store.compact(HARD).await.unwrap().chunks, 1);
    let found = Found::of(&options, 20).await;
    found.change_pack(1, doc! {"$bit": {"pack.4.checksum": {"xor": 1_i64}}}).await;
    assert_eq!(store.open(brane(20)).await.unwrap().torn.map(torn), Some((Seq(5), Seq(6), 1)));
    assert_eq!(store.verify_brane(brane(20)).await.unwrap().damage_count, 0);
    // In the middle it is damage.
    let (_, all) = with_a_pack(&store, 21, 2).await;
    Found::of(&options, 21).await.change_pack(1, doc! {"$pop": {"pack": -1}}).await;
    assert!(store.verify_brane(brane(21)).await.unwrap().damage_count > 0);
    assert!(matches!(store.open(brane(21)).await, Err(StoreError::Damaged { .. })));
    let read = store.read_chunks(brane(21), Seq(3), 1 << 20).await.unwrap();
    assert_eq!(read.len(), all.len() - 3, "what is whole can be read");
}

#[tokio::test]
async fn a_purge_takes_the_tail() {
    let options = options();
    let store = store(&options).await;
    with_a_tail(&store, 1, 5).await;
    let life = Life::Doomed { since_ms: 1, purge_ms: 2 };
    store.update_brane(BraneRecord { life, version: 2, ..record(1) }, 1).await.unwrap();
    assert_eq!(Found::of(&options, 1).await.counts().await, (5, 1), "it may be restored");
    store.purge_brane(brane(1), 2).await.unwrap();
    assert_eq!(Found::of(&options, 1).await.counts().await, (0, 0));
}

#[tokio::test]
async fn what_others_did_to_a_tail_is_found() {
    let options = options();
    let store = store(&options).await;
    // The last one vanished.
    with_a_tail(&store, 1, 3).await;
    let found = Found::of(&options, 1).await;
    found.change(doc! {"$pop": {"tail": 1}}).await;
    let torn = |torn: avvy_persistence::TornTail| (torn.kept, torn.claimed);
    let report = store.verify_brane(brane(1)).await.unwrap();
    assert_eq!(report.torn.map(torn), Some((Seq(3), Seq(4))), "{:?}", report.damages);
    let again = store.open(brane(1)).await.unwrap();
    assert_eq!(again.torn.map(torn), Some((Seq(3), Seq(4))));
    // The last one is another.
    with_a_tail(&store, 2, 3).await;
    let found = Found::of(&options, 2).await;
    found.change(doc! {"$set": {"tail.2.to": 5_i64}}).await;
    let again = store.open(brane(2)).await.unwrap();
    assert_eq!(again.torn.map(|torn| torn.kept), Some(Seq(3)));
    // One in the middle vanished.
    with_a_tail(&store, 3, 3).await;
    let found = Found::of(&options, 3).await;
    found.change(doc! {"$pop": {"tail": -1}}).await;
    assert!(store.verify_brane(brane(3)).await.unwrap().damage_count > 0);
    assert!(matches!(store.open(brane(3)).await, Err(StoreError::Damaged { .. })));
    // It is none, or holds what is no chunk.
    let foreign = doc! {"_id": {"brane": brane(1).to_string(), "from": 1_i64}, "to": 2_i64};
    let tails = [doc! {"tail": 7}, doc! {"tail": [{"to": 5_i64}]}, doc! {"tail": [foreign]}];
    for (nth, tail) in (4..).zip(tails) {
        let (sick, _) = with_a_tail(&store, nth, 3).await;
        Found::of(&options, nth).await.change(doc! {"$set": tail}).await;
        assert!(store.verify_brane(brane(nth)).await.unwrap().damage_count > 0);
        assert!(matches!(store.open(brane(nth)).await, Err(StoreError::Damaged { .. })));
        // Others go on.
        let whole = opened(&store, nth + 9).await.epoch;
        let group = [chunks(nth, sick, 4..9), chunks(nth + 9, whole, 0..1)].concat();
        let answers = store.append(group).await.unwrap();
        assert_eq!(answers, [&[Err(AppendRefusal::Damaged); 5][..], &[Ok(())]].concat());
    }
}
