//! What nodes tell each other of branes.

use std::sync::Arc;

use avvy_model::NodeId;
use avvy_persistence::cache::redis::Redis;
use avvy_persistence::cache::{CachedStore, Caches};
use avvy_persistence::memory::MemoryDisk;
use avvy_persistence::testing::redis_server::RedisServer;
use avvy_persistence::{Node, Store, StoreError};

use crate::common::{brane, record};
use crate::help::{calm, patient, until};

fn node(nth: u8) -> Node {
    Node { id: NodeId::from_bytes([nth; 16]), address: format!("ws://node-{nth}.example:1") }
}

async fn listening(caches: &Caches, connects: u64) {
    until(|| {
        let shared = caches.status().shared.unwrap();
        shared.is_listening && shared.connects == connects
    })
    .await;
}

#[tokio::test]
async fn whoever_opens_a_brane_is_known_to_others() {
    let mut server = RedisServer::start();
    let redis = patient(&server.url());
    let disk = MemoryDisk::new();
    let store = Arc::new(disk.mount());
    let caches = [1, 2].map(|_| Caches::shared(calm(), Redis::new(redis.clone()).unwrap()));
    let [a, b] = [1, 2].map(|nth: u8| {
        CachedStore::new(store.clone(), &caches[usize::from(nth) - 1], Some(node(nth)))
    });
    for caches in &caches {
        listening(caches, 1).await;
    }
    // The second node has asked for it in vain, and remembers.
    assert_eq!(b.brane(brane(1)).await, Err(StoreError::UnknownBrane(brane(1))));
    let at = |on: &Caches| on.location(brane(1)).map(|location| location.node);
    a.create_brane(record(1)).await.unwrap();
    a.open(brane(1)).await.unwrap();
    until(|| at(&caches[1]) == Some(node(1))).await;
    assert_eq!(b.brane(brane(1)).await, Ok(record(1)));
    b.open(brane(1)).await.unwrap();
    until(|| at(&caches[0]) == Some(node(2))).await;
    // What was told meanwhile is not known.
    server.restart();
    for caches in &caches {
        listening(caches, 2).await;
        assert_eq!(at(caches), None);
    }
}
