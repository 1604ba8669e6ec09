//! Following the log: windows, parts of snapshots, hashes.

use std::sync::Arc;

use avvy_model::{Position, Scope};
use avvy_protocol::{AreaFlush, CatchUp, Flush, SnapshotPart, ViewPart};

use super::super::copy::{CatchingUp, PartsSoFar, WorldCopy};
use super::super::{FlushHead, Notify, Output, SnapshotHead};
use super::{Live, Membership, Stage};
use crate::replica::ReplicaError;

impl Membership {
    pub(in crate::machine) fn flush(
        &mut self,
        now_ms: u64,
        flush: Arc<Flush>,
        out: &mut Vec<Output>,
    ) {
        let head = FlushHead::of(&flush);
        let brane = self.brane;
        let followed = self.follow(&head, |copy| copy.apply(&flush));
        if self.followed(now_ms, followed, &head, out) {
            out.push(Output::Notify(Notify::Flushed { brane, flush }));
            self.progress(out);
        }
    }

    pub(in crate::machine) fn area_flush(
        &mut self,
        now_ms: u64,
        flush: Arc<AreaFlush>,
        out: &mut Vec<Output>,
    ) {
        let head = FlushHead::of_area(&flush);
        let brane = self.brane;
        let followed = self.follow(&head, |copy| copy.apply_area(&flush));
        if self.followed(now_ms, followed, &head, out) {
            out.push(Output::Notify(Notify::AreaFlushed { brane, flush }));
            self.progress(out);
        }
    }

    pub(in crate::machine) fn view(&mut self, now_ms: u64, view: ViewPart, out: &mut Vec<Output>) {
        let ViewPart { scope, part } = view;
        let head = SnapshotHead::of(&part);
        self.step(now_ms, scope, &head, |parts| parts.add(part), out);
    }

    fn step(
        &mut self,
        now_ms: u64,
        scope: Scope,
        head: &SnapshotHead,
        add: impl FnOnce(&mut PartsSoFar) -> Result<bool, ReplicaError>,
        out: &mut Vec<Output>,
    ) {
        let (brane, kind) = (self.brane, self.kind);
        let Stage::Joined(live) = &mut self.stage else { return };
        let (_, parts) = live.step.get_or_insert_with(|| (scope, PartsSoFar::new(kind)));
        let added = add(parts);
        let Some(copy) = &mut self.copy else {
            return self.broken(now_ms, ReplicaError::Scope, out);
        };
        let ended = match added {
            Ok(false) => return,
            Ok(true) => live.step.take(),
            Err(error) => return self.broken(now_ms, error, out),
        };
        let Some((scope, parts)) = ended else { return };
        match copy.show(parts, scope, head.at) {
            Ok(()) => {
                out.push(Output::Notify(Notify::Viewed { brane, at: head.at, scope }));
                self.progress(out);
            }
            Err(error) => self.broken(now_ms, error, out),
        }
    }

    pub(in crate::machine) fn flush_head(
        &mut self,
        now_ms: u64,
        head: &FlushHead,
        out: &mut Vec<Output>,
    ) {
        let followed = self.follow(head, |copy| copy.skip(head));
        if self.followed(now_ms, followed, head, out) {
            self.progress(out);
        }
    }

    pub(in crate::machine) fn snapshot(
        &mut self,
        now_ms: u64,
        part: SnapshotPart,
        out: &mut Vec<Output>,
    ) {
        let head = SnapshotHead::of(&part);
        self.part(now_ms, &head, |parts| parts.add(part), out);
    }

    pub(in crate::machine) fn snapshot_head(
        &mut self,
        now_ms: u64,
        head: &SnapshotHead,
        out: &mut Vec<Output>,
    ) {
        self.part(now_ms, head, |parts| parts.count(head), out);
    }

    pub(in crate::machine) fn version_complete(
        &mut self,
        now_ms: u64,
        at: Position,
        out: &mut Vec<Output>,
    ) {
        let Stage::Joined(_) = self.stage else { return };
        if let Some(stands) = self.position().filter(|stands| stands.seq != at.seq) {
            let error = ReplicaError::Gap { at: stands, epoch: at.epoch, from: at.seq };
            self.broken(now_ms, error, out);
        }
    }

    pub(in crate::machine) fn hash(
        &mut self,
        at: Position,
        theirs: [u8; 16],
        out: &mut Vec<Output>,
    ) {
        self.hashes.push((at, theirs));
        self.compare_hashes(out);
    }

