//! The actors: sessions, branes, fan-out, directory, persistence and the
//! supervisor over them.
//!
//! They perform what the pure machines of `avvy_flow` decide, and nothing
//! else: no rule of the log is made here. Sockets, HTTP and CBOR's bytes are
//! not known here either; a client is a [`Wire`].
//!
//! Mailboxes are unbounded in this library, so every sender brings its own
//! bound: a connection its credits, a brane one published window at a time, a
//! journal its bytes.

mod accounts;
mod answer;
mod brane;
mod budget;
mod chronicle;
mod clock;
mod config;
mod credits;
mod denied;
mod directory;
mod fan_out;
mod fleet;
mod idle;
mod judge;
mod limit;
mod loading;
mod members;
mod metrics;
mod people;
mod persistence;
mod probe;
mod registry;
mod revocations;
mod route;
mod session;
mod session_actor;
mod snapshots;
mod status;
mod supervisor;
mod system;
#[cfg(test)]
mod tests;
mod wire;

pub use accounts::{Account, Held, UserConfig, Verb};
pub use avvy_brane::RulingRecord;
pub use avvy_flow::AdmissionStatus;
pub use avvy_flow::brane_core::BraneStatus;
pub use avvy_flow::fan_out::FanOutStatus;
pub use avvy_flow::lease::LeaseStatus;
pub use avvy_flow::people::{PeopleStatus, Rate};
pub use avvy_persistence::WriteCounts;
pub use avvy_persistence::cache::{CacheStatus, SharedStatus, TierStatus};
pub use avvy_persistence::{BraneCursor, BraneFilter, BraneKind, BranePage, BraneRecord, Life};
pub use chronicle::{Chronicle, Rulings};
pub use config::{SessionConfig, SystemConfig};
pub use denied::Denied;
pub use fleet::FleetConfig;
pub use limit::{ByCode, Limit, LimitHits};
pub use loading::recover;
pub use metrics::Metrics;
pub use probe::Report as ProbeReport;
pub use revocations::REVOKED;
pub use session::SessionPort;
pub use status::{OpenBrane, RevocationStatus, SystemStatus};
pub use system::{
    Author, BraneChange, BranePatch, Duplicate, Located, OnlyIf, Parts, StartError, System, Tree,
    View, Way, WriteRequest, Written,
};
pub use wire::{Backlog, Wire};
