//! Nodes whose wall clocks are hours off: leases are on the database's clock, and
//! counted on monotonic ones.

use std::time::{Duration, Instant};

use avvy_persistence::testing::faketime::wall_clock_off_by;
use avvy_persistence::testing::mongod::fresh_database;

use crate::load::{Load, count, judge};
use crate::{LEASE, PATIENCE, join, node_with};

const HOURS_OFF: i64 = 5 * 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_are_hours_off_rob_nobody_and_succeed_the_dead() {
    let directory = tempfile::tempdir().unwrap();
    let database = fresh_database();
    let start = |name: &str, seconds: i64| {
        let clock = wall_clock_off_by(seconds);
        let clock = clock.iter().map(|(name, value)| (*name, value.as_str()));
        // Of tokens the wall clock says when they begin and end.
        let tokens = [("AVVY_AUTH_TOKEN_LIFETIME_S", "604800")];
        let more: Vec<_> = tokens.into_iter().chain(clock).collect();
        node_with(directory.path(), name, &database, 50, &more)
    };
    let (behind, ahead) = (start("behind", -HOURS_OFF), start("ahead", HOURS_OFF));
    let brane = behind.demo_brane.parse().unwrap();
    let before = count(&behind, brane).unwrap();
    let mut branes = Vec::new();
    for _ in 0..3 {
        branes.push(join(brane, &behind, &ahead).await);
    }
    let load = Load::start(branes);
    load.apply(20).await;
    // For longer than its lease lasts, nobody else may have it.
    let began = Instant::now();
    while began.elapsed() < 3 * LEASE {
        assert_eq!(count(&ahead, brane), Err((421, behind.url.clone())));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    load.apply(20).await;
    for node in [&behind, &ahead] {
        let metrics = node.text("/metrics");
        for good in ["avvy_lease_provisional 0", "avvy_branes_taken_total 0"] {
            assert!(metrics.lines().any(|line| line == good), "no {good} in {metrics}");
        }
    }
    // What a node that died held is had by the other when its lease is over.
    behind.kill();
    load.apply(20).await;
    // One whose clock is right takes it over while it is served.
    let right = start("right", 0);
    assert_eq!(count(&right, brane), Err((421, ahead.url.clone())));
    let ended = tokio::task::spawn_blocking(move || ahead.drain());
    assert_eq!(tokio::time::timeout(2 * PATIENCE, ended).await.unwrap().unwrap().code(), Some(0));
    load.apply(20).await;
    let (edits, epochs) = judge(&load.stop().await);
    assert_eq!(epochs.len(), 3, "{epochs:?}");
    assert_eq!(count(&right, brane), Ok(before + edits), "each edit once");
    assert_eq!(right.drain().code(), Some(0));
}
