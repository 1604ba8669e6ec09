//! Property values: a strict subset of CBOR, kept in its encoded form.
//!
//! A value is one CBOR item (RFC 8949) in deterministic encoding (section
//! 4.2.1: shortest forms, definite lengths, sorted keys): integers of 64 bits,
//! byte and text strings, arrays, maps with text keys, `false`, `true`,
//! `null`, floats, and asset references: tag [`Value::ASSET_TAG`] around a byte string of 32
//! bytes. Nothing else, so that any CBOR library can decode a value and
//! encode it to the same bytes again, whichever of the two usual orders of
//! keys it sorts by: for text keys they agree.

use std::sync::Arc;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::{AssetHash, Code};

/// Why bytes are not a value, or a value not a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// Not one whole item of the subset, or a key twice.
    #[error("not a value that a property can hold")]
    Malformed,
    /// Above [`ValueLimits::max_value_bytes`] or [`ValueLimits::max_nesting`].
    #[error("value too large or too deep")]
    TooLarge,
    /// A property's key is empty or above [`ValueLimits::max_key_bytes`].
    #[error("property key empty or too long")]
    Key,
    /// Above [`ValueLimits::max_props_bytes`].
    #[error("properties too large")]
    PropsTooLarge,
}

impl From<InvalidValue> for Code {
    fn from(error: InvalidValue) -> Self {
        match error {
            InvalidValue::Malformed | InvalidValue::Key => Self::ValueMalformed,
            InvalidValue::TooLarge => Self::ValueTooLarge,
            InvalidValue::PropsTooLarge => Self::PropsTooLarge,
        }
    }
}

/// Bounds of values and properties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValueLimits {
    /// Encoded bytes of one value.
    pub max_value_bytes: usize,
    /// Arrays, maps and tags around the innermost item.
    pub max_nesting: u32,
    /// Bytes of a property's key.
    pub max_key_bytes: usize,
    /// Encoded bytes of all properties of an object.
    pub max_props_bytes: usize,
}

impl Default for ValueLimits {
    fn default() -> Self {
        Self { max_value_bytes: 8_192, max_nesting: 16, max_key_bytes: 64, max_props_bytes: 16_384 }
    }
}

/// A property value in deterministic CBOR. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// The CBOR tag around the 32 bytes of an [`AssetHash`], from the range
    /// open to anyone.
    pub const ASSET_TAG: u64 = 4_156_001;

    /// Reads one item, which need not be in deterministic encoding, and
    /// encodes it so.
    ///
    /// # Errors
    /// [`InvalidValue::Malformed`] or [`InvalidValue::TooLarge`].
    pub fn parse(bytes: &[u8], limits: &ValueLimits) -> Result<Self, InvalidValue> {
        let mut decoder = Decoder::new(bytes);
        let value = Self::read(&mut decoder, limits)?;
        if decoder.position() == bytes.len() { Ok(value) } else { Err(InvalidValue::Malformed) }
    }

    /// Reads the next item of `decoder` as [`Self::parse`] does.
    ///
    /// # Errors
    /// [`InvalidValue::Malformed`] or [`InvalidValue::TooLarge`].
    pub fn read(decoder: &mut Decoder<'_>, limits: &ValueLimits) -> Result<Self, InvalidValue> {
        let mut out = Vec::with_capacity(16);
        canonicalise(decoder, &mut out, limits, limits.max_nesting)?;
        Ok(Self(out.into()))
    }

    /// `null`.
    pub fn null() -> Self {
        Self::written(|e| e.null().map(drop))
    }

    /// A truth value.
    pub fn bool(value: bool) -> Self {
        Self::written(|e| e.bool(value).map(drop))
    }

    /// An integer.
    pub fn int(value: i64) -> Self {
        Self::written(|e| e.i64(value).map(drop))
    }

    /// A float, in the shortest of the three forms that holds it.
    pub fn float(value: f64) -> Self {
        let mut out = Vec::with_capacity(9);
        write_float(value, &mut out);
        Self(out.into())
    }

    /// A text.
    pub fn text(value: &str) -> Self {
        Self::written(|e| e.str(value).map(drop))
    }

    /// A reference to an asset.
    pub fn asset(hash: AssetHash) -> Self {
        let tag = minicbor::data::Tag::new(Self::ASSET_TAG);
        Self::written(|e| e.tag(tag)?.bytes(&hash.0).map(drop))
    }

    /// The encoded item.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn written(
        write: impl FnOnce(
            &mut Encoder<&mut Vec<u8>>,
        ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>>,
    ) -> Self {
        let mut out = Vec::with_capacity(16);
        // Writing to a Vec cannot fail.
        let _ = write(&mut Encoder::new(&mut out));
        Self(out.into())
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", minicbor::display(&self.0))
    }
}

/// The name of a property: 1 to [`ValueLimits::max_key_bytes`] bytes of text.
///
/// Ordered as deterministic CBOR orders map keys: shorter first, then bytewise.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PropKey(Arc<str>);

