//! The keys of other issuers, as they are fetched.
//!
//! When they are is for [`JwksCache`] to say. A fetch is a task of its own, so
//! it ends whether or not somebody still waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use avvy_auth::external::{Ask, Jwks, JwksCache, JwksCachePolicy, MAX_JWKS_BYTES};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::fetch::{Fetch, FetchError, FetchRequest, good};

/// The keys of one issuer.
pub(crate) struct IssuerKeys {
    issuer: String,
    url: String,
    cache: Mutex<JwksCache>,
    timeout: Duration,
    /// Somebody fetched them, or could not.
    ended: Notify,
    fetch: Arc<dyn Fetch>,
    epoch: Instant,
}

impl IssuerKeys {
    /// Nothing is known yet.
    pub(crate) fn new(
        issuer: &str,
        url: &str,
        policy: JwksCachePolicy,
        fetch: Arc<dyn Fetch>,
    ) -> Arc<Self> {
        Arc::new(Self {
            issuer: issuer.to_owned(),
            url: url.to_owned(),
            cache: Mutex::new(JwksCache::new(policy)),
            timeout: Duration::from_millis(policy.timeout_ms),
            ended: Notify::new(),
            fetch,
            epoch: Instant::now(),
        })
    }

    /// Judges by the keys that there are; `None` if there are none by which a
    /// key of this name can be judged now: they are being fetched, or will be.
    pub(crate) fn judge<T>(
        self: &Arc<Self>,
        kid: &str,
        judge: impl FnOnce(&Jwks) -> T,
    ) -> Option<T> {
        let now_ms = self.now_ms();
        let (ask, judged) = {
            let mut cache = self.cache();
            let ask = cache.ask(kid, now_ms);
            let may = matches!(ask, Ask::Judge | Ask::JudgeAndFetch);
            (ask, may.then(|| cache.keys(now_ms).map(judge)).flatten())
        };
        if matches!(ask, Ask::Fetch | Ask::JudgeAndFetch) {
            self.begin(now_ms);
        }
        judged
    }

    /// Ready when a key of this name can be judged, or it is known that it
    /// cannot: then waiting does not help.
    pub(crate) async fn prepare(self: &Arc<Self>, kid: &str) {
        // A fetch that another one waits for may be over, and the next due.
        for _ in 0..3 {
            let ended = self.ended.notified();
            let now_ms = self.now_ms();
            let ask = self.cache().ask(kid, now_ms);
            match ask {
                Ask::Judge | Ask::Later(_) => return,
                Ask::JudgeAndFetch => return self.begin(now_ms),
                Ask::Fetch => self.begin(now_ms),
                Ask::Wait => {}
            }
            if timeout(self.timeout, ended).await.is_err() {
                return;
            }
        }
    }

    /// Performs the fetch that counts as begun then.
    fn begin(self: &Arc<Self>, began_ms: u64) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let request = FetchRequest::get(&this.url, MAX_JWKS_BYTES);
            let answer = timeout(this.timeout, this.fetch.fetch(request)).await;
            let answer = answer.unwrap_or_else(|_| Err(FetchError("no answer in time".to_owned())));
            let jwks = answer
                .and_then(good)
                .and_then(|body| Jwks::parse(&body).map_err(|error| FetchError(error.to_string())));
            match jwks {
                Ok(jwks) => {
                    debug!(issuer = this.issuer, keys = jwks.len(), skipped = ?jwks.skipped(),
                        "fetched an issuer's keys");
                    this.cache().fetched(jwks, began_ms);
                }
                Err(error) => {
                    warn!(issuer = this.issuer, url = this.url, %error,
                        "an issuer's keys cannot be fetched; those that are known count");
                    this.cache().failed(began_ms);
                }
            }
            this.ended.notify_waiters();
        });
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn cache(&self) -> MutexGuard<'_, JwksCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
