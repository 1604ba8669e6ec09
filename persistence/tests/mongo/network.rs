//! The store behind a network that fails.

use std::net::SocketAddr;
use std::time::Duration;

use avvy_model::{Epoch, Position, Seq};
use avvy_persistence::mongo::{MongoObjects, MongoOptions, MongoStore};
use avvy_persistence::records::{
    Collection, Commit, CommitId, Draft, Fields, Index, KeyRange, Query, RecordKey, RecordWrite,
    Records, SweepPlace,
};
use avvy_persistence::testing::mongod::{MongoSet, fresh_database};
use avvy_persistence::testing::nth_node;
use avvy_persistence::testing::proxy::{Proxy, Way};
use avvy_persistence::{
    BoxFuture, BraneFilter, CompactPolicy, Fleet, Holding, SnapshotStart, Store, StoreError,
};
use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use uuid::Uuid;

use crate::common::{brane, record};
use crate::faults::insist;
use crate::help::{chunks, expect_journal, opened, store};

/// How long anything may take that must not hang.
const PATIENCE: Duration = Duration::from_secs(60);

async fn set_behind_a_proxy() -> MongoSet {
    spawn_blocking(|| MongoSet::start_behind_proxies(1)).await.unwrap()
}

/// Every kind of operation, each for itself.
fn operations<'a>(
    store: &'a MongoStore,
    objects: &'a MongoObjects,
    epoch: Epoch,
) -> Vec<(&'static str, BoxFuture<'a, Outcome>)> {
    fn of<'a, T: 'a>(
        name: &'static str,
        operation: BoxFuture<'a, Result<T, StoreError>>,
    ) -> (&'static str, BoxFuture<'a, Outcome>) {
        (name, Box::pin(async { operation.await.map(drop) }))
    }
    let at = Position { epoch, seq: Seq(2) };
    let start = SnapshotStart { brane: brane(1), epoch, at: Seq(2), taken_ms: 1 };
    let policy =
        CompactPolicy { now_ms: 1, retention_ms: 1, max_journal_bytes: None, keep_snapshots: 1 };
    vec![
        of("append", store.append(chunks(1, epoch, 2..4))),
        of("brane", store.brane(brane(1))),
        of("branes", store.branes(BraneFilter::All, None, 10)),
        of("read_chunks", store.read_chunks(brane(1), Seq(0), 1 << 20)),
        of("create_brane", store.create_brane(record(2))),
        of("open", store.open(brane(1))),
        of("begin_snapshot", store.begin_snapshot(start)),
        of("compact", store.compact(policy)),
        of("verify_brane", store.verify_brane(brane(1))),
        of("verify_store", store.verify_store()),
        of("meta", store.meta("key")),
        of("put_meta", store.put_meta("key", Bytes::from_static(b"value"))),
        of("replace_meta", store.replace_meta("key", None, Bytes::from_static(b"value"))),
        of("commit", store.commit(commit(), 1)),
        of("list", store.list(&THINGS, Query::new("by_name", KeyRange::all()), 1)),
        of("get_many", store.get_many(&THINGS, vec![thing()], 1)),
        of("sweep", store.sweep(1, SweepPlace::default(), 10)),
        of("scan", store.scan(None)),
        of("enter", store.enter()),
        of("renew", store.renew(vec![Holding { brane: brane(1), epoch }])),
        of("nodes", store.nodes()),
        of("holder", store.holder(brane(1))),
        of("offer", store.offer(brane(1), epoch, nth_node(2).id)),
        of("hand_over", store.hand_over(brane(1), epoch, nth_node(2).id)),
        of("succeed", store.succeed(nth_node(2).id)),
        of("set_draining", store.set_draining()),
        of("leave", store.leave()),
        of("objects' as_of", Box::pin(objects.as_of(brane(1)))),
        of("objects' write", Box::pin(objects.write(brane(1), at, [], &[]))),
        of("objects' complete", Box::pin(objects.complete(brane(1), Seq(1), true))),
    ]
}

static THINGS: Collection = Collection { name: "things", indexes: &[Index::plain("by_name")] };

fn thing() -> RecordKey {
    RecordKey::new("thing").unwrap()
}

fn commit() -> Commit {
    let draft = Draft::new(Fields::new().with("name", "thing"));
    let writes = vec![RecordWrite::create(&THINGS, thing(), draft)];
    Commit { id: CommitId(Uuid::from_u128(1)), writes }
}

type Outcome = Result<(), StoreError>;

