//! What nodes tell each other of branes.

use std::sync::Arc;
use std::time::Duration;

use avvy_model::NodeId;
use avvy_persistence::cache::redis::Redis;
use avvy_persistence::cache::{CachedStore, Caches, Moved, News};
use avvy_persistence::memory::MemoryDisk;
use avvy_persistence::testing::redis_server::RedisServer;
use avvy_persistence::{Store, StoreError};

use crate::common::{brane, record};
use crate::help::{calm, patient, until};

const PATIENCE: Duration = Duration::from_secs(60);

async fn listening(caches: &Caches, connects: u64) {
    until(|| {
        let shared = caches.status().shared.unwrap();
        shared.is_listening && shared.connects == connects
    })
    .await;
}

#[tokio::test]
async fn whoever_makes_a_brane_is_heard_by_others() {
    let mut server = RedisServer::start();
    let redis = patient(&server.url());
    let disk = MemoryDisk::new();
    let store = Arc::new(disk.mount());
    let caches = [1, 2].map(|_| Caches::shared(calm(), Redis::new(redis.clone()).unwrap()));
    let [a, b] = [0, 1].map(|nth: usize| CachedStore::new(store.clone(), &caches[nth]));
    for caches in &caches {
        listening(caches, 1).await;
    }
    // The second node has asked for it in vain, and remembers.
    assert_eq!(b.brane(brane(1)).await, Err(StoreError::UnknownBrane(brane(1))));
    a.create_brane(record(1)).await.unwrap();
    until(|| caches[1].status().tiers[0].invalidated > 0).await;
    assert_eq!(b.brane(brane(1)).await, Ok(record(1)));
    // What was told meanwhile is not known.
    assert_eq!(caches[1].status().tiers[0].entries, 1);
    server.restart();
    for caches in &caches {
        listening(caches, 2).await;
        assert_eq!(caches.status().tiers[0].entries, 0);
    }
}

#[tokio::test]
async fn whoever_opens_a_brane_is_heard_by_others() {
    let server = RedisServer::start();
    let redis = patient(&server.url());
    let store = Arc::new(MemoryDisk::new().mount());
    let caches = [1, 2].map(|_| Caches::shared(calm(), Redis::new(redis.clone()).unwrap()));
    let by = NodeId::from_bytes([7; 16]);
    let node = CachedStore::new(store.clone(), &caches[0]).of_node(by);
    let alone = CachedStore::new(store, &caches[0]);
    let mut news = caches[1].news();
    listening(&caches[1], 1).await;
    for nth in [1, 2] {
        node.create_brane(record(nth)).await.unwrap();
    }
    // Who is no node has nobody to tell.
    alone.open(brane(1)).await.unwrap();
    let epoch = node.open(brane(2)).await.unwrap().epoch;
    caches[0].tell_here(by);
    let moved = News::Moved(Moved { brane: brane(2), epoch, by });
    for expected in [News::Missed, moved, News::Here(by)] {
        let heard = tokio::time::timeout(PATIENCE, news.recv()).await.unwrap();
        assert_eq!(heard, Some(expected));
    }
}
