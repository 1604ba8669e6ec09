//! The properties of an object.

use std::cmp::Ordering;
use std::sync::Arc;

use minicbor::Decoder;

use super::encode::{key_order, read_map, write_head, write_text};
use super::{InvalidValue, Value, ValueLimits, canonical};

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
    fn cmp(&self, other: &Self) -> Ordering {
        key_order(&self.0, &other.0)
    }
}

impl PartialOrd for PropKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
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
        let start = decoder.position();
        let rest = decoder.input().get(start..).unwrap_or_default();
        if let Some(len) = canonical::props(rest, limits) {
            decoder.set_position(start + len);
            return Ok(Self(rest[..len].into()));
        }
        let (mut entries, mut size) = (Vec::new(), 0);
        read_map(decoder, |key, decoder| {
            let key = PropKey::new(key, limits)?;
            let value = Value::read(decoder, limits)?;
            // Stops a flood of small entries before they are all in memory.
            size += key.as_str().len() + value.as_bytes().len();
            if size > limits.max_props_bytes {
                return Err(InvalidValue::PropsTooLarge);
            }
            entries.push((key, value));
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

    /// Takes what [`Self::as_bytes`] gave, whatever the limits were then.
    ///
    /// # Errors
    /// [`InvalidValue::Malformed`] when it is anything else.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, InvalidValue> {
        match canonical::props(bytes, &ValueLimits::NONE) {
            Some(len) if len == bytes.len() => Ok(Self(bytes.into())),
            _ => Err(InvalidValue::Malformed),
        }
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
        canonical::entries(&self.0)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value> {
        let [value] = self.values([key]);
        value.map(|value| Value(value.into()))
    }

    /// The encoded values of several keys, found in one pass.
    pub fn values<const N: usize>(&self, keys: [&str; N]) -> [Option<&[u8]>; N] {
        let longest = keys.iter().map(|key| key.len()).max().unwrap_or(0);
        let mut values = [None; N];
        for (key, value) in self.iter().take_while(|(key, _)| key.len() <= longest) {
            if let Some(nth) = keys.iter().position(|wanted| *wanted == key) {
                values[nth] = Some(value);
            }
        }
        values
    }

    /// These properties, and those of `defaults` whose keys they do not have.
    #[must_use]
    pub fn over(&self, defaults: &Self) -> Self {
        let (mut count, mut body) = (0, Vec::with_capacity(self.0.len() + defaults.0.len()));
        let mut put = |(key, value): (&str, &[u8])| {
            count += 1;
            write_text(key, &mut body);
            body.extend_from_slice(value);
        };
        let mut rest = defaults.iter().peekable();
        for own in self.iter() {
            while let Some(default) = rest.next_if(|(key, _)| key_order(key, own.0).is_lt()) {
                put(default);
            }
            let _overridden = rest.next_if(|(key, _)| *key == own.0);
            put(own);
        }
        rest.for_each(put);
        let mut out = Vec::with_capacity(body.len() + 9);
        write_head(5, count, &mut out);
        out.append(&mut body);
        Self(out.into())
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
        let (mut count, mut body) = (0, Vec::with_capacity(self.0.len() + 32));
        let mut put = |key: &str, value: &[u8]| {
            count += 1;
            write_text(key, &mut body);
            body.extend_from_slice(value);
        };
        let mut undo = Vec::with_capacity(patch.0.len());
        let mut own = self.iter().peekable();
        for (key, value) in &patch.0 {
            while let Some((k, v)) = own.next_if(|(k, _)| key_order(k, &key.0).is_lt()) {
                put(k, v);
            }
            let before = own.next_if(|(k, _)| *k == &*key.0);
            undo.push((key.clone(), before.map(|(_, v)| Value(v.into()))));
            if let Some(value) = value {
                put(key.as_str(), value.as_bytes());
            }
        }
        own.for_each(|(k, v)| put(k, v));
        let mut out = Vec::with_capacity(body.len() + 9);
        write_head(5, count, &mut out);
        out.append(&mut body);
        if out.len() > limits.max_props_bytes {
            return Err(InvalidValue::PropsTooLarge);
        }
        Ok((Self(out.into()), PropsPatch(undo)))
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
