//! The things in a brane.

use crate::{Handle, ObjectId, Props, Transform, UserId};

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Holds other objects.
    Group = 0,
    /// A leaf: a model with properties.
    Block = 1,
}

impl Kind {
    /// The kind with this number in packed formats.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Group),
            1 => Some(Self::Block),
            _ => None,
        }
    }

    /// Its number in packed formats.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name on public surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Block => "block",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "group" => Some(Self::Group),
            "block" => Some(Self::Block),
            _ => None,
        }
    }
}

/// An object's whole state. Cloning it is cheap: properties are shared.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// Its name everywhere.
    pub id: ObjectId,
    /// The group it is in. The root is its own parent.
    pub parent: Handle,
    /// Group or block.
    pub kind: Kind,
    /// Who owns it: its creator, until it is given away.
    pub owner: UserId,
    /// Relative to the parent.
    pub transform: Transform,
    /// Its properties. A block's model is the property `model`, an asset reference.
    pub props: Props,
}

impl Object {
    /// The property that says of which prototype an object is an instance, as
    /// the text of its UUID in lower case. See [`crate::Followed`].
    pub const PROTOTYPE_KEY: &str = "prototype";
}
