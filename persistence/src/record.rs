//! What is known of a brane without opening it.

pub use avvy_model::label::MAX_NAME_BYTES;
use avvy_model::label::{MAX_DESCRIPTION_BYTES, are_tags};
use avvy_model::{BraneId, Grid, UserId, Visibility};

use crate::error::StoreError;
use crate::life::Life;

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

/// A brane's record. What of it may change, and how, is said at
/// [`crate::Store::update_brane`].
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
    /// What people say of it; at most [`MAX_DESCRIPTION_BYTES`] bytes.
    pub description: String,
    /// By what people find it: see [`are_tags`].
    pub tags: Vec<String>,
    /// What has become of it.
    pub life: Life,
    /// Whether an operator archived it: then only an operator opens it again,
    /// also after its owner has deleted it. An active one never says so.
    pub by_operator: bool,
    /// 1 when it is created, and one more with every change.
    pub version: u64,
}

impl BraneRecord {
    /// The record of a new brane: private and personal, with the usual grid and
    /// without a name.
    pub fn new(id: BraneId, owner: UserId, created_ms: u64) -> Self {
        Self {
            id,
            owner,
            name: String::new(),
            kind: BraneKind::Personal,
            visibility: Visibility::Private,
            created_ms,
            grid: Grid::default(),
            description: String::new(),
            tags: Vec::new(),
            life: Life::Active,
            by_operator: false,
            version: 1,
        }
    }

    /// Refuses what breaks the bounds stated at the fields.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.name.len() > MAX_NAME_BYTES {
            return Err(StoreError::Invalid("the name is too long"));
        }
        if self.description.len() > MAX_DESCRIPTION_BYTES {
            return Err(StoreError::Invalid("the description is too long"));
        }
        if !are_tags(&self.tags) {
            return Err(StoreError::Invalid("there are too many tags, or one is none"));
        }
        if self.by_operator && !matches!(self.life, Life::Archived { .. } | Life::Doomed { .. }) {
            return Err(StoreError::Invalid("operators archive what is not active then"));
        }
        let is_far = |number: u64| i64::try_from(number).is_err();
        if is_far(self.created_ms) || is_far(self.version) || self.life.times().any(is_far) {
            return Err(StoreError::Invalid("a time or the version is too far away"));
        }
        Ok(())
    }

    /// Whether it is a copy that is being written, or was never finished: it
    /// begins as doomed, while what was deleted has been changed before.
    pub const fn is_unfinished(&self) -> bool {
        matches!(self.life, Life::Doomed { .. }) && self.version == 1
    }

    /// The place of this record in listings.
    pub const fn cursor(&self) -> BraneCursor {
        BraneCursor { created_ms: self.created_ms, id: self.id }
    }
}

/// Which branes a listing shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BraneFilter {
    /// Every brane, whatever has become of it: for operators.
    All,
    /// Public ones that are active.
    Listed,
    /// Public ones and those of this owner, where they are active.
    VisibleTo(UserId),
    /// Those of this owner that are not purged.
    OwnedBy(UserId),
    /// Those of this owner that are archived.
    ArchivedOf(UserId),
    /// Those of this owner that are deleted and can be restored.
    DeletedOf(UserId),
    /// Those whose purge is due at this time, in Unix milliseconds, or has
    /// begun.
    Due(u64),
}

impl BraneFilter {
    /// Whether the listing shows this brane.
    pub fn shows(self, record: &BraneRecord) -> bool {
        let is_public = record.visibility == Visibility::Public;
        match self {
            Self::All => true,
            Self::Listed => record.life == Life::Active && is_public,
            Self::VisibleTo(user) => {
                record.life == Life::Active && (is_public || record.owner == user)
            }
            Self::OwnedBy(user) => record.owner == user && !record.life.is_over(),
            Self::ArchivedOf(user) => {
                record.owner == user && matches!(record.life, Life::Archived { .. })
            }
            Self::DeletedOf(user) => {
                let is_deleted = matches!(record.life, Life::Doomed { .. });
                record.owner == user && is_deleted && !record.is_unfinished()
            }
            Self::Due(now_ms) => record.life.is_due(now_ms),
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
