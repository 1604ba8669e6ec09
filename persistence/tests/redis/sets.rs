//! Sets that all nodes share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avvy_persistence::StoreError;
use avvy_persistence::cache::redis::{Redis, RedisOptions};
use avvy_persistence::cache::{Caches, Member};
use avvy_persistence::testing::redis_server::{self, RedisServer};

use crate::help::{calm, hasty, patient, until};

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn member(name: &str, until_s: u64) -> Member {
    Member { name: name.as_bytes().to_owned(), until_s }
}

async fn node(redis: &RedisOptions) -> Caches {
    let caches = Caches::shared(calm(), Redis::new(redis.clone()).unwrap());
    until(|| caches.status().shared.unwrap().is_listening).await;
    caches
}

#[tokio::test]
async fn what_one_adds_the_others_hear_of() {
    let redis = patient(&redis_server::shared());
    let (a, b) = (node(&redis).await, node(&redis).await);
    let [a, b] = [a, b].map(|node| (node.set("things").unwrap(), node));
    let later_s = now_s() + 600;
    let heard = b.0.changed();
    a.0.add(vec![member("x", later_s), member("gone", now_s() - 1)], 0).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), heard).await.unwrap();
    assert_eq!(b.0.all().await.unwrap(), [member("x", later_s)]);
    // The later end counts.
    b.0.add(vec![member("x", later_s - 1), member("y", later_s + 1)], 0).await.unwrap();
    a.0.add(vec![member("y", later_s)], 0).await.unwrap();
    assert_eq!(a.0.all().await.unwrap(), [member("x", later_s), member("y", later_s + 1)]);
    assert_eq!(a.1.set("others").unwrap().all().await.unwrap(), []);
    let long = member(&"x".repeat(65), later_s);
    assert!(matches!(a.0.add(vec![long], 0).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn a_server_that_is_away_is_said_to_be() {
    let server = RedisServer::start();
    let caches = node(&hasty(&server.url())).await;
    let set = caches.set("things").unwrap();
    server.stop();
    assert!(set.all().await.is_err() && set.add(vec![member("x", 1)], 0).await.is_err());
    // What may have been missed is a change.
    until(|| !caches.status().shared.unwrap().is_listening).await;
    server.go_on();
    tokio::time::timeout(Duration::from_secs(60), set.changed()).await.unwrap();
}
