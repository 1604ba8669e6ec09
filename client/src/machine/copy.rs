//! The copy of a brane that a machine keeps: whole, or only where it stands.
//!
//! A thousand simulated users in one process need not hold a thousand copies
//! of the world: most of them follow the log by its ranges alone.

use avvy_model::{Epoch, Handle, Position, Scope, Seq};
use avvy_protocol::{AreaFlush, CatchUp, Flush, SnapshotPart};

use super::{FlushHead, SnapshotHead};
use crate::replica::{Replica, ReplicaError, Snapshot};

/// How much of the brane is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyKind {
    /// The objects, and the count of handles touched since the last durable
    /// edit, up to so many.
    Whole {
        /// Beyond, a copy past a fork needs a whole snapshot.
        max_touched: usize,
    },
    /// Only the position. Ranges are checked; the contents are not looked at.
    Position,
}

/// The copy.
#[derive(Debug)]
pub(super) enum WorldCopy {
    Whole(Box<Replica>),
    Position { at: Position, line: Epoch, scope: Option<Scope> },
}

impl WorldCopy {
    pub(super) fn position(&self) -> Position {
        match self {
            Self::Whole(replica) => replica.position(),
            Self::Position { at, .. } => *at,
        }
    }

    pub(super) fn scope(&self) -> Option<Scope> {
        match self {
            Self::Whole(replica) => replica.scope(),
            Self::Position { scope, .. } => *scope,
        }
    }

    pub(super) fn touched(&self) -> Option<Vec<Handle>> {
        match self {
            Self::Whole(replica) => replica.touched(),
            Self::Position { .. } => None,
        }
    }

    pub(super) fn replica(&self) -> Option<&Replica> {
        match self {
            Self::Whole(replica) => Some(replica),
            Self::Position { .. } => None,
        }
    }

    pub(super) fn replica_mut(&mut self) -> Option<&mut Replica> {
        match self {
            Self::Whole(replica) => Some(replica),
            Self::Position { .. } => None,
        }
    }

    pub(super) fn joins(&mut self, epoch: Epoch, durable: Seq) {
        match self {
            Self::Whole(replica) => replica.joins(epoch, durable),
            Self::Position { line, .. } => *line = epoch,
        }
    }

    pub(super) fn durable(&mut self, seq: Seq) {
        if let Self::Whole(replica) = self {
            replica.durable(seq);
        }
    }

    pub(super) fn apply(&mut self, flush: &Flush) -> Result<(), ReplicaError> {
        match self {
            Self::Whole(replica) => replica.apply(flush),
            Self::Position { .. } => self.skip(&FlushHead::of(flush)),
        }
    }

    pub(super) fn apply_area(&mut self, flush: &AreaFlush) -> Result<(), ReplicaError> {
        match self {
            Self::Whole(replica) => replica.apply_area(flush),
            Self::Position { .. } => self.skip(&FlushHead::of_area(flush)),
        }
    }

    /// Sees another part of the brane.
    pub(super) fn show(
        &mut self,
        parts: PartsSoFar,
        scope: Scope,
        to: Position,
    ) -> Result<(), ReplicaError> {
        match (self, parts) {
            (Self::Whole(replica), PartsSoFar::Kept(parts)) => replica.show(parts, scope),
            (Self::Position { at, scope: old, .. }, PartsSoFar::Counted(_))
                if old.is_some() && to.seq >= at.seq =>
            {
                (*at, *old) = (to, Some(scope));
                Ok(())
            }
            _ => Err(ReplicaError::Scope),
        }
    }

    /// Moves on by a window whose contents were not read.
    pub(super) fn skip(&mut self, head: &FlushHead) -> Result<(), ReplicaError> {
        let gap = ReplicaError::Gap { at: self.position(), epoch: head.epoch, from: head.from };
        match self {
            Self::Position { at, line, .. } => {
                let epoch_fits = head.epoch >= at.epoch && head.epoch <= *line;
                if !epoch_fits || head.from != at.seq || head.to < head.from {
                    return Err(gap);
                }
                *at = Position { epoch: head.epoch, seq: head.to };
                Ok(())
            }
            Self::Whole(_) => Err(gap),
        }
    }
}

/// How far a copy is from following the log.
#[derive(Debug)]
pub(super) enum CatchingUp {
    /// Parts of a snapshot are due.
    Parts { whole: bool, parts: PartsSoFar },
    /// Windows are due, up to here.
    Windows { head: Position },
}

/// Parts of a snapshot, or only their count.
#[derive(Debug)]
pub(super) enum PartsSoFar {
    Kept(Snapshot),
    Counted(u32),
}

impl PartsSoFar {
    pub(super) fn new(kind: CopyKind) -> Self {
        match kind {
            CopyKind::Whole { .. } => Self::Kept(Snapshot::default()),
            CopyKind::Position => Self::Counted(0),
        }
    }

    /// Takes a part that was read whole; says whether it was the last.
    pub(super) fn add(&mut self, part: SnapshotPart) -> Result<bool, ReplicaError> {
        match self {
            Self::Kept(snapshot) => snapshot.add(part),
            Self::Counted(_) => self.count(&SnapshotHead::of(&part)),
        }
    }

    /// Takes a part of which only the head was read.
    pub(super) fn count(&mut self, head: &SnapshotHead) -> Result<bool, ReplicaError> {
        let Self::Counted(expected) = self else { return Err(ReplicaError::NotWhole) };
        if head.index != *expected {
            return Err(ReplicaError::Part { expected: *expected, got: head.index });
        }
        *expected += 1;
        Ok(head.last)
    }

    /// The copy after the last part.
    pub(super) fn finish(
        self,
        kind: CopyKind,
        whole: bool,
        at: Position,
        scope: Option<Scope>,
        old: Option<WorldCopy>,
    ) -> Result<WorldCopy, ReplicaError> {
        match (self, kind, old) {
            (Self::Kept(parts), CopyKind::Whole { .. }, Some(WorldCopy::Whole(mut replica)))
                if !whole =>
            {
                replica.mend(parts)?;
                Ok(WorldCopy::Whole(replica))
            }
            (Self::Kept(parts), CopyKind::Whole { max_touched }, _) if whole => {
                Ok(WorldCopy::Whole(Box::new(Replica::new(parts, scope, max_touched)?)))
            }
            (Self::Counted(_), CopyKind::Position, _) => {
                Ok(WorldCopy::Position { at, line: at.epoch, scope })
            }
            _ => Err(ReplicaError::NotWhole),
        }
    }
}

impl CatchingUp {
    /// What is due after a join, with the copy that there is.
    pub(super) fn begin(
        catch_up: CatchUp,
        kind: CopyKind,
        copy: Option<&WorldCopy>,
        head: Position,
    ) -> Result<Option<Self>, ReplicaError> {
        let parts = |whole| Self::Parts { whole, parts: PartsSoFar::new(kind) };
        match (catch_up, copy) {
            (CatchUp::Snapshot, _) => Ok(Some(parts(true))),
            (CatchUp::Diff, Some(_)) => Ok(Some(parts(false))),
            (CatchUp::Replay, Some(copy)) if copy.position().seq >= head.seq => Ok(None),
            (CatchUp::Replay, Some(_)) => Ok(Some(Self::Windows { head })),
            (CatchUp::Diff | CatchUp::Replay, None) => Err(ReplicaError::NotWhole),
        }
    }
}
