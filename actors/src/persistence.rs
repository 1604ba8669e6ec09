//! The persistence actor: every brane's journal chunks on their way to the
//! store, many branes in one group commit, and to local disk while the store is
//! away. It performs what the machines [`GroupCommit`] and [`Spooling`] decide.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use avvy_flow::group_commit::{
    self, GroupCommit, GroupCommitConfig, GroupCommitEffect, GroupCommitStatus, JournalChunk,
    QueuedChunk, Rejected,
};
use avvy_flow::spooling::{Spooling, SpoolingEffect, Written};
use avvy_model::BraneId;
use avvy_persistence::spool::{Drained, Spool};
use avvy_persistence::{AppendRefusal, ChunkWrite, Store, StoreError};
use ractor::concurrency::OneshotSender;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{error, info, warn};

use crate::brane::BraneMsg;
use crate::clock;
use crate::metrics::{Metrics, count};

type AppendResult = Result<Vec<Result<(), AppendRefusal>>, StoreError>;

/// What reaches the persistence actor.
pub(crate) enum PersistenceMsg {
    /// A brane was opened: who is told of its watermark and of pressure.
    Opened { brane: BraneId, owner: ActorRef<BraneMsg> },
    /// A brane's next chunk.
    Append { brane: BraneId, chunk: JournalChunk },
    /// The commit that was under way has ended.
    Committed { batch: Vec<QueuedChunk>, result: AppendResult },
    /// A pause is over.
    Tick,
    /// What waits was written to local disk, or not.
    Spooled(Result<(), StoreError>),
    /// What is on local disk is settled, or not.
    Drained(Result<Drained, StoreError>),
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
    pub(crate) spool: Option<Spool>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) struct Persistence {
    store: Arc<dyn Store>,
    spool: Option<Spool>,
    metrics: Arc<Metrics>,
    commits: GroupCommit,
    spooling: Spooling,
    owners: HashMap<BraneId, ActorRef<BraneMsg>>,
    settling: Vec<(BraneId, OneshotSender<()>)>,
}

/// What the machines want.
#[derive(Default)]
struct Effects {
    commits: Vec<GroupCommitEffect>,
    spooling: Vec<SpoolingEffect>,
}

