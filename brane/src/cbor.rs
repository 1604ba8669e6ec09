//! What the journal's and the snapshot's formats share: maps with integer
//! keys of which unknown ones are passed over, and objects.

use std::convert::Infallible;

use avvy_model::{Handle, Kind, Object, ObjectAt, ObjectId, Props, Transform, UserId, ValueLimits};
use minicbor::{Decoder, Encoder};

/// The bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

impl From<minicbor::decode::Error> for Malformed {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

/// Writing to memory cannot fail.
pub(crate) type Written = Result<(), minicbor::encode::Error<Infallible>>;
pub(crate) type Writer<'a> = Encoder<&'a mut Vec<u8>>;

/// Runs `write`, which cannot fail, at the end of `out`.
pub(crate) fn write(out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>) -> Written) {
    let Ok(()) = write(&mut Encoder::new(out)).map_err(|_| ()) else { return };
}

/// Reads a map with integer keys. `field` reads the value of each key and
/// says so, or says `false` and it is passed over.
pub(crate) fn fields<'b>(
    d: &mut Decoder<'b>,
    field: impl FnMut(&mut Decoder<'b>, u64) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    let count = d.map()?.ok_or(Malformed)?;
    entries(d, count, field)
}

/// Reads so many entries of a map as [`fields`] does.
pub(crate) fn entries<'b>(
    d: &mut Decoder<'b>,
    count: u64,
    mut field: impl FnMut(&mut Decoder<'b>, u64) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    for _ in 0..count {
        let key = d.u64()?;
        if !field(d, key)? {
            d.skip()?;
        }
    }
    Ok(())
}

/// Reads a list. Room is made beforehand for what the bytes at hand can hold
/// if an item takes `usual` of them, whatever the stated count.
pub(crate) fn list<'b, T>(
    d: &mut Decoder<'b>,
    usual: usize,
    mut item: impl FnMut(&mut Decoder<'b>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = d.array()?.ok_or(Malformed)?;
    let possible = (d.input().len() - d.position()) / usual;
    let mut items = Vec::with_capacity(possible.min(usize::try_from(count).unwrap_or(usize::MAX)));
    for _ in 0..count {
        items.push(item(d)?);
    }
    Ok(items)
}

/// Reads a list of at least `known` fields, of which more are passed over.
pub(crate) fn tuple<'b, T>(
    d: &mut Decoder<'b>,
    known: u64,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let count = d.array()?.ok_or(Malformed)?;
    let more = count.checked_sub(known).ok_or(Malformed)?;
    let value = read(d)?;
    for _ in 0..more {
        d.skip()?;
    }
    Ok(value)
}

pub(crate) fn bytes<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], Malformed> {
    d.bytes()?.try_into().map_err(|_| Malformed)
}

pub(crate) fn transform(d: &mut Decoder<'_>) -> Result<Transform, Malformed> {
    Transform::from_packed(&bytes(d)?).map_err(|_| Malformed)
}

pub(crate) fn handle(d: &mut Decoder<'_>) -> Result<Handle, Malformed> {
    Ok(Handle(d.u32()?))
}

/// Bytes of a small object in a list.
pub(crate) const SMALL_OBJECT: usize = 80;

/// Writes `[handle, id, parent, kind, owner, transform, props]`.
pub(crate) fn write_object(
    e: &mut Writer<'_>,
    handle: Handle,
    object: &Object,
    owner: impl FnOnce(&mut Writer<'_>) -> Written,
) -> Written {
    e.array(7)?.u32(handle.0)?.bytes(&object.id.to_bytes())?.u32(object.parent.0)?;
    e.u8(object.kind.number())?;
    owner(e)?;
    e.bytes(&object.transform.to_packed())?;
    e.writer_mut().extend_from_slice(object.props.as_bytes());
    Ok(())
}

/// Reads what [`write_object`] wrote.
pub(crate) fn read_object<'b>(
    d: &mut Decoder<'b>,
    owner: impl FnOnce(&mut Decoder<'b>) -> Result<UserId, Malformed>,
) -> Result<ObjectAt, Malformed> {
    tuple(d, 7, |d| {
        let handle = handle(d)?;
        let object = Object {
            id: ObjectId::from_bytes(bytes(d)?),
            parent: Handle(d.u32()?),
            kind: Kind::from_number(d.u64()?).ok_or(Malformed)?,
            owner: owner(d)?,
            transform: transform(d)?,
            props: Props::read(d, &ValueLimits::NONE).map_err(|_| Malformed)?,
        };
        Ok(ObjectAt { handle, object })
    })
}
