//! Walks over CBOR without decoding it.
//!
//! Every message is walked once before anything is made of it: after
//! [`envelope`], the bytes are one whole item, its nesting is bounded, and
//! every stated length fits into the bytes that are there. So nothing further
//! in can be made to recurse deeply or to reserve memory for a lie.

use avvy_model::Code;

use crate::Channel;

/// Containers and tags around the innermost item of a message.
pub(super) const MAX_NESTING: u32 = 64;

/// Why some bytes could not be taken, before it is known whose they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// The stable code.
    pub code: Code,
    /// A sentence for people.
    pub reason: &'static str,
}

impl Fault {
    /// A fault of shape.
    pub const fn malformed(reason: &'static str) -> Self {
        Self { code: Code::Malformed, reason }
    }
}

const TRUNCATED: Fault = Fault::malformed("the bytes end before the message does");
const NOT_CBOR: Fault = Fault::malformed("not well-formed CBOR");
const TOO_DEEP: Fault = Fault::malformed("nested too deeply");
const NOT_A_MAP: Fault = Fault::malformed("a map was expected");
const NOT_AN_ARRAY: Fault = Fault::malformed("an array was expected");
const TWICE: Fault = Fault::malformed("a field comes twice");

/// The fields that are looked for first.
pub(super) struct Envelope<'a> {
    /// `op` or `event`.
    pub name: Option<&'a str>,
    /// `ch`, if it is there and fits.
    pub channel: Option<Channel>,
    /// The item of `edits`.
    pub edits: Option<&'a [u8]>,
    /// The item of `trace`.
    pub trace: Option<&'a [u8]>,
}

/// Walks over the whole message and picks the text of `name_key` and the
/// other fields of an [`Envelope`].
pub(super) fn envelope<'a>(bytes: &'a [u8], name_key: &str) -> Result<Envelope<'a>, Fault> {
    let mut found = Envelope { name: None, channel: None, edits: None, trace: None };
    let mut cursor = Cursor::new(bytes);
    let mut channel = None;
    cursor.map(MAX_NESTING, |key, value| {
        let before = match key {
            Some(b"ch") => channel.replace(value).is_some(),
            Some(b"edits") => found.edits.replace(value).is_some(),
            Some(b"trace") => found.trace.replace(value).is_some(),
            Some(key) if key == name_key.as_bytes() => found.name.replace(text(value)?).is_some(),
            _ => false,
        };
        // Two readers of such a message may not mean the same by it.
        if before { Err(TWICE) } else { Ok(()) }
    })?;
    let number = |value| uint(value).ok().and_then(|n| u32::try_from(n).ok());
    found.channel = channel.and_then(number).map(Channel);
    if cursor.at == bytes.len() { Ok(found) } else { Err(NOT_CBOR) }
}

/// Checks that the bytes are one whole map, as [`envelope`] does.
pub(crate) fn check_whole(bytes: &[u8]) -> Result<(), Fault> {
    let mut cursor = Cursor::new(bytes);
    cursor.map(MAX_NESTING, |_, _| Ok(()))?;
    if cursor.at == bytes.len() { Ok(()) } else { Err(NOT_CBOR) }
}

/// The value of a field that must be there.
pub(crate) fn field<'a>(map: &'a [u8], name: &str) -> Result<&'a [u8], Fault> {
    let [value] = fields(map, &[name])?;
    value.ok_or(Fault::malformed("a field is missing"))
}

/// The values of the named fields of a map; other fields are passed over.
/// The slices hold one whole item each.
pub(super) fn fields<'a, const N: usize>(
    map: &'a [u8],
    names: &[&str; N],
) -> Result<[Option<&'a [u8]>; N], Fault> {
    let mut found = [None; N];
    Cursor::new(map).map(MAX_NESTING, |key, value| {
        let Some(key) = key else { return Ok(()) };
        if let Some(i) = names.iter().position(|name| name.as_bytes() == key)
            && found[i].replace(value).is_some()
        {
            return Err(TWICE);
        }
        Ok(())
    })?;
    Ok(found)
}

