//! What one run is like. Every seed draws its own sizes and its own mix of
//! faults, some of them absent, because faults hide each other.

use avvy_brane::MAX_CROSSED;
use avvy_flow::brane_core::BraneConfig;
use avvy_flow::fan_out::Threshold;
use avvy_flow::people::Rate;
use avvy_flow::{
    AdmissionConfig, FanOutConfig, FlushWindowConfig, GroupCommitConfig, PeopleConfig,
};
use avvy_model::WorldLimits;

use crate::rng::Rng;

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Clients.
    pub clients: u64,
    /// Branes; every client joins one or all.
    pub branes: u64,
    /// Of every brane.
    pub brane: BraneConfig,
    /// Of the door of every brane.
    pub admission: AdmissionConfig,
    /// Of every fan-out.
    pub fan_out: FanOutConfig,
    /// Of the people of every brane.
    pub people: PeopleConfig,
    /// Of the journal's queue.
    pub commits: GroupCommitConfig,
    /// Of every session.
    pub edits_in_flight: u32,
    /// Of every session's outbox, in bytes.
    pub outbox_high: usize,
    /// Bytes that the network holds of one connection.
    pub socket_bytes: usize,
    /// A packet's delay, in microseconds, on average.
    pub delay_us: u64,
    /// A message's time in an actor's mailbox, in microseconds, on average.
    pub mailbox_us: u64,
    /// A store operation's time, in microseconds, on average.
    pub store_us: u64,
    /// Since when an empty brane is closed, in microseconds.
    pub idle_us: u64,
    /// How long journal chunks are kept, in milliseconds.
    pub retention_ms: u64,
    /// To how many bytes compaction cuts the journals down, if it does.
    pub journal_bytes: Option<u64>,
    /// As far from the middle as people put things, in units of 0.1 mm.
    pub spread: u64,
    /// How often each thing is done, as weights.
    pub weights: Weights,
    /// How often store operations go wrong, in millionths.
    pub store_fail_ppm: u64,
    /// How often an append is answered as timed out and done later, in millionths.
    pub store_late_ppm: u64,
    /// How often the power goes at a store operation, in millionths.
    pub store_cut_ppm: u64,
    /// Whether people do what they were granted, and little else.
    pub by_grants: bool,
    /// Whether newest snapshots are spoiled while the process is down.
    pub spoils: bool,
    /// How often a packet takes a hundred times as long, in millionths.
    pub spike_ppm: u64,
    /// How often a store operation takes a hundred times as long, in millionths.
    pub slow_store_ppm: u64,
}

/// The driver's actions, by how often each is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// A client submits edits.
    pub edit: u64,
    /// Who governs rules: in thousandths of the times at which somebody edits.
    pub rule: u64,
    /// Somebody asks that a brane follows a prototype: likewise.
    pub follow: u64,
    /// Somebody makes cells exclusive, offers slots, attaches things or makes
    /// portals: likewise.
    pub furnish: u64,
    /// A connection is cut.
    pub cut: u64,
    /// All connections are cut.
    pub storm: u64,
    /// A client stops or goes on reading.
    pub pause: u64,
    /// A client leaves a brane, or joins one again.
    pub wander: u64,
    /// A client goes away for good and another comes.
    pub replace: u64,
    /// A client stays away for long.
    pub absent: u64,
    /// A client walks, says something, or looks who is there.
    pub mingle: u64,
    /// A client looks at another part of a brane, or at all of it.
    pub roam: u64,
    /// A client asks for the state hash.
    pub hash: u64,
    /// A brane's actor crashes.
    pub brane_crash: u64,
    /// The process crashes.
    pub crash: u64,
    /// The journal is compacted.
    pub compact: u64,
    /// An actor is held up.
    pub stall: u64,
    /// Another process opens a brane.
    pub supersede: u64,
    /// The wall clock is set.
    pub clock: u64,
}

