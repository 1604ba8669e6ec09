//! Which part of a copy a view shows.

use std::collections::BTreeMap;

use avvy_model::{Cell, Grid, Handle, Home, Scope, StateHash};

use crate::replica::Replica;

impl Replica {
    /// Where an object is at home: whoever sees that home sees the object.
    /// `None` when it is not in the copy.
    pub fn home(&self, grid: Grid, handle: Handle) -> Option<Home> {
        if handle == Handle::ROOT {
            return self.get(handle).map(|_| Home::Layer);
        }
        let mut object = self.get(handle)?;
        while object.parent != Handle::ROOT {
            object = self.get(object.parent)?;
        }
        Some(grid.home(object))
    }

    /// The state hash of the objects that a scope shows. That of a whole copy,
    /// and the state hash of a copy of that scope, are the same at the same
    /// position.
    pub fn hash_within(&self, scope: &Scope) -> StateHash {
        let is_seen =
            |handle| self.home(scope.grid, handle).is_some_and(|home| scope.view.sees(home));
        let seen = self.handles().into_iter().filter(|handle| is_seen(*handle));
        StateHash::sum(seen.filter_map(|handle| Some((handle, self.get(handle)?))))
    }

    /// How many objects are at home in each cell; the layer is not counted.
    pub fn cells(&self, grid: Grid) -> BTreeMap<Cell, usize> {
        let mut cells = BTreeMap::new();
        for handle in self.handles() {
            if let Some(Home::Cell(cell)) = self.home(grid, handle) {
                *cells.entry(cell).or_default() += 1;
            }
        }
        cells
    }
}
