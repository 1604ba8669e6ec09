//! Things, and how they are stored.

mod codec;

use avvy_model::{AssetHash, Code, Props, Transform, UserId, Visibility};
use avvy_persistence::records::{Collection, Draft, Index, IndexKey};
use uuid::Uuid;

use crate::Refused;
use crate::chain::Chain;
use crate::label::Label;

/// Objects and prototypes. Key: the thing's id.
pub(crate) static THINGS: Collection = Collection {
    name: "things",
    indexes: &[
        // (owner, id): all that somebody has.
        Index::plain("by_owner"),
        // (owner, kind or "", made): what is in no group.
        Index::plain("by_inventory"),
        // (id of the first version, number).
        Index::plain("by_chain"),
    ],
};

/// What a thing is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A template that objects of branes follow.
    Prototype,
    /// An object that holds others.
    Group,
    /// An object that holds none.
    Block,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Prototype, Self::Group, Self::Block];

    /// Its name on public surfaces, and in what is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prototype => "prototype",
            Self::Group => "group",
            Self::Block => "block",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A thing of somebody's.
#[derive(Clone, PartialEq, Debug)]
pub struct Thing {
    /// Its name everywhere.
    pub id: Uuid,
    /// Whose it is.
    pub owner: UserId,
    /// What people call it.
    pub label: Label,
    /// Who may see it. It is published, and what it is does not change any
    /// more, unless this is private.
    pub visibility: Visibility,
    /// Whether its owner would have nobody take it any more: it is not found
    /// by searches.
    pub is_deprecated: bool,
    /// Whether a later version is public: searches find that one.
    pub is_outdated: bool,
    /// Whether it was deleted after it was published: nothing of what it was is
    /// left, and after a while it is forgotten.
    pub is_deleted: bool,
    /// Its place among its versions.
    pub chain: Chain,
    /// When it was made, Unix time in seconds.
    pub created_s: u64,
    /// When it was last changed, Unix time in seconds.
    pub changed_s: u64,
    /// On its way into a brane or out of one.
    pub moving: Option<Moving>,
    /// What it is.
    pub what: What,
}

/// What decides who sees a thing, and as what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outline {
    pub(crate) kind: Kind,
    pub(crate) owner: UserId,
    visibility: Visibility,
    is_deleted: bool,
    moving: Option<Moving>,
}

impl Outline {
    /// Whether this user may see it.
    pub(crate) fn is_seen_by(&self, user: UserId) -> bool {
        let is_published = self.visibility != Visibility::Private;
        let is_there = !matches!(self.moving, Some(Moving::In(_)));
        is_there && (self.owner == user || (is_published && !self.is_deleted))
    }
}

/// A thing on its way, by the id of the transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moving {
    /// Into a brane; it cannot be changed.
    Out(Uuid),
    /// Out of a brane; it is not there yet.
    In(Uuid),
}

/// What a thing is.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// A group or a block.
    Object(Object),
    /// A prototype.
    Prototype(Prototype),
}

/// An object outside of branes.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// Group or block.
    pub kind: avvy_model::Kind,
    /// The group that it is in; `None`: it is in the inventory itself.
    pub parent: Option<Uuid>,
    /// Relative to the group that it is in.
    pub transform: Transform,
    /// Its properties. The model of a block is the property `model`.
    pub props: Props,
    /// What is in a group, in its order.
    pub children: Vec<Uuid>,
    /// The prototypes that a group offers, in its order.
    pub gallery: Vec<Uuid>,
}

/// A template.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Prototype {
    /// The properties that its instances have unless they have their own.
    pub defaults: Props,
    /// The handlers of its instances. They are kept, and nothing runs them yet.
    pub handlers: Vec<Uuid>,
    /// The models that it refers to.
    pub models: Vec<AssetHash>,
}

/// The most handlers of a prototype.
pub const MAX_HANDLERS: usize = 32;

/// The most models of a prototype.
pub const MAX_MODELS: usize = 32;

/// What a thing is counted as beside what is in it, in bytes.
const THING_BYTES: u64 = 256;

/// What the id of another thing is counted as, in bytes.
const ID_BYTES: usize = 36;

