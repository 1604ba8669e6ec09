//! The whole of the actors, as `net` and the binary use it.

mod change;
mod duplicate;
mod follow;
mod portals;
mod start;
mod things;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::{Duration, Instant};

use avvy_auth::external::OtherIssuers;
use avvy_auth::{Claims, Revocation, Verifier};
use avvy_brane::Frozen;
use avvy_flow::SessionKey;
use avvy_flow::admission::Appointments;
use avvy_model::{
    BraneId, ClientId, Code, Counter, NumberedEdit, Position, Principal, Refusal, Seq, TraceId,
    UserId,
};
use avvy_persistence::cache::{News, SharedSet};
use avvy_persistence::spool::Spool;
use avvy_persistence::{BraneCursor, BraneFilter, BranePage, BraneRecord, Life, Store, StoreError};
use avvy_protocol::close::CloseCode;
use avvy_protocol::codec::DecodeLimits;
use ractor::concurrency::{OneshotSender, oneshot};
use ractor::{Actor, ActorRef, Message};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::timeout;
use tracing::warn;
use uuid::Uuid;

use crate::Denied;
use crate::accounts::{Account, Accounts};
use crate::brane::{BraneHandle, BraneMsg, end_of};
use crate::chronicle::{Chronicle, TheChronicle};
use crate::clock;
use crate::config::SystemConfig;
use crate::directory::DirectoryMsg;
use crate::fan_out::FanOutMsg;
use crate::fleet::{FleetLink, FleetMsg};
use crate::judge::Judge;
use crate::limit::Limit;
use crate::metrics::{Metrics, count};
use crate::persistence::PersistenceMsg;
use crate::probe::{self, Probe};
use crate::registry::{Registry, SWEEP_EVERY};
use crate::revocations::Revocations;
use crate::session::{SessionPort, Shared};
use crate::session_actor::{SessionActor, SessionArguments, SessionContext};
use crate::status::{OpenBrane, SystemStatus};
use crate::wire::Wire;

use change::Room;
pub use change::{Author, BraneChange, BranePatch};
pub use duplicate::Duplicate;
pub use portals::{Located, Way};
pub use start::{Parts, StartError};
pub use things::{OnlyIf, Tree};

/// What asking for what is left, leaving the fleet and closing the store may
/// take, each, when the time for draining is over.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A running system. Cloning shares it.
#[derive(Clone)]
pub struct System {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    judge: Arc<Judge>,
    revocations: Arc<Revocations>,
    config: Arc<SystemConfig>,
    session_config: Arc<crate::SessionConfig>,
    metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    accounts: Arc<Accounts>,
    supervisor: ActorRef<()>,
    persistence: ActorRef<PersistenceMsg>,
    directory: ActorRef<DirectoryMsg>,
    fleet: Option<FleetLink>,
    spool: Option<Spool>,
    chronicle: TheChronicle,
    next_session: AtomicU64,
    appointments: Arc<StdMutex<Appointments>>,
    /// Held while a brane is created.
    creating: Mutex<()>,
    /// For the one who makes a copy of a brane.
    duplicating: Arc<Semaphore>,
    probe: Probe,
}

/// A brane's state at one moment, for readers.
#[derive(Clone)]
pub struct View {
    /// The brane's record.
    pub record: Arc<BraneRecord>,
    /// Its objects.
    pub world: Frozen,
    /// The last edit in it.
    pub at: Position,
    /// The durable watermark.
    pub durable: Seq,
}

/// Edits submitted without a session.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// The client that numbers them.
    pub client: ClientId,
    /// As in [`avvy_protocol::Join::known`].
    pub known: bool,
    /// With rising numbers.
    pub edits: Vec<NumberedEdit>,
    /// Kept in the journal.
    pub trace: TraceId,
}

/// What became of edits submitted without a session.
#[derive(Clone, Debug)]
pub struct Written {
    /// The epoch of the outcomes.
    pub epoch: avvy_model::Epoch,
    /// An outcome for each edit, in the order submitted.
    pub outcomes: Vec<(Counter, Result<Seq, Refusal>)>,
    /// The durable watermark at the answer.
    pub durable: Seq,
}

