//! A cache of one kind of value, in two tiers: this process, then Redis if
//! there is one.
//!
//! The rules are in [`super::local`]; this performs them. A load is a task of
//! its own, so that it ends also when nobody waits any more. How old a value
//! can be is counted from before the store was asked for it, through both
//! tiers, and is at most [`CacheOptions::max_stale`], whatever was lost.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::local::{Bounds, Loaded, Local, Lookup, Ticket, lead_us};
use super::model::Model;
use super::shared::{Lease, Look, Shared, SharedKey};
use super::status::TierStatus;
use crate::error::StoreError;

/// Bounds of a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheOptions {
    /// Values of one kind kept in the process.
    pub max_entries: usize,
    /// What they may take, in bytes, roughly.
    pub max_bytes: usize,
    /// How long the process keeps a value before it asks the shared tier, or
    /// the store, again. Each time up to a tenth less, so that what came
    /// together does not go together.
    pub ttl: Duration,
    /// How long it is kept that there is no such value.
    pub missing_ttl: Duration,
    /// How long after the store was asked for it a value may be served at all.
    pub max_stale: Duration,
    /// How long one node waits for what another one loads.
    pub load_wait: Duration,
    /// How eagerly values are loaded anew before they end: each time in the
    /// background, by one who asks, on average so many hundredths of the time
    /// that the store takes before the end. 0: never.
    pub early_percent: u32,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            max_entries: 16_384,
            max_bytes: 16 << 20,
            ttl: Duration::from_secs(5),
            missing_ttl: Duration::from_secs(1),
            max_stale: Duration::from_secs(30),
            load_wait: Duration::from_millis(100),
            early_percent: 100,
        }
    }
}

/// What a load brought; `None` while it is under way.
type Outcome<V> = Option<Result<Option<V>, StoreError>>;

type Tier<M> = Local<
    <M as Model>::Key,
    Arc<<M as Model>::Value>,
    watch::Receiver<Outcome<Arc<<M as Model>::Value>>>,
>;

/// A cache of one kind of value.
pub struct Cache<M: Model> {
    options: CacheOptions,
    started: Instant,
    tier: Mutex<Tier<M>>,
    shared: Option<Arc<dyn Shared>>,
    shared_hits: AtomicU64,
    store_reads: AtomicU64,
    damaged: AtomicU64,
    /// What a read of the store takes, in microseconds: a mean of the last few.
    cost_us: AtomicU64,
    /// Where jitter comes from.
    draws: (RandomState, AtomicU64),
}

impl<M: Model> Cache<M> {
    pub(crate) fn new(options: CacheOptions, shared: Option<Arc<dyn Shared>>) -> Arc<Self> {
        let bounds = Bounds { entries: options.max_entries, bytes: options.max_bytes };
        Arc::new(Self {
            options,
            started: Instant::now(),
            tier: Mutex::new(Local::new(bounds)),
            shared,
            shared_hits: AtomicU64::new(0),
            store_reads: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            cost_us: AtomicU64::new(0),
            draws: (RandomState::new(), AtomicU64::new(0)),
        })
    }

    /// The value of a key, by way of the tiers; `load` asks the store.
    ///
    /// # Errors
    /// That of the load, which is kept for nobody who asks later.
    pub async fn get<F>(
        self: &Arc<Self>,
        key: &M::Key,
        load: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Option<Arc<M::Value>>, StoreError>
    where
        F: Future<Output = Result<Option<M::Value>, StoreError>> + Send + 'static,
    {
        let mut sender = None;
        let wait = || {
            let (tell, told) = watch::channel(None);
            sender = Some((tell, told.clone()));
            told
        };
        let mut lead_us = 0;
        let draw_lead = || {
            lead_us = self.lead_us();
            lead_us
        };
        let lookup = lock(&self.tier).get(self.now_us(), key, draw_lead, wait);
        let start = |ticket, lead, tell| {
            let (cache, key) = (Arc::clone(self), key.clone());
            tokio::spawn(async move {
                let _ends = Ends { cache: &cache, key: &key, ticket };
                cache.load(&key, ticket, load, tell, lead).await;
            });
        };
        let mut told = match (lookup, sender) {
            (Lookup::Hit(value), _) => return Ok(value),
            (Lookup::Renew(value, ticket), Some((tell, _))) => {
                start(ticket, Some(Duration::from_micros(lead_us)), tell);
                return Ok(value);
            }
            (Lookup::Load(ticket), Some((tell, told))) => {
                start(ticket, None, tell);
                told
            }
            (Lookup::Wait(told), _) => told,
            (Lookup::Load(_) | Lookup::Renew(..), None) => return Err(GIVEN_UP),
        };
        let outcome = told.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| outcome.clone()).unwrap_or(Err(GIVEN_UP))
    }

