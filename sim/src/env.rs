//! Virtual time: what happens when, in one order that the seed decides.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use avvy_flow::Now;

use crate::net::ConnId;
use crate::rng::Rng;
use crate::server::{ActorId, JobId};
use crate::setup::Setup;

/// The time at which every run begins, in Unix milliseconds.
const BEGINS_MS: u64 = 1_800_000_000_000;

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// Something that happens at a moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    /// An actor of this process takes its next message.
    Actor(u64, ActorId),
    /// A timer of an actor of this process has come due.
    Timer(u64, ActorId, u64),
    /// An empty brane of this process may be closed.
    Idle(u64, ActorId),
    /// Somebody may be let into a brane of this process.
    Entry(u64, ActorId),
    /// A store job of this process goes on.
    Job(u64, JobId),
    /// Packets may have come to the server.
    ToServer(ConnId),
    /// Packets may have come to the client.
    ToClient(ConnId),
    /// A connection is cut.
    Cut(ConnId),
    /// The server finds out that a connection is gone.
    ServerNotices(ConnId),
    /// The client finds out that its connection is gone.
    ClientNotices(ConnId),
    /// A client's machine wants to be woken.
    Wake(usize),
    /// A client connects.
    Connect(usize),
    /// A client reads again.
    Resume(usize),
    /// The process starts.
    Boot,
}

/// What the whole run shares.
pub(crate) struct Env {
    pub(crate) now_us: u64,
    pub(crate) rng: Rng,
    pub(crate) setup: Setup,
    /// How far the server's wall clock was set forth, or back.
    pub(crate) wall_step_ms: i64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    counts: BTreeMap<&'static str, u64>,
    failure: Option<String>,
    story: Story,
    witness: Cell<u64>,
}

/// What becomes of the story that a run tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Story {
    /// Nobody listens.
    Untold,
    /// It is printed.
    Printed,
    /// It goes into the run's witness, with all that happens in it.
    Hashed,
}

impl Env {
    pub(crate) fn new(rng: Rng, setup: Setup, story: Story) -> Self {
        Self {
            now_us: 0,
            rng,
            setup,
            wall_step_ms: 0,
            queue: BinaryHeap::new(),
            order: 0,
            counts: BTreeMap::new(),
            failure: None,
            story,
            witness: Cell::new(FNV_OFFSET),
        }
    }

    /// The two clocks of the server.
    pub(crate) fn now(&self) -> Now {
        Now { us: self.now_us, unix_ms: self.unix_ms() }
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        (BEGINS_MS + self.now_us / 1_000).saturating_add_signed(self.wall_step_ms)
    }

    /// Events of one moment happen in the order in which they were planned.
    pub(crate) fn at(&mut self, at_us: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((at_us.max(self.now_us), self.order, event)));
    }

    pub(crate) fn after(&mut self, delay_us: u64, event: Event) {
        self.at(self.now_us + delay_us, event);
    }

    /// The next event up to this time; the clock goes there.
    pub(crate) fn next(&mut self, until_us: u64) -> Option<Event> {
        match self.queue.peek() {
            Some(Reverse((at_us, ..))) if *at_us <= until_us => {
                let Reverse((at_us, _, event)) = self.queue.pop()?;
                self.now_us = at_us;
                self.trace_event(event);
                Some(event)
            }
            _ => {
                self.now_us = self.now_us.max(until_us);
                None
            }
        }
    }

    /// Counts an occurrence of a kind.
    pub(crate) fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// A promise was broken. The first one counts.
    pub(crate) fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.failure.is_none() {
            let what = what();
            self.trace(|| format!("FAILURE {what}"));
            self.failure = Some(what);
        }
    }

    pub(crate) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what);
        }
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// A line of the story, if somebody wants to hear it.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        match self.story {
            Story::Untold => {}
            Story::Printed => println!("{:>12.3} ms  {}", self.now_us as f64 / 1_000.0, line()),
            Story::Hashed => self.testify(line().as_bytes()),
        }
    }

    /// Something that is too much for a reader: it only goes into the witness.
    pub(crate) fn testify(&self, bytes: &[u8]) {
        if self.story == Story::Hashed {
            let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
            self.witness.set(bytes.iter().fold(self.witness.get(), hash));
        }
    }

    /// Everything that happened until now, as one number: equal for runs that
    /// went the same way.
    pub(crate) fn witness(&self) -> u64 {
        self.testify(format!("{:?}", self.counts).as_bytes());
        self.witness.get()
    }

    fn trace_event(&self, event: Event) {
        if self.story == Story::Hashed {
            self.testify(format!("{} {event:?}", self.now_us).as_bytes());
        }
    }
}
