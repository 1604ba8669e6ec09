//! What is done with the store: commits, snapshots, openings, compaction. Each
//! operation takes its time, and the process may die between any two of them.

use std::future::Future;
use std::pin::pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use avvy_brane::snapshot;
use avvy_flow::brane_core::{Recovered, SnapshotJob};
use avvy_flow::group_commit::{JournalChunk, QueuedChunk, Rejected, rejected};
use avvy_flow::lineage::Lineage;
use avvy_flow::loading::{
    LoadConfig, LoadError, LoadWarning, Loading, Need, ReadFailure, SnapshotSource, Sources,
};
use avvy_flow::recovery::TailBounds;
use avvy_model::{BraneId, Code, Grid, UserId};
use avvy_persistence::{
    Chunk, ChunkWrite, CompactPolicy, Opened, SnapshotId, SnapshotStart, Store, StoreError,
};
use avvy_protocol::{Channel, Flush};
use bytes::Bytes;

use super::{ActorId, Ctx, JobId, Life, Msg, Process};
use crate::env::Event;
use crate::setup::Setup;

/// Edits before the snapshot whose windows are read, too.
const TAIL_EDITS: u64 = 50;
/// Bytes of journal read at a time.
const BITE_BYTES: usize = 2_000;
/// A retention that no run outlasts, unless its clock is set.
const LONG_MS: u64 = 600_000;

/// A brane as it comes from the store.
pub(crate) struct Loaded {
    pub(super) channel: Channel,
    pub(super) recovered: Recovered,
    pub(super) windows: Vec<Flush>,
}

/// Something that takes several store operations, or one that takes long.
pub(super) enum Job {
    Commit(CommitRun),
    Snapshot(Box<SnapshotRun>),
    Load(Box<LoadRun>),
    Compact,
    /// An append that was answered as timed out.
    Late(Vec<ChunkWrite>),
}

pub(super) struct CommitRun {
    batch: Vec<QueuedChunk>,
    /// What the store answered, once it has.
    answer: Option<Result<Vec<Rejected>, ()>>,
}

impl CommitRun {
    pub(super) fn new(batch: Vec<QueuedChunk>) -> Self {
        Self { batch, answer: None }
    }
}

pub(super) struct SnapshotRun {
    brane: BraneId,
    life: Life,
    at: avvy_model::Position,
    encoder: snapshot::Encoder,
    id: Option<SnapshotId>,
    index: u32,
    part: Option<Vec<u8>>,
}

impl SnapshotRun {
    pub(super) fn new(brane: BraneId, life: Life, job: SnapshotJob) -> Self {
        let SnapshotJob { frozen, clients, at, state_hash } = job;
        let mut encoder = snapshot::Encoder::new(frozen, clients, at, state_hash);
        let part = encoder.next_part();
        Self { brane, life, at, encoder, id: None, index: 0, part }
    }
}

pub(super) struct LoadRun {
    brane: BraneId,
    channel: Channel,
    opened: Option<(Opened, Loading)>,
}

impl Process {
    pub(super) fn start_job(&mut self, ctx: &mut Ctx<'_>, job: Job) {
        self.last_job += 1;
        let id = JobId(self.last_job);
        self.jobs.insert(id, job);
        self.plan_job(ctx, id);
    }

    pub(super) fn start_snapshot(&mut self, ctx: &mut Ctx<'_>, run: SnapshotRun) {
        self.start_job(ctx, Job::Snapshot(Box::new(run)));
    }

    pub(super) fn start_load(&mut self, ctx: &mut Ctx<'_>, brane: BraneId, channel: Channel) {
        self.last_job += 1;
        let id = JobId(self.last_job);
        let run = LoadRun { brane, channel, opened: None };
        self.jobs.insert(id, Job::Load(Box::new(run)));
        // A brane that was open until now may still have chunks on their way.
        self.send(ctx, ActorId::Persistence, Msg::Settle { brane, job: id });
    }

    pub(crate) fn compact(&mut self, ctx: &mut Ctx<'_>) {
        self.start_job(ctx, Job::Compact);
    }

