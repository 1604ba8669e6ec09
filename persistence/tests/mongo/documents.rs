//! What others find in the database.

use avvy_model::{Epoch, Seq};
use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::testing::nth_node;
use avvy_persistence::{
    AppendRefusal, BraneRecord, ChunkWrite, CompactPolicy, Fleet, Life, MAX_CHUNK_BYTES, Store,
    StoreError,
};
use bytes::Bytes;
use mongodb::bson::{Bson, DateTime, Document, doc};

use crate::common::{brane, chunk, record, snapshot};
use crate::faults::insist;
use crate::help::{chunks, database, expect_journal, opened, options, store};

#[tokio::test]
async fn a_brane_is_a_document_that_others_can_read() {
    let options = options();
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    store.append(vec![alone(epoch, 0), alone(epoch, 1)]).await.unwrap();
    let db = database(&options).await;
    let found = db.collection::<Document>("branes").find_one(doc! {"name": "brane 1"}).await;
    let found = found.unwrap().unwrap();
    assert_eq!(found.get_str("_id").unwrap(), brane(1).to_string());
    assert_eq!(found.get_str("owner").unwrap(), record(1).owner.to_string());
    assert_eq!(found.get_str("kind").unwrap(), "showcase");
    assert_eq!(found.get_str("visibility").unwrap(), "private");
    let created = DateTime::from_millis(record(1).created_ms as i64);
    assert_eq!(*found.get_datetime("created").unwrap(), created);
    assert_eq!((found.get_i64("epoch").unwrap(), found.get_i64("head").unwrap()), (1, 2));
    let key = doc! {"brane": brane(1).to_string(), "from": 1_i64};
    let found = db.collection::<Document>("chunks").find_one(doc! {"_id": key}).await;
    let found = found.unwrap().unwrap();
    assert_eq!((found.get_i64("to").unwrap(), found.get_i64("epoch").unwrap()), (2, 1));
    assert_eq!(found.get_datetime("at").unwrap().timestamp_millis(), 2);
}

/// Keeps nothing that the newest snapshot has.
const HARD: CompactPolicy =
    CompactPolicy { now_ms: u64::MAX, retention_ms: 0, max_journal_bytes: None, keep_snapshots: 1 };

/// A chunk of this length after the edit `from`.
fn long(epoch: Epoch, from: u64, length: usize) -> ChunkWrite {
    let body: Bytes = (0..length as u64).map(|at| (at * 7 + from) as u8).collect();
    ChunkWrite { body, ..chunk(1, epoch, from, from + 1) }
}

/// A chunk after the edit `from` that no other goes into a document with.
fn alone(epoch: Epoch, from: u64) -> ChunkWrite {
    long(epoch, from, 16 << 10)
}

#[tokio::test]
async fn small_chunks_of_a_group_are_few_documents() {
    let options = options();
    let store = store(&options).await;
    let mut epochs = Vec::new();
    for nth in 1..=2 {
        epochs.push(opened(&store, nth).await.epoch);
    }
    // In turns, as windows of two branes come in; a long one between.
    let small = |nth: u8, edits| chunks(nth, epochs[usize::from(nth) - 1], edits);
    let turns = small(1, 0..40).into_iter().zip(small(2, 0..40));
    let mut group: Vec<ChunkWrite> = turns.flat_map(|(one, other)| [one, other]).collect();
    group.push(alone(epochs[0], 40));
    group.extend(small(1, 41..44));
    let writes = store.writes().unwrap();
    assert_eq!(store.append(group.clone()).await, Ok(vec![Ok(()); 84]));
    let written = store.writes().unwrap();
    assert_eq!(written.chunks - writes.chunks, 84);
    // 32 and 8 of either, the long one, and three.
    let found = database(&options).await.collection::<Document>("chunks");
    assert_eq!(found.count_documents(doc! {}).await.unwrap(), 6);
    for nth in 1..=2 {
        let of: Vec<_> = group.iter().filter(|chunk| chunk.brane == brane(nth)).cloned().collect();
        expect_journal(&store, nth, &of).await;
    }
    assert_eq!(store.append(group.clone()).await, Ok(vec![Ok(()); 84]), "the same again");
    let other = ChunkWrite { body: Bytes::from_static(b"other"), ..group[10].clone() };
    let answers = store.append(vec![other, group[12].clone()]).await.unwrap();
    assert!(answers[0].is_err() && answers[1].is_ok(), "{answers:?}");
    // A snapshot within the first, and what is before it goes.
    snapshot(store.as_ref(), 1, epochs[0], 20).await.unwrap();
    assert_eq!(store.compact(HARD).await.unwrap().chunks, 20);
    assert_eq!(store.verify_brane(brane(1)).await.unwrap().damage_count, 0);
}

