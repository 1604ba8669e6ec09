//! What the tests share: nodes of a fleet, and a store of numbers that change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use avvy_persistence::StoreError;
use avvy_persistence::cache::redis::{Redis, RedisOptions};
use avvy_persistence::cache::{Cache, CacheOptions, Caches, Model, SharedStatus, TierStatus};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Numbers under numbers.
pub struct Numbers;

impl Model for Numbers {
    type Key = u8;
    type Value = u64;
    const KIND: &'static str = "number";
    const VERSION: u32 = 1;

    fn key_text(key: &u8) -> String {
        key.to_string()
    }

    fn key_of(text: &str) -> Option<u8> {
        text.parse().ok()
    }

    fn encode(value: &u64) -> Vec<u8> {
        value.to_le_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<u64> {
        bytes.try_into().ok().map(u64::from_le_bytes)
    }

    fn weight(_: &u64) -> usize {
        8
    }
}

/// The store of all nodes: every value that a key had, and since when. Values
/// only rise; a key without one has none.
#[derive(Default)]
pub struct Truth {
    values: Mutex<BTreeMap<u8, Vec<(u64, Instant)>>>,
    next: AtomicU64,
    /// What a read takes, in milliseconds.
    pub read_ms: AtomicU64,
    /// Whether reads are held up after they have read.
    pub is_held: AtomicBool,
    pub began: Notify,
    pub go_on: Notify,
}

impl Truth {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Gives a key its next value.
    pub fn change(&self, key: u8) -> u64 {
        let value = 1 + self.next.fetch_add(1, Ordering::SeqCst);
        self.values.lock().unwrap().entry(key).or_default().push((value, Instant::now()));
        value
    }

    /// When a value was replaced.
    pub fn replaced(&self, key: u8, value: u64) -> Option<Instant> {
        let values = self.values.lock().unwrap();
        values.get(&key)?.iter().find(|(other, _)| *other > value).map(|(_, at)| *at)
    }

    async fn read(self: Arc<Self>, key: u8) -> Result<Option<u64>, StoreError> {
        let value = self.values.lock().unwrap().get(&key).and_then(|values| values.last().copied());
        tokio::time::sleep(Duration::from_millis(self.read_ms.load(Ordering::SeqCst))).await;
        if self.is_held.load(Ordering::SeqCst) {
            self.began.notify_one();
            self.go_on.notified().await;
        }
        Ok(value.map(|(value, _)| value))
    }
}

/// A node.
#[derive(Clone)]
pub struct Node {
    pub caches: Caches,
    pub cache: Arc<Cache<Numbers>>,
    pub truth: Arc<Truth>,
}

impl Node {
    pub fn new(truth: &Arc<Truth>, redis: RedisOptions, options: CacheOptions) -> Self {
        let caches = Caches::shared(options, Redis::new(redis).unwrap());
        let cache = caches.of();
        Self { caches, cache, truth: Arc::clone(truth) }
    }

    /// A node that hears notices.
    pub async fn listening(truth: &Arc<Truth>, redis: RedisOptions, options: CacheOptions) -> Self {
        let node = Self::new(truth, redis, options);
        until(|| node.shared().is_listening).await;
        node
    }

    pub async fn get(&self, key: u8) -> u64 {
        let truth = Arc::clone(&self.truth);
        let value = self.cache.get(&key, move || truth.read(key)).await.unwrap();
        value.map_or(0, |value| *value)
    }

    /// Writes through the cache.
    pub async fn write(&self, key: u8) -> u64 {
        let write = self.cache.write(key);
        let value = self.truth.change(key);
        write.end().await;
        value
    }

    pub fn status(&self) -> TierStatus {
        self.cache.status()
    }

    pub fn shared(&self) -> SharedStatus {
        self.caches.status().shared.unwrap()
    }
}

/// Long enough that nothing ends by itself in a test of something else, and
/// that a busy machine is no reason to fail.
pub fn calm() -> CacheOptions {
    let long = Duration::from_secs(600);
    CacheOptions { ttl: long, missing_ttl: long, max_stale: long, load_wait: long, ..quick() }
}

/// Short enough that all ends within a test.
pub fn quick() -> CacheOptions {
    CacheOptions {
        ttl: Duration::from_millis(300),
        missing_ttl: Duration::from_millis(100),
        max_stale: Duration::from_millis(1_000),
        load_wait: Duration::from_millis(50),
        ..CacheOptions::default()
    }
}

/// A way to a server, in a namespace of its own, that waits for long.
pub fn patient(url: &str) -> RedisOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    RedisOptions {
        namespace: format!("test-{}-{nth}", std::process::id()),
        timeout: Duration::from_secs(60),
        lease: Duration::from_secs(600),
        ..RedisOptions::at(url)
    }
}

/// The same, but soon to give up.
pub fn hasty(url: &str) -> RedisOptions {
    let (timeout, retry) = (Duration::from_millis(50), Duration::from_millis(50));
    RedisOptions { timeout, retry, lease: Duration::from_millis(200), ..patient(url) }
}

/// What clocks that count milliseconds may differ by.
pub const ROUNDING: Duration = Duration::from_millis(3);

/// Waits until something is so.
pub async fn until(is_so: impl Fn() -> bool) {
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    patience.await.unwrap();
}
