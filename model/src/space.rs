//! Where things are, coarsely: the grid of cells that interest goes by.
//!
//! A world is cut into cubes, its *cells*. An object's *home* is a cell, or
//! the *layer*, which is everywhere. A viewer of a part of the world has a
//! *view*: the cells around one in the middle. Views are coarse on purpose, so
//! that people who stand together have the same one and are sent the same
//! bytes.

use crate::{Object, POSITION_UNIT_M, PropKey, Props, Transform, Value, ValueLimits};

/// A cube of the grid, by its place along each axis.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Cell(pub [i32; 3]);

impl Cell {
    /// Whole cells that lie between two, along each axis.
    fn gaps(self, other: Self) -> [u64; 3] {
        std::array::from_fn(|i| u64::from(self.0[i].abs_diff(other.0[i])).saturating_sub(1))
    }
}

/// Where an object is seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Home {
    /// By everyone in the brane.
    Layer,
    /// By those whose view has this cell.
    Cell(Cell),
}

/// A sphere that somebody wants to see; in units of 0.1 mm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Area {
    /// Its centre.
    pub center: [i32; 3],
    /// Its radius.
    pub radius: u32,
}

impl Area {
    /// An area in metres.
    ///
    /// # Errors
    /// [`crate::InvalidTransform`] when the centre is farther out than an
    /// object can be, or the radius is not a number from 0 to 400 km.
    pub fn from_metres(center_m: [f64; 3], radius_m: f64) -> Result<Self, crate::InvalidTransform> {
        let at = Transform::from_parts(center_m, [0.0, 0.0, 0.0, 1.0], [1.0; 3])?;
        let radius = (radius_m / POSITION_UNIT_M).round();
        if !(0.0..=f64::from(u32::MAX)).contains(&radius) {
            return Err(crate::InvalidTransform);
        }
        Ok(Self { center: at.position, radius: radius as u32 })
    }

    /// The centre in metres.
    pub fn center_m(&self) -> [f64; 3] {
        self.center.map(|p| f64::from(p) * POSITION_UNIT_M)
    }

    /// The radius in metres.
    pub fn radius_m(&self) -> f64 {
        f64::from(self.radius) * POSITION_UNIT_M
    }
}

/// The cells of one brane: cubes of one size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Grid {
    size: u32,
}

/// 16 m.
impl Default for Grid {
    fn default() -> Self {
        Self { size: 160_000 }
    }
}

impl Grid {
    /// The root's property that sets the size of a brane's cells, in metres.
    pub const SIZE_KEY: &str = "cell_size";
    /// The property of an object under the root that says how far it and all
    /// that is in it reach from its origin, in metres.
    pub const EXTENT_KEY: &str = "extent";
    /// The edge of the smallest cell, 0.1 m, in units of 0.1 mm.
    pub const MIN_SIZE: u32 = 1_000;
    /// The edge of the largest cell, 10 km, in units of 0.1 mm.
    pub const MAX_SIZE: u32 = 100_000_000;

    /// Cells whose edge is so many times 0.1 mm; `None` outside of
    /// [`Self::MIN_SIZE`] to [`Self::MAX_SIZE`].
    pub const fn new(size: u32) -> Option<Self> {
        if size >= Self::MIN_SIZE && size <= Self::MAX_SIZE { Some(Self { size }) } else { None }
    }

    /// Cells whose edge is so many metres, to 0.1 mm; `None` when that is no
    /// number or outside of 0.1 m to 10 km.
    pub fn of_metres(edge: f64) -> Option<Self> {
        let units = (edge / POSITION_UNIT_M).round();
        let in_range = (0.0..=f64::from(Self::MAX_SIZE)).contains(&units);
        if in_range { Self::new(units as u32) } else { None }
    }

    /// The grid that a brane's root asks for with [`Self::SIZE_KEY`]; the
    /// default one without it, or when its value is not a size.
    pub fn of_root(root: &Object) -> Self {
        let size = root.props.get(Self::SIZE_KEY).and_then(|value| metres(&value));
        size.and_then(Self::of_metres).unwrap_or_default()
    }

    /// The properties of a root that asks for this grid: none for the default.
    pub fn root_props(self) -> Props {
        let limits = ValueLimits::NONE;
        let key = PropKey::new(Self::SIZE_KEY, &limits);
        let entries = key.into_iter().filter(|_| self != Self::default());
        let edge = Value::float(f64::from(self.size) * POSITION_UNIT_M);
        // One key is not there twice, and nothing is too large.
        Props::from_entries(entries.map(|key| (key, edge.clone())).collect(), &limits)
            .unwrap_or_default()
    }