    fn follow(
        &mut self,
        head: &FlushHead,
        apply: impl FnOnce(&mut WorldCopy) -> Result<(), ReplicaError>,
    ) -> Option<Result<(), ReplicaError>> {
        let Stage::Joined(live) = &self.stage else { return None };
        let mending =
            matches!(live.catching_up, Some(CatchingUp::Parts { .. })) || live.step.is_some();
        Some(match &mut self.copy {
            Some(copy) if !mending => apply(copy),
            _ => Err(ReplicaError::Gap {
                at: self.position().unwrap_or_default(),
                epoch: head.epoch,
                from: head.from,
            }),
        })
    }

    /// Deals with the outcome of [`Self::follow`]; says whether the copy moved on.
    fn followed(
        &mut self,
        now_ms: u64,
        followed: Option<Result<(), ReplicaError>>,
        head: &FlushHead,
        out: &mut Vec<Output>,
    ) -> bool {
        match followed {
            None => false,
            Some(Err(error)) => {
                self.broken(now_ms, error, out);
                false
            }
            Some(Ok(())) => {
                self.durable(head.durable, out);
                true
            }
        }
    }

    /// After a window: is that far enough, and do the hashes agree?
    fn progress(&mut self, out: &mut Vec<Output>) {
        let stands = self.position().unwrap_or_default();
        if let Stage::Joined(Live { catching_up: Some(CatchingUp::Windows { head }), .. }) =
            &self.stage
            && stands.seq >= head.seq
        {
            self.set_catching_up(None, out);
        }
        self.compare_hashes(out);
    }

    fn part(
        &mut self,
        now_ms: u64,
        head: &SnapshotHead,
        add: impl FnOnce(&mut PartsSoFar) -> Result<bool, ReplicaError>,
        out: &mut Vec<Output>,
    ) {
        let Stage::Joined(live) = &mut self.stage else { return };
        let Some(CatchingUp::Parts { parts, .. }) = &mut live.catching_up else {
            let error = ReplicaError::Part { expected: 0, got: head.index };
            return self.broken(now_ms, error, out);
        };
        match add(parts) {
            Ok(false) => {}
            Ok(true) => self.parts_complete(now_ms, head.at, out),
            Err(error) => self.broken(now_ms, error, out),
        }
    }

    fn parts_complete(&mut self, now_ms: u64, at: Position, out: &mut Vec<Output>) {
        let Stage::Joined(live) = &mut self.stage else { return };
        let Some(CatchingUp::Parts { whole, parts }) = live.catching_up.take() else { return };
        let (epoch, durable, scope) = (live.head.epoch, live.durable, live.scope);
        match parts.finish(self.kind, whole, at, scope, self.copy.take()) {
            Ok(mut copy) => {
                copy.joins(epoch, durable);
                self.copy = Some(copy);
                self.set_catching_up(None, out);
                self.compare_hashes(out);
            }
            Err(error) => self.broken(now_ms, error, out),
        }
    }

    pub(super) fn set_catching_up(
        &mut self,
        catching_up: Option<CatchingUp>,
        out: &mut Vec<Output>,
    ) {
        let brane = self.brane;
        let at = self.position().unwrap_or_default();
        let Stage::Joined(live) = &mut self.stage else { return };
        let is_live = catching_up.is_none();
        live.catching_up = catching_up;
        let resynced = self.had_copy && live.catch_up != CatchUp::Replay;
        let durable = live.durable;
        if is_live {
            self.had_copy = true;
            out.push(Output::Notify(Notify::Live { brane, at, resynced }));
        }
        self.settle_durable(durable, out);
    }

    /// The copy is good for nothing: drops it and fetches a whole one.
    pub(super) fn broken(&mut self, now_ms: u64, error: ReplicaError, out: &mut Vec<Output>) {
        self.copy = None;
        self.hashes.clear();
        out.push(Output::Notify(Notify::Broken { brane: self.brane, error }));
        if let Stage::Joined(Live { channel, .. }) = self.stage {
            self.start_leaving(now_ms, channel, true, out);
        }
    }

    fn compare_hashes(&mut self, out: &mut Vec<Output>) {
        let Some(stands) = self.position() else { return };
        let mut index = 0;
        while index < self.hashes.len() {
            let (at, theirs) = self.hashes[index];
            if at.seq > stands.seq {
                index += 1;
                continue;
            }
            self.hashes.remove(index);
            let ours = (at.seq == stands.seq).then(|| self.replica_mut()).flatten();
            // A part has a hash of its own, which is not the brane's.
            let ours = ours.filter(|replica| replica.scope().is_none());
            let ours = ours.map(|replica| replica.state_hash().to_bytes());
            out.push(Output::Notify(Notify::Hash { brane: self.brane, at, theirs, ours }));
        }
    }
}
