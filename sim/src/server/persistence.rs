//! The persistence actor: chunks on their way to the store, as
//! [`GroupCommit`] decides.

use std::collections::BTreeMap;

use avvy_flow::group_commit::{GroupCommit, GroupCommitEffect, QueuedChunk, Rejected};
use avvy_flow::{GroupCommitConfig, GroupCommitStatus};
use avvy_model::{BraneId, Rejection};

use super::jobs::{CommitRun, Job};
use super::{ActorId, Ctx, JobId, Life, Msg, Process};
use crate::env::Event;

pub(crate) struct Persistence {
    commits: GroupCommit,
    owners: BTreeMap<BraneId, Life>,
    /// Loads that wait until no chunk of their brane is left.
    settling: Vec<(BraneId, JobId)>,
}

impl Persistence {
    pub(super) fn new(config: GroupCommitConfig) -> Self {
        let commits = GroupCommit::new(config);
        Self { commits, owners: BTreeMap::new(), settling: Vec::new() }
    }

    pub(super) fn status(&self) -> GroupCommitStatus {
        self.commits.status()
    }

    /// Who is told of a brane's watermark. Says whether there is pressure.
    pub(super) fn register(&mut self, brane: BraneId, life: Life) -> bool {
        self.owners.insert(brane, life);
        self.commits.status().pressure
    }
}

impl Process {
    pub(super) fn on_persistence(&mut self, ctx: &mut Ctx<'_>, message: Msg) {
        let now_us = ctx.env.now_us;
        let mut effects = Vec::new();
        let commits = &mut self.persistence.commits;
        match message {
            Msg::Append { brane, chunk } => commits.push(now_us, brane, chunk, &mut effects),
            Msg::Settle { brane, job } => self.persistence.settling.push((brane, job)),
            Msg::Committed(Ok(rejected)) => commits.stored(now_us, &rejected, &mut effects),
            Msg::Committed(Err(())) => commits.failed(now_us, &mut effects),
            Msg::RetryTick => commits.tick(now_us, &mut effects),
            _ => ctx.env.fail(|| "the persistence actor got another's message".to_owned()),
        }
        for effect in effects {
            self.perform_commit(ctx, effect);
        }
        self.wake_settled(ctx);
    }

    fn perform_commit(&mut self, ctx: &mut Ctx<'_>, effect: GroupCommitEffect) {
        match effect {
            GroupCommitEffect::Commit(batch) => self.start_commit(ctx, batch),
            GroupCommitEffect::Durable { brane, epoch, seq } => {
                self.tell_owner(ctx, brane, Msg::Durable { epoch, seq });
            }
            GroupCommitEffect::Rejected { opening, .. } => {
                let Rejected { brane, epoch, why } = opening;
                let is_planned = why == Rejection::Superseded && self.intruded.contains(&brane);
                ctx.env.check(is_planned, || format!("the store will never take {opening:?}"));
                self.tell_owner(ctx, brane, Msg::Superseded { epoch });
            }
            GroupCommitEffect::Pressure(on) => {
                ctx.env.count("pressure of the journal's queue");
                let owners: Vec<Life> = self.persistence.owners.values().copied().collect();
                for life in owners {
                    self.send(ctx, ActorId::Brane(life), Msg::Pressure(on));
                }
            }
            GroupCommitEffect::WakeAt(at_us) => {
                ctx.env.at(at_us, Event::Timer(self.number, ActorId::Persistence, at_us));
            }
        }
    }

    fn start_commit(&mut self, ctx: &mut Ctx<'_>, batch: Vec<QueuedChunk>) {
        if batch.len() > 1 {
            ctx.env.count("group commit of several chunks");
        }
        let run = CommitRun::new(batch);
        self.start_job(ctx, Job::Commit(run));
    }

    fn tell_owner(&mut self, ctx: &mut Ctx<'_>, brane: BraneId, message: Msg) {
        if let Some(life) = self.persistence.owners.get(&brane).copied() {
            self.send(ctx, ActorId::Brane(life), message);
        }
    }

    fn wake_settled(&mut self, ctx: &mut Ctx<'_>) {
        let commits = &self.persistence.commits;
        let settled =
            self.persistence.settling.extract_if(.., |(brane, _)| commits.pending_of(*brane) == 0);
        for (_, job) in settled.collect::<Vec<_>>() {
            ctx.env.after(0, Event::Job(self.number, job));
        }
    }
}
