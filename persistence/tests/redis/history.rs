//! Two nodes on one Redis that fails, with reads and writes at random, held
//! against what was true when.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avvy_persistence::cache::redis::RedisOptions;
use avvy_persistence::testing::redis_server::RedisServer;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::common::Draw;
use crate::help::{Node, ROUNDING, Truth, hasty, quick, until};

const KEYS: u64 = 6;

/// A node and what its own writers have been answered, by key.
#[derive(Clone)]
struct Witness {
    node: Node,
    answered: Arc<Mutex<BTreeMap<u8, u64>>>,
}

impl Witness {
    async fn new(truth: &Arc<Truth>, redis: &RedisOptions) -> Self {
        let node = Node::listening(truth, redis.clone(), quick()).await;
        Self { node, answered: Arc::default() }
    }

    /// Reads, and holds what came to what it may be.
    async fn read(&self, key: u8) {
        let least = self.answered.lock().unwrap().get(&key).copied().unwrap_or_default();
        let began = Instant::now();
        let value = self.node.get(key).await;
        assert!(value >= least, "{key}: {value}, but {least} was written here and answered");
        if let Some(replaced) = self.node.truth.replaced(key, value) {
            let late = began.saturating_duration_since(replaced);
            let bound = quick().max_stale + ROUNDING;
            assert!(late < bound, "{key}: {value} was replaced {late:?} ago");
        }
    }

    async fn write(&self, key: u8) {
        let value = self.node.write(key).await;
        let mut answered = self.answered.lock().unwrap();
        let last = answered.entry(key).or_default();
        *last = value.max(*last);
    }

    async fn run(self, seed: u64, is_over: Arc<AtomicBool>) -> u64 {
        let mut draw = Draw(seed);
        let mut done = 0;
        while !is_over.load(Ordering::Relaxed) {
            let key = draw.below(KEYS) as u8;
            match draw.below(100) {
                0..80 => self.read(key).await,
                80..84 => self.write(key).await,
                // By somebody who tells nobody.
                84 => drop(self.node.truth.change(key)),
                _ => tokio::time::sleep(Duration::from_millis(draw.below(8))).await,
            }
            done += 1;
        }
        done
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_staler_than_the_bound_whatever_fails() {
    let seed = std::env::var("AVVY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("AVVY_SEED={seed}");
    let (mut server, truth) = (RedisServer::start(), Truth::new());
    let redis = hasty(&server.url());
    let witnesses = [Witness::new(&truth, &redis).await, Witness::new(&truth, &redis).await];
    let is_over = Arc::new(AtomicBool::new(false));
    let mut runs = JoinSet::new();
    for (nth, witness) in (0..8).zip(witnesses.iter().cycle()) {
        runs.spawn(witness.clone().run(seed * 1_000 + nth, Arc::clone(&is_over)));
    }
    let mut draw = Draw(seed);
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(200 + draw.below(600))).await;
        if draw.below(2) == 0 {
            server.kill();
            tokio::time::sleep(Duration::from_millis(draw.below(700))).await;
            server.restart();
        } else {
            server.stop();
            tokio::time::sleep(Duration::from_millis(draw.below(1_500))).await;
            server.go_on();
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let mut done = 0;
    while let Some(run) = runs.join_next().await {
        done += run.unwrap();
    }
    let [a, b] = &witnesses;
    println!("{done} steps, {:?}, {:?}", a.node.status(), a.node.shared());
    for witness in [a, b] {
        let (status, shared) = (witness.node.status(), witness.node.shared());
        assert!(status.hits > 0 && status.shared_hits > 0 && status.store_reads > 0, "{status:?}");
        assert!(shared.failures > 0 && shared.connects > 1 && shared.notices > 0, "{shared:?}");
    }
    // All is well again.
    until(|| a.node.shared().is_listening && b.node.shared().is_listening).await;
    tokio::time::sleep(quick().max_stale).await;
    for key in 0..KEYS as u8 {
        assert_eq!(a.node.get(key).await, b.node.get(key).await);
    }
}