impl Thing {
    /// Something new in somebody's inventory.
    pub(crate) const fn new(id: Uuid, owner: UserId, label: Label, what: What, now_s: u64) -> Self {
        Self {
            id,
            owner,
            label,
            visibility: Visibility::Private,
            is_deprecated: false,
            is_outdated: false,
            is_deleted: false,
            chain: Chain::first(id),
            created_s: now_s,
            changed_s: now_s,
            moving: None,
            what,
        }
    }

    /// What it is.
    pub const fn kind(&self) -> Kind {
        match &self.what {
            What::Prototype(_) => Kind::Prototype,
            What::Object(Object { kind: avvy_model::Kind::Group, .. }) => Kind::Group,
            What::Object(Object { kind: avvy_model::Kind::Block, .. }) => Kind::Block,
        }
    }

    /// Whether others can see it, and what it is does not change any more.
    pub fn is_published(&self) -> bool {
        self.visibility != Visibility::Private
    }

    /// Whether searches find it.
    pub(crate) fn is_listed(&self) -> bool {
        self.visibility == Visibility::Public
            && !self.is_deprecated
            && !self.is_outdated
            && !self.is_deleted
            && self.parent().is_none()
    }

    /// Whether this user may see it.
    pub(crate) fn is_seen_by(&self, user: UserId) -> bool {
        let Self { owner, visibility, is_deleted, moving, .. } = *self;
        Outline { kind: self.kind(), owner, visibility, is_deleted, moving }.is_seen_by(user)
    }

    /// Whether this user is offered it in place of an earlier version. Of what
    /// is unlisted only its owner is told.
    pub(crate) fn is_offered_to(&self, user: UserId) -> bool {
        let is_told = self.visibility == Visibility::Public || self.owner == user;
        is_told && self.is_published() && !self.is_deprecated && !self.is_deleted
    }

    /// The object that it is.
    ///
    /// # Errors
    /// `not_found` if it is none.
    pub(crate) fn object(&self) -> Result<&Object, Refused> {
        match &self.what {
            What::Object(object) => Ok(object),
            What::Prototype(_) => Err(Code::NotFound.into()),
        }
    }

    /// The same, to be changed.
    pub(crate) fn object_mut(&mut self) -> Result<&mut Object, Refused> {
        match &mut self.what {
            What::Object(object) => Ok(object),
            What::Prototype(_) => Err(Code::NotFound.into()),
        }
    }

    /// The prototype that it is.
    ///
    /// # Errors
    /// `not_found` if it is none.
    pub(crate) fn prototype(&self) -> Result<&Prototype, Refused> {
        match &self.what {
            What::Prototype(prototype) => Ok(prototype),
            What::Object(_) => Err(Code::NotFound.into()),
        }
    }

    /// The group that it is in.
    pub(crate) const fn parent(&self) -> Option<Uuid> {
        match &self.what {
            What::Object(object) => object.parent,
            What::Prototype(_) => None,
        }
    }

    /// What is in it.
    pub(crate) fn children(&self) -> &[Uuid] {
        match &self.what {
            What::Object(object) => &object.children,
            What::Prototype(_) => &[],
        }
    }

    /// What it is counted as, in bytes; see [`crate::Usage`].
    pub(crate) fn bytes(&self) -> u64 {
        let own = match &self.what {
            What::Object(Object { props, children, gallery, .. }) => {
                props.as_bytes().len() + ID_BYTES * (children.len() + gallery.len())
            }
            What::Prototype(Prototype { defaults, handlers, models }) => {
                defaults.as_bytes().len() + ID_BYTES * handlers.len() + 32 * models.len()
            }
        };
        THING_BYTES + self.label.bytes() + own as u64
    }

    /// The record that it is.
    pub(crate) fn draft(&self) -> Draft {
        let owner = IndexKey::new().uuid(self.owner.uuid());
        let mut draft = Draft::new(codec::write(self))
            .found_by("by_owner", owner.clone().uuid(self.id))
            .found_by("by_chain", chain_key(self.chain.origin, self.chain.number));
        if self.parent().is_none() && self.moving.is_none() && !self.is_deleted {
            for scope in ["", self.kind().name()] {
                let key = owner.clone().text(scope).number(self.created_s);
                draft = draft.found_by("by_inventory", key);
            }
        }
        draft
    }
}

/// Under what a version is found.
pub(crate) fn chain_key(origin: Uuid, number: u32) -> IndexKey {
    IndexKey::new().uuid(origin).number(number.into())
}

pub(crate) use codec::{outline, read};

#[cfg(test)]
mod tests;
