//! Records on MongoDB: what others read, several writers, and faults.

use std::sync::Arc;

use avvy_persistence::import::copy_records;
use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::records::{
    Collection, Commit, CommitId, CommitOutcome, Draft, Expect, Fields, Index, IndexKey, KeyRange,
    Query, RecordKey, RecordWrite, Records, RefusalReason, Value, digest,
};
use avvy_persistence::{Store, StoreError};
use bytes::Bytes;
use futures_util::future::join_all;
use mongodb::bson::{Bson, DateTime, Document, doc};
use uuid::Uuid;

use crate::help::{Faults, database, options, store};

static USERS: Collection =
    Collection { name: "users", indexes: &[Index::unique("by_name"), Index::plain("by_tag")] };

const NOW_S: u64 = 1_700_000_000;

fn key(nth: u64) -> RecordKey {
    RecordKey::from(Uuid::from_u128(u128::from(nth)))
}

fn draft(says: u64) -> Draft {
    Draft::new(Fields::new().with("says", says.cast_signed()))
}

fn commit(nth: u64, writes: Vec<RecordWrite>) -> Commit {
    Commit { id: CommitId(Uuid::from_u128(1 << 100 | u128::from(nth))), writes }
}

fn name(text: &str) -> IndexKey {
    IndexKey::new().text(text)
}

async fn done(store: &MongoStore, nth: u64, writes: Vec<RecordWrite>) -> Vec<u64> {
    store.commit(commit(nth, writes), NOW_S).await.unwrap().unwrap().versions
}

async fn says(store: &MongoStore, nth: u64) -> Option<i64> {
    let found = store.get(&USERS, key(nth), NOW_S).await.unwrap();
    found.and_then(|found| found.body.int("says"))
}

#[tokio::test]
async fn a_record_is_a_document_that_others_can_read() {
    let options = options();
    let store = store(&options).await;
    let body = Fields::new()
        .with("name", "Ada")
        .with("age", 36_i64)
        .with("height", 1.7)
        .with("admin", true)
        .with("key", Bytes::from_static(b"\x01"))
        .with("born", Value::time(NOW_S))
        .with("none", Value::Null)
        .with("list", vec![Value::Int(1), "x".into()])
        .with("map", Fields::new().with("en", "tree"));
    let draft = Draft::new(body).until(NOW_S + 9).found_by("by_name", name("a"));
    let version = done(&store, 1, vec![RecordWrite::create(&USERS, key(1), draft)]).await[0];
    let db = database(&options).await;
    let users = db.collection::<Document>("records.users");
    let mut found = users.find_one(doc! {}).await.unwrap().unwrap();
    assert!(matches!(found.remove("checksum"), Some(Bson::Int64(_))));
    let date = |unix_s: u64| DateTime::from_millis(unix_s.cast_signed() * 1_000);
    let bytes = mongodb::bson::Binary {
        subtype: mongodb::bson::spec::BinarySubtype::Generic,
        bytes: vec![1],
    };
    let expected = doc! {
        "_id": key(1).to_string(), "version": version.cast_signed(), "expires": date(NOW_S + 9),
        "body": {
            "admin": true, "age": 36_i64, "born": date(NOW_S), "height": 1.7, "key": bytes,
            "list": [1_i64, "x"], "map": {"en": "tree"}, "name": "Ada", "none": Bson::Null,
        },
        "entries": [{"index": "by_name", "key": "610001", "unique": true}],
    };
    assert_eq!(found, expected);
    assert!(users.list_index_names().await.unwrap().contains(&"by_end".to_owned()));
    let entry = db.collection::<Document>("record_entries").find_one(doc! {}).await.unwrap();
    let id = doc! {"collection": "users", "index": "by_name", "key": "610001", "record": ""};
    let expected = doc! {"_id": id, "record": key(1).to_string(), "expires": date(NOW_S + 9)};
    assert_eq!(entry, Some(expected));
    // What others write is damage.
    users.update_one(doc! {}, doc! {"$set": {"body.age": 37}}).await.unwrap();
    assert!(store.get(&USERS, key(1), NOW_S).await.is_err());
}

#[tokio::test]
async fn an_inspection_names_entries_that_fit_no_record() {
    let options = options();
    let store = store(&options).await;
    let tagged = |nth| {
        let draft = draft(nth).found_by("by_tag", name("t")).found_by("by_name", name("n"));
        RecordWrite::create(&USERS, key(nth), draft)
    };
    done(&store, 1, vec![tagged(1)]).await;
    let entries = database(&options).await.collection::<Document>("record_entries");
    let mut lost =
        entries.find_one_and_delete(doc! {"_id.index": "by_tag"}).await.unwrap().unwrap();
    let damages = store.verify_store().await.unwrap().damages;
    assert_eq!(damages.len(), 1, "{damages:?}");
    lost.insert("record", key(2).to_string());
    entries.insert_one(lost).await.unwrap();
    let damages = store.verify_store().await.unwrap().damages;
    assert_eq!(damages.len(), 2, "{damages:?}");
}

