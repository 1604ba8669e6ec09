//! What is asked for all the time is loaded anew before it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use avvy_persistence::cache::CacheOptions;
use avvy_persistence::testing::redis_server;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::help::{Node, ROUNDING, Truth, calm, patient};

/// What a read of the store takes.
const READ: Duration = Duration::from_millis(100);

/// Ends in the process when it ends in Redis.
const LIFE: Duration = Duration::from_millis(500);

/// How many who ask, on two nodes, were held up by a read of the store over so
/// many lives of a value, and how often the store was read.
async fn held_up(early_percent: u32, lives: u32) -> (u32, u64) {
    let (truth, redis) = (Truth::new(), patient(&redis_server::shared()));
    truth.change(1);
    truth.read_ms.store(READ.as_millis() as u64, Ordering::SeqCst);
    let options = CacheOptions { ttl: LIFE, max_stale: LIFE, early_percent, ..calm() };
    let a = Node::listening(&truth, redis.clone(), options).await;
    let b = Node::listening(&truth, redis, options).await;
    a.get(1).await;
    b.get(1).await;
    let over = Instant::now() + LIFE * lives;
    let held = Arc::new(AtomicU32::new(0));
    let mut asking = JoinSet::new();
    for node in [&a, &b, &a, &b] {
        let (node, held) = (node.clone(), Arc::clone(&held));
        asking.spawn(async move {
            while Instant::now() < over {
                let began = Instant::now();
                let value = node.get(1).await;
                held.fetch_add(u32::from(began.elapsed() >= READ), Ordering::Relaxed);
                // Nobody is told of these.
                if let Some(replaced) = node.truth.replaced(1, value) {
                    let late = began.saturating_duration_since(replaced);
                    assert!(late < LIFE + ROUNDING, "{value} was replaced {late:?} ago");
                }
                node.truth.change(1);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    println!("{:?}, {:?}", a.status(), b.status());
    (held.load(Ordering::Relaxed), a.status().store_reads + b.status().store_reads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_the_store_at_the_end_of_a_value() {
    let (without, _) = held_up(0, 4).await;
    assert!(without >= 6, "each end holds up all who ask: {without}");
    let (with, reads) = held_up(100, 12).await;
    assert!(with <= 4, "{with} were held up");
    // One for each life, which is shorter by what it is renewed early.
    assert!((6..=30).contains(&reads), "{reads} reads");
}

/// A node renews, is held up, and wants to put what it has read after another
/// has written.
#[tokio::test]
async fn a_renewal_that_a_write_overtakes_puts_nothing_back() {
    let (truth, redis) = (Truth::new(), patient(&redis_server::shared()));
    // As eager as can be: as soon as half of its time is over.
    let ttl = Duration::from_secs(2);
    let options = CacheOptions { ttl, early_percent: u32::MAX, ..calm() };
    let a = Node::listening(&truth, redis.clone(), options).await;
    let b = Node::listening(&truth, redis, options).await;
    let old = truth.change(1);
    assert_eq!(a.get(1).await, old);
    truth.is_held.store(true, Ordering::SeqCst);
    // Whether what is in Redis is renewed, too, is drawn each time.
    let asking = async {
        loop {
            assert_eq!(a.get(1).await, old, "nobody waits for it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = a.truth.began.notified() => {}
        () = asking => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it is not renewed"),
    }
    truth.is_held.store(false, Ordering::SeqCst);
    let new = b.write(1).await;
    crate::help::until(|| a.status().invalidated > 0).await;
    let calls = a.shared().calls;
    truth.go_on.notify_one();
    // It tries to put it, and may not.
    crate::help::until(|| a.shared().calls > calls).await;
    assert_eq!((a.get(1).await, b.get(1).await), (new, new));
    assert_eq!(a.status().spoiled, 1);
}
