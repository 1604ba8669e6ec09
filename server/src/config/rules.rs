//! What settings may be, alone and together.

use toml::Table;

use super::api::api;
use super::auth_sections::auth;
use super::bounds::BOUNDS;
use super::cache_rules::{cache, redis};
use super::{Config, StoreKind};

/// Every broken rule: the key to change (the one that a reader would look at
/// first) and the reason.
pub(super) fn broken(config: &Config, settings: &Table) -> Vec<(String, String)> {
    let mut broken = out_of_bounds(settings);
    for rules in [
        server, limits, shares, api, session, levels, world, brane, people, store, mongodb, fleet,
        cache, redis, auth, log,
    ] {
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

pub(super) type Broken = Vec<(&'static str, String)>;

/// `(broken?, key, reason)` as a list of the broken ones.
pub(super) fn list<const N: usize>(rules: [(bool, &'static str, String); N]) -> Broken {
    rules.into_iter().filter(|(is_broken, ..)| *is_broken).map(|(_, k, r)| (k, r)).collect()
}

/// Whether this process speaks TLS itself.
fn has_tls(config: &Config) -> bool {
    !config.server.tls_cert_file.as_os_str().is_empty()
}

fn server(config: &Config) -> Broken {
    let has_cert = has_tls(config);
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

/// Of the bounds of one user or address, none is beyond that of all.
fn shares(config: &Config) -> Broken {
    let limits = &config.limits;
    let shares = [
        (
            ("limits.max_connections_per_address", limits.max_connections_per_address),
            ("limits.max_connections", limits.max_connections),
        ),
        (
            ("limits.max_sessions_per_user", limits.max_sessions_per_user),
            ("limits.max_sessions", limits.max_sessions),
        ),
        (
            ("limits.max_joined_branes_per_user", limits.max_joined_branes_per_user),
            ("limits.max_open_branes", limits.max_open_branes),
        ),
        (
            ("limits.http_max_pages_per_user", limits.http_max_pages_per_user),
            ("limits.http_max_pages_per_address", limits.http_max_pages_per_address),
        ),
        (
            ("limits.http_max_pages_per_address", limits.http_max_pages_per_address),
            ("limits.http_max_pages", limits.http_max_pages),
        ),
        (
            ("limits.edits_per_second", limits.edits_per_second),
            ("limits.edits_per_second_per_user", limits.edits_per_second_per_user),
        ),
        (
            ("limits.edits_burst", limits.edits_burst),
            ("limits.edits_burst_per_user", limits.edits_burst_per_user),
        ),
    ];
    let beyond = shares.into_iter().filter(|((_, share), (_, all))| share > all);
    beyond.map(|((key, is), (of, all))| (key, format!("is {is}, more than {of} ({all})"))).collect()
}

/// Each level of service begins with at least what the one before begins with.
fn levels(config: &Config) -> Broken {
    let session = &config.session;
    let bytes = [
        ("session.degrade_no_presence_bytes", session.degrade_no_presence_bytes),
        ("session.degrade_collapsed_bytes", session.degrade_collapsed_bytes),
        ("session.degrade_near_bytes", session.degrade_near_bytes),
        ("session.degrade_resync_bytes", session.degrade_resync_bytes),
    ];
    let times = [
        ("session.degrade_no_presence_ms", session.degrade_no_presence_ms),
        ("session.degrade_collapsed_ms", session.degrade_collapsed_ms),
        ("session.degrade_near_ms", session.degrade_near_ms),
        ("session.degrade_resync_ms", session.degrade_resync_ms),
    ];
    let pairs = bytes.windows(2).chain(times.windows(2));
    let fallen = pairs.filter(|pair| pair[1].1 < pair[0].1);
    fallen
        .map(|pair| {
            let [(before, least), (key, is)] = [pair[0], pair[1]];
            (key, format!("is {is}, less than {before} ({least})"))
        })
        .collect()
}

fn session(config: &Config) -> Broken {
    let auth = &config.auth;
    let shortest_s = auth.token_lifetime_s.min(auth.access_token_lifetime_s);
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
            session.token_warning_s >= shortest_s,
            "session.token_warning_s",
            format!(
                "is {}, must be below auth.access_token_lifetime_s and auth.token_lifetime_s, \
                 of which the shorter is {shortest_s}",
                session.token_warning_s
            ),
        ),
    ])
}

fn world(config: &Config) -> Broken {
    let world = &config.world;
    // An update of all properties of an object holds the old ones and the new.
    let needed = 2 * world.max_props_bytes + 512;
    // The same object with what the brane follows is the root.
    let root = world.max_props_bytes + world.max_prototype_bytes;
    list([
        (
            root > 768 * 1_024,
            "world.max_prototype_bytes",
            format!(
                "is {}, but with world.max_props_bytes ({}) a root could be larger than 786432",
                world.max_prototype_bytes, world.max_props_bytes
            ),
        ),
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
            store.spool_bytes < store.queue_bytes,
            "store.spool_bytes",
            format!(
                "is {}, less than store.queue_bytes, which is {}: what waits would not fit",
                store.spool_bytes, store.queue_bytes
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

/// What MongoDB lets a database be called, on every system.
fn is_database(name: &str) -> bool {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    (1..=63).contains(&name.len()) && name.chars().all(is_good)
}

fn mongodb(config: &Config) -> Broken {
    let store = &config.store;
    let (is_it, uri) = (store.kind == StoreKind::Mongodb, &store.uri.0);
    list([
        (
            is_it && !cfg!(feature = "mongodb"),
            "store.kind",
            "is \"mongodb\", and this program was built without it: build it with \
             `--features mongodb`"
                .to_owned(),
        ),
        (
            is_it && uri.is_empty(),
            "store.uri",
            "must be set when store.kind is \"mongodb\"".to_owned(),
        ),
        (
            !uri.is_empty() && !uri.starts_with("mongodb://"),
            "store.uri",
            "must begin with mongodb:// and name the servers".to_owned(),
        ),
        (
            !is_database(&store.database),
            "store.database",
            format!("is {:?}, must be 1 to 63 letters, digits, - and _", store.database),
        ),
    ])
}

fn fleet(config: &Config) -> Broken {
    let fleet = &config.fleet;
    let (is_node, address) = (!fleet.address.is_empty(), &fleet.address);
    let host = address.strip_prefix("http://").or(address.strip_prefix("https://"));
    let is_base = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']));
    list([
        (
            is_node && config.store.kind != StoreKind::Mongodb,
            "fleet.address",
            "needs store.kind = \"mongodb\": it is the database that nodes share".to_owned(),
        ),
        (
            is_node && (!is_base || address.len() > 1_024),
            "fleet.address",
            format!("is {address:?}, must be http://host:port or https://host:port and no more"),
        ),
        (
            has_tls(config) && address.starts_with("http://"),
            "fleet.address",
            format!("is {address:?}, must begin with https:// as server.tls_cert_file is set"),
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
