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

use minicbor::{Decoder, Encoder};

use crate::{AssetHash, Code};

mod canonical;
mod encode;
mod props;

pub use props::{PropKey, Props, PropsPatch};

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
    /// Arrays and maps around the innermost item. [`Value::MAX_NESTING`]
    /// bounds it whatever is set here.
    pub max_nesting: u32,
    /// Bytes of a property's key.
    pub max_key_bytes: usize,
    /// Encoded bytes of all properties of an object.
    pub max_props_bytes: usize,
}

impl ValueLimits {
    /// Nothing is too large: for what was accepted once, under limits that may
    /// have been lowered since.
    pub const NONE: Self = Self {
        max_value_bytes: usize::MAX,
        max_nesting: u32::MAX,
        max_key_bytes: usize::MAX,
        max_props_bytes: usize::MAX,
    };
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

    /// No value is nested deeper, so that whoever reads a stored one knows how
    /// much stack it can take.
    pub const MAX_NESTING: u32 = 64;

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
        let nesting = limits.max_nesting.min(Self::MAX_NESTING);
        let start = decoder.position();
        let rest = decoder.input().get(start..).unwrap_or_default();
        if let Some(len) = canonical::item(rest, nesting) {
            if len > limits.max_value_bytes {
                return Err(InvalidValue::TooLarge);
            }
            decoder.set_position(start + len);
            return Ok(Self(rest[..len].into()));
        }
        let mut out = Vec::with_capacity(16);
        encode::canonicalise(decoder, &mut out, limits, nesting)?;
        Ok(Self(out.into()))
    }

    /// Takes what [`Self::as_bytes`] gave, whatever the limits were then.
    ///
    /// # Errors
    /// [`InvalidValue::Malformed`] when it is anything else.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, InvalidValue> {
        match canonical::item(bytes, Self::MAX_NESTING) {
            Some(len) if len == bytes.len() => Ok(Self(bytes.into())),
            _ => Err(InvalidValue::Malformed),
        }
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
        encode::write_float(value, &mut out);
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
