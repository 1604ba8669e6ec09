//! Nodes of a fleet that meet, on a real server.

use std::sync::Arc;

use avvy_model::{BraneId, Epoch, Seq};
use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::testing::mongod::{command, shared};
use avvy_persistence::testing::nth_node;
use avvy_persistence::{
    AppendRefusal, ChunkWrite, Fleet, Holding, Node, Opened, Renewed, Store, StoreError,
};
use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc};

use crate::common::{brane, chunk, record};
use crate::help::{Faults, chunks, database, expect_journal, options, store};

/// Longer than any test takes.
const LEASE_MS: u64 = 600_000;

/// Nodes 1 and 2 on one database, which have entered, and that database. The
/// name of a node's connections is `name-1`, `name-2`.
struct Pair {
    one: Arc<MongoStore>,
    other: Arc<MongoStore>,
    db: Database,
    options: MongoOptions,
}

async fn pair(name: &str) -> Pair {
    let options = MongoOptions { lease_ms: LEASE_MS, ..options() };
    let node = async |nth: u8| {
        let app_name = format!("{name}-{nth}");
        let node = Some(nth_node(nth));
        let store = store(&MongoOptions { app_name, node, ..options.clone() }).await;
        store.enter().await.unwrap();
        store
    };
    Pair { one: node(1).await, other: node(2).await, db: database(&options).await, options }
}

impl Pair {
    /// Has the lease of node 1 be over.
    async fn lapse(&self) {
        let nodes = self.db.collection::<Document>("nodes");
        let over = vec![doc! {"$set": {"expires": "$$NOW"}}];
        let key = doc! {"_id": nth_node(1).id.to_string()};
        assert_eq!(nodes.update_one(key, over).await.unwrap().matched_count, 1);
    }

    async fn holder(&self, nth: u8) -> Option<Node> {
        self.other.holder(brane(nth)).await.unwrap().map(|holder| holder.node)
    }
}

/// Opens the nth brane at node 1.
async fn held(store: &MongoStore, nth: u8) -> Holding {
    store.create_brane(record(nth)).await.unwrap();
    Holding { brane: brane(nth), epoch: store.open(brane(nth)).await.unwrap().epoch }
}

/// Whether an answer is that this node holds the brane.
fn is_held_by(answer: &Result<Opened, StoreError>, nth: u8) -> bool {
    matches!(answer, Err(StoreError::Held { address, .. }) if *address == nth_node(nth).address)
}

