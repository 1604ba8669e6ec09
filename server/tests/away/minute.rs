//! A database that is away for a minute, with the settings of a fleet's own.

use std::time::{Duration, Instant};

use avvy_model::BraneId;
use avvy_persistence::testing::proxy::Way;
use serde_json::json;

use crate::load::{Load, count, judge};
use crate::site::Pair;

/// How long: twelve times as long as a lease.
const AWAY: Duration = Duration::from_secs(60);
/// So slow that nobody has to wait for its edits to be durable meanwhile: a
/// client goes on up to 256 edits past them.
const PACE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_is_caught_up_with_and_what_was_taken_meanwhile_is_archived() {
    let pair = Pair::start_as_set(&[]);
    let kept = pair.brane;
    let (status, made) = pair.one.server.post_own("/api/v1/brane", &json!({"name": "Taken"}));
    assert_eq!(status, 201, "{made}");
    let taken: BraneId = made["id"].as_str().unwrap().parse().unwrap();
    let before = [kept, taken].map(|brane| count(&pair.one.server, brane).unwrap());
    let at_one = |brane| pair.join(&pair.one, brane, 4);
    let builders = Load::start_at(PACE, at_one(kept).await);
    let robbed = Load::start_at(PACE, at_one(taken).await);
    builders.apply(20).await;
    robbed.apply(20).await;
    pair.one.way.set(Way::Cut);
    let began = Instant::now();
    pair.one.until("avvy_lease_provisional", |is| is == 1);
    let others = Load::start_at(PACE, pair.join(&pair.two, taken, 1).await);
    others.apply(20).await;
    pair.one.until("avvy_spool_chunks", |chunks| chunks > 0);
    let durable = pair.one.metric("avvy_journal_chunks_total");
    while began.elapsed() < AWAY {
        // All the time, and nobody is refused.
        builders.apply(16).await;
        robbed.apply(16).await;
    }
    assert_eq!(pair.one.metric("avvy_journal_chunks_total"), durable, "nothing is durable");
    pair.one.way.set(Way::CLEAR);
    builders.apply(20).await;
    robbed.apply(20).await;

    let all = builders.stop().await;
    let (edits, epochs) = judge(&all);
    assert_eq!(epochs.len(), 1, "nobody has opened it: {epochs:?}");
    assert!(all.iter().all(|built| (built.rewinds, built.resyncs) == (0, 0)), "nobody sent away");
    let longest = all.iter().map(|built| built.longest[1]).max().unwrap();
    assert!(longest >= AWAY, "the store was not away: {longest:?}");
    assert_eq!(count(&pair.one.server, kept), Ok(before[0] + edits), "each edit once");

    let (robbed, others) = (robbed.stop().await, others.stop().await);
    pair.one.until("avvy_spool_chunks", |chunks| chunks == 0);
    pair.one.until("avvy_durable_lag_edits", |edits| edits == 0);
    assert_eq!(pair.one.archived(), 1, "one brane, one epoch");
    pair.judge_taken(taken, before[1], robbed, others);
}