#[tokio::test]
async fn a_chunk_longer_than_a_document_is_kept_whole() {
    let options = options();
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    let eight = 8 << 20;
    let lengths = [MAX_CHUNK_BYTES, eight, eight + 1, 10];
    let all: Vec<_> = (0..).zip(lengths).map(|(from, length)| long(epoch, from, length)).collect();
    // More than one transaction takes, and more than a server whose cache others
    // have filled takes at once.
    insist(&store, &all).await;
    expect_journal(&store, 1, &all).await;
    assert_eq!(store.append(all.clone()).await, Ok(vec![Ok(()); 4]), "the same again");

    let db = database(&options).await;
    let rests = db.collection::<Document>("chunk_rests");
    assert_eq!(rests.count_documents(doc! {}).await.unwrap(), 2);
    // The last long one loses its rest: it is the end, and is cut.
    let key = doc! {"_id.from": 2_i64};
    assert_eq!(rests.delete_many(key.clone()).await.unwrap().deleted_count, 1);
    let last = db.collection::<Document>("chunks").delete_one(doc! {"_id.from": 3_i64}).await;
    assert_eq!(last.unwrap().deleted_count, 1);
    let again = store.open(brane(1)).await.unwrap();
    assert_eq!(again.torn.map(|torn| (torn.kept, torn.chunks)), Some((Seq(2), 1)));
    let aside = db.collection::<Document>("cut_chunks").count_documents(doc! {}).await.unwrap();
    assert_eq!(aside, 1, "chunks put aside");
    expect_journal(&store, 1, &all[..2]).await;

    snapshot(store.as_ref(), 1, again.epoch, 2).await.unwrap();
    assert_eq!(store.compact(HARD).await.unwrap().chunks, 2);
    assert_eq!(rests.count_documents(doc! {}).await.unwrap(), 0, "rests of what is gone");
    assert_eq!(store.verify_brane(brane(1)).await.unwrap().damage_count, 0);
}

#[tokio::test]
async fn a_brane_with_chunks_that_no_head_counts_is_refused_alone() {
    // Where a document begins that is to be stored, and in the middle of it.
    for stray in [0_i64, 1] {
        let options = options();
        let store = store(&options).await;
        let (sick, epoch) = (opened(&store, 1).await.epoch, opened(&store, 2).await.epoch);
        let db = database(&options).await;
        let key = doc! {"brane": brane(1).to_string(), "from": stray};
        let foreign = doc! {"_id": key, "to": stray + 1, "body": Bson::Null};
        db.collection::<Document>("chunks").insert_one(foreign).await.unwrap();
        let group = vec![chunk(1, sick, 0, 1), chunk(1, sick, 1, 2), chunk(2, epoch, 0, 1)];
        let answers = store.append(group).await.unwrap();
        let damaged = Err(AppendRefusal::Damaged);
        assert_eq!(answers, [damaged, damaged, Ok(())], "{stray}");
        expect_journal(&store, 2, &chunks(2, epoch, 0..1)).await;
        // The next opening puts them aside.
        let again = store.open(brane(1)).await.unwrap();
        let torn = again.torn.map(|torn| (torn.kept, torn.claimed.0 > stray as u64));
        assert_eq!(torn, Some((Seq(0), true)), "{stray}");
        let group = chunks(1, again.epoch, 0..2);
        assert_eq!(store.append(group.clone()).await, Ok(vec![Ok(()); 2]));
        expect_journal(&store, 1, &group).await;
    }
}

#[tokio::test]
async fn what_was_deleted_is_missed() {
    let options = options();
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    store.append((0..6).map(|from| alone(epoch, from)).collect()).await.unwrap();
    let db = database(&options).await;
    let found = db.collection::<Document>("chunks");
    found.delete_one(doc! {"_id.from": 2_i64}).await.unwrap();
    assert!(matches!(store.open(brane(1)).await, Err(StoreError::Damaged { .. })));
    let report = store.verify_brane(brane(1)).await.unwrap();
    // The gap, and the head that counts one chunk more.
    assert_eq!((report.damage_count, report.chunks), (2, 5), "{:?}", report.damages);
    // A tail that vanished whole is missed, too.
    found.delete_many(doc! {"_id.from": {"$gte": 2_i64}}).await.unwrap();
    let opened = store.open(brane(1)).await.unwrap();
    assert_eq!(opened.torn.map(|torn| (torn.kept, torn.claimed)), Some((Seq(2), Seq(6))));
}

