//! Transforms keep what their documentation promises, and survive any bytes.

#![allow(clippy::unwrap_used)]

use avvy_model::{InvalidTransform, MovePatch, POSITION_UNIT_M, Parts, Rotation, Transform};
use proptest::prelude::*;

const MAX_ANGLE_DEG: f64 = 0.01;
const MAX_POSITION_M: f64 = 0.05e-3;

fn unit(q: [f64; 4]) -> [f64; 4] {
    let length = q.iter().map(|x| x * x).sum::<f64>().sqrt();
    q.map(|x| x / length)
}

/// Degrees between two rotations.
fn angle(a: [f64; 4], b: [f64; 4]) -> f64 {
    let (a, b) = (unit(a), unit(b));
    let dot: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    let apart: f64 = a.iter().zip(b).map(|(x, y)| (x - y * dot.signum()).powi(2)).sum();
    // Of the chord: acos loses all digits near zero.
    4.0 * (apart.sqrt() / 2.0).asin().to_degrees()
}

fn quaternion() -> impl Strategy<Value = [f64; 4]> {
    let part = prop_oneof![4 => -1.0..1.0f64, 1 => Just(0.0), 1 => Just(0.5), 1 => Just(-0.5)];
    proptest::array::uniform4(part)
        .prop_filter("has a direction", |q| q.iter().map(|x| x * x).sum::<f64>() > 1e-4)
}

fn factor() -> impl Strategy<Value = f64> {
    (-4.0..4.0f64, any::<bool>())
        .prop_map(|(e, minus)| 10f64.powf(e) * if minus { -1.0 } else { 1.0 })
}

fn metres(range: f64) -> impl Strategy<Value = [f64; 3]> {
    proptest::array::uniform3(-range..range)
}

fn multiply(a: &[f64; 16], b: &[f64; 16]) -> [f64; 16] {
    std::array::from_fn(|i| (0..4).map(|k| a[i / 4 * 4 + k] * b[k * 4 + i % 4]).sum())
}