impl System {
    /// What a token says of its bearer, now.
    ///
    /// # Errors
    /// `not_authenticated`, `token_invalid`, `token_expired` or `token_revoked`.
    pub fn verify(&self, token: &str) -> Result<Claims, Code> {
        let claims = self.read_token(token)?;
        if self.inner.revocations.cover(&claims) { Err(Code::TokenRevoked) } else { Ok(claims) }
    }

    /// What a token says that counts, or would if it were not revoked.
    ///
    /// # Errors
    /// `not_authenticated`, `token_invalid` or `token_expired`.
    pub fn read_token(&self, token: &str) -> Result<Claims, Code> {
        self.inner.judge.verify(token).map_err(|error| error.code())
    }

    /// Judges tokens by other keys from now on, as when keys take turns.
    /// Sessions that are there stay.
    pub fn replace_verifier(&self, verifier: Verifier) {
        self.inner.judge.replace(verifier);
    }

    /// Judges also tokens of other issuers from now on.
    pub fn judge_others(&self, others: Arc<dyn OtherIssuers>) {
        self.inner.judge.judge_others(others);
    }

    /// The public keys by which tokens are judged now, as a JWK Set.
    pub fn jwks(&self) -> String {
        self.inner.judge.verifier().jwks()
    }

    /// Revokes tokens that have not ended yet: their sessions are closed, and
    /// nobody comes in by them, on this node at once and on others when they
    /// hear of it. Gives the Unix second until which it is remembered.
    ///
    /// # Errors
    /// `too_large` for a user who has revoked too many one by one;
    /// `unavailable` when nothing that outlives this process has it yet.
    pub async fn revoke(&self, revocation: Revocation) -> Result<u64, Code> {
        self.inner.revocations.revoke(revocation).await
    }

    /// The Unix second before which all of a user's tokens are revoked, and the
    /// sign-ins that gave them.
    pub fn signed_out_s(&self, user: UserId) -> Option<u64> {
        self.inner.revocations.signed_out_s(user)
    }

    /// Keeps what is revoked in a set that other nodes share, besides the
    /// store. It need not answer yet.
    pub async fn share_revocations(&self, set: Arc<dyn SharedSet>) {
        // It is read again and again, and failures are counted there.
        let _ = self.inner.revocations.keep(set).await;
    }

    /// Has this node of a fleet hear what others tell, so that it need not wait
    /// until the store tells which of its branes were opened elsewhere. `say_here`
    /// tells others of this node: now, and when they may have missed it.
    pub fn hear(&self, mut all: mpsc::Receiver<News>, say_here: impl Fn() + Send + Sync + 'static) {
        let Some(link) = self.inner.fleet.clone() else { return };
        say_here();
        tokio::spawn(async move {
            while let Some(news) = all.recv().await {
                if news == News::Missed {
                    say_here();
                }
                let (reply, heard) = oneshot();
                if link.actor.send_message(FleetMsg::Heard { news, reply }).is_err() {
                    return;
                }
                // One after the other: what waits is bounded where it comes in.
                let _ = heard.await;
            }
        });
    }

    /// Has this keep the rulings of all branes from now on; the first that is
    /// given does.
    pub fn chronicle(&self, chronicle: Arc<dyn Chronicle>) {
        // Another one has them then.
        let _ = self.inner.chronicle.set(chronicle);
    }

    /// What a user has left of every rate.
    pub fn account(&self, claims: &Claims) -> Arc<Account> {
        self.inner.accounts.of(claims.user)
    }

    /// Bounds of what clients may send, the same for every way in.
    pub fn decode_limits(&self) -> &DecodeLimits {
        &self.inner.session_config.decode
    }

