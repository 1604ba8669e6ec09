//! One brane's world as a pure state machine: edits go in, outcomes come out,
//! and outcomes alone make the same world again.
//!
//! [`World`] is the tree of objects. [`World::apply`] decides about an edit and
//! gives its outcome, [`World::replay`] follows an outcome, [`World::freeze`]
//! gives a view of the moment to other threads, [`World::diff`] says what an
//! older copy lacks. [`Clients`] remembers what became of whose edits.
//! [`Rights`] says who may do what, and is part of the world's log.
//! [`journal`] and [`snapshot`] are the bytes of all of them.
//!
//! Nothing here knows a clock, a socket, a store or a task: time, edit ids and
//! sequence numbers are arguments, and the same arguments give the same bytes.

mod apply;
mod cbor;
mod clients;
mod copying;
mod diff;
mod graves;
mod hash;
mod ids;
mod interest;
pub mod journal;
mod occupancy;
mod pages;
mod portals;
mod prototypes;
mod recency;
mod replay;
mod rights;
mod side;
mod slots;
pub mod snapshot;
mod ties;
mod world;

pub use clients::{Admission, Clients, Outcome};
pub use copying::{CopyOf, Copying};
pub use diff::Diff;
pub use interest::{Crossed, Crossing, MAX_CROSSED, Region, Spot};
pub use journal::JournalError;
pub use pages::{Changes, Frozen};
pub use replay::ReplayError;
pub use rights::{KEPT_RULINGS, Rights, RulingRecord};
pub use snapshot::SnapshotError;
pub use world::World;
