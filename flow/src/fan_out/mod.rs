//! Who has got what: one brane's windows on their way to its sessions.
//!
//! A session is *live*, when it has been handed everything that was
//! published, or *lagging*: it loads a snapshot, or replays windows that it
//! missed, or waits for the brane to start it anew because its windows are no
//! longer in the ring. Live sessions stand in one dense array, so that a
//! publication is one tight loop.
//!
//! The machine holds each session's outbox as a [`Wire`] and hands frames to
//! it. When a wire answers [`Room::Full`] the session lags from there on; the
//! driver says [`FanOut::drained`] when the outbox has emptied. Nothing is
//! queued here per session: a session that lags costs a position.
//!
//! Invariants: every session is handed each window after its position exactly
//! once and in order, or snapshot parts that cover it; the ranges join; each
//! window that is handed to a lagging session is followed by
//! [`Frame::Complete`].
//!
//! A lagging session ends live, or with [`FanOutEffect::Close`] after a
//! bounded time and a bounded number of new starts.

mod catch_up;
mod ring;
#[cfg(test)]
mod tests;

use avvy_model::Position;
use rustc_hash::FxHashMap;

use crate::SessionKey;
use catch_up::Lagging;
pub use ring::Published;
use ring::Ring;

/// Bounds of the fan-out of one brane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FanOutConfig {
    /// Recent windows that are kept for replay, by number. Default 4,096.
    pub ring_max_windows: usize,
    /// And by bytes. Default 16 MiB. A session whose position is older gets
    /// the difference of the worlds instead.
    pub ring_max_bytes: usize,
    /// Windows that a lagging session gets at a time. Default 64.
    pub bite_windows: usize,
    /// Snapshot parts that a lagging session gets at a time. Default 2; each
    /// is encoded at that moment and may be 256 KiB.
    pub bite_parts: usize,
    /// A session that replays for longer, or whose outbox does not empty for
    /// so long, is closed as too slow; in milliseconds. Default 30,000.
    pub slow_session_timeout_ms: u32,
    /// A session that loads a snapshot for longer is closed as too slow; in
    /// milliseconds. Default 300,000. Until then it may keep old pages of the
    /// world in memory.
    pub load_timeout_ms: u32,
    /// How often a session may fall out of the ring before it has become live
    /// again. Default 3; then it is closed as too slow.
    pub max_resyncs: u32,
}

impl Default for FanOutConfig {
    fn default() -> Self {
        Self {
            ring_max_windows: 4_096,
            ring_max_bytes: 16 * 1024 * 1024,
            bite_windows: 64,
            bite_parts: 2,
            slow_session_timeout_ms: 30_000,
            load_timeout_ms: 300_000,
            max_resyncs: 3,
        }
    }
}

/// What a session's outbox is handed.
#[derive(Debug)]
pub enum Frame<'a, T> {
    /// A window of the log, the same for every session.
    Window(&'a T),
    /// A part of a snapshot, for this session.
    Part(T),
    /// The window before this was a replayed one and is whole: the copy
    /// stands here (`version_complete`).
    Complete(Position),
}

/// Whether an outbox takes more. Either way it has taken what it was handed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// It does.
    More,
    /// It is over its high-water mark; the driver calls [`FanOut::drained`]
    /// when it is under its low-water mark again.
    Full,
}

/// A session's outbox, given by the driver.
pub trait Wire<T> {
    /// Queues a frame. Must not block.
    fn send(&mut self, frame: Frame<'_, T>) -> Room;
}

/// How a session begins.
#[derive(Clone, Debug)]
pub enum Start<S> {
    /// It stands here and lacks the windows after it.
    Replay(Position),
    /// It gets these parts first and then stands at `at`. The iterator
    /// encodes a part when it is asked for one.
    Load {
        /// The parts.
        parts: S,
        /// The position after the last.
        at: Position,
    },
}

/// What the driver has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FanOutEffect {
    /// Ask the brane for a new start of this session, which stands at `at`
    /// and will not get there by replay; then [`FanOut::restart`].
    Resync {
        /// Who.
        session: SessionKey,
        /// Where it stands.
        at: Position,
    },
    /// Close this session as too slow. The machine has let go of it.
    Close {
        /// Who.
        session: SessionKey,
        /// Why.
        reason: Slow,
    },
}

/// In which way a session was too slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slow {
    /// Its outbox did not empty in time.
    Stalled,
    /// It replayed for too long without becoming live.
    Behind,
    /// It loaded a snapshot for too long.
    Loading,
    /// It fell out of the ring too often without becoming live.
    Resyncs,
}

