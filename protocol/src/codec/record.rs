//! A move's packed record: handle u32 LE, parts u8, then the set parts.

use avvy_model::{Change, Code, Handle, MovePatch, Parts, Rotation, Transform};

use super::out::Out;
use super::scan::Fault;
use crate::MoveRecord;

/// Bytes before the parts.
const RECORD_HEAD: usize = 5;
const POSITION_AND_ROTATION: Parts = Parts::POSITION.with(Parts::ROTATION);

const TOO_SHORT: Fault = Fault::malformed("a move record ends too early");
const NO_PARTS: Fault = Fault::malformed("a move record sets no known part");
const OUT_OF_RANGE: Fault =
    Fault { code: Code::OutOfRange, reason: "a position, rotation or scale is outside its range" };

/// Bytes of a whole record that sets these parts.
pub(super) const fn record_len(parts: Parts) -> usize {
    RECORD_HEAD + parts.packed_len()
}

/// Appends a record.
#[inline]
pub(super) fn write_record(record: &MoveRef<'_>, out: &mut Vec<u8>) {
    let MoveRef { handle, parts, to } = record;
    if *parts == POSITION_AND_ROTATION {
        // What nearly every move is: one copy of a known length.
        let mut bytes = [0; record_len(POSITION_AND_ROTATION)];
        bytes[..4].copy_from_slice(&handle.0.to_le_bytes());
        bytes[4] = parts.bits();
        for (slot, n) in bytes[5..17].chunks_exact_mut(4).zip(to.position) {
            slot.copy_from_slice(&n.to_le_bytes());
        }
        bytes[17..].copy_from_slice(&to.rotation.to_bytes());
        out.extend_from_slice(&bytes);
    } else {
        out.extend_from_slice(&handle.0.to_le_bytes());
        write_parts(*parts, to, out);
    }
}

/// Appends a record without its handle.
pub(super) fn write_parts(parts: Parts, to: &Transform, out: &mut Vec<u8>) {
    out.push(parts.bits());
    MovePatch::new(parts, *to).write(out);
}

/// The handle, the parts and their packed bytes, and what follows the record.
pub(super) type Split<'a> = (Handle, Parts, &'a [u8], &'a [u8]);

/// Takes the record at the front apart.
#[inline]
pub(super) fn split_record(bytes: &[u8]) -> Result<Split<'_>, Fault> {
    let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEAD>() else {
        return Err(TOO_SHORT);
    };
    let handle = Handle(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
    let parts = Parts::from_bits(head[4]).ok_or(NO_PARTS)?;
    let (own, rest) = rest.split_at_checked(parts.packed_len()).ok_or(TOO_SHORT)?;
    Ok((handle, parts, own, rest))
}

/// What the packed bytes of `parts` set. The same as [`MovePatch::read`],
/// without a detour over all 30 bytes.
#[inline]
pub(super) fn read_patch(parts: Parts, mut packed: &[u8]) -> Result<MovePatch, Fault> {
    let mut to = Transform::IDENTITY;
    if parts.has(Parts::POSITION) {
        let units = take::<12>(&mut packed)?;
        to.position = words(units).map(i32::from_le_bytes);
    }
    if parts.has(Parts::ROTATION) {
        to.rotation = Rotation::from_bytes(*take(&mut packed)?).map_err(|_| OUT_OF_RANGE)?;
    }
    if parts.has(Parts::SCALE) {
        let scale = words(take::<12>(&mut packed)?).map(f32::from_le_bytes);
        to = Transform::new(to.position, to.rotation, scale).map_err(|_| OUT_OF_RANGE)?;
    }
    if packed.is_empty() { Ok(MovePatch::new(parts, to)) } else { Err(TOO_SHORT) }
}

#[inline]
fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], Fault> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(TOO_SHORT)?;
    *bytes = rest;
    Ok(taken)
}

#[inline]
fn words(b: &[u8; 12]) -> [[u8; 4]; 3] {
    [[b[0], b[1], b[2], b[3]], [b[4], b[5], b[6], b[7]], [b[8], b[9], b[10], b[11]]]
}

/// Parts byte and packed parts, and nothing else.
pub(super) fn read_parts(bytes: &[u8]) -> Result<MovePatch, Fault> {
    let (&bits, packed) = bytes.split_first().ok_or(TOO_SHORT)?;
    read_patch(Parts::from_bits(bits).ok_or(NO_PARTS)?, packed)
}

/// One whole record and nothing else.
pub(super) fn read_record(bytes: &[u8]) -> Result<MoveRecord, Fault> {
    match split_record(bytes)? {
        (handle, parts, packed, []) => Ok(MoveRecord { handle, patch: read_patch(parts, packed)? }),
        _ => Err(Fault::malformed("one move record was expected")),
    }
}

impl MoveRecord {
    /// Writes the byte string of this one record.
    pub(super) fn write(&self, out: &mut Out) {
        out.bytes_with(record_len(self.patch.parts()), |out| self.append(out));
    }

    /// Appends the record.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let to = self.patch.apply(&Transform::IDENTITY);
        write_record(&MoveRef { handle: self.handle, parts: self.patch.parts(), to: &to }, out);
    }
}

/// A move where it lies.
pub(super) struct MoveRef<'a> {
    pub handle: Handle,
    pub parts: Parts,
    pub to: &'a Transform,
}

/// The move that some changes are, if they are one and nothing else.
#[inline]
pub(super) fn move_of(changes: &[Change]) -> Option<MoveRef<'_>> {
    match changes {
        [Change::Moved { handle, parts, after, .. }] => {
            Some(MoveRef { handle: *handle, parts: *parts, to: after })
        }
        _ => None,
    }
}
