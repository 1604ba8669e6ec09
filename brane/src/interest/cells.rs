//! The objects under the root, listed by home.

use avvy_model::{Cell, Grid, Handle, Home, Object, View};
use rustc_hash::FxHashMap;

use crate::side::{NONE, Side};

/// The heads of the lists. The links are those that other objects have among
/// their siblings, so a home costs an object nothing.
pub(crate) struct Cells {
    grid: Grid,
    layer: u32,
    /// Only cells with something in them.
    heads: FxHashMap<Cell, u32>,
}

impl Cells {
    pub(crate) fn new(grid: Grid) -> Self {
        Self { grid, layer: NONE, heads: FxHashMap::default() }
    }

    pub(crate) fn grid(&self) -> Grid {
        self.grid
    }

    pub(crate) fn home(&self, object: &Object) -> Home {
        self.grid.home(object)
    }

    pub(crate) fn add(&mut self, side: &mut Side, handle: Handle, home: Home) {
        match home {
            Home::Layer => side.push(&mut self.layer, handle),
            Home::Cell(cell) => side.push(self.heads.entry(cell).or_insert(NONE), handle),
        }
    }

    /// Takes out an object that is at home there.
    pub(crate) fn remove(&mut self, side: &mut Side, handle: Handle, home: Home) {
        match home {
            Home::Layer => side.pull(&mut self.layer, handle),
            Home::Cell(cell) => {
                let Some(head) = self.heads.get_mut(&cell) else { return };
                side.pull(head, handle);
                if *head == NONE {
                    self.heads.remove(&cell);
                }
            }
        }
    }

    /// All objects under the root, in no particular order.
    pub(crate) fn iter<'a>(&'a self, side: &'a Side) -> impl Iterator<Item = Handle> + 'a {
        let heads = std::iter::once(self.layer).chain(self.heads.values().copied());
        heads.flat_map(|head| side.list(head))
    }

    pub(crate) fn layer<'a>(&'a self, side: &'a Side) -> impl Iterator<Item = Handle> + 'a {
        side.list(self.layer)
    }

    pub(crate) fn in_cell<'a>(
        &'a self,
        side: &'a Side,
        cell: Cell,
    ) -> impl Iterator<Item = Handle> + 'a {
        side.list(self.heads.get(&cell).copied().unwrap_or(NONE))
    }

    /// How many cells are looked at to find those of a view.
    pub(crate) fn looks(&self, view: &View) -> u64 {
        volume(view).min(self.heads.len() as u64)
    }

    /// The cells of a view that hold something, the nearest first.
    pub(crate) fn seen(&self, view: &View, mut filter: impl FnMut(Cell) -> bool) -> Vec<Cell> {
        let mut cells = Vec::new();
        let mut take = |cell: Cell| {
            if view.contains(cell) && filter(cell) {
                cells.push(cell);
            }
        };
        let [low, high] = view.bounds();
        if volume(view) < self.heads.len() as u64 {
            for x in low.0[0]..=high.0[0] {
                for y in low.0[1]..=high.0[1] {
                    for z in low.0[2]..=high.0[2] {
                        let cell = Cell([x, y, z]);
                        if self.heads.contains_key(&cell) {
                            take(cell);
                        }
                    }
                }
            }
        } else {
            self.heads.keys().copied().for_each(take);
        }
        cells.sort_unstable_by_key(|cell| (view.distance(*cell), *cell));
        cells
    }
}

/// How many cells there are in the cube around a view.
fn volume(view: &View) -> u64 {
    let [low, high] = view.bounds();
    let edge = |i: usize| u64::from(high.0[i].abs_diff(low.0[i])) + 1;
    edge(0).saturating_mul(edge(1)).saturating_mul(edge(2))
}