impl Setup {
    /// Draws a setup.
    pub fn draw(rng: &mut Rng) -> Self {
        let some = |rng: &mut Rng, weight: u64| if rng.below(4) == 0 { 0 } else { weight };
        let weights = Weights {
            edit: 600,
            rule: *rng.pick(&[0, 0, 0, 300, 300, 1_000]).unwrap_or(&300),
            follow: if rng.below(2) == 0 { 0 } else { 100 },
            furnish: if rng.below(2) == 0 { 0 } else { 300 },
            cut: some(rng, 20),
            storm: some(rng, 3),
            pause: some(rng, 25),
            wander: some(rng, 12),
            replace: some(rng, 4),
            absent: some(rng, 3),
            mingle: some(rng, 200),
            roam: some(rng, 60),
            hash: 10,
            brane_crash: some(rng, 8),
            crash: some(rng, 8),
            compact: some(rng, 8),
            stall: some(rng, 8),
            supersede: if rng.below(2) == 0 { 0 } else { 4 },
            clock: if rng.below(2) == 0 { 0 } else { 4 },
        };
        let outcomes = *rng.pick(&[4, 12, 64, 256]).unwrap_or(&256);
        // Clients are forgotten by the wall clock: where that is set, the model
        // could not tell who may be, unless it takes longer than any step.
        let forgets_soon = rng.below(6) == 0 && weights.clock == 0;
        let client_memory_ms = if forgets_soon { 30_000 } else { 7 * 24 * 3_600_000 };
        let mut brane = brane(rng, outcomes);
        brane.limits.client_memory_ms = client_memory_ms;
        Self {
            clients: if rng.below(12) == 0 { rng.range(8, 16) } else { rng.range(2, 6) },
            branes: rng.range(1, 2),
            brane,
            admission: admission(rng),
            fan_out: fan_out(rng),
            people: people(rng),
            commits: commits(rng),
            edits_in_flight: *rng.pick(&[1, 4, 16, 64]).unwrap_or(&64),
            outbox_high: *rng.pick(&[600, 4_000, 64_000]).unwrap_or(&64_000),
            socket_bytes: *rng.pick(&[200, 2_000, 16_000]).unwrap_or(&16_000),
            delay_us: rng.range(100, 20_000),
            mailbox_us: rng.range(1, 200),
            store_us: rng.range(50, 20_000),
            idle_us: rng.range(200_000, 5_000_000),
            retention_ms: *rng.pick(&[0, 500, 600_000]).unwrap_or(&0),
            journal_bytes: *rng.pick(&[None, None, Some(500), Some(5_000)]).unwrap_or(&None),
            spread: *rng.pick(&[50_000, 500_000]).unwrap_or(&50_000),
            weights,
            store_fail_ppm: some(rng, 30_000),
            store_late_ppm: some(rng, 30_000),
            store_cut_ppm: some(rng, 4_000),
            spike_ppm: some(rng, 5_000),
            slow_store_ppm: some(rng, 20_000),
            by_grants: weights.rule == 1_000,
            spoils: rng.below(4) == 0,
        }
    }
}

fn brane(rng: &mut Rng, outcomes: usize) -> BraneConfig {
    let limits = WorldLimits {
        max_objects: *rng.pick(&[12, 60, 1_000, 1_000]).unwrap_or(&60),
        max_bytes: *rng.pick(&[6_000, 1 << 30, 1 << 30]).unwrap_or(&6_000),
        max_depth: *rng.pick(&[3, 8, 64, 64]).unwrap_or(&8),
        max_batch: 6,
        max_touched: *rng.pick(&[4, 100, 100]).unwrap_or(&100),
        outcomes_per_client: outcomes,
        ..WorldLimits::default()
    };
    let flush = FlushWindowConfig {
        flush_every_edit: rng.below(8) == 0,
        flush_window_max_ms: rng.range(2, 33) as u32,
        fan_out_budget_percent: rng.range(5, 50) as u32,
        fan_out_cheap_us: rng.range(1, 5_000) as u32,
        burst_windows: rng.range(1, 8) as u32,
        delivery_cost_ns: *rng.pick(&[0, 3_000, 3_000_000]).unwrap_or(&0),
        max_window_events: rng.range(1, 40) as usize,
        max_window_bytes: *rng.pick(&[300, 4_000, 256 * 1024]).unwrap_or(&4_000),
    };
    BraneConfig {
        turn_sessions: *rng.pick(&[1, 3, 1_000]).unwrap_or(&1_000),
        flush,
        limits,
        max_sessions: if rng.below(8) == 0 { 2 } else { 4_096 },
        max_journal_bytes: *rng.pick(&[500, 20_000, 64 << 20]).unwrap_or(&20_000),
        max_unpublished_edits: *rng.pick(&[8, 65_536]).unwrap_or(&8),
        replay_max_edits: *rng.pick(&[20, 100_000]).unwrap_or(&20),
        part_linger_ms: *rng.pick(&[0, 1_000, 60_000]).unwrap_or(&0),
        max_crossed: *rng.pick(&[1, MAX_CROSSED, MAX_CROSSED, MAX_CROSSED]).unwrap_or(&1),
        snapshot_every_edits: rng.range(10, 200),
        snapshot_every_bytes: *rng.pick(&[2_000, 64 << 20]).unwrap_or(&2_000),
        snapshot_retry_ms: rng.range(10, 2_000) as u32,
        durable_tells: rng.below(3) as usize,
        view_budget_percent: 25,
    }
}

