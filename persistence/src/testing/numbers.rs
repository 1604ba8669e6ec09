//! What the caches are tried with: a store of numbers that change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cache::Model;
use crate::error::StoreError;

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
    reads: AtomicU64,
    /// What a read takes, in milliseconds.
    pub read_ms: AtomicU64,
    /// Whether reads are held up after they have read.
    pub is_held: AtomicBool,
    /// A read was held up.
    pub began: Notify,
    /// Lets one go on that is held up.
    pub go_on: Notify,
    /// Whether reads fail, as `Overloaded`.
    pub fails: AtomicBool,
}

impl Truth {
    /// No key has a value.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Gives a key its next value.
    pub fn change(&self, key: u8) -> u64 {
        // Drawn under the lock: whoever draws later also puts it later.
        let mut values = self.values();
        let value = 1 + self.next.fetch_add(1, Ordering::SeqCst);
        values.entry(key).or_default().push((value, Instant::now()));
        value
    }

    /// Gives a key this value in place of all that it had.
    pub fn set(&self, key: u8, value: u64) {
        self.values().insert(key, vec![(value, Instant::now())]);
    }

    /// Forgets a key with all its values.
    pub fn remove(&self, key: u8) {
        self.values().remove(&key);
    }

    /// When a value was replaced.
    pub fn replaced(&self, key: u8, value: u64) -> Option<Instant> {
        self.values().get(&key)?.iter().find(|(other, _)| *other > value).map(|(_, at)| *at)
    }

    /// How often it was read.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// Reads a value, then waits if that is held up.
    ///
    /// # Errors
    /// `Overloaded`, if reads fail.
    pub async fn read(self: Arc<Self>, key: u8) -> Result<Option<u64>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let value = self.values().get(&key).and_then(|values| values.last().copied());
        tokio::time::sleep(Duration::from_millis(self.read_ms.load(Ordering::SeqCst))).await;
        if self.is_held.load(Ordering::SeqCst) {
            self.began.notify_one();
            self.go_on.notified().await;
        }
        match self.fails.load(Ordering::SeqCst) {
            true => Err(StoreError::Overloaded),
            false => Ok(value.map(|(value, _)| value)),
        }
    }

    fn values(&self) -> MutexGuard<'_, BTreeMap<u8, Vec<(u64, Instant)>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
