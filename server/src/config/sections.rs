//! The settings of each section, with their defaults. Numbers are never
//! negative; their ranges are in [`super::bounds`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;

const KIB: u64 = 1_024;
pub(super) const MIB: u64 = 1_024 * KIB;
const GIB: u64 = 1_024 * MIB;

/// A section: its fields with their defaults beside them.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        $name:ident { $($(#[doc = $field_doc:literal])* $field:ident: $kind:ty = $default:expr,)* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

pub(super) use section;

section! {
    /// Where it listens and keeps its data.
    Server {
        /// Address and port for HTTP and WebSocket.
        bind: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7878)),
        /// The directory of everything that is kept.
        data_dir: PathBuf = PathBuf::from("data"),
        /// Threads that do the work; 0: one for each core.
        worker_threads: u32 = 0,
        /// How long a drain may take, in milliseconds.
        drain_timeout_ms: u64 = 10_000,
        /// PEM file of the certificate chain; empty: no TLS.
        tls_cert_file: PathBuf = PathBuf::new(),
        /// PEM file of the certificate's private key; empty: no TLS.
        tls_key_file: PathBuf = PathBuf::new(),
        /// Objects in the demo brane that a first start makes; 0: no demo brane.
        demo_objects: u32 = 300,
        /// How long `/healthz` waits for its own edit, in milliseconds.
        health_timeout_ms: u64 = 2_000,
    }
}

