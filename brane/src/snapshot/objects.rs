//! A world that comes in object by object, ascending by handle.
//!
//! Each portion is indexed, linked and hashed while it is still in the
//! processor's cache, and so that nothing that takes long is left for the
//! end: whoever opens a brane between other work does it portion by portion.

use avvy_model::{Handle, Kind, ObjectAt, Seq, StateHash, weight};

use super::SnapshotError;
use crate::ids::Ids;
use crate::pages::Pages;
use crate::rights::{Entry, Rights};
use crate::side::Side;
use crate::ties::Ties;
use crate::world::{Stored, World};

/// Ids for which room is made before they are here: the count is read from
/// bytes that may lie.
const MAX_ROOM: usize = 1 << 20;

pub(super) struct Objects {
    stored: Stored,
    hash: StateHash,
    last: Option<Handle>,
    /// The first that is not indexed, linked and hashed yet.
    unsettled: Handle,
    /// Those whose parent has a higher handle. Only by way of one of these
    /// can there be a cycle.
    early: Vec<Handle>,
    /// Whether nothing so far tells otherwise.
    is_tree: bool,
}

impl Objects {
    pub(super) fn new() -> Self {
        Self {
            stored: Stored {
                pages: Pages::default(),
                side: Side::default(),
                ids: Ids::new(),
                bytes: 0,
                ties: Ties::default(),
            },
            hash: StateHash::default(),
            last: None,
            unsettled: Handle::ROOT,
            early: Vec::new(),
            is_tree: true,
        }
    }

    pub(super) const fn len(&self) -> u32 {
        self.stored.pages.len()
    }

    /// Makes room for so many.
    pub(super) fn expect(&mut self, count: u32) {
        let Stored { ids, pages, .. } = &mut self.stored;
        ids.reserve((count as usize).min(MAX_ROOM), pages);
    }

    /// Takes the next one in; false when it is not above all the others.
    pub(super) fn add(&mut self, ObjectAt { handle, object }: ObjectAt) -> bool {
        if self.last.is_some_and(|last| last >= handle) {
            return false;
        }
        self.last = Some(handle);
        let Stored { pages, side, bytes, ties, .. } = &mut self.stored;
        side.add(handle);
        *bytes += weight::held(&object.props);
        // While its properties, which were just read, are at hand.
        ties.add(handle, &object.props);
        pages.insert(handle, object);
        true
    }

    /// Indexes, links and hashes what has come since the last call: each in a
    /// loop of its own, so that the processor waits for many entries of the
    /// index at once.
    pub(super) fn settle(&mut self) {
        let Self { stored, early, is_tree, .. } = self;
        let Stored { pages, side, ids, .. } = stored;
        let fresh = || pages.iter_from(self.unsettled);
        for (handle, object) in fresh() {
            *is_tree &= ids.insert(object.id, handle, pages);
        }
        for (handle, object) in fresh() {
            if object.parent > handle {
                early.push(handle);
            } else {
                *is_tree &= link(side, pages, handle, object.parent);
            }
        }
        self.hash.add_hash(StateHash::sum(fresh()));
        self.unsettled = self.last.map_or(Handle::ROOT, |last| Handle(last.0.saturating_add(1)));
    }

    /// The world, if it is a tree and has this hash.
    pub(super) fn finish(
        mut self,
        next_handle: Handle,
        seq: Seq,
        expected: StateHash,
        rights: Vec<Entry>,
    ) -> Result<World, SnapshotError> {
        self.settle();
        let in_range = self.last.is_some_and(|last| last < next_handle);
        let owner = self.stored.pages.get(Handle::ROOT).map(|root| root.owner);
        let Some(owner) = owner.filter(|_| in_range && self.link_early()) else {
            return Err(SnapshotError::NotATree);
        };
        if self.hash != expected {
            return Err(SnapshotError::HashMismatch { expected, found: self.hash });
        }
        let rights = Rights::of_entries(owner, rights);
        Ok(World::restore(self.stored, rights, next_handle, seq, self.hash))
    }

    /// Links those that came before their parents; whether all is a tree.
    fn link_early(&mut self) -> bool {
        for handle in &self.early {
            let parent = self.stored.pages.get(*handle).map_or(*handle, |object| object.parent);
            self.is_tree &= link(&mut self.stored.side, &self.stored.pages, *handle, parent);
        }
        self.is_tree && (self.early.is_empty() || self.all_in_reach())
    }

    /// Whatever hangs in a cycle is out of the root's reach.
    fn all_in_reach(&self) -> bool {
        let (mut reached, mut open) = (0, vec![Handle::ROOT]);
        while let Some(handle) = open.pop() {
            reached += 1;
            open.extend(self.stored.side.children(handle));
        }
        reached == self.stored.pages.len()
    }
}

/// Hangs an object under its parent, the root under nothing; false when that
/// makes no tree.
fn link(side: &mut Side, pages: &Pages, handle: Handle, parent: Handle) -> bool {
    let is_group = pages.get(parent).is_some_and(|object| object.kind == Kind::Group);
    if handle == Handle::ROOT || parent == handle || !is_group {
        return handle == Handle::ROOT && parent == handle && is_group;
    }
    side.link(handle, parent);
    true
}
