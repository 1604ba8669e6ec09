//! What a store reads after what it wrote, from a server that is behind.

use std::pin::pin;
use std::time::Duration;

use avvy_model::Seq;
use avvy_persistence::mongo::MongoOptions;
use avvy_persistence::testing::mongod::{MongoSet, fresh_database};
use avvy_persistence::{BoxFuture, SnapshotStart, Store};
use bytes::Bytes;
use futures_util::future::{join_all, select_all};
use mongodb::bson::doc;
use tokio::task::spawn_blocking;

use crate::common::{brane, part, record};
use crate::help::{chunks, database, opened, store};

/// A set of three, and a database in it.
async fn three() -> (MongoSet, MongoOptions) {
    let set = spawn_blocking(|| MongoSet::start(3)).await.unwrap();
    let options = MongoOptions::at(set.uri(), fresh_database());
    (set, MongoOptions { timeout_ms: 120_000, ..options })
}

/// Waits until so many queries wait for the primary.
async fn waiting(options: &MongoOptions, count: usize) {
    let admin = database(options).await.client().database("admin");
    let find = doc! {"$exists": true};
    let list = doc! {"currentOp": 1, "command.find": find, "command.$db": &options.database};
    let count_them = async || {
        let found = admin.run_command(list.clone()).await.unwrap();
        found.get_array("inprog").unwrap().len()
    };
    while count_them().await < count {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The primary acknowledges the parts of a snapshot alone. What a majority has
/// lacks them for a while, and to look for them there is to wait for them.
#[tokio::test]
async fn parts_that_a_majority_has_not_yet_are_waited_for() {
    const POINT: &str = "stopReplProducer";
    let (set, options) = three().await;
    let store = store(&options).await;
    let epoch = opened(&store, 1).await.epoch;
    let start = SnapshotStart { brane: brane(1), epoch, at: Seq(0), taken_ms: 1 };
    let id = store.begin_snapshot(start).await.unwrap();
    // Another primary would not have what this one alone acknowledges.
    set.elect_no_more();
    let primary = set.primary();
    let others: Vec<usize> = (0..3).filter(|nth| *nth != primary).collect();
    for nth in &others {
        let times = set.hold(*nth, POINT);
        set.wait_at(*nth, POINT, times + 1);
    }
    store.put_snapshot_part(brane(1), id, 0, part(1, 0, 0)).await.unwrap();
    let mut finish = pin!(store.finish_snapshot(brane(1), id, 1));
    tokio::select! {
        early = &mut finish => panic!("it was not waited for: {early:?}"),
        () = waiting(&options, 1) => {}
    }
    others.iter().for_each(|nth| set.let_go(*nth, POINT));
    assert_eq!(finish.await, Ok(()));
}

/// A primary that has just been elected has what its predecessor acknowledged,
/// but may not know yet that a majority has it, and shows what was before. Each
/// store waits for what it has written itself, in whatever way.
#[tokio::test]
async fn a_new_primary_that_is_behind_is_waited_for() {
    const POINT: &str = "disableSnapshotting";
    let (mut set, options) = three().await;
    let appends = store(&options).await;
    let (creates, puts, replaces) =
        (store(&options).await, store(&options).await, store(&options).await);
    let epoch = opened(&appends, 1).await.epoch;
    let first = set.primary();
    let heir = (first + 1) % 3;
    set.catch_up();
    set.hold(heir, POINT);
    assert_eq!(appends.append(chunks(1, epoch, 0..3)).await, Ok(vec![Ok(()); 3]));
    creates.create_brane(record(2)).await.unwrap();
    let value = Bytes::from_static(b"value");
    puts.put_meta("put", value.clone()).await.unwrap();
    assert_eq!(replaces.replace_meta("made", None, value.clone()).await, Ok(true));
    set.catch_up();
    set.step_up(heir);
    // Who asks it for nothing more is not told by it how far it has come.
    set.kill(first);
    assert_eq!(set.primary(), heir);
    let mut reads: Vec<BoxFuture<'_, Result<(), String>>> = vec![
        Box::pin(async {
            let head = appends.outline(brane(1)).await.map(|outline| outline.head);
            expect("a journal's end", &head, &Ok(Seq(3)))
        }),
        Box::pin(async { expect("a new brane", &creates.brane(brane(2)).await, &Ok(record(2))) }),
        Box::pin(async {
            expect("what was put", &puts.meta("put").await, &Ok(Some(value.clone())))
        }),
        Box::pin(async {
            expect("what was replaced", &replaces.meta("made").await, &Ok(Some(value.clone())))
        }),
    ];
    tokio::select! {
        (early, ..) = select_all(&mut reads) => panic!("it was not waited for: {early:?}"),
        () = waiting(&options, 4) => {}
    }
    set.let_go(heir, POINT);
    assert_eq!(join_all(reads).await, vec![Ok(()); 4]);
}

fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}")) }
}