    fn plan_job(&mut self, ctx: &mut Ctx<'_>, id: JobId) {
        let mean_us = ctx.env.setup.store_us;
        let mut delay_us = ctx.env.rng.exponential(mean_us);
        let slow_ppm = ctx.env.setup.slow_store_ppm;
        if ctx.env.rng.ppm(slow_ppm) {
            ctx.env.count("slow store operation");
            delay_us *= 100;
        }
        ctx.env.after(delay_us, Event::Job(self.number, id));
    }

    /// A job takes its next step.
    pub(super) fn run_job(&mut self, ctx: &mut Ctx<'_>, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        let next = match job {
            Job::Commit(run) => self.run_commit(ctx, run).map(Job::Commit),
            Job::Snapshot(run) => self.run_snapshot(ctx, *run).map(|run| Job::Snapshot(run.into())),
            Job::Load(run) => self.run_load(ctx, *run).map(|run| Job::Load(run.into())),
            Job::Compact => {
                self.run_compact(ctx);
                None
            }
            Job::Late(writes) => {
                self.run_late(ctx, writes);
                None
            }
        };
        if let Some(job) = next {
            self.jobs.insert(id, job);
            self.plan_job(ctx, id);
        }
    }

    fn run_commit(&mut self, ctx: &mut Ctx<'_>, mut run: CommitRun) -> Option<CommitRun> {
        if let Some(answer) = run.answer {
            self.send(ctx, ActorId::Persistence, Msg::Committed(answer));
            return None;
        }
        let writes: Vec<ChunkWrite> = run.batch.iter().map(write).collect();
        let late_ppm = ctx.env.setup.store_late_ppm;
        if ctx.env.rng.ppm(late_ppm) {
            ctx.env.count("append timed out");
            self.start_late(ctx, writes);
            run.answer = Some(Err(()));
            return Some(run);
        }
        run.answer = Some(match self.ask(self.store.append(writes)) {
            Err(_) if self.is_dead() => return None,
            Err(error) => {
                ctx.env.count("group commit failed");
                ctx.env.check(error.is_retryable(), || format!("a group commit: {error}"));
                Err(())
            }
            Ok(answers) => Ok(rejected(&run.batch, &answers, |queued, refusal| {
                ctx.env.trace(|| format!("chunk {:?} refused: {refusal}", queued.chunk.to));
            })),
        });
        Some(run)
    }

    /// Before the append is repeated, or long after.
    fn start_late(&mut self, ctx: &mut Ctx<'_>, writes: Vec<ChunkWrite>) {
        self.last_job += 1;
        let id = JobId(self.last_job);
        self.jobs.insert(id, Job::Late(writes));
        let mean_us = 20 * ctx.env.setup.store_us;
        let delay_us = ctx.env.rng.exponential(mean_us);
        ctx.env.after(delay_us, Event::Job(self.number, id));
    }

    /// The store does what it was asked for long ago; nobody hears of it.
    fn run_late(&mut self, ctx: &mut Ctx<'_>, writes: Vec<ChunkWrite>) {
        let heads = |this: &Self| -> Vec<_> {
            let reports = writes.iter().map(|write| this.store.disk().report(write.brane));
            reports.map(|report| report.map(|report| report.head).ok()).collect()
        };
        let before = heads(self);
        let _ = self.ask(self.store.append(writes.clone()));
        let is_first = before != heads(self);
        ctx.env.count(if is_first {
            "append done after its time-out"
        } else {
            "append without effect after its time-out"
        });
    }

    fn run_snapshot(&mut self, ctx: &mut Ctx<'_>, mut run: SnapshotRun) -> Option<SnapshotRun> {
        let brane = run.brane;
        let done = match (run.id, run.part.take()) {
            (None, part) => {
                run.part = part;
                let (epoch, at) = (run.at.epoch, run.at.seq);
                let start = SnapshotStart { brane, epoch, at, taken_ms: ctx.env.unix_ms() };
                self.ask(self.store.begin_snapshot(start)).map(|id| {
                    run.id = Some(id);
                    false
                })
            }
            (Some(id), Some(part)) => {
                let index = run.index;
                run.index += 1;
                run.part = run.encoder.next_part();
                let body = Bytes::from(part);
                self.ask(self.store.put_snapshot_part(brane, id, index, body)).map(|()| false)
            }
            (Some(id), None) => {
                let finished = self.ask(self.store.finish_snapshot(brane, id, run.index));
                finished.map(|()| true)
            }
        };
        let stored = match done {
            Ok(false) => return Some(run),
            Ok(true) => {
                ctx.env.count("snapshot stored");
                true
            }
            Err(_) if self.is_dead() => return None,
            Err(error) => {
                ctx.env.trace(|| format!("snapshot of {brane} not stored: {error}"));
                ctx.env.count("snapshot failed");
                false
            }
        };
        let ended = Msg::SnapshotEnded { at: run.at.seq, stored };
        self.send(ctx, ActorId::Brane(run.life), ended);
        None
    }

    fn run_load(&mut self, ctx: &mut Ctx<'_>, mut run: LoadRun) -> Option<LoadRun> {
        match self.step_load(ctx, &mut run) {
            Ok(false) => Some(run),
            Ok(true) => {
                let loaded = finish_load(ctx, run);
                let (brane, loaded) = match loaded {
                    Ok((brane, loaded)) => (brane, Ok(Box::new(loaded))),
                    Err(brane) => (brane, Err(Code::Damaged)),
                };
                self.send(ctx, ActorId::Directory, Msg::Loaded { brane, loaded });
                None
            }
            Err(_) if self.is_dead() => None,
            Err(error) => {
                ctx.env.count("opening failed");
                let brane = run.brane;
                ctx.env.trace(|| format!("opening {brane} failed: {error}"));
                ctx.env.check(error.is_retryable(), || {
                    format!("brane {brane} cannot be opened: {error}")
                });
                let loaded = Err(Code::Unavailable);
                self.send(ctx, ActorId::Directory, Msg::Loaded { brane, loaded });
                None
            }
        }
    }

    /// One store operation. True when nothing is left to read.
    fn step_load(&mut self, ctx: &mut Ctx<'_>, run: &mut LoadRun) -> Result<bool, StoreError> {
        let brane = run.brane;
        let Some((_, loading)) = &mut run.opened else {
            let opened = self.ask(self.store.open(brane))?;
            ctx.env.check(opened.torn.is_none(), || format!("a torn tail: {:?}", opened.torn));
            let owner = self.owners.get(&brane).copied();
            let owner = owner.ok_or(StoreError::UnknownBrane(brane))?;
            let loading = Loading::new(sources(brane, owner, &opened), load_config(&ctx.env.setup));
            run.opened = Some((opened, loading));
            return Ok(false);
        };
        let mut warnings = Vec::new();
        let read = match loading.need() {
            Need::Nothing => return Ok(true),
            Need::Part { snapshot, index } => {
                let part = self.store.read_snapshot_part(brane, SnapshotId(snapshot), index);
                self.ask(part).map(|part| loading.part(&part, &mut warnings))
            }
            Need::Chunks { after } => {
                let read = self.ask(self.store.read_chunks(brane, after, BITE_BYTES));
                let chunks = read.map(|read| read.into_iter().map(journal_chunk).collect());
                chunks.map(|chunks: Vec<_>| loading.chunks(&chunks, &mut warnings))
            }
        };
        let taken = match read {
            Err(_) if self.is_dead() => return Err(StoreError::Closed),
            Err(error) => {
                let failure = match &error {
                    StoreError::Compacted { oldest } => {
                        ctx.env.count("opening after compaction");
                        ReadFailure::Compacted { oldest: *oldest }
                    }
                    StoreError::Damaged { .. } | StoreError::UnknownSnapshot { .. } => {
                        ReadFailure::Damaged(error.to_string())
                    }
                    error => ReadFailure::Away(error.to_string()),
                };
                match loading.failed(failure, &mut warnings) {
                    Err(LoadError::Away(_)) => return Err(error),
                    taken => taken,
                }
            }
            Ok(taken) => taken,
        };
        for warning in warnings {
            match warning {
                LoadWarning::EarlierJournal { .. } => {
                    ctx.env.count("opening without earlier journal");
                }
                LoadWarning::FallingBack { .. } => {
                    let is_planned = ctx.env.setup.spoils;
                    ctx.env.check(is_planned, || format!("{brane}: {warning}"));
                    ctx.env.count("opening from an older snapshot");
                }
            }
        }
        ctx.env.check(taken.is_ok(), || format!("{brane}: {taken:?}"));
        Ok(taken.is_err() || loading.need() == Need::Nothing)
    }

    fn run_compact(&mut self, ctx: &mut Ctx<'_>) {
        let policy = CompactPolicy {
            now_ms: ctx.env.unix_ms(),
            retention_ms: ctx.env.setup.retention_ms,
            max_journal_bytes: ctx.env.setup.journal_bytes,
            // Where snapshots are spoiled, one is not enough.
            keep_snapshots: if ctx.env.setup.spoils { 2 } else { 1 + ctx.env.rng.below(2) as u32 },
        };
        if let Ok(done) = self.ask(self.store.compact(policy)) {
            ctx.env.check(done.skipped == 0, || format!("compaction: {done:?}"));
            if done.chunks > 0 {
                ctx.env.count("compaction");
                let setup = &ctx.env.setup;
                let is_young = setup.retention_ms >= LONG_MS && setup.weights.clock == 0;
                if is_young && setup.journal_bytes.is_some() {
                    ctx.env.count("compaction to a size");
                }
            }
        }
    }

    /// The store's answer, which is there at once. A store without power
    /// takes the process with it.
    pub(super) fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let Poll::Ready(answer) = pin!(answer).poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(StoreError::Closed);
        };
        match answer {
            Err(StoreError::Closed) => {
                self.is_dead.set(true);
                Err(StoreError::Closed)
            }
            Err(StoreError::Io(why)) => {
                let fates = &mut *self.fates.lock().unwrap_or_else(PoisonError::into_inner);
                Err(fates.take_answer().unwrap_or(StoreError::Io(why)))
            }
            answer => answer,
        }
    }
}

