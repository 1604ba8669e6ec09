//! Since when nobody has used a brane: its actor notes it, the directory reads it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;

/// Monotonic milliseconds since when a brane is idle; 0 while it is in use.
pub(crate) struct Idle(AtomicU64);

impl Idle {
    /// Idle from now on.
    pub(crate) fn now() -> Self {
        Self(AtomicU64::new(now_ms()))
    }

    /// `None` while the brane is in use.
    pub(crate) fn since_ms(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|since_ms| *since_ms > 0)
    }

    /// Notes whether anybody is here after something was done; `used` says
    /// that it was done for somebody who does not stay.
    pub(crate) fn note(&self, is_empty: bool, used: bool) {
        let is_idle = self.since_ms().is_some();
        if !is_empty && is_idle {
            self.0.store(0, Ordering::Relaxed);
        } else if is_empty && (used || !is_idle) {
            self.0.store(now_ms(), Ordering::Relaxed);
        }
    }
}

fn now_ms() -> u64 {
    clock::monotonic_ms().max(1)
}
