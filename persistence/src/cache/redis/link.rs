//! Calls to Redis: each bounded in time, all of them in number, and none while
//! it is not worth it.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, RedisError, RedisResult, TlsCertificates};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::{FORMAT, RedisOptions};
use crate::cache::breaker::{Breaker, BreakerConfig, Change};
use crate::cache::shared::SharedKey;
use crate::cache::status::SharedStatus;

/// Failures in a row after which it is left alone.
const FAILURES: u32 = 3;
/// By how much the pause may grow.
const MAX_RETRY: u32 = 16;

/// The way to Redis.
pub(crate) struct Link {
    pub(super) options: RedisOptions,
    pub(super) client: Client,
    connection: ConnectionManager,
    calls_left: Semaphore,
    breaker: Mutex<Breaker>,
    started: Instant,
    /// Draws apart from those of every other process.
    pub(super) process: u64,
    pub(super) next_lease: AtomicU64,
    pub(super) is_listening: AtomicBool,
    pub(super) connects: AtomicU64,
    pub(super) notices: AtomicU64,
    calls: AtomicU64,
    failures: AtomicU64,
    bypassed: AtomicU64,
}

impl Link {
    pub(super) fn new(options: RedisOptions) -> RedisResult<Self> {
        let client = client(&options)?;
        // Its own pauses are short: when to try again is the breaker's matter.
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(options.timeout))
            .set_response_timeout(Some(options.timeout))
            .set_number_of_retries(0)
            .set_min_delay(Duration::from_millis(1))
            .set_pipeline_buffer_size(options.max_in_flight)
            .set_concurrency_limit(options.max_in_flight);
        let retry_us = u64::try_from(options.retry.as_micros()).unwrap_or(u64::MAX);
        let breaker = Breaker::new(BreakerConfig {
            failures: FAILURES,
            pause_us: retry_us,
            max_pause_us: retry_us.saturating_mul(MAX_RETRY.into()),
        });
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client.clone(), config)?,
            client,
            calls_left: Semaphore::new(options.max_in_flight),
            breaker: Mutex::new(breaker),
            started: Instant::now(),
            process: RandomState::new().hash_one(std::process::id()),
            next_lease: AtomicU64::new(0),
            is_listening: AtomicBool::new(false),
            connects: AtomicU64::new(0),
            notices: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            bypassed: AtomicU64::new(0),
            options,
        })
    }

    /// Makes a call. `None` when it was not made, failed, or was not answered
    /// in time: then it may have been done, now or later.
    pub(super) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        let permit = self.calls_left.try_acquire().ok();
        if permit.is_none() || !self.breaker().admits(self.now_us()) {
            self.bypassed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut connection = self.connection.clone();
        let call = command.query_async::<T>(&mut connection);
        match timeout(self.options.timeout, call).await {
            Ok(Ok(value)) => {
                self.worked();
                Some(value)
            }
            Ok(Err(error)) => self.failed(&error),
            Err(_) => self.failed(&"no answer in time"),
        }
    }

    /// The channel of the notices.
    pub(super) fn channel(&self) -> String {
        self.own_name("notices")
    }

    /// A name that no other fleet, nor version, has.
    pub(super) fn own_name(&self, rest: &str) -> String {
        format!("{}:{FORMAT}:{rest}", self.options.namespace)
    }

    /// The name of a cached value.
    pub(super) fn name(&self, key: &SharedKey) -> String {
        let SharedKey { kind, version, text } = key;
        self.own_name(&format!("{kind}.{version}:{text}"))
    }

    pub(super) fn status(&self) -> SharedStatus {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SharedStatus {
            is_up: !self.breaker().is_open(),
            is_listening: self.is_listening.load(Ordering::Relaxed),
            calls: of(&self.calls),
            failures: of(&self.failures),
            bypassed: of(&self.bypassed),
            connects: of(&self.connects),
            notices: of(&self.notices),
        }
    }

    fn worked(&self) {
        if self.breaker().worked() == Change::Closed {
            info!("Redis answers again");
        }
    }

    fn failed<T>(&self, error: &dyn Tells) -> Option<T> {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let change = self.breaker().failed(self.now_us());
        if change == Change::Opened {
            let error = error.tell();
            warn!(error, "Redis does not answer; the store is asked instead, which is slower");
        }
        None
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A client that checks the server's certificate where there is one.
fn client(options: &RedisOptions) -> RedisResult<Client> {
    if !options.url.starts_with("rediss://") {
        return Client::open(options.url.as_str());
    }
    // The driver takes the one of the process. Whoever was first has set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = TlsCertificates { client_tls: None, root_cert: options.tls_ca.clone() };
    Client::build_with_tls(options.url.as_str(), certificates)
}

/// What is said of a failure.
trait Tells {
    fn tell(&self) -> String;
}

impl Tells for RedisError {
    fn tell(&self) -> String {
        self.to_string()
    }
}

impl Tells for &str {
    fn tell(&self) -> String {
        (*self).to_owned()
    }
}
