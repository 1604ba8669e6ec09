//! Who may see a brane.

/// Who may see a brane. Read rights are per brane, never per object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Visibility {
    /// The owner, and whom the owner lets in.
    Private,
    /// Anyone who has the id; not listed, not searched.
    Unlisted,
    /// Anyone; listed.
    Public,
}

impl Visibility {
    /// The name on public surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Unlisted => "unlisted",
            Self::Public => "public",
        }
    }

    /// The visibility of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "private" => Some(Self::Private),
            "unlisted" => Some(Self::Unlisted),
            "public" => Some(Self::Public),
            _ => None,
        }
    }
}
