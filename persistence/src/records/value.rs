//! Bodies: named fields with typed values.

use std::collections::BTreeMap;

use bytes::Bytes;

/// How deep arrays and maps may be within each other; a field's plain value is
/// at depth 1.
pub const MAX_DEPTH: usize = 8;

/// The longest name of a field, in bytes of UTF-8.
pub const MAX_FIELD_NAME_BYTES: usize = 64;

/// The last second that a time can say: the end of the year 9999, beyond which
/// not every store counts.
pub const MAX_TIME_S: u64 = 253_402_300_799;

/// A value of a field.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing, where that means something else than a field that is left out.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; a finite one.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Bytes),
    /// A time in Unix seconds, at most [`MAX_TIME_S`].
    Time(u64),
    /// Values in their order.
    Array(Vec<Value>),
    /// Values by their names.
    Map(Fields),
}

/// What a body can not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// A name is empty, longer than [`MAX_FIELD_NAME_BYTES`], begins with `$`,
    /// or holds a point or a zero: other tools could not read it.
    #[error("a field has no good name")]
    Name,
    /// Arrays and maps are deeper than [`MAX_DEPTH`] within each other.
    #[error("the values are nested too deep")]
    Depth,
    /// A float is not finite.
    #[error("a number is not finite")]
    Float,
    /// A time is after [`MAX_TIME_S`].
    #[error("a time is too far away")]
    Time,
    /// There are more than [`super::MAX_ENTRIES`] entries.
    #[error("there are too many index entries")]
    Entries,
    /// The key of an entry is longer than [`super::MAX_INDEX_KEY_BYTES`].
    #[error("an index key is too long")]
    IndexKey,
}

/// Named values.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this field, in place of one of the same name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a field.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// A field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All fields, by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A field that is a truth; `None` if it is missing or something else, as
    /// with all that follow.
    pub fn bool(&self, name: &str) -> Option<bool> {
        if let Value::Bool(value) = self.get(name)? { Some(*value) } else { None }
    }

    /// A field that is a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        if let Value::Int(value) = self.get(name)? { Some(*value) } else { None }
    }

    /// A field that is a float.
    pub fn float(&self, name: &str) -> Option<f64> {
        if let Value::Float(value) = self.get(name)? { Some(*value) } else { None }
    }

    /// A field that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        if let Value::Text(value) = self.get(name)? { Some(value) } else { None }
    }

    /// A field that is bytes.
    pub fn bytes(&self, name: &str) -> Option<&Bytes> {
        if let Value::Bytes(value) = self.get(name)? { Some(value) } else { None }
    }

    /// A field that is a time, in Unix seconds.
    pub fn time(&self, name: &str) -> Option<u64> {
        if let Value::Time(value) = self.get(name)? { Some(*value) } else { None }
    }

    /// A field that is an array.
    pub fn array(&self, name: &str) -> Option<&[Value]> {
        if let Value::Array(value) = self.get(name)? { Some(value) } else { None }
    }

    /// A field that is a map.
    pub fn map(&self, name: &str) -> Option<&Self> {
        if let Value::Map(value) = self.get(name)? { Some(value) } else { None }
    }

    /// Holds the fields to what they can be.
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        self.check_at(1)
    }

    fn check_at(&self, depth: usize) -> Result<(), Malformed> {
        for (name, value) in &self.0 {
            let is_long = name.is_empty() || name.len() > MAX_FIELD_NAME_BYTES;
            if is_long || name.starts_with('$') || name.contains(['.', '\0']) {
                return Err(Malformed::Name);
            }
            value.check(depth)?;
        }
        Ok(())
    }
}

impl Value {
    /// A time in Unix seconds.
    pub const fn time(unix_s: u64) -> Self {
        Self::Time(unix_s)
    }

    fn check(&self, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed::Depth);
        }
        match self {
            Self::Float(float) if !float.is_finite() => Err(Malformed::Float),
            Self::Time(time) if *time > MAX_TIME_S => Err(Malformed::Time),
            Self::Array(items) => items.iter().try_for_each(|item| item.check(depth + 1)),
            Self::Map(fields) => fields.check_at(depth + 1),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Bytes(_)
            | Self::Time(_) => Ok(()),
        }
    }
}

impl FromIterator<(String, Value)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl IntoIterator for Fields {
    type Item = (String, Value);
    type IntoIter = std::collections::btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Makes values of what they hold.
macro_rules! from {
    ($($of:ty => |$value:ident| $made:expr),+ $(,)?) => {
        $(impl From<$of> for Value {
            fn from($value: $of) -> Self {
                $made
            }
        })+
    };
}
from! {
    bool => |value| Self::Bool(value),
    i64 => |value| Self::Int(value),
    u32 => |value| Self::Int(value.into()),
    f64 => |value| Self::Float(value),
    &str => |value| Self::Text(value.to_owned()),
    String => |value| Self::Text(value),
    uuid::Uuid => |value| Self::Text(value.hyphenated().to_string()),
    Bytes => |value| Self::Bytes(value),
    Vec<Value> => |value| Self::Array(value),
    Fields => |value| Self::Map(value),
}