fn lapsed(lost: &[BraneId]) -> Renewed {
    Renewed { lapsed: true, lost: lost.to_vec(), offered: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_and_a_take_over_never_both_win() {
    let pair = pair("race").await;
    let (mut kept, mut taken) = (0, 0);
    for round in 0..120_u32 {
        let Holding { brane: id, epoch } = held(&pair.one, 1).await;
        pair.lapse().await;
        let (one, other) = (Arc::clone(&pair.one), Arc::clone(&pair.other));
        // One begins somewhat earlier, each in its turn.
        let wait = async |is_late: bool, round: u32| {
            for _ in 0..if is_late { round % 40 } else { 0 } {
                tokio::task::yield_now().await;
            }
        };
        let renewal = tokio::spawn(async move {
            wait(round % 2 == 0, round).await;
            one.renew(vec![Holding { brane: id, epoch }]).await.unwrap()
        });
        let opening = tokio::spawn(async move {
            wait(round % 2 == 1, round).await;
            other.open(id).await
        });
        let (renewed, opened) = (renewal.await.unwrap(), opening.await.unwrap());
        let next = chunk(1, epoch, 0, 1);
        match &opened {
            Ok(Opened { epoch: current, .. }) => {
                assert_eq!(renewed, lapsed(&[id]), "round {round}: taken, and not told so");
                let stale = Err(AppendRefusal::StaleEpoch { current: *current });
                assert_eq!(pair.one.append(vec![next]).await, Ok(vec![stale]));
                assert_eq!(pair.holder(1).await, Some(nth_node(2)));
                pair.other.release(id, *current).await.unwrap();
                taken += 1;
            }
            held => {
                assert!(is_held_by(held, 1), "round {round}: {held:?}");
                assert_eq!(renewed, lapsed(&[]), "round {round}: not taken, and told so");
                assert_eq!(pair.holder(1).await, Some(nth_node(1)));
                pair.one.release(id, epoch).await.unwrap();
                kept += 1;
            }
        }
    }
    println!("kept {kept} times, taken {taken} times");
}

#[tokio::test]
async fn a_renewal_that_meets_a_take_over_under_way_waits_for_it() {
    let faults = Faults::own().await;
    let pair = pair("meet").await;
    let holding = held(&pair.one, 1).await;
    pair.lapse().await;
    // The take-over has written both documents, and is held up.
    let entered = faults.met();
    let block = doc! {"blockConnection": true, "blockTimeMS": 1_500};
    faults.plan("meet-2", &["commitTransaction"], 1, block);
    let renewal = async {
        faults.wait(entered + 1).await;
        pair.one.renew(vec![holding]).await
    };
    let (opened, renewed) = tokio::join!(pair.other.open(brane(1)), renewal);
    assert_eq!(opened.map(|opened| opened.epoch), Ok(holding.epoch.next()));
    assert_eq!(renewed, Ok(lapsed(&[brane(1)])));
}

#[tokio::test]
async fn a_take_over_that_meets_a_renewal_takes_nothing() {
    let faults = Faults::own().await;
    let pair = pair("late").await;
    let holding = held(&pair.one, 1).await;
    pair.lapse().await;
    // The take-over has seen that the lease is over, and is held up before it
    // writes.
    let entered = faults.met();
    let block = doc! {"blockConnection": true, "blockTimeMS": 1_500};
    faults.plan("late-2", &["update"], 1, block);
    let renewal = async {
        faults.wait(entered + 1).await;
        pair.one.renew(vec![holding]).await
    };
    let (opened, renewed) = tokio::join!(pair.other.open(brane(1)), renewal);
    assert!(is_held_by(&opened, 1), "{opened:?}");
    assert_eq!(renewed, Ok(lapsed(&[])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_open_at_once_one_has_it() {
    let pair = pair("both").await;
    pair.one.create_brane(record(1)).await.unwrap();
    let mut last = Epoch(0);
    for round in 0..40 {
        let open = |store: &Arc<MongoStore>| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.open(brane(1)).await })
        };
        let (first, second) = (open(&pair.one), open(&pair.other));
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        let (winner, won, lost, nth) = match (&first, &second) {
            (Ok(won), lost) => (&pair.one, won, lost, 1),
            (lost, Ok(won)) => (&pair.other, won, lost, 2),
            neither => panic!("round {round}: {neither:?}"),
        };
        assert!(is_held_by(lost, nth), "round {round}: {first:?}, {second:?}");
        assert_eq!(won.epoch, last.next(), "round {round}: of the two one took an epoch");
        last = won.epoch;
        winner.release(brane(1), last).await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_under_way_loses_the_chunk_of_a_brane_that_is_taken_and_no_other() {
    let faults = Faults::own().await;
    let pair = pair("group").await;
    let mut group: Vec<ChunkWrite> = Vec::new();
    for nth in 1..=3 {
        group.push(chunk(nth, held(&pair.one, nth).await.epoch, 0, 1));
    }
    pair.lapse().await;
    // The transaction has judged all three, and is held up before it writes
    // their heads.
    let entered = faults.met();
    let block = doc! {"blockConnection": true, "blockTimeMS": 1_500};
    faults.plan("group-1", &["update"], 1, block);
    let opening = async {
        faults.wait(entered + 1).await;
        pair.other.open(brane(2)).await.unwrap()
    };
    let (answers, opened) = tokio::join!(pair.one.append(group.clone()), opening);
    let stale = Err(AppendRefusal::StaleEpoch { current: opened.epoch });
    assert_eq!(answers, Ok(vec![Ok(()), stale, Ok(())]));
    assert_eq!(opened.head, Seq(0));
    expect_journal(&pair.other, 1, &group[..1]).await;
    expect_journal(&pair.other, 2, &[]).await;
    expect_journal(&pair.other, 3, &group[2..]).await;
}

#[tokio::test]
async fn a_lapse_is_told_although_the_renewal_that_found_it_was_not_answered() {
    let faults = Faults::own().await;
    let pair = pair("unheard").await;
    let holding = vec![held(&pair.one, 1).await];
    // Done, and answered with an error: the next one finds a lease that lasts.
    pair.lapse().await;
    let error = doc! {"code": 64, "errmsg": "planned"};
    faults.plan("unheard-1", &["findAndModify"], 1, doc! {"writeConcernError": error});
    let answer = pair.one.renew(holding.clone()).await;
    assert!(answer.as_ref().is_err_and(StoreError::is_outcome_unknown), "{answer:?}");
    assert_eq!(pair.one.renew(holding.clone()).await, Ok(lapsed(&[])));
    // Done, and asked again by the driver.
    for fault in [
        doc! {"closeConnection": true},
        doc! {"writeConcernError": {
            "code": 91, "errmsg": "planned", "errorLabels": ["RetryableWriteError"],
        }, "errorLabels": ["RetryableWriteError"]},
    ] {
        pair.lapse().await;
        let before = faults.met();
        faults.plan("unheard-1", &["findAndModify"], 1, fault.clone());
        assert_eq!(pair.one.renew(holding.clone()).await, Ok(lapsed(&[])), "{fault}");
        assert_eq!(faults.met() - before, 1, "{fault}");
    }
    // Done, and then it could not be said what was lost.
    pair.lapse().await;
    faults.plan("unheard-1", &["find"], 1, doc! {"errorCode": 2});
    let answer = pair.one.renew(holding.clone()).await;
    assert!(answer.as_ref().is_err_and(StoreError::is_outcome_unknown), "{answer:?}");
    assert_eq!(pair.one.renew(holding.clone()).await, Ok(lapsed(&[])));
    assert_eq!(pair.one.renew(holding).await, Ok(Renewed::default()));
}

#[tokio::test]
async fn a_take_over_of_which_nothing_is_known_is_done() {
    let faults = Faults::own().await;
    let pair = pair("taking").await;
    let unknown = doc! {"code": 91, "errmsg": "planned", "errorLabels": ["RetryableWriteError"]};
    let labels = ["UnknownTransactionCommitResult"];
    let again = doc! {"code": 251, "errmsg": "planned"};
    let cases = [
        doc! {"writeConcernError": unknown, "errorLabels": labels.to_vec()},
        doc! {"closeConnection": true},
        doc! {"writeConcernError": again, "errorLabels": ["TransientTransactionError"]},
    ];
    for (nth, fault) in (1..).zip(cases) {
        let Holding { brane: id, epoch } = held(&pair.one, nth).await;
        pair.lapse().await;
        let before = faults.met();
        faults.plan("taking-2", &["commitTransaction"], 1, fault.clone());
        let opened = pair.other.open(id).await.unwrap();
        assert_eq!(faults.met() - before, 1, "{fault}");
        assert!(opened.epoch > epoch, "{fault}");
        assert_eq!(pair.holder(nth).await, Some(nth_node(2)), "{fault}");
        let stale = Err(AppendRefusal::StaleEpoch { current: opened.epoch });
        let answers = pair.one.append(chunks(nth, epoch, 0..1)).await;
        assert_eq!(answers, Ok(vec![stale]), "{fault}");
        let group = chunks(nth, opened.epoch, 0..2);
        assert_eq!(pair.other.append(group.clone()).await, Ok(vec![Ok(()); 2]), "{fault}");
        expect_journal(&pair.other, nth, &group).await;
        pair.one.renew(Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_hand_over_of_which_nothing_is_known_is_done_once() {
    let faults = Faults::own().await;
    let pair = pair("handing").await;
    let Holding { brane: id, epoch } = held(&pair.one, 1).await;
    let again = doc! {"code": 251, "errmsg": "planned"};
    let fault = doc! {"writeConcernError": again, "errorLabels": ["TransientTransactionError"]};
    faults.plan("handing-1", &["commitTransaction"], 1, fault);
    pair.one.hand_over(id, epoch, nth_node(2).id).await.unwrap();
    assert_eq!(pair.holder(1).await, Some(nth_node(2)));
    let opened = pair.other.open(id).await.unwrap();
    assert_eq!(opened.epoch, epoch.next());
    pair.one.hand_over(id, epoch, nth_node(2).id).await.unwrap();
    assert_eq!(
        pair.other.renew(vec![Holding { brane: id, epoch: opened.epoch }]).await,
        Ok(Renewed::default())
    );
}

#[tokio::test]
async fn a_process_that_died_within_a_take_over_holds_no_renewal_up() {
    let pair = pair("dead").await;
    let holding = held(&pair.one, 1).await;
    let nodes = pair.db.collection::<Document>("nodes");
    // It writes the documents of a take-over, and never commits. The server
    // would end that after a minute.
    let named = MongoOptions { app_name: "dead-1".to_owned(), ..pair.options.clone() };
    let nodes_of_dead = database(&named).await.collection::<Document>("nodes");
    let mut dead = nodes_of_dead.client().start_session().await.unwrap();
    dead.start_transaction().await.unwrap();
    let changed = nodes_of_dead.update_many(doc! {}, doc! {"$inc": {"taken": 1_i64}});
    changed.session(&mut dead).await.unwrap();
    assert_eq!(pair.one.renew(vec![holding]).await, Ok(Renewed::default()));
    let known = nodes.find_one(doc! {"_id": nth_node(1).id.to_string()}).await.unwrap().unwrap();
    assert!(!known.contains_key("taken"), "what was never committed is gone");
    drop(dead);
}

#[tokio::test]
async fn a_server_without_a_fleet_waits_for_the_nodes_of_one() {
    let pair = pair("alone").await;
    let epoch = held(&pair.one, 1).await.epoch;
    let alone = store(&pair.options).await;
    assert!(is_held_by(&alone.open(brane(1)).await, 1));
    let none = Err(StoreError::Invalid("this store is no node of a fleet"));
    assert_eq!(alone.renew(Vec::new()).await.map(drop), none);
    pair.lapse().await;
    assert_eq!(alone.open(brane(1)).await.map(|opened| opened.epoch), Ok(epoch.next()));
    assert_eq!(pair.holder(1).await, None);
    pair.other.open(brane(1)).await.unwrap();
}

/// Both ends of a lease are of one reading of the database's clock, and a
/// node's own has no part in it.
#[tokio::test]
async fn the_times_of_a_lease_are_the_databases() {
    let pair = pair("clock").await;
    let nodes = pair.db.collection::<Document>("nodes");
    let key = doc! {"_id": nth_node(1).id.to_string()};
    let ms = |found: &Document, key| found.get_datetime(key).unwrap().timestamp_millis();
    let found = nodes.find_one(key.clone()).await.unwrap().unwrap();
    assert_eq!(ms(&found, "expires") - ms(&found, "started"), LEASE_MS as i64);
    // The database says that it is the year 2100: what is stored then lasts.
    let later = DateTime::from_millis(4_102_444_800_000);
    let ahead = doc! {"$set": {"expires": later}};
    nodes.update_one(key.clone(), ahead).await.unwrap();
    held(&pair.one, 1).await;
    let answer = pair.other.open(brane(1)).await;
    let Err(StoreError::Held { remaining_ms, .. }) = answer else { panic!("{answer:?}") };
    assert!(remaining_ms > LEASE_MS, "{remaining_ms} ms remain");
    let now = command(shared(), doc! {"hello": 1});
    let now = now.get_datetime("localTime").unwrap().timestamp_millis();
    let told = later.timestamp_millis() - now;
    assert!((told..told + 600_000).contains(&remaining_ms.cast_signed()), "{remaining_ms}, {told}");
}
