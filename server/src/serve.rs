//! `avvyland serve`: puts the parts together, serves, and drains.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use avvy_actors::{Parts, REVOKED, System};
use avvy_auth::{Claims, Issuer};
use avvy_catalog::Catalog;
use avvy_identity::{ExternalTokens, Fetch, Identity, KeyStore, Oidc};
use avvy_model::{BraneId, NodeId, Role, UserId};
use avvy_net::{Services, SystemRevocations};
use avvy_persistence::cache::{CachedRecords, CachedStore};
use avvy_persistence::records::Records;
use avvy_persistence::{Node, Store};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::cli;
use crate::config::{Config, Sources, StoreKind};
use crate::data_dir::{self, Running};
use crate::external_signatures::RingSignatures;
use crate::fetch::HttpFetch;
use crate::hints::Hints;
use crate::key_file::{self, KeyFile};
use crate::place::Place;
use crate::{clock, demo_brane, logging, migrate, output, settings, upkeep};

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start, or could not store everything at its end.
pub fn run(arguments: &cli::Serve) -> Result<()> {
    let config = Sources::gather(arguments.config.as_deref(), arguments.arguments())
        .and_then(|sources| sources.load())
        .map_err(|problems| anyhow!("{problems}"))?;
    logging::start(&config.log)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.server.worker_threads > 0 {
        runtime.worker_threads(config.server.worker_threads as usize);
    }
    let runtime = runtime.enable_all().build().context("the runtime did not start")?;
    let result = runtime.block_on(serve(&config, arguments.config.as_deref()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(config: &Config, file: Option<&Path>) -> Result<()> {
    let data_dir = &config.server.data_dir;
    data_dir::prepare(data_dir)?;
    // A node of a fleet says where it is before anything else.
    let early = if config.fleet.address.is_empty() { None } else { Some(listen(config).await?) };
    let node = early.as_ref().map(|listener| node(config, listener)).transpose()?;
    // Before anything that writes there: one of both takes a lock on the data directory.
    let place = match config.store.kind {
        StoreKind::Sqlite => None,
        StoreKind::Mongodb | StoreKind::Memory => {
            let wait = Duration::from_millis(config.store.lock_wait_ms);
            Some(Place::take(data_dir, node.as_ref(), wait).await?)
        }
    };
    let predecessor = place.as_ref().and_then(|place| place.predecessor);
    let me = node.as_ref().map(|node| node.id);
    let settings::OpenStore { store, records, fleet } = settings::open_store(config, node).await?;
    migrate::refuse_unfinished(store.as_ref()).await?;
    let caches = settings::caches(config)?;
    let cached = CachedStore::new(store, &caches);
    let store: Arc<dyn Store> = match me {
        Some(me) => Arc::new(cached.of_node(me)),
        None => Arc::new(cached),
    };
    let records: Arc<dyn Records> = Arc::new(CachedRecords::new(records, &caches));
    let (period_s, policy) = (config.key_rotation_s(), config.token_policy());
    let keys = open_keys(config, &records).await?;
    let issuer = Issuer::new(keys.ring().clone(), policy.clone());
    let tls = match config.tls_files() {
        Some((certificate, key)) => Some(avvy_net::tls::acceptor(&certificate, &key)?),
        None => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listener = match early {
        Some(listener) => listener,
        None => listen(config).await?,
    };
    let address = listener.local_addr()?;

    let (verifier, actors) = (issuer.verifier(), settings::system(config));
    let parts =
        Parts { store: Arc::clone(&store), fleet, spool: settings::spool(config)?, predecessor };
    let system = System::start_on(parts, verifier, actors).await?;
    if let Some(set) = caches.set(REVOKED) {
        system.share_revocations(set).await;
    }
    if let Some(me) = me {
        let others = caches.clone();
        system.hear(caches.news(), move || others.tell_here(me));
    }
    let developer = developer(config, clock::unix_s());
    let demo_brane = demo_brane::ensure(
        store.as_ref(),
        &system,
        &developer,
        config.server.demo_objects,
        clock::unix_ms(),
    )
    .await?;
    let running = Running {
        url: format!("{scheme}://{address}"),
        token: config.auth.development_tokens.then(|| issuer.issue(&developer)),
        demo_brane: demo_brane.map(BraneId::uuid),
        pid: std::process::id(),
    };
    running.write(data_dir)?;
    let fetch: Arc<dyn Fetch> = Arc::new(HttpFetch::new(&config.auth.ca_file)?);
    let external = external(config, &fetch);
    system.judge_others(Arc::new(external.clone()));
    let identity = Identity::new(avvy_identity::Parts {
        records: Arc::clone(&records),
        issuer,
        revocations: Arc::new(SystemRevocations(system.clone())),
        external: external.clone(),
        oidc: settings::oidc(config)
            .map(|options| Oidc::new(options, &fetch, Arc::new(RingSignatures))),
        options: settings::identity(config),
    });
    // Nobody waits for others to answer before this server does.
    let warming = tokio::spawn(async move { external.warm().await });
    let services = Services {
        system: system.clone(),
        identity: identity.clone(),
        catalog: Catalog::new(Arc::clone(&records), settings::catalog(config)),
    };
    system.chronicle(Arc::new(services.catalog.clone()));
    let kept = upkeep::Kept {
        store: Arc::clone(&store),
        records,
        catalog: services.catalog.clone(),
        system: system.clone(),
    };
    let upkeep = upkeep::run(kept, settings::upkeep(config));
    let upkeep = tokio::spawn(upkeep);
    let read_model = read_model(config, &store, &system);
    let rotation = key_file::rotate(keys, policy, period_s, system.clone(), identity);
    let rotation = tokio::spawn(rotation);

    // Before anybody is told that Ctrl-C drains.
    let mut signals = Signals::catch()?;
    let (stop, stopping) = watch::channel(false);
    let net = settings::net(config);
    let mut serving = tokio::spawn(avvy_net::serve(listener, tls, services, net, stopping));
    welcome(&running, address, config, file);

    let end = end(signals.next(), system.ended(), &mut serving).await;
    if let End::Told(signal) = end {
        info!(signal, "draining");
    }
    upkeep.abort();
    read_model.abort();
    rotation.abort();
    warming.abort();
    let serving = (end != End::Deaf).then_some(serving);
    let patience = Duration::from_millis(config.server.drain_timeout_ms);
    let drained = tokio::select! {
        drained = drain(&system, &stop, serving, patience) => drained,
        signal = signals.next() => { warn!(signal, "stopping at once"); false }
    };
    Running::remove(data_dir);
    match end {
        End::Told(_) => {}
        End::Failed => {
            bail!("an actor that nothing can go on without has failed; what was durable is kept");
        }
        End::Deaf => {
            bail!("what accepts connections has failed; everybody was asked to come back");
        }
    }
    if !drained {
        bail!("not everything was drained within {patience:?}; what was durable is kept");
    }
    tell("Drained. Everything accepted is stored.");
    Ok(())
}

/// The keys that sign tokens, from where they are.
async fn open_keys(config: &Config, records: &Arc<dyn Records>) -> Result<KeyFile> {
    let (file, period_s) = (config.auth_key_file(), config.key_rotation_s());
    if !config.has_keys_in_store() {
        return KeyFile::open(&file, period_s);
    }
    let secret = Some(config.auth.key_secret.0.as_str()).filter(|secret| !secret.is_empty());
    KeyFile::follow(&file, period_s, KeyStore::new(Arc::clone(records), secret)).await
}

/// Who judges tokens of other issuers.
fn external(config: &Config, fetch: &Arc<dyn Fetch>) -> ExternalTokens {
    let (issuers, policy) = (settings::external(config), settings::issuer_keys(config));
    ExternalTokens::new(issuers, policy, fetch, Arc::new(RingSignatures))
}

async fn listen(config: &Config) -> Result<TcpListener> {
    let bind = config.server.bind;
    TcpListener::bind(bind).await.with_context(|| format!("cannot listen on {bind}"))
}

/// This life of this process, as a node of a fleet.
fn node(config: &Config, listener: &TcpListener) -> Result<Node> {
    let address = &config.fleet.address;
    let address = match address.strip_suffix(":0") {
        Some(host) => format!("{host}:{}", listener.local_addr()?.port()),
        None => address.clone(),
    };
    Ok(Node { id: NodeId::new(Uuid::new_v4()), address })
}

/// Keeps documents of objects where the store has them.
#[cfg(feature = "mongodb")]
fn read_model(config: &Config, store: &Arc<dyn Store>, system: &System) -> JoinHandle<()> {
    let every = config.store.objects_interval_s;
    if config.store.kind != StoreKind::Mongodb || every == 0 {
        return tokio::spawn(async {});
    }
    let (options, every) = (settings::mongodb(config), Duration::from_secs(every));
    tokio::spawn(crate::read_model::run(options, Arc::clone(store), system.clone(), every))
}

#[cfg(not(feature = "mongodb"))]
fn read_model(_: &Config, _: &Arc<dyn Store>, _: &System) -> JoinHandle<()> {
    tokio::spawn(async {})
}

/// Why a server ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// It was told to, by this signal.
    Told(&'static str),
    /// The actors have ended.
    Failed,
    /// Nothing accepts connections any more. A server that is up and deaf
    /// would look well from inside, and nobody would start it again.
    Deaf,
}

/// Waits for what comes first.
async fn end(
    signal: impl Future<Output = &'static str>,
    actors: impl Future<Output = ()>,
    serving: &mut JoinHandle<()>,
) -> End {
    tokio::select! {
        signal = signal => End::Told(signal),
        () = actors => End::Failed,
        ended = serving => {
            error!(?ended, "connections are no longer accepted");
            End::Deaf
        }
    }
}

/// Gives the branes to other nodes, ends serving, answers the requests under
/// way, then makes everything durable that is still here.
async fn drain(
    system: &System,
    stop: &watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
    patience: Duration,
) -> bool {
    let began = Instant::now();
    system.hand_over(patience / 2).await;
    // Nobody listens any more if serving has failed.
    let _ = stop.send(true);
    let answered = match serving {
        // Half of the time that is left for requests: the branes need some, too.
        Some(serving) => {
            let left = patience.saturating_sub(began.elapsed());
            timeout(left / 2, serving).await.is_ok()
        }
        None => true,
    };
    if !answered {
        warn!("requests are not answered, or connections not ended, in time");
    }
    system.drain(patience.saturating_sub(began.elapsed())).await && answered
}

/// The signals that tell the server to stop. From when they are caught on,
/// none of them ends the process by itself.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under `nohup`: whoever said so wants it to go on.
    hangup: Option<Signal>,
}

impl Signals {
    fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("signals cannot be caught");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: match ignores_hangups() {
                true => None,
                false => Some(catch(SignalKind::hangup())?),
            },
        })
    }

    /// Waits for Ctrl-C, SIGTERM or the end of the terminal, and gives the
    /// name of what came.
    async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = hangup => "SIGHUP",
        }
    }
}

