//! Position, rotation and scale, quantised so that every copy of a world
//! holds the same numbers.
//!
//! | part | stored as | unit | largest error | range |
//! |---|---|---|---|---|
//! | position | 3 x i32 | 0.1 mm ([`POSITION_UNIT_M`]) | 0.05 mm | +-214 km |
//! | rotation | 48 bits, smallest three | 1/16383 of 1/sqrt 2 | 0.01 degree | any |
//! | scale | 3 x f32 | factor | 6e-8 of the value | 1e-4 to 1e4, either sign |
//!
//! Rotation drops the largest component of the unit quaternion (x, y, z, w)
//! after making it positive, and keeps the other three in order, 15 bits each
//! ("smallest three").

use std::f64::consts::FRAC_1_SQRT_2;

/// Metres in one unit of position.
pub const POSITION_UNIT_M: f64 = 1e-4;

/// The rotation number that stands for zero; also the largest step from it.
const ROTATION_ZERO: u16 = 16_383;
/// The smallest and largest absolute value of a scale factor.
const SCALE_RANGE: std::ops::RangeInclusive<f32> = 1e-4..=1e4;

/// A number, quaternion or scale that cannot be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("transform outside its range")]
pub struct InvalidTransform;

/// A rotation in 48 bits, read as one little-endian number: from the lowest,
/// three components of 15 bits (value = (n - 16383) / 16383 / sqrt 2, n <=
/// 32766), then the index of the dropped one (0 = x .. 3 = w) in two bits,
/// then a zero bit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rotation([u8; 6]);

impl Rotation {
    /// No rotation.
    pub const IDENTITY: Self = Self::pack([ROTATION_ZERO; 3], 3);

    const fn pack(smallest: [u16; 3], dropped: u8) -> Self {
        let bits = smallest[0] as u64
            | (smallest[1] as u64) << 15
            | (smallest[2] as u64) << 30
            | (dropped as u64) << 45;
        let b = bits.to_le_bytes();
        Self([b[0], b[1], b[2], b[3], b[4], b[5]])
    }

    fn unpack(self) -> ([u16; 3], usize) {
        let b = self.0;
        let bits = u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], 0, 0]);
        let part = |shift: u32| ((bits >> shift) & 0x7fff) as u16;
        ([part(0), part(15), part(30)], ((bits >> 45) & 3) as usize)
    }

    /// Quantises a quaternion (x, y, z, w), which need not be of unit length.
    ///
    /// # Errors
    /// When it is not finite or too short to have a direction.
    pub fn from_quaternion(q: [f64; 4]) -> Result<Self, InvalidTransform> {
        let length = (q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]).sqrt();
        if !length.is_finite() || length < 1e-9 {
            return Err(InvalidTransform);
        }
        let mut dropped = 0;
        for i in 1..4 {
            if q[i].abs() > q[dropped].abs() {
                dropped = i;
            }
        }
        let scale = if q[dropped] < 0.0 { -1.0 } else { 1.0 } / length;
        let mut smallest = [0u16; 3];
        let others = (0..4).filter(|&i| i != dropped);
        for (slot, i) in smallest.iter_mut().zip(others) {
            let step = f64::from(ROTATION_ZERO);
            let unit = (q[i] * scale / FRAC_1_SQRT_2).clamp(-1.0, 1.0);
            *slot = ((unit * step).round() + step) as u16;
        }
        Ok(Self::pack(smallest, dropped as u8))
    }

    /// The unit quaternion (x, y, z, w).
    pub fn to_quaternion(self) -> [f64; 4] {
        let (smallest, dropped) = self.unpack();
        let mut q = [0.0; 4];
        let mut sum = 0.0;
        let others = (0..4).filter(|&i| i != dropped);
        for (n, i) in smallest.into_iter().zip(others) {
            let zero = f64::from(ROTATION_ZERO);
            q[i] = (f64::from(n) - zero) / zero * FRAC_1_SQRT_2;
            sum += q[i] * q[i];
        }
        q[dropped] = (1.0 - sum).max(0.0).sqrt();
        q
    }

    /// Where it turns the axes x, y and z to: unit vectors.
    pub fn axes(self) -> [[f64; 3]; 3] {
        let q = self.to_quaternion();
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(|axis| rotate(q, axis))
    }

    /// The packed form.
    pub const fn to_bytes(self) -> [u8; 6] {
        self.0
    }

    /// Reads the packed form.
    ///
    /// # Errors
    /// When a component is 32767, the high bit is set, or the three
    /// components together are longer than a unit.
    pub fn from_bytes(bytes: [u8; 6]) -> Result<Self, InvalidTransform> {
        let rotation = Self(bytes);
        let (smallest, _) = rotation.unpack();
        let zero = i64::from(ROTATION_ZERO);
        let sum: i64 = smallest.iter().map(|&n| (i64::from(n) - zero).pow(2)).sum();
        // The components are in units of 1/(zero * sqrt 2): a unit is 2 zero^2.
        if bytes[5] & 0x80 != 0 || smallest.contains(&0x7fff) || sum > 2 * zero * zero {
            return Err(InvalidTransform);
        }
        Ok(rotation)
    }
}

