//! The state hash, kept up to date lazily: objects are noted when they are
//! first touched, and hashed when somebody asks.

use std::collections::VecDeque;

use avvy_model::{Handle, Object, StateHash};
use rustc_hash::FxHashMap;

use crate::pages::Pages;

/// Objects noted at most, so that memory stays bounded where nobody asks.
const MAX_NOTED: usize = 2_048;
/// How many of the oldest are hashed when there are more: some twenty
/// microseconds of work, so that no edit waits for all of them.
const SETTLED_AT_ONCE: usize = 32;

#[derive(Default)]
pub(crate) struct LazyHash {
    settled: StateHash,
    /// What the settled hash counts for these handles.
    noted: FxHashMap<u32, Option<Object>>,
    /// The same handles in the order in which they were noted.
    order: VecDeque<u32>,
}

impl LazyHash {
    pub(crate) fn new(settled: StateHash) -> Self {
        Self { settled, ..Self::default() }
    }

    /// Call before an object is changed, added or removed.
    pub(crate) fn touch(&mut self, handle: Handle, pages: &Pages) {
        if self.noted.contains_key(&handle.0) {
            return;
        }
        if self.noted.len() >= MAX_NOTED {
            self.settle_oldest(SETTLED_AT_ONCE, pages);
        }
        self.noted.insert(handle.0, pages.get(handle).cloned());
        self.order.push_back(handle.0);
    }

    /// The hash of the objects as they are now.
    pub(crate) fn settle(&mut self, pages: &Pages) -> StateHash {
        self.settle_oldest(self.order.len(), pages);
        self.settled
    }

    fn settle_oldest(&mut self, count: usize, pages: &Pages) {
        let oldest = self.order.range(..count);
        let before = oldest.clone().filter_map(|h| Some((Handle(*h), self.noted[h].as_ref()?)));
        let now = oldest.filter_map(|h| Some((Handle(*h), pages.get(Handle(*h))?)));
        let (before, now) = (StateHash::sum(before), StateHash::sum(now));
        self.settled.remove_hash(before);
        self.settled.add_hash(now);
        for handle in self.order.drain(..count) {
            self.noted.remove(&handle);
        }
    }
}
