//! Kinds of records, declared once.

/// A kind of records. Declared as a static, as its name is on disk: a name is
/// never used again for something else.
///
/// ```
/// use avvy_persistence::records::{Collection, Index};
///
/// static USERS: Collection = Collection {
///     name: "users",
///     indexes: &[Index::unique("by_email"), Index::plain("by_created")],
/// };
/// ```
#[derive(PartialEq, Eq, Debug)]
pub struct Collection {
    /// The name: 1 to 32 small letters, digits and `_`.
    pub name: &'static str,
    /// The indexes under which its records can be found. In a new one is what is
    /// written from then on. Whether one is unique never changes.
    pub indexes: &'static [Index],
}

/// An index of a collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Index {
    /// The name, as [`Collection::name`].
    pub name: &'static str,
    /// Of each key there is one holder at most.
    pub unique: bool,
}

impl Index {
    /// An index whose keys have one holder each.
    pub const fn unique(name: &'static str) -> Self {
        Self { name, unique: true }
    }

    /// An index whose keys may have many holders.
    pub const fn plain(name: &'static str) -> Self {
        Self { name, unique: false }
    }
}

/// The longest name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 32;

impl Collection {
    /// The index of a name.
    pub fn index(&self, name: &str) -> Option<&'static Index> {
        self.indexes.iter().find(|index| index.name == name)
    }
}

/// Whether a collection or an index can have this name.
pub(crate) fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_letter)
}
