//! Exclusive cells: where a brane's root says so, no cell is taken by two
//! blocks. Which cells a block takes says [`avvy_model::Footprint`].
//!
//! An edit is judged at its end and as a whole, so two blocks may change
//! places in a batch. The index is a tree and no hash, as people choose the
//! cells; it is made when it is first needed and follows each accepted edit.
//! A brane whose cells are not exclusive has none.

use std::collections::{BTreeMap, BTreeSet};

use avvy_model::{
    BoxSize, Change, Code, Footprint, Handle, Kind, Object, Transform, Value, WorldLimits,
};

use crate::World;

/// Which block takes which cells.
#[derive(Default)]
pub(crate) struct Occupancy {
    taken: BTreeMap<[i32; 3], Handle>,
    boxes: BTreeMap<Handle, Footprint>,
}

/// Blocks that an edit may have put elsewhere, each with the last of its
/// changes that did.
type Moved = BTreeMap<Handle, usize>;

/// A block, the change that puts it elsewhere, and where; `None`: it is gone.
type Shift = (Handle, usize, Option<Footprint>);

/// Why an edit cannot stand, and because of which of its changes.
pub(crate) struct Taken {
    pub(crate) code: Code,
    pub(crate) change: usize,
}

impl Occupancy {
    /// Puts a block into its cells; whether all of them were free. Otherwise
    /// it takes none.
    fn put(&mut self, handle: Handle, footprint: Footprint) -> bool {
        if footprint.cells().any(|cell| self.taken.contains_key(&cell)) {
            return false;
        }
        self.taken.extend(footprint.cells().map(|cell| (cell, handle)));
        self.boxes.insert(handle, footprint);
        true
    }

    fn take(&mut self, handle: Handle) -> Option<Footprint> {
        let footprint = self.boxes.remove(&handle)?;
        for cell in footprint.cells() {
            self.taken.remove(&cell);
        }
        Some(footprint)
    }

    /// Moves these blocks, or takes them out; all or none.
    fn shift(&mut self, to: &[Shift], limits: &WorldLimits) -> Result<(), Taken> {
        self.judge(to, limits)?;
        for (handle, ..) in to {
            self.take(*handle);
        }
        for (handle, _, footprint) in to {
            if let Some(footprint) = footprint {
                self.put(*handle, *footprint);
            }
        }
        Ok(())
    }

    /// Whether all of them can go there. Looks at the cells that are asked for
    /// alone: a refusal costs no more, however many would become free.
    fn judge(&self, to: &[Shift], limits: &WorldLimits) -> Result<(), Taken> {
        let most = limits.max_occupied_cells.max(self.taken.len());
        let leaving: BTreeSet<Handle> = to.iter().map(|(handle, ..)| *handle).collect();
        let left = leaving.iter().filter_map(|handle| self.boxes.get(handle));
        let stay = self.taken.len() - left.map(|footprint| footprint.volume()).sum::<usize>();
        let mut asked = BTreeSet::new();
        let is_free = |cell: &[i32; 3]| self.taken.get(cell).is_none_or(|by| leaving.contains(by));
        for (_, change, footprint) in to {
            let Some(footprint) = footprint else { continue };
            let code = if !footprint.cells().all(|cell| is_free(&cell) && asked.insert(cell)) {
                Code::CellTaken
            } else if stay + asked.len() > most {
                Code::TooManyCells
            } else {
                continue;
            };
            return Err(Taken { code, change: *change });
        }
        Ok(())
    }
}

impl World {
    /// Makes the index if cells are exclusive and there is none: after the
    /// world was restored or has followed a log. Where stored blocks overlap
    /// nevertheless, the first has the cells.
    pub fn adopt_cells(&mut self) {
        if !self.is_exclusive || self.occupancy.is_some() {
            return;
        }
        let mut occupancy = Occupancy::default();
        for (handle, object) in self.pages.iter().filter(|(_, object)| object.kind == Kind::Block) {
            if let Ok(footprint) = self.footprint(object, u32::MAX) {
                occupancy.put(handle, footprint);
            }
        }
        self.occupancy = Some(Box::new(occupancy));
    }

    /// Judges an edit by its changes, which the world has already, and lets
    /// the index follow.
    ///
    /// # Errors
    /// [`Taken`], upon which the index is as before.
    pub(crate) fn settle_cells(
        &mut self,
        changes: &[Change],
        limits: &WorldLimits,
    ) -> Result<(), Taken> {
        if !self.is_exclusive {
            self.occupancy = None;
            return Ok(());
        }
        let Some(mut occupancy) = self.occupancy.take() else {
            return self.begin_exclusive(changes, limits);
        };
        let shifts = self.shifts(&occupancy, changes, limits);
        let settled = shifts.and_then(|shifts| occupancy.shift(&shifts, limits));
        self.occupancy = Some(occupancy);
        settled
    }

    /// The index follows an edit that was taken back.
    pub(crate) fn resettle_cells(&mut self, changes: &[Change]) {
        if !self.is_exclusive {
            self.occupancy = None;
        }
        let Some(mut occupancy) = self.occupancy.take() else { return };
        let limits = WorldLimits {
            max_touched: usize::MAX,
            max_footprint_cells: u32::MAX,
            max_edit_cells: usize::MAX,
            max_occupied_cells: usize::MAX,
            ..WorldLimits::default()
        };
        let shifts = self.shifts(&occupancy, changes, &limits);
        let is_back = shifts.and_then(|shifts| occupancy.shift(&shifts, &limits)).is_ok();
        // What was there before fits again. Otherwise it is made anew.
        self.occupancy = is_back.then_some(occupancy);
    }

