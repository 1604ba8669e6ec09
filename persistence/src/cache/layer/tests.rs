#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{Numbers, Truth};

async fn get(cache: &Arc<Cache<Numbers>>, truth: &Arc<Truth>) -> Result<Option<u64>, StoreError> {
    let truth = Arc::clone(truth);
    cache.get(&1, || truth.read(1)).await.map(|value| value.map(|value| *value))
}

/// Has the key changed through the cache.
async fn write(cache: &Arc<Cache<Numbers>>, change: impl FnOnce()) {
    let write = cache.write(1);
    change();
    write.end().await;
}

/// A cache, and a store that has the first value.
fn cache() -> (Arc<Cache<Numbers>>, Arc<Truth>) {
    let truth = Truth::new();
    truth.change(1);
    (Cache::new(CacheOptions::default(), None), truth)
}

#[tokio::test(start_paused = true)]
async fn keeps_a_value_for_its_time() {
    let (cache, truth) = cache();
    for _ in 0..3 {
        assert_eq!(get(&cache, &truth).await, Ok(Some(1)));
    }
    assert_eq!(truth.reads(), 1);
    truth.change(1);
    tokio::time::advance(CacheOptions::default().ttl * 9 / 10 - Duration::from_millis(10)).await;
    assert_eq!(get(&cache, &truth).await, Ok(Some(1)));
    tokio::time::advance(CacheOptions::default().ttl / 10 + Duration::from_millis(10)).await;
    assert_eq!(get(&cache, &truth).await, Ok(Some(2)));
}

/// So that what was loaded together is not asked of the store together again.
#[tokio::test(start_paused = true)]
async fn values_of_one_moment_end_one_after_the_other() {
    let options = CacheOptions { early_percent: 0, ..CacheOptions::default() };
    let (cache, truth) = (Cache::<Numbers>::new(options, None), Truth::new());
    let ask = async || {
        for key in 0..100 {
            let truth = Arc::clone(&truth);
            cache.get(&key, move || async move { truth.read(key).await }).await.unwrap();
        }
        truth.reads()
    };
    (0..100).for_each(|key| _ = truth.change(key));
    assert_eq!(ask().await, 100);
    tokio::time::advance(options.ttl * 9 / 10 - Duration::from_millis(10)).await;
    assert_eq!(ask().await, 100, "none before nine tenths of its time");
    let mut before = 100;
    for tenth in 0..10 {
        tokio::time::advance(options.ttl / 100 + Duration::from_millis(1)).await;
        let now = ask().await;
        assert!(now - before < 50, "{} in the {tenth}th tenth of the last tenth", now - before);
        before = now;
    }
    assert_eq!(before, 200, "all of them by then");
}

/// On a clock that only the test moves: a minute of a value that is asked for
/// every millisecond, and changed without a word all the time.
async fn a_minute(early_percent: u32) -> (u64, u64) {
    let options = CacheOptions { early_percent, ..CacheOptions::default() };
    let (cache, truth) = (Cache::new(options, None), Truth::new());
    truth.read_ms.store(20, Ordering::SeqCst);
    let began = Instant::now();
    let now_ms = move || 1 + began.elapsed().as_millis() as u64;
    let mut waited = 0;
    while now_ms() < 60_000 {
        truth.set(1, now_ms());
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
    truth.remove(1);
    assert_eq!((get(&cache, &truth).await, get(&cache, &truth).await), (Ok(None), Ok(None)));
    assert_eq!(truth.reads(), 1);
    write(&cache, || _ = truth.change(1)).await;
    assert_eq!(get(&cache, &truth).await, Ok(Some(2)));
    write(&cache, || truth.remove(1)).await;
    assert_eq!(get(&cache, &truth).await, Ok(None));
    truth.change(1);
    tokio::time::advance(CacheOptions::default().missing_ttl).await;
    assert_eq!(get(&cache, &truth).await, Ok(Some(3)));
}

#[tokio::test]
async fn a_failure_is_told_and_not_kept() {
    let (cache, truth) = cache();
    truth.fails.store(true, Ordering::SeqCst);
    assert_eq!(get(&cache, &truth).await, Err(StoreError::Overloaded));
    truth.fails.store(false, Ordering::SeqCst);
    assert_eq!(get(&cache, &truth).await, Ok(Some(1)));
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
    write(&cache, || _ = truth.change(1)).await;
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
    truth.change(1);
    drop(write);
    assert_eq!(get(&cache, &truth).await, Ok(Some(2)));
}
