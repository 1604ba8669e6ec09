//! The caches of a process, one for each kind of value, and what they have in
//! common: bounds, the way to Redis, and the notices of other nodes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_model::NodeId;
#[cfg(feature = "redis")]
use tokio::sync::Notify;
use tokio::sync::mpsc;

use super::layer::{Cache, CacheOptions};
use super::model::Model;
use super::notice::{Moved, News, Notice};
use super::set::SharedSet;
use super::shared::Shared;
use super::status::{CacheStatus, TierStatus};

/// The caches of a process. Cloning shares them.
#[derive(Clone)]
pub struct Caches {
    options: CacheOptions,
    hub: Arc<Hub>,
    #[cfg(feature = "redis")]
    redis: Option<super::redis::Redis>,
}

/// News of which nobody has taken notice yet. More are passed over.
const MAX_NEWS: usize = 1_024;

/// Where notices go that come in.
#[derive(Default)]
pub(crate) struct Hub {
    kinds: Mutex<Vec<Arc<dyn Kind>>>,
    /// Who is told of other nodes.
    news: Mutex<Option<mpsc::Sender<News>>>,
    /// Who is told when something is added to a set.
    #[cfg(feature = "redis")]
    sets: Mutex<Vec<(&'static str, Arc<Notify>)>>,
}

impl Caches {
    /// In this process alone.
    pub fn local(options: CacheOptions) -> Self {
        Self {
            options,
            hub: Arc::default(),
            #[cfg(feature = "redis")]
            redis: None,
        }
    }

    /// Shared with other nodes through Redis, which need not be there.
    #[cfg(feature = "redis")]
    pub fn shared(options: CacheOptions, redis: super::redis::Redis) -> Self {
        let hub = Arc::<Hub>::default();
        let hears: std::sync::Weak<Hub> = Arc::downgrade(&hub);
        redis.listen(hears);
        Self { options, hub, redis: Some(redis) }
    }

    /// Makes the cache of one kind of value. There is to be one of each.
    pub fn of<M: Model>(&self) -> Arc<Cache<M>> {
        let cache = Cache::<M>::new(self.options, self.tier());
        let kind: Arc<dyn Kind> = cache.clone();
        self.hub.kinds().push(kind);
        cache
    }

    /// A set that all nodes share, where there is a way to.
    pub fn set(&self, name: &'static str) -> Option<Arc<dyn SharedSet>> {
        #[cfg(feature = "redis")]
        return self.redis.as_ref().map(|redis| {
            let added = Arc::new(Notify::new());
            self.hub.sets().push((name, Arc::clone(&added)));
            redis.set(name, added)
        });
        #[cfg(not(feature = "redis"))]
        {
            let _ = name;
            None
        }
    }

    /// What all nodes, this one too, tell from now on. To be asked for once.
    /// News can be lost, and need not be true; none come where there is no way
    /// to other nodes.
    pub fn news(&self) -> mpsc::Receiver<News> {
        let (sender, news) = mpsc::channel(MAX_NEWS);
        *self.hub.news() = Some(sender);
        news
    }

    /// Tells all nodes that this one is there, where there is a way to; nobody
    /// waits for it.
    pub fn tell_here(&self, node: NodeId) {
        self.tell(&Notice::Here(node));
    }

    /// Tells all nodes that one of them has opened a brane.
    pub(super) fn tell_moved(&self, moved: Moved) {
        self.tell(&Notice::Moved(moved));
    }

    fn tell(&self, notice: &Notice) {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            redis.tell(notice);
        }
        #[cfg(not(feature = "redis"))]
        let _ = notice;
    }

    /// What they say of themselves.
    pub fn status(&self) -> CacheStatus {
        #[cfg(feature = "redis")]
        let shared = self.redis.as_ref().map(super::redis::Redis::status);
        #[cfg(not(feature = "redis"))]
        let shared = None;
        let tiers = self.hub.kinds().iter().map(|kind| kind.status()).collect();
        CacheStatus { tiers, shared }
    }

    fn tier(&self) -> Option<Arc<dyn Shared>> {
        #[cfg(feature = "redis")]
        return self.redis.as_ref().map(super::redis::Redis::tier);
        #[cfg(not(feature = "redis"))]
        None
    }
}

impl Hub {
    #[cfg(feature = "redis")]
    fn sets(&self) -> MutexGuard<'_, Vec<(&'static str, Arc<Notify>)>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was added to the set of this name; without one, perhaps to any.
    fn added(&self, name: Option<&str>) {
        #[cfg(feature = "redis")]
        for (set, added) in self.sets().iter() {
            if name.is_none_or(|name| name == *set) {
                added.notify_one();
            }
        }
        #[cfg(not(feature = "redis"))]
        let _ = name;
    }

    fn news(&self) -> MutexGuard<'_, Option<mpsc::Sender<News>>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(&self, news: News) {
        if let Some(sender) = &*self.news() {
            // Who does not come along asks the store.
            let _ = sender.try_send(news);
        }
    }

    fn kinds(&self) -> MutexGuard<'_, Vec<Arc<dyn Kind>>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cache, whatever it holds.
trait Kind: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Another node has written the value under this.
    fn heard(&self, key: &str);

    /// Other nodes may have written anything.
    fn missed(&self);

    fn status(&self) -> TierStatus;
}

impl<M: Model> Kind for Cache<M> {
    fn name(&self) -> &'static str {
        M::KIND
    }

    fn heard(&self, key: &str) {
        if let Some(key) = M::key_of(key) {
            self.heard(&key);
        }
    }

    fn missed(&self) {
        self.missed();
    }

    fn status(&self) -> TierStatus {
        self.status()
    }
}

/// Whoever wants to hear notices.
#[cfg_attr(not(feature = "redis"), expect(dead_code))]
pub(crate) trait Hears: Send + Sync + 'static {
    /// One came in.
    fn notice(&self, notice: &Notice);

    /// Some may have been missed.
    fn gap(&self);
}

impl Hears for Hub {
    fn notice(&self, notice: &Notice) {
        match notice {
            // A kind that is not known is one of a later version.
            Notice::Gone { kind, key } => {
                let kinds = self.kinds();
                kinds.iter().filter(|of| of.name() == kind).for_each(|of| of.heard(key));
            }
            Notice::Added { set } => self.added(Some(set)),
            Notice::Moved(moved) => self.pass_on(News::Moved(*moved)),
            Notice::Here(node) => self.pass_on(News::Here(*node)),
        }
    }

    fn gap(&self) {
        self.kinds().iter().for_each(|kind| kind.missed());
        self.added(None);
        self.pass_on(News::Missed);
    }
}
