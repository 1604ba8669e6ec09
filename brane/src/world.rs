//! The tree of objects, and the few ways in which it changes.

use std::sync::Arc;

use avvy_model::{
    BraneId, Change, Changes, Grid, Handle, Kind, Object, ObjectId, Placement, Props, PropsPatch,
    Seq, StateHash, Target, Transform, UserId, ValueLimits, weight,
};

use crate::graves::Graves;
use crate::hash::LazyHash;
use crate::ids::Ids;
use crate::interest::{Cells, Tracker};
use crate::occupancy::{self, Occupancy};
use crate::pages::{Frozen, Pages};
use crate::rights::Rights;
use crate::side::{NONE, Side};
use crate::ties::Ties;

/// A brane's objects: a tree of groups and blocks under one root.
///
/// Invariants: every parent is a group of the world; the root (handle 0) is
/// its own parent and is always there; there are no cycles; ids and handles
/// are unique; handles are given out densely and never again.
pub struct World {
    pub(crate) pages: Pages,
    pub(crate) side: Side,
    /// The objects under the root; the others hang in `side`.
    pub(crate) cells: Cells,
    pub(crate) tracker: Option<Box<Tracker>>,
    ids: Ids,
    pub(crate) next_handle: Handle,
    pub(crate) seq: Seq,
    pub(crate) graves: Graves,
    hash: LazyHash,
    /// The sum of [`weight::held`] over all objects.
    bytes: u64,
    pub(crate) rights: Arc<Rights>,
    pub(crate) ties: Ties,
    /// Whether the root says that cells are.
    pub(crate) is_exclusive: bool,
    /// `None` until it is needed ([`Self::adopt_cells`]).
    pub(crate) occupancy: Option<Box<Occupancy>>,
}

/// The objects of a stored world, with what is kept beside them.
pub(crate) struct Stored {
    pub(crate) pages: Pages,
    pub(crate) side: Side,
    pub(crate) ids: Ids,
    /// As [`World`]'s.
    pub(crate) bytes: u64,
    pub(crate) ties: Ties,
}

impl World {
    /// A new brane: only the root, a group whose id is the brane's.
    pub fn new(id: BraneId, owner: UserId) -> Self {
        Self::with_grid(id, owner, Grid::default())
    }

    /// A new brane whose root asks for this grid.
    pub fn with_grid(id: BraneId, owner: UserId, grid: Grid) -> Self {
        let root = Object {
            id: ObjectId::new(id.uuid()),
            parent: Handle::ROOT,
            kind: Kind::Group,
            owner,
            transform: Transform::IDENTITY,
            props: grid.root_props(),
        };
        let mut world = Self {
            pages: Pages::default(),
            side: Side::default(),
            cells: Cells::new(grid),
            tracker: None,
            ids: Ids::new(),
            next_handle: Handle(1),
            seq: Seq(0),
            graves: Graves::default(),
            hash: LazyHash::default(),
            bytes: 0,
            rights: Arc::new(Rights::new(owner)),
            ties: Ties::default(),
            is_exclusive: false,
            occupancy: None,
        };
        world.insert(Handle::ROOT, root);
        world
    }

    /// Puts a stored world together. The caller has checked the invariants.
    pub(crate) fn restore(
        stored: Stored,
        rights: Rights,
        next_handle: Handle,
        seq: Seq,
        hash: StateHash,
    ) -> Self {
        let Stored { pages, side, ids, bytes, ties } = stored;
        let root = pages.get(Handle::ROOT);
        let grid = root.map(Grid::of_root).unwrap_or_default();
        let is_exclusive = root.is_some_and(occupancy::is_exclusive);
        let mut world = Self {
            pages,
            side,
            cells: Cells::new(grid),
            tracker: None,
            ids,
            next_handle,
            seq,
            graves: Graves::beginning_at(seq),
            hash: LazyHash::new(hash),
            bytes,
            rights: Arc::new(rights),
            ties,
            is_exclusive,
            occupancy: None,
        };
        let mut at = world.side.take_children(Handle::ROOT);
        while at != NONE {
            let handle = Handle(at);
            at = world.side.next(handle);
            world.house(handle);
        }
        world
    }

    /// Lists the objects under the root anew, by another grid.
    pub(crate) fn rebuild_cells(&mut self, grid: Grid) {
        let tops: Vec<_> = self.cells.iter(&self.side).collect();
        self.cells = Cells::new(grid);
        tops.into_iter().for_each(|handle| self.house(handle));
    }