#[test]
fn identity_is_exact() {
    let identity = Transform::IDENTITY;
    assert_eq!(identity, Transform::default());
    assert_eq!(identity.rotation.to_quaternion(), [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(Rotation::from_quaternion([0.0, 0.0, 0.0, 1.0]), Ok(Rotation::IDENTITY));
    assert_eq!(Rotation::from_quaternion([0.0, 0.0, 0.0, -3.0]), Ok(Rotation::IDENTITY));
    assert_eq!(identity.scale(), [1.0; 3]);
    assert_eq!(identity.position_m(), [0.0; 3]);
    #[rustfmt::skip]
    let matrix = [
        1.0, 0.0, 0.0, 0.0,
        0.0, 1.0, 0.0, 0.0,
        0.0, 0.0, 1.0, 0.0,
        0.0, 0.0, 0.0, 1.0,
    ];
    assert_eq!(identity.to_matrix(), matrix);
    assert_eq!(Transform::from_matrix(&matrix), Ok(identity));
    assert_eq!(identity.within(&identity), Ok(identity));
}

#[test]
fn quarter_turns_stay_within_bounds() {
    let half = std::f64::consts::FRAC_1_SQRT_2;
    for axis in 0..3 {
        for sign in [1.0, -1.0] {
            let mut q = [0.0, 0.0, 0.0, half];
            q[axis] = half * sign;
            let rotation = Rotation::from_quaternion(q).unwrap();
            assert!(angle(q, rotation.to_quaternion()) <= MAX_ANGLE_DEG);
        }
    }
    // Where every component is the largest.
    for signs in 0..16 {
        let q = [0, 1, 2, 3].map(|i| if signs >> i & 1 == 0 { 0.5 } else { -0.5 });
        let rotation = Rotation::from_quaternion(q).unwrap();
        assert!(angle(q, rotation.to_quaternion()) <= MAX_ANGLE_DEG);
    }
}

#[test]
fn what_has_no_direction_or_is_out_of_range_is_refused() {
    for q in [[0.0; 4], [1e-10, 0.0, 0.0, 0.0], [f64::NAN, 0.0, 0.0, 1.0], [f64::INFINITY; 4]] {
        assert_eq!(Rotation::from_quaternion(q), Err(InvalidTransform));
    }
    let w = [0.0, 0.0, 0.0, 1.0];
    for x in [214_748.365, -214_748.366, f64::NAN, f64::INFINITY, f64::MAX] {
        assert_eq!(Transform::from_parts([x, 0.0, 0.0], w, [1.0; 3]), Err(InvalidTransform));
    }
    for x in [214_748.364_7, -214_748.364_8] {
        assert!(Transform::from_parts([x, 0.0, 0.0], w, [1.0; 3]).is_ok());
    }
    for s in [0.0, -0.0, 0.9e-4, 1.1e4, -1.1e4, f64::NAN, f64::INFINITY, 1e300] {
        assert_eq!(Transform::from_parts([0.0; 3], w, [1.0, s, 1.0]), Err(InvalidTransform));
    }
    for s in [1e-4, -1e-4, 1e4, -1e4] {
        assert!(Transform::from_parts([0.0; 3], w, [1.0, s, 1.0]).is_ok());
    }
}

#[test]
fn a_matrix_must_be_affine_and_upright() {
    let mut matrix = Transform::IDENTITY.to_matrix();
    matrix[12] = 0.1;
    assert_eq!(Transform::from_matrix(&matrix), Err(InvalidTransform));
    for (at, value) in [(0, 0.0), (0, f64::NAN), (3, f64::INFINITY), (5, 2e4), (3, 1e9), (10, 1e-5)]
    {
        let mut matrix = Transform::IDENTITY.to_matrix();
        matrix[at] = value;
        assert_eq!(Transform::from_matrix(&matrix), Err(InvalidTransform), "{at} {value}");
    }
    // Flat: two axes the same.
    let mut flat = Transform::IDENTITY.to_matrix();
    (flat[0], flat[1]) = (0.0, 0.0);
    assert_eq!(Transform::from_matrix(&flat), Err(InvalidTransform));
}

#[test]
fn a_child_in_an_uneven_turned_parent_drops_the_shear_and_keeps_its_place() {
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let parent =
        Transform::from_parts([1.0, 2.0, 3.0], [0.0, 0.0, half, half], [2.0, 1.0, 1.0]).unwrap();
    let turned = [0.0, 0.0, (22.5f64).to_radians().sin(), (22.5f64).to_radians().cos()];
    let child = Transform::from_parts([1.0, 1.0, 0.0], turned, [1.0; 3]).unwrap();
    let world = child.within(&parent).unwrap();
    // (1, 1, 0) by (2, 1, 1), turned by 90 degrees about z: (-1, 2, 0).
    for (is, should) in world.position_m().into_iter().zip([0.0, 4.0, 3.0]) {
        assert!((is - should).abs() < 1e-3, "{is} {should}");
    }
    assert_eq!(world.scale(), [2.0, 1.0, 1.0]);
    let both = [0.0, 0.0, (67.5f64).to_radians().sin(), (67.5f64).to_radians().cos()];
    assert!(angle(both, world.rotation.to_quaternion()) < 3.0 * MAX_ANGLE_DEG);
}

#[test]
fn a_child_too_far_out_or_too_large_has_no_place_outside() {
    let w = [0.0, 0.0, 0.0, 1.0];
    let far = Transform::from_parts([200_000.0, 0.0, 0.0], w, [1.0; 3]).unwrap();
    assert_eq!(far.within(&far), Err(InvalidTransform));
    let large = Transform::from_parts([0.0; 3], w, [200.0; 3]).unwrap();
    assert_eq!(large.within(&large), Err(InvalidTransform));
}

#[test]
fn parts_are_three_bits_of_which_one_is_set() {
    assert_eq!(Parts::from_bits(0), None);
    for bits in 1..8 {
        let parts = Parts::from_bits(bits).unwrap();
        assert_eq!(parts.bits(), bits);
        let len = [(Parts::POSITION, 12), (Parts::ROTATION, 6), (Parts::SCALE, 12)]
            .iter()
            .filter_map(|(part, len)| parts.has(*part).then_some(*len))
            .sum::<usize>();
        assert_eq!(parts.packed_len(), len);
        assert!(Parts::ALL.has(parts));
        assert_eq!(parts.with(Parts::ALL), Parts::ALL);
    }
    assert!((8..=255).all(|bits| Parts::from_bits(bits).is_none()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quantising_errs_no_more_than_stated(
        position in metres(214_000.0), q in quaternion(),
        scale in proptest::array::uniform3(factor()), length in 1e-3..1e3f64,
    ) {
        let transform = Transform::from_parts(position, q.map(|x| x * length), scale).unwrap();
        for (is, should) in transform.position_m().into_iter().zip(position) {
            prop_assert!((is - should).abs() <= MAX_POSITION_M + 1e-9);
        }
        prop_assert!(angle(q, transform.rotation.to_quaternion()) <= MAX_ANGLE_DEG);
        for (is, should) in transform.scale().into_iter().zip(scale) {
            prop_assert!((f64::from(is) - should).abs() <= 6e-8 * should.abs());
        }
    }

    #[test]
    fn packed_forms_come_back(
        position in any::<[i32; 3]>(), q in quaternion(), scale in proptest::array::uniform3(factor()),
        bits in 1..8u8, from in any::<[i32; 3]>(), rest in any::<[u8; 3]>(),
    ) {
        let rotation = Rotation::from_quaternion(q).unwrap();
        prop_assert_eq!(Rotation::from_bytes(rotation.to_bytes()), Ok(rotation));
        let to = Transform::new(position, rotation, scale.map(|s| s as f32)).unwrap();
        prop_assert_eq!(Transform::from_packed(&to.to_packed()), Ok(to));

        let parts = Parts::from_bits(bits).unwrap();
        let patch = MovePatch::new(parts, to);
        let mut out = Vec::new();
        patch.write(&mut out);
        prop_assert_eq!(out.len(), parts.packed_len());
        out.extend_from_slice(&rest);
        let (read, left) = MovePatch::read(parts, &out).unwrap().unwrap();
        prop_assert_eq!(left, &rest);
        prop_assert_eq!(read.parts(), parts);
        let from = Transform::new(from, Rotation::IDENTITY, [2.0; 3]).unwrap();
        let moved = read.apply(&from);
        prop_assert_eq!(moved, patch.apply(&from));
        prop_assert_eq!(moved.position, if bits & 1 != 0 { position } else { from.position });
        prop_assert_eq!(moved.rotation, if bits & 2 != 0 { rotation } else { from.rotation });
        prop_assert_eq!(moved.scale(), if bits & 4 != 0 { to.scale() } else { from.scale() });
        prop_assert!(MovePatch::read(parts, &out[..parts.packed_len() - 1]).is_none());
    }

    #[test]
    fn any_bytes_are_a_transform_or_an_error(bytes in any::<[u8; 30]>(), rotation in any::<[u8; 6]>()) {
        if let Ok(transform) = Transform::from_packed(&bytes) {
            prop_assert_eq!(transform.to_packed(), bytes);
            prop_assert!(transform.to_matrix().iter().all(|x| x.is_finite()));
            let _ = transform.within(&transform);
        }
        if let Ok(rotation) = Rotation::from_bytes(rotation) {
            let q = rotation.to_quaternion();
            let length = q.iter().map(|x| x * x).sum::<f64>();
            prop_assert!((length - 1.0).abs() < 1e-9, "{}", length);
        }
        for bits in 1..8 {
            let _ = MovePatch::read(Parts::from_bits(bits).unwrap(), &bytes);
        }
    }

    #[test]
    fn any_numbers_are_a_transform_or_an_error(m in any::<[f64; 12]>(), q in any::<[f64; 4]>()) {
        let mut matrix = [0.0; 16];
        matrix[..12].copy_from_slice(&m);
        matrix[15] = 1.0;
        let _ = Transform::from_matrix(&matrix);
        let _ = Transform::from_parts([m[0], m[1], m[2]], q, [m[3], m[4], m[5]]);
    }

    #[test]
    fn a_matrix_comes_back(
        position in any::<[i32; 3]>(), q in quaternion(), scale in proptest::array::uniform3(factor()),
    ) {
        let rotation = Rotation::from_quaternion(q).unwrap();
        let transform = Transform::new(position, rotation, scale.map(|s| s as f32)).unwrap();
        let matrix = transform.to_matrix();
        let back = Transform::from_matrix(&matrix).unwrap();
        prop_assert_eq!(back.position, position);
        // Signs may be spread otherwise; what is seen is the matrix.
        let other = back.to_matrix();
        for (column, factor) in scale.iter().enumerate() {
            let size = factor.abs();
            for row in 0..3 {
                let at = row * 4 + column;
                let apart = (matrix[at] - other[at]).abs();
                prop_assert!(apart <= size * 2.0 * MAX_ANGLE_DEG.to_radians(), "{} {}", at, apart);
            }
        }
        if scale.iter().all(|s| *s > 0.0) {
            prop_assert!(angle(rotation.to_quaternion(), back.rotation.to_quaternion()) <= MAX_ANGLE_DEG);
        }
    }

    /// Where no shear arises, a child stays where it is in the world.
    #[test]
    fn within_is_the_product_of_the_matrices(
        at in metres(1_000.0), turn in quaternion(), size in 0.01..100.0f64,
        own in metres(1_000.0), own_turn in quaternion(), own_size in proptest::array::uniform3(0.1..10.0f64),
    ) {
        let parent = Transform::from_parts(at, turn, [size; 3]).unwrap();
        let child = Transform::from_parts(own, own_turn, own_size).unwrap();
        let world = child.within(&parent).unwrap();
        let product = multiply(&parent.to_matrix(), &child.to_matrix());
        let is = world.to_matrix();
        for row in 0..3 {
            let apart = (product[row * 4 + 3] - is[row * 4 + 3]).abs();
            prop_assert!(apart <= MAX_POSITION_M + 1e-9, "{}", apart);
            for column in 0..3 {
                let apart = (product[row * 4 + column] - is[row * 4 + column]).abs();
                let allowed = size * own_size[column] * MAX_ANGLE_DEG.to_radians() * 1.01;
                prop_assert!(apart <= allowed, "{} {}", apart, allowed);
            }
        }
        prop_assert_eq!(child.within(&Transform::IDENTITY).unwrap().position, child.position);
    }

    #[test]
    fn units_of_position_are_exact(position in any::<[i32; 3]>()) {
        let transform = Transform::new(position, Rotation::IDENTITY, [1.0; 3]).unwrap();
        let again = Transform::from_parts(transform.position_m(), [0.0, 0.0, 0.0, 1.0], [1.0; 3]);
        prop_assert_eq!(again.unwrap().position, position);
        prop_assert!((transform.position_m()[0] - f64::from(position[0]) * POSITION_UNIT_M).abs() < 1e-9);
    }
}
