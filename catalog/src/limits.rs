//! How much a user may have.

use avvy_model::ValueLimits;
use avvy_persistence::records::MAX_WRITES;

/// The most objects of a tree, whatever the setting: a tree changes in one
/// commit, together with what it is counted by.
pub const MAX_TREE_OBJECTS: usize = MAX_WRITES - 28;

/// What a user may have. Each bound has its own [`avvy_model::Code`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CatalogLimits {
    /// Objects of one user.
    pub max_objects: u64,
    /// Bytes of all things of one user, as [`crate::Usage`] counts them.
    pub max_bytes: u64,
    /// Versions of prototypes of one user.
    pub max_prototypes: u64,
    /// Drafts of one user: prototypes that are not published, and objects that
    /// are to follow a published one.
    pub max_drafts: u64,
    /// Objects of one tree, at most [`MAX_TREE_OBJECTS`].
    pub max_tree_objects: usize,
    /// Levels of one tree; an object alone has one.
    pub max_tree_depth: usize,
    /// Prototypes in the gallery of one group.
    pub max_gallery: usize,
    /// Bounds of properties, those of the world.
    pub values: ValueLimits,
}

impl Default for CatalogLimits {
    fn default() -> Self {
        Self {
            max_objects: 10_000,
            max_bytes: 64 << 20,
            max_prototypes: 2_000,
            max_drafts: 200,
            max_tree_objects: 64,
            max_tree_depth: 16,
            max_gallery: 256,
            values: ValueLimits::default(),
        }
    }
}