    /// Makes a session of a connection. `wake_reader` is called when reading
    /// may go on, `claims` are those of the request, if it had a token.
    ///
    /// # Errors
    /// `unavailable` when there are as many sessions as there may be.
    pub async fn connect(
        &self,
        wire: Arc<dyn Wire>,
        wake_reader: Box<dyn Fn() + Send + Sync>,
        claims: Option<Box<Claims>>,
    ) -> Result<SessionPort, Code> {
        let inner = &self.inner;
        let registry = &inner.registry;
        if registry.is_ending() || registry.len() >= inner.config.max_sessions {
            count(&inner.metrics.sessions_refused, 1);
            inner.metrics.limits.count(Limit::Sessions);
            inner.metrics.closed(CloseCode::Overloaded);
            return Err(Code::Unavailable);
        }
        count(&inner.metrics.sessions_opened, 1);
        let shared = Arc::new(Shared::new(
            self.next_session(),
            TraceId::new(Uuid::new_v4()),
            wire,
            Arc::clone(&inner.session_config),
            Arc::clone(&inner.metrics),
            inner.judge.verifier().leeway_s(),
            wake_reader,
        ));
        let context = SessionContext {
            judge: Arc::clone(&inner.judge),
            revocations: Arc::clone(&inner.revocations),
            directory: inner.directory.clone(),
            registry: Arc::clone(registry),
            accounts: Arc::clone(&inner.accounts),
            appointments: Arc::clone(&inner.appointments),
        };
        let arguments = SessionArguments { shared: Arc::clone(&shared), context, claims };
        let (actor, _) =
            SessionActor::spawn_linked(None, SessionActor, arguments, inner.supervisor.get_cell())
                .await
                .map_err(|_| Code::Unavailable)?;
        registry.insert(Arc::clone(&shared), actor.clone());
        Ok(SessionPort { shared, actor, registry: Arc::clone(registry) })
    }

    /// Creates a brane.
    ///
    /// # Errors
    /// `too_many_branes`, `exists`, or what the store's failure amounts to.
    pub async fn create_brane(&self, record: BraneRecord) -> Result<(), Code> {
        // One at a time, or two could both be the last one.
        let _creating = self.inner.creating.lock().await;
        self.expect_room(record.owner, Room::New).await?;
        self.inner.store.create_brane(record).await.map_err(store_code)
    }

    /// A brane's record, if this user may see the brane: an archived one whoever
    /// needs no role for that, a deleted one its owner alone.
    ///
    /// # Errors
    /// `not_found`, or what the store's failure amounts to.
    pub async fn brane(&self, brane: BraneId, claims: &Claims) -> Result<BraneRecord, Code> {
        let record = self.inner.store.brane(brane).await.map_err(store_code)?;
        let invited = principal(&record, claims).invited;
        match record.life {
            Life::Active if invited => Ok(record),
            // Whether they have a role there, the brane knows.
            Life::Active => match self.view(brane, claims).await {
                Ok(view) => Ok(BraneRecord::clone(&view.record)),
                Err(denied) => Err(denied.code),
            },
            Life::Archived { .. } if invited => Ok(record),
            Life::Doomed { .. } if record.owner == claims.user && !record.is_unfinished() => {
                Ok(record)
            }
            _ => Err(Code::NotFound),
        }
    }

    /// A page of the branes that such a listing shows.
    ///
    /// # Errors
    /// What the store's failure amounts to.
    pub async fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> Result<BranePage, Code> {
        self.inner.store.branes(filter, after, limit).await.map_err(store_code)
    }

    /// A brane's objects as they are now; opens the brane if need be.
    ///
    /// # Errors
    /// `not_found`, `unavailable`, `timeout`, `damaged`, `moved`.
    pub async fn view(&self, brane: BraneId, claims: &Claims) -> Result<View, Denied> {
        let handle = self.brane_handle(brane).await?;
        let view = self.ask(&handle.actor, BraneMsg::View).await?;
        view.world.rights().may_enter(&principal(&handle.record, claims), clock::unix_ms())?;
        Ok(view)
    }

