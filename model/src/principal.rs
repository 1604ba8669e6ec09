//! Who asks.

use crate::UserId;

/// What a user may do in a brane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Sees.
    Visitor,
    /// Sees and changes objects, but not the brane's root.
    Builder,
    /// Changes everything.
    Owner,
}

impl Role {
    /// The name on public surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Builder => "builder",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "visitor" => Some(Self::Visitor),
            "builder" => Some(Self::Builder),
            "owner" => Some(Self::Owner),
            _ => None,
        }
    }
}

/// A user with the role that was decided for this brane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Principal {
    /// Who.
    pub user: UserId,
    /// As what.
    pub role: Role,
}