/// A fan-out at one moment; the counters since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct FanOutStatus {
    /// Sessions that have everything.
    pub live: usize,
    /// Sessions that do not.
    pub lagging: usize,
    /// Windows in the ring.
    pub ring_windows: usize,
    /// Their bytes.
    pub ring_bytes: usize,
    /// Windows published.
    pub windows: u64,
    /// Windows handed to live sessions.
    pub deliveries: u64,
    /// Windows handed to lagging sessions.
    pub replayed: u64,
    /// Snapshot parts handed out.
    pub parts: u64,
    /// How often a live session's outbox was full.
    pub fell_behind: u64,
    /// How often a session fell out of the ring.
    pub resyncs: u64,
    /// Sessions closed as too slow.
    pub closed_slow: u64,
}

/// The machine. `T` is an encoded frame, `S` makes encoded snapshot parts and
/// `W` is a session's outbox. All times are microseconds of one monotonic
/// clock.
pub struct FanOut<T, S, W> {
    config: FanOutConfig,
    head: Position,
    ring: Ring<T>,
    live: Vec<Live<W>>,
    lagging: Vec<Lagging<S, W>>,
    places: FxHashMap<SessionKey, Place>,
    /// Which lagging session [`Self::work`] looks at next.
    turn: usize,
    /// Live sessions whose outbox the current publication filled.
    filled: Vec<usize>,
    counters: FanOutStatus,
}

/// A session that has everything up to the head.
struct Live<W> {
    wire: W,
    key: SessionKey,
}

/// Where a session's entry is.
#[derive(Clone, Copy)]
enum Place {
    Live(usize),
    Lagging(usize),
}

impl<T, S: Iterator<Item = T>, W: Wire<T>> FanOut<T, S, W> {
    /// A fan-out that stands at `head`. To fill the ring after a restart,
    /// begin where the first recovered window begins and publish them all
    /// before the first session attaches.
    pub fn new(config: FanOutConfig, head: Position) -> Self {
        Self {
            ring: Ring::new(config.ring_max_windows, config.ring_max_bytes),
            config,
            head,
            live: Vec::new(),
            lagging: Vec::new(),
            places: FxHashMap::default(),
            turn: 0,
            filled: Vec::new(),
            counters: FanOutStatus::default(),
        }
    }

    /// The end of the last window.
    pub fn head(&self) -> Position {
        self.head
    }

    /// The oldest position from which the ring can replay.
    pub fn floor(&self) -> avvy_model::Seq {
        self.ring.floor().unwrap_or(self.head.seq)
    }

    /// Hands a window to every live session and keeps it for the others.
    ///
    /// # Panics
    /// When the window does not begin where the last one ended: the brane
    /// would show its viewers a gap.
    pub fn publish(&mut self, now_us: u64, window: Published<T>, effects: &mut Vec<FanOutEffect>) {
        assert_eq!(window.from, self.head.seq, "windows join");
        for (index, live) in self.live.iter_mut().enumerate() {
            if live.wire.send(Frame::Window(&window.payload)) == Room::Full {
                self.filled.push(index);
            }
        }
        self.counters.windows += 1;
        self.counters.deliveries += self.live.len() as u64;
        self.head = window.end();
        self.ring.push(window);
        // From the back, so that removal does not move the ones still to come.
        while let Some(index) = self.filled.pop() {
            self.fall_behind(now_us, index);
        }
        self.expire(now_us, effects);
    }

    /// Takes in a session. One that needs nothing is live at once; others get
    /// their first bite.
    ///
    /// # Panics
    /// When the session is attached already; keys are unique in a process.
    pub fn attach(
        &mut self,
        now_us: u64,
        session: SessionKey,
        wire: W,
        start: Start<S>,
        effects: &mut Vec<FanOutEffect>,
    ) {
        assert!(!self.places.contains_key(&session), "a session attaches once");
        self.push_lagging(Lagging::new(now_us, session, wire, start));
        self.bite(now_us, self.lagging.len() - 1, effects);
    }

    /// Starts a session anew: the brane's answer to a [`FanOutEffect::Resync`].
    /// False when the session is gone by now.
    pub fn restart(
        &mut self,
        now_us: u64,
        session: SessionKey,
        start: Start<S>,
        effects: &mut Vec<FanOutEffect>,
    ) -> bool {
        let index = match self.places.get(&session) {
            None => return false,
            Some(Place::Lagging(index)) => *index,
            Some(Place::Live(index)) => self.make_lagging(now_us, *index),
        };
        self.lagging[index].begin(now_us, start);
        self.bite(now_us, index, effects);
        true
    }

    /// Lets go of a session and gives its outbox back.
    pub fn detach(&mut self, session: SessionKey) -> Option<W> {
        match *self.places.get(&session)? {
            Place::Live(index) => Some(self.take_live(index).wire),
            Place::Lagging(index) => Some(self.take_lagging(index).wire),
        }
    }

