//! From the settings of `config.toml` to the options of each crate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use avvy_actors::{FleetConfig, SessionConfig, SystemConfig, UserConfig};
use avvy_auth::external::{ExternalIssuer, JwksCachePolicy, Subjects};
use avvy_auth::family::FamilyPolicy;
use avvy_auth::lockout::LockOutPolicy;
use avvy_auth::wallet::Site;
use avvy_catalog::CatalogLimits;
use avvy_flow::brane_core::BraneConfig;
use avvy_flow::fan_out::{FanOutConfig, Threshold};
use avvy_flow::flush_window::FlushWindowConfig;
use avvy_flow::frames::PartsConfig;
use avvy_flow::group_commit::GroupCommitConfig;
use avvy_flow::lease::hand_over::HandOverConfig;
use avvy_flow::people::{PeopleConfig, Rate};
use avvy_flow::{AdmissionConfig, LeaseConfig};
use avvy_identity::{External, IdentityOptions, OidcOptions, ProviderOptions};
use avvy_model::Role;
use avvy_net::{NetConfig, OutboxLimits, REPEAT_GRACE_S, RepeatLimits};
use avvy_persistence::cache::{CacheOptions, Caches};
use avvy_persistence::memory::MemoryStore;
use avvy_persistence::records::Records;
use avvy_persistence::spool::{Spool, SpoolOptions};
use avvy_persistence::sqlite::{SqliteOptions, SqliteReader, SqliteStore};
use avvy_persistence::{Fleet, Node, Store, StoreError};
use avvy_protocol::DecodeLimits;

use crate::config::{Config, Limits, Session, StoreKind, SubjectKind, WhenAway};
use crate::upkeep::Upkeep;

/// How often a start looks whether the data directory is free.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A store that is open.
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The records that it keeps beside the branes.
    pub records: Arc<dyn Records>,
    /// The fleet of which this is a node, if it is one.
    pub fleet: Option<Arc<dyn Fleet>>,
}

impl OpenStore {
    fn alone(store: impl Store + Records) -> Self {
        let store = Arc::new(store);
        Self { records: store.clone(), store, fleet: None }
    }
}

/// Opens the store that the settings name, as this node of its fleet.
///
/// # Errors
/// As the store says, such as that another process has the directory.
pub async fn open_store(config: &Config, node: Option<Node>) -> Result<OpenStore> {
    match config.store.kind {
        StoreKind::Memory => Ok(OpenStore::alone(MemoryStore::new())),
        StoreKind::Sqlite => {
            let options = sqlite(config);
            #[cfg(feature = "powercut")]
            let options = crate::powercut::through(options)?;
            let wait = Duration::from_millis(config.store.lock_wait_ms);
            Ok(OpenStore::alone(open_sqlite(options, wait).await?))
        }
        StoreKind::Mongodb => open_mongodb(config, node).await,
    }
}

/// Opens the embedded store, and waits for whoever has its directory: a
/// process that was killed keeps it until the system has cleared it away.
async fn open_sqlite(options: SqliteOptions, wait: Duration) -> Result<SqliteStore> {
    let give_up = Instant::now() + wait;
    loop {
        let options = options.clone();
        let opening = tokio::task::spawn_blocking(move || SqliteStore::open(&options));
        match opening.await? {
            Err(StoreError::InUse(_)) if Instant::now() < give_up => {
                tokio::time::sleep(LOCK_POLL).await;
            }
            opened => return opened.context("the store did not open"),
        }
    }
}

/// The file by which a data directory is known.
pub(crate) const DATABASE: &str = "avvyland.sqlite";

/// Opens what is in the store that the settings name, to look at it: nothing
/// is made, and nothing is changed.
///
/// # Errors
/// When there is none, or as the store says.
pub async fn open_for_reading(config: &Config) -> Result<Arc<dyn Store>> {
    match config.store.kind {
        StoreKind::Memory => bail!("nothing outlives a process with store.kind = \"memory\""),
        StoreKind::Sqlite => {
            let data = &config.server.data_dir;
            ensure!(data.join(DATABASE).is_file(), "there is no {DATABASE} in {}", data.display());
            let store = SqliteReader::open(&sqlite(config)).context("the data cannot be opened")?;
            Ok(Arc::new(store))
        }
        StoreKind::Mongodb => find_mongodb(config).await,
    }
}

