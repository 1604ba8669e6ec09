//! Where branes live while nobody looks: the [`Store`] contract and its stores.
//!
//! A store keeps, for every brane, its record, its journal (a chain of chunks,
//! each a window of accepted edits) and its snapshots. Chunks are the truth;
//! a brane opens from its newest snapshot and the chunks after it, or from an
//! older snapshot and more chunks. What a
//! chunk or a snapshot part says is the business of others: here it is bytes
//! with a checksum and a place.
//!
//! Beside branes a store keeps [`records`]: small documents with versions and
//! indexes, under a contract of their own that the same stores fulfil.
//!
//! - [`memory`]: a store without a disk, deterministic, with planned faults,
//!   for simulation and tests.
//! - [`sqlite`]: the embedded store.
//! - `mongo` (feature `mongodb`): the store of a fleet.
//! - [`cache`]: read models of any of them, kept in the process and in Redis
//!   (feature `redis`).
//! - [`spool`]: a bounded journal on local disk for what a store cannot take now.
//! - `testing` (feature `testing`): the conformance suite that every store
//!   passes, and a store with deliberate bugs that fails it.
//! - `powercut` (feature `powercut`): a SQLite VFS that forgets what was not
//!   synced.

pub mod cache;
mod chain;
mod checksum;
mod chunk;
mod error;
mod fleet;
mod hold;
pub mod import;
mod inspection;
mod judge;
mod life;
mod lineage;
pub mod memory;
#[cfg(feature = "mongodb")]
pub mod mongo;
#[cfg(feature = "powercut")]
pub mod powercut;
mod record;
pub mod records;
mod report;
mod scan;
mod share;
mod snapshot;
pub mod spool;
pub mod sqlite;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod upkeep;

pub use chunk::{AppendRefusal, Chunk, ChunkWrite, MAX_CHUNK_BYTES};
pub use error::{Place, StoreError};
pub use fleet::{Fleet, Holder, Holding, MAX_ADDRESS_BYTES, Node, NodeStatus, Renewed, Wish};
pub use life::Life;
pub use lineage::Lineage;
pub use record::{
    BraneCursor, BraneFilter, BraneKind, BranePage, BraneRecord, MAX_NAME_BYTES, MAX_PAGE,
};
pub use report::{
    BraneReport, CompactPolicy, Compaction, Cut, Damage, MAX_DAMAGES, StoreReport, WriteCounts,
};
pub use snapshot::{MAX_PART_BYTES, SnapshotId, SnapshotInfo, SnapshotStart};
pub use store::{
    BoxFuture, MAX_META_KEY_BYTES, MAX_META_VALUE_BYTES, Opened, Outline, Store, TornTail,
};
