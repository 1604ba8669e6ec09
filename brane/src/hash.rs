//! The state hash, kept up to date lazily: objects are noted when they are
//! first touched, and hashed when somebody asks.

use avvy_model::{Handle, Object, StateHash};
use rustc_hash::FxHashMap;

use crate::pages::Pages;

/// Objects noted at most. One more, and they are hashed at once, in a
/// millisecond or two; so noting stays bounded where nobody ever asks.
const MAX_NOTED: usize = 2_048;

#[derive(Default)]
pub(crate) struct LazyHash {
    settled: StateHash,
    /// What the settled hash counts for these handles. Sums have no order, so
    /// the map's order is never seen.
    noted: FxHashMap<u32, Option<Object>>,
}

impl LazyHash {
    pub(crate) fn new(settled: StateHash) -> Self {
        Self { settled, noted: FxHashMap::default() }
    }

    /// Call before an object is changed, added or removed.
    pub(crate) fn touch(&mut self, handle: Handle, pages: &Pages) {
        if self.noted.len() >= MAX_NOTED && !self.noted.contains_key(&handle.0) {
            self.settle(pages);
        }
        self.noted.entry(handle.0).or_insert_with(|| pages.get(handle).cloned());
    }

    /// The hash of the objects as they are now.
    pub(crate) fn settle(&mut self, pages: &Pages) -> StateHash {
        if self.noted.is_empty() {
            return self.settled;
        }
        let before = self.noted.iter().filter_map(|(h, o)| Some((Handle(*h), o.as_ref()?)));
        self.settled.remove_hash(StateHash::sum(before));
        let now = self.noted.keys().filter_map(|h| Some((Handle(*h), pages.get(Handle(*h))?)));
        self.settled.add_hash(StateHash::sum(now));
        self.noted.clear();
        self.settled
    }
}
