//! What one address may have open, and how often it may ask.
//!
//! Memory is bounded: as many addresses as [`NetConfig::max_addresses`] are
//! told apart. When so many are here at once, those that are new count as
//! one, so that whoever comes from many addresses slows those and nobody
//! known.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_actors::Limit;
use avvy_auth::rate::{Bucket, RetryAfterMs};
use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::NetConfig;

/// The least time between two looks for addresses that say nothing any more.
const SWEEP_INTERVAL_MS: u64 = 1_000;

/// All that are not told apart.
const NOBODY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// All who are here.
pub(crate) struct Addresses {
    config: Arc<NetConfig>,
    known: DashMap<IpAddr, Arc<Address>>,
    strangers: Arc<Address>,
    swept_ms: AtomicU64,
}

/// What people ask for who have no token yet. Each has a rate of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OpenVerb {
    /// What a wallet is to sign.
    Challenge,
    /// To be signed in.
    SignIn,
    /// The next tokens.
    Refresh,
    /// A way to a provider, or back from it.
    Provider,
}

impl OpenVerb {
    /// How many there are.
    const COUNT: usize = Self::Provider as usize + 1;
}

/// One of them. Whoever acts for it has a hold on it.
pub(crate) struct Address {
    config: Arc<NetConfig>,
    /// Who it is, if it is told apart.
    network: IpAddr,
    open: Mutex<[Bucket; OpenVerb::COUNT]>,
    arrivals: Mutex<Bucket>,
    requests: Mutex<Bucket>,
    connections: Arc<Semaphore>,
    pages: Arc<Semaphore>,
}

impl Addresses {
    pub(crate) fn new(config: Arc<NetConfig>) -> Self {
        Self {
            known: DashMap::new(),
            strangers: Arc::new(Address::new(&config, NOBODY, 0)),
            swept_ms: AtomicU64::new(0),
            config,
        }
    }

    /// What counts for this address.
    pub(crate) fn of(&self, from: IpAddr, now_ms: u64) -> Arc<Address> {
        let from = network(from);
        if let Some(address) = self.known.get(&from) {
            return Arc::clone(&address);
        }
        if self.known.len() >= self.config.max_addresses && !self.sweep(now_ms) {
            return Arc::clone(&self.strangers);
        }
        let new = || Arc::new(Address::new(&self.config, from, now_ms));
        Arc::clone(&self.known.entry(from).or_insert_with(new))
    }

    /// Forgets those that have nothing open and have rested. Whether there is
    /// room now.
    fn sweep(&self, now_ms: u64) -> bool {
        let swept_ms = self.swept_ms.load(Ordering::Relaxed);
        let is_due = now_ms >= swept_ms.saturating_add(SWEEP_INTERVAL_MS);
        let claimed = is_due
            && self
                .swept_ms
                .compare_exchange(swept_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if claimed {
            self.known
                .retain(|_, address| Arc::strong_count(address) > 1 || !address.is_rested(now_ms));
        }
        claimed && self.known.len() < self.config.max_addresses
    }
}

impl Address {
    fn new(config: &Arc<NetConfig>, network: IpAddr, now_ms: u64) -> Self {
        let NetConfig { sign_ins_burst, sign_ins_per_second, .. } = **config;
        let NetConfig { connections_burst, connections_per_second, .. } = **config;
        let NetConfig { requests_burst, requests_per_second, .. } = **config;
        Self {
            network,
            open: Mutex::new(
                [Bucket::new(sign_ins_burst, sign_ins_per_second, now_ms); OpenVerb::COUNT],
            ),
            arrivals: Mutex::new(Bucket::new(connections_burst, connections_per_second, now_ms)),
            requests: Mutex::new(Bucket::new(requests_burst, requests_per_second, now_ms)),
            connections: Arc::new(Semaphore::new(config.max_connections_per_address)),
            pages: Arc::new(Semaphore::new(config.max_pages_per_address)),
            config: Arc::clone(config),
        }
    }

    /// A place for a new connection.
    ///
    /// # Errors
    /// The bound that it is beyond.
    pub(crate) fn connect(&self, now_ms: u64) -> Result<OwnedSemaphorePermit, Limit> {
        lock(&self.arrivals).take(now_ms, 1).map_err(|_| Limit::ConnectionRate)?;
        let place = Arc::clone(&self.connections).try_acquire_owned();
        place.map_err(|_| Limit::ConnectionsOfAddress)
    }

