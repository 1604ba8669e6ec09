//! Handles by object id.
//!
//! The table holds handles only, four bytes each; the ids are in the objects.
//! It is cut into shards that grow one by one, because moving a million
//! entries at once would stall the brane for tens of milliseconds.
//!
//! Ids are drawn by clients, who could draw such as collide. So the hash is
//! keyed at random. No order that depends on it is ever seen.

use std::hash::{BuildHasher, RandomState};

use avvy_model::{Handle, ObjectId};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::pages::Pages;

/// So many that each is nearly full at a million objects: tables double.
const SHARDS: usize = 300;

pub(crate) struct Ids {
    shards: Vec<HashTable<u32>>,
    keyed: RandomState,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let shards = std::iter::repeat_with(HashTable::new).take(SHARDS).collect();
        Self { shards, keyed: RandomState::new() }
    }

    /// Makes room for so many more at once.
    pub(crate) fn reserve(&mut self, count: usize, pages: &Pages) {
        let each = count / SHARDS + count / SHARDS / 16;
        let keyed = &self.keyed;
        for shard in &mut self.shards {
            shard.reserve(each, |handle| rehash(keyed, pages, *handle));
        }
    }

    /// The handle of an id, given the objects.
    pub(crate) fn find(&self, id: ObjectId, pages: &Pages) -> Option<Handle> {
        let hash = hash(&self.keyed, id);
        let found = self.shards[shard(hash)].find(hash, |handle| is(pages, *handle, id));
        found.map(|handle| Handle(*handle))
    }

    /// Adds an object that `pages` holds already; whether its id is new.
    pub(crate) fn insert(&mut self, id: ObjectId, handle: Handle, pages: &Pages) -> bool {
        let hash = hash(&self.keyed, id);
        let keyed = &self.keyed;
        let entry = self.shards[shard(hash)].entry(
            hash,
            |other| is(pages, *other, id),
            |other| rehash(keyed, pages, *other),
        );
        match entry {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(handle.0);
                true
            }
        }
    }

    /// Takes an object out.
    pub(crate) fn remove(&mut self, id: ObjectId, handle: Handle) {
        let hash = hash(&self.keyed, id);
        if let Ok(entry) = self.shards[shard(hash)].find_entry(hash, |h| *h == handle.0) {
            entry.remove();
        }
    }
}

fn hash(keyed: &RandomState, id: ObjectId) -> u64 {
    keyed.hash_one(u128::from_le_bytes(id.to_bytes()))
}

fn rehash(keyed: &RandomState, pages: &Pages, handle: u32) -> u64 {
    pages.get(Handle(handle)).map_or(0, |object| hash(keyed, object.id))
}

fn is(pages: &Pages, handle: u32, id: ObjectId) -> bool {
    pages.get(Handle(handle)).is_some_and(|object| object.id == id)
}

/// The table takes its own choices from the lowest and the highest bits.
const fn shard(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}
