#![allow(clippy::unwrap_used)]
use std::sync::atomic::AtomicBool;

use tokio::sync::Notify;

use super::*;

/// Numbers under numbers.
struct Numbers;

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

/// A store of one number, whose reads can be held up.
#[derive(Default)]
struct Truth {
    value: AtomicU64,
    reads: AtomicU64,
    read_ms: AtomicU64,
    is_held: AtomicBool,
    began: Notify,
    go_on: Notify,
}

impl Truth {
    /// Reads the number, then waits if it is held up.
    async fn read(self: Arc<Self>) -> Result<Option<u64>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let value = self.value.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(self.read_ms.load(Ordering::SeqCst))).await;
        if self.is_held.load(Ordering::SeqCst) {
            self.began.notify_one();
            self.go_on.notified().await;
        }
        match value {
            0 => Ok(None),
            u64::MAX => Err(StoreError::Overloaded),
            value => Ok(Some(value)),
        }
    }

    async fn write(&self, cache: &Arc<Cache<Numbers>>, value: u64) {
        let write = cache.write(1);
        self.value.store(value, Ordering::SeqCst);
        write.end().await;
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }
}

async fn get(cache: &Arc<Cache<Numbers>>, truth: &Arc<Truth>) -> Result<Option<u64>, StoreError> {
    let truth = Arc::clone(truth);
    cache.get(&1, || truth.read()).await.map(|value| value.map(|value| *value))
}

fn cache() -> (Arc<Cache<Numbers>>, Arc<Truth>) {
    let truth = Arc::new(Truth::default());
    truth.value.store(1, Ordering::SeqCst);
    (Cache::new(CacheOptions::default(), None), truth)
}

#[tokio::test(start_paused = true)]
async fn keeps_a_value_for_its_time() {
    let (cache, truth) = cache();
    for _ in 0..3 {
        assert_eq!(get(&cache, &truth).await, Ok(Some(1)));
    }
    assert_eq!(truth.reads(), 1);
    truth.value.store(2, Ordering::SeqCst);
    tokio::time::advance(CacheOptions::default().ttl * 9 / 10 - Duration::from_millis(10)).await;
    assert_eq!(get(&cache, &truth).await, Ok(Some(1)));
    tokio::time::advance(CacheOptions::default().ttl / 10 + Duration::from_millis(10)).await;
    assert_eq!(get(&cache, &truth).await, Ok(Some(2)));
}

/// On a clock that only the test moves: a minute of a value that is asked for
/// every millisecond, and changed without a word all the time.
async fn a_minute(early_percent: u32) -> (u64, u64) {
    let options = CacheOptions { early_percent, ..CacheOptions::default() };
    let (cache, truth) = (Cache::new(options, None), Arc::new(Truth::default()));
    truth.read_ms.store(20, Ordering::SeqCst);
    let began = Instant::now();
    let now_ms = move || 1 + began.elapsed().as_millis() as u64;
    let mut waited = 0;
    while now_ms() < 60_000 {
        truth.value.store(now_ms(), Ordering::SeqCst);
        let asked_ms = now_ms();
        let value = get(&cache, &truth).await.unwrap().unwrap();
        waited += u64::from(now_ms() > asked_ms);
        assert!(asked_ms.saturating_sub(value) <= options.ttl.as_millis() as u64);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (waited, cache.status().renewals)
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_all_the_time_is_renewed_before_it_ends() {
    let (waited, renewals) = a_minute(0).await;
    assert!(waited >= 12 && renewals == 0, "{waited} waited");
    // The first has to wait.
    let (waited, renewals) = a_minute(100).await;
    assert!(waited <= 3 && renewals >= 11, "{waited} waited, {renewals} renewals");
}

#[tokio::test(start_paused = true)]
async fn keeps_for_a_short_time_that_there_is_none() {
    let (cache, truth) = cache();
    truth.value.store(0, Ordering::SeqCst);
    assert_eq!((get(&cache, &truth).await, get(&cache, &truth).await), (Ok(None), Ok(None)));
    assert_eq!(truth.reads(), 1);
    truth.write(&cache, 5).await;
    assert_eq!(get(&cache, &truth).await, Ok(Some(5)));
    truth.write(&cache, 0).await;
    assert_eq!(get(&cache, &truth).await, Ok(None));
    truth.value.store(6, Ordering::SeqCst);
    tokio::time::advance(CacheOptions::default().missing_ttl).await;
    assert_eq!(get(&cache, &truth).await, Ok(Some(6)));
}

#[tokio::test]
async fn a_failure_is_told_and_not_kept() {
    let (cache, truth) = cache();
    truth.value.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(get(&cache, &truth).await, Err(StoreError::Overloaded));
    truth.value.store(3, Ordering::SeqCst);
    assert_eq!(get(&cache, &truth).await, Ok(Some(3)));
}

#[tokio::test]
async fn a_panic_is_told_and_holds_nobody_up() {
    let (cache, truth) = cache();
    let panics = || async { panic!("as a test wants it") };
    assert_eq!(cache.get(&1, panics).await, Err(StoreError::Closed));
    assert_eq!(get(&cache, &truth).await, Ok(Some(1)));
}

#[tokio::test]
async fn many_ask_and_one_loads() {
    let (cache, truth) = cache();
    truth.is_held.store(true, Ordering::SeqCst);
    let ask = || {
        let (cache, truth) = (Arc::clone(&cache), Arc::clone(&truth));
        tokio::spawn(async move { get(&cache, &truth).await })
    };
    let first = ask();
    truth.began.notified().await;
    let others: Vec<_> = (0..50).map(|_| ask()).collect();
    while cache.status().waits < 50 {
        tokio::task::yield_now().await;
    }
    // Who asked first does not wait any more; the others do.
    first.abort();
    truth.go_on.notify_one();
    for other in others {
        assert_eq!(other.await.unwrap(), Ok(Some(1)));
    }
    assert_eq!(truth.reads(), 1);
}

#[tokio::test]
async fn a_read_that_began_before_a_write_does_not_put_its_value_back() {
    let (cache, truth) = cache();
    truth.is_held.store(true, Ordering::SeqCst);
    let (slow_cache, slow_truth) = (Arc::clone(&cache), Arc::clone(&truth));
    let slow = tokio::spawn(async move { get(&slow_cache, &slow_truth).await });
    truth.began.notified().await;
    truth.is_held.store(false, Ordering::SeqCst);
    truth.write(&cache, 2).await;
    // It does not wait for the read of before.
    assert_eq!(get(&cache, &truth).await, Ok(Some(2)));
    truth.go_on.notify_one();
    assert_eq!(slow.await.unwrap(), Ok(Some(1)), "it was asked before the write");
    assert_eq!(get(&cache, &truth).await, Ok(Some(2)));
    assert_eq!((truth.reads(), cache.status().spoiled), (2, 1));
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_counts_as_done() {
    let (cache, truth) = cache();
    assert_eq!(get(&cache, &truth).await, Ok(Some(1)));
    let write = cache.write(1);
    truth.value.store(2, Ordering::SeqCst);
    drop(write);
    assert_eq!(get(&cache, &truth).await, Ok(Some(2)));
}
