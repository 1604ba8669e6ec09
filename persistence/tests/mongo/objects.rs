//! Objects as others find them.

use std::sync::atomic::{AtomicBool, Ordering};

use avvy_model::{
    Epoch, Handle, Kind, Object, ObjectId, Position, PropKey, Props, Seq, Transform, UserId, Value,
    ValueLimits,
};
use avvy_persistence::Store;
use avvy_persistence::mongo::{MongoObjects, MongoOptions, ObjectState, Progress};
use avvy_persistence::testing::mongod::{MongoSet, Writes, fresh_database};
use mongodb::bson::{Document, doc};
use tokio::task::spawn_blocking;

use crate::common::brane;
use crate::help::{chunks, database, opened, options, store};

fn id(nth: u8) -> ObjectId {
    ObjectId::from_bytes([nth; 16])
}

fn state(nth: u8, label: &str) -> ObjectState {
    let key = |text| PropKey::new(text, &ValueLimits::NONE).unwrap();
    let entries =
        vec![(key("label"), Value::text(label)), (key("model"), Value::text("asset/wall"))];
    let transform =
        Transform::from_parts([1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 2.0]).unwrap();
    let object = Object {
        id: id(nth),
        parent: Handle::ROOT,
        kind: Kind::Block,
        owner: UserId::from_bytes([3; 16]),
        transform,
        props: Props::from_entries(entries, &ValueLimits::NONE).unwrap(),
    };
    ObjectState { handle: Handle(nth.into()), parent: Some(id(0)), object }
}

fn one_of_many(nth: u32) -> ObjectState {
    let mut state = state(1, "one of many");
    state.handle = Handle(nth + 1);
    state.object.id = ObjectId::from_bytes(u128::from(nth).to_be_bytes());
    state
}

fn at(epoch: Epoch, seq: u64) -> Position {
    Position { epoch, seq: Seq(seq) }
}

#[tokio::test]
async fn objects_follow_what_is_durable_and_never_go_back() {
    let options = options();
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    store.append(chunks(1, epoch, 0..5)).await.unwrap();
    let objects = MongoObjects::open(&options).await.unwrap();
    let documents = database(&options).await.collection::<Document>("objects");
    let label = async |nth: u8| {
        let found = documents.find_one(doc! {"_id": id(nth).to_string()}).await.unwrap()?;
        let label = found.get_document("properties").unwrap().get_str("label").unwrap();
        Some((label.to_owned(), found.get_i64("as_of").unwrap()))
    };

    let ahead = objects.write(brane(1), at(epoch, 6), [state(1, "ahead")], &[]).await;
    assert_eq!(ahead, Ok(Progress::NotDurable));
    assert_eq!(label(1).await, None, "what is not durable is not shown");
    for _ in 0..2 {
        let put = [state(1, "one"), state(2, "two")];
        let written = objects.write(brane(1), at(epoch, 5), put, &[]).await;
        assert_eq!(written, Ok(Progress::Written));
    }
    let found = documents.find_one(doc! {"_id": id(1).to_string()}).await.unwrap().unwrap();
    assert_eq!(found.get_str("brane").unwrap(), brane(1).to_string());
    assert_eq!(found.get_str("parent").unwrap(), id(0).to_string());
    assert_eq!(found.get_str("kind").unwrap(), "block");
    assert_eq!(found.get_str("prototype").unwrap(), "asset/wall");
    let position: Vec<_> =
        found.get_array("position").unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(position, [1.0, 2.0, 3.0]);

    store.append(chunks(1, epoch, 5..9)).await.unwrap();
    let put = [state(1, "newer")];
    objects.write(brane(1), at(epoch, 9), put, &[id(2)]).await.unwrap();
    // What comes late changes nothing.
    let put = [state(1, "older"), state(3, "three")];
    objects.write(brane(1), at(epoch, 7), put, &[]).await.unwrap();
    objects.write(brane(1), at(epoch, 7), [], &[id(1)]).await.unwrap();
    assert_eq!(label(1).await, Some(("newer".to_owned(), 9)));
    assert_eq!(label(2).await, None);
    assert_eq!(label(3).await, Some(("three".to_owned(), 7)));

    // A whole writing takes away what is not in it.
    assert_eq!(objects.as_of(brane(1)).await, Ok(None));
    objects.complete(brane(1), Seq(9), true).await.unwrap();
    assert_eq!((label(3).await, objects.as_of(brane(1)).await), (None, Ok(Some(Seq(9)))));
    objects.complete(brane(1), Seq(8), false).await.unwrap();
    assert_eq!(objects.as_of(brane(1)).await, Ok(Some(Seq(9))));

    // Whoever lost the brane writes nothing any more.
    store.open(brane(1)).await.unwrap();
    let late = objects.write(brane(1), at(epoch, 9), [state(4, "late")], &[]).await;
    assert_eq!((late, label(4).await), (Ok(Progress::Stale), None));
}

