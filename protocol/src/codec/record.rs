//! A move's packed record: handle u32 LE, parts u8, then the set parts.

use avvy_model::{Change, Code, Handle, MovePatch, Parts};

use super::scan::Fault;
use crate::MoveRecord;

/// Bytes before the parts.
pub(super) const RECORD_HEAD: usize = 5;

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
pub(super) fn write_record(handle: Handle, patch: &MovePatch, out: &mut Vec<u8>) {
    out.extend_from_slice(&handle.0.to_le_bytes());
    write_parts(patch, out);
}

/// Appends a record without its handle.
#[inline]
pub(super) fn write_parts(patch: &MovePatch, out: &mut Vec<u8>) {
    out.push(patch.parts().bits());
    patch.write(out);
}

/// The handle, the parts and the packed bytes at the front, and what is left.
#[inline]
pub(super) fn split_record(bytes: &[u8]) -> Result<(Handle, Parts, &[u8], &[u8]), Fault> {
    let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEAD>() else {
        return Err(TOO_SHORT);
    };
    let handle = Handle(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
    let parts = Parts::from_bits(head[4]).ok_or(NO_PARTS)?;
    let (own, rest) = rest.split_at_checked(parts.packed_len()).ok_or(TOO_SHORT)?;
    Ok((handle, parts, own, rest))
}

/// What the packed bytes of `parts` set.
#[inline]
pub(super) fn read_patch(parts: Parts, packed: &[u8]) -> Result<MovePatch, Fault> {
    match MovePatch::read(parts, packed) {
        Some(Ok((patch, []))) => Ok(patch),
        Some(Err(_)) => Err(OUT_OF_RANGE),
        Some(Ok(_)) | None => Err(TOO_SHORT),
    }
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

/// The record of a change that is a move and nothing else.
#[inline]
pub(super) fn record_of(changes: &[Change]) -> Option<MoveRecord> {
    match changes {
        [Change::Moved { handle, parts, after, .. }] => {
            Some(MoveRecord { handle: *handle, patch: MovePatch::new(*parts, *after) })
        }
        _ => None,
    }
}