section! {
    /// What clients may ask for.
    Limits {
        /// Open connections, of any kind.
        max_connections: u32 = 20_000,
        /// The same of one address.
        max_connections_per_address: u32 = 2_000,
        /// New connections of one address a second, in the long run.
        connections_per_second: u32 = 200,
        /// New connections of one address at once, after a rest.
        connections_burst: u32 = 2_000,
        /// WebSocket sessions.
        max_sessions: u32 = 10_000,
        /// Bytes that all sessions together make the server hold.
        max_sessions_bytes: u64 = 4 * GIB,
        /// WebSocket sessions of one user.
        max_sessions_per_user: u32 = 256,
        /// Sessions in one brane.
        max_sessions_per_brane: u32 = 2_500,
        /// Branes that are open at a time.
        max_open_branes: u32 = 1_024,
        /// Branes that one user may own.
        max_branes_per_user: u32 = 1_000,
        /// Branes that one session may join.
        max_channels_per_session: u32 = 16,
        /// Branes that one user may have joined, by all sessions together.
        max_joined_branes_per_user: u32 = 64,
        /// Bytes of the largest WebSocket message that is read.
        max_message_bytes: u64 = MIB,
        /// Operations of one session without an outcome.
        max_edits_in_flight: u32 = 1_024,
        /// Bytes of one session's messages without an answer.
        max_bytes_in_flight: u64 = 4 * MIB,
        /// Operations of one session a second, in the long run.
        edits_per_second: u32 = 1_000,
        /// Operations of one session at once, after a rest.
        edits_burst: u32 = 2_048,
        /// Operations of one user a second, in the long run.
        edits_per_second_per_user: u32 = 4_000,
        /// Operations of one user at once, after a rest.
        edits_burst_per_user: u32 = 8_192,
        /// Other messages of one session a second, in the long run.
        messages_per_second: u32 = 100,
        /// Other messages of one session at once, after a rest.
        messages_burst: u32 = 200,
        /// Looks elsewhere of one session a second, in the long run.
        views_per_second: u32 = 20,
        /// Looks elsewhere of one session at once, after a rest.
        views_burst: u32 = 100,
        /// Joins of one user a second, in the long run.
        joins_per_second: u32 = 20,
        /// Joins of one user at once, after a rest.
        joins_burst: u32 = 400,
        /// Questions of one user for a state hash a second, in the long run.
        hashes_per_second: u32 = 50,
        /// Questions of one user for a state hash at once, after a rest.
        hashes_burst: u32 = 500,
        /// Pages of the list of people for one user a second, in the long run.
        people_pages_per_second: u32 = 100,
        /// Such pages at once, after a rest.
        people_pages_burst: u32 = 2_000,
        /// New tokens of one user's sessions a second, in the long run.
        refreshes_per_second: u32 = 10,
        /// New tokens of one user's sessions at once, after a rest.
        refreshes_burst: u32 = 400,
        /// New branes of one user a second, in the long run.
        creates_per_second: u32 = 2,
        /// New branes of one user at once, after a rest.
        creates_burst: u32 = 50,
        /// Pages of lists for one user a second, in the long run.
        pages_per_second: u32 = 100,
        /// Pages of lists for one user at once, after a rest.
        pages_burst: u32 = 500,
        /// Malformed messages after which a session is closed.
        max_malformed_messages: u32 = 8,
        /// Requests of one address a second, in the long run.
        requests_per_second: u32 = 500,
        /// Requests of one address at once, after a rest.
        requests_burst: u32 = 4_096,
        /// Sign-ins of one address a second, in the long run.
        sign_ins_per_second: u32 = 10,
        /// Sign-ins of one address at once, after a rest.
        sign_ins_burst: u32 = 200,
        /// Addresses whose rates are told apart.
        max_addresses: u32 = 65_536,
        /// Bytes of an HTTP request's body.
        http_max_body_bytes: u64 = MIB,
        /// Bytes of an HTTP request's line and headers.
        http_max_header_bytes: u64 = 16 * KIB,
        /// Headers of an HTTP request.
        http_max_headers: u32 = 64,
        /// Objects on one page of a list.
        http_max_page_items: u32 = 1_000,
        /// Pages of objects that are being made or sent at once.
        http_max_pages: u32 = 128,
        /// The same for one address.
        http_max_pages_per_address: u32 = 32,
        /// The same for one user.
        http_max_pages_per_user: u32 = 8,
        /// Bytes of all bodies that are being read or served at once.
        http_max_bodies_bytes: u64 = 256 * MIB,
        /// How long the headers of a request may take to come, in milliseconds.
        header_read_timeout_ms: u64 = 10_000,
        /// How long a request may take from its headers to its answer, in milliseconds.
        request_timeout_ms: u64 = 30_000,
        /// How long a request waits for a part of the server, in milliseconds.
        answer_timeout_ms: u64 = 10_000,
        /// How long the peer of a request may take none of the answer, in milliseconds.
        write_timeout_ms: u64 = 30_000,
        /// How long a TLS handshake may take, in milliseconds.
        tls_handshake_timeout_ms: u64 = 10_000,
    }
}

section! {
    /// How a connection is kept.
    Session {
        /// How long a new WebSocket may take to say hello, in milliseconds.
        hello_timeout_ms: u64 = 10_000,
        /// A session that is silent for twice this time is closed, in milliseconds.
        heartbeat_ms: u64 = 15_000,
        /// How long before its token ends a session is warned, in seconds.
        token_warning_s: u64 = 60,
        /// Queued bytes above which a session counts as slow.
        outbox_high_water_bytes: u64 = 256 * KIB,
        /// Queued bytes below which a slow session is sent to again.
        outbox_low_water_bytes: u64 = 64 * KIB,
        /// Queued bytes at which a session is cut.
        outbox_max_bytes: u64 = 8 * MIB,
        /// How long a session may be slow before it is closed, in milliseconds.
        slow_session_timeout_ms: u64 = 30_000,
        /// How long a session may take to load a snapshot, in milliseconds.
        load_timeout_ms: u64 = 300_000,
        /// How often a session may start anew before it has caught up.
        max_resyncs: u32 = 3,
        /// Bytes owed at which a session comes to the level `no_presence`.
        degrade_no_presence_bytes: u64 = 65_536,
        /// How long something is owed then, in milliseconds.
        degrade_no_presence_ms: u64 = 100,
        /// Bytes owed at which a session comes to the level `collapsed`.
        degrade_collapsed_bytes: u64 = 262_144,
        /// How long something is owed then, in milliseconds.
        degrade_collapsed_ms: u64 = 250,
        /// Bytes owed at which a session comes to the level `near`.
        degrade_near_bytes: u64 = 1_048_576,
        /// How long something is owed then, in milliseconds.
        degrade_near_ms: u64 = 1_000,
        /// Bytes owed at which a session comes to the level `resync`.
        degrade_resync_bytes: u64 = 4_194_304,
        /// How long something is owed then, in milliseconds.
        degrade_resync_ms: u64 = 5_000,
        /// How long nothing may be owed until a level falls by one, in milliseconds.
        degrade_recover_ms: u64 = 2_000,
        /// How long a peer may take to answer a close, in milliseconds.
        close_timeout_ms: u64 = 5_000,
    }
}