#[tokio::test]
async fn a_newer_database_is_left_alone() {
    let options = options();
    let none = StoreError::Invalid("there is no store in this database");
    assert_eq!(MongoStore::open_existing(&options).await.map(drop), Err(none));
    store(&options).await.close().await.unwrap();
    assert_eq!(MongoStore::open_existing(&options).await.map(drop), Ok(()));
    let db = database(&options).await;
    let newer = doc! {"$set": {"version": 8_i64}};
    db.collection::<Document>("schema").update_one(doc! {}, newer).await.unwrap();
    let newer = Err(StoreError::NewerSchema { found: 8, known: 7 });
    assert_eq!(MongoStore::open(&options).await.map(drop), newer);
    assert_eq!(MongoStore::open_existing(&options).await.map(drop), newer);
}

#[tokio::test]
async fn a_database_without_a_fleet_becomes_one_with_it() {
    let options = options();
    let old = store(&options).await;
    opened(&old, 1).await;
    old.close().await.unwrap();
    let db = database(&options).await;
    // What the first version lacks.
    for name in ["nodes", "record_entries", "record_commits"] {
        db.collection::<Document>(name).drop().await.unwrap();
    }
    let branes = db.collection::<Document>("branes");
    branes.drop_index("by_holder").await.unwrap();
    branes.drop_index("by_target").await.unwrap();
    branes.drop_index("by_purge").await.unwrap();
    let later = doc! {"description": "", "tags": "", "version": ""};
    branes.update_many(doc! {}, doc! {"$unset": later}).await.unwrap();
    let schema = db.collection::<Document>("schema");
    schema.update_one(doc! {}, doc! {"$set": {"version": 1_i64}}).await.unwrap();

    // To look at it changes nothing.
    let reader = MongoStore::open_existing(&options).await.unwrap();
    assert_eq!(reader.verify_brane(brane(1)).await.unwrap().damage_count, 0);
    assert_eq!(reader.brane(brane(1)).await.unwrap(), record(1));
    assert!(!branes.list_index_names().await.unwrap().contains(&"by_holder".to_owned()));

    let node = nth_node(1);
    let new = store(&MongoOptions { node: Some(node.clone()), ..options.clone() }).await;
    new.enter().await.unwrap();
    new.open(brane(1)).await.unwrap();
    let holder = new.holder(brane(1)).await.unwrap();
    assert_eq!(holder.map(|holder| holder.node), Some(node));
    for name in ["by_holder", "by_target", "by_purge"] {
        assert!(branes.list_index_names().await.unwrap().contains(&name.to_owned()), "{name}");
    }
    let commits = db.collection::<Document>("record_commits");
    assert!(commits.list_index_names().await.unwrap().contains(&"by_age".to_owned()));
    let found = schema.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(found.get_i64("version").unwrap(), 7);
}

#[tokio::test]
async fn a_record_that_is_not_what_was_written_is_damage() {
    let options = options();
    let store = store(&options).await;
    let deleted = Life::Doomed { since_ms: 1, purge_ms: 2 };
    let tags = vec!["a".to_owned()];
    let next = BraneRecord { life: deleted, by_operator: true, tags, version: 2, ..record(1) };
    let branes = database(&options).await.collection::<Document>("branes");
    store.create_brane(record(1)).await.unwrap();
    store.update_brane(next.clone(), 1).await.unwrap();
    let key = doc! {"_id": brane(1).to_string()};
    let whole = branes.find_one(key.clone()).await.unwrap().unwrap();
    for change in [
        doc! {"$unset": {"life": ""}},
        doc! {"$unset": {"tags": "", "version": ""}},
        doc! {"$set": {"description": "other"}},
        doc! {"$set": {"life.state": "gone"}},
        doc! {"$set": {"life.purge": 7}},
        doc! {"$unset": {"life.by_operator": ""}},
        doc! {"$set": {"life.by_operator": false}},
        doc! {"$set": {"tags": [1]}},
    ] {
        branes.update_one(key.clone(), change.clone()).await.unwrap();
        let answer = store.brane(brane(1)).await;
        assert!(matches!(answer, Err(StoreError::Damaged { .. })), "{change}: {answer:?}");
        branes.replace_one(key.clone(), whole.clone()).await.unwrap();
    }
    assert_eq!(store.brane(brane(1)).await, Ok(next));
}

