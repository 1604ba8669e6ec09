//! What settings may be, alone and together.

use avvy_model::weight;
use avvy_persistence::MAX_CHUNK_BYTES;
use toml::Table;

use super::Config;

/// `section.key`, least, most.
type Bounds = (&'static str, i64, i64);

const HOUR_MS: i64 = 3_600_000;
const DAY_S: i64 = 24 * 3_600;
const KIB: i64 = 1_024;
const MIB: i64 = 1_024 * KIB;
const GIB: i64 = 1_024 * MIB;
/// A window, and an edit that is a window of its own, is stored as one chunk.
const CHUNK: i64 = (MAX_CHUNK_BYTES - weight::CHUNK) as i64;

/// The range of every number. A test holds it to the sections.
pub(super) const BOUNDS: &[Bounds] = &[
    ("server.worker_threads", 0, 1_024),
    ("server.drain_timeout_ms", 1, HOUR_MS),
    ("server.demo_objects", 0, 100_000),
    ("server.health_timeout_ms", 1, HOUR_MS),
    ("limits.max_connections", 1, 1_000_000),
    ("limits.max_sessions", 1, 1_000_000),
    ("limits.max_sessions_per_brane", 1, 1_000_000),
    ("limits.max_open_branes", 1, 1_000_000),
    ("limits.max_branes_per_user", 1, 1_000_000),
    ("limits.max_channels_per_session", 1, 1_024),
    ("limits.max_message_bytes", KIB, 64 * MIB),
    ("limits.max_edits_in_flight", 1, 100_000),
    ("limits.max_bytes_in_flight", KIB, GIB),
    ("limits.edits_per_second", 1, 1_000_000),
    ("limits.edits_burst", 1, 1_000_000),
    ("limits.messages_per_second", 1, 1_000_000),
    ("limits.messages_burst", 1, 1_000_000),
    ("limits.max_malformed_messages", 1, 1_000_000),
    ("limits.requests_per_second", 1, 1_000_000),
    ("limits.requests_burst", 1, 1_000_000),
    ("limits.max_addresses", 1, 16_777_216),
    ("limits.http_max_body_bytes", KIB, 64 * MIB),
    ("limits.http_max_header_bytes", 8 * KIB, MIB),
    ("limits.http_max_headers", 16, 1_024),
    ("limits.http_max_page_items", 1, 10_000),
    ("limits.http_max_pages", 1, 100_000),
    ("limits.http_max_bodies_bytes", KIB, 64 * GIB),
    ("limits.header_read_timeout_ms", 1, HOUR_MS),
    ("limits.request_timeout_ms", 1, HOUR_MS),
    ("limits.answer_timeout_ms", 1, HOUR_MS),
    ("limits.write_timeout_ms", 1, HOUR_MS),
    ("limits.tls_handshake_timeout_ms", 1, HOUR_MS),
    ("session.hello_timeout_ms", 1, HOUR_MS),
    ("session.heartbeat_ms", 100, HOUR_MS),
    ("session.token_warning_s", 1, DAY_S),
    ("session.outbox_high_water_bytes", KIB, GIB),
    ("session.outbox_low_water_bytes", 0, GIB),
    ("session.outbox_max_bytes", KIB, GIB),
    ("session.slow_session_timeout_ms", 1, HOUR_MS),
    ("session.load_timeout_ms", 1, HOUR_MS),
    ("session.max_resyncs", 0, 1_000),
    ("session.close_timeout_ms", 1, HOUR_MS),
    ("world.max_objects", 1, u32::MAX as i64),
    ("world.max_bytes", KIB, 1_024 * GIB),
    ("world.max_depth", 1, 1_024),
    ("world.max_batch_operations", 1, 100_000),
    ("world.max_touched_objects", 1, u32::MAX as i64),
    ("world.max_event_bytes", KIB, CHUNK),
    ("world.max_value_bytes", 64, MIB),
    ("world.max_value_nesting", 1, 64),
    ("world.max_key_bytes", 1, KIB),
    // A snapshot's part of 240 KiB and one object more fit into the store's
    // 1 MiB.
    ("world.max_props_bytes", 64, 768 * KIB),
    // The outcomes of one client fit into one part of a snapshot.
    ("world.outcomes_per_client", 1, 16_384),
    ("world.clients_per_user", 1, 1_000_000),
    ("world.client_memory_s", 60, 366 * DAY_S),
    ("brane.open_timeout_ms", 1, HOUR_MS),
    ("brane.idle_close_s", 1, 366 * DAY_S),
    ("brane.flush_window_max_ms", 0, 1_000),
    ("brane.fan_out_budget_percent", 1, 100),
    ("brane.fan_out_cheap_us", 1, 1_000_000),
    ("brane.burst_windows", 1, 1_000),
    ("brane.delivery_cost_ns", 0, 1_000_000),
    ("brane.max_window_events", 1, 1_000_000),
    ("brane.max_window_bytes", KIB, CHUNK),
    ("brane.ring_bytes", KIB, GIB),
    ("brane.ring_windows", 1, 1_000_000),
    ("brane.shared_parts_bytes", 0, GIB),
    ("brane.replay_max_edits", 0, 1_000_000_000),
    ("brane.max_unpublished_edits", 1, 1_000_000_000),
    ("brane.journal_pending_bytes", KIB, 16 * GIB),
    ("brane.snapshot_every_events", 1, 1_000_000_000_000),
    ("brane.snapshot_every_bytes", KIB, 1_024 * GIB),
    ("people.roster_interval_ms", 1, HOUR_MS),
    ("people.roster_ring_changes", 1, 1_000_000),
    ("people.max_page_people", 1, 10_000),
    ("people.max_avatars", 0, 1_000),
    ("people.poses_per_second", 1, 1_000),
    ("people.poses_burst", 1, 10_000),
    ("people.pose_interval_ms", 1, HOUR_MS),
    ("people.pose_near_m", 1, 1_000_000),
    ("people.pose_budget_percent", 1, 100),
    ("people.nearest_interval_ms", 1, HOUR_MS),
    ("people.signal_near_m", 1, 1_000_000),
    ("people.max_signal_body_bytes", 1, MIB),
    ("people.signals_to_all_per_second", 0, 1_000_000),
    ("people.signals_to_all_burst", 0, 1_000_000),
    ("people.signals_to_near_per_second", 0, 1_000_000),
    ("people.signals_to_near_burst", 0, 1_000_000),
    ("people.signals_to_one_per_second", 0, 1_000_000),
    ("people.signals_to_one_burst", 0, 1_000_000),
    ("people.signal_deliveries_per_second", 1, 1_000_000_000),
    ("people.signal_deliveries_burst", 1, 1_000_000_000),
    ("store.lock_wait_ms", 0, HOUR_MS),
    ("brane.snapshot_retry_ms", 1, HOUR_MS),
    ("store.operation_timeout_ms", 1, HOUR_MS),
    ("store.queue_bytes", KIB, 64 * GIB),
    ("store.max_commit_bytes", KIB, GIB),
    ("store.max_commit_chunks", 1, 1_000_000),
    ("store.queue_calls", 1, 1_000_000),
    ("store.wal_bytes", 64 * KIB, GIB),
    ("store.readers", 1, 64),
    ("store.min_free_bytes", 0, i64::MAX),
    ("store.retry_min_ms", 1, HOUR_MS),
    ("store.retry_max_ms", 1, HOUR_MS),
    ("store.retention_hours", 1, 24 * 36_600),
    ("store.max_journal_bytes", 0, i64::MAX),
    ("store.keep_snapshots", 1, 1_000),
    ("store.compaction_interval_s", 1, DAY_S),
    ("auth.token_lifetime_s", 1, 366 * DAY_S),
    ("auth.clock_leeway_s", 0, 3_600),
];

/// Every broken rule: the key to change (the one that a reader would look at
/// first) and the reason.
pub(super) fn broken(config: &Config, settings: &Table) -> Vec<(String, String)> {
    let mut broken = out_of_bounds(settings);
    for rules in [server, limits, session, world, brane, people, store, auth, log] {
        for (key, reason) in rules(config) {
            broken.push((key.to_owned(), reason));
        }
    }
    broken
}

fn out_of_bounds(settings: &Table) -> Vec<(String, String)> {
    let is = |key: &str| {
        let (section, key) = key.split_once('.')?;
        settings.get(section)?.get(key)?.as_integer()
    };
    let outside = BOUNDS.iter().filter_map(|(key, least, most)| {
        let value = is(key).filter(|value| !(least..=most).contains(&value))?;
        Some(((*key).to_owned(), format!("is {value}, must be from {least} to {most}")))
    });
    outside.collect()
}

type Broken = Vec<(&'static str, String)>;

/// `(broken?, key, reason)` as a list of the broken ones.
fn list<const N: usize>(rules: [(bool, &'static str, String); N]) -> Broken {
    rules.into_iter().filter(|(is_broken, ..)| *is_broken).map(|(_, k, r)| (k, r)).collect()
}

fn server(config: &Config) -> Broken {
    let has_cert = !config.server.tls_cert_file.as_os_str().is_empty();
    let has_key = !config.server.tls_key_file.as_os_str().is_empty();
    list([
        (
            config.server.data_dir.as_os_str().is_empty(),
            "server.data_dir",
            "must not be empty".to_owned(),
        ),
        (
            has_cert && !has_key,
            "server.tls_cert_file",
            "needs its private key: set server.tls_key_file, too".to_owned(),
        ),
        (
            has_key && !has_cert,
            "server.tls_key_file",
            "needs its certificate: set server.tls_cert_file, too".to_owned(),
        ),
    ])
}

fn limits(config: &Config) -> Broken {
    let limits = &config.limits;
    // An object with the largest properties has to fit into one message.
    let needed = config.world.max_props_bytes + 512;
    list([
        (
            limits.max_sessions > limits.max_connections,
            "limits.max_sessions",
            format!(
                "is {}, but each needs a connection, and limits.max_connections is {}",
                limits.max_sessions, limits.max_connections
            ),
        ),
        (
            limits.max_sessions_per_brane > limits.max_sessions,
            "limits.max_sessions_per_brane",
            format!(
                "is {}, more than limits.max_sessions, which is {}",
                limits.max_sessions_per_brane, limits.max_sessions
            ),
        ),
        (
            limits.edits_burst < limits.max_edits_in_flight,
            "limits.edits_burst",
            format!(
                "is {}, less than limits.max_edits_in_flight ({}): a message with so many edits \
                 would never be let in",
                limits.edits_burst, limits.max_edits_in_flight
            ),
        ),
        (
            limits.max_edits_in_flight < config.world.max_batch_operations,
            "limits.max_edits_in_flight",
            format!(
                "is {}, less than world.max_batch_operations ({}): a batch with so many \
                 operations would never be let in",
                limits.max_edits_in_flight, config.world.max_batch_operations
            ),
        ),
        (
            limits.max_bytes_in_flight < limits.max_message_bytes,
            "limits.max_bytes_in_flight",
            format!(
                "is {}, less than limits.max_message_bytes ({}): a message of so many bytes \
                 would never be let in",
                limits.max_bytes_in_flight, limits.max_message_bytes
            ),
        ),
        (
            limits.max_message_bytes < needed,
            "limits.max_message_bytes",
            format!(
                "is {}, but an object with world.max_props_bytes of properties needs {needed}",
                limits.max_message_bytes
            ),
        ),
        (
            limits.http_max_body_bytes < needed,
            "limits.http_max_body_bytes",
            format!(
                "is {}, but an object with world.max_props_bytes of properties needs {needed}",
                limits.http_max_body_bytes
            ),
        ),
        (
            limits.http_max_bodies_bytes < limits.http_max_body_bytes,
            "limits.http_max_bodies_bytes",
            format!(
                "is {}, less than one body of limits.http_max_body_bytes, which is {}",
                limits.http_max_bodies_bytes, limits.http_max_body_bytes
            ),
        ),
        (
            limits.header_read_timeout_ms > limits.request_timeout_ms,
            "limits.header_read_timeout_ms",
            format!(
                "is {}, longer than limits.request_timeout_ms, which is {}",
                limits.header_read_timeout_ms, limits.request_timeout_ms
            ),
        ),
    ])
}

fn session(config: &Config) -> Broken {
    let session = &config.session;
    list([
        (
            session.outbox_low_water_bytes >= session.outbox_high_water_bytes,
            "session.outbox_low_water_bytes",
            format!(
                "is {}, must be below session.outbox_high_water_bytes, which is {}",
                session.outbox_low_water_bytes, session.outbox_high_water_bytes
            ),
        ),
        (
            session.outbox_high_water_bytes >= session.outbox_max_bytes,
            "session.outbox_high_water_bytes",
            format!(
                "is {}, must be below session.outbox_max_bytes, which is {}: a slow session would \
                 be cut before it is slowed down",
                session.outbox_high_water_bytes, session.outbox_max_bytes
            ),
        ),
        (
            session.outbox_max_bytes < config.brane.max_window_bytes,
            "session.outbox_max_bytes",
            format!(
                "is {}, less than one window of brane.max_window_bytes ({})",
                session.outbox_max_bytes, config.brane.max_window_bytes
            ),
        ),
        (
            session.token_warning_s >= config.auth.token_lifetime_s,
            "session.token_warning_s",
            format!(
                "is {}, must be below auth.token_lifetime_s, which is {}",
                session.token_warning_s, config.auth.token_lifetime_s
            ),
        ),
    ])
}

fn world(config: &Config) -> Broken {
    let world = &config.world;
    // An update of all properties of an object holds the old ones and the new.
    let needed = 2 * world.max_props_bytes + 512;
    list([
        (
            world.max_value_bytes > world.max_props_bytes,
            "world.max_value_bytes",
            format!(
                "is {}, more than world.max_props_bytes, which is {}",
                world.max_value_bytes, world.max_props_bytes
            ),
        ),
        (
            world.max_event_bytes < needed,
            "world.max_event_bytes",
            format!(
                "is {}, but to change an object with world.max_props_bytes of properties needs \
                 {needed}",
                world.max_event_bytes
            ),
        ),
    ])
}

fn brane(config: &Config) -> Broken {
    let brane = &config.brane;
    list([
        (
            brane.flush_window_max_ms == 0 && !brane.flush_every_edit,
            "brane.flush_window_max_ms",
            "is 0; to publish every edit alone, set brane.flush_every_edit = true".to_owned(),
        ),
        (
            brane.ring_bytes < config.session.outbox_high_water_bytes,
            "brane.ring_bytes",
            format!(
                "is {}, less than session.outbox_high_water_bytes ({}): a session that was slow \
                 could never catch up from it",
                brane.ring_bytes, config.session.outbox_high_water_bytes
            ),
        ),
        (
            brane.max_window_bytes > brane.ring_bytes,
            "brane.max_window_bytes",
            format!(
                "is {}, more than brane.ring_bytes, which is {}",
                brane.max_window_bytes, brane.ring_bytes
            ),
        ),
        (
            brane.journal_pending_bytes > config.store.queue_bytes,
            "brane.journal_pending_bytes",
            format!(
                "is {}, more than store.queue_bytes, which is {} for all branes together",
                brane.journal_pending_bytes, config.store.queue_bytes
            ),
        ),
        (
            brane.journal_pending_bytes < brane.max_window_bytes,
            "brane.journal_pending_bytes",
            format!(
                "is {}, less than one window of brane.max_window_bytes ({})",
                brane.journal_pending_bytes, brane.max_window_bytes
            ),
        ),
    ])
}

fn people(config: &Config) -> Broken {
    let (people, limits) = (&config.people, &config.limits);
    let needed = people.max_signal_body_bytes + 512;
    list([(
        needed > limits.max_message_bytes,
        "people.max_signal_body_bytes",
        format!(
            "is {}, but the message around it needs {needed}, and limits.max_message_bytes is {}",
            people.max_signal_body_bytes, limits.max_message_bytes
        ),
    )])
}

fn store(config: &Config) -> Broken {
    let store = &config.store;
    let retention_s = store.retention_hours * 3_600;
    let two_snapshots = config.brane.snapshot_every_bytes.saturating_mul(2);
    list([
        (
            store.max_commit_bytes > store.queue_bytes,
            "store.max_commit_bytes",
            format!(
                "is {}, more than store.queue_bytes, which is {}",
                store.max_commit_bytes, store.queue_bytes
            ),
        ),
        (
            store.retry_min_ms > store.retry_max_ms,
            "store.retry_min_ms",
            format!(
                "is {}, more than store.retry_max_ms, which is {}",
                store.retry_min_ms, store.retry_max_ms
            ),
        ),
        (
            retention_s < config.world.client_memory_s,
            "store.retention_hours",
            format!(
                "is {} ({retention_s} s), shorter than world.client_memory_s ({} s): a client \
                 could send an edit again whose outcome is gone",
                store.retention_hours, config.world.client_memory_s
            ),
        ),
        (
            store.max_journal_bytes != 0 && store.max_journal_bytes < two_snapshots,
            "store.max_journal_bytes",
            format!(
                "is {}, less than twice brane.snapshot_every_bytes ({two_snapshots}): what no \
                 snapshot holds yet is never removed, so it could not be kept",
                store.max_journal_bytes
            ),
        ),
    ])
}

fn auth(config: &Config) -> Broken {
    let auth = &config.auth;
    let no_text = "must not be empty".to_owned();
    list([
        (auth.issuer.is_empty(), "auth.issuer", no_text.clone()),
        (auth.audience.is_empty(), "auth.audience", no_text.clone()),
        (auth.key_file.as_os_str().is_empty(), "auth.key_file", no_text),
        (
            auth.development_tokens && !config.server.bind.ip().is_loopback(),
            "auth.development_tokens",
            format!(
                "is true while server.bind ({}) is open to others: set it to false, and make \
                 tokens with `avvyland token`",
                config.server.bind
            ),
        ),
    ])
}

fn log(config: &Config) -> Broken {
    let level = &config.log.level;
    let parsed = tracing_subscriber::EnvFilter::builder().parse(level);
    let reason = parsed.as_ref().err().map(|error| format!("{level:?}: {error}"));
    let is_empty = level.trim().is_empty();
    list([
        (is_empty, "log.level", "must not be empty".to_owned()),
        (reason.is_some(), "log.level", reason.unwrap_or_default()),
    ])
}