#[tokio::test]
async fn every_operation_ends_when_the_server_falls_silent() {
    let set = set_behind_a_proxy().await;
    let patient = MongoOptions::at(set.uri(), fresh_database());
    let patient = MongoOptions { node: Some(nth_node(1)), lease_ms: 600_000, ..patient };
    let first = store(&patient).await;
    first.enter().await.unwrap();
    let epoch = opened(&first, 1).await.epoch;
    let tired = MongoOptions { timeout_ms: 500, ..patient };
    let store = store(&tired).await;
    let objects = MongoObjects::open(&tired).await.unwrap();
    let all = chunks(1, epoch, 0..4);
    insist(&store, &all[..2]).await;
    // First with connections that are there, then with none.
    for way in [Way::Swallowing, Way::Cut, Way::Swallowing] {
        set.proxy(0).set(way);
        let ends =
            operations(&store, &objects, epoch).into_iter().map(|(name, operation)| async move {
                let outcome = timeout(PATIENCE, operation).await;
                let outcome = outcome.unwrap_or_else(|_| panic!("{name} hangs, {way:?}"));
                let error = outcome.expect_err(name);
                assert!(error.is_retryable(), "{name}, {way:?}: {error}");
            });
        futures_util::future::join_all(ends).await;
    }
    set.proxy(0).set(Way::CLEAR);
    insist(&store, &all[2..]).await;
    expect_journal(&store, 1, &all).await;
}

#[tokio::test]
async fn a_network_that_breaks_again_and_again_loses_and_doubles_nothing() {
    let set = set_behind_a_proxy().await;
    let patient = MongoOptions::at(set.uri(), fresh_database());
    let epoch = opened(&*store(&patient).await, 1).await.epoch;
    let store = store(&MongoOptions { timeout_ms: 1_000, ..patient }).await;
    let all = chunks(1, epoch, 0..200);
    let (so_far, mut told) = tokio::sync::watch::channel(0_usize);
    let writer = async {
        for (nth, group) in all.chunks(2).enumerate() {
            so_far.send_replace(nth);
            insist(&store, group).await;
        }
    };
    let breaker = async {
        let ways = [Way::Cut, Way::Swallowing, Way::Held, Way::throttled(50_000)];
        for (round, way) in (0..20).zip(ways.into_iter().cycle()) {
            told.wait_for(|nth| *nth >= 4 * round).await.unwrap();
            // Each time a little further within a transaction.
            let from = set.proxy(0).counts().passed;
            while set.proxy(0).counts().passed < from + 150 * round as u64 {
                tokio::task::yield_now().await;
            }
            set.proxy(0).set(way);
            tokio::time::sleep(Duration::from_millis(100)).await;
            set.proxy(0).set(Way::CLEAR);
        }
    };
    tokio::join!(writer, breaker);
    expect_journal(&store, 1, &all).await;
}

#[tokio::test]
async fn a_slow_network_makes_a_group_slow_and_not_each_of_its_chunks() {
    let set = set_behind_a_proxy().await;
    let store = store(&MongoOptions::at(set.uri(), fresh_database())).await;
    let epoch = opened(&store, 1).await.epoch;
    set.proxy(0).set(Way::delayed(Duration::from_millis(100)));
    let all = chunks(1, epoch, 0..400);
    // Within the time of one operation, which 400 round trips are not.
    assert_eq!(store.append(all.clone()).await, Ok(vec![Ok(()); 400]));
    set.proxy(0).set(Way::CLEAR);
    expect_journal(&store, 1, &all).await;
}

#[tokio::test]
async fn each_of_two_ways_to_one_server_breaks_for_itself() {
    let set = spawn_blocking(|| MongoSet::start(1)).await.unwrap();
    let server = SocketAddr::from(([127, 0, 0, 1], set.ports()[0]));
    let (near, far) = (Proxy::start(server), Proxy::start(server));
    let database = fresh_database();
    let through = |proxy: &Proxy| {
        let options = MongoOptions::at(proxy.direct_mongodb(), database.clone());
        MongoOptions { timeout_ms: 1_000, ..options }
    };
    let (near_store, far_store) = (store(&through(&near)).await, store(&through(&far)).await);
    let epoch = opened(&near_store, 1).await.epoch;
    let all = chunks(1, epoch, 0..6);
    insist(&near_store, &all[..2]).await;
    near.set(Way::Cut);
    assert!(near_store.append(all[2..4].to_vec()).await.is_err());
    insist(&far_store, &all[2..4]).await;
    near.set(Way::CLEAR);
    insist(&near_store, &all[2..]).await;
    expect_journal(&near_store, 1, &all).await;
}