/// Which parts of a transform an edit sets. At least one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Parts(u8);

impl Parts {
    /// Position only.
    pub const POSITION: Self = Self(1);
    /// Rotation only.
    pub const ROTATION: Self = Self(2);
    /// Scale only.
    pub const SCALE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// The set with these bits (1 position, 2 rotation, 4 scale).
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits == 0 || bits > 7 { None } else { Some(Self(bits)) }
    }

    /// The bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all parts of `other` are in this.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Bytes of a packed [`MovePatch`] with these parts, without handle and bits.
    pub const fn packed_len(self) -> usize {
        let mut n = 0;
        if self.has(Self::POSITION) {
            n += 12;
        }
        if self.has(Self::ROTATION) {
            n += 6;
        }
        if self.has(Self::SCALE) {
            n += 12;
        }
        n
    }
}

/// Position, rotation and scale relative to the parent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Transform {
    /// In units of [`POSITION_UNIT_M`].
    pub position: [i32; 3],
    /// The orientation.
    pub rotation: Rotation,
    scale: [f32; 3],
}

impl Default for Transform {
    fn default() -> Self {
        Self::IDENTITY
    }
}

impl Transform {
    /// At the parent's origin, unturned, at its size.
    pub const IDENTITY: Self =
        Self { position: [0; 3], rotation: Rotation::IDENTITY, scale: [1.0; 3] };

    /// Bytes of the packed form: position 12, rotation 6, scale 12.
    pub const PACKED_LEN: usize = 30;

    /// Puts the parts together.
    ///
    /// # Errors
    /// When a scale factor is not within 1e-4 to 1e4, of either sign.
    pub fn new(
        position: [i32; 3],
        rotation: Rotation,
        scale: [f32; 3],
    ) -> Result<Self, InvalidTransform> {
        if scale.iter().any(|s| !SCALE_RANGE.contains(&s.abs())) {
            return Err(InvalidTransform);
        }
        Ok(Self { position, rotation, scale })
    }

    /// Quantises metres, a quaternion (x, y, z, w) and factors.
    ///
    /// # Errors
    /// When any of them is outside its range.
    pub fn from_parts(
        position_m: [f64; 3],
        quaternion: [f64; 4],
        scale: [f64; 3],
    ) -> Result<Self, InvalidTransform> {
        let position = quantise_position(position_m)?;
        let rotation = Rotation::from_quaternion(quaternion)?;
        Self::new(position, rotation, scale.map(|s| s as f32))
    }

    /// The scale factors.
    pub const fn scale(&self) -> [f32; 3] {
        self.scale
    }

    /// The position in metres.
    pub fn position_m(&self) -> [f64; 3] {
        self.position.map(|p| f64::from(p) * POSITION_UNIT_M)
    }

    /// Position, rotation, scale in little-endian, as in state hashes and on the wire.
    pub fn to_packed(&self) -> [u8; Self::PACKED_LEN] {
        let mut out = [0; Self::PACKED_LEN];
        for (i, p) in self.position.iter().enumerate() {
            out[i * 4..i * 4 + 4].copy_from_slice(&p.to_le_bytes());
        }
        out[12..18].copy_from_slice(&self.rotation.to_bytes());
        for (i, s) in self.scale.iter().enumerate() {
            out[18 + i * 4..22 + i * 4].copy_from_slice(&s.to_le_bytes());
        }
        out
    }