#[tokio::test]
async fn commits_go_on_while_thousands_of_objects_are_written() {
    let options = options();
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    store.append(chunks(1, epoch, 0..1)).await.unwrap();
    let objects = MongoObjects::open(&options).await.unwrap();
    let many = (0..3_000).map(one_of_many);
    let is_done = AtomicBool::new(false);
    let writer = async {
        let written = objects.write(brane(1), at(epoch, 1), many, &[]).await;
        is_done.store(true, Ordering::Relaxed);
        written
    };
    let committer = async {
        let mut commits = 0;
        while !is_done.load(Ordering::Relaxed) {
            commits += 1;
            let group = chunks(1, epoch, commits..commits + 1);
            assert_eq!(store.append(group).await, Ok(vec![Ok(())]));
        }
        commits
    };
    let (written, commits) = tokio::join!(writer, committer);
    assert_eq!(written, Ok(Progress::Written));
    assert!(commits >= 6, "only {commits} commits beside six commands");
    let documents = database(&options).await.collection::<Document>("objects");
    assert_eq!(documents.count_documents(doc! {}).await.unwrap(), 3_000);
}

/// Each command writes or deletes many documents, and none so many that a
/// commit waits for it for long.
#[tokio::test]
async fn many_objects_are_few_commands_and_none_is_long() {
    /// The most documents of one command.
    const MOST: u64 = 32;
    /// What the server may write for itself meanwhile.
    const OTHERS: u64 = 8;
    let set = spawn_blocking(|| MongoSet::start(1)).await.unwrap();
    let options =
        MongoOptions { timeout_ms: 120_000, ..MongoOptions::at(set.uri(), fresh_database()) };
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    store.append(chunks(1, epoch, 0..3)).await.unwrap();
    let objects = MongoObjects::open(&options).await.unwrap();
    let expect = |written: Writes, documents: u64, what: &str| {
        let few = documents.div_ceil(MOST);
        assert!((few..=few + OTHERS).contains(&written.operations), "{what}: {written:?}");
    };

    let before = set.writes();
    let all = (0..5_000).map(one_of_many);
    assert_eq!(objects.write(brane(1), at(epoch, 1), all, &[]).await, Ok(Progress::Written));
    let made = set.writes();
    expect(made - before, 5_000, "made");
    let all = (0..5_000).map(one_of_many);
    assert_eq!(objects.write(brane(1), at(epoch, 2), all, &[]).await, Ok(Progress::Written));
    let changed = set.writes();
    expect(changed - made, 5_000, "changed");
    let gone: Vec<_> = (0..1_000).map(|nth| one_of_many(nth).object.id).collect();
    assert_eq!(objects.write(brane(1), at(epoch, 2), [], &gone).await, Ok(Progress::Written));
    let deleted = set.writes();
    expect(deleted - changed, 1_000, "deleted");
    // What a whole writing did not find goes likewise.
    let whole = (4_000..5_000).map(one_of_many);
    assert_eq!(objects.write(brane(1), at(epoch, 3), whole, &[]).await, Ok(Progress::Written));
    let documents = database(&options).await.collection::<Document>("objects");
    let searches = async || {
        let stages = [doc! {"$indexStats": {}}, doc! {"$match": {"name": "by_parent"}}];
        let mut found = documents.aggregate(stages).await.unwrap();
        assert!(found.advance().await.unwrap(), "there is such an index");
        let found: Document = found.deserialize_current().unwrap();
        found.get_document("accesses").unwrap().get_i64("ops").unwrap()
    };
    let (before, searched) = (set.writes(), searches().await);
    objects.complete(brane(1), Seq(3), true).await.unwrap();
    expect(set.writes() - before, 3_001, "swept");
    assert_eq!(searches().await - searched, 1, "all of them are looked at once");
    assert_eq!(documents.count_documents(doc! {}).await.unwrap(), 1_000);
    assert_eq!(documents.count_documents(doc! {"as_of": 3_i64}).await.unwrap(), 1_000);
}