#[cfg(feature = "mongodb")]
async fn find_mongodb(config: &Config) -> Result<Arc<dyn Store>> {
    let store = avvy_persistence::mongo::MongoStore::open_existing(&mongodb(config)).await;
    Ok(Arc::new(store.context("the store on MongoDB did not open")?))
}

#[cfg(not(feature = "mongodb"))]
async fn find_mongodb(config: &Config) -> Result<Arc<dyn Store>> {
    open_mongodb(config, None).await.map(|open| open.store)
}

#[cfg(feature = "mongodb")]
async fn open_mongodb(config: &Config, node: Option<Node>) -> Result<OpenStore> {
    let options = avvy_persistence::mongo::MongoOptions { node, ..mongodb(config) };
    let store = avvy_persistence::mongo::MongoStore::open(&options).await;
    let store = Arc::new(store.context("the store on MongoDB did not open")?);
    let fleet = options.node.is_some().then(|| Arc::clone(&store) as Arc<dyn Fleet>);
    Ok(OpenStore { records: store.clone(), store, fleet })
}

#[cfg(not(feature = "mongodb"))]
async fn open_mongodb(_: &Config, _: Option<Node>) -> Result<OpenStore> {
    bail!("this program was built without MongoDB")
}

/// Options of the store on MongoDB.
#[cfg(feature = "mongodb")]
pub fn mongodb(config: &Config) -> avvy_persistence::mongo::MongoOptions {
    let store = &config.store;
    avvy_persistence::mongo::MongoOptions {
        timeout_ms: store.operation_timeout_ms,
        max_connections: store.max_connections,
        lease_ms: config.fleet.lease_ms,
        ..avvy_persistence::mongo::MongoOptions::at(&store.uri.0, &store.database)
    }
}

/// The caches over the store, shared with other servers where there is a Redis.
///
/// # Errors
/// When the address of Redis is none, or its certificates cannot be read. One
/// that is away is no error.
pub fn caches(config: &Config) -> Result<Caches> {
    let cache = &config.cache;
    let options = CacheOptions {
        max_entries: cache.max_entries as usize,
        max_bytes: cache.max_bytes as usize,
        ttl: Duration::from_millis(cache.ttl_ms),
        missing_ttl: Duration::from_millis(cache.missing_ttl_ms),
        max_stale: Duration::from_millis(cache.max_stale_ms),
        load_wait: Duration::from_millis(cache.load_wait_ms),
        early_percent: cache.early_percent,
    };
    #[cfg(feature = "redis")]
    if !config.redis.url.0.is_empty() {
        let redis = avvy_persistence::cache::redis::Redis::new(redis(config)?);
        return Ok(Caches::shared(options, redis.context("redis.url")?));
    }
    Ok(Caches::local(options))
}

/// Options of Redis.
#[cfg(feature = "redis")]
fn redis(config: &Config) -> Result<avvy_persistence::cache::redis::RedisOptions> {
    let redis = &config.redis;
    let ca = &redis.tls_ca_file;
    let read = || std::fs::read(ca).with_context(|| format!("redis.tls_ca_file {}", ca.display()));
    let tls_ca = (!ca.as_os_str().is_empty()).then(read).transpose()?;
    Ok(avvy_persistence::cache::redis::RedisOptions {
        url: redis.url.0.clone(),
        tls_ca,
        namespace: redis.namespace.clone(),
        timeout: Duration::from_millis(redis.timeout_ms),
        max_in_flight: redis.max_in_flight as usize,
        lease: Duration::from_millis(redis.lease_ms),
        retry: Duration::from_millis(redis.retry_ms),
    })
}

/// Where edits wait while the store is away, if they do and it can be.
///
/// # Errors
/// As the spool says, such as that another process has it.
pub fn spool(config: &Config) -> Result<Option<Spool>> {
    let store = &config.store;
    let directory = config.server.data_dir.join("spool");
    // What was kept before edits were to be refused still has to go to the store.
    let is_of_use = store.when_away == WhenAway::Provisional || directory.is_dir();
    if store.kind != StoreKind::Mongodb || !is_of_use {
        return Ok(None);
    }
    let options = SpoolOptions { max_bytes: store.spool_bytes, ..SpoolOptions::at(directory) };
    Spool::open(&options).map(Some).context("the spool in the data directory did not open")
}