    /// To be held while a value is written; when it is dropped, or better
    /// told to [`Write::end`], nobody is served what was before any more.
    pub fn write(self: &Arc<Self>, key: M::Key) -> Write<M> {
        Write { cache: Arc::clone(self), key: Some(key) }
    }

    /// Another node has written this.
    pub(crate) fn heard(&self, key: &M::Key) {
        lock(&self.tier).invalidate(key);
    }

    /// Other nodes may have written anything.
    pub(crate) fn missed(&self) {
        lock(&self.tier).flush();
    }

    /// What it says of itself.
    pub fn status(&self) -> TierStatus {
        let tier = lock(&self.tier);
        let (entries, bytes) = tier.size();
        let counts = tier.counts();
        TierStatus {
            kind: M::KIND,
            entries: entries as u64,
            bytes: bytes as u64,
            hits: counts.hits,
            missing_hits: counts.missing_hits,
            waits: counts.waits,
            loads: counts.loads,
            renewals: counts.renewals,
            shared_hits: self.shared_hits.load(Ordering::Relaxed),
            store_reads: self.store_reads.load(Ordering::Relaxed),
            evicted: counts.evicted,
            invalidated: counts.invalidated,
            spoiled: counts.spoiled,
            flushes: counts.flushes,
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }

    /// Loads a value. `lead` is for one that is here, and to be loaded anew: how
    /// long before its end, wherever that is.
    async fn load<F>(
        &self,
        key: &M::Key,
        ticket: Ticket,
        load: impl FnOnce() -> F,
        tell: watch::Sender<Outcome<Arc<M::Value>>>,
        lead: Option<Duration>,
    ) where
        F: Future<Output = Result<Option<M::Value>, StoreError>>,
    {
        let shared = self.shared.as_deref().filter(|_| {
            let tier = lock(&self.tier);
            tier.trusts(self.now_us(), key)
        });
        let mut lease = None;
        if let Some(shared) = shared {
            let text = shared_key::<M>(key);
            match self.look(shared, &text).await {
                Asked::Found { value, until, left, frame } => {
                    if lead.is_some_and(|lead| left <= lead) {
                        lease = shared.renew(&text, frame).await;
                    }
                    if lease.is_none() {
                        self.shared_hits.fetch_add(1, Ordering::Relaxed);
                        return self.end(key, ticket, Ok(value), until, &tell);
                    }
                }
                Asked::Load(held) => lease = held,
            }
        }
        let asked = Instant::now();
        self.store_reads.fetch_add(1, Ordering::Relaxed);
        let outcome = load().await.map(|value| value.map(Arc::new));
        if outcome.is_ok() {
            self.learn_cost(asked.elapsed());
        }
        let is_missing = matches!(outcome, Ok(None));
        let until = asked + self.keep(is_missing, self.options.ttl);
        self.end(key, ticket, outcome.clone(), until, &tell);
        if let (Some(shared), Some(lease), Ok(value)) = (shared, lease, outcome) {
            let body = value.map(|value| Bytes::from(M::encode(&value)));
            let keep = self.keep(is_missing, self.options.max_stale);
            shared.fill(&shared_key::<M>(key), lease, body, keep).await;
        }
    }

    /// Asks the shared tier, and waits a moment for whoever loads the value.
    async fn look(&self, shared: &dyn Shared, key: &SharedKey) -> Asked<M::Value> {
        let give_up = Instant::now() + self.options.load_wait;
        let mut pause = FIRST_LOOK;
        loop {
            let asked = Instant::now();
            match shared.look(key, self.options.max_stale).await {
                Look::Found { body, left, frame } => {
                    let value = body.as_deref().map(M::decode);
                    let Some(value) = value.map_or(Some(None), |value| value.map(Some)) else {
                        self.damaged.fetch_add(1, Ordering::Relaxed);
                        return Asked::Load(None);
                    };
                    let keep = self.keep(value.is_none(), self.options.ttl).min(left);
                    let (value, until) = (value.map(Arc::new), asked + keep);
                    return Asked::Found { value, until, left, frame };
                }
                Look::Mine(lease) => return Asked::Load(Some(lease)),
                Look::Theirs if Instant::now() + pause < give_up => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Look::Theirs | Look::Away => return Asked::Load(None),
            }
        }
    }

    fn end(
        &self,
        key: &M::Key,
        ticket: Ticket,
        outcome: Result<Option<Arc<M::Value>>, StoreError>,
        until: Instant,
        tell: &watch::Sender<Outcome<Arc<M::Value>>>,
    ) {
        let (now_us, fresh_until_us) = (self.now_us(), self.us(until));
        let loaded = outcome.as_ref().ok().map(|value| Loaded {
            value: value.clone(),
            weight: ENTRY_BYTES + value.as_ref().map_or(0, |value| M::weight(value)),
            // However slow the store is, it is not asked without pause.
            renew_from_us: now_us + fresh_until_us.saturating_sub(now_us) / 2,
            fresh_until_us,
        });
        lock(&self.tier).end(key, ticket, loaded);
        // Nobody may wait any more.
        let _ = tell.send(Some(outcome));
    }

    /// So long, less up to a tenth.
    fn keep(&self, is_missing: bool, ttl: Duration) -> Duration {
        let ttl = if is_missing { ttl.min(self.options.missing_ttl) } else { ttl };
        let drawn = self.draw() % 1_024;
        ttl.min(self.options.max_stale) - ttl.min(self.options.max_stale) * (drawn as u32) / 10_240
    }

    fn lead_us(&self) -> u64 {
        let eagerness = f64::from(self.options.early_percent) / 100.0;
        lead_us(self.cost_us.load(Ordering::Relaxed), eagerness, self.draw())
    }

    /// Of two who learn at once one may be lost.
    fn learn_cost(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let known_us = match self.cost_us.load(Ordering::Relaxed) {
            0 => took_us,
            known_us => known_us - known_us / 4 + took_us / 4,
        };
        self.cost_us.store(known_us, Ordering::Relaxed);
    }

    fn draw(&self) -> u64 {
        let (state, draws) = &self.draws;
        state.hash_one(draws.fetch_add(1, Ordering::Relaxed))
    }

    fn now_us(&self) -> u64 {
        self.us(Instant::now())
    }

    fn us(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.started).as_micros()).unwrap_or(u64::MAX)
    }
}

