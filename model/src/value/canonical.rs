//! Recognises deterministic encoding, which is what most clients send and all
//! that is stored, without building anything.

use super::Value;
use super::ValueLimits;
use super::encode::key_order;

/// The length of the value at the front of `bytes`, if it is one, in
/// deterministic encoding, with at most `nesting` arrays and maps around its
/// innermost item.
pub(super) fn item(bytes: &[u8], nesting: u32) -> Option<usize> {
    let mut reader = Reader { bytes, at: 0 };
    reader.item(nesting)?;
    Some(reader.at)
}

/// The length of the properties at the front of `bytes`, if they are within
/// the limits and in deterministic encoding.
pub(super) fn props(bytes: &[u8], limits: &ValueLimits) -> Option<usize> {
    let mut reader = Reader { bytes, at: 0 };
    let nesting = limits.max_nesting.min(Value::MAX_NESTING);
    let (major, count) = reader.head()?;
    if major != 5 {
        return None;
    }
    let mut last: Option<&str> = None;
    for _ in 0..count {
        let key = reader.key(last)?;
        let start = reader.at;
        reader.item(nesting)?;
        let too_large = reader.at - start > limits.max_value_bytes;
        if too_large || key.is_empty() || key.len() > limits.max_key_bytes {
            return None;
        }
        last = Some(key);
    }
    (reader.at <= limits.max_props_bytes).then_some(reader.at)
}

/// The entries of properties that were recognised here or written so.
pub(super) fn entries(props: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let mut reader = Reader { bytes: props, at: 0 };
    let (_, count) = reader.head().unwrap_or_default();
    (0..count).map_while(move |_| {
        let (_, len) = reader.head()?;
        let key = std::str::from_utf8(reader.take(len)?).ok()?;
        let start = reader.at;
        reader.pass()?;
        Some((key, &props[start..reader.at]))
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(len).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N as u64)?.try_into().ok()
    }

    /// Major type and argument, if in the shortest form and not of indefinite length.
    fn head(&mut self) -> Option<(u8, u64)> {
        let [first] = self.number()?;
        let (argument, least) = match first & 0x1f {
            small @ 0..=23 => (u64::from(small), 0),
            24 => (u64::from(u8::from_be_bytes(self.number()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.number()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.number()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.number()?), 1 << 32),
            _ => return None,
        };
        (argument >= least).then_some((first >> 5, argument))
    }

    fn item(&mut self, nesting: u32) -> Option<()> {
        if self.bytes.get(self.at)? >> 5 == 7 {
            return self.simple();
        }
        let (major, argument) = self.head()?;
        match major {
            0 | 1 => Some(()),
            2 => self.take(argument).map(drop),
            3 => std::str::from_utf8(self.take(argument)?).ok().map(drop),
            4 => {
                let nesting = nesting.checked_sub(1)?;
                // A count that lies ends with the bytes.
                (0..argument).try_for_each(|_| self.item(nesting))
            }
            5 => {
                let nesting = nesting.checked_sub(1)?;
                let mut last = None;
                (0..argument).try_for_each(|_| {
                    last = Some(self.key(last)?);
                    self.item(nesting)
                })
            }
            _ => self.asset(argument),
        }
    }

    /// Goes past an item that is known to be one, and looks into no text.
    fn pass(&mut self) -> Option<()> {
        let mut left: u64 = 1;
        while left > 0 {
            left -= 1;
            if self.bytes.get(self.at)? >> 5 == 7 {
                self.simple()?;
                continue;
            }
            let (major, argument) = self.head()?;
            match major {
                2 | 3 => drop(self.take(argument)?),
                4 => left += argument,
                5 => left += 2 * argument,
                6 => left += 1,
                _ => {}
            }
        }
        Some(())
    }

    /// A map's next key, if it comes after `last`.
    fn key(&mut self, last: Option<&str>) -> Option<&'a str> {
        let (3, len) = self.head()? else { return None };
        let key = std::str::from_utf8(self.take(len)?).ok()?;
        last.is_none_or(|last| key_order(last, key).is_lt()).then_some(key)
    }

    fn asset(&mut self, tag: u64) -> Option<()> {
        let inside = (tag == Value::ASSET_TAG).then(|| self.head())?;
        (inside? == (2, 32)).then(|| self.take(32))?.map(drop)
    }

    fn simple(&mut self) -> Option<()> {
        let [first] = self.number()?;
        let shortest = match first {
            0xf4..=0xf6 => true,
            0xf9 => {
                let bits = u16::from_be_bytes(self.number()?);
                bits == 0x7e00 || !half::f16::from_bits(bits).is_nan()
            }
            0xfa => {
                let single = f32::from_be_bytes(self.number()?);
                !single.is_nan() && half::f16::from_f32(single).to_f32() != single
            }
            0xfb => {
                let double = f64::from_be_bytes(self.number()?);
                !double.is_nan() && f64::from(double as f32) != double
            }
            _ => false,
        };
        shortest.then_some(())
    }
}
