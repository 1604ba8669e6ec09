//! A replica set whose primary gives its place to another.

use std::time::Duration;

use avvy_persistence::testing::mongod::{MongoSet, fresh_database};

use crate::load::{Load, count, judge};
use crate::site::{QUICK, join, serve};

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_steps_down_is_a_pause() {
    let (set, directory) = (MongoSet::start(3), tempfile::tempdir().unwrap());
    let node = serve(&set.uri(), &directory.path().join("node"), &fresh_database(), &QUICK);
    let brane = node.demo_brane.parse().unwrap();
    let before = count(&node, brane).unwrap();
    let mut branes = Vec::new();
    for _ in 0..12 {
        branes.push(join(&node, brane, &[]).await);
    }
    let load = Load::start(branes);
    load.apply(400).await;
    let old = set.primary();
    set.step_down();
    load.apply(400).await;
    assert_ne!(set.primary(), old, "another one is the primary");
    load.apply(400).await;
    let all = load.stop().await;
    let (edits, epochs) = judge(&all);
    assert_eq!(epochs.len(), 1, "nobody has opened it: {epochs:?}");
    assert!(all.iter().all(|built| (built.rewinds, built.resyncs) == (0, 0)), "nothing was lost");
    assert_eq!(count(&node, brane), Ok(before + edits), "each edit once");
    let longest = |which: usize| all.iter().map(|built| built.longest[which]).max().unwrap();
    let pauses = [longest(0), longest(1)];
    eprintln!("nobody waited longer than {:?}, for durable {:?}", pauses[0], pauses[1]);
    // An election takes seconds, a machine that has much to do some more.
    assert!(pauses.iter().all(|pause| *pause < Duration::from_secs(40)), "{pauses:?}");
    assert_eq!(node.drain().code(), Some(0));
}