/// What came of asking the shared tier.
enum Asked<V> {
    Found { value: Option<Arc<V>>, until: Instant, left: Duration, frame: Vec<u8> },
    Load(Option<Lease>),
}

/// The first pause before somebody else's load is asked for again.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// What an entry takes beside its value, roughly.
const ENTRY_BYTES: usize = 160;

/// For those whose load has panicked, or was ended with the process.
const GIVEN_UP: StoreError = StoreError::Closed;

/// Ends a load that has not ended by itself.
struct Ends<'a, M: Model> {
    cache: &'a Cache<M>,
    key: &'a M::Key,
    ticket: Ticket,
}

impl<M: Model> Drop for Ends<'_, M> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.cache.tier).end(self.key, self.ticket, None);
        }
    }
}

/// A write under way.
pub struct Write<M: Model> {
    cache: Arc<Cache<M>>,
    key: Option<M::Key>,
}

impl<M: Model> Write<M> {
    /// The write has ended, whether it was done or not: from here on nobody on
    /// this node is served what was before, nor anybody on others once they
    /// have heard of it, at the latest after [`CacheOptions::max_stale`].
    pub async fn end(mut self) {
        let Some(key) = self.key.take() else { return };
        if let Some(told) = forget(&self.cache, key) {
            // In a task: it goes on when whoever waits here does not.
            let _ = tokio::spawn(told).await;
        }
    }
}

impl<M: Model> Drop for Write<M> {
    /// A write that nobody waited for may have been done all the same.
    fn drop(&mut self) {
        if let Some(told) = self.key.take().and_then(|key| forget(&self.cache, key))
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(told);
        }
    }
}

/// Lets go of a key at once. What is left is to tell the others, which goes on
/// in a task of its own if it does not work at once.
fn forget<M: Model>(
    cache: &Arc<Cache<M>>,
    key: M::Key,
) -> Option<impl Future<Output = ()> + Send + 'static + use<M>> {
    let until = Instant::now() + cache.options.max_stale;
    let mut tier = lock(&cache.tier);
    tier.invalidate(&key);
    let shared = cache.shared.clone()?;
    let write = tier.distrust(cache.now_us(), key.clone(), cache.us(until));
    drop(tier);
    let cache = Arc::clone(cache);
    Some(async move {
        let text = shared_key::<M>(&key);
        if shared.gone(&text).await {
            return lock(&cache.tier).trust(&key, write);
        }
        tokio::spawn(async move {
            while Instant::now() < until {
                tokio::time::sleep(TELL_AGAIN).await;
                if shared.gone(&text).await {
                    return lock(&cache.tier).trust(&key, write);
                }
            }
        });
    })
}

/// The pause before others are told again.
const TELL_AGAIN: Duration = Duration::from_millis(500);

fn shared_key<M: Model>(key: &M::Key) -> SharedKey {
    SharedKey { kind: M::KIND, version: M::VERSION, text: M::key_text(key) }
}

/// No code under this lock can panic halfway through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
