//! How often one address may ask.
//!
//! Memory is bounded: as many addresses as [`crate::NetConfig::max_addresses`]
//! have a bucket of their own. When so many ask at once, those that are new share one bucket,
//! so that whoever asks from many addresses slows those and nobody known.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use avvy_auth::rate::{Bucket, RetryAfterMs};
use dashmap::DashMap;

/// The least time between two looks for buckets that nobody needs any more.
const SWEEP_INTERVAL_MS: u64 = 1_000;

pub(crate) struct Limiter {
    burst: u32,
    per_second: u32,
    max_addresses: usize,
    buckets: DashMap<IpAddr, Bucket>,
    strangers: Mutex<Bucket>,
    swept_ms: AtomicU64,
}

impl Limiter {
    pub(super) fn new(per_second: u32, burst: u32, max_addresses: usize) -> Self {
        Self {
            burst,
            per_second,
            max_addresses,
            buckets: DashMap::new(),
            strangers: Mutex::new(Bucket::new(burst, per_second, 0)),
            swept_ms: AtomicU64::new(0),
        }
    }

    /// Takes `n` requests of an address, or as many as a burst if that is
    /// less, so that waiting always helps.
    ///
    /// # Errors
    /// How long until they are there.
    pub(super) fn take(&self, from: IpAddr, now_ms: u64, n: u64) -> Result<(), RetryAfterMs> {
        let n = n.min(u64::from(self.burst));
        let from = network(from);
        if let Some(mut bucket) = self.buckets.get_mut(&from) {
            return bucket.take(now_ms, n);
        }
        if self.buckets.len() >= self.max_addresses && !self.sweep(now_ms) {
            let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            return strangers.take(now_ms, n);
        }
        let new = || Bucket::new(self.burst, self.per_second, now_ms);
        self.buckets.entry(from).or_insert_with(new).take(now_ms, n)
    }

    /// Forgets full buckets, which say nothing. Whether there is room now.
    fn sweep(&self, now_ms: u64) -> bool {
        let swept_ms = self.swept_ms.load(Ordering::Relaxed);
        let is_due = now_ms >= swept_ms.saturating_add(SWEEP_INTERVAL_MS);
        let claimed = is_due
            && self
                .swept_ms
                .compare_exchange(swept_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if claimed {
            self.buckets.retain(|_, bucket| !bucket.is_full(now_ms));
        }
        claimed && self.buckets.len() < self.max_addresses
    }
}

/// What counts as one address: of IPv6 the network that one customer gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(n).into()
    }

    #[test]
    fn counts_each_address_alone() {
        let limiter = Limiter::new(1, 2, 10);
        assert_eq!(limiter.take(address(1), 0, 1), Ok(()));
        assert_eq!(limiter.take(address(1), 0, 1), Ok(()));
        assert_eq!(limiter.take(address(1), 0, 1), Err(RetryAfterMs(1_000)));
        assert_eq!(limiter.take(address(2), 0, 1), Ok(()));
        assert_eq!(limiter.take(address(1), 1_000, 1), Ok(()));
    }

    #[test]
    fn never_asks_for_more_than_a_burst() {
        let limiter = Limiter::new(1, 4, 10);
        assert_eq!(limiter.take(address(1), 0, 1_000), Ok(()));
        assert_eq!(limiter.take(address(1), 0, 1_000), Err(RetryAfterMs(4_000)));
    }

    #[test]
    fn holds_a_bounded_number_of_addresses() {
        let limiter = Limiter::new(1, 2, 100);
        for n in 0..1_000 {
            let _ = limiter.take(address(n), 0, 1);
        }
        assert_eq!(limiter.buckets.len(), 100);
        // Strangers share; who was known before is not touched by them.
        assert!(limiter.take(address(5_000), 0, 1).is_err());
        assert_eq!(limiter.take(address(1), 0, 1), Ok(()));
        // Once the known ones have rested there is room again.
        assert_eq!(limiter.take(address(5_000), 10_000, 1), Ok(()));
        assert_eq!(limiter.buckets.len(), 1);
    }

    #[test]
    fn sees_one_customer_of_ipv6_as_one() {
        let parse = |text: &str| text.parse::<IpAddr>().map(network).ok();
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
    }
}
