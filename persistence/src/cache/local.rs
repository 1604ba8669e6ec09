//! The in-process tier as a pure machine: what is kept, for how long, who
//! loads, and whose load comes too late.
//!
//! The time is an argument, in microseconds that never go back. The invariants:
//!
//! - A key has at most one load at a time; whoever asks meanwhile waits for it.
//! - What a load brings is kept only if the key was not invalidated since the
//!   load began, and whoever asks after an invalidation never waits for a load
//!   that began before it.
//! - Nothing is handed out from `fresh_until_us` on, nor kept beyond the bounds.
//! - What is asked for often is loaded anew before it ends, by one, while all
//!   others are served what is there: see [`lead_us`].
//! - A key that is not trusted is not asked of the shared tier, until that has
//!   heard of the write, or the value that is there cannot be there any more.
//!
//! What goes when there is no room is found by CLOCK: in the order of arrival,
//! and what was used since its last turn gets one more.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Keys that are not trusted one by one; beyond, none is for a while.
const MAX_DISTRUSTED: usize = 4_096;

/// Bounds of the tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub entries: usize,
    pub bytes: usize,
}

/// Names a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket(u64);

/// What somebody who asks is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Lookup<V, W> {
    /// The value, or that there is none.
    Hit(Option<V>),
    /// Somebody loads it: wait for that.
    Wait(W),
    /// Load it.
    Load(Ticket),
    /// The value, which is to end soon: load it anew for those who come later.
    Renew(Option<V>, Ticket),
}

/// What a load brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Loaded<V> {
    /// `None`: there is none.
    pub value: Option<V>,
    /// What it takes of the bytes.
    pub weight: usize,
    /// From when on it may be loaded anew.
    pub renew_from_us: u64,
    /// From when on it is not handed out any more.
    pub fresh_until_us: u64,
}

/// Counts since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    pub hits: u64,
    pub missing_hits: u64,
    pub waits: u64,
    pub loads: u64,
    pub renewals: u64,
    pub evicted: u64,
    pub invalidated: u64,
    pub spoiled: u64,
    pub flushes: u64,
}

struct Entry<V> {
    loaded: Loaded<V>,
    was_used: bool,
    /// Once is enough: a store that fails is not asked again and again.
    was_renewed: bool,
    /// Its place in the order; an older place of the same key says nothing.
    place: u64,
}

struct Loading<W> {
    ticket: Ticket,
    wait: W,
}

