//! What is done with the store: commits, snapshots, openings, compaction. Each
//! operation takes its time, and the process may die between any two of them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use avvy_brane::{Clients, World, snapshot};
use avvy_flow::brane_core::{Recovered, SnapshotJob};
use avvy_flow::group_commit::{JournalChunk, QueuedChunk};
use avvy_flow::lineage::Lineage;
use avvy_flow::recovery::{Recovery, TailBounds};
use avvy_model::{BraneId, Code, Epoch, Seq};
use avvy_persistence::{
    AppendRefusal, ChunkWrite, CompactPolicy, Opened, SnapshotId, SnapshotStart, Store, StoreError,
};
use avvy_protocol::{Channel, Flush};
use bytes::Bytes;

use super::{ActorId, Ctx, JobId, Life, Msg, Process};
use crate::env::Event;

/// Edits before the snapshot whose windows are read, too.
const TAIL_EDITS: u64 = 50;
/// Bytes of journal read at a time.
const BITE_BYTES: usize = 2_000;

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
}

pub(super) struct CommitRun {
    batch: Vec<QueuedChunk>,
    /// What the store answered, once it has.
    answer: Option<Result<Vec<(BraneId, Epoch)>, ()>>,
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
    opened: Option<Opened>,
    decoder: Option<(snapshot::Decoder, u32)>,
    recovery: Option<Recovery>,
    read_to: Seq,
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
        let run = LoadRun {
            brane,
            channel,
            opened: None,
            decoder: None,
            recovery: None,
            read_to: Seq(0),
        };
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
        run.answer = Some(match self.ask(self.store.append(writes)) {
            Err(_) if self.is_dead() => return None,
            Err(_) => {
                ctx.env.count("group commit failed");
                Err(())
            }
            Ok(results) => Ok(judge(ctx, &run.batch, &results)),
        });
        Some(run)
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
                let is_fault = matches!(error, StoreError::Io(_));
                ctx.env.check(is_fault, || format!("brane {brane} cannot be opened: {error}"));
                let loaded = Err(Code::Unavailable);
                self.send(ctx, ActorId::Directory, Msg::Loaded { brane, loaded });
                None
            }
        }
    }

    /// One store operation. True when nothing is left to read.
    fn step_load(&mut self, ctx: &mut Ctx<'_>, run: &mut LoadRun) -> Result<bool, StoreError> {
        let brane = run.brane;
        let limits = ctx.env.setup.brane.limits;
        let bounds = TailBounds {
            max_windows: ctx.env.setup.fan_out.ring_max_windows,
            max_bytes: ctx.env.setup.fan_out.ring_max_bytes,
        };
        let Some(opened) = &run.opened else {
            let opened = self.ask(self.store.open(brane))?;
            ctx.env.check(opened.torn.is_none(), || format!("a torn tail: {:?}", opened.torn));
            match opened.snapshot {
                Some(_) => run.decoder = Some((snapshot::Decoder::new(&limits), 0)),
                None => {
                    let owner = self.owners.get(&brane).copied();
                    let owner = owner.ok_or(StoreError::UnknownBrane(brane))?;
                    let world = World::new(brane, owner);
                    run.begin(Recovery::new(world, Clients::new(&limits), Seq(0), bounds));
                }
            }
            run.opened = Some(opened);
            return Ok(false);
        };
        let head = opened.head;
        if let (Some((decoder, index)), Some(info)) = (&mut run.decoder, opened.snapshot) {
            let part = self.ask(self.store.read_snapshot_part(brane, info.id, *index))?;
            let fed = decoder.feed(&part);
            ctx.env.check(fed.is_ok(), || format!("snapshot part {index}: {fed:?}"));
            *index += 1;
            if *index == info.parts
                && let Some((decoder, _)) = run.decoder.take()
            {
                match decoder.finish() {
                    Ok(restored) => {
                        let at = restored.position.seq;
                        let (world, clients) = (restored.world, restored.clients);
                        run.begin(Recovery::new(world, clients, at, bounds));
                    }
                    Err(error) => ctx.env.fail(|| format!("the snapshot of {brane}: {error}")),
                }
            }
            return Ok(false);
        }
        let Some(recovery) = &mut run.recovery else { return Ok(true) };
        if run.read_to >= head {
            return Ok(true);
        }
        let chunks = match self.ask(self.store.read_chunks(brane, run.read_to, BITE_BYTES)) {
            Err(StoreError::Compacted { oldest }) if run.read_to < recovery.head() => {
                run.read_to = oldest.min(recovery.head());
                ctx.env.count("opening after compaction");
                return Ok(false);
            }
            read => read?,
        };
        for chunk in chunks {
            run.read_to = chunk.to;
            let avvy_persistence::Chunk { epoch, from, to, at_ms, body } = chunk;
            let taken = recovery.chunk(&JournalChunk { epoch, from, to, at_ms, body });
            ctx.env.check(taken.is_ok(), || format!("chunk ({from}..{to}] of {brane}: {taken:?}"));
        }
        Ok(run.read_to >= head)
    }

    fn run_compact(&mut self, ctx: &mut Ctx<'_>) {
        let policy = CompactPolicy {
            now_ms: ctx.env.unix_ms(),
            retention_ms: ctx.env.setup.retention_ms,
            max_journal_bytes: None,
            keep_snapshots: 1 + ctx.env.rng.below(2) as u32,
        };
        if let Ok(done) = self.ask(self.store.compact(policy)) {
            ctx.env.check(done.skipped == 0, || format!("compaction: {done:?}"));
            if done.chunks > 0 {
                ctx.env.count("compaction");
            }
        }
    }

    /// The store's answer, which is there at once. A store without power
    /// takes the process with it.
    fn ask<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let Poll::Ready(answer) = pin!(answer).poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(StoreError::Closed);
        };
        if matches!(answer, Err(StoreError::Closed)) {
            self.is_dead.set(true);
        }
        answer
    }
}

impl LoadRun {
    fn begin(&mut self, recovery: Recovery) {
        self.read_to = Seq(recovery.head().0.saturating_sub(TAIL_EDITS));
        self.recovery = Some(recovery);
    }
}

fn finish_load(ctx: &mut Ctx<'_>, run: LoadRun) -> Result<(BraneId, Loaded), BraneId> {
    let LoadRun { brane, channel, opened: Some(opened), recovery: Some(recovery), .. } = run else {
        return Err(run.brane);
    };
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

/// The openings whose chunks the store will never take.
fn judge(
    ctx: &mut Ctx<'_>,
    batch: &[QueuedChunk],
    results: &[Result<(), AppendRefusal>],
) -> Vec<(BraneId, Epoch)> {
    let mut stale = Vec::new();
    for (queued, result) in batch.iter().zip(results) {
        if let Err(refusal) = result {
            ctx.env.trace(|| format!("chunk {:?} refused: {refusal}", queued.chunk.to));
            stale.push((queued.brane, queued.chunk.epoch));
        }
    }
    stale
}