    /// Lists an object under the root that is in no list.
    fn house(&mut self, handle: Handle) {
        if let Some(object) = self.pages.get(handle) {
            let home = self.cells.home(object);
            self.cells.add(&mut self.side, handle, home);
        }
    }

    /// The object of a handle.
    pub fn get(&self, handle: Handle) -> Option<&Object> {
        self.pages.get(handle)
    }

    /// The handle of an id.
    pub fn find(&self, id: ObjectId) -> Option<Handle> {
        self.ids.find(id, &self.pages)
    }

    /// The handle of an object that is in the world.
    pub fn resolve(&self, target: Target) -> Option<Handle> {
        match target {
            Target::Handle(handle) => self.pages.get(handle).map(|_| handle),
            Target::Id(id) => self.find(id),
        }
    }

    /// How many objects, the root included.
    pub const fn len(&self) -> u32 {
        self.pages.len()
    }

    /// Never: the root is always there. Here for the company of [`Self::len`].
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory of all objects together, as [`weight::held`] counts them.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The handle that the next created object gets.
    pub const fn next_handle(&self) -> Handle {
        self.next_handle
    }

    /// The last edit in this state; 0 before the first.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// The children of a group, in no particular order.
    pub fn children(&self, handle: Handle) -> impl Iterator<Item = Handle> {
        let tops = (handle == Handle::ROOT).then(|| self.cells.iter(&self.side));
        tops.into_iter().flatten().chain(self.side.children(handle))
    }

