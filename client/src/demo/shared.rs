//! What the bots of one demo know together: counters, the times at which
//! edits were sent, and what the windows of the log look like to the bots
//! that keep whole copies.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use avvy_model::{Epoch, Handle, ObjectId, Seq};
use avvy_protocol::LevelReason;
use hdrhistogram::Histogram;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;

use super::walk::Walks;
use crate::replica::Replica;

/// Edits whose sending time is remembered.
const STAMPS: usize = 1 << 20;
/// Windows whose contents are remembered for comparison.
const WINDOWS: usize = 1 << 16;
/// The longest latency that is told apart, in microseconds.
const MAX_LATENCY_US: u64 = 60_000_000;

/// The bots' common knowledge.
pub(super) struct Shared {
    origin: Instant,
    pub(super) counters: Counters,
    stamps: Box<[AtomicU64]>,
    windows: Mutex<Windows>,
    /// What each object that a bot waits for is called, once a whole copy
    /// holds it.
    handles: Mutex<FxHashMap<ObjectId, Option<Handle>>>,
    /// Handles of the bots' own blocks.
    blocks: Mutex<FxHashSet<Handle>>,
    walks: Mutex<Walks>,
    latencies: Mutex<Latencies>,
    trouble: Mutex<Option<String>>,
}

/// Sums over all bots.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) edits: AtomicU64,
    pub(super) durable: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) deliveries: AtomicU64,
    pub(super) resyncs: AtomicU64,
    pub(super) reconnects: AtomicU64,
    pub(super) slowed: AtomicU64,
    pub(super) gaps: AtomicU64,
    pub(super) differing: AtomicU64,
    pub(super) compared: AtomicU64,
}

impl Counters {
    /// A bot is served at another level.
    pub(super) fn level(&self, reason: LevelReason) {
        let is_less = reason != LevelReason::Recovered;
        self.slowed.fetch_add(u64::from(is_less), Ordering::Relaxed);
    }
}

/// A window as one of the whole copies saw it.
#[derive(Default)]
struct Windows {
    /// By its end: its beginning and a hash of its contents.
    seen: FxHashMap<(Epoch, u64), (u64, u64)>,
    order: VecDeque<(Epoch, u64)>,
}

struct Latencies {
    all: Histogram<u64>,
    recent: Histogram<u64>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Percentiles {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// What a bot saw of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) epoch: Epoch,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) at_us: u64,
    /// A hash of them; `None` if others may have been sent them in other windows.
    pub(super) contents: Option<u64>,
}

impl Receipt {
    /// What was lost in a crash had numbers that are given out again.
    fn end(&self) -> (Epoch, u64) {
        (self.epoch, self.to)
    }
}

impl Shared {
    pub(super) fn new() -> Self {
        // A range of 1 us to a minute with three digits is always valid.
        let histogram =
            || Histogram::new_with_max(MAX_LATENCY_US, 3).expect("a valid range and three digits");
        Self {
            origin: Instant::now(),
            counters: Counters::default(),
            stamps: (0..STAMPS).map(|_| AtomicU64::new(0)).collect(),
            windows: Mutex::default(),
            handles: Mutex::default(),
            blocks: Mutex::default(),
            walks: Mutex::default(),
            latencies: Mutex::new(Latencies { all: histogram(), recent: histogram() }),
            trouble: Mutex::default(),
        }
    }

    /// Microseconds since the demo began.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The edit that is now at `seq` was sent at this time.
    pub(super) fn stamp(&self, seq: Seq, sent_us: u64) {
        let tag = (seq.0 / STAMPS as u64) & 0xffff;
        self.slot(seq.0).store(sent_us << 16 | tag, Ordering::Relaxed);
    }

    fn sent_us(&self, seq: u64) -> Option<u64> {
        let packed = self.slot(seq).load(Ordering::Relaxed);
        let tag = (seq / STAMPS as u64) & 0xffff;
        (packed != 0 && packed & 0xffff == tag).then_some(packed >> 16)
    }