/// Options of the embedded store.
pub fn sqlite(config: &Config) -> SqliteOptions {
    SqliteOptions {
        directory: config.server.data_dir.clone(),
        store_timeout_ms: config.store.operation_timeout_ms,
        queue_calls: config.store.queue_calls as usize,
        queue_bytes: 2 * config.store.queue_bytes as usize,
        wal_bytes: config.store.wal_bytes,
        min_free_bytes: config.store.min_free_bytes,
        readers: config.store.readers as usize,
        ..SqliteOptions::default()
    }
}

/// Options of the store's upkeep.
pub fn upkeep(config: &Config) -> Upkeep {
    let store = &config.store;
    Upkeep {
        interval: Duration::from_secs(store.compaction_interval_s),
        retention_ms: store.retention_hours * 3_600_000,
        keep_snapshots: store.keep_snapshots,
        sweep_batch: store.sweep_batch,
        max_journal_bytes: (store.max_journal_bytes > 0).then_some(store.max_journal_bytes),
    }
}

/// How much people may own outside of branes.
pub fn catalog(config: &Config) -> CatalogLimits {
    let catalog = &config.catalog;
    CatalogLimits {
        max_objects: catalog.max_objects_per_user,
        max_bytes: catalog.max_bytes_per_user,
        max_prototypes: catalog.max_prototypes_per_user,
        max_drafts: catalog.max_drafts_per_user,
        max_tree_objects: catalog.max_tree_objects as usize,
        max_tree_depth: catalog.max_tree_depth as usize,
        max_gallery: catalog.max_gallery as usize,
        values: config.world_limits().values,
    }
}

/// Options of the actors.
pub fn system(config: &Config) -> SystemConfig {
    let Config { limits, brane, store, fleet, .. } = config;
    SystemConfig {
        session: session(config),
        revocation_poll_ms: config.auth.revocation_poll_ms,
        user: user(limits),
        brane: BraneConfig {
            flush: flush(config),
            limits: config.world_limits(),
            max_sessions: limits.max_sessions_per_brane as usize,
            max_journal_bytes: brane.journal_pending_bytes as usize,
            snapshot_every_edits: brane.snapshot_every_events,
            snapshot_every_bytes: brane.snapshot_every_bytes,
            snapshot_retry_ms: brane.snapshot_retry_ms as u32,
            max_unpublished_edits: brane.max_unpublished_edits,
            replay_max_edits: brane.replay_max_edits,
            view_budget_percent: brane.view_budget_percent,
            part_linger_ms: brane.part_linger_ms as u32,
            turn_sessions: brane.turn_sessions as usize,
            // Which of two ways to say the same is cheaper, and what fits into
            // a frame: no settings.
            ..BraneConfig::default()
        },
        fan_out: FanOutConfig {
            ring_max_bytes: brane.ring_bytes as usize,
            ring_max_windows: brane.ring_windows as usize,
            slow_session_timeout_ms: config.session.slow_session_timeout_ms as u32,
            load_timeout_ms: config.session.load_timeout_ms as u32,
            max_resyncs: config.session.max_resyncs,
            turn_sessions: brane.turn_sessions as usize,
            turn_budget_percent: brane.turn_budget_percent,
            // What an outbox has room for.
            turn_bytes: brane.max_window_bytes as usize,
            degrade: degrade(&config.session),
            recover_ms: config.session.degrade_recover_ms as u32,
            // How its actor shares its time between sessions: no setting.
            ..FanOutConfig::default()
        },
        people: people(config),
        admission: AdmissionConfig {
            max_entering: brane.max_entering_sessions as usize,
            slow_after_ms: brane.entering_slow_ms as u32,
            max_waiting: brane.max_waiting_sessions as usize,
            max_wait_ms: brane.entry_wait_max_ms as u32,
        },
        parts: PartsConfig {
            max_kept_bytes: brane.shared_parts_bytes as usize,
            // How finely its actor shares its time: no setting.
            ..PartsConfig::default()
        },
        group_commit: GroupCommitConfig {
            max_commit_bytes: store.max_commit_bytes as usize,
            max_queued_bytes: store.queue_bytes as usize,
            retry_initial_ms: store.retry_min_ms as u32,
            max_commit_chunks: store.max_commit_chunks as usize,
            retry_max_ms: store.retry_max_ms as u32,
            // From some thousand edits a second on: no setting.
            pause_us_per_edit: 200,
            pause_max_ms: match store.kind {
                StoreKind::Mongodb => store.commit_interval_ms as u32,
                StoreKind::Sqlite | StoreKind::Memory => 0,
            },
            refuse_when_away: store.when_away == WhenAway::Refuse,
        },
        fleet: FleetConfig {
            lease: LeaseConfig { lease_ms: fleet.lease_ms as u32 },
            hand_over: HandOverConfig {
                timeout_ms: fleet.hand_over_timeout_ms as u32,
                // A brane that nobody waits for yet: no setting.
                ..HandOverConfig::default()
            },
        },
        max_sessions: limits.max_sessions as usize,
        max_sessions_bytes: limits.max_sessions_bytes,
        max_waiting_joins: limits.max_sessions as usize,
        max_open_branes: limits.max_open_branes as usize,
        max_branes_per_user: limits.max_branes_per_user as usize,
        open_timeout_ms: brane.open_timeout_ms,
        duplicate_timeout_ms: brane.duplicate_timeout_ms,
        idle_close_ms: brane.idle_close_s * 1_000,
        restorable_ms: brane.restorable_s * 1_000,
        answer_timeout_ms: limits.answer_timeout_ms,
        // Answered before the request's own time is over.
        durable_timeout_ms: limits.request_timeout_ms / 4 * 3,
        snapshot_share_percent: brane.snapshot_share_percent,
    }
}

