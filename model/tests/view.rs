//! Views show at least what is near: the coarse shape of the cells hides
//! nothing of the sphere that was asked for.

#![allow(clippy::unwrap_used)]

use avvy_model::{Area, Grid};
use proptest::prelude::*;

/// A place that is so far from `from` at most, in about this direction.
fn within(from: [i32; 3], radius: u32, toward: [i8; 3], share: f64) -> [i32; 3] {
    let toward = toward.map(f64::from);
    let length = toward.iter().map(|part| part * part).sum::<f64>().sqrt().max(1.0);
    let to: [i32; 3] = std::array::from_fn(|i| {
        let shift = toward[i] / length * f64::from(radius) * share;
        (i64::from(from[i]) + shift as i64).clamp(i32::MIN.into(), i32::MAX.into()) as i32
    });
    let squares = (0..3).map(|i| i128::from(from[i].abs_diff(to[i])).pow(2));
    assert!(squares.sum::<i128>() <= i128::from(radius).pow(2));
    to
}

fn toward() -> impl Strategy<Value = [i8; 3]> {
    let along_an_axis = prop::sample::select(vec![[1, 0, 0], [0, 0, -1], [0, 1, 1], [-1, 1, 1]]);
    prop_oneof![along_an_axis, any::<[i8; 3]>()]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), 0.0..1.0]
}

/// Of all magnitudes, and multiples of the cell's edge.
fn radius(size: u32) -> impl Strategy<Value = u32> {
    let few = (0..9u32, 0..3u32)
        .prop_map(move |(n, off)| size.saturating_mul(n).saturating_add(off).saturating_sub(1));
    prop_oneof![few, (any::<u32>(), 0..32u32).prop_map(|(radius, bits)| radius >> bits)]
}

fn grid_and_radius() -> impl Strategy<Value = (u32, u32)> {
    let size = (Grid::MIN_SIZE..=Grid::MAX_SIZE, 0..17u32)
        .prop_map(|(size, bits)| (size >> bits).max(Grid::MIN_SIZE));
    size.prop_flat_map(|size| (Just(size), radius(size)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

    /// Also until the view that follows its walker has come: of half a cell in
    /// each direction it shows more.
    #[test]
    fn a_view_has_all_that_is_near_also_where_its_walker_is_before_the_next(
        (size, radius) in grid_and_radius(),
        center in any::<[i32; 3]>(),
        (walks, walked) in (toward(), share()),
        (looks, looked) in (toward(), share()),
        is_straight in any::<bool>(),
    ) {
        let grid = Grid::new(size).unwrap();
        let view = grid.view(Area { center, radius });
        let seen = within(center, radius, looks, looked);
        prop_assert!(view.contains(grid.cell(seen)), "{seen:?} from {center:?}");
        let walks = if is_straight { looks } else { walks };
        let walker = within(center, (size - 1) / 2, walks, walked);
        let seen = within(walker, radius, looks, looked);
        prop_assert!(view.contains(grid.cell(seen)), "{seen:?} from {walker:?}");
    }
}
