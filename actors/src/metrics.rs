//! Counters of the whole process. The actors count; `/metrics`, the console
//! and tests read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use avvy_protocol::close::CloseCode;

use crate::limit::{ByCode, LimitHits};

/// Counters since the process started. Each only rises.
#[derive(Default, Debug)]
pub struct Metrics {
    /// Connections that became sessions.
    pub sessions_opened: AtomicU64,
    /// Connections refused because there were too many.
    pub sessions_refused: AtomicU64,
    /// Typed errors sent to clients.
    pub errors: ByCode,
    /// Edits refused.
    pub refused_edits: ByCode,
    /// Bounds that clients have met.
    pub limits: LimitHits,
    /// Messages handed to sockets by fan-out.
    pub deliveries: AtomicU64,
    /// Bytes of them.
    pub delivered_bytes: AtomicU64,
    /// Group commits done.
    pub commits: AtomicU64,
    /// Group commits that failed and were tried again.
    pub commit_failures: AtomicU64,
    /// Chunks made durable.
    pub chunks: AtomicU64,
    /// Bytes of them.
    pub chunk_bytes: AtomicU64,
    /// Snapshots stored.
    pub snapshots: AtomicU64,
    /// Snapshots that could not be stored.
    pub snapshot_failures: AtomicU64,
    /// Brane actors that failed and were restarted.
    pub brane_restarts: AtomicU64,
    /// Ends of journals that were not whole and were cut off at an opening.
    pub journal_cuts: AtomicU64,
    /// Snapshots and stretches of journal that branes were opened without,
    /// because they could not be read.
    pub load_warnings: AtomicU64,
    /// Branes that were handed over to other nodes.
    pub branes_moved: AtomicU64,
    /// Branes that were to be handed over and were not.
    pub branes_not_moved: AtomicU64,
    /// Branes that other nodes have taken.
    pub branes_taken: AtomicU64,
    /// Branes of which something that waited for the store could not be kept on
    /// local disk.
    pub branes_unkept: AtomicU64,
    closes: Mutex<BTreeMap<&'static str, u64>>,
}

impl Metrics {
    /// Connections that the server closed, by close code.
    pub fn closes(&self) -> BTreeMap<&'static str, u64> {
        self.closes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn closed(&self, code: CloseCode) {
        *self
            .closes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(code.name())
            .or_default() += 1;
    }

    pub(crate) fn brane_restarted(&self) {
        count(&self.brane_restarts, 1);
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