    /// The edge of a cell in units of 0.1 mm.
    pub const fn size(self) -> u32 {
        self.size
    }

    /// The cell of a position in units of 0.1 mm. A cell holds its lower
    /// bounds and not its upper ones.
    pub fn cell(self, position: [i32; 3]) -> Cell {
        let size = i64::from(self.size);
        // The quotient is no farther from zero than the position.
        Cell(position.map(|p| i64::from(p).div_euclid(size) as i32))
    }

    /// The home of an object that hangs under the root; all that it holds is
    /// at home there, too.
    pub fn home(self, object: &Object) -> Home {
        self.home_with(self.cell(object.transform.position), &object.props)
    }

    /// The home of an object in this cell with these properties: the layer
    /// when they say that it reaches farther than half a cell.
    pub fn home_with(self, cell: Cell, props: &Props) -> Home {
        let extent = props.get(Self::EXTENT_KEY).and_then(|value| metres(&value));
        let is_oversized =
            extent.is_some_and(|extent| extent > f64::from(self.size) * POSITION_UNIT_M / 2.0);
        if is_oversized { Home::Layer } else { Home::Cell(cell) }
    }

    /// The view that shows all of an area, and objects that reach into it by
    /// up to half a cell.
    pub fn view(self, area: Area) -> View {
        let (size, radius) = (u64::from(self.size), u64::from(area.radius));
        let reach = (radius + size / 2).div_ceil(size).max(1);
        // 430 km are at most 4.3 million cells.
        View { center: self.cell(area.center), reach: reach as u32 }
    }
}

/// A property that is a number of metres.
fn metres(value: &Value) -> Option<f64> {
    let mut decoder = minicbor::Decoder::new(value.as_bytes());
    match decoder.datatype().ok()? {
        minicbor::data::Type::F16 => decoder.f16().ok().map(f64::from),
        minicbor::data::Type::F32 => decoder.f32().ok().map(f64::from),
        minicbor::data::Type::F64 => decoder.f64().ok(),
        _ => decoder.u64().ok().map(|metres| metres as f64),
    }
}

/// A view, with the grid that it is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scope {
    /// The brane's.
    pub grid: Grid,
    /// What is seen.
    pub view: View,
}

/// The cells that a viewer sees.
///
/// A cell belongs to it when its distance from the middle cell, counted in
/// whole cells that lie between the two along each axis, is less than `reach`:
/// `dx^2 + dy^2 + dz^2 < reach^2`. With reach 1 these are the middle cell and
/// its 26 neighbours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct View {
    /// The cell in the middle.
    pub center: Cell,
    /// From 1 on.
    pub reach: u32,
}

impl View {
    /// Whether it has this cell.
    pub fn contains(&self, cell: Cell) -> bool {
        let reach = u64::from(self.reach);
        let squares = self.center.gaps(cell).map(|gap| gap * gap);
        squares.iter().sum::<u64>() < reach * reach
    }

    /// Whether it shows what is at home there.
    pub fn sees(&self, home: Home) -> bool {
        match home {
            Home::Layer => true,
            Home::Cell(cell) => self.contains(cell),
        }
    }

    /// How far a cell is from the middle, for an order from near to far.
    pub fn distance(&self, cell: Cell) -> u64 {
        let steps = |i: usize| u64::from(self.center.0[i].abs_diff(cell.0[i]));
        (0..3).map(|i| steps(i) * steps(i)).sum()
    }

    /// The first view on the way to this one: what is near comes first.
    #[must_use]
    pub const fn first(&self) -> Self {
        Self { center: self.center, reach: 1 }
    }

    /// The next view on the way from `self` to `goal`: first the place is
    /// right, then more and more around it is seen.
    #[must_use]
    pub fn step(&self, goal: &Self) -> Self {
        if self.center == goal.center {
            let grown = self.reach.saturating_add(1 + self.reach / 2);
            return Self { center: goal.center, reach: grown.min(goal.reach) };
        }
        let is_near = self.contains(goal.center);
        let reach = if is_near { self.reach.min(goal.reach) } else { 1 };
        Self { center: goal.center, reach }
    }

    /// The lowest and the highest cell of the cube around the view.
    pub fn bounds(&self) -> [Cell; 2] {
        let reach = i64::from(self.reach);
        let at = |way: i64| {
            let corner =
                |n: i32| (i64::from(n) + way * reach).clamp(i32::MIN.into(), i32::MAX.into());
            Cell(self.center.0.map(|n| corner(n) as i32))
        };
        [at(-1), at(1)]
    }
}
