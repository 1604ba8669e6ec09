//! Which objects are portals ([`avvy_model::Portal`]), so that whoever asks for them need
//! not look at a million others.

use std::collections::BTreeSet;
use std::ops::Bound;

use avvy_model::Handle;

use crate::World;

/// The handles of all portals. The root never is one.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Portals(BTreeSet<Handle>);

impl Portals {
    /// Lists an object.
    pub(crate) fn add(&mut self, handle: Handle) {
        self.0.insert(handle);
    }

    /// Lists an object no more.
    pub(crate) fn remove(&mut self, handle: Handle) {
        self.0.remove(&handle);
    }
}

impl World {
    /// The objects that are portals, ascending by handle, those after `after`.
    pub fn portals(&self, after: Option<Handle>) -> impl Iterator<Item = Handle> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.ties.portals.0.range((from, Bound::Unbounded)).copied()
    }
}