section! {
    /// How large a world may grow.
    World {
        /// Objects in a brane, the root included.
        max_objects: u32 = 1_000_000,
        /// Bytes of memory of all objects of a brane together.
        max_bytes: u64 = GIB,
        /// Steps from the root to the deepest object.
        max_depth: u32 = 64,
        /// Operations in a batch.
        max_batch_operations: u32 = 1_000,
        /// Objects that one edit may touch.
        max_touched_objects: u32 = 10_000,
        /// Bytes that one edit may add to the journal.
        max_event_bytes: u64 = 8 * MIB,
        /// Encoded bytes of a property's value.
        max_value_bytes: u64 = 8 * KIB,
        /// Arrays, maps and tags around the innermost item of a value.
        max_value_nesting: u32 = 16,
        /// Bytes of a property's key.
        max_key_bytes: u64 = 64,
        /// Encoded bytes of all properties of an object.
        max_props_bytes: u64 = 16 * KIB,
        /// Last outcomes of a client that are remembered.
        outcomes_per_client: u32 = 256,
        /// Clients of one user that are remembered without being there.
        clients_per_user: u32 = 1_024,
        /// How long a silent client's outcomes are remembered, in seconds.
        client_memory_s: u64 = 7 * 24 * 3_600,
        /// Roles of a brane's own.
        max_roles: u32 = 32,
        /// Users of whom a brane says something: a role, a ban or a mute.
        max_standings: u32 = 10_000,
        /// Grants in a brane.
        max_grants: u32 = 10_000,
        /// Grants of one user in a brane.
        max_grants_per_user: u32 = 64,
        /// Prototypes that a brane follows.
        max_prototypes: u32 = 256,
        /// Bytes of all that a brane follows together.
        max_prototype_bytes: u64 = 128 * KIB,
        /// Cells of one block, where cells are exclusive.
        max_footprint_cells: u32 = 4_096,
        /// Cells that one edit may fill.
        max_edit_cells: u32 = 65_536,
        /// Cells that are taken in a brane.
        max_occupied_cells: u32 = 4_000_000,
    }
}

