//! What a copy of a part of the world has to hold, from the words of the
//! protocol alone.

use std::collections::BTreeMap;
use std::rc::Rc;

use avvy_client::replica::Replica;
use avvy_model::{Area, Cell, Epoch, Grid, Handle, Object, Position, Scope, Seq, View};

use super::{NaiveWorld, Reference};

/// All objects of a world at one position.
pub(crate) type Objects = BTreeMap<Handle, Rc<Object>>;

/// The edge of a cell where the root does not say, in units of 0.1 mm.
const DEFAULT_SIZE: u32 = 160_000;
const UNITS_PER_M: u32 = 10_000;

/// Where an object is for a view.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spot {
    /// In a cell of the view, or the root.
    Near,
    /// In the layer.
    Layer,
    /// Elsewhere.
    Away,
}

impl Reference {
    /// Whether the root asks for a size of cells.
    pub(crate) fn asks_for_cells(&self) -> bool {
        let root = self.world.objects().get(&Handle::ROOT);
        root.is_some_and(|root| root.props.get(Grid::SIZE_KEY).is_some())
    }

    /// Whether the cells will be others when the brane is opened again, as
    /// they have never been.
    pub(crate) fn awaits_cells(&self) -> bool {
        self.cell_size(self.epoch()) == DEFAULT_SIZE
            && size_of(self.world.objects()) != DEFAULT_SIZE
    }

    /// The cells of the opening that has just begun.
    pub(super) fn set_cells(&mut self, epoch: Epoch) {
        self.cell_sizes.insert(epoch, size_of(self.world.objects()));
    }

    /// The view of an area in this epoch.
    pub(crate) fn view(&self, epoch: Epoch, area: Area) -> View {
        let cell_size = self.cell_size(epoch);
        let (size, radius) = (u64::from(cell_size), u64::from(area.radius));
        let reach = (2 * radius + size).div_ceil(2 * size).max(1);
        View { center: Cell(cell(cell_size, area.center)), reach: reach as u32 }
    }

    /// Whether a scope is of the cells that the brane has in this epoch.
    pub(crate) fn has_cells_of(&self, epoch: Epoch, scope: &Scope) -> bool {
        scope.grid.size() == self.cell_size(epoch)
    }

    fn cell_size(&self, epoch: Epoch) -> u32 {
        self.cell_sizes.get(&epoch).copied().unwrap_or(DEFAULT_SIZE)
    }

    /// Whether the copy of a part is the world at its position as far as its
    /// scope goes: no object more, none less. Gives how many of the layer are
    /// in it.
    pub(crate) fn judge_part(&self, replica: &Replica, scope: &Scope) -> Result<u64, String> {
        let objects = self.objects_at(replica.position()).ok_or("of a world that never was")?;
        let (mut seen, mut in_layer) = (0, 0);
        for (handle, object) in &*objects {
            let spot = spot(&objects, *handle, scope);
            let (expected, found) =
                (Some(&**object).filter(|_| spot != Spot::Away), replica.get(*handle));
            if found != expected {
                return Err(format!("{handle}: {found:?}, not {expected:?}"));
            }
            seen += usize::from(expected.is_some());
            in_layer += u64::from(spot == Spot::Layer);
        }
        if replica.len() != seen {
            let is_more = |handle: &Handle| !objects.contains_key(handle);
            let more: Vec<_> = replica.handles().into_iter().filter(is_more).collect();
            return Err(format!("there is no {more:?}"));
        }
        Ok(in_layer)
    }

    /// The world at a position, if it ever existed.
    fn objects_at(&self, at: Position) -> Option<Rc<Objects>> {
        if at.seq == Seq(0) {
            return Some(Rc::new(NaiveWorld::new(self.brane, self.owner).objects().clone()));
        }
        if self.is_on_line(at.epoch, at.seq) {
            return self.line.get(at.seq.0 as usize - 1).map(|entry| Rc::clone(&entry.objects));
        }
        self.lost_on(at).map(|lost| Rc::clone(&lost.objects))
    }
}

/// The cells that a world's root asks for.
fn size_of(objects: &Objects) -> u32 {
    let asked = objects.get(&Handle::ROOT).and_then(|root| metres(root, "cell_size"));
    let size = asked.filter(|metres| (1..=10_000).contains(metres));
    size.map_or(DEFAULT_SIZE, |metres| metres * UNITS_PER_M)
}

/// A property that is a number of metres; whole ones are all that people say
/// here. RFC 8949, 3.1: an unsigned integer.
fn metres(object: &Object, key: &str) -> Option<u32> {
    match *object.props.get(key)?.as_bytes() {
        [small @ 0..=23] => Some(small.into()),
        [24, small] => Some(small.into()),
        [25, high, low] => Some(u16::from_be_bytes([high, low]).into()),
        _ => None,
    }
}

fn cell(size: u32, position: [i32; 3]) -> [i32; 3] {
    position.map(|p| (f64::from(p) / f64::from(size)).floor() as i32)
}

/// Where an object is: where its ancestor under the root is.
fn spot(objects: &Objects, handle: Handle, scope: &Scope) -> Spot {
    if handle == Handle::ROOT {
        return Spot::Near;
    }
    let mut top = &objects[&handle];
    while top.parent != Handle::ROOT {
        top = &objects[&top.parent];
    }
    let size = scope.grid.size();
    let extent = metres(top, "extent").map(|metres| u64::from(metres) * u64::from(UNITS_PER_M));
    if extent.is_some_and(|extent| 2 * extent > u64::from(size)) {
        return Spot::Layer;
    }
    let View { center: Cell(middle), reach } = scope.view;
    let at = cell(size, top.transform.position);
    let gaps = at.iter().zip(middle).map(|(a, x)| {
        let gap = ((i64::from(*a) - i64::from(x)).abs() - 1).max(0);
        i128::from(gap) * i128::from(gap)
    });
    let is_near = gaps.sum::<i128>() < i128::from(reach) * i128::from(reach);
    if is_near { Spot::Near } else { Spot::Away }
}