/// Whether this process was started so that a hangup does not end it. Where
/// the system does not say so, it was not.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is 1, the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// Who the development token speaks for: the same person at every start.
fn developer(config: &Config, now_s: u64) -> Claims {
    Claims {
        user: UserId::new(Uuid::from_u128(0x6465_7665_6c6f_4000_8000_7065_7200_0001)),
        role: Role::Owner,
        name: Some("developer".to_owned()),
        branes: Vec::new(),
        session: None,
        token: Uuid::new_v4(),
        issued_s: now_s,
        expires_s: now_s + config.auth.token_lifetime_s,
    }
}

fn welcome(running: &Running, address: SocketAddr, config: &Config, file: Option<&Path>) {
    let Running { url, token, .. } = running;
    let port = address.port();
    tell(format_args!("\nAvvyland serves on {url} (WebSocket at /ws on port {port})\n"));
    if let Some(token) = token {
        tell(format_args!("Development token (also in the data directory):\n{token}\n"));
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "avvyland".into());
    let directory = std::env::current_dir().unwrap_or_default();
    let hints = Hints {
        program: &program,
        directory: &directory,
        config: file,
        data: &config.server.data_dir,
        url,
        has_token: token.is_some(),
        demo_brane: running.demo_brane,
    };
    tell(format_args!("{}\nCtrl-C drains and ends.\n", hints.text()));
}

/// What the server says is for people; it serves also when nobody reads it.
fn tell(text: impl std::fmt::Display) {
    let _ = output::say(text);
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_server_that_nobody_can_reach_ends() {
        let mut failed = tokio::spawn(async { panic!("a test wants to see this") });
        assert_eq!(end(pending(), pending(), &mut failed).await, End::Deaf);
        let mut ended = tokio::spawn(async {});
        assert_eq!(end(pending(), pending(), &mut ended).await, End::Deaf);
        let mut serves = tokio::spawn(pending());
        assert_eq!(end(ready("SIGHUP"), pending(), &mut serves).await, End::Told("SIGHUP"));
        assert_eq!(end(pending(), ready(()), &mut serves).await, End::Failed);
        serves.abort();
    }
}