section! {
    /// How a brane runs.
    Brane {
        /// How long a brane may take to open, in milliseconds.
        open_timeout_ms: u64 = 30_000,
        /// How long writing a copy of a brane may take, in milliseconds.
        duplicate_timeout_ms: u64 = 300_000,
        /// How long a brane stays open without sessions, in seconds.
        idle_close_s: u64 = 300,
        /// Seconds in which a deleted brane can be restored.
        restorable_s: u64 = 2_592_000,
        /// Publishes every edit alone and at once.
        flush_every_edit: bool = false,
        /// The longest from an edit to the end of its fan-out, in milliseconds.
        flush_window_max_ms: u32 = 33,
        /// The share of the time that fan-out may take, in percent.
        fan_out_budget_percent: u32 = 50,
        /// The longest publication that may take all of it, in microseconds.
        fan_out_cheap_us: u32 = 2_000,
        /// The share of the time that finding what views show may take, in percent.
        view_budget_percent: u32 = 25,
        /// Windows that may come at once after a quiet time.
        burst_windows: u32 = 8,
        /// What one delivery is taken to cost at least, in nanoseconds.
        delivery_cost_ns: u32 = 3_000,
        /// Viewers of parts that are handed what they see at a time.
        turn_sessions: u32 = 1_000,
        /// The share of the time that turns may take, in percent.
        turn_budget_percent: u32 = 60,
        /// Events after which a window is closed early.
        max_window_events: u32 = 4_096,
        /// Bytes beyond which a window does not grow.
        max_window_bytes: u64 = MIB,
        /// Bytes of recent windows that are kept at hand.
        ring_bytes: u64 = 8 * MIB,
        /// Recent windows that are kept at hand.
        ring_windows: u32 = 4_096,
        /// Bytes of encoded snapshot parts that are kept for several sessions.
        shared_parts_bytes: u64 = 16 * MIB,
        /// Sessions that are brought up to date at a time.
        max_entering_sessions: u32 = 500,
        /// After this a session that enters keeps nobody out, in milliseconds.
        entering_slow_ms: u64 = 2_000,
        /// Sessions that wait for their turn to enter.
        max_waiting_sessions: u32 = 5_000,
        /// The longest that one should wait for its turn, in milliseconds.
        entry_wait_max_ms: u64 = 10_000,
        /// Edits that a copy may lack and still be sent one by one.
        replay_max_edits: u64 = 100_000,
        /// After the last viewer of an area has gone, windows are cut into parts
        /// for so long, in milliseconds.
        part_linger_ms: u64 = 60_000,
        /// Edits that are accepted and not yet published.
        max_unpublished_edits: u64 = 65_536,
        /// Bytes of edits that are accepted and not yet durable.
        journal_pending_bytes: u64 = 16 * MIB,
        /// Edits after which a snapshot is stored.
        snapshot_every_events: u64 = 100_000,
        /// Bytes of journal after which a snapshot is stored.
        snapshot_every_bytes: u64 = 64 * MIB,
        /// The share of the time that writing a snapshot may take, in percent.
        snapshot_share_percent: u32 = 20,
        /// The pause after a snapshot that could not be stored, in milliseconds.
        snapshot_retry_ms: u64 = 30_000,
    }
}

section! {
    /// What people see and hear of each other.
    People {
        /// Joins and leaves are told so often at most, in milliseconds.
        roster_interval_ms: u32 = 500,
        /// Joins and leaves of a brane that are kept at hand.
        roster_ring_changes: u32 = 10_000,
        /// People on one page of a list.
        max_page_people: u32 = 500,
        /// People whose poses a session is sent.
        max_avatars: u32 = 100,
        /// Poses of one session a second, in the long run.
        poses_per_second: u32 = 30,
        /// Poses of one session at once, after a rest.
        poses_burst: u32 = 60,
        /// Poses are handed out so often at most, in milliseconds.
        pose_interval_ms: u32 = 50,
        /// How far those are who are seen at every turn, in metres.
        pose_near_m: u32 = 8,
        /// The share of the time that poses may take, in percent.
        pose_budget_percent: u32 = 25,
        /// How often it is looked who is nearest, in milliseconds.
        nearest_interval_ms: u32 = 500,
        /// How far a signal to those near reaches, in metres.
        signal_near_m: u32 = 50,
        /// Encoded bytes of a signal's body.
        max_signal_body_bytes: u64 = KIB,
        /// Whether visitors may send signals.
        visitors_may_signal: bool = true,
        /// Signals of one session to everyone a second, in the long run.
        signals_to_all_per_second: u32 = 1,
        /// Such signals at once, after a rest.
        signals_to_all_burst: u32 = 5,
        /// Signals of one session to those near a second, in the long run.
        signals_to_near_per_second: u32 = 5,
        /// Such signals at once, after a rest.
        signals_to_near_burst: u32 = 20,
        /// Signals of one session to one other a second, in the long run.
        signals_to_one_per_second: u32 = 10,
        /// Such signals at once, after a rest.
        signals_to_one_burst: u32 = 40,
        /// Signals that a brane delivers a second, in the long run.
        signal_deliveries_per_second: u32 = 20_000,
        /// Signals that a brane delivers at once, after a rest.
        signal_deliveries_burst: u32 = 100_000,
    }
}