    /// Submits edits by the way that a session's take, and waits until they
    /// have outcomes and, where they were applied, are durable.
    ///
    /// # Errors
    /// `not_found`, `unavailable`, `timeout` (then the outcome is unknown:
    /// submit the same numbers under the same client id again), `client_taken`,
    /// `moved`.
    pub async fn write(
        &self,
        brane: BraneId,
        claims: &Claims,
        request: WriteRequest,
    ) -> Result<Written, Denied> {
        if request.client.is_of_transfers() {
            return Err(Code::ClientTaken.into());
        }
        self.write_if(brane, claims, request, OnlyIf::default()).await
    }

    /// Makes an edit in the private probe brane and waits until it has come
    /// back by fan-out and is durable, for as long as that takes. Dropping
    /// this ends it and leaves nothing behind.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn probe(&self) -> Result<probe::Report, Code> {
        let handle = self.brane_handle(self.inner.probe.brane()).await;
        let handle = handle.map_err(|denied| denied.code)?;
        self.inner.probe.run(&handle, self.next_session()).await
    }

    /// What the actors say of themselves.
    ///
    /// # Errors
    /// `timeout` or `unavailable` when one of the first two does not answer; a
    /// brane that does not is left out.
    pub async fn status(&self) -> Result<SystemStatus, Code> {
        let inner = &self.inner;
        let group_commit = self.ask(&inner.persistence, PersistenceMsg::Status).await?;
        let mut branes = Vec::new();
        for handle in self.ask(&inner.directory, DirectoryMsg::List).await? {
            let core = self.ask(&handle.actor, BraneMsg::Status).await;
            let admission = self.ask(&handle.actor, BraneMsg::AdmissionStatus).await;
            let fan_out = self.ask(&handle.fan_out, FanOutMsg::Status).await;
            let people = self.ask(&handle.fan_out, FanOutMsg::people_status).await;
            if let (Ok(core), Ok(admission), Ok(fan_out), Ok(people)) =
                (core, admission, fan_out, people)
            {
                let (brane, visibility) = (handle.brane, handle.record.visibility);
                branes.push(OpenBrane { brane, visibility, core, admission, fan_out, people });
            }
        }
        let lease = match &inner.fleet {
            Some(link) => Some(self.ask(&link.actor, FleetMsg::Status).await?),
            None => None,
        };
        let (sessions, cache) = (inner.registry.len(), inner.store.cache_status());
        let writes = inner.store.writes();
        let spool = inner.spool.as_ref().map(Spool::status);
        let revocations = inner.revocations.status();
        Ok(SystemStatus {
            sessions,
            branes,
            group_commit,
            lease,
            writes,
            spool,
            cache,
            revocations,
        })
    }

    /// Counters of the whole process.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Gives the branes to other nodes of the fleet, as far as these take them,
    /// and sends their sessions there. Everything else goes on; [`Self::drain`]
    /// closes what is left. Does nothing where there is no other node.
    pub async fn hand_over(&self, patience: Duration) {
        let (reply, handed_over) = oneshot();
        if self.inner.directory.send_message(DirectoryMsg::HandOver(reply)).is_ok() {
            // What is not handed over in time is closed.
            let _ = timeout(patience, handed_over).await;
        }
    }

    /// Leaves the fleet: what is still held here, others may have.
    async fn leave(&self, patience: Duration) {
        if let Some(link) = &self.inner.fleet {
            let (reply, left) = oneshot();
            let _ = link.actor.send_message(FleetMsg::Leave(reply));
            // The lease ends by itself.
            let _ = timeout(patience, left).await;
        }
    }

    /// Stops taking edits, makes everything durable, stores snapshots, closes
    /// every session and ends. False when that took longer than `patience`;
    /// what is durable is durable all the same. A session whose peer does not
    /// end its connection is waited for as long as a close may take.
    pub async fn drain(&self, patience: Duration) -> bool {
        let inner = &self.inner;
        let began = Instant::now();
        inner.registry.close_all();
        let (reply, drained) = oneshot();
        let asked = inner.directory.send_message(DirectoryMsg::Drain(reply)).is_ok();
        let drained = asked && matches!(timeout(patience, drained).await, Ok(Ok(())));
        if !drained {
            // Who does not answer may be what was waited for.
            let _ = timeout(LAST_WORD, self.warn_of_open_branes()).await;
        }
        let close = Duration::from_millis(inner.session_config.close_timeout_ms) + 2 * SWEEP_EVERY;
        let left = patience.saturating_sub(began.elapsed());
        // Whoever is still there then had the time to take the last word.
        let _ = timeout(left.min(close), inner.registry.emptied()).await;
        let left = || patience.saturating_sub(began.elapsed()).max(LAST_WORD);
        self.leave(left()).await;
        inner.supervisor.stop(None);
        // A store that does not close in time has its own journal to trust.
        let closed = matches!(timeout(left(), inner.store.close()).await, Ok(Ok(())));
        if !closed {
            warn!("the store was not closed in time");
        }
        drained && closed
    }

    /// Says what a drain has waited for in vain.
    async fn warn_of_open_branes(&self) {
        let inner = &self.inner;
        let branes = self.ask(&inner.directory, DirectoryMsg::NotClosed).await.unwrap_or_default();
        let queue = self.ask(&inner.persistence, PersistenceMsg::Status).await.ok();
        let waiting = queue.map_or(0, |queue| queue.chunks);
        warn!(?branes, waiting, "branes are not closed, and so many chunks are not stored");
    }

    /// Returns when the system has ended, which it does by itself only when an
    /// actor that it cannot go on without has failed.
    pub async fn ended(&self) {
        // Without a time-out, waiting cannot fail.
        let _ = self.inner.supervisor.get_cell().wait(None).await;
    }

    /// Finds or opens a brane. Whether somebody may see it is for the brane to
    /// say.
    pub(crate) async fn brane_handle(&self, brane: BraneId) -> Result<BraneHandle, Denied> {
        let answer = self.ask(&self.inner.directory, |reply: OneshotSender<_>| {
            DirectoryMsg::Open { brane, reply: Box::new(move |result| drop(reply.send(result))) }
        });
        answer.await?
    }

    /// Asks a brane to close, as if nobody had been there for long.
    #[cfg(test)]
    pub(crate) fn close_brane(&self, brane: BraneId) {
        let _ = self.inner.directory.send_message(DirectoryMsg::Idle { brane });
    }

    /// Sends a question and waits for the answer.
    pub(crate) async fn ask<M: Message, T>(
        &self,
        actor: &ActorRef<M>,
        question: impl FnOnce(OneshotSender<T>) -> M,
    ) -> Result<T, Code> {
        let (reply, answer) = oneshot();
        actor.send_message(question(reply)).map_err(|_| Code::Unavailable)?;
        let patience = Duration::from_millis(self.inner.config.answer_timeout_ms);
        match timeout(patience, answer).await {
            Ok(answer) => answer.map_err(|_| Code::Unavailable),
            Err(_) => Err(Code::Timeout),
        }
    }

    fn next_session(&self) -> SessionKey {
        SessionKey(self.inner.next_session.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a store's failure is to a client.
pub(crate) fn store_code(error: StoreError) -> Code {
    match error {
        StoreError::UnknownBrane(_) => Code::NotFound,
        StoreError::Inactive { life, .. } => end_of(life).unwrap_or(Code::NotFound),
        StoreError::Changed { .. } => Code::Conflict,
        StoreError::BraneExists(_) => Code::Exists,
        StoreError::Damaged { .. } => Code::Damaged,
        StoreError::Timeout { .. } => Code::Timeout,
        StoreError::Invalid(_) => Code::TooLarge,
        error => {
            tracing::warn!(%error, "the store failed");
            Code::Unavailable
        }
    }
}

/// As whom the bearer of these claims is in a brane.
pub(crate) fn principal(record: &BraneRecord, claims: &Claims) -> Principal {
    avvy_auth::principal(claims, record.id, record.owner, record.visibility)
}