/// How people sign in.
pub fn identity(config: &Config) -> IdentityOptions {
    let auth = &config.auth;
    let lock_out = LockOutPolicy {
        free: auth.lock_out_free,
        first_ms: auth.lock_out_first_ms,
        longest_ms: auth.lock_out_longest_ms,
        decay_ms: auth.lock_out_decay_ms,
        max_subjects: auth.lock_out_subjects as usize,
    };
    let newcomer_ms = 3_600_000 / u64::from(auth.new_users_per_hour.max(1));
    let site = auth.site.split_once("://").map(|(scheme, domain)| Site {
        scheme: scheme.to_owned(),
        domain: domain.to_owned(),
        chains: auth.chains.clone(),
        leeway_s: auth.clock_leeway_s,
    });
    IdentityOptions {
        access_lifetime_s: auth.access_token_lifetime_s,
        families: FamilyPolicy {
            idle_s: auth.sign_in_idle_s,
            lifetime_s: auth.sign_in_lifetime_s,
            repeat_s: auth.refresh_repeat_s,
        },
        max_sign_ins: auth.max_sign_ins_per_user as usize,
        site,
        challenge_lifetime_s: auth.challenge_lifetime_s,
        new_way_in_s: auth.new_way_in_s,
        development: auth.development_sign_in,
        account_lock_out: lock_out,
        address_lock_out: LockOutPolicy { free: auth.lock_out_free_per_address, ..lock_out },
        newcomers: LockOutPolicy::rate(auth.new_users_burst, newcomer_ms, lock_out.max_subjects),
    }
}

/// How people sign in by accounts elsewhere, if they do.
pub fn oidc(config: &Config) -> Option<OidcOptions> {
    let auth = &config.auth;
    let provider = |of: &crate::config::OidcProvider| ProviderOptions {
        name: of.name.clone(),
        issuer: of.issuer.clone(),
        tenants: of.tenants.clone(),
        client_id: of.client_id.clone(),
        client_secret: of.client_secret.0.clone(),
        scopes: of.scopes.clone(),
    };
    (!auth.providers.is_empty()).then(|| OidcOptions {
        providers: auth.providers.iter().map(provider).collect(),
        callback: format!("{}/api/v1/auth/oidc", auth.public_url),
        redirects: auth.redirects.clone(),
        flow_lifetime_s: auth.provider_away_s,
        leeway_s: auth.clock_leeway_s,
        keys: issuer_keys(config),
    })
}

