//! Which cells a block takes in a brane where cells are exclusive.
//!
//! The cells are cubes of 10 cm, [`Footprint::CELL`]. A block's box is
//! [w, h, d] cells, its property [`Object::CELLS_KEY`], one cell without it.
//! Its anchor is the cell of the block's position in the brane, and the box
//! goes on from there along the block's axes: x for w, y for h, z for d, as the
//! block's rotation in the brane turns them, rounded to the nearest of the 24
//! rotations that turn axes into axes. Scale does not matter.

use minicbor::Decoder;

use crate::{Object, Props, Rotation, Transform};

/// How many cells a block takes along each of its own axes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BoxSize([u8; 3]);

impl BoxSize {
    /// One cell.
    pub const ONE: Self = Self([1; 3]);
    /// The most along an axis.
    pub const MAX_EDGE: u8 = 64;

    /// A box of so many cells; `None` outside of 1 to [`Self::MAX_EDGE`].
    pub fn new(size: [u8; 3]) -> Option<Self> {
        size.iter().all(|edge| (1..=Self::MAX_EDGE).contains(edge)).then_some(Self(size))
    }

    /// The box of a block with these properties; `None` when they say
    /// something else than a box.
    pub fn of(props: &Props) -> Option<Self> {
        match props.get(Object::CELLS_KEY) {
            Some(value) => Self::read(value.as_bytes()),
            None => Some(Self::ONE),
        }
    }

    /// How many cells it holds.
    pub fn volume(self) -> u32 {
        self.0.map(u32::from).iter().product()
    }

    fn read(value: &[u8]) -> Option<Self> {
        let mut d = Decoder::new(value);
        if d.array().ok()?? != 3 {
            return None;
        }
        let mut edge = || d.u8().ok();
        Self::new([edge()?, edge()?, edge()?])
    }
}

/// The cells from one corner to another, both included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Footprint {
    /// The lowest along each axis of the brane.
    pub min: [i32; 3],
    /// The highest.
    pub max: [i32; 3],
}

impl Footprint {
    /// The edge of a cell in units of 0.1 mm.
    pub const CELL: i32 = 1_000;

    /// What a block with this box takes that stands like this in the brane.
    pub fn new(size: BoxSize, in_brane: &Transform) -> Self {
        let anchor = in_brane.position.map(|units| units.div_euclid(Self::CELL));
        let mut far = anchor;
        for (edge, (axis, sign)) in size.0.into_iter().zip(turned_axes(in_brane.rotation)) {
            far[axis] += sign * (i32::from(edge) - 1);
        }
        let corner = |pick: fn(i32, i32) -> i32| [0, 1, 2].map(|i| pick(anchor[i], far[i]));
        Self { min: corner(i32::min), max: corner(i32::max) }
    }

    /// How many cells it has.
    pub fn volume(self) -> usize {
        // Edges of a box, so small.
        [0, 1, 2].map(|i| (self.max[i] - self.min[i] + 1) as usize).iter().product()
    }

    /// Its cells, each once.
    pub fn cells(self) -> impl Iterator<Item = [i32; 3]> {
        let [x, y, z] = [0, 1, 2].map(|i| self.min[i]..=self.max[i]);
        x.flat_map(move |x| {
            let z = z.clone();
            y.clone().flat_map(move |y| z.clone().map(move |z| [x, y, z]))
        })
    }
}

/// Where each of a block's axes points, as an axis of the brane and a sign:
/// the rotation of the 24 whose axes are nearest to these, that is, with the
/// largest sum of the cosines between them. Of two that are as near, the first
/// in the order of the axis for x, its sign (+ first), then the same for y.
fn turned_axes(rotation: Rotation) -> [(usize, i32); 3] {
    let columns = rotation.axes();
    let mut best = ([(0, 1), (1, 1), (2, 1)], f64::NEG_INFINITY);
    for x in 0..3 {
        for x_sign in [1, -1] {
            for y in (0..3).filter(|y| *y != x) {
                for y_sign in [1, -1] {
                    let z = 3 - x - y;
                    // Right-handed: z is x cross y.
                    let is_even = (y + 3 - x) % 3 == 1;
                    let z_sign = if is_even { x_sign * y_sign } else { -x_sign * y_sign };
                    let axes = [(x, x_sign), (y, y_sign), (z, z_sign)];
                    let cosine = |(column, (axis, sign)): (&[f64; 3], (usize, i32))| {
                        column[axis] * f64::from(sign)
                    };
                    let nearness = columns.iter().zip(axes).map(cosine).sum();
                    if nearness > best.1 {
                        best = (axes, nearness);
                    }
                }
            }
        }
    }
    best.0
}

