//! What one copy is shown: written apart from the replica's own checks.

use avvy_model::{Epoch, Position, Seq};
use avvy_protocol::{CatchUp, Channel, Flush, Joined, SnapshotPart};

/// A viewer of one brane on one connection.
#[derive(Clone, Debug)]
pub(super) struct Viewer {
    pub(super) channel: Channel,
    head: Position,
    /// Where the copy stands; `None` while it is being replaced.
    at: Option<Position>,
    parts: u32,
    wants_parts: bool,
    /// Where the copy has to go back to first.
    rewind: Option<Seq>,
}

impl Viewer {
    /// Begins at a join, with what the client said it has and the fork that
    /// lies behind that.
    pub(super) fn begin(
        joined: &Joined,
        resume: Option<Position>,
        fork: Option<Seq>,
    ) -> Result<Self, String> {
        let wants_parts = joined.catch_up != CatchUp::Replay;
        if resume.is_none() && joined.catch_up != CatchUp::Snapshot {
            return Err(format!("{:?} for a client without a copy", joined.catch_up));
        }
        if !wants_parts && fork.is_some() {
            return Err(format!("a replay for a copy at {resume:?}, past the fork at {fork:?}"));
        }
        let (channel, head) = (joined.channel, joined.head);
        let at = resume.filter(|_| !wants_parts);
        Ok(Self { channel, head, at, parts: 0, wants_parts, rewind: fork })
    }

    /// The copy is sent back: to the fork, no further, and only once.
    pub(super) fn rewind(&mut self, to: Seq) -> Result<(), String> {
        match self.rewind.take() {
            Some(fork) if fork == to && self.parts == 0 => Ok(()),
            due => Err(format!("a rewind to {to} where {due:?} was due")),
        }
    }

    /// A part of a snapshot.
    pub(super) fn part(&mut self, part: &SnapshotPart) -> Result<(), String> {
        if !self.wants_parts || part.index != self.parts {
            return Err(format!("part {} where {} was due", part.index, self.parts));
        }
        if let Some(fork) = self.rewind {
            return Err(format!("a part without the rewind to {fork}"));
        }
        self.parts += 1;
        if part.last {
            self.wants_parts = false;
            self.at = Some(part.at);
        }
        Ok(())
    }

    /// A window: it must join.
    pub(super) fn flush(&mut self, flush: &Flush) -> Result<(), String> {
        let Some(at) = self.at else { return Err("a window before the snapshot".to_owned()) };
        let Flush { epoch, from, to, durable, .. } = *flush;
        let epochs: std::ops::RangeInclusive<Epoch> = at.epoch..=self.head.epoch;
        let joins = epochs.contains(&epoch) && from == at.seq && to > from && durable <= to;
        if !joins {
            return Err(format!("window {epoch}.({from}..{to}], durable {durable}, at {at}"));
        }
        self.at = Some(Position { epoch, seq: to });
        Ok(())
    }

    /// A replayed window was whole.
    pub(super) fn complete(&self, version: Position) -> Result<(), String> {
        if self.at == Some(version) {
            Ok(())
        } else {
            Err(format!("{version} is complete, the copy is at {:?}", self.at))
        }
    }

    /// The opening that it joined.
    pub(super) fn epoch(&self) -> Epoch {
        self.head.epoch
    }

    /// Where the copy stands.
    pub(super) fn seq(&self) -> Option<Seq> {
        self.at.map(|at| at.seq)
    }
}
