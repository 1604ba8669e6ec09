//! Who asks.

use crate::UserId;
use crate::rights::{Verb, Verbs};

/// The roles that every brane knows. Each may do what the one before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Sees.
    Visitor,
    /// Moves and edits what is there.
    Editor,
    /// Creates and deletes, too.
    Builder,
    /// Configures the brane and rules over the rights of others, too.
    Owner,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Visitor, Self::Editor, Self::Builder, Self::Owner];

    /// What it may do.
    pub const fn verbs(self) -> Verbs {
        match self {
            Self::Visitor => Verbs::NONE,
            Self::Editor => Verbs::of(&[Verb::Move, Verb::Edit]),
            Self::Builder => Verbs::of(&[Verb::Create, Verb::Move, Verb::Edit, Verb::Delete]),
            Self::Owner => Verbs::ALL,
        }
    }

    /// The name on public surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Editor => "editor",
            Self::Builder => "builder",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A user, and what their token allows them in a brane at most. What they may
/// do there is for the brane's rights to say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Principal {
    /// Who.
    pub user: UserId,
    /// The most that the token allows.
    pub ceiling: Role,
    /// Whether they may see the brane without a role in it: it is not
    /// private, or the token names it.
    pub invited: bool,
}