/// From a door for one at a time to one that everybody is through at once.
fn admission(rng: &mut Rng) -> AdmissionConfig {
    AdmissionConfig {
        max_entering: *rng.pick(&[1, 1, 2, 500]).unwrap_or(&500),
        slow_after_ms: *rng.pick(&[3, 50, 2_000, 20_000]).unwrap_or(&2_000),
        max_waiting: *rng.pick(&[0, 1, 3, 5_000]).unwrap_or(&5_000),
        max_wait_ms: *rng.pick(&[1, 100, 10_000]).unwrap_or(&10_000),
    }
}

fn fan_out(rng: &mut Rng) -> FanOutConfig {
    FanOutConfig {
        ring_max_windows: *rng.pick(&[1, 4, 30, 4_096]).unwrap_or(&30),
        ring_max_bytes: *rng.pick(&[400, 10_000, 16 << 20]).unwrap_or(&10_000),
        bite_windows: rng.range(1, 8) as usize,
        bite_parts: rng.range(1, 3) as usize,
        slow_session_timeout_ms: *rng.pick(&[200, 1_000, 5_000]).unwrap_or(&1_000),
        load_timeout_ms: *rng.pick(&[500, 2_000, 20_000]).unwrap_or(&2_000),
        max_resyncs: rng.range(1, 4) as u32,
        turn_sessions: *rng.pick(&[1, 3, 1_000]).unwrap_or(&1_000),
        turn_budget_percent: *rng.pick(&[20, 60]).unwrap_or(&60),
        turn_bytes: 1_000,
        degrade: degrade(rng),
        recover_ms: rng.range(1, 2_000) as u32,
    }
}

fn people(rng: &mut Rng) -> PeopleConfig {
    let rate = |rng: &mut Rng| Rate {
        per_second: rng.range(1, 5) as u32,
        burst: *rng.pick(&[1, 1_000]).unwrap_or(&1_000),
    };
    PeopleConfig {
        max_avatars: *rng.pick(&[1, 2, 100]).unwrap_or(&100),
        nearest_interval_ms: rng.range(50, 5_000) as u32,
        small_crowd: *rng.pick(&[0, 256]).unwrap_or(&256),
        pose_near_m: *rng.pick(&[0.1, 8.0, 100.0]).unwrap_or(&8.0),
        roster_interval_ms: *rng.pick(&[1, 1, 50, 1_000]).unwrap_or(&1),
        roster_ring: *rng.pick(&[1, 1, 3, 10_000]).unwrap_or(&1),
        page_people: *rng.pick(&[1, 2, 500]).unwrap_or(&500),
        visitors_may_signal: rng.below(2) == 0,
        signals_to_all: rate(rng),
        signals_to_near: rate(rng),
        signals_to_one: rate(rng),
        ..PeopleConfig::default()
    }
}

/// From a level for everybody who ever waits to such as nobody comes to.
fn degrade(rng: &mut Rng) -> [Threshold; 4] {
    let (mut bytes, mut age_ms) = (rng.range(1, 2_000) as usize, rng.range(1, 200) as u32);
    [0; 4].map(|_| {
        let threshold = Threshold { bytes, age_ms };
        bytes *= rng.range(1, 4) as usize;
        age_ms *= rng.range(1, 4) as u32;
        threshold
    })
}

fn commits(rng: &mut Rng) -> GroupCommitConfig {
    let mut config = GroupCommitConfig {
        max_commit_bytes: *rng.pick(&[300, 5_000, 8 << 20]).unwrap_or(&5_000),
        max_commit_chunks: *rng.pick(&[1, 3, 4_096]).unwrap_or(&3),
        max_queued_bytes: *rng.pick(&[3_000, 256 << 20]).unwrap_or(&3_000),
        retry_initial_ms: rng.range(1, 50) as u32,
        retry_max_ms: rng.range(50, 1_000) as u32,
        ..GroupCommitConfig::default()
    };
    if config.retry_initial_ms.is_multiple_of(2) {
        (config.pause_us_per_edit, config.pause_max_ms) = (2_000, 33);
    }
    config
}
