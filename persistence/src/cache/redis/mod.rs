//! Redis, as far as the nodes of a fleet share something through it: cached
//! values, notices, and sets of what has an end.
//!
//! Nothing here is truth, and nothing waits for it for longer than
//! [`RedisOptions::timeout`]. After some failures in a row it is left alone
//! for a while, then tried by one. It has to be Redis 6.2 or later: one
//! server, or one behind an address that leads to the primary.
//!
//! Times that matter are on its own clock, read in the same script that they
//! are compared in: a call that was stuck on its way cannot put a value there
//! for longer than from when the store was asked.

mod link;
mod listen;
mod set;
mod tier;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::hub::Hears;
use super::notice::Notice;
use super::set::SharedSet;
use super::shared::Shared;
use super::status::SharedStatus;
use link::Link;
use set::RedisSet;
use tokio::sync::Notify;

/// How Redis is reached and used.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// The address, as `redis://user:password@host:6379/0`, or `rediss://` for
    /// TLS. Secret: it may hold a password.
    pub url: String,
    /// The certificates (PEM) that the server's has to lead to, with TLS.
    /// `None`: those of the public authorities.
    pub tls_ca: Option<Vec<u8>>,
    /// What every key and channel begins with, so that several fleets can
    /// share one server.
    pub namespace: String,
    /// How long a call, or connecting, may take.
    pub timeout: Duration,
    /// Calls under way at once. Beyond, none is made, and the store is asked.
    pub max_in_flight: usize,
    /// How long who loads a value has the right to put it.
    pub lease: Duration,
    /// How long it is left alone after failures in a row, at first; each time
    /// that it still fails twice as long, up to 16 times.
    pub retry: Duration,
}

impl RedisOptions {
    /// The defaults for an address.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls_ca: None,
            namespace: "avvyland".to_owned(),
            timeout: Duration::from_millis(100),
            max_in_flight: 256,
            lease: Duration::from_millis(1_000),
            retry: Duration::from_millis(500),
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, tls_ca, namespace, timeout, max_in_flight, lease, retry } = self;
        f.debug_struct("RedisOptions")
            .field("url", &"…")
            .field("tls_ca", &tls_ca.is_some())
            .field("namespace", namespace)
            .field("timeout", timeout)
            .field("max_in_flight", max_in_flight)
            .field("lease", lease)
            .field("retry", retry)
            .finish()
    }
}

/// The version of the names and scripts here; part of every name.
const FORMAT: u32 = 1;

/// There is no way to Redis by this address and these certificates.
#[derive(Debug, thiserror::Error)]
#[error("Redis cannot be reached so: {0}")]
pub struct InvalidUrl(String);

/// A way to Redis. Cloning shares it; the last one that is dropped ends it.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
}

impl Redis {
    /// Makes the way; connects when it is first used. To be called within a
    /// runtime.
    ///
    /// # Errors
    /// When the address is none, or a certificate. A server that is away is no
    /// error.
    pub fn new(options: RedisOptions) -> Result<Self, InvalidUrl> {
        // The library's own message never holds the address.
        let link = Link::new(options).map_err(|error| InvalidUrl(error.to_string()))?;
        Ok(Self { link: Arc::new(link) })
    }

    /// What it says of itself.
    pub fn status(&self) -> SharedStatus {
        self.link.status()
    }

    /// A set that all nodes share; `added` is told when somebody adds to it.
    pub(crate) fn set(&self, name: &'static str, added: Arc<Notify>) -> Arc<dyn SharedSet> {
        Arc::new(RedisSet { link: Arc::clone(&self.link), name, added })
    }

    /// Tells all nodes; nobody waits for it.
    pub(crate) fn tell(&self, notice: &Notice) {
        let link = Arc::clone(&self.link);
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(link.channel()).arg(notice.encode());
        // What cannot be told, others do not hear.
        tokio::spawn(async move { link.call::<i64>(&publish).await });
    }

    pub(crate) fn tier(&self) -> Arc<dyn Shared> {
        self.link.clone()
    }

    /// Has notices told to `hears` for as long as both live.
    pub(crate) fn listen(&self, hears: Weak<dyn Hears>) {
        tokio::spawn(listen::run(Arc::downgrade(&self.link), hears));
    }
}
