//! Two tiers, and several nodes, while all is well.

use std::sync::atomic::Ordering;
use std::time::Duration;

use avvy_persistence::cache::CacheOptions;
use avvy_persistence::cache::redis::{Redis, RedisOptions};
use avvy_persistence::testing::redis_server;

use crate::help::{Node, Truth, calm, patient, until};

fn options() -> RedisOptions {
    patient(&redis_server::shared())
}

/// Two nodes that hear each other.
async fn two(options: CacheOptions) -> (Node, Node) {
    let (truth, redis) = (Truth::new(), self::options());
    let a = Node::listening(&truth, redis.clone(), options).await;
    let b = Node::listening(&truth, redis, options).await;
    (a, b)
}

/// Everything of a namespace that Redis holds.
async fn held(redis: &RedisOptions) -> Vec<(String, Vec<u8>, i64)> {
    let client = ::redis::Client::open(redis.url.as_str()).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    let mut keys = ::redis::cmd("KEYS");
    keys.arg(format!("{}:*", redis.namespace));
    let mut held = Vec::new();
    for key in keys.query_async::<Vec<String>>(&mut link).await.unwrap() {
        let value = ::redis::cmd("GET").arg(&key).query_async(&mut link).await.unwrap();
        let left = ::redis::cmd("PTTL").arg(&key).query_async(&mut link).await.unwrap();
        held.push((key, value, left));
    }
    held
}

async fn set(redis: &RedisOptions, key: &str, value: &[u8]) {
    let client = ::redis::Client::open(redis.url.as_str()).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    ::redis::cmd("SET").arg(key).arg(value).exec_async(&mut link).await.unwrap();
}

/// Waits until a node has put what it loaded.
async fn until_put(redis: &RedisOptions) {
    let value = async {
        while held(redis).await.iter().all(|(_, value, _)| value.first() != Some(&b'V')) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), value).await.unwrap();
}

#[tokio::test]
async fn a_node_finds_what_another_has_loaded() {
    let (truth, redis) = (Truth::new(), options());
    let a = Node::new(&truth, redis.clone(), calm());
    let value = truth.change(1);
    assert_eq!(a.get(1).await, value);
    until_put(&redis).await;
    let b = Node::listening(&truth, redis.clone(), calm()).await;
    assert_eq!((b.get(1).await, b.get(1).await), (value, value));
    let status = b.status();
    assert_eq!((status.store_reads, status.shared_hits, status.hits), (0, 1, 1));
    let left = held(&redis).await[0].2;
    let most = i64::try_from(calm().max_stale.as_millis()).unwrap();
    assert!((0..=most).contains(&left), "{left}");
}

#[tokio::test]
async fn that_there_is_none_is_shared_until_there_is_one() {
    let (a, b) = two(calm()).await;
    assert_eq!(a.get(1).await, 0);
    until(|| a.shared().calls >= 2).await;
    assert_eq!((b.get(1).await, b.get(1).await), (0, 0));
    let heard = b.status().invalidated;
    let value = a.write(1).await;
    assert_eq!(a.get(1).await, value);
    until(|| b.status().invalidated > heard).await;
    assert_eq!(b.get(1).await, value);
}

#[tokio::test]
async fn a_write_is_heard_by_other_nodes() {
    let (a, b) = two(calm()).await;
    for round in 0..20 {
        let value = a.write(1).await;
        assert_eq!(a.get(1).await, value);
        until(|| b.shared().notices == 2 * round + 1).await;
        assert_eq!(b.get(1).await, value);
        let value = b.write(1).await;
        until(|| a.shared().notices == 2 * round + 2).await;
        assert_eq!((a.get(1).await, b.get(1).await), (value, value));
    }
}

#[tokio::test]
async fn a_node_waits_for_what_another_loads() {
    let (a, b) = two(calm()).await;
    let value = a.truth.change(1);
    a.truth.is_held.store(true, Ordering::SeqCst);
    let slow = a.clone();
    let slow = tokio::spawn(async move { slow.get(1).await });
    a.truth.began.notified().await;
    let other = b.clone();
    let calls = b.shared().calls;
    let other = tokio::spawn(async move { other.get(1).await });
    until(|| b.shared().calls > calls + 1).await;
    a.truth.go_on.notify_one();
    assert_eq!((slow.await.unwrap(), other.await.unwrap()), (value, value));
    assert_eq!(b.status().store_reads, 0);
}

#[tokio::test]
async fn a_node_does_not_wait_for_ever() {
    let options = CacheOptions { load_wait: Duration::from_millis(20), ..calm() };
    let (a, b) = two(options).await;
    let value = a.truth.change(1);
    a.truth.is_held.store(true, Ordering::SeqCst);
    let slow = a.clone();
    let slow = tokio::spawn(async move { slow.get(1).await });
    a.truth.began.notified().await;
    a.truth.is_held.store(false, Ordering::SeqCst);
    assert_eq!(b.get(1).await, value);
    assert_eq!(b.status().store_reads, 1);
    a.truth.go_on.notify_one();
    assert_eq!(slow.await.unwrap(), value);
}

/// The first node reads, is held up, and wants to put what it has read after
/// the second has written.
#[tokio::test]
async fn a_read_that_began_before_a_write_elsewhere_does_not_put_its_value_back() {
    let (a, b) = two(calm()).await;
    let old = a.truth.change(1);
    a.truth.is_held.store(true, Ordering::SeqCst);
    let slow = a.clone();
    let slow = tokio::spawn(async move { slow.get(1).await });
    a.truth.began.notified().await;
    a.truth.is_held.store(false, Ordering::SeqCst);
    let new = b.write(1).await;
    until(|| a.status().invalidated > 0).await;
    let calls = a.shared().calls;
    a.truth.go_on.notify_one();
    assert_eq!(slow.await.unwrap(), old, "it was asked before the write");
    until(|| a.shared().calls > calls).await;
    assert_eq!((a.get(1).await, b.get(1).await), (new, new));
    assert_eq!(a.status().spoiled, 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_asked_of_the_store() {
    let (truth, redis) = (Truth::new(), options());
    let a = Node::new(&truth, redis.clone(), calm());
    let value = truth.change(1);
    a.get(1).await;
    until_put(&redis).await;
    let (key, mut bytes, _) = held(&redis).await.remove(0);
    for spoiled in [b"nonsense".to_vec(), Vec::new(), {
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    }] {
        set(&redis, &key, &spoiled).await;
        let b = Node::new(&truth, redis.clone(), calm());
        assert_eq!(b.get(1).await, value);
        assert_eq!(b.status().store_reads, 1);
    }
}

#[tokio::test]
async fn fleets_on_one_server_do_not_meet() {
    let truth = Truth::new();
    let (a, b) = (options(), options());
    assert_ne!(a.namespace, b.namespace);
    let value = truth.change(1);
    let a_node = Node::listening(&truth, a.clone(), calm()).await;
    let b_node = Node::listening(&truth, b, calm()).await;
    assert_eq!(a_node.get(1).await, value);
    until_put(&a).await;
    assert_eq!((b_node.get(1).await, b_node.status().store_reads), (value, 1));
    a_node.write(1).await;
    until(|| a_node.shared().notices > 0).await;
    assert_eq!(b_node.shared().notices, 0);
}

#[tokio::test]
async fn an_address_is_not_told_to_anybody() {
    let options = RedisOptions::at("redis://user:sesame@host:1/");
    assert!(!format!("{options:?}").contains("sesame"));
    let wrong = Redis::new(RedisOptions::at("http://user:sesame@host/")).err().unwrap();
    assert!(!wrong.to_string().contains("sesame"), "{wrong}");
}