impl Actor for PersistenceActor {
    type Msg = PersistenceMsg;
    type State = Persistence;
    type Arguments = PersistenceArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<PersistenceMsg>,
        PersistenceArguments { store, config, spool, metrics }: PersistenceArguments,
    ) -> Result<Persistence, ActorProcessingErr> {
        Ok(Persistence {
            store,
            // What is refused need not be kept.
            spool: spool.filter(|_| !config.refuse_when_away),
            metrics,
            commits: GroupCommit::new(config),
            spooling: Spooling::new(),
            owners: HashMap::new(),
            settling: Vec::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<PersistenceMsg>,
        message: PersistenceMsg,
        state: &mut Persistence,
    ) -> Result<(), ActorProcessingErr> {
        let mut effects = Effects::default();
        match message {
            PersistenceMsg::Opened { brane, owner } => state.on_opened(brane, owner),
            PersistenceMsg::Append { brane, chunk } => {
                state.on_append(QueuedChunk { brane, chunk }, &mut effects);
            }
            PersistenceMsg::Committed { batch, result } => {
                state.on_committed(&batch, result, &mut effects)?;
            }
            PersistenceMsg::Spooled(result) => state.on_spooled(result, &mut effects),
            PersistenceMsg::Drained(result) => state.on_drained(result, &mut effects),
            PersistenceMsg::Tick => state.on_tick(&mut effects),
            PersistenceMsg::Settle { brane, reply } => state.settling.push((brane, reply)),
            PersistenceMsg::Provisional(on) => state.on_provisional(on, &mut effects),
            PersistenceMsg::Status(reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(state.commits.status());
            }
        }
        state.perform(&myself, effects);
        state.settle();
        Ok(())
    }
}

impl Persistence {
    fn on_opened(&mut self, brane: BraneId, owner: ActorRef<BraneMsg>) {
        if self.commits.pressure() {
            tell(&owner, BraneMsg::Pressure(true));
        }
        self.owners.insert(brane, owner);
    }

    fn on_append(&mut self, queued: QueuedChunk, effects: &mut Effects) {
        self.spooling.push(&queued, &mut effects.spooling);
        let QueuedChunk { brane, chunk } = queued;
        self.commits.push(clock::monotonic_us(), brane, chunk, &mut effects.commits);
    }

    /// # Errors
    /// The store's, when nothing that can be repeated would help: then no
    /// brane can be kept, and the process ends.
    fn on_committed(
        &mut self,
        batch: &[QueuedChunk],
        result: AppendResult,
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let now_us = clock::monotonic_us();
        match result {
            Ok(results) => {
                self.commits.stored(now_us, &judge(batch, &results), &mut effects.commits);
                self.on_stored(now_us, effects);
            }
            Err(error) if error.is_retryable() => {
                count(&self.metrics.commit_failures, 1);
                warn!(%error, chunks = batch.len(), "a group commit failed and will be repeated");
                self.commits.failed(now_us, &mut effects.commits);
                self.on_away(effects);
            }
            Err(error) => {
                count(&self.metrics.commit_failures, 1);
                error!(%error, chunks = batch.len(), "the store takes nothing any more; ending");
                return Err(error);
            }
        }
        Ok(())
    }

    fn on_stored(&mut self, now_us: u64, effects: &mut Effects) {
        let status = self.commits.status();
        count(&self.metrics.commits, 1);
        self.metrics.chunks.store(status.stored_chunks, Ordering::Relaxed);
        self.metrics.chunk_bytes.store(status.stored_bytes, Ordering::Relaxed);
        let (gone, waiting) = (self.commits.gone(), self.commits.len());
        if self.spooling.stored(now_us, gone, waiting, &mut effects.spooling) {
            info!(chunks = waiting, "the store is back");
        }
    }

    /// A commit that is under way may take long to fail; what waits is kept
    /// from here on.
    fn on_provisional(&mut self, on: bool, effects: &mut Effects) {
        self.commits.provisional(on, &mut effects.commits);
        if on {
            self.on_away(effects);
        } else if self.commits.is_empty() {
            let (now_us, gone) = (clock::monotonic_us(), self.commits.gone());
            if self.spooling.sure(now_us, gone, &mut effects.spooling) {
                info!("the store is back");
            }
        }
    }

    fn on_away(&mut self, effects: &mut Effects) {
        let queued = self.commits.queued();
        if self.spool.is_some() && self.spooling.away(queued, &mut effects.spooling) {
            warn!("the store is away; what waits for it is kept on local disk");
        }
    }

    fn on_spooled(&mut self, result: Result<(), StoreError>, effects: &mut Effects) {
        match &result {
            Ok(()) => {}
            Err(StoreError::Full(why)) => {
                warn!(why, "no more room on local disk for what waits for the store");
            }
            Err(error) => error!(%error, "what waits for the store is not kept on local disk"),
        }
        self.spooling.written(clock::monotonic_us(), written(&result), &mut effects.spooling);
    }

    fn on_drained(&mut self, result: Result<Drained, StoreError>, effects: &mut Effects) {
        match &result {
            Ok(Drained { stored, archived }) => {
                info!(stored, archived, "what was kept on local disk is settled");
            }
            Err(error) => warn!(%error, "what was kept on local disk is not settled yet"),
        }
        self.spooling.drained(clock::monotonic_us(), result.is_ok(), &mut effects.spooling);
    }

    fn on_tick(&mut self, effects: &mut Effects) {
        let now_us = clock::monotonic_us();
        self.commits.tick(now_us, &mut effects.commits);
        self.spooling.tick(now_us, &mut effects.spooling);
    }

    fn perform(&mut self, myself: &ActorRef<PersistenceMsg>, effects: Effects) {
        let Effects { mut commits, spooling } = effects;
        for effect in spooling {
            match effect {
                SpoolingEffect::Write(chunks) => self.write(myself, &chunks),
                SpoolingEffect::Drain => self.drain(myself),
                SpoolingEffect::CutOff(branes) => {
                    count(&self.metrics.branes_unkept, branes.len() as u64);
                    warn!(?branes, "what waits of these branes is not kept any further");
                }
                SpoolingEffect::Full(on) => self.commits.spool_full(on, &mut commits),
                SpoolingEffect::WakeAt(at_us) => wake(myself, at_us),
            }
        }
        for effect in commits {
            match effect {
                GroupCommitEffect::Commit(batch) => self.commit(myself, batch),
                GroupCommitEffect::Durable { brane, epoch, seq } => {
                    self.tell(brane, BraneMsg::Durable { epoch, seq });
                }
                GroupCommitEffect::Rejected { opening, .. } => {
                    self.tell(opening.brane, BraneMsg::Rejected(opening));
                }
                GroupCommitEffect::Pressure(on) => {
                    self.owners.retain(|_, owner| tell(owner, BraneMsg::Pressure(on)));
                }
                GroupCommitEffect::WakeAt(at_us) => wake(myself, at_us),
            }
        }
    }

    fn commit(&self, myself: &ActorRef<PersistenceMsg>, batch: Vec<QueuedChunk>) {
        let (store, writes) = (Arc::clone(&self.store), chunk_writes(&batch));
        when_done(myself, async move {
            let result = store.append(writes).await;
            PersistenceMsg::Committed { batch, result }
        });
    }

    /// Keeps on local disk what waits for a store that is away.
    fn write(&self, myself: &ActorRef<PersistenceMsg>, chunks: &[QueuedChunk]) {
        let Some(spool) = &self.spool else { return };
        let written = spool.append(chunk_writes(chunks));
        when_done(myself, async { PersistenceMsg::Spooled(written.await) });
    }

    /// Settles with the store what is on local disk.
    fn drain(&self, myself: &ActorRef<PersistenceMsg>) {
        let Some(spool) = self.spool.clone() else { return };
        let store = Arc::clone(&self.store);
        when_done(
            myself,
            async move { PersistenceMsg::Drained(spool.drain(store.as_ref()).await) },
        );
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

/// Has the actor hear of the end of something.
fn when_done(
    myself: &ActorRef<PersistenceMsg>,
    work: impl Future<Output = PersistenceMsg> + Send + 'static,
) {
    let myself = myself.clone();
    tokio::spawn(async move {
        // Without the actor nobody waits for the outcome.
        let _ = myself.send_message(work.await);
    });
}

fn wake(myself: &ActorRef<PersistenceMsg>, at_us: u64) {
    let pause = at_us.saturating_sub(clock::monotonic_us());
    myself.send_after(Duration::from_micros(pause), || PersistenceMsg::Tick);
}

/// What the end of a write to local disk means.
pub(crate) fn written(result: &Result<(), StoreError>) -> Written {
    match result {
        Ok(()) => Written::Kept,
        Err(StoreError::Full(_)) => Written::NoRoom,
        Err(_) => Written::Failed,
    }
}

pub(crate) fn chunk_writes(chunks: &[QueuedChunk]) -> Vec<ChunkWrite> {
    let chunk_write = |QueuedChunk { brane, chunk }: &QueuedChunk| {
        let JournalChunk { epoch, from, to, at_ms, ref body } = *chunk;
        ChunkWrite { brane: *brane, epoch, from, to, at_ms, body: body.clone() }
    };
    chunks.iter().map(chunk_write).collect()
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