impl Object {
    /// The root's property that makes cells exclusive when it is `true`.
    pub const EXCLUSIVE_KEY: &str = "exclusive_cells";
    /// A block's property that says how many cells it takes: [w, h, d].
    pub const CELLS_KEY: &str = "cells";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: [i32; 3], quaternion: [f64; 4]) -> Transform {
        let rotation = Rotation::from_quaternion(quaternion).unwrap();
        Transform::new(position, rotation, [1.0; 3]).unwrap()
    }

    fn taken(size: [u8; 3], position: [i32; 3], quaternion: [f64; 4]) -> [[i32; 3]; 2] {
        let size = BoxSize::new(size).unwrap();
        let footprint = Footprint::new(size, &at(position, quaternion));
        let cells: Vec<_> = footprint.cells().collect();
        assert_eq!(cells.len() as u32, size.volume());
        [footprint.min, footprint.max]
    }

    const HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;

    #[test]
    fn a_box_goes_on_from_the_cell_of_its_position() {
        let unturned = [0.0, 0.0, 0.0, 1.0];
        assert_eq!(taken([1, 1, 1], [0; 3], unturned), [[0; 3]; 2]);
        assert_eq!(taken([1, 1, 1], [-1, 999, 1_000], unturned), [[-1, 0, 1]; 2]);
        assert_eq!(taken([2, 3, 4], [0; 3], unturned), [[0; 3], [1, 2, 3]]);
    }

    #[test]
    fn it_turns_with_the_block() {
        // A quarter about y turns x to -z and z to x.
        let quarter = [0.0, HALF, 0.0, HALF];
        assert_eq!(taken([3, 1, 2], [0; 3], quarter), [[0, 0, -2], [1, 0, 0]]);
        // Half a turn about z turns x to -x and y to -y.
        assert_eq!(taken([3, 2, 1], [0; 3], [0.0, 0.0, 1.0, 0.0]), [[-2, -1, 0], [0; 3]]);
        // A third about the diagonal turns x to y, y to z, z to x.
        assert_eq!(taken([2, 3, 4], [0; 3], [0.5; 4]), [[0; 3], [3, 1, 2]]);
    }

    #[test]
    fn a_rotation_is_rounded_to_the_nearest() {
        let about_y = |degrees: f64| {
            let half = degrees.to_radians() / 2.0;
            [0.0, half.sin(), 0.0, half.cos()]
        };
        assert_eq!(taken([3, 1, 1], [0; 3], about_y(44.0)), [[0; 3], [2, 0, 0]]);
        assert_eq!(taken([3, 1, 1], [0; 3], about_y(46.0)), [[0, 0, -2], [0; 3]]);
        assert_eq!(taken([3, 1, 1], [0; 3], about_y(134.0)), [[0, 0, -2], [0; 3]]);
        assert_eq!(taken([3, 1, 1], [0; 3], about_y(136.0)), [[-2, 0, 0], [0; 3]]);
    }

    #[test]
    fn there_are_24_rotations_and_each_is_found_by_itself() {
        let mut found = std::collections::BTreeSet::new();
        let steps = [-1.0, -HALF, -0.5, 0.0, 0.5, HALF, 1.0];
        let of = |n: usize| [1, 7, 49, 343].map(|digit| steps[n / digit % 7]);
        for q in (0..7_usize.pow(4)).map(of) {
            let Ok(rotation) = Rotation::from_quaternion(q) else { continue };
            let is_one = |column: &[f64; 3]| column.iter().any(|c| c.abs() > 0.999);
            if rotation.axes().iter().all(is_one) {
                let axes = turned_axes(rotation);
                for (column, (axis, sign)) in rotation.axes().iter().zip(axes) {
                    assert!(column[axis] * f64::from(sign) > 0.999, "{q:?}");
                }
                found.insert(axes);
            }
        }
        assert_eq!(found.len(), 24);
    }
}