/// The item at the front, and what follows it.
pub(super) fn split_item(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let mut cursor = Cursor::new(bytes);
    let item = cursor.item(MAX_NESTING)?;
    Ok((item, &bytes[cursor.at..]))
}

/// Calls `each` with every key and value of a map with text keys.
pub(super) fn entries<'a>(
    map: &'a [u8],
    mut each: impl FnMut(&'a str, &'a [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let not_text = Fault::malformed("a key that is a text was expected");
    Cursor::new(map).map(MAX_NESTING, |key, value| {
        let key = std::str::from_utf8(key.ok_or(not_text)?).map_err(|_| not_text)?;
        each(key, value)
    })
}

/// Calls `each` with every item of an array.
pub(super) fn items<'a, E: From<Fault>>(
    array: &'a [u8],
    mut each: impl FnMut(&'a [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut items = Items::new(array)?;
    while let Some(item) = items.next_item()? {
        each(item)?;
    }
    Ok(())
}

/// The items of an array, one by one.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    cursor: Cursor<'a>,
    /// How many are left; `None`: as many as there are before a break.
    left: Option<u64>,
}

impl<'a> Items<'a> {
    /// Stands before the first item.
    pub fn new(array: &'a [u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(array);
        match cursor.head()? {
            Head { major: 4, argument } => Ok(Self { cursor, left: argument }),
            _ => Err(NOT_AN_ARRAY),
        }
    }

    /// The next item, whole.
    #[inline]
    pub fn next_item(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        if !self.cursor.more(&mut self.left)? {
            return Ok(None);
        }
        self.cursor.item(MAX_NESTING).map(Some)
    }
}

/// The text of an item. Of definite length, as all strings of the envelope are.
pub(super) fn text(item: &[u8]) -> Result<&str, Fault> {
    let expected = Fault::malformed("a text was expected");
    std::str::from_utf8(string(item, 3).ok_or(expected)?).map_err(|_| expected)
}

/// The bytes of a byte string of definite length.
#[inline]
pub(super) fn bytes(item: &[u8]) -> Result<&[u8], Fault> {
    string(item, 2).ok_or(Fault::malformed("a byte string was expected"))
}

/// An unsigned integer. A float of the same whole value counts as one, since
/// common encoders for JavaScript write numbers above 2^32 so.
#[inline]
pub(super) fn uint(item: &[u8]) -> Result<u64, Fault> {
    let expected = Fault::malformed("an unsigned integer was expected");
    match Cursor::new(item).head()? {
        Head { major: 0, argument: Some(n) } => Ok(n),
        Head { major: 7, .. } => whole(item).ok_or(expected),
        _ => Err(expected),
    }
}

/// A number of any kind.
pub(super) fn number(item: &[u8]) -> Result<f64, Fault> {
    use minicbor::data::Type;
    let mut decoder = minicbor::Decoder::new(item);
    let number = match decoder.datatype() {
        Ok(Type::F16 | Type::F32 | Type::F64) => decoder.f64().ok(),
        _ => decoder.int().ok().map(|n| i128::from(n) as f64),
    };
    number.ok_or(Fault::malformed("a number was expected"))
}

/// A truth value.
pub(super) fn boolean(item: &[u8]) -> Result<bool, Fault> {
    match item {
        [0xf4] => Ok(false),
        [0xf5] => Ok(true),
        _ => Err(Fault::malformed("a truth value was expected")),
    }
}

fn whole(item: &[u8]) -> Option<u64> {
    const EXACT: f64 = (1u64 << 53) as f64;
    let n = minicbor::Decoder::new(item).f64().ok()?;
    (n.fract() == 0.0 && (0.0..=EXACT).contains(&n)).then_some(n as u64)
}

fn string(item: &[u8], major: u8) -> Option<&[u8]> {
    let mut cursor = Cursor::new(item);
    match cursor.head() {
        Ok(Head { major: m, argument: Some(len) }) if m == major => cursor.take(len).ok(),
        _ => None,
    }
}

/// The first bytes of an item: its major type and argument; no argument means
/// an indefinite length (or, of major type 7, a break).
struct Head {
    major: u8,
    argument: Option<u64>,
}

