//! What the tests share: nodes of a fleet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use avvy_persistence::cache::redis::{Redis, RedisOptions};
use avvy_persistence::cache::{Cache, CacheOptions, Caches, SharedStatus, TierStatus};
pub use avvy_persistence::testing::{Numbers, Truth};

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
