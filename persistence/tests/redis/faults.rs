//! Redis fails in the ways that it can.

use std::sync::atomic::Ordering;
use std::time::Duration;

use avvy_persistence::cache::CacheOptions;
use avvy_persistence::cache::redis::RedisOptions;
use avvy_persistence::testing::redis_server::RedisServer;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::help::{Node, ROUNDING, Truth, calm, hasty, patient, quick, until};

#[tokio::test]
async fn without_redis_the_store_is_asked() {
    let truth = Truth::new();
    let node = Node::new(&truth, hasty("redis://127.0.0.1:1/"), calm());
    let value = truth.change(1);
    assert_eq!((node.get(1).await, node.get(1).await), (value, value));
    assert_eq!(node.status().store_reads, 1, "the process has a tier of its own");
    for key in 2..20 {
        truth.change(key);
        node.get(key).await;
    }
    let (status, shared) = (node.status(), node.shared());
    assert_eq!(status.store_reads, 19);
    assert!(!shared.is_up && !shared.is_listening && shared.bypassed > 0, "{shared:?}");
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_patience_of_a_few() {
    let (server, truth) = (RedisServer::start(), Truth::new());
    let redis = RedisOptions { retry: Duration::from_secs(3_600), ..hasty(&server.url()) };
    let node = Node::listening(&truth, redis, calm()).await;
    let before = node.shared().failures;
    server.stop();
    for key in 0..50 {
        let value = truth.change(key);
        assert_eq!(node.get(key).await, value);
    }
    let shared = node.shared();
    assert_eq!(shared.failures - before, 3, "then it is left alone: {shared:?}");
    assert!(!shared.is_up && shared.bypassed >= 47, "{shared:?}");
    until(|| !node.shared().is_listening).await;
    server.go_on();
}

#[tokio::test]
async fn so_many_calls_are_under_way_and_no_more() {
    let (server, truth) = (RedisServer::start(), Truth::new());
    let redis = RedisOptions { max_in_flight: 2, ..patient(&server.url()) };
    let node = Node::listening(&truth, redis, calm()).await;
    server.stop();
    let mut asking = JoinSet::new();
    for key in 0..50 {
        truth.change(key);
        let node = node.clone();
        asking.spawn(async move { node.get(key).await });
    }
    // All but two have been answered by the store.
    for _ in 0..48 {
        asking.join_next().await.unwrap().unwrap();
    }
    assert_eq!(node.shared().bypassed, 48);
    server.go_on();
    while let Some(value) = asking.join_next().await {
        assert!(value.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again_and_nothing_old_is_left() {
    let (mut server, truth) = (RedisServer::start(), Truth::new());
    let redis = hasty(&server.url());
    let a = Node::listening(&truth, redis.clone(), calm()).await;
    let b = Node::listening(&truth, redis, calm()).await;
    let old = truth.change(1);
    assert_eq!((a.get(1).await, b.get(1).await), (old, old));
    server.kill();
    until(|| !a.shared().is_listening && !b.shared().is_listening).await;
    // The notice of this is lost.
    let new = a.write(1).await;
    assert_eq!((a.get(1).await, b.get(1).await), (new, old));
    let flushed = b.status().flushes;
    server.restart();
    until(|| b.status().flushes > flushed && b.shared().is_listening).await;
    assert_eq!((a.get(1).await, b.get(1).await), (new, new));
    for key in (2..).take_while(|_| !a.shared().is_up) {
        a.get(key).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a node wrote it reads again, though Redis still holds what was before,
/// and the node itself keeps nothing.
#[tokio::test]
async fn a_write_that_redis_has_not_heard_of_is_read_all_the_same() {
    let (server, truth) = (RedisServer::start(), Truth::new());
    let redis = RedisOptions { retry: Duration::from_millis(1), ..hasty(&server.url()) };
    let nothing = CacheOptions { max_entries: 0, ..calm() };
    let a = Node::listening(&truth, redis.clone(), nothing).await;
    let b = Node::listening(&truth, redis, calm()).await;
    let old = truth.change(1);
    assert_eq!(a.get(1).await, old);
    let heard = b.status().invalidated;
    server.stop();
    let new = a.write(1).await;
    for _ in 0..20 {
        assert_eq!(a.get(1).await, new);
    }
    server.go_on();
    assert_eq!(a.get(1).await, new);
    // It is told until it has been heard.
    until(|| b.status().invalidated > heard || b.status().flushes > 1).await;
    assert_eq!(b.get(1).await, new);
}

/// A value that was stuck on its way into Redis is no younger for that.
#[tokio::test]
async fn a_value_that_was_stuck_ends_when_it_would_have() {
    let (server, truth) = (RedisServer::start(), Truth::new());
    let options = CacheOptions { ttl: quick().max_stale, ..quick() };
    let redis = RedisOptions { lease: Duration::from_secs(600), ..hasty(&server.url()) };
    let a = Node::listening(&truth, redis.clone(), options).await;
    let old = truth.change(1);
    truth.is_held.store(true, Ordering::SeqCst);
    let slow = a.clone();
    let slow = tokio::spawn(async move { slow.get(1).await });
    truth.began.notified().await;
    truth.is_held.store(false, Ordering::SeqCst);
    server.stop();
    let failures = a.shared().failures;
    truth.go_on.notify_one();
    assert_eq!(slow.await.unwrap(), old);
    until(|| a.shared().failures > failures).await;
    // Nobody is told of this.
    let new = truth.change(1);
    tokio::time::sleep(options.max_stale).await;
    server.go_on();
    let b = Node::listening(&truth, redis, options).await;
    assert_eq!((a.get(1).await, b.get(1).await), (new, new));
}

/// A notice is lost: what a node takes out of Redis is of the age that it is.
#[tokio::test]
async fn the_age_of_a_value_counts_through_both_tiers() {
    let (server, truth) = (RedisServer::start(), Truth::new());
    let options = CacheOptions { ttl: quick().max_stale, ..quick() };
    let redis = patient(&server.url());
    let a = Node::listening(&truth, redis.clone(), options).await;
    let b = Node::listening(&truth, redis, options).await;
    let old = truth.change(1);
    assert_eq!(a.get(1).await, old);
    truth.change(1);
    let replaced = truth.replaced(1, old).unwrap();
    tokio::time::sleep(options.max_stale * 6 / 10).await;
    loop {
        let began = Instant::now();
        if b.get(1).await != old {
            break;
        }
        let late = began.duration_since(replaced);
        assert!(late < options.max_stale + ROUNDING, "{late:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
