//! How long the token of an open session counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Until when a session may speak: the end of its token, which is verified once
/// and compared with the clock from then on. Whoever listens to the session and
/// whoever renews its token share it.
#[derive(Debug)]
pub struct Validity {
    /// Unix seconds; 0: it has not begun.
    ends_s: AtomicU64,
    leeway_s: u64,
}

impl Validity {
    /// One that has not begun. `leeway_s`: seconds for which a token counts beyond
    /// its end, as clocks differ.
    pub const fn new(leeway_s: u64) -> Self {
        Self { ends_s: AtomicU64::new(0), leeway_s }
    }

    /// A token that ends then (Unix seconds) counts from now on.
    pub fn renew(&self, ends_s: u64) {
        self.ends_s.store(ends_s, Ordering::Release);
    }

    /// Whether a token counts, or did.
    pub fn has_begun(&self) -> bool {
        self.ends_s() != 0
    }

    /// When the token ends, in Unix seconds, not counting the leeway.
    pub fn ends_s(&self) -> u64 {
        self.ends_s.load(Ordering::Acquire)
    }

    /// Whether a token that ends at `ends_s` counts at `now_s` (both Unix seconds).
    pub const fn counts(&self, ends_s: u64, now_s: u64) -> bool {
        now_s < ends_s.saturating_add(self.leeway_s)
    }

    /// Whether a token counted, and none does at `now_s` (Unix seconds).
    pub fn is_over(&self, now_s: u64) -> bool {
        let ends_s = self.ends_s();
        ends_s != 0 && !self.counts(ends_s, now_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_until_its_end_and_as_long_as_clocks_may_differ() {
        let validity = Validity::new(5);
        assert!(!validity.has_begun() && !validity.is_over(u64::MAX));
        assert!(validity.counts(100, 104) && !validity.counts(100, 105));
        validity.renew(100);
        assert!(validity.has_begun());
        assert_eq!([99, 104, 105, 106].map(|at| validity.is_over(at)), [false, false, true, true]);
        validity.renew(200);
        assert_eq!([106, 204, 205].map(|at| validity.is_over(at)), [false, false, true]);
        assert_eq!(validity.ends_s(), 200);
        let forever = Validity::new(5);
        forever.renew(u64::MAX);
        assert!(!forever.is_over(u64::MAX - 1));
    }
}
