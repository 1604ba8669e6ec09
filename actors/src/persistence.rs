//! The persistence actor: every brane's journal chunks on their way to the
//! store, many branes in one group commit. It performs what the
//! [`GroupCommit`] machine decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use avvy_flow::group_commit::{
    self, GroupCommit, GroupCommitConfig, GroupCommitEffect, GroupCommitStatus, JournalChunk,
    QueuedChunk, Rejected,
};
use avvy_model::BraneId;
use avvy_persistence::spool::{Drained, Spool};
use avvy_persistence::{AppendRefusal, ChunkWrite, Store, StoreError};
use ractor::concurrency::OneshotSender;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{error, warn};

use crate::brane::BraneMsg;
use crate::clock;
use crate::metrics::{Metrics, count};
use crate::spooling::{Spooling, Step};

/// The pause before what is on local disk is looked at again.
const DRAIN_AGAIN: Duration = Duration::from_secs(1);

/// What becomes of edits while the store is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenAway {
    /// They are applied and wait for the store, up to the queue's bound.
    #[default]
    Provisional,
    /// They are refused as `unavailable`.
    Refuse,
}

type AppendResult = Result<Vec<Result<(), AppendRefusal>>, StoreError>;

/// What reaches the persistence actor.
pub(crate) enum PersistenceMsg {
    /// A brane was opened: who is told of its watermark and of pressure.
    Opened { brane: BraneId, owner: ActorRef<BraneMsg> },
    /// A brane's next chunk.
    Append { brane: BraneId, chunk: JournalChunk },
    /// The commit that was under way has ended.
    Committed { batch: Vec<QueuedChunk>, result: AppendResult },
    /// A pause after a failure is over.
    Tick,
    /// What waits was written to local disk, or not.
    Spooled(Result<(), StoreError>),
    /// What is on local disk is settled, or not.
    Drained(Result<Drained, StoreError>),
    /// To be tried again.
    DrainAgain,
    /// Answered when no chunk of the brane waits any more.
    Settle { brane: BraneId, reply: OneshotSender<()> },
    /// The node's lease is not sure, or is sure again.
    Provisional(bool),
    /// The queue's state.
    Status(OneshotSender<GroupCommitStatus>),
}

pub(crate) struct PersistenceActor;

pub(crate) struct PersistenceArguments {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) config: GroupCommitConfig,
    pub(crate) when_away: WhenAway,
    pub(crate) spool: Option<Spool>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) struct Persistence {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    commits: GroupCommit,
    owners: HashMap<BraneId, ActorRef<BraneMsg>>,
    settling: Vec<(BraneId, OneshotSender<()>)>,
    when_away: WhenAway,
    spooling: Spooling,
    /// The node's lease is not sure.
    provisional: bool,
    /// What the branes were told last: whether to refuse edits.
    refusing: bool,
}