/// When the keys of others are fetched.
pub fn issuer_keys(config: &Config) -> JwksCachePolicy {
    let auth = &config.auth;
    JwksCachePolicy {
        refresh_ms: auth.keys_refresh_s * 1_000,
        max_stale_ms: auth.keys_max_stale_s * 1_000,
        pause_ms: auth.keys_pause_ms,
        max_pause_ms: auth.keys_max_pause_ms,
        timeout_ms: auth.fetch_timeout_ms,
    }
}

/// The other issuers whose tokens count.
pub fn external(config: &Config) -> Vec<External> {
    let one = |of: &crate::config::ExternalIssuer| External {
        policy: ExternalIssuer {
            issuer: of.issuer.clone(),
            audience: of.audience.clone(),
            leeway_s: config.auth.clock_leeway_s,
            subjects: match of.subjects {
                SubjectKind::Computed => Subjects::Computed,
                SubjectKind::Users => Subjects::UserIds,
            },
            // Another name does not pass the rules.
            role: Role::from_name(&of.role).unwrap_or(Role::Visitor),
        },
        jwks_url: of.jwks_url.clone(),
    };
    config.auth.external.iter().map(one).collect()
}

/// Options of the network side.
pub fn net(config: &Config) -> NetConfig {
    let Config { limits, api, session, server, .. } = config;
    NetConfig {
        max_connections: limits.max_connections as usize,
        max_connections_per_address: limits.max_connections_per_address as usize,
        connections_per_second: limits.connections_per_second,
        connections_burst: limits.connections_burst,
        header_read_timeout: Duration::from_millis(limits.header_read_timeout_ms),
        write_timeout: Duration::from_millis(limits.write_timeout_ms),
        tls_handshake_timeout: Duration::from_millis(limits.tls_handshake_timeout_ms),
        max_header_bytes: limits.http_max_header_bytes as usize,
        max_headers: limits.http_max_headers as usize,
        max_body_bytes: limits.http_max_body_bytes as usize,
        max_page_items: limits.http_max_page_items,
        max_pages: limits.http_max_pages as usize,
        max_bodies_bytes: limits.http_max_bodies_bytes as usize,
        max_pages_per_address: limits.http_max_pages_per_address as usize,
        request_timeout: Duration::from_millis(limits.request_timeout_ms),
        health_timeout: Duration::from_millis(server.health_timeout_ms),
        requests_per_second: limits.requests_per_second,
        requests_burst: limits.requests_burst,
        sign_ins_per_second: limits.sign_ins_per_second,
        sign_ins_burst: limits.sign_ins_burst,
        max_addresses: limits.max_addresses as usize,
        max_message_bytes: limits.max_message_bytes as usize,
        close_timeout: Duration::from_millis(session.close_timeout_ms),
        pack_above_bytes: api.pack_above_bytes,
        repeats: RepeatLimits {
            keys_per_day: api.keys_per_day,
            bytes_per_day: api.kept_bytes_per_day,
            // Longer than the task of a request lives, with all that is kept.
            claim_s: limits.request_timeout_ms.div_ceil(1_000) + 2 * REPEAT_GRACE_S,
        },
        cors_origins: api.origins(),
        admin_token: Some(api.admin_token.0.clone()).filter(|token| !token.is_empty()),
        outbox: OutboxLimits {
            high_water_bytes: session.outbox_high_water_bytes as usize,
            low_water_bytes: session.outbox_low_water_bytes as usize,
            max_bytes: session.outbox_max_bytes as usize,
        },
    }
}

