//! Starts the actors.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use avvy_auth::Verifier;
use avvy_flow::admission::Appointments;
use avvy_model::NodeId;
use avvy_persistence::cache::MetaSet;
use avvy_persistence::spool::{Drained, Spool};
use avvy_persistence::{Fleet, Store, StoreError};
use ractor::concurrency::oneshot;
use ractor::{Actor, ActorRef};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::{Inner, System};
use crate::accounts::Accounts;
use crate::chronicle::TheChronicle;
use crate::config::SystemConfig;
use crate::directory::{DirectoryActor, DirectoryContext, probe_brane};
use crate::fleet::{FleetActor, FleetArguments, FleetLink, FleetMsg};
use crate::judge::Judge;
use crate::metrics::Metrics;
use crate::persistence::{PersistenceActor, PersistenceArguments};
use crate::probe::Probe;
use crate::registry::Registry;
use crate::revocations::{REVOKED, Revocations};
use crate::supervisor::{Supervisor, SupervisorArguments};

/// Why the system did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An actor did not start.
    #[error("an actor did not start: {0}")]
    Actor(#[from] ractor::SpawnErr),
    /// The store did not answer as it should.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a system stands on.
pub struct Parts {
    /// Where branes are kept.
    pub store: Arc<dyn Store>,
    /// The fleet of which this is a node; the store is the node's.
    pub fleet: Option<Arc<dyn Fleet>>,
    /// Where what waits for the store is kept while that is away.
    pub spool: Option<Spool>,
    /// The node that was here before this one, if it is known to be dead.
    pub predecessor: Option<NodeId>,
}

impl System {
    /// Starts the actors on a store.
    ///
    /// # Errors
    /// When an actor does not start, or the store refuses the probe brane.
    pub async fn start(
        store: Arc<dyn Store>,
        verifier: Verifier,
        config: SystemConfig,
    ) -> Result<Self, StartError> {
        let parts = Parts { store, fleet: None, spool: None, predecessor: None };
        Self::start_on(parts, verifier, config).await
    }

    /// Starts the actors on more than a store. Returns when the node has
    /// entered its fleet, if there is one, and what an earlier process has left
    /// on local disk is settled.
    ///
    /// # Errors
    /// When an actor does not start, the store refuses the probe brane, or the
    /// fleet does not let the node in within the time of an opening.
    pub async fn start_on(
        Parts { store, fleet, spool, predecessor }: Parts,
        verifier: Verifier,
        config: SystemConfig,
    ) -> Result<Self, StartError> {
        if let Some(spool) = &spool {
            settle_spool(spool, store.as_ref()).await?;
        }
        if let (Some(fleet), Some(before)) = (&fleet, predecessor) {
            succeed(fleet.as_ref(), before).await;
        }
        let metrics = Arc::new(Metrics::default());
        let registry = Arc::new(Registry::default());
        let config = Arc::new(config);
        let appointments = Appointments::new(config.admission.max_wait_ms);
        let sessions = SupervisorArguments { registry: Arc::clone(&registry) };
        let (supervisor, _) = Supervisor::spawn(None, Supervisor, sessions).await?;
        let (persistence, _) = PersistenceActor::spawn_linked(
            None,
            PersistenceActor,
            PersistenceArguments {
                store: Arc::clone(&store),
                config: config.group_commit,
                spool: spool.clone(),
                metrics: Arc::clone(&metrics),
            },
            supervisor.get_cell(),
        )
        .await?;
        let fleet = match fleet {
            Some(fleet) => {
                let metrics = Arc::clone(&metrics);
                let persistence = persistence.clone();
                let lease = config.fleet.lease;
                let arguments = FleetArguments { fleet, config: lease, persistence, metrics };
                Some(enter(arguments, &config, &supervisor).await?)
            }
            None => None,
        };
        let probe = probe_brane(fleet.as_ref().map(|link| &*link.address));
        let chronicle = TheChronicle::default();
        let context = DirectoryContext {
            store: Arc::clone(&store),
            persistence: persistence.clone(),
            registry: Arc::clone(&registry),
            metrics: Arc::clone(&metrics),
            config: Arc::clone(&config),
            fleet: fleet.clone(),
            chronicle: Arc::clone(&chronicle),
            probe,
        };
        let (directory, _) =
            DirectoryActor::spawn_linked(None, DirectoryActor, context, supervisor.get_cell())
                .await?;
        if let Some(link) = &fleet {
            // It has just started.
            let _ = link.actor.send_message(FleetMsg::Serve(directory.clone()));
        }
        let revocations = Revocations::start(&registry, config.revocation_poll_ms);
        // Nobody is let in before it is known who is not.
        revocations.keep(Arc::new(MetaSet::new(Arc::clone(&store), REVOKED))).await?;
        let accounts = Arc::new(Accounts::new(config.user.clone(), Arc::clone(&metrics)));
        tokio::spawn(Registry::sweep(
            Arc::downgrade(&registry),
            Arc::clone(&accounts),
            config.max_sessions_bytes,
        ));
        let probe = Probe::prepare(store.as_ref(), probe).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                judge: Arc::new(Judge::new(verifier)),
                revocations,
                session_config: Arc::new(config.session.clone()),
                config,
                metrics,
                registry,
                accounts,
                supervisor,
                persistence,
                directory,
                fleet,
                spool,
                chronicle,
                next_session: AtomicU64::new(1),
                appointments: Arc::new(StdMutex::new(appointments)),
                creating: Mutex::default(),
                duplicating: Arc::new(Semaphore::new(1)),
                probe,
            }),
        })
    }
}

/// What an earlier process has left goes into the store, or into the archive if
/// somebody has opened its brane since.
async fn settle_spool(spool: &Spool, store: &dyn Store) -> Result<(), StoreError> {
    let Drained { stored, archived } = spool.drain(store).await?;
    if stored + archived > 0 {
        tracing::warn!(stored, archived, "an earlier process had left edits on local disk");
    }
    Ok(())
}

/// Ends the lease of the node that was here before, after what it has left is
/// stored: from then on others may open its branes. Without it they wait until
/// the lease ends by itself.
async fn succeed(fleet: &dyn Fleet, before: NodeId) {
    match fleet.succeed(before).await {
        Ok(()) => tracing::info!(%before, "the lease of the node before this one is over"),
        Err(error) => tracing::warn!(%before, %error, "the lease of the dead was not ended"),
    }
}

/// Enters the fleet.
async fn enter(
    arguments: FleetArguments,
    config: &SystemConfig,
    supervisor: &ActorRef<()>,
) -> Result<FleetLink, StartError> {
    let fleet = Arc::clone(&arguments.fleet);
    let node = fleet.node().ok_or(StoreError::Invalid("the store is no node of a fleet"))?;
    let address = Arc::from(node.address.as_str());
    let (actor, _) =
        FleetActor::spawn_linked(None, FleetActor, arguments, supervisor.get_cell()).await?;
    let (reply, entered) = oneshot();
    let after_ms = config.open_timeout_ms;
    let asked = actor.send_message(FleetMsg::Entered(reply)).is_ok();
    let in_time = timeout(Duration::from_millis(after_ms), entered).await;
    if !asked || !matches!(in_time, Ok(Ok(()))) {
        return Err(StoreError::Timeout { after_ms }.into());
    }
    Ok(FleetLink { fleet, actor, address, config: config.fleet })
}