    /// Reads what [`Self::to_packed`] wrote.
    ///
    /// # Errors
    /// When the rotation or the scale is outside its range.
    pub fn from_packed(bytes: &[u8; Self::PACKED_LEN]) -> Result<Self, InvalidTransform> {
        unpack(bytes)
    }

    /// This transform, which is relative to `parent`, relative to `parent`'s parent.
    ///
    /// Where a turned child meets a parent of uneven scale, the shear that
    /// three factors cannot hold is dropped.
    ///
    /// # Errors
    /// When the result is outside the range.
    pub fn within(&self, parent: &Self) -> Result<Self, InvalidTransform> {
        let q = parent.rotation.to_quaternion();
        let own = self.position_m();
        let scale = parent.scale.map(f64::from);
        let turned = rotate(q, [own[0] * scale[0], own[1] * scale[1], own[2] * scale[2]]);
        let at = parent.position_m();
        Self::from_parts(
            [at[0] + turned[0], at[1] + turned[1], at[2] + turned[2]],
            multiply(q, self.rotation.to_quaternion()),
            [0, 1, 2].map(|i| scale[i] * f64::from(self.scale[i])),
        )
    }

    /// The 4 x 4 matrix, row-major, translation in the last column, in metres.
    pub fn to_matrix(&self) -> [f64; 16] {
        let q = self.rotation.to_quaternion();
        let mut m = [0.0; 16];
        for column in 0..3 {
            let mut axis = [0.0; 3];
            axis[column] = f64::from(self.scale[column]);
            let turned = rotate(q, axis);
            for row in 0..3 {
                m[row * 4 + column] = turned[row];
            }
        }
        for (row, p) in self.position_m().into_iter().enumerate() {
            m[row * 4 + 3] = p;
        }
        m[15] = 1.0;
        m
    }

    /// Decomposes a row-major 4 x 4 matrix; a mirror goes to the x factor,
    /// shear is dropped.
    ///
    /// # Errors
    /// When the last row is not (0, 0, 0, 1), a number is not finite, or a
    /// part is outside its range.
    pub fn from_matrix(m: &[f64; 16]) -> Result<Self, InvalidTransform> {
        if m.iter().any(|x| !x.is_finite()) || m[12..] != [0.0, 0.0, 0.0, 1.0] {
            return Err(InvalidTransform);
        }
        let column = |c: usize| [m[c], m[4 + c], m[8 + c]];
        let length = |v: [f64; 3]| (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
        let mut axes = [column(0), column(1), column(2)];
        let mut scale = axes.map(length);
        if scale.iter().any(|&s| s < f64::from(*SCALE_RANGE.start()) / 2.0) {
            return Err(InvalidTransform);
        }
        if determinant(axes) < 0.0 {
            scale[0] = -scale[0];
        }
        for (axis, s) in axes.iter_mut().zip(scale) {
            *axis = axis.map(|x| x / s);
        }
        Self::from_parts([m[3], m[7], m[11]], quaternion_of_axes(axes), scale)
    }
}

/// The parts of a transform that a move sets.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MovePatch {
    parts: Parts,
    to: Transform,
}

impl MovePatch {
    /// Sets `parts` to what they are in `to`.
    pub const fn new(parts: Parts, to: Transform) -> Self {
        Self { parts, to }
    }

    /// Which parts it sets.
    pub const fn parts(&self) -> Parts {
        self.parts
    }

    /// `from` with the parts set.
    #[must_use]
    pub fn apply(&self, from: &Transform) -> Transform {
        let set = |part| self.parts.has(part);
        Transform {
            position: if set(Parts::POSITION) { self.to.position } else { from.position },
            rotation: if set(Parts::ROTATION) { self.to.rotation } else { from.rotation },
            scale: if set(Parts::SCALE) { self.to.scale } else { from.scale },
        }
    }

