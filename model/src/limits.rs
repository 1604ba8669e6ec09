//! Bounds of one world.

use crate::ValueLimits;

/// What a brane refuses to grow beyond. Each bound has its own [`crate::Code`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorldLimits {
    /// Objects in the brane, the root included.
    pub max_objects: u32,
    /// Bytes of memory of all objects together, as [`crate::weight::held`]
    /// counts them. What makes none more is accepted beyond it, too.
    pub max_bytes: u64,
    /// Steps from the root to the deepest object.
    pub max_depth: u32,
    /// Operations in one batch.
    pub max_batch: usize,
    /// Objects that one edit may touch: a deleted subtree, children handed
    /// up, a subtree that is moved deeper.
    pub max_touched: usize,
    /// Bytes that one edit may add to the journal at most, before-images
    /// included, as [`crate::weight`] counts them. A chunk must hold it.
    pub max_event_bytes: usize,
    /// Bounds of values and properties.
    pub values: ValueLimits,
    /// How many of a client's last outcomes are remembered.
    pub outcomes_per_client: usize,
    /// Clients of one user that are remembered without being there; beyond,
    /// the one that was silent for the longest is forgotten.
    pub clients_per_user: usize,
    /// Roles of a brane's own.
    pub max_roles: usize,
    /// Users of whom a brane says something: a role, a ban or a mute.
    pub max_standings: usize,
    /// Grants in a brane.
    pub max_grants: usize,
    /// Grants of one user in a brane.
    pub max_grants_per_user: usize,
    /// Prototypes that a brane follows.
    pub max_prototypes: usize,
    /// Bytes of all that a brane follows together: of those properties of its
    /// root. They do not count against the root's other properties.
    pub max_prototype_bytes: usize,
    /// Cells of one block, where cells are exclusive.
    pub max_footprint_cells: u32,
    /// Cells that one edit may fill.
    pub max_edit_cells: usize,
    /// Cells that are taken in a brane.
    pub max_occupied_cells: usize,
    /// How long a client's outcomes are remembered after its last edit, in milliseconds.
    pub client_memory_ms: u64,
}

impl Default for WorldLimits {
    fn default() -> Self {
        Self {
            max_objects: 1_000_000,
            max_bytes: 1 << 30,
            max_depth: 64,
            max_batch: 1_000,
            max_touched: 10_000,
            max_event_bytes: 8 << 20,
            values: ValueLimits::default(),
            outcomes_per_client: 256,
            clients_per_user: 1_024,
            max_roles: 32,
            max_standings: 10_000,
            max_grants: 10_000,
            max_grants_per_user: 64,
            max_prototypes: 256,
            max_prototype_bytes: 128 << 10,
            max_footprint_cells: 4_096,
            max_edit_cells: 65_536,
            max_occupied_cells: 4_000_000,
            client_memory_ms: 7 * 24 * 3_600_000,
        }
    }
}