pub(crate) fn sources(brane: BraneId, owner: UserId, opened: &Opened) -> Sources {
    let snapshots = opened
        .snapshots
        .iter()
        .map(|info| SnapshotSource { id: info.id.0, at: info.at, parts: info.parts })
        .collect();
    Sources { brane, owner, grid: Grid::default(), snapshots, head: opened.head }
}

pub(crate) fn load_config(setup: &Setup) -> LoadConfig {
    let fan_out = &setup.fan_out;
    let tail =
        TailBounds { max_windows: fan_out.ring_max_windows, max_bytes: fan_out.ring_max_bytes };
    LoadConfig { limits: setup.brane.limits, tail, tail_edits: TAIL_EDITS }
}

pub(crate) fn journal_chunk(chunk: Chunk) -> JournalChunk {
    let Chunk { epoch, from, to, at_ms, body } = chunk;
    JournalChunk { epoch, from, to, at_ms, body }
}

fn finish_load(ctx: &mut Ctx<'_>, run: LoadRun) -> Result<(BraneId, Loaded), BraneId> {
    let LoadRun { brane, channel, opened: Some((opened, loading)) } = run else {
        return Err(run.brane);
    };
    let Some(recovery) = loading.finish() else { return Err(brane) };
    let head = recovery.head();
    ctx.env.check(head == opened.head, || format!("{brane}: read to {head} of {}", opened.head));
    let Ok(lineage) = Lineage::new(opened.lineage) else {
        ctx.env.fail(|| format!("the lineage of {brane} does not rise"));
        return Err(brane);
    };
    let (recovered, windows) = recovery.finish(channel, lineage);
    Ok((brane, Loaded { channel, recovered, windows }))
}

fn write(queued: &QueuedChunk) -> ChunkWrite {
    let QueuedChunk { brane, chunk } = queued;
    let JournalChunk { epoch, from, to, at_ms, body } = chunk.clone();
    ChunkWrite { brane: *brane, epoch, from, to, at_ms, body }
}
