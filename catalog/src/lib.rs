//! Things: what people own and find outside of branes.
//!
//! Objects and prototypes are in the inventories of their owners until they are
//! published or go into a brane. Everything is a
//! [record](avvy_persistence::records), so every store and every node of a
//! fleet will do. Nothing here knows HTTP.
//!
//! - **One commit for each change**, which also holds what the owner has,
//!   counted: see `account`. So quotas are exact, and two changes of one user's
//!   things are done one after the other, whoever asks and wherever.
//! - **What is published stays as it is.** A change of it is a new version.
//! - **Not for others to know.** What a user may not see is answered
//!   `not_found`, as if it were not there.

mod account;
mod chain;
mod chronicle;
mod fold;
mod found;
mod gallery;
mod label;
mod limits;
mod listing;
mod objects;
mod prototypes;
mod refused;
mod scene;
mod thing;
mod transfer;
mod work;

use std::sync::Arc;

use avvy_persistence::records::Records;

pub use account::Usage;
pub use avvy_persistence::records::Cursor;
pub use chain::Chain;
pub use chronicle::{MAX_PAGE_RULINGS, MAX_RULINGS, RulingPage};
pub use found::{
    Found, FoundKind, FoundPage, ListedBrane, MAX_FOUND, MAX_QUESTION_BYTES, MAX_QUESTION_WORDS,
    MAX_WORDS, Question,
};
pub use gallery::GalleryEdit;
pub use label::{
    Label, LabelPatch, MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES, MAX_TAG_BYTES, MAX_TAGS,
};
pub use limits::{CatalogLimits, MAX_TREE_OBJECTS};
pub use listing::{MAX_PAGE_THINGS, Sight, ThingPage};
pub use objects::{Changed, NewObject, ObjectPatch};
pub use prototypes::PrototypePatch;
pub use refused::Refused;
pub use thing::{Kind, MAX_HANDLERS, MAX_MODELS, Moving, Object, Prototype, Thing, What};
pub use transfer::{Answer, Branes, Moved, Place};
pub use work::Stored;

/// The things of a server. Cloning shares it.
#[derive(Clone)]
pub struct Catalog {
    records: Arc<dyn Records>,
    limits: CatalogLimits,
}

impl Catalog {
    /// Over these records.
    pub fn new(records: Arc<dyn Records>, limits: CatalogLimits) -> Self {
        Self { records, limits }
    }

    /// Where everything is kept.
    pub fn records(&self) -> &Arc<dyn Records> {
        &self.records
    }

    /// How much a user may have.
    pub const fn limits(&self) -> &CatalogLimits {
        &self.limits
    }
}
