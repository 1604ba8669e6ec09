//! What the server and the network may do to a store.

use avvy_model::Seq;
use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::testing::mongod::{MongoSet, fresh_database};
use avvy_persistence::{ChunkWrite, Store, StoreError};
use mongodb::bson::{Document, doc};

use crate::common::{brane, record};
use crate::help::{Faults, chunks, database, expect_journal, opened, options, store};

/// Lets two commits of a group meet a fault, and holds the store to having
/// stored the group once.
async fn commits_once(app: &str, fault: Document) {
    let faults = Faults::own().await;
    let options = MongoOptions { app_name: app.to_owned(), ..options() };
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    let group = chunks(1, epoch, 0..3);
    let before = faults.met();
    faults.plan(app, &["commitTransaction"], 2, fault);
    assert_eq!(store.append(group.clone()).await, Ok(vec![Ok(()); 3]));
    assert_eq!(faults.met() - before, 2, "faults met");
    expect_journal(&store, 1, &group).await;
    assert_eq!(store.open(brane(1)).await.unwrap().head, Seq(3));
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_done_once() {
    // It was done, and the server says that it does not know so.
    let labels = ["UnknownTransactionCommitResult"];
    let unknown = doc! {"code": 91, "errmsg": "planned", "errorLabels": ["RetryableWriteError"]};
    commits_once("unknown", doc! {"writeConcernError": unknown, "errorLabels": labels}).await;
}

#[tokio::test]
async fn a_commit_whose_connection_breaks_is_done_once() {
    commits_once("broken", doc! {"closeConnection": true}).await;
}

#[tokio::test]
async fn a_commit_of_which_nothing_is_known_is_judged_again() {
    // It was done, and the driver is told to do the whole transaction again.
    let labels = ["TransientTransactionError"];
    let error = doc! {"code": 251, "errmsg": "planned"};
    commits_once("again", doc! {"writeConcernError": error, "errorLabels": labels}).await;
}

#[tokio::test]
async fn what_passes_is_waited_out() {
    let faults = Faults::own().await;
    let app = "passing";
    let store = store(&MongoOptions { app_name: app.to_owned(), ..options() }).await;
    let epoch = opened(&store, 1).await.epoch;
    let labels = ["TransientTransactionError"];
    let mut all = Vec::new();
    for (nth, command) in (0..).zip(["find", "update", "insert", "commitTransaction"]) {
        let before = faults.met();
        let fault = doc! {"errorCode": 112, "errorLabels": labels.to_vec()};
        faults.plan(app, &[command], 3, fault);
        // So many that they are not pushed.
        let group = chunks(1, epoch, nth * 5..nth * 5 + 5);
        assert_eq!(store.append(group.clone()).await, Ok(vec![Ok(()); 5]), "{command}");
        assert_eq!(faults.met() - before, 3, "{command}");
        all.extend(group);
    }
    expect_journal(&store, 1, &all).await;
}

/// Repeats a group as it was until the store answers.
pub async fn insist(store: &MongoStore, group: &[ChunkWrite]) -> u32 {
    let mut failed = 0;
    loop {
        match store.append(group.to_vec()).await {
            Ok(answers) => {
                assert_eq!(answers, vec![Ok(()); group.len()]);
                return failed;
            }
            Err(error) => {
                assert!(error.is_outcome_unknown() && error.is_retryable(), "{error}");
                failed += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_waited_for_so_long() {
    let faults = Faults::own().await;
    let app = "silent";
    let slow = MongoOptions { app_name: app.to_owned(), ..options() };
    let quick = MongoOptions { timeout_ms: 500, ..slow.clone() };
    let patient = store(&slow).await;
    let epoch = opened(&patient, 1).await.epoch;
    let hasty = store(&quick).await;
    let mut all = Vec::new();
    for (nth, command) in (0..).zip(["find", "commitTransaction"]) {
        faults.plan(app, &[command], 1, doc! {"blockConnection": true, "blockTimeMS": 2_000});
        let group = chunks(1, epoch, nth * 2..nth * 2 + 2);
        let answer = hasty.append(group.clone()).await;
        assert_eq!(answer, Err(StoreError::Timeout { after_ms: 500 }), "{command}");
        insist(&patient, &group).await;
        all.extend(group);
    }
    expect_journal(&patient, 1, &all).await;
}

/// What the server gives up in time is a time-out, as what is not waited for
/// any longer here.
#[tokio::test]
async fn a_server_that_gives_up_in_time_is_a_time_out() {
    let faults = Faults::own().await;
    let options = MongoOptions { app_name: "over".to_owned(), ..options() };
    let after_ms = options.timeout_ms;
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    for code in [50, 202, 262] {
        // The driver asks a second time where that may help.
        faults.plan("over", &["find"], 2, doc! {"errorCode": code});
        let found = store.brane(brane(1)).await;
        assert_eq!(found, Err(StoreError::Timeout { after_ms }), "{code}");
    }
    faults.plan("over", &["find"], 1, doc! {"errorCode": 50});
    let found = store.open(brane(1)).await.map(drop);
    assert_eq!(found, Err(StoreError::Timeout { after_ms }), "in a transaction");
    assert_eq!(store.append(chunks(1, epoch, 0..2)).await, Ok(vec![Ok(()); 2]));
}

#[tokio::test]
async fn the_death_of_a_primary_loses_and_doubles_nothing() {
    let mut set = tokio::task::spawn_blocking(|| MongoSet::start(3)).await.unwrap();
    let options =
        MongoOptions { timeout_ms: 30_000, ..MongoOptions::at(set.uri(), fresh_database()) };
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    let first = set.primary();
    let all = chunks(1, epoch, 0..400);
    let (so_far, told) = tokio::sync::watch::channel(0_usize);
    let writer = async {
        for (nth, group) in all.chunks(4).enumerate() {
            insist(&store, group).await;
            so_far.send_replace(nth);
        }
    };
    let killer = async {
        let mut told = told;
        // Under way, and with as much still to come.
        told.wait_for(|nth| *nth >= 30).await.unwrap();
        set.kill(first);
        told.wait_for(|nth| *nth >= 60).await.unwrap();
        set.restart(first);
    };
    tokio::join!(writer, killer);
    expect_journal(&store, 1, &all).await;
    assert_ne!(set.primary(), first, "the dead primary was followed by another");
    // An opening elsewhere sees all of it, and shuts the writer out.
    let other = MongoStore::open(&options).await.unwrap();
    assert_eq!(other.open(brane(1)).await.unwrap().head, Seq(400));
}

#[tokio::test]
async fn a_process_that_died_within_a_transaction_holds_nobody_up() {
    let options = MongoOptions { timeout_ms: 30_000, ..options() };
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    let branes = database(&options).await.collection::<Document>("branes");
    // It changes the brane's document, and never commits. The server would end
    // that after a minute.
    let hold = async || {
        let mut session = branes.client().start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let changed = branes.update_one(doc! {}, doc! {"$set": {"held": 1}});
        changed.session(&mut session).await.unwrap();
        session
    };
    let dead = hold().await;
    let group = chunks(1, epoch, 0..2);
    assert_eq!(store.append(group.clone()).await, Ok(vec![Ok(()); 2]));
    let also_dead = hold().await;
    assert_eq!(store.open(brane(1)).await.map(|opened| opened.head), Ok(Seq(2)));
    expect_journal(&store, 1, &group).await;
    drop((dead, also_dead));
}

#[tokio::test]
async fn an_error_never_tells_the_password() {
    // Nobody listens on port 1, and `mongodb` is no scheme of files.
    for uri in ["mongodb://user:sesame@127.0.0.1:1/?replicaSet=rs0", "mongo://user:sesame@host/"] {
        let options = MongoOptions { timeout_ms: 200, ..MongoOptions::at(uri, "avvy") };
        let error = MongoStore::open(&options).await.map(drop).unwrap_err();
        for text in [format!("{error}"), format!("{error:?}"), format!("{options:?}")] {
            assert!(!text.contains("sesame"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_closed_store_answers_so() {
    let store = store(&options()).await;
    opened(&store, 1).await;
    store.close().await.unwrap();
    assert_eq!(store.create_brane(record(2)).await, Err(StoreError::Closed));
    assert_eq!(store.append(Vec::new()).await, Ok(Vec::new()));
    assert_eq!(store.verify_store().await, Err(StoreError::Closed));
}
