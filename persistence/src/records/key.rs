//! What a record is found by within its collection.

use std::fmt;

use uuid::Uuid;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 128;

/// A record's key: 1 to [`MAX_KEY_BYTES`] visible ASCII letters, none of them a
/// space. UUIDs are written as such (8-4-4-4-12), bytes in hexadecimal. Keys
/// are ordered by their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(String);

impl RecordKey {
    /// A key of this text; `None` if it is empty, too long, or holds anything
    /// but visible ASCII.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_good = (1..=MAX_KEY_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_good.then_some(Self(text))
    }

    /// A key of these bytes, in hexadecimal; `None` if there are none, or more
    /// than half of [`MAX_KEY_BYTES`].
    pub fn hex(bytes: &[u8]) -> Option<Self> {
        Self::new(to_hex(bytes))
    }

    /// What is before every key, and is none itself.
    pub(crate) const fn least() -> Self {
        Self(String::new())
    }

    /// What comes next after this, and is no key itself.
    pub(crate) fn successor(&self) -> Self {
        Self(format!("{}\0", self.0))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for RecordKey {
    fn from(id: Uuid) -> Self {
        Self(id.hyphenated().to_string())
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Bytes in hexadecimal, whose order is that of the bytes.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The bytes of what [`to_hex`] wrote.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_bounded_and_visible() {
        for bad in ["", " ", "a b", "ä", "a\n", "\u{7f}", &"x".repeat(MAX_KEY_BYTES + 1)] {
            assert_eq!(RecordKey::new(bad), None, "{bad:?}");
        }
        assert_eq!(RecordKey::new("x".repeat(MAX_KEY_BYTES)).unwrap().as_str().len(), 128);
        assert_eq!(RecordKey::hex(&[0, 0xaf]).unwrap().as_str(), "00af");
        assert_eq!(RecordKey::hex(&[]), None);
        let id = Uuid::from_u128(1);
        assert_eq!(RecordKey::from(id).as_str(), "00000000-0000-0000-0000-000000000001");
    }

    #[test]
    fn hexadecimal_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        for bad in ["0", "0g", "0G", "0A", "zz"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
