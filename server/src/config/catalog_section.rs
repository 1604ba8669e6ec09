//! The settings of what people own outside of branes.

use serde::{Deserialize, Serialize};

use super::sections::{MIB, section};

section! {
    /// How much people may own outside of branes.
    Catalog {
        /// Objects of one user.
        max_objects_per_user: u64 = 10_000,
        /// Bytes of all things of one user.
        max_bytes_per_user: u64 = 64 * MIB,
        /// Versions of prototypes of one user.
        max_prototypes_per_user: u64 = 2_000,
        /// Drafts of one user.
        max_drafts_per_user: u64 = 200,
        /// Objects of one tree.
        max_tree_objects: u32 = 64,
        /// Levels of one tree.
        max_tree_depth: u32 = 16,
        /// Prototypes in one gallery.
        max_gallery: u32 = 256,
    }
}