impl Actor for PersistenceActor {
    type Msg = PersistenceMsg;
    type State = Persistence;
    type Arguments = PersistenceArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<PersistenceMsg>,
        PersistenceArguments { store, config, when_away, spool, metrics }: PersistenceArguments,
    ) -> Result<Persistence, ActorProcessingErr> {
        // What is refused need not be kept.
        let spool = spool.filter(|_| when_away == WhenAway::Provisional);
        Ok(Persistence {
            store,
            metrics,
            commits: GroupCommit::new(config),
            owners: HashMap::new(),
            settling: Vec::new(),
            when_away,
            spooling: Spooling::new(spool),
            provisional: false,
            refusing: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<PersistenceMsg>,
        message: PersistenceMsg,
        state: &mut Persistence,
    ) -> Result<(), ActorProcessingErr> {
        let mut effects = Vec::new();
        match message {
            PersistenceMsg::Opened { brane, owner } => state.on_opened(brane, owner),
            PersistenceMsg::Append { brane, chunk } => {
                if state.spooling.is_active() {
                    state.spooling.push(chunk_write(brane, &chunk));
                }
                state.commits.push(clock::monotonic_us(), brane, chunk, &mut effects);
            }
            PersistenceMsg::Committed { batch, result } => {
                state.on_committed(&batch, result, &mut effects)?;
            }
            PersistenceMsg::Spooled(result) => state.spooling.written(result),
            PersistenceMsg::Drained(result) => {
                if state.spooling.drained(result) {
                    myself.send_after(DRAIN_AGAIN, || PersistenceMsg::DrainAgain);
                }
            }
            // Whatever was handled, it is looked at below.
            PersistenceMsg::DrainAgain => {}
            PersistenceMsg::Tick => state.commits.tick(clock::monotonic_us(), &mut effects),
            PersistenceMsg::Settle { brane, reply } => state.settling.push((brane, reply)),
            PersistenceMsg::Provisional(on) => state.provisional = on,
            PersistenceMsg::Status(reply) => {
                let _ = reply.send(state.commits.status());
            }
        }
        for effect in effects {
            state.perform(&myself, effect);
        }
        state.settle();
        state.spool(&myself);
        state.press();
        Ok(())
    }
}

impl Persistence {
    fn on_opened(&mut self, brane: BraneId, owner: ActorRef<BraneMsg>) {
        if self.refusing {
            tell(&owner, BraneMsg::Pressure(true));
        }
        self.owners.insert(brane, owner);
    }

    /// # Errors
    /// The store's, when nothing that can be repeated would help: then no
    /// brane can be kept, and the process ends.
    fn on_committed(
        &mut self,
        batch: &[QueuedChunk],
        result: AppendResult,
        effects: &mut Vec<GroupCommitEffect>,
    ) -> Result<(), StoreError> {
        let now_us = clock::monotonic_us();
        match result {
            Ok(results) => {
                self.commits.stored(now_us, &judge(batch, &results), effects);
                let status = self.commits.status();
                self.spooling.end(status);
                count(&self.metrics.commits, 1);
                self.metrics.chunks.store(status.stored_chunks, Ordering::Relaxed);
                self.metrics.chunk_bytes.store(status.stored_bytes, Ordering::Relaxed);
            }
            Err(error) if error.is_retryable() => {
                count(&self.metrics.commit_failures, 1);
                warn!(%error, chunks = batch.len(), "a group commit failed and will be repeated");
                self.commits.failed(now_us, effects);
                let queued = self.commits.queued();
                let queued = queued.map(|queued| chunk_write(queued.brane, &queued.chunk));
                self.spooling.begin(queued);
            }
            Err(error) => {
                count(&self.metrics.commit_failures, 1);
                error!(%error, chunks = batch.len(), "the store takes nothing any more; ending");
                return Err(error);
            }
        }
        Ok(())
    }

    fn perform(&mut self, myself: &ActorRef<PersistenceMsg>, effect: GroupCommitEffect) {
        match effect {
            GroupCommitEffect::Commit(batch) => self.commit(myself, batch),
            GroupCommitEffect::Durable { brane, epoch, seq } => {
                self.tell(brane, BraneMsg::Durable { epoch, seq });
            }
            GroupCommitEffect::Rejected { opening, .. } => {
                self.tell(opening.brane, BraneMsg::Rejected(opening));
            }
            // See `press`.
            GroupCommitEffect::Pressure(_) => {}
            GroupCommitEffect::WakeAt(at_us) => {
                let pause = at_us.saturating_sub(clock::monotonic_us());
                myself.send_after(Duration::from_micros(pause), || PersistenceMsg::Tick);
            }
        }
    }

    /// Has the branes refuse edits while the queue is too long, or while the
    /// store is away where that is asked for.
    fn press(&mut self) {
        let status = self.commits.status();
        let is_away = self.provisional || status.failures_in_a_row > 0;
        let refusing = status.pressure
            || self.spooling.is_full()
            || is_away && self.when_away == WhenAway::Refuse;
        if refusing != self.refusing {
            self.refusing = refusing;
            self.owners.retain(|_, owner| tell(owner, BraneMsg::Pressure(refusing)));
        }
    }

    fn commit(&self, myself: &ActorRef<PersistenceMsg>, batch: Vec<QueuedChunk>) {
        let writes = batch.iter().map(|queued| chunk_write(queued.brane, &queued.chunk));
        let (store, writes, myself) = (Arc::clone(&self.store), writes.collect(), myself.clone());
        tokio::spawn(async move {
            let result = store.append(writes).await;
            // Without the actor nobody waits for the outcome.
            let _ = myself.send_message(PersistenceMsg::Committed { batch, result });
        });
    }

    /// Keeps on local disk what waits for a store that is away.
    fn spool(&mut self, myself: &ActorRef<PersistenceMsg>) {
        let Some(step) = self.spooling.step(self.commits.status()) else { return };
        let (store, myself) = (Arc::clone(&self.store), myself.clone());
        tokio::spawn(async move {
            let done = match step {
                Step::Write(spool, chunks) => PersistenceMsg::Spooled(spool.append(chunks).await),
                Step::Drain(spool) => PersistenceMsg::Drained(spool.drain(store.as_ref()).await),
            };
            // Without the actor nobody waits for the outcome.
            let _ = myself.send_message(done);
        });
    }

    fn tell(&mut self, brane: BraneId, message: BraneMsg) {
        if let Some(owner) = self.owners.get(&brane)
            && !tell(owner, message)
        {
            self.owners.remove(&brane);
        }
    }

    fn settle(&mut self) {
        for (brane, reply) in std::mem::take(&mut self.settling) {
            if self.commits.pending_of(brane) == 0 {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(());
            } else {
                self.settling.push((brane, reply));
            }
        }
    }
}

fn chunk_write(brane: BraneId, chunk: &JournalChunk) -> ChunkWrite {
    let JournalChunk { epoch, from, to, at_ms, ref body } = *chunk;
    ChunkWrite { brane, epoch, from, to, at_ms, body: body.clone() }
}

/// The openings whose chunks the store will never take.
fn judge(batch: &[QueuedChunk], answers: &[Result<(), AppendRefusal>]) -> Vec<Rejected> {
    group_commit::rejected(batch, answers, |QueuedChunk { brane, chunk }, refusal| {
        error!(%brane, epoch = %chunk.epoch, to = %chunk.to, %refusal, "the store refused a chunk");
    })
}

/// False when the actor is gone.
fn tell(owner: &ActorRef<BraneMsg>, message: BraneMsg) -> bool {
    owner.send_message(message).is_ok()
}