    /// All objects, ascending by handle.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &Object)> {
        self.pages.iter()
    }

    /// The hash of the state ([`avvy_model::StateHash`]). Costs two digests
    /// for each object touched since it was last asked for.
    pub fn state_hash(&mut self) -> StateHash {
        self.hash.settle(&self.pages)
    }

    /// Who may do what.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Forgets rights that are over at this time.
    pub fn forget_rights(&mut self, now_ms: u64) {
        if self.rights.has_over(now_ms) {
            Arc::make_mut(&mut self.rights).forget(now_ms);
        }
    }

    /// The objects and the rights as they are now, for another thread. Costs a pointer for
    /// each 2,944 handles; each page of 46 objects that changes afterwards is
    /// copied once.
    pub fn freeze(&self) -> Frozen {
        Frozen {
            pages: self.pages.clone(),
            next_handle: self.next_handle,
            rights: Arc::clone(&self.rights),
            instances: self.followed_instances().into(),
        }
    }

    /// Steps from the root.
    pub(crate) fn depth(&self, mut handle: Handle) -> u32 {
        let mut depth = 0;
        while handle != Handle::ROOT {
            let Some(object) = self.pages.get(handle) else { break };
            handle = object.parent;
            depth += 1;
        }
        depth
    }

    /// Whether `handle` is `ancestor` or somewhere under it.
    pub(crate) fn is_within(&self, mut handle: Handle, ancestor: Handle) -> bool {
        while handle != ancestor {
            match self.pages.get(handle) {
                Some(object) if handle != Handle::ROOT => handle = object.parent,
                _ => return false,
            }
        }
        true
    }

    /// Adds an object under a parent that is there.
    pub(crate) fn insert(&mut self, handle: Handle, object: Object) {
        self.hash.touch(handle, &self.pages);
        self.side.add(handle);
        // When a deletion is taken back, the object's own mark is lost. It
        // was no later than this.
        self.side.mark(handle, self.seq);
        if handle != Handle::ROOT {
            self.link(handle, &object);
        } else {
            self.is_exclusive = occupancy::is_exclusive(&object);
        }
        self.ties.add(handle, &object.props);
        self.bytes += weight::held(&object.props);
        let id = object.id;
        self.pages.insert(handle, object);
        let is_new = self.ids.insert(id, handle, &self.pages);
        debug_assert!(is_new, "{id} is there already");
    }

    /// Takes out an object that has no children.
    pub(crate) fn take(&mut self, handle: Handle) -> Option<Object> {
        self.hash.touch(handle, &self.pages);
        let object = self.pages.remove(handle)?;
        self.bytes -= weight::held(&object.props);
        self.ties.remove(handle, &object.props);
        self.unlink(handle, &object);
        self.side.remove(handle);
        self.ids.remove(object.id, handle);
        Some(object)
    }

    pub(crate) fn set_props(&mut self, handle: Handle, props: Props) {
        let Some(object) = self.pages.get(handle) else { return };
        self.bytes -= weight::held(&object.props);
        self.bytes += weight::held(&props);
        self.ties.change(handle, &object.props, &props);
        self.change(handle, |object| object.props = props);
        if handle == Handle::ROOT {
            self.is_exclusive = self.get(handle).is_some_and(occupancy::is_exclusive);
        }
    }

    pub(crate) fn set_transform(&mut self, handle: Handle, transform: Transform) {
        self.change(handle, |object| object.transform = transform);
    }

    /// Hangs an object under a group that is there and not under itself.
    pub(crate) fn place(&mut self, handle: Handle, to: Placement) {
        let Some(object) = self.pages.get(handle) else { return };
        if object.parent == to.parent {
            return self.set_transform(handle, to.transform);
        }
        let before = object.clone();
        self.hash.touch(handle, &self.pages);
        self.unlink(handle, &before);
        let after = Object { parent: to.parent, transform: to.transform, ..before };
        self.link(handle, &after);
        if let Some(object) = self.pages.get_mut(handle) {
            *object = after;
        }
    }

    /// Changes an object that stays under its parent.
    fn change(&mut self, handle: Handle, change: impl FnOnce(&mut Object)) {
        self.hash.touch(handle, &self.pages);
        let grid = self.grid();
        let Some(object) = self.pages.get_mut(handle) else { return };
        if object.parent != Handle::ROOT || handle == Handle::ROOT {
            return change(object);
        }
        let (cell, props) = (grid.cell(object.transform.position), object.props.clone());
        change(object);
        if cell == grid.cell(object.transform.position) && props == object.props {
            return;
        }
        let home_with = |cell, props: &Props| grid.home_with(cell, props);
        let before = home_with(cell, &props);
        let after = home_with(grid.cell(object.transform.position), &object.props);
        if before != after {
            self.cells.remove(&mut self.side, handle, before);
            self.cells.add(&mut self.side, handle, after);
            if let Some(tracker) = self.tracker.as_mut() {
                tracker.moved(handle, before);
            }
        }
    }

    fn link(&mut self, handle: Handle, object: &Object) {
        if object.parent == Handle::ROOT {
            self.cells.add(&mut self.side, handle, self.cells.home(object));
        } else {
            self.side.link(handle, object.parent);
        }
    }

    fn unlink(&mut self, handle: Handle, object: &Object) {
        if object.parent == Handle::ROOT {
            self.cells.remove(&mut self.side, handle, self.cells.home(object));
        } else {
            self.side.unlink(handle, object.parent);
        }
    }

    /// Notes an accepted edit's changes for [`Self::diff`].
    pub(crate) fn note(&mut self, at: Seq, changes: &Changes) {
        self.seq = at;
        for change in changes {
            match change {
                Change::Created(created) => self.side.mark(created.handle, at),
                Change::Updated { handle, .. }
                | Change::Moved { handle, .. }
                | Change::Reparented { handle, .. } => self.side.mark(*handle, at),
                Change::Deleted { removed } => {
                    removed.iter().for_each(|object| self.graves.dig(at, object.handle));
                }
                Change::Ruled(_) => {}
            }
        }
    }

    /// Takes changes back, the last first, leaving [`Self::next_handle`] and
    /// what [`Self::note`] keeps to the caller.
    pub(crate) fn take_back(&mut self, changes: &[Change]) {
        for change in changes.iter().rev() {
            match change {
                Change::Created(created) => drop(self.take(created.handle)),
                Change::Updated { handle, before, .. } => self.patch_back(*handle, before),
                Change::Moved { handle, before, .. } => self.set_transform(*handle, *before),
                Change::Reparented { handle, before, .. } => self.place(*handle, *before),
                Change::Deleted { removed } => {
                    removed.iter().for_each(|o| self.insert(o.handle, o.object.clone()));
                }
                Change::Ruled(_) => Arc::make_mut(&mut self.rights).take_back(),
            }
        }
    }

    fn patch_back(&mut self, handle: Handle, before: &PropsPatch) {
        let Some(object) = self.pages.get(handle) else { return };
        let (props, _) = object
            .props
            .patched(before, &ValueLimits::NONE)
            .expect("without limits nothing is too large");
        self.set_props(handle, props);
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World({} objects at {})", self.len(), self.seq)
    }
}