/// Nothing is left in any collection, however much there was.
#[tokio::test]
async fn a_purge_leaves_nothing_behind() {
    let options = options();
    let store = store(&options).await;
    for nth in [1, 2] {
        let epoch = opened(&store, nth).await.epoch;
        store.append(chunks(nth, epoch, 0..200)).await.unwrap();
        let long = ChunkWrite { body: vec![7; 9 << 20].into(), ..chunk(nth, epoch, 200, 201) };
        assert_eq!(store.append(vec![long]).await.unwrap(), [Ok(())]);
    }
    let db = database(&options).await;
    for nth in [1, 2] {
        let (owner, id) = (brane(nth).to_string(), format!("object of {nth}"));
        let objects = db.collection::<Document>("objects");
        objects.insert_one(doc! {"_id": id, "brane": &owner}).await.unwrap();
        let views = db.collection::<Document>("object_views");
        views.insert_one(doc! {"_id": &owner, "as_of": 1_i64}).await.unwrap();
        let aside = db.collection::<Document>("cut_chunks");
        let key = doc! {"cut": 1_i64, "chunk": {"brane": &owner, "from": 9_i64}};
        aside.insert_one(doc! {"_id": key}).await.unwrap();
    }
    let life = Life::Doomed { since_ms: 1, purge_ms: 2 };
    store.update_brane(BraneRecord { life, version: 2, ..record(1) }, 1).await.unwrap();
    store.purge_brane(brane(1), 2).await.unwrap();
    let left = [
        // As many small ones as go into one document, seven times, and a long one.
        ("chunks", 8),
        ("chunk_rests", 1),
        ("lineages", 1),
        ("objects", 1),
        ("object_views", 1),
        ("cut_chunks", 1),
        ("branes", 2),
    ];
    for (name, expected) in left {
        let found = db.collection::<Document>(name).count_documents(doc! {}).await.unwrap();
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(store.verify_brane(brane(2)).await.unwrap().damage_count, 0);
}

#[tokio::test]
async fn a_holder_that_is_none_is_damage() {
    let options = options();
    let store = store(&options).await;
    opened(&store, 1).await;
    opened(&store, 2).await;
    let branes = database(&options).await.collection::<Document>("branes");
    let key = doc! {"_id": brane(1).to_string()};
    for field in [doc! {"holder": 7}, doc! {"coming": {"to": "nobody"}}] {
        branes.update_one(key.clone(), doc! {"$set": field.clone()}).await.unwrap();
        let answer = store.open(brane(1)).await;
        assert!(matches!(answer, Err(StoreError::Damaged { .. })), "{field}: {answer:?}");
        assert_eq!(store.verify_brane(brane(1)).await.unwrap().damage_count, 1, "{field}");
        let name = field.keys().next().unwrap();
        branes.update_one(key.clone(), doc! {"$unset": {name: ""}}).await.unwrap();
    }
    store.open(brane(1)).await.unwrap();
    assert_eq!(store.verify_brane(brane(2)).await.unwrap().damage_count, 0);
}

/// Those of keys, which are unique, every collection has.
#[tokio::test]
async fn a_fresh_database_has_every_index() {
    let options = options();
    let _store = store(&options).await;
    let db = database(&options).await;
    let mut found = Vec::new();
    for name in db.list_collection_names().await.unwrap() {
        let mut indexes = db.collection::<Document>(&name).list_indexes().await.unwrap();
        while indexes.advance().await.unwrap() {
            let keys = indexes.deserialize_current().unwrap().keys;
            let keys: Vec<_> = keys.keys().map(String::as_str).collect();
            found.push(format!("{name}: {}", keys.join(", ")));
        }
    }
    let of_keys = found.iter().filter(|index| index.ends_with(": _id")).count();
    assert_eq!(of_keys, db.list_collection_names().await.unwrap().len());
    found.retain(|index| !index.ends_with(": _id"));
    found.sort_unstable();
    let expected = [
        "branes: coming.to",
        "branes: created, _id",
        "branes: holder",
        "branes: life.purge",
        "branes: owner, created, _id",
        "objects: brane, parent",
        "record_commits: at",
        "snapshots: brane, at",
    ];
    assert_eq!(found, expected);
}