    /// The session's outbox is full for a reason that [`Wire::send`] did not
    /// tell.
    pub fn full(&mut self, now_us: u64, session: SessionKey) {
        match self.places.get(&session) {
            Some(Place::Live(index)) => {
                self.fall_behind(now_us, *index);
            }
            Some(Place::Lagging(index)) => self.lagging[*index].fill(now_us),
            None => {}
        }
    }

    /// The session's outbox has emptied: it gets its next bite.
    pub fn drained(&mut self, now_us: u64, session: SessionKey, effects: &mut Vec<FanOutEffect>) {
        if let Some(Place::Lagging(index)) = self.places.get(&session) {
            let index = *index;
            self.lagging[index].drained();
            self.bite(now_us, index, effects);
        }
    }

    /// Gives one lagging session that can take it a bite, in turn.
    pub fn work(&mut self, now_us: u64, effects: &mut Vec<FanOutEffect>) {
        let count = self.lagging.len();
        let next = (0..count).map(|i| (self.turn + i) % count).find(|i| self.lagging[*i].hungry());
        if let Some(index) = next {
            self.turn = index + 1;
            self.bite(now_us, index, effects);
        }
    }

    /// Whether a lagging session can take a bite now. The driver then calls
    /// [`Self::work`], after what else is waiting, and asks again.
    pub fn has_work(&self) -> bool {
        self.lagging.iter().any(Lagging::hungry)
    }

    /// Closes the sessions that were too slow for too long. Called when
    /// [`Self::deadline`] has come.
    pub fn expire(&mut self, now_us: u64, effects: &mut Vec<FanOutEffect>) {
        let mut index = 0;
        while index < self.lagging.len() {
            match self.lagging[index].overdue(now_us, &self.config) {
                Some(reason) => self.close(index, reason, effects),
                None => index += 1,
            }
        }
    }

    /// When [`Self::expire`] may have something to do, unless a session
    /// catches up before.
    pub fn deadline(&self) -> Option<u64> {
        self.lagging.iter().filter_map(|lagging| lagging.deadline(&self.config)).min()
    }

    /// A session's outbox, for frames that go to this session alone.
    pub fn wire_mut(&mut self, session: SessionKey) -> Option<&mut W> {
        match *self.places.get(&session)? {
            Place::Live(index) => Some(&mut self.live[index].wire),
            Place::Lagging(index) => Some(&mut self.lagging[index].wire),
        }
    }

    /// Every session's outbox, live ones first.
    pub fn wires_mut(&mut self) -> impl Iterator<Item = (SessionKey, &mut W)> {
        let live = self.live.iter_mut().map(|live| (live.key, &mut live.wire));
        live.chain(self.lagging.iter_mut().map(|lagging| (lagging.key, &mut lagging.wire)))
    }

    /// Whether the session is attached.
    pub fn contains(&self, session: SessionKey) -> bool {
        self.places.contains_key(&session)
    }

    /// For metrics and tests.
    pub fn status(&self) -> FanOutStatus {
        FanOutStatus {
            live: self.live.len(),
            lagging: self.lagging.len(),
            ring_windows: self.ring.len(),
            ring_bytes: self.ring.bytes(),
            ..self.counters
        }
    }

    /// A live session's outbox is full: it lags from the head on.
    fn fall_behind(&mut self, now_us: u64, index: usize) {
        self.counters.fell_behind += 1;
        let lagging = self.make_lagging(now_us, index);
        self.lagging[lagging].fill(now_us);
    }

    fn make_lagging(&mut self, now_us: u64, index: usize) -> usize {
        let Live { wire, key } = self.take_live(index);
        self.push_lagging(Lagging::new(now_us, key, wire, Start::Replay(self.head)));
        self.lagging.len() - 1
    }

    fn make_live(&mut self, index: usize) {
        let Lagging { wire, key, .. } = self.take_lagging(index);
        self.places.insert(key, Place::Live(self.live.len()));
        self.live.push(Live { wire, key });
    }

    fn close(&mut self, index: usize, reason: Slow, effects: &mut Vec<FanOutEffect>) {
        let session = self.take_lagging(index).key;
        self.counters.closed_slow += 1;
        effects.push(FanOutEffect::Close { session, reason });
    }

    fn push_lagging(&mut self, lagging: Lagging<S, W>) {
        self.places.insert(lagging.key, Place::Lagging(self.lagging.len()));
        self.lagging.push(lagging);
    }

    fn take_live(&mut self, index: usize) -> Live<W> {
        let taken = self.live.swap_remove(index);
        self.places.remove(&taken.key);
        if let Some(moved) = self.live.get(index) {
            self.places.insert(moved.key, Place::Live(index));
        }
        taken
    }

    fn take_lagging(&mut self, index: usize) -> Lagging<S, W> {
        let taken = self.lagging.swap_remove(index);
        self.places.remove(&taken.key);
        if let Some(moved) = self.lagging.get(index) {
            self.places.insert(moved.key, Place::Lagging(index));
        }
        taken
    }
}
