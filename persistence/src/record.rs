//! What is known of a brane without opening it.

use avvy_model::{BraneId, Grid, UserId, Visibility};

/// The longest name of a brane, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 256;

/// The most records of one page of a listing.
pub const MAX_PAGE: u32 = 1_000;

/// What a brane is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BraneKind {
    /// A user's own world.
    Personal,
    /// Shows goods.
    Showcase,
    /// Let to others.
    Rental,
    /// Of everyone.
    Public,
}

impl BraneKind {
    /// The name on public surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Showcase => "showcase",
            Self::Rental => "rental",
            Self::Public => "public",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "personal" => Some(Self::Personal),
            "showcase" => Some(Self::Showcase),
            "rental" => Some(Self::Rental),
            "public" => Some(Self::Public),
            _ => None,
        }
    }
}

/// A brane's record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BraneRecord {
    /// The brane.
    pub id: BraneId,
    /// Who may do everything in it.
    pub owner: UserId,
    /// What people call it; at most [`MAX_NAME_BYTES`] bytes.
    pub name: String,
    /// What it is for.
    pub kind: BraneKind,
    /// Who may see it.
    pub visibility: Visibility,
    /// When it was created, in Unix milliseconds.
    pub created_ms: u64,
    /// The grid that its root asks for before the first edit.
    pub grid: Grid,
}

impl BraneRecord {
    /// The place of this record in listings.
    pub const fn cursor(&self) -> BraneCursor {
        BraneCursor { created_ms: self.created_ms, id: self.id }
    }
}

/// Which branes a listing shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BraneFilter {
    /// Every brane: for operators.
    All,
    /// Public ones.
    Listed,
    /// Public ones and those of this owner.
    VisibleTo(UserId),
    /// Those of this owner.
    OwnedBy(UserId),
}

impl BraneFilter {
    /// Whether the listing shows this brane.
    pub fn shows(self, record: &BraneRecord) -> bool {
        match self {
            Self::All => true,
            Self::Listed => record.visibility == Visibility::Public,
            Self::VisibleTo(user) => {
                record.visibility == Visibility::Public || record.owner == user
            }
            Self::OwnedBy(user) => record.owner == user,
        }
    }
}

/// A place in a listing: listings go by time of creation, then by id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BraneCursor {
    /// The time of creation of the last brane seen, in Unix milliseconds.
    pub created_ms: u64,
    /// Its id.
    pub id: BraneId,
}

/// A page of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BranePage {
    /// The records, oldest brane first.
    pub branes: Vec<BraneRecord>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<BraneCursor>,
}