/// A place in the bytes.
#[derive(Clone, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let len = usize::try_from(len).map_err(|_| TRUNCATED)?;
        let taken = rest.get(..len).ok_or(TRUNCATED)?;
        self.at += len;
        Ok(taken)
    }

    #[inline]
    fn head(&mut self) -> Result<Head, Fault> {
        let &first = self.bytes.get(self.at).ok_or(TRUNCATED)?;
        self.at += 1;
        let major = first >> 5;
        let argument = match first & 0x1f {
            small @ 0..=23 => Some(u64::from(small)),
            width @ 24..=27 => Some(self.wide_argument(width)?),
            31 => None,
            _ => return Err(NOT_CBOR),
        };
        Ok(Head { major, argument })
    }

    #[inline]
    fn wide_argument(&mut self, width: u8) -> Result<u64, Fault> {
        let rest = &self.bytes[self.at..];
        let (argument, len) = match width {
            24 => (rest.first().map(|&n| u64::from(n)), 1),
            25 => (rest.first_chunk().map(|n| u64::from(u16::from_be_bytes(*n))), 2),
            26 => (rest.first_chunk().map(|n| u64::from(u32::from_be_bytes(*n))), 4),
            _ => (rest.first_chunk().map(|n| u64::from_be_bytes(*n)), 8),
        };
        self.at += len;
        argument.ok_or(TRUNCATED)
    }

    /// Whether a container has another item; takes the break that ends one of
    /// indefinite length.
    #[inline]
    fn more(&mut self, left: &mut Option<u64>) -> Result<bool, Fault> {
        match left {
            Some(0) => Ok(false),
            Some(n) => {
                *n -= 1;
                Ok(true)
            }
            None if self.bytes.get(self.at) == Some(&0xff) => {
                self.at += 1;
                *left = Some(0);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// The next item, whole.
    #[inline]
    fn item(&mut self, nesting: u32) -> Result<&'a [u8], Fault> {
        let start = self.at;
        self.skip(nesting)?;
        Ok(&self.bytes[start..self.at])
    }

    fn skip(&mut self, nesting: u32) -> Result<(), Fault> {
        let head = self.head()?;
        match (head.major, head.argument) {
            (0 | 1, Some(_)) => Ok(()),
            (2 | 3, Some(len)) => self.take(len).map(drop),
            (2 | 3, None) => self.skip_chunks(head.major),
            (4, left) => self.skip_entries(left, 1, nesting),
            (5, left) => self.skip_entries(left, 2, nesting),
            (6, Some(_)) => self.skip(nesting.checked_sub(1).ok_or(TOO_DEEP)?),
            (7, Some(_)) => Ok(()),
            _ => Err(NOT_CBOR),
        }
    }

    fn skip_entries(
        &mut self,
        mut left: Option<u64>,
        items_each: u32,
        nesting: u32,
    ) -> Result<(), Fault> {
        let nesting = nesting.checked_sub(1).ok_or(TOO_DEEP)?;
        while self.more(&mut left)? {
            for _ in 0..items_each {
                self.skip(nesting)?;
            }
        }
        Ok(())
    }

    fn skip_chunks(&mut self, major: u8) -> Result<(), Fault> {
        let mut left = None;
        while self.more(&mut left)? {
            match self.head()? {
                Head { major: m, argument: Some(len) } if m == major => self.take(len)?,
                _ => return Err(NOT_CBOR),
            };
        }
        Ok(())
    }

    /// Calls `each` with the key (if it is a text of definite length) and the
    /// value of every entry of the map that comes next.
    fn map(
        &mut self,
        nesting: u32,
        mut each: impl FnMut(Option<&'a [u8]>, &'a [u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Head { major: 5, argument: mut left } = self.head()? else { return Err(NOT_A_MAP) };
        let nesting = nesting.checked_sub(1).ok_or(TOO_DEEP)?;
        while self.more(&mut left)? {
            let key = self.item(nesting)?;
            let value = self.item(nesting)?;
            each(string(key, 3), value)?;
        }
        Ok(())
    }
}