impl PropKey {
    /// Checks the length.
    ///
    /// # Errors
    /// [`InvalidValue::Key`].
    pub fn new(text: &str, limits: &ValueLimits) -> Result<Self, InvalidValue> {
        if text.is_empty() || text.len() > limits.max_key_bytes {
            return Err(InvalidValue::Key);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for PropKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        key_order(&self.0, &other.0)
    }
}

impl PartialOrd for PropKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// An object's properties: one deterministic CBOR map with text keys.
/// Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Props(Arc<[u8]>);

impl Default for Props {
    fn default() -> Self {
        Self(Arc::from([0xa0]))
    }
}

impl Props {
    /// Reads a map, which need not be in deterministic encoding.
    ///
    /// # Errors
    /// Any [`InvalidValue`].
    pub fn parse(bytes: &[u8], limits: &ValueLimits) -> Result<Self, InvalidValue> {
        let mut decoder = Decoder::new(bytes);
        let props = Self::read(&mut decoder, limits)?;
        if decoder.position() == bytes.len() { Ok(props) } else { Err(InvalidValue::Malformed) }
    }

    /// Reads the next item of `decoder` as [`Self::parse`] does.
    ///
    /// # Errors
    /// Any [`InvalidValue`].
    pub fn read(decoder: &mut Decoder<'_>, limits: &ValueLimits) -> Result<Self, InvalidValue> {
        let mut entries = Vec::new();
        read_map(decoder, |key, decoder| {
            let key = PropKey::new(key, limits)?;
            entries.push((key, Value::read(decoder, limits)?));
            Ok(())
        })?;
        Self::from_entries(entries, limits)
    }

    /// Builds properties from their entries, in any order.
    ///
    /// # Errors
    /// [`InvalidValue::Malformed`] when a key comes twice, or
    /// [`InvalidValue::PropsTooLarge`].
    pub fn from_entries(
        mut entries: Vec<(PropKey, Value)>,
        limits: &ValueLimits,
    ) -> Result<Self, InvalidValue> {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        if entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(InvalidValue::Malformed);
        }
        let mut out = Vec::new();
        write_head(5, entries.len() as u64, &mut out);
        for (key, value) in &entries {
            write_text(key.as_str(), &mut out);
            out.extend_from_slice(value.as_bytes());
        }
        if out.len() > limits.max_props_bytes {
            return Err(InvalidValue::PropsTooLarge);
        }
        Ok(Self(out.into()))
    }

    /// Takes bytes that [`Self::as_bytes`] gave, from a store whose checksums
    /// were verified, without reading them.
    pub fn from_trusted(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The encoded map.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self.0 == [0xa0]
    }

    /// The entries in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut decoder = Decoder::new(&self.0);
        // The bytes were encoded here, so decoding them cannot fail.
        let count = decoder.map().ok().flatten().unwrap_or(0);
        (0..count).map_while(move |_| {
            let key = decoder.str().ok()?;
            let start = decoder.position();
            decoder.skip().ok()?;
            Some((key, &self.0[start..decoder.position()]))
        })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| Value(value.into()))
    }

    /// These properties with the patch applied, and the patch that undoes it.
    ///
    /// # Errors
    /// [`InvalidValue::PropsTooLarge`].
    pub fn patched(
        &self,
        patch: &PropsPatch,
        limits: &ValueLimits,
    ) -> Result<(Self, PropsPatch), InvalidValue> {
        let mut entries: Vec<(PropKey, Value)> =
            self.iter().map(|(k, v)| (PropKey(k.into()), Value(v.into()))).collect();
        let mut undo = Vec::with_capacity(patch.0.len());
        for (key, value) in &patch.0 {
            let at = entries.binary_search_by(|(k, _)| k.cmp(key));
            let before = match (at, value) {
                (Ok(i), Some(value)) => Some(std::mem::replace(&mut entries[i].1, value.clone())),
                (Ok(i), None) => Some(entries.remove(i).1),
                (Err(i), Some(value)) => {
                    entries.insert(i, (key.clone(), value.clone()));
                    None
                }
                (Err(_), None) => None,
            };
            undo.push((key.clone(), before));
        }
        Ok((Self::from_entries(entries, limits)?, PropsPatch(undo)))
    }
}

impl std::fmt::Debug for Props {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", minicbor::display(&self.0))
    }
}

/// Keys with their new values, `None` to remove; sorted, each key once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PropsPatch(Vec<(PropKey, Option<Value>)>);

impl PropsPatch {
    /// Sorts the entries.
    ///
    /// # Errors
    /// [`InvalidValue::Malformed`] when a key comes twice.
    pub fn new(mut entries: Vec<(PropKey, Option<Value>)>) -> Result<Self, InvalidValue> {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        if entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(InvalidValue::Malformed);
        }
        Ok(Self(entries))
    }

    /// The entries in order of their keys.
    pub fn entries(&self) -> &[(PropKey, Option<Value>)] {
        &self.0
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The order of deterministic CBOR for text keys.
fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

fn malformed(_: minicbor::decode::Error) -> InvalidValue {
    InvalidValue::Malformed
}

fn canonicalise(
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
fn read_map(
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
fn write_head(major: u8, argument: u64, out: &mut Vec<u8>) {
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

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_head(3, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// The shortest of half, single and double that holds the value exactly.
fn write_float(value: f64, out: &mut Vec<u8>) {
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
