//! What the actors say of themselves, for metrics, the console and tests alike.

use avvy_flow::AdmissionStatus;
use avvy_flow::brane_core::BraneStatus;
use avvy_flow::fan_out::FanOutStatus;
use avvy_flow::group_commit::GroupCommitStatus;
use avvy_flow::lease::LeaseStatus;
use avvy_flow::people::PeopleStatus;
use avvy_model::{BraneId, Visibility};
use avvy_persistence::WriteCounts;
use avvy_persistence::cache::CacheStatus;
use avvy_persistence::spool::SpoolStatus;

/// One open brane.
#[derive(Clone, Debug)]
pub struct OpenBrane {
    /// Which.
    pub brane: BraneId,
    /// Who may see it.
    pub visibility: Visibility,
    /// Its core.
    pub core: BraneStatus,
    /// How it lets sessions in.
    pub admission: AdmissionStatus,
    /// Its fan-out.
    pub fan_out: FanOutStatus,
    /// Who is there.
    pub people: PeopleStatus,
}

/// What is revoked, as far as this node knows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RevocationStatus {
    /// How many revocations are known.
    pub revoked: usize,
    /// How long ago the place was read that was not read for the longest, in
    /// milliseconds: others may have revoked since.
    pub age_ms: u64,
    /// How often a place could not be read.
    pub failures: u64,
}

/// The whole system at one moment.
#[derive(Clone, Debug)]
pub struct SystemStatus {
    /// Open sessions.
    pub sessions: usize,
    /// Open branes.
    pub branes: Vec<OpenBrane>,
    /// The journal's way to the store.
    pub group_commit: GroupCommitStatus,
    /// The node's lease, if it is one of a fleet.
    pub lease: Option<LeaseStatus>,
    /// What the store has written, if it counts that.
    pub writes: Option<WriteCounts>,
    /// What waits on local disk for the store, if it does there.
    pub spool: Option<SpoolStatus>,
    /// The cache over the store, if there is one.
    pub cache: Option<CacheStatus>,
    /// What is revoked.
    pub revocations: RevocationStatus,
}