#[tokio::test]
async fn a_copy_is_the_same_and_replaces_nothing() {
    let (from, to) = (store(&options()).await, store(&options()).await);
    let tagged = |nth: u64| {
        let tag = name(["a", "b"][(nth % 2) as usize]);
        let draft = draft(nth).found_by("by_tag", tag).found_by("by_name", name(&nth.to_string()));
        RecordWrite::create(&USERS, key(nth), draft.until(nth + 1))
    };
    for nths in [0..100, 100..150] {
        let nth = nths.start;
        from.commit(commit(nth, nths.map(tagged).collect()), 0).await.unwrap().unwrap();
    }
    for _ in 0..2 {
        let sum = copy_records(from.as_ref(), to.as_ref()).await.unwrap();
        assert_eq!((sum.count, sum), (150, digest(to.as_ref()).await.unwrap()));
    }
    assert_eq!(to.verify_store().await.unwrap().damages, []);
    let all = Query::new("by_tag", KeyRange::all());
    assert_eq!(from.list(&USERS, all.clone(), 7).await, to.list(&USERS, all, 7).await);
    // Another record under a key, and one that wants what another has.
    for (nth, called) in [(149, "x"), (900, "5")] {
        let other = store(&options()).await;
        let draft = draft(7).found_by("by_name", name(called));
        let write = RecordWrite::put(&USERS, key(nth), draft);
        other.commit(commit(nth, vec![write]), 0).await.unwrap().unwrap();
        let answer = copy_records(other.as_ref(), to.as_ref()).await;
        assert!(matches!(answer, Err(StoreError::Invalid(_))), "{answer:?}");
    }
    assert_eq!(digest(to.as_ref()).await.unwrap(), digest(from.as_ref()).await.unwrap());
}

/// Two records, of which each may only be taken while the other is free: with
/// checks that were only read, both would be taken.
#[tokio::test]
async fn of_two_that_check_what_the_other_writes_one_is_refused() {
    let options = options();
    let (one, other) = (store(&options).await, store(&options).await);
    for round in 0..12 {
        let (a, b) = (round * 2 + 1, round * 2 + 2);
        let free = Expect::Absent;
        let take = |own, checked| {
            vec![
                RecordWrite::create(&USERS, key(own), draft(own)),
                RecordWrite::check(&USERS, key(checked), free),
            ]
        };
        let (left, right) = tokio::join!(
            one.commit(commit(a, take(a, b)), NOW_S),
            other.commit(commit(b, take(b, a)), NOW_S),
        );
        let done = [left.unwrap(), right.unwrap()].iter().filter(|done| done.is_ok()).count();
        assert_eq!(done, 1, "round {round}: absent ones");
        let there = [says(&one, a).await, says(&one, b).await].iter().flatten().count();
        assert_eq!(there, 1, "round {round}: records");
    }
    // The same of records that are there.
    let free = |nth| RecordWrite::put(&USERS, key(nth), draft(0));
    for round in 0..12 {
        let before = done(&one, 1_000 + round, vec![free(101), free(102)]).await;
        let take = |own: usize, checked: usize| {
            let key = |at: usize| key(101 + at as u64);
            vec![
                RecordWrite::update(&USERS, key(own), before[own], draft(1)),
                RecordWrite::check(&USERS, key(checked), Expect::Version(before[checked])),
            ]
        };
        let (left, right) = tokio::join!(
            one.commit(commit(2_000 + round, take(0, 1)), NOW_S),
            other.commit(commit(3_000 + round, take(1, 0)), NOW_S),
        );
        let done = [left.unwrap(), right.unwrap()].iter().filter(|done| done.is_ok()).count();
        assert_eq!(done, 1, "round {round}: those that are there");
    }
}

#[tokio::test]
async fn of_many_that_want_a_unique_key_one_has_it() {
    let options = options();
    let stores = join_all((0..4).map(|_| store(&options))).await;
    for round in 0..6 {
        let text = format!("name {round}");
        let want = |at: u64, store: &Arc<MongoStore>| {
            let nth = round * 10 + at;
            let draft = draft(nth).found_by("by_name", name(&text));
            let store = Arc::clone(store);
            async move {
                let write = RecordWrite::create(&USERS, key(nth), draft);
                store.commit(commit(nth, vec![write]), NOW_S).await.unwrap()
            }
        };
        let answers: Vec<CommitOutcome> =
            join_all((0..).zip(&stores).map(|(at, store)| want(at, store))).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        let taken = RefusalReason::Taken { index: "by_name" };
        let refused = answers.into_iter().filter_map(Result::err);
        assert!(refused.map(|refusal| refusal.reason).all(|reason| reason == taken));
    }
    assert_eq!(stores[0].verify_store().await.unwrap().damages, []);
}