    fn slot(&self, seq: u64) -> &AtomicU64 {
        &self.stamps[seq as usize % STAMPS]
    }

    /// Takes in what a bot has seen. Latencies are sampled: one edit of a
    /// window, drawn by `random`, stands for all of it.
    pub(super) fn settle(
        &self,
        receipts: &[Receipt],
        measured: bool,
        mut random: impl FnMut(u64) -> u64,
    ) {
        if measured {
            let mut latencies = lock(&self.latencies);
            for receipt in receipts.iter().filter(|receipt| receipt.to > receipt.from) {
                let edits = receipt.to - receipt.from;
                let Some(sent_us) = self.sent_us(receipt.from + 1 + random(edits)) else {
                    continue;
                };
                let latency = receipt.at_us.saturating_sub(sent_us).clamp(1, MAX_LATENCY_US);
                latencies.all.saturating_record_n(latency, edits);
                latencies.recent.saturating_record_n(latency, edits);
            }
        }
        let windows = lock(&self.windows);
        for receipt in receipts {
            let Some(contents) = receipt.contents else { continue };
            if let Some(&seen) = windows.seen.get(&receipt.end()) {
                self.counters.compared.fetch_add(1, Ordering::Relaxed);
                if seen != (receipt.from, contents) {
                    self.counters.differing.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// A bot with a whole copy has applied this window.
    pub(super) fn saw(&self, receipt: Receipt) {
        let Some(contents) = receipt.contents else { return };
        let windows = &mut *lock(&self.windows);
        if windows.seen.insert(receipt.end(), (receipt.from, contents)).is_none() {
            windows.order.push_back(receipt.end());
            if windows.order.len() > WINDOWS
                && let Some(oldest) = windows.order.pop_front()
            {
                windows.seen.remove(&oldest);
            }
        }
    }

    /// Why a connection was not made or ended, the last time that happened.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// A connection was not made or ended.
    pub(super) fn note_trouble(&self, why: String) {
        *lock(&self.trouble) = Some(why);
    }

    /// A bot is about to create this object, and wants to know its handle.
    pub(super) fn want_handle(&self, id: ObjectId) {
        lock(&self.handles).insert(id, None);
    }

    /// An object has come to be.
    pub(super) fn created(&self, id: ObjectId, handle: Handle) {
        if let Some(wanted) = lock(&self.handles).get_mut(&id) {
            *wanted = Some(handle);
        }
    }

    /// A whole copy begins, here or anew: nobody may see again how what it
    /// holds was created.
    pub(super) fn begins(&self, copy: &Replica) {
        let mut handles = lock(&self.handles);
        for handle in copy.handles() {
            let wanted = copy.get(handle).and_then(|object| handles.get_mut(&object.id));
            if let Some(wanted) = wanted {
                *wanted = Some(handle);
            }
        }
    }

    /// The handle of a bot's own object, once a whole copy holds it.
    pub(super) fn take_handle(&self, id: ObjectId) -> Option<Handle> {
        let mut handles = lock(&self.handles);
        let handle = handles.get(&id).copied().flatten()?;
        handles.remove(&id);
        lock(&self.blocks).insert(handle);
        Some(handle)
    }

    /// Whether an object was made by a bot, so that another one may paint it.
    pub(super) fn is_block(&self, handle: Handle) -> bool {
        lock(&self.blocks).contains(&handle)
    }

    /// What the walkers have seen.
    pub(super) fn walks(&self) -> MutexGuard<'_, Walks> {
        lock(&self.walks)
    }

    /// Since the last call.
    pub(super) fn recent_percentiles(&self) -> Percentiles {
        let recent = &mut lock(&self.latencies).recent;
        let percentiles = percentiles(recent);
        recent.reset();
        percentiles
    }

    /// Since the beginning.
    pub(super) fn percentiles(&self) -> Percentiles {
        percentiles(&lock(&self.latencies).all)
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Percentiles { p50_ms: ms(0.5), p99_ms: ms(0.99) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