fn user(limits: &Limits) -> UserConfig {
    UserConfig {
        max_sessions: limits.max_sessions_per_user as usize,
        max_joined_branes: limits.max_joined_branes_per_user as usize,
        max_pages: limits.http_max_pages_per_user as usize,
        edits: rate(limits.edits_per_second_per_user, limits.edits_burst_per_user),
        joins: rate(limits.joins_per_second, limits.joins_burst),
        hashes: rate(limits.hashes_per_second, limits.hashes_burst),
        people_pages: rate(limits.people_pages_per_second, limits.people_pages_burst),
        refreshes: rate(limits.refreshes_per_second, limits.refreshes_burst),
        creates: rate(limits.creates_per_second, limits.creates_burst),
        pages: rate(limits.pages_per_second, limits.pages_burst),
    }
}

fn session(config: &Config) -> SessionConfig {
    let Config { limits, session, world, people, .. } = config;
    SessionConfig {
        max_edits_in_flight: limits.max_edits_in_flight,
        max_bytes_in_flight: limits.max_bytes_in_flight as u32,
        max_channels: limits.max_channels_per_session,
        max_malformed_messages: limits.max_malformed_messages,
        max_message_bytes: limits.max_message_bytes as u32,
        heartbeat_ms: session.heartbeat_ms,
        hello_timeout_ms: session.hello_timeout_ms,
        close_timeout_ms: session.close_timeout_ms,
        slow_session_timeout_ms: session.slow_session_timeout_ms,
        token_warning_s: session.token_warning_s,
        edits_per_second: limits.edits_per_second,
        edits_burst: limits.edits_burst,
        messages_per_second: limits.messages_per_second,
        messages_burst: limits.messages_burst,
        views: rate(limits.views_per_second, limits.views_burst),
        poses: rate(people.poses_per_second, people.poses_burst),
        decode: DecodeLimits {
            max_message_bytes: limits.max_message_bytes as usize,
            max_edits: limits.max_edits_in_flight as usize,
            max_batch: world.max_batch_operations as usize,
            max_signal_body_bytes: people.max_signal_body_bytes as usize,
            values: config.world_limits().values,
            ..DecodeLimits::default()
        },
    }
}

fn people(config: &Config) -> PeopleConfig {
    let people = &config.people;
    PeopleConfig {
        max_avatars: people.max_avatars as usize,
        pose_interval_ms: people.pose_interval_ms,
        nearest_interval_ms: people.nearest_interval_ms,
        pose_near_m: f64::from(people.pose_near_m),
        pose_budget_percent: people.pose_budget_percent,
        roster_interval_ms: people.roster_interval_ms,
        roster_ring: people.roster_ring_changes as usize,
        page_people: people.max_page_people,
        signal_near_m: f64::from(people.signal_near_m),
        visitors_may_signal: people.visitors_may_signal,
        signals_to_all: rate(people.signals_to_all_per_second, people.signals_to_all_burst),
        signals_to_near: rate(people.signals_to_near_per_second, people.signals_to_near_burst),
        signals_to_one: rate(people.signals_to_one_per_second, people.signals_to_one_burst),
        signal_deliveries: rate(
            people.signal_deliveries_per_second,
            people.signal_deliveries_burst,
        ),
        // From when on it is too much to look at every turn: no setting.
        ..PeopleConfig::default()
    }
}

const fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second, burst }
}

fn flush(config: &Config) -> FlushWindowConfig {
    let brane = &config.brane;
    FlushWindowConfig {
        flush_every_edit: brane.flush_every_edit,
        flush_window_max_ms: brane.flush_window_max_ms,
        fan_out_budget_percent: brane.fan_out_budget_percent,
        fan_out_cheap_us: brane.fan_out_cheap_us,
        burst_windows: brane.burst_windows,
        delivery_cost_ns: brane.delivery_cost_ns,
        max_window_events: brane.max_window_events as usize,
        max_window_bytes: brane.max_window_bytes as usize,
    }
}

/// What has to be owed for each level of service.
fn degrade(session: &Session) -> [Threshold; 4] {
    let step = |bytes: u64, ms: u64| Threshold { bytes: bytes as usize, age_ms: ms as u32 };
    [
        step(session.degrade_no_presence_bytes, session.degrade_no_presence_ms),
        step(session.degrade_collapsed_bytes, session.degrade_collapsed_ms),
        step(session.degrade_near_bytes, session.degrade_near_ms),
        step(session.degrade_resync_bytes, session.degrade_resync_ms),
    ]
}
