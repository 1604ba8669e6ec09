//! Nodes whose database is away, for longer than their leases last.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/load.rs"]
mod load;
mod minute;
mod refused;
mod site;
mod step_down;

use std::time::Duration;

use avvy_persistence::testing::proxy::Way;
use avvy_persistence::testing::redis_server::RedisServer;

use load::{count, judge};
use site::{LEASE, PATIENCE, Pair};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_and_lost_nothing_drains_in_order() {
    let pair = Pair::start(&[]);
    let before = count(&pair.one.server, pair.brane).unwrap();
    let load = pair.build(&pair.one, 4).await;
    load.apply(40).await;
    pair.one.way.set(Way::Cut);
    pair.one.until("avvy_lease_provisional", |is| is == 1);
    let chunks = pair.one.metric("avvy_journal_chunks_total");
    // Another node could have the brane, but nobody asks it to.
    tokio::time::sleep(3 * LEASE).await;
    load.apply(40).await;
    pair.one.until("avvy_spool_chunks", |chunks| chunks > 0);
    assert_eq!(pair.one.metric("avvy_journal_chunks_total"), chunks, "nothing is durable");
    pair.one.way.set(Way::CLEAR);
    pair.one.until("avvy_lease_provisional", |is| is == 0);
    load.apply(40).await;
    let all = load.stop().await;
    let (edits, epochs) = judge(&all);
    assert_eq!(epochs.len(), 1, "nobody has opened it: {epochs:?}");
    assert!(
        all.iter().all(|built| (built.rewinds, built.resyncs) == (0, 0)),
        "nobody was sent away"
    );
    let longest = all.iter().map(|built| built.longest[1]).max().unwrap();
    assert!(longest > 3 * LEASE, "the store was not away: {longest:?}");
    pair.one.until("avvy_spool_chunks", |chunks| chunks == 0);
    pair.one.until("avvy_durable_lag_edits", |edits| edits == 0);
    assert_eq!((pair.one.metric("avvy_spool_archived_total"), pair.one.archived()), (0, 0));
    assert_eq!(count(&pair.one.server, pair.brane), Ok(before + edits), "each edit once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_kept_of_a_brane_that_another_took_is_archived() {
    let pair = Pair::start(&[]);
    let before = count(&pair.one.server, pair.brane).unwrap();
    let load = pair.build(&pair.one, 4).await;
    load.apply(40).await;
    pair.one.way.set(Way::Cut);
    pair.one.until("avvy_spool_chunks", |chunks| chunks > 0);
    load.apply(40).await;
    // It is served at the other node as soon as the lease is over.
    let others = tokio::time::timeout(PATIENCE, pair.build(&pair.two, 1)).await.unwrap();
    others.apply(20).await;
    load.apply(40).await;
    pair.one.way.set(Way::CLEAR);
    load.apply(40).await;
    let (robbed, others) = (load.stop().await, others.stop().await);
    pair.one.until("avvy_spool_chunks", |chunks| chunks == 0);
    assert!(pair.one.metric("avvy_spool_archived_total") > 0);
    assert_eq!(pair.one.archived(), 1, "one brane, one epoch");
    pair.judge_taken(pair.brane, before, robbed, others);
    let elsewhere = Err((421, pair.two.server.url.clone()));
    assert_eq!(count(&pair.one.server, pair.brane), elsewhere, "it has let go of it");
}

/// The other node says so, as long as both have the same Redis.
#[tokio::test(flavor = "multi_thread")]
async fn builders_of_a_brane_that_was_taken_go_there_while_their_node_is_still_cut_off() {
    let redis = RedisServer::start();
    let pair = Pair::start(&[("AVVY_REDIS_URL", &redis.url())]);
    let before = count(&pair.one.server, pair.brane).unwrap();
    for node in [&pair.one, &pair.two] {
        node.until("avvy_redis_listening", |is| is == 1);
    }
    let load = pair.build(&pair.one, 4).await;
    load.apply(40).await;
    pair.one.way.set(Way::Cut);
    pair.one.until("avvy_lease_provisional", |is| is == 1);
    load.apply(40).await;
    let others = tokio::time::timeout(PATIENCE, pair.build(&pair.two, 1)).await.unwrap();
    pair.one.until("avvy_branes_taken_total", |taken| taken == 1);
    load.apply(40).await;
    // All that they built becomes durable, which it can at the other node alone.
    let (robbed, others) = (load.stop().await, others.stop().await);
    pair.one.way.set(Way::CLEAR);
    pair.one.until("avvy_spool_chunks", |chunks| chunks == 0);
    assert_eq!(pair.one.archived(), 1, "one brane, one epoch");
    pair.judge_taken(pair.brane, before, robbed, others);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_on_disk_as_soon_as_the_lease_is_not_sure() {
    // A commit under way fails only long after the lease is over.
    let pair = Pair::start(&[("AVVY_STORE_OPERATION_TIMEOUT_MS", "30000")]);
    let load = pair.build(&pair.one, 2).await;
    load.apply(20).await;
    pair.one.way.set(Way::Swallowing);
    load.apply(20).await;
    pair.one.until("avvy_spool_chunks", |chunks| chunks > 0);
    assert_eq!(pair.one.metric("avvy_commit_failures_total"), 0, "it is not known to be away");
    pair.one.way.set(Way::CLEAR);
}

/// How often a number is looked at.
const LOOK: Duration = Duration::from_millis(50);