    /// Takes `n` requests, or as many as a burst if that is less, so that
    /// waiting always helps.
    ///
    /// # Errors
    /// How long until they are there.
    pub(crate) fn take_requests(&self, now_ms: u64, n: u64) -> Result<(), RetryAfterMs> {
        lock(&self.requests).take(now_ms, n.min(u64::from(self.config.requests_burst)))
    }

    /// Takes one of what needs no token.
    ///
    /// # Errors
    /// How long until it is there.
    pub(crate) fn take_open(&self, verb: OpenVerb, now_ms: u64) -> Result<(), RetryAfterMs> {
        lock(&self.open)[verb as usize].take(now_ms, 1)
    }

    /// What counts as one address, and who it is.
    pub(crate) const fn network(&self) -> IpAddr {
        self.network
    }

    /// A place for a page of objects until it has gone out, if there is one.
    pub(crate) fn hold_page(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.pages).try_acquire_owned().ok()
    }

    /// Whether a new one would be the same.
    fn is_rested(&self, now_ms: u64) -> bool {
        self.connections.available_permits() == self.config.max_connections_per_address
            && self.pages.available_permits() == self.config.max_pages_per_address
            && lock(&self.open).iter().all(|bucket| bucket.is_full(now_ms))
            && [&self.arrivals, &self.requests].iter().all(|bucket| lock(bucket).is_full(now_ms))
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

/// No code under these locks can panic halfway through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(n).into()
    }

    fn addresses(max_addresses: usize) -> Addresses {
        Addresses::new(Arc::new(NetConfig {
            requests_per_second: 1,
            requests_burst: 2,
            connections_per_second: 1,
            connections_burst: 3,
            max_connections_per_address: 2,
            max_pages_per_address: 1,
            max_addresses,
            ..NetConfig::default()
        }))
    }

    impl Addresses {
        fn take(&self, n: u32, now_ms: u64, requests: u64) -> Result<(), RetryAfterMs> {
            self.of(ip(n), now_ms).take_requests(now_ms, requests)
        }
    }

    #[test]
    fn counts_each_address_alone() {
        let addresses = addresses(10);
        assert_eq!(addresses.take(1, 0, 1), Ok(()));
        assert_eq!(addresses.take(1, 0, 1), Ok(()));
        assert_eq!(addresses.take(1, 0, 1), Err(RetryAfterMs(1_000)));
        assert_eq!(addresses.take(2, 0, 1), Ok(()));
        assert_eq!(addresses.take(1, 1_000, 1), Ok(()));
    }

    #[test]
    fn never_asks_for_more_than_a_burst() {
        let addresses = addresses(10);
        assert_eq!(addresses.take(1, 0, 1_000), Ok(()));
        assert_eq!(addresses.take(1, 0, 1_000), Err(RetryAfterMs(2_000)));
    }

    #[test]
    fn bounds_what_comes_and_what_is_open() {
        let addresses = addresses(10);
        let address = addresses.of(ip(1), 0);
        let held = [address.connect(0).unwrap(), address.connect(0).unwrap()];
        assert_eq!(address.connect(0).err(), Some(Limit::ConnectionsOfAddress));
        assert_eq!(address.connect(0).err(), Some(Limit::ConnectionRate));
        drop(held);
        assert_eq!(address.connect(0).err(), Some(Limit::ConnectionRate));
        assert!(address.connect(1_000).is_ok());
        let page = address.hold_page();
        assert!(page.is_some() && addresses.of(ip(1), 0).hold_page().is_none());
        assert!(addresses.of(ip(2), 0).hold_page().is_some());
    }

    #[test]
    fn holds_a_bounded_number_of_addresses() {
        let addresses = addresses(100);
        for n in 0..1_000 {
            let _ = addresses.take(n, 0, 1);
        }
        assert_eq!(addresses.known.len(), 100);
        // Strangers share; who was known before is not touched by them.
        assert!(addresses.take(5_000, 0, 1).is_err());
        assert_eq!(addresses.take(1, 0, 1), Ok(()));
        // Once the known ones have rested there is room again, but for whom
        // something is open.
        let _open = addresses.of(ip(7), 0).connect(0).unwrap();
        assert_eq!(addresses.take(5_000, 10_000, 1), Ok(()));
        assert_eq!(addresses.known.len(), 2);
    }

    #[test]
    fn sees_one_customer_of_ipv6_as_one() {
        let parse = |text: &str| text.parse::<IpAddr>().map(network).ok();
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
    }
}