    /// Appends the set parts, in the layout of [`Transform::to_packed`].
    pub fn write(&self, out: &mut Vec<u8>) {
        let packed = self.to.to_packed();
        if self.parts.has(Parts::POSITION) {
            out.extend_from_slice(&packed[..12]);
        }
        if self.parts.has(Parts::ROTATION) {
            out.extend_from_slice(&packed[12..18]);
        }
        if self.parts.has(Parts::SCALE) {
            out.extend_from_slice(&packed[18..]);
        }
    }

    /// Reads `parts` from the front of `bytes`; gives what is left, too.
    /// `None` when there are too few bytes.
    pub fn read(parts: Parts, bytes: &[u8]) -> Option<Result<(Self, &[u8]), InvalidTransform>> {
        let (own, rest) = bytes.split_at_checked(parts.packed_len())?;
        let mut packed = Transform::IDENTITY.to_packed();
        let mut at = 0;
        for (part, range) in
            [(Parts::POSITION, 0..12), (Parts::ROTATION, 12..18), (Parts::SCALE, 18..30)]
        {
            if parts.has(part) {
                let len = range.len();
                packed[range].copy_from_slice(&own[at..at + len]);
                at += len;
            }
        }
        Some(unpack(&packed).map(|to| (Self { parts, to }, rest)))
    }
}

fn unpack(b: &[u8; Transform::PACKED_LEN]) -> Result<Transform, InvalidTransform> {
    let word = |at: usize| [b[at], b[at + 1], b[at + 2], b[at + 3]];
    Transform::new(
        [0, 4, 8].map(|at| i32::from_le_bytes(word(at))),
        Rotation::from_bytes([b[12], b[13], b[14], b[15], b[16], b[17]])?,
        [18, 22, 26].map(|at| f32::from_le_bytes(word(at))),
    )
}

fn quantise_position(metres: [f64; 3]) -> Result<[i32; 3], InvalidTransform> {
    let units = metres.map(|m| (m / POSITION_UNIT_M).round());
    // Also false for NaN.
    if !units.iter().all(|u| (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(u)) {
        return Err(InvalidTransform);
    }
    Ok(units.map(|u| u as i32))
}

fn multiply(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
    [
        a[3] * b[0] + a[0] * b[3] + a[1] * b[2] - a[2] * b[1],
        a[3] * b[1] - a[0] * b[2] + a[1] * b[3] + a[2] * b[0],
        a[3] * b[2] + a[0] * b[1] - a[1] * b[0] + a[2] * b[3],
        a[3] * b[3] - a[0] * b[0] - a[1] * b[1] - a[2] * b[2],
    ]
}

fn rotate(q: [f64; 4], v: [f64; 3]) -> [f64; 3] {
    let conjugate = [-q[0], -q[1], -q[2], q[3]];
    let r = multiply(multiply(q, [v[0], v[1], v[2], 0.0]), conjugate);
    [r[0], r[1], r[2]]
}

fn determinant(axes: [[f64; 3]; 3]) -> f64 {
    let [a, b, c] = axes;
    a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1])
        + c[0] * (a[1] * b[2] - a[2] * b[1])
}

/// Shepperd's method: the quaternion (x, y, z, w) of a rotation whose columns
/// are these axes.
fn quaternion_of_axes(axes: [[f64; 3]; 3]) -> [f64; 4] {
    let m = |row: usize, column: usize| axes[column][row];
    let squares = [
        1.0 + m(0, 0) - m(1, 1) - m(2, 2),
        1.0 - m(0, 0) + m(1, 1) - m(2, 2),
        1.0 - m(0, 0) - m(1, 1) + m(2, 2),
        1.0 + m(0, 0) + m(1, 1) + m(2, 2),
    ];
    let mut largest = 0;
    for i in 1..4 {
        if squares[i] > squares[largest] {
            largest = i;
        }
    }
    let (xy, xz, yz) = (m(0, 1) + m(1, 0), m(0, 2) + m(2, 0), m(1, 2) + m(2, 1));
    let (wx, wy, wz) = (m(2, 1) - m(1, 2), m(0, 2) - m(2, 0), m(1, 0) - m(0, 1));
    let s = squares[largest];
    match largest {
        0 => [s, xy, xz, wx],
        1 => [xy, s, yz, wy],
        2 => [xz, yz, s, wz],
        _ => [wx, wy, wz, s],
    }
}
