//! From what a store holds to an open brane: a snapshot, then the journal's
//! chunks after it.
//!
//! The last chunks also become windows again, so that the fan-out can replay
//! them for clients that come back after a restart: windows and chunks have
//! the same boundaries. Chunks before the snapshot may be given, too; they
//! serve only for that.

use std::collections::VecDeque;

use avvy_brane::journal::{self, JournalError};
use avvy_brane::{Clients, Outcome, ReplayError, World};
use avvy_model::{Event, Seq};
use avvy_protocol::{Channel, Flush};

use crate::brane_core::{Recovered, wire_items};
use crate::group_commit::JournalChunk;
use crate::lineage::Lineage;

/// How many windows are kept for the fan-out: as many as its ring takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TailBounds {
    /// By number.
    pub max_windows: usize,
    /// By the bytes of their chunks.
    pub max_bytes: usize,
}

/// The journal does not fit the snapshot or itself: what is stored is damaged.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A chunk is missing.
    #[error("a chunk begins at {found}, where {expected} should be")]
    Gap {
        /// The end of the one before.
        expected: Seq,
        /// Its beginning.
        found: Seq,
    },
    /// A chunk does not hold the edits that it says.
    #[error("the chunk from {from} to {to} holds other edits")]
    Range {
        /// Its beginning.
        from: Seq,
        /// Its end.
        to: Seq,
    },
    /// A chunk cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An event does not fit the world.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// A brane on its way up.
pub struct Recovery {
    world: World,
    clients: Clients,
    snapshot: Seq,
    head: Seq,
    bounds: TailBounds,
    tail: VecDeque<Tail>,
    tail_bytes: usize,
}

struct Tail {
    bytes: usize,
    flush: Flush,
}

impl Recovery {
    /// Begins with a snapshot that was made at `at`, or with a new world at 0.
    pub fn new(world: World, clients: Clients, at: Seq, bounds: TailBounds) -> Self {
        Self {
            world,
            clients,
            snapshot: at,
            head: at,
            bounds,
            tail: VecDeque::new(),
            tail_bytes: 0,
        }
    }

    /// Takes in the next chunk, in the order of the log.
    ///
    /// # Errors
    /// A [`RecoveryError`], after which this must be given up.
    pub fn chunk(&mut self, chunk: &JournalChunk) -> Result<(), RecoveryError> {
        let JournalChunk { from, to, .. } = *chunk;
        let events = journal::decode(&chunk.body)?;
        let dense = (from.0 + 1..=to.0).eq(events.iter().map(|event| event.seq.0));
        if !dense || from >= to {
            return Err(RecoveryError::Range { from, to });
        }
        if to > self.snapshot {
            if from != self.head {
                return Err(RecoveryError::Gap { expected: self.head, found: from });
            }
            self.replay(&events)?;
            self.head = to;
        }
        self.keep(chunk, &events);
        Ok(())
    }

    /// The last edit taken in.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// What became of whose edits, up to there.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// What to open the brane with, and the windows to publish to its new
    /// fan-out first, which begins at [`Recovered::floor`].
    pub fn finish(self, channel: Channel, lineage: Lineage) -> (Recovered, Vec<Flush>) {
        let Self { world, clients, snapshot, head, mut tail, .. } = self;
        if tail.back().is_some_and(|last| last.flush.to != head) {
            tail.clear();
        }
        let floor = tail.front().map_or(head, |tail| tail.flush.from);
        let windows = tail.into_iter().map(|tail| Flush { channel, ..tail.flush }).collect();
        (Recovered { world, clients, lineage, head, floor, snapshot }, windows)
    }

    fn replay(&mut self, events: &[Event]) -> Result<(), RecoveryError> {
        for event in events {
            self.world.replay(event)?;
            let outcome = Outcome::Applied(event.seq);
            self.clients.record(event.edit, event.by, outcome, event.at_ms);
        }
        Ok(())
    }