/// How long before its end a value is loaded anew, as one who asks draws it:
/// the store's own time, times `eagerness`, times a number that is 1 in the
/// mean and seldom large. So the chance rises towards the end, and the more
/// often a value is asked for, the surer somebody loads it before it ends.
/// This is XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic
/// Cache Stampede Prevention, VLDB 2015).
pub(crate) fn lead_us(cost_us: u64, eagerness: f64, draw: u64) -> u64 {
    // Above 0, at most 1.
    let uniform = ((draw >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    (cost_us as f64 * eagerness * -uniform.ln()) as u64
}

/// The tier.
pub(crate) struct Local<K, V, W> {
    bounds: Bounds,
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    order: VecDeque<(K, u64)>,
    loads: HashMap<K, Loading<W>>,
    /// Which write has told nobody yet, and until when that matters.
    distrusted: HashMap<K, (u64, u64)>,
    distrusts_all_until_us: u64,
    next: u64,
    counts: Counts,
}

impl<K: Clone + Eq + Hash, V: Clone, W: Clone> Local<K, V, W> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: HashMap::new(),
            bytes: 0,
            order: VecDeque::new(),
            loads: HashMap::new(),
            distrusted: HashMap::new(),
            distrusts_all_until_us: 0,
            next: 0,
            counts: Counts::default(),
        }
    }

    /// Somebody asks for a key. `lead_us` is how long before its end he would
    /// load it anew, and `wait` what others wait for if he is to load it.
    pub(crate) fn get(
        &mut self,
        now_us: u64,
        key: &K,
        lead_us: impl FnOnce() -> u64,
        wait: impl FnOnce() -> W,
    ) -> Lookup<V, W> {
        if let Some(entry) = self.entries.get_mut(key) {
            let Loaded { value, renew_from_us, fresh_until_us, .. } = &entry.loaded;
            if now_us < *fresh_until_us {
                entry.was_used = true;
                self.counts.hits += 1;
                self.counts.missing_hits += u64::from(value.is_none());
                let value = value.clone();
                let may_renew = now_us >= *renew_from_us && !entry.was_renewed;
                if !may_renew || fresh_until_us - now_us > lead_us() {
                    return Lookup::Hit(value);
                }
                entry.was_renewed = true;
                self.counts.renewals += 1;
                return Lookup::Renew(value, self.begin(key, wait()));
            }
            self.remove(key);
        }
        if let Some(loading) = self.loads.get(key) {
            self.counts.waits += 1;
            return Lookup::Wait(loading.wait.clone());
        }
        Lookup::Load(self.begin(key, wait()))
    }

    /// A load has ended; without a value it has failed. True when what it
    /// brought is kept.
    pub(crate) fn end(&mut self, key: &K, ticket: Ticket, loaded: Option<Loaded<V>>) -> bool {
        if self.loads.get(key).is_none_or(|loading| loading.ticket != ticket) {
            self.counts.spoiled += 1;
            return false;
        }
        self.loads.remove(key);
        match loaded {
            Some(loaded) if loaded.weight <= self.bounds.bytes && self.bounds.entries > 0 => {
                self.insert(key.clone(), loaded);
                true
            }
            _ => false,
        }
    }

    /// The value was changed: what is kept, and what is being loaded, is of
    /// before.
    pub(crate) fn invalidate(&mut self, key: &K) {
        self.counts.invalidated += 1;
        self.remove(key);
        self.loads.remove(key);
    }

    /// Anything may have been changed.
    pub(crate) fn flush(&mut self) {
        self.counts.flushes += 1;
        self.entries.clear();
        self.order.clear();
        self.loads.clear();
        self.bytes = 0;
    }

    /// The shared tier may hold what was before a write, until then. Gives the
    /// name of this write.
    pub(crate) fn distrust(&mut self, now_us: u64, key: K, until_us: u64) -> u64 {
        let write = self.next();
        if self.distrusted.len() >= MAX_DISTRUSTED {
            self.distrusted.retain(|_, (_, until_us)| now_us < *until_us);
        }
        if self.distrusted.len() < MAX_DISTRUSTED || self.distrusted.contains_key(&key) {
            self.distrusted.insert(key, (write, until_us));
        } else {
            self.distrusts_all_until_us = self.distrusts_all_until_us.max(until_us);
        }
        write
    }

    /// The shared tier has heard of this write; of a later one it has not.
    pub(crate) fn trust(&mut self, key: &K, write: u64) {
        if self.distrusted.get(key).is_some_and(|(last, _)| *last == write) {
            self.distrusted.remove(key);
        }
    }

    /// Whether the shared tier can be asked for this.
    pub(crate) fn trusts(&self, now_us: u64, key: &K) -> bool {
        let is_known = self.distrusted.get(key).is_some_and(|(_, until_us)| now_us < *until_us);
        !is_known && now_us >= self.distrusts_all_until_us
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many entries there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    fn begin(&mut self, key: &K, wait: W) -> Ticket {
        self.counts.loads += 1;
        let ticket = Ticket(self.next());
        self.loads.insert(key.clone(), Loading { ticket, wait });
        ticket
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn insert(&mut self, key: K, loaded: Loaded<V>) {
        self.remove(&key);
        self.make_room(loaded.weight);
        let place = self.next();
        self.bytes += loaded.weight;
        self.order.push_back((key.clone(), place));
        self.entries.insert(key, Entry { loaded, was_used: false, was_renewed: false, place });
        if self.order.len() > 2 * self.entries.len() + 16 {
            let entries = &self.entries;
            self.order.retain(|(key, at)| entries.get(key).is_some_and(|e| e.place == *at));
        }
    }

    fn make_room(&mut self, weight: usize) {
        while self.entries.len() >= self.bounds.entries || self.bytes + weight > self.bounds.bytes {
            let Some((key, place)) = self.order.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&key).filter(|e| e.place == place) else {
                continue;
            };
            if std::mem::take(&mut entry.was_used) {
                self.order.push_back((key, place));
            } else {
                self.counts.evicted += 1;
                self.remove(&key);
            }
        }
    }

    /// Its place in the order is found to be nobody's when its turn comes.
    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.loaded.weight;
        }
    }
}

#[cfg(test)]
mod tests;