/// Counters that many raise at once: each by what it read, again when somebody
/// was first.
#[tokio::test]
async fn no_update_is_lost() {
    const WRITERS: u64 = 4;
    const TIMES: u64 = 8;
    let options = options();
    let stores = join_all((0..WRITERS).map(|_| store(&options))).await;
    done(&stores[0], 0, vec![RecordWrite::create(&USERS, key(1), draft(0))]).await;
    let raise = async |writer: u64, store: &MongoStore| {
        for time in 0..TIMES {
            for attempt in 0.. {
                let found = store.get(&USERS, key(1), NOW_S).await.unwrap().unwrap();
                let says = found.body.int("says").unwrap() as u64 + 1;
                let write = RecordWrite::update(&USERS, key(1), found.version, draft(says));
                let id = (writer + 1) << 32 | time << 16 | attempt;
                if store.commit(commit(id, vec![write]), NOW_S).await.unwrap().is_ok() {
                    break;
                }
            }
        }
    };
    join_all((0..).zip(&stores).map(|(writer, store)| raise(writer, store))).await;
    assert_eq!(says(&stores[0], 1).await, Some((WRITERS * TIMES) as i64));
}

/// Lets commits meet a fault, and holds the store to having done each once. The
/// second cannot be told by its records: another has written them since.
async fn commits_once(app: &str, fault: Document) {
    let faults = Faults::own().await;
    let options = MongoOptions { app_name: app.to_owned(), ..options() };
    let store = store(&options).await;
    done(&store, 0, vec![RecordWrite::create(&USERS, key(9), draft(9))]).await;
    let before = faults.met();
    faults.plan(app, &["commitTransaction"], 2, fault.clone());
    let writes = vec![
        RecordWrite::create(&USERS, key(1), draft(1).found_by("by_name", name("a"))),
        RecordWrite::put(&USERS, key(2), draft(2)),
        RecordWrite::delete(&USERS, key(9), Expect::Present),
    ];
    let versions = done(&store, 1, writes.clone()).await;
    assert_eq!(faults.met() - before, 2, "faults met");
    assert_eq!(store.get(&USERS, key(2), NOW_S).await.unwrap().unwrap().version, versions[1]);
    let later = RecordWrite::put(&USERS, key(2), draft(3));
    done(&store, 2, vec![later, RecordWrite::delete(&USERS, key(1), Expect::Any)]).await;
    // The same again, as whoever was not answered would have it.
    faults.plan(app, &["commitTransaction"], 1, fault);
    assert_eq!(done(&store, 1, writes).await, versions);
    assert_eq!([says(&store, 1).await, says(&store, 2).await], [None, Some(3)]);
    assert_eq!(store.verify_store().await.unwrap().damages, []);
}

#[tokio::test]
async fn a_commit_of_records_whose_answer_is_lost_is_done_once() {
    // It was done, and the server says that it does not know so.
    let labels = ["UnknownTransactionCommitResult"];
    let unknown = doc! {"code": 91, "errmsg": "planned", "errorLabels": ["RetryableWriteError"]};
    commits_once("r-unknown", doc! {"writeConcernError": unknown, "errorLabels": labels}).await;
}

#[tokio::test]
async fn a_commit_of_records_whose_connection_breaks_is_done_once() {
    commits_once("r-broken", doc! {"closeConnection": true}).await;
}

#[tokio::test]
async fn a_commit_of_records_of_which_nothing_is_known_is_judged_again() {
    // It was done, and the driver is told to do the whole transaction again.
    let labels = ["TransientTransactionError"];
    let error = doc! {"code": 251, "errmsg": "planned"};
    commits_once("r-again", doc! {"writeConcernError": error, "errorLabels": labels}).await;
}

#[tokio::test]
async fn what_passes_is_waited_out_by_records() {
    let faults = Faults::own().await;
    let app = "r-passing";
    let store = store(&MongoOptions { app_name: app.to_owned(), ..options() }).await;
    let put = |nth| RecordWrite::put(&USERS, key(nth), draft(nth).found_by("by_tag", name("t")));
    done(&store, 0, vec![put(1)]).await;
    let labels = ["TransientTransactionError"];
    for (nth, command) in (1..).zip(["find", "update", "insert", "commitTransaction"]) {
        let before = faults.met();
        faults.plan(app, &[command], 3, doc! {"errorCode": 112, "errorLabels": labels.to_vec()});
        done(&store, nth, vec![put(1), put(nth + 1)]).await;
        assert_eq!(faults.met() - before, 3, "{command}");
    }
    assert_eq!(store.verify_store().await.unwrap().records, 5);
}