    fn keep(&mut self, chunk: &JournalChunk, events: &[Event]) {
        if self.tail.back().is_some_and(|last| last.flush.to != chunk.from) {
            self.tail.clear();
            self.tail_bytes = 0;
        }
        let flush = Flush {
            channel: Channel(0),
            epoch: chunk.epoch,
            from: chunk.from,
            to: chunk.to,
            durable: chunk.to,
            ms: events.last().map_or(0, |event| event.at_ms),
            items: wire_items(events),
        };
        let bytes = chunk.body.len();
        self.tail.push_back(Tail { bytes, flush });
        self.tail_bytes += bytes;
        while self.tail.len() > self.bounds.max_windows || self.tail_bytes > self.bounds.max_bytes {
            let Some(oldest) = self.tail.pop_front() else { break };
            self.tail_bytes -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use avvy_model::{
        BraneId, Change, ClientId, Counter, EditId, Epoch, Handle, Kind, Object, ObjectAt,
        ObjectId, Props, Transform, UserId, WorldLimits,
    };
    use uuid::Uuid;

    use super::*;

    const BRANE: BraneId = BraneId::from_bytes([1; 16]);
    const USER: UserId = UserId::from_bytes([2; 16]);

    /// The chunk of edits `from + 1 ..= to`, each of which creates an object.
    fn chunk(from: u64, to: u64) -> JournalChunk {
        let events: Vec<_> = (from + 1..=to).map(creation).collect();
        let body = journal::encode(&events).into();
        let at_ms = 1_000 + to;
        JournalChunk { epoch: Epoch(1), from: Seq(from), to: Seq(to), at_ms, body }
    }

    fn creation(seq: u64) -> Event {
        let object = Object {
            id: ObjectId::new(Uuid::from_u128(seq.into())),
            parent: Handle::ROOT,
            kind: Kind::Block,
            owner: USER,
            transform: Transform::IDENTITY,
            props: Props::default(),
        };
        let created = Change::Created(Box::new(ObjectAt { handle: Handle(seq as u32), object }));
        Event {
            seq: Seq(seq),
            at_ms: 1_000 + seq,
            by: USER,
            edit: EditId { client: ClientId::from_bytes([3; 16]), counter: Counter(seq) },
            trace: None,
            changes: [created].into_iter().collect(),
        }
    }

    fn fresh(max_windows: usize) -> Recovery {
        let clients = Clients::new(&WorldLimits::default());
        let bounds = TailBounds { max_windows, max_bytes: 1_000_000 };
        Recovery::new(World::new(BRANE, USER), clients, Seq(0), bounds)
    }

    /// One that begins with a snapshot at 3.
    fn later(max_windows: usize) -> Recovery {
        let mut first = fresh(9);
        first.chunk(&chunk(0, 3)).expect("sound");
        Recovery { tail: VecDeque::new(), tail_bytes: 0, snapshot: Seq(3), ..first }
            .bounded(max_windows)
    }

    impl Recovery {
        fn bounded(mut self, max_windows: usize) -> Self {
            self.bounds.max_windows = max_windows;
            self
        }

        /// The head, the floor, and the ranges of the windows.
        fn shape(self) -> (u64, u64, Vec<(u64, u64)>) {
            let lineage = Lineage::new(vec![(Epoch(1), Seq(0))]).expect("rising");
            let (recovered, windows) = self.finish(Channel(4), lineage);
            assert!(windows.iter().all(|window| window.channel == Channel(4)));
            let ranges = windows.iter().map(|window| (window.from.0, window.to.0)).collect();
            (recovered.head.0, recovered.floor.0, ranges)
        }
    }

    #[test]
    fn a_log_becomes_a_world_with_outcomes_and_windows() {
        let mut recovery = fresh(9);
        for (from, to) in [(0, 2), (2, 3)] {
            recovery.chunk(&chunk(from, to)).expect("sound");
        }
        assert_eq!((recovery.world.len(), recovery.clients.len()), (4, 1));
        assert_eq!(recovery.tail[0].flush.ms, 1_002);
        assert_eq!(recovery.shape(), (3, 0, vec![(0, 2), (2, 3)]));
    }

    #[test]
    fn only_the_newest_windows_are_kept() {
        let mut recovery = fresh(2);
        for from in 0..5 {
            recovery.chunk(&chunk(from, from + 1)).expect("sound");
        }
        assert_eq!(recovery.shape(), (5, 3, vec![(3, 4), (4, 5)]));
        assert_eq!(fresh(2).shape(), (0, 0, vec![]));
    }

    #[test]
    fn chunks_before_the_snapshot_are_windows_only() {
        let mut recovery = later(9);
        for (from, to) in [(1, 2), (2, 3), (3, 5)] {
            recovery.chunk(&chunk(from, to)).expect("sound");
        }
        assert_eq!(recovery.world.len(), 6);
        assert_eq!(recovery.shape(), (5, 1, vec![(1, 2), (2, 3), (3, 5)]));
    }

    #[test]
    fn windows_that_do_not_reach_the_head_are_of_no_use() {
        let mut recovery = later(9);
        recovery.chunk(&chunk(0, 2)).expect("sound");
        assert_eq!(recovery.shape(), (3, 3, vec![]));
        let mut recovery = later(9);
        for (from, to) in [(0, 1), (3, 4)] {
            recovery.chunk(&chunk(from, to)).expect("sound");
        }
        assert_eq!(recovery.shape(), (4, 3, vec![(3, 4)]));
    }

    #[test]
    fn damage_is_found() {
        let gap = later(9).chunk(&chunk(4, 5)).expect_err("4 is missing");
        assert!(matches!(gap, RecoveryError::Gap { expected: Seq(3), found: Seq(4) }));
        let across = later(9).chunk(&chunk(2, 5)).expect_err("begins before the snapshot");
        assert!(matches!(across, RecoveryError::Gap { .. }));
        let short = JournalChunk { to: Seq(3), ..chunk(0, 2) };
        assert!(matches!(fresh(9).chunk(&short), Err(RecoveryError::Range { .. })));
        let empty = JournalChunk { to: Seq(0), ..chunk(0, 0) };
        assert!(matches!(fresh(9).chunk(&empty), Err(RecoveryError::Range { .. })));
        let torn = JournalChunk { body: chunk(0, 2).body.slice(..20), ..chunk(0, 2) };
        assert!(matches!(fresh(9).chunk(&torn), Err(RecoveryError::Journal(_))));
        let mut twice = fresh(9);
        twice.world.replay(&creation(1)).expect("fits");
        assert!(matches!(twice.chunk(&chunk(0, 1)), Err(RecoveryError::Replay(_))));
    }
}
