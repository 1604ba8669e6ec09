//! Which objects are portals ([`Portal`]), so that whoever asks for them need
//! not look at a million others.

use std::collections::BTreeSet;
use std::ops::Bound;

use avvy_model::{Handle, Portal, Props};

use crate::World;

/// The handles of all portals. The root never is one.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Portals(BTreeSet<Handle>);

impl Portals {
    /// Lists an object with these properties if it is one, and otherwise does not.
    pub(crate) fn note(&mut self, handle: Handle, props: &Props) {
        if Portal::of(props).is_some() {
            self.0.insert(handle);
        } else {
            self.0.remove(&handle);
        }
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
        self.portals.0.range((from, Bound::Unbounded)).copied()
    }
}
