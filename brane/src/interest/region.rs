//! The objects that a view shows.

use avvy_model::{Grid, Handle, Home, Object, View};

use crate::{Frozen, World};

/// The part of a world that one view shows and another one does not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Region {
    /// What is seen.
    pub view: View,
    /// What was seen before and is known.
    pub known: Option<View>,
}

impl Region {
    /// Whether an object with this home is in it.
    pub fn has(&self, home: Home) -> bool {
        self.view.sees(home) && self.known.is_none_or(|known| !known.sees(home))
    }

    /// The view before, if it can have shown what this one does not.
    fn lost_from(&self) -> Option<View> {
        let View { center, reach } = self.view;
        self.known.filter(|known| known.center != center || known.reach > reach)
    }
}

impl World {
    /// The grid that homes go by.
    pub fn grid(&self) -> Grid {
        self.cells.grid()
    }

    /// Goes by the grid that the root asks for. Looks at every object under
    /// the root if that is another one, so it is for a world that nobody
    /// waits for yet.
    pub fn adopt_grid(&mut self) {
        let grid = self.get(Handle::ROOT).map(Grid::of_root).unwrap_or_default();
        if grid != self.grid() {
            self.rebuild_cells(grid);
        }
    }

    /// The home of an object that is in the world; the root's is the layer.
    pub fn home(&self, handle: Handle) -> Option<Home> {
        home_of(self.grid(), handle, |handle| self.get(handle))
    }

    /// The objects of a region: the root and the layer first, then what is
    /// near, each parent before its children. `None` when there are more than
    /// `most`.
    pub fn region(&self, region: &Region, most: usize) -> Option<Vec<Handle>> {
        let mut handles = Vec::new();
        if region.known.is_none() {
            handles.push(Handle::ROOT);
            let layer: Vec<_> = self.cells.layer(&self.side).collect();
            self.gather(layer, most, &mut handles)?;
        }
        for cell in self.cells.seen(&region.view, |cell| region.has(Home::Cell(cell))) {
            let tops: Vec<_> = self.cells.in_cell(&self.side, cell).collect();
            self.gather(tops, most, &mut handles)?;
        }
        Some(handles)
    }

    /// How many cells are looked at for [`Self::region`] and [`Self::leaving`].
    pub fn looks(&self, region: &Region) -> u64 {
        let lost = region.lost_from().map_or(0, |known| self.cells.looks(&known));
        self.cells.looks(&region.view) + lost
    }

    /// The objects under the root that `known` shows and `view` does not.
    pub fn leaving(&self, region: &Region) -> Vec<Handle> {
        let Some(known) = region.lost_from() else { return Vec::new() };
        let cells = self.cells.seen(&known, |cell| !region.view.contains(cell));
        cells.into_iter().flat_map(|cell| self.cells.in_cell(&self.side, cell)).collect()
    }

    /// An object and all under it, parents first; `None` when there are more
    /// than `most`.
    pub(crate) fn subtree(&self, top: Handle, most: usize) -> Option<Vec<Handle>> {
        let mut handles = Vec::new();
        self.gather(vec![top], most, &mut handles)?;
        Some(handles)
    }

    fn gather(&self, mut open: Vec<Handle>, most: usize, into: &mut Vec<Handle>) -> Option<()> {
        while let Some(handle) = open.pop() {
            into.push(handle);
            let room = most.saturating_add(1).saturating_sub(into.len() + open.len());
            open.extend(self.side.children(handle).take(room));
            if into.len() + open.len() > most {
                return None;
            }
        }
        Some(())
    }
}

impl Frozen {
    /// Whether an object is in a region.
    pub fn is_in(&self, grid: Grid, handle: Handle, region: &Region) -> bool {
        home_of(grid, handle, |handle| self.get(handle)).is_some_and(|home| region.has(home))
    }
}

/// The home of the object under the root that `handle` is in.
fn home_of<'a>(
    grid: Grid,
    handle: Handle,
    get: impl Fn(Handle) -> Option<&'a Object>,
) -> Option<Home> {
    let mut object = get(handle)?;
    if handle == Handle::ROOT {
        return Some(Home::Layer);
    }
    while object.parent != Handle::ROOT {
        object = get(object.parent)?;
    }
    Some(grid.home(object))
}
