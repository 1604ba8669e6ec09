//! Any encoding of a value to its deterministic one.

use std::cmp::Ordering;

use minicbor::Decoder;
use minicbor::data::Type;

use super::{InvalidValue, Value, ValueLimits};

/// The order of deterministic CBOR for text keys.
pub(super) fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

fn malformed(_: minicbor::decode::Error) -> InvalidValue {
    InvalidValue::Malformed
}

pub(super) fn canonicalise(
    d: &mut Decoder<'_>,
    out: &mut Vec<u8>,
    limits: &ValueLimits,
    nesting: u32,
) -> Result<(), InvalidValue> {
    let inner = || nesting.checked_sub(1).ok_or(InvalidValue::TooLarge);
    match d.datatype().map_err(malformed)? {
        Type::Bool => out.push(if d.bool().map_err(malformed)? { 0xf5 } else { 0xf4 }),
        Type::Null => {
            d.null().map_err(malformed)?;
            out.push(0xf6);
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            write_head(0, d.u64().map_err(malformed)?, out);
        }
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            let n = i128::from(d.int().map_err(malformed)?);
            let (major, magnitude) = if n < 0 { (1, -1 - n) } else { (0, n) };
            write_head(major, u64::try_from(magnitude).map_err(|_| InvalidValue::Malformed)?, out);
        }
        Type::F16 | Type::F32 | Type::F64 => write_float(d.f64().map_err(malformed)?, out),
        Type::Bytes | Type::BytesIndef => {
            let mut bytes = Vec::new();
            for part in d.bytes_iter().map_err(malformed)? {
                bytes.extend_from_slice(part.map_err(malformed)?);
            }
            write_head(2, bytes.len() as u64, out);
            out.extend_from_slice(&bytes);
        }
        Type::String | Type::StringIndef => {
            let mut text = String::new();
            for part in d.str_iter().map_err(malformed)? {
                text.push_str(part.map_err(malformed)?);
            }
            write_text(&text, out);
        }
        Type::Array | Type::ArrayIndef => canonicalise_array(d, out, limits, inner()?)?,
        Type::Map | Type::MapIndef => canonicalise_map(d, out, limits, inner()?)?,
        Type::Tag => {
            let tag = d.tag().map_err(malformed)?.as_u64();
            let bytes = d.bytes().map_err(malformed)?;
            if tag != Value::ASSET_TAG || bytes.len() != 32 {
                return Err(InvalidValue::Malformed);
            }
            write_head(6, tag, out);
            write_head(2, 32, out);
            out.extend_from_slice(bytes);
        }
        Type::Undefined | Type::Simple | Type::Break | Type::Unknown(_) => {
            return Err(InvalidValue::Malformed);
        }
    }
    if out.len() > limits.max_value_bytes { Err(InvalidValue::TooLarge) } else { Ok(()) }
}

fn canonicalise_array(
    d: &mut Decoder<'_>,
    out: &mut Vec<u8>,
    limits: &ValueLimits,
    nesting: u32,
) -> Result<(), InvalidValue> {
    let stated = d.array().map_err(malformed)?;
    let mut body = Vec::new();
    let mut count = 0;
    while more(d, stated, count)? {
        canonicalise(d, &mut body, limits, nesting)?;
        count += 1;
    }
    write_head(4, count, out);
    out.extend_from_slice(&body);
    Ok(())
}

fn canonicalise_map(
    d: &mut Decoder<'_>,
    out: &mut Vec<u8>,
    limits: &ValueLimits,
    nesting: u32,
) -> Result<(), InvalidValue> {
    let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
    let mut size = 0;
    read_map(d, |key, d| {
        let mut value = Vec::new();
        canonicalise(d, &mut value, limits, nesting)?;
        size += key.len() + value.len();
        if size > limits.max_value_bytes {
            return Err(InvalidValue::TooLarge);
        }
        entries.push((key.to_owned(), value));
        Ok(())
    })?;
    entries.sort_by(|a, b| key_order(&a.0, &b.0));
    if entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(InvalidValue::Malformed);
    }
    write_head(5, entries.len() as u64, out);
    for (key, value) in &entries {
        write_text(key, out);
        out.extend_from_slice(value);
    }
    Ok(())
}

/// Calls `entry` with each key, the decoder standing at its value.
pub(super) fn read_map(
    d: &mut Decoder<'_>,
    mut entry: impl FnMut(&str, &mut Decoder<'_>) -> Result<(), InvalidValue>,
) -> Result<(), InvalidValue> {
    let stated = d.map().map_err(malformed)?;
    let mut count = 0;
    while more(d, stated, count)? {
        let key = d.str().map_err(malformed)?;
        entry(key, d)?;
        count += 1;
    }
    Ok(())
}

/// Whether an array or map has another item; takes the break that ends one of
/// indefinite length.
fn more(d: &mut Decoder<'_>, stated: Option<u64>, read: u64) -> Result<bool, InvalidValue> {
    if let Some(stated) = stated {
        return Ok(read < stated);
    }
    if d.datatype().map_err(malformed)? != Type::Break {
        return Ok(true);
    }
    d.set_position(d.position() + 1);
    Ok(false)
}

/// The shortest head of a CBOR item.
pub(super) fn write_head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    write_head(3, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// The shortest of half, single and double that holds the value exactly.
pub(super) fn write_float(value: f64, out: &mut Vec<u8>) {
    let single = value as f32;
    let half = half::f16::from_f32(single);
    if value.is_nan() {
        out.extend_from_slice(&[0xf9, 0x7e, 0x00]);
    } else if half.to_f64() == value {
        out.push(0xf9);
        out.extend_from_slice(&half.to_be_bytes());
    } else if f64::from(single) == value {
        out.push(0xfa);
        out.extend_from_slice(&single.to_be_bytes());
    } else {
        out.push(0xfb);
        out.extend_from_slice(&value.to_be_bytes());
    }
}