    /// The root says since this edit that cells are exclusive: everything has
    /// to fit as it stands.
    fn begin_exclusive(&mut self, changes: &[Change], limits: &WorldLimits) -> Result<(), Taken> {
        let says_so = |change: &Change| {
            matches!(change, Change::Updated { handle, after, .. }
            if *handle == Handle::ROOT && names(after, Object::EXCLUSIVE_KEY))
        };
        let change = changes.iter().rposition(says_so).unwrap_or(0);
        let refuse = |code| Err(Taken { code, change });
        if self.len() as usize > limits.max_touched {
            return refuse(Code::TouchesTooMany);
        }
        let mut occupancy = Occupancy::default();
        for (handle, object) in self.pages.iter().filter(|(_, object)| object.kind == Kind::Block) {
            match self.footprint(object, limits.max_footprint_cells) {
                Err(code) => return refuse(code),
                Ok(footprint) if !occupancy.put(handle, footprint) => {
                    return refuse(Code::CellsOverlap);
                }
                Ok(_)
                    if occupancy.taken.len()
                        > limits.max_occupied_cells.min(limits.max_edit_cells) =>
                {
                    return refuse(Code::TooManyCells);
                }
                Ok(_) => {}
            }
        }
        self.occupancy = Some(Box::new(occupancy));
        Ok(())
    }

    /// The blocks that take other cells than before, in the order of the
    /// changes that put them there.
    fn shifts(
        &self,
        occupancy: &Occupancy,
        changes: &[Change],
        limits: &WorldLimits,
    ) -> Result<Vec<Shift>, Taken> {
        let (mut shifts, mut cells) = (Vec::new(), 0);
        for (handle, change) in self.moved_blocks(changes, limits)? {
            let footprint =
                self.get(handle).map(|block| self.footprint(block, limits.max_footprint_cells));
            let footprint = footprint.transpose().map_err(|code| Taken { code, change })?;
            if footprint.as_ref() == occupancy.boxes.get(&handle) {
                continue;
            }
            cells += footprint.map_or(0, |footprint| footprint.volume());
            if cells > limits.max_edit_cells {
                return Err(Taken { code: Code::TouchesTooMany, change });
            }
            shifts.push((handle, change, footprint));
        }
        shifts.sort_by_key(|(_, change, _)| *change);
        Ok(shifts)
    }

    /// The blocks that changes are about, and those in groups that they are
    /// about.
    fn moved_blocks(&self, changes: &[Change], limits: &WorldLimits) -> Result<Moved, Taken> {
        let mut moved = Moved::new();
        let mut left = limits.max_touched;
        for (n, change) in changes.iter().enumerate() {
            match change {
                Change::Created(created) => drop(moved.insert(created.handle, n)),
                Change::Updated { handle, before, after } => {
                    let key = Object::CELLS_KEY;
                    if names(after, key) || names(before, key) {
                        moved.insert(*handle, n);
                    }
                }
                Change::Moved { handle, .. } | Change::Reparented { handle, .. } => {
                    let mut open = vec![*handle];
                    while let Some(handle) = open.pop() {
                        let Some(rest) = left.checked_sub(1) else {
                            return Err(Taken { code: Code::TouchesTooMany, change: n });
                        };
                        left = rest;
                        moved.insert(handle, n);
                        open.extend(self.children(handle).take(left.saturating_add(1)));
                    }
                }
                Change::Deleted { removed } => {
                    moved.extend(removed.iter().map(|object| (object.handle, n)));
                }
                Change::Ruled(_) => {}
            }
        }
        let is_group = |handle| self.get(handle).is_some_and(|object| object.kind == Kind::Group);
        moved.retain(|handle, _| !is_group(*handle));
        Ok(moved)
    }

    /// The cells of a block of this world.
    fn footprint(&self, block: &Object, max_cells: u32) -> Result<Footprint, Code> {
        let size = BoxSize::of(&block.props).filter(|size| size.volume() <= max_cells);
        let size = size.ok_or(Code::FootprintInvalid)?;
        let in_brane = self.transform_in(block.parent, block.transform);
        Ok(Footprint::new(size, &in_brane.ok_or(Code::OutOfRange)?))
    }

    /// How something stands in the brane that hangs in this group like this;
    /// `None` when that is outside of what can be said.
    pub fn transform_in(&self, mut parent: Handle, mut transform: Transform) -> Option<Transform> {
        while parent != Handle::ROOT {
            let group = self.get(parent)?;
            transform = transform.within(&group.transform).ok()?;
            parent = group.parent;
        }
        Some(transform)
    }
}

/// Whether a root with these properties makes cells exclusive.
pub(crate) fn is_exclusive(root: &Object) -> bool {
    root.props.get(Object::EXCLUSIVE_KEY) == Some(Value::bool(true))
}

fn names(patch: &avvy_model::PropsPatch, name: &str) -> bool {
    patch.entries().iter().any(|(key, _)| key.as_str() == name)
}