/// Which store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// One SQLite database in the data directory.
    Sqlite,
    /// A database of a MongoDB replica set.
    Mongodb,
    /// Nothing outlives the process.
    Memory,
}

/// What becomes of edits while the store is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// They are applied, and wait for the store.
    Provisional,
    /// They are refused.
    Refuse,
}

section! {
    /// How it is stored.
    Store {
        /// Which store.
        kind: StoreKind = StoreKind::Sqlite,
        /// The address of MongoDB.
        uri: Secret = Secret::default(),
        /// The database of MongoDB.
        database: String = "avvyland".to_owned(),
        /// Connections to each server of MongoDB.
        max_connections: u32 = 32,
        /// How often objects are written as documents of MongoDB, in seconds; 0: never.
        objects_interval_s: u64 = 10,
        /// How long a start waits for the data directory, in milliseconds.
        lock_wait_ms: u64 = 3_000,
        /// How long one operation may take, in milliseconds.
        operation_timeout_ms: u64 = 10_000,
        /// Bytes of journal, of all branes, that wait for the store.
        queue_bytes: u64 = 64 * MIB,
        /// What becomes of edits while the store is away.
        when_away: WhenAway = WhenAway::Provisional,
        /// Bytes on local disk of what waits while the store is away.
        spool_bytes: u64 = 256 * MIB,
        /// Bytes of journal in one transaction.
        max_commit_bytes: u64 = 4 * MIB,
        /// The longest pause between commits under load, with MongoDB, in
        /// milliseconds; 0: none.
        commit_interval_ms: u64 = 33,
        /// Chunks of journal in one transaction.
        max_commit_chunks: u32 = 4_096,
        /// Calls that wait for the store.
        queue_calls: u32 = 1_024,
        /// Bytes of the write-ahead log at which it is folded into the database.
        wal_bytes: u32 = 8 * MIB as u32,
        /// Threads that read.
        readers: u32 = 2,
        /// Free bytes on the device below which edits are refused; 0: never.
        min_free_bytes: u64 = 256 * MIB,
        /// The first pause before a failed commit is tried again, in milliseconds.
        retry_min_ms: u64 = 50,
        /// The longest such pause, in milliseconds.
        retry_max_ms: u64 = 5_000,
        /// How long journal is kept, in hours.
        retention_hours: u64 = 7 * 24,
        /// Bytes of all journals together; 0: no bound.
        max_journal_bytes: u64 = 16 * GIB,
        /// Snapshots that each brane keeps.
        keep_snapshots: u32 = 2,
        /// How often what is no longer needed is removed, in seconds.
        compaction_interval_s: u64 = 60,
        /// Records that have expired and are removed in one transaction.
        sweep_batch: u32 = 256,
    }
}

section! {
    /// The nodes that share a database, of which this is one.
    Fleet {
        /// The URL by which clients reach this node; empty: there is no other.
        address: String = String::new(),
        /// How long a node holds its branes without hearing of the database,
        /// in milliseconds.
        lease_ms: u64 = 5_000,
        /// How long another node may take to be ready for a brane, in
        /// milliseconds.
        hand_over_timeout_ms: u64 = 5_000,
    }
}

/// The form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

section! {
    /// What is logged.
    Log {
        /// `error`, `warn`, `info`, `debug` or `trace`, also by module:
        /// `info,avvy_net=debug`.
        level: String = "info".to_owned(),
        /// The form of a line.
        format: LogFormat = LogFormat::Text,
    }
}
