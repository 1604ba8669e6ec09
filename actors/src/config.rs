//! Options of the actors. `config.toml` documents them for operators.

use avvy_flow::AdmissionConfig;
use avvy_flow::brane_core::BraneConfig;
use avvy_flow::fan_out::FanOutConfig;
use avvy_flow::frames::PartsConfig;
use avvy_flow::group_commit::GroupCommitConfig;
use avvy_flow::people::{PeopleConfig, Rate};
use avvy_protocol::codec::DecodeLimits;

use crate::accounts::UserConfig;
use crate::fleet::FleetConfig;

/// Everything the actors can be told.
#[derive(Clone, Debug)]
pub struct SystemConfig {
    /// Of every session.
    pub session: SessionConfig,
    /// Of every user, over all sessions and requests.
    pub user: UserConfig,
    /// Of every brane's core.
    pub brane: BraneConfig,
    /// Of every brane's fan-out.
    pub fan_out: FanOutConfig,
    /// Of the people of every brane.
    pub people: PeopleConfig,
    /// How a brane lets sessions in.
    pub admission: AdmissionConfig,
    /// Of the snapshots that sessions start from.
    pub parts: PartsConfig,
    /// Of the persistence actor.
    pub group_commit: GroupCommitConfig,
    /// Of the node of a fleet, if it is one.
    pub fleet: FleetConfig,
    /// Sessions of the process; more are answered `unavailable`.
    pub max_sessions: usize,
    /// Bytes that all sessions together may make the process hold: of messages
    /// and of what waits to be sent. Beyond, those who hold the most are closed
    /// as `overloaded`.
    pub max_sessions_bytes: u64,
    /// Branes that are open at a time, the probe's not counted. One more closes
    /// the one that nobody has used for the longest; without such a one it is
    /// answered `unavailable`.
    pub max_open_branes: usize,
    /// Branes that one user may own; one more is answered `too_many_branes`. So
    /// is a new one when with those that are deleted and not purged yet there
    /// are twice as many.
    pub max_branes_per_user: usize,
    /// How long a deleted brane can be restored before it is purged, in
    /// milliseconds.
    pub restorable_ms: u64,
    /// The longest that opening a brane may take, in milliseconds.
    pub open_timeout_ms: u64,
    /// The longest that writing a copy of a brane may take, in milliseconds.
    pub duplicate_timeout_ms: u64,
    /// How often it is looked what tokens others have revoked, in milliseconds.
    pub revocation_poll_ms: u64,
    /// Joins that wait for one brane to open; more are answered `unavailable`.
    pub max_waiting_joins: usize,
    /// A brane that nobody has joined for so long is closed, in milliseconds.
    pub idle_close_ms: u64,
    /// The longest that a request waits for the answer of an actor, in
    /// milliseconds; then it is answered `timeout`.
    pub answer_timeout_ms: u64,
    /// The longest that a request waits for its edits to be durable, in milliseconds.
    pub durable_timeout_ms: u64,
    /// The share of the time that writing a brane's snapshot may take while the
    /// brane is open, in percent (1 to 100).
    pub snapshot_share_percent: u32,
}

/// Options of a session.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Operations of one session that may be under way inside the server;
    /// beyond, its connection is not read.
    pub max_edits_in_flight: u32,
    /// Bytes of its messages that may be under way; beyond, its connection is
    /// not read. At least `max_message_bytes`.
    pub max_bytes_in_flight: u32,
    /// Branes that one connection may join.
    pub max_channels: u32,
    /// Malformed messages after which a connection is closed.
    pub max_malformed_messages: u32,
    /// Bytes of the largest message.
    pub max_message_bytes: u32,
    /// A client is expected to be heard at least so often, in milliseconds;
    /// after twice this time of silence the connection is closed.
    pub heartbeat_ms: u64,
    /// The longest from connecting to the welcome, in milliseconds.
    pub hello_timeout_ms: u64,
    /// The longest that a closed connection may take to end, in milliseconds.
    pub close_timeout_ms: u64,
    /// The longest that what is queued for a session may stay above its
    /// high-water mark, in milliseconds; then the session is closed.
    pub slow_session_timeout_ms: u64,
    /// How long before its end a token is called expiring, in seconds.
    pub token_warning_s: u64,
    /// Operations a second that one session may submit in the long run.
    pub edits_per_second: u32,
    /// Operations that it may submit at once.
    pub edits_burst: u32,
    /// Messages other than edits a second; above, the connection is closed.
    pub messages_per_second: u32,
    /// Messages that may come at once.
    pub messages_burst: u32,
    /// Looks elsewhere of one session; one that comes sooner is answered
    /// `rate_limited`.
    pub views: Rate,
    /// Poses of one session; one that comes sooner counts as a message, too.
    pub poses: Rate,
    /// Bounds of what is decoded.
    pub decode: DecodeLimits,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            max_edits_in_flight: 1_024,
            max_bytes_in_flight: 4 * 1024 * 1024,
            max_channels: 16,
            max_malformed_messages: 8,
            max_message_bytes: 256 * 1024,
            heartbeat_ms: 20_000,
            hello_timeout_ms: 10_000,
            close_timeout_ms: 5_000,
            slow_session_timeout_ms: 30_000,
            token_warning_s: 60,
            edits_per_second: 100,
            edits_burst: 2_048,
            messages_per_second: 200,
            messages_burst: 2_000,
            views: Rate { per_second: 20, burst: 100 },
            poses: Rate { per_second: 30, burst: 60 },
            decode: DecodeLimits::default(),
        }
    }
}

impl Default for SystemConfig {
    fn default() -> Self {
        Self {
            session: SessionConfig::default(),
            user: UserConfig::default(),
            brane: BraneConfig::default(),
            fan_out: FanOutConfig::default(),
            people: PeopleConfig::default(),
            admission: AdmissionConfig::default(),
            parts: PartsConfig::default(),
            group_commit: GroupCommitConfig::default(),
            fleet: FleetConfig::default(),
            max_sessions: 20_000,
            max_sessions_bytes: 4 << 30,
            max_open_branes: 1_024,
            max_branes_per_user: 1_000,
            restorable_ms: 30 * 24 * 3_600_000,
            open_timeout_ms: 30_000,
            duplicate_timeout_ms: 300_000,
            revocation_poll_ms: 1_000,
            max_waiting_joins: 10_000,
            idle_close_ms: 300_000,
            answer_timeout_ms: 10_000,
            durable_timeout_ms: 10_000,
            snapshot_share_percent: 20,
        }
    }
}
