//! The machines that actors drive and that the simulation drives, too: who
//! may have how many edits under way, how a brane's edits become windows of
//! its log, how windows reach its sessions, who is there and near whom, how
//! the journal chunks of many branes share one commit, what is kept on local
//! disk while the store is away, and how a node of a fleet holds its branes and
//! gives them away.
//!
//! [`frames`] puts windows into the frames that sessions are sent; the bytes
//! are the protocol's.
//!
//! Nothing here knows a clock, a random source, a socket, a task or a store:
//! time comes in as an argument, and what is to be done goes out as effects.
//! Each machine has a bound for everything that it keeps, and a small status
//! for metrics and tests.

pub mod admission;
pub mod brane_core;
pub mod credits;
pub mod fan_out;
pub mod flush_window;
pub mod frames;
pub mod group_commit;
pub mod lease;
pub mod lineage;
pub mod loading;
pub mod people;
pub mod recovery;
pub mod spooling;

pub use admission::{Admission, AdmissionConfig, AdmissionStatus};
pub use brane_core::{BraneConfig, BraneCore, BraneStatus};
pub use credits::{Credits, CreditsStatus, Load};
pub use fan_out::{FanOut, FanOutConfig, FanOutStatus};
pub use flush_window::{FlushWindow, FlushWindowConfig};
pub use group_commit::{GroupCommit, GroupCommitConfig, GroupCommitStatus};
pub use lease::{Lease, LeaseConfig, LeaseStatus};
pub use people::{People, PeopleConfig, PeopleStatus};
pub use spooling::Spooling;

/// A session of this process. Drawn by the driver, never twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize)]
#[serde(transparent)]
pub struct SessionKey(pub u64);

/// The caller's two clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Microseconds of a monotonic clock with any origin: for intervals.
    pub us: u64,
    /// Unix time in milliseconds: for stamps.
    pub unix_ms: u64,
}
