//! The store's upkeep: deletes what is no longer kept, now and then.

use std::sync::Arc;
use std::time::Duration;

use avvy_persistence::{CompactPolicy, Store};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::clock;

/// What is kept, and how often it is looked at.
pub struct Upkeep {
    /// The time between two looks.
    pub interval: Duration,
    /// How long journal is kept beyond need, in milliseconds.
    pub retention_ms: u64,
    /// Snapshots kept of every brane, the newest ones.
    pub keep_snapshots: u32,
    /// Bytes of all journals together; `None`: no bound.
    pub max_journal_bytes: Option<u64>,
}

/// Runs until it is aborted.
pub async fn run(store: Arc<dyn Store>, upkeep: Upkeep) {
    let mut ticks = tokio::time::interval(upkeep.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let policy = CompactPolicy {
            now_ms: clock::unix_ms(),
            retention_ms: upkeep.retention_ms,
            max_journal_bytes: upkeep.max_journal_bytes,
            keep_snapshots: upkeep.keep_snapshots,
        };
        match store.compact(policy).await {
            Ok(done) => {
                if done.skipped > 0 {
                    warn!(skipped = done.skipped, "damaged branes are not compacted");
                }
                if done.chunks + done.snapshots > 0 {
                    info!(chunks = done.chunks, snapshots = done.snapshots, "compacted the store");
                }
            }
            Err(error) => warn!(%error, "the store could not be compacted"),
        }
    }
}
