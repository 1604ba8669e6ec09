//! What a cache says of itself, for metrics, the console and tests.

/// The whole of it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CacheStatus {
    /// Each kind of value.
    pub tiers: Vec<TierStatus>,
    /// The shared tier, if one is configured.
    pub shared: Option<SharedStatus>,
}

/// One kind of value. What counts only rises.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TierStatus {
    /// The kind.
    pub kind: &'static str,
    /// Values in the process now.
    pub entries: u64,
    /// Their bytes, roughly.
    pub bytes: u64,
    /// Served from the process.
    pub hits: u64,
    /// Of these, that there is no such value.
    pub missing_hits: u64,
    /// Waited for somebody else's load.
    pub waits: u64,
    /// Loads, from the shared tier or the store.
    pub loads: u64,
    /// Of these, of values that were there, and to end soon.
    pub renewals: u64,
    /// Of these, found in the shared tier.
    pub shared_hits: u64,
    /// Of these, asked of the store.
    pub store_reads: u64,
    /// Given up for want of room.
    pub evicted: u64,
    /// Let go because they were written.
    pub invalidated: u64,
    /// Loads whose values were written meanwhile, and not kept.
    pub spoiled: u64,
    /// How often all was let go, as notices may have been lost.
    pub flushes: u64,
    /// Values of the shared tier that could not be read.
    pub damaged: u64,
}

/// The shared tier. What counts only rises.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SharedStatus {
    /// Whether it is asked: it answers, or has not failed yet.
    pub is_up: bool,
    /// Whether notices of other nodes come in.
    pub is_listening: bool,
    /// Calls that were made.
    pub calls: u64,
    /// Of these, failed or not answered in time.
    pub failures: u64,
    /// Calls that were not made, as it is down or too many were under way.
    pub bypassed: u64,
    /// How often notices began to come in, and may have been missed before.
    pub connects: u64,
    /// Notices that came in.
    pub notices: u64,
}
