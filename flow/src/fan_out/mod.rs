//! Who has got what: one brane's windows on their way to its sessions.
//!
//! A session is *live*, when it has been handed everything that was
//! published and that its view shows, or *lagging*: it loads a snapshot, or
//! replays windows that it missed, or waits for the brane to start it anew
//! because its windows are no longer in the ring. Live sessions with equal
//! views stand in one dense array, so that a publication makes one frame for
//! each view and is a tight loop over its sessions.
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
mod streams;
#[cfg(test)]
mod tests;
mod views;

use std::marker::PhantomData;

use avvy_model::{Position, Seq, View};
use rustc_hash::FxHashMap;

use crate::SessionKey;
use catch_up::Lagging;
pub use ring::Published;
use ring::Ring;
use streams::{Live, LivePlace, Streams};
use views::Aim;
pub use views::Sight;

/// For so long a view in which nothing happens is told nothing; in
/// microseconds.
const QUIET_US: u64 = 1_000_000;

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
    /// Ask the brane for a new start of this session, which will not get to
    /// the head by replay; then [`FanOut::restart`].
    Resync {
        /// Who.
        session: SessionKey,
        /// Where its copy stands, if that is of use: a copy of the whole
        /// brane that is to be one.
        at: Option<Position>,
        /// What it is to see then; `None`: the whole brane.
        view: Option<View>,
    },
    /// Ask the brane for what the next view shows more than the one that the
    /// session has; then [`FanOut::show`].
    Step {
        /// Who.
        session: SessionKey,
        /// The session's view.
        from: View,
        /// The next one.
        to: View,
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
    /// Different views of parts of the brane that live sessions have.
    pub views: usize,
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
    /// Windows made for a view.
    pub views_shown: u64,
    /// Windows that showed nothing to a view, which was sent nothing.
    pub views_spared: u64,
    /// Steps from one view to the next.
    pub steps: u64,
    /// Sessions that began anew because a window could not be shown to them,
    /// or to see the whole brane instead of a part or the other way round.
    pub begun_anew: u64,
    /// Sessions closed as too slow.
    pub closed_slow: u64,
}

/// A window as sessions are sent it.
pub trait Content<T> {
    /// For viewers of the whole brane.
    fn whole(&self) -> &T;

    /// What a view shows of it, as a window that begins at `from`.
    fn part(&self, view: &View, from: Seq) -> Part<T>;

    /// A window that begins at `from` and shows nothing.
    fn nothing(&self, from: Seq) -> T;
}

/// A part of a window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part<T> {
    /// This.
    Shown(T),
    /// There is nothing to show.
    Nothing,
    /// It is not known, or it would be too much: the copy has to begin anew.
    Unknown,
}

/// The machine. `T` is an encoded frame, `P` a window of frames, `S` makes
/// encoded snapshot parts and `W` is a session's outbox. All times are
/// microseconds of one monotonic clock.
pub struct FanOut<T, P, S, W> {
    config: FanOutConfig,
    head: Position,
    ring: Ring<P>,
    streams: Streams<W>,
    lagging: Vec<Lagging<S, W>>,
    places: FxHashMap<SessionKey, Place>,
    /// What sessions want to see that see parts of the brane or want to.
    aims: FxHashMap<SessionKey, Aim>,
    /// Which lagging session [`Self::work`] looks at next.
    turn: usize,
    /// Live sessions whose outbox the current publication filled.
    filled: Vec<SessionKey>,
    /// When a stream in which nothing happened is told so.
    quiet_us: Option<u64>,
    counters: FanOutStatus,
    frame: PhantomData<T>,
}

/// Where a session's entry is.
#[derive(Clone, Copy)]
enum Place {
    Live(LivePlace),
    Lagging(usize),
}

impl<T, P: Content<T>, S: Iterator<Item = T>, W: Wire<T>> FanOut<T, P, S, W> {
    /// A fan-out that stands at `head`. To fill the ring after a restart,
    /// begin where the first recovered window begins and publish them all
    /// before the first session attaches.
    pub fn new(config: FanOutConfig, head: Position) -> Self {
        Self {
            ring: Ring::new(config.ring_max_windows, config.ring_max_bytes),
            config,
            head,
            streams: Streams::new(head.seq),
            lagging: Vec::new(),
            places: FxHashMap::default(),
            aims: FxHashMap::default(),
            turn: 0,
            filled: Vec::new(),
            quiet_us: None,
            counters: FanOutStatus::default(),
            frame: PhantomData,
        }
    }

    /// The end of the last window.
    pub fn head(&self) -> Position {
        self.head
    }

    /// The oldest position from which the ring can replay.
    pub fn floor(&self) -> Seq {
        self.ring.floor().unwrap_or(self.head.seq)
    }

    /// Hands a window to every live session that it shows something to, and
    /// keeps it for the others.
    ///
    /// # Panics
    /// When the window does not begin where the last one ended: the brane
    /// would show its viewers a gap.
    pub fn publish(&mut self, now_us: u64, window: Published<P>, effects: &mut Vec<FanOutEffect>) {
        assert_eq!(window.from, self.head.seq, "windows join");
        let mut lost = Vec::new();
        for stream in self.streams.iter_mut() {
            let own;
            let frame = match stream.view.map(|view| window.payload.part(&view, stream.since)) {
                None => window.payload.whole(),
                Some(Part::Shown(frame)) => {
                    self.counters.views_shown += 1;
                    own = frame;
                    &own
                }
                Some(Part::Nothing) => {
                    self.counters.views_spared += 1;
                    let due_us = stream.sent_us + QUIET_US;
                    self.quiet_us = Some(self.quiet_us.map_or(due_us, |at_us| at_us.min(due_us)));
                    continue;
                }
                Some(Part::Unknown) => {
                    lost.extend(stream.live.iter().map(|live| live.key));
                    continue;
                }
            };
            stream.hand(now_us, frame, window.to, &mut self.filled);
            self.counters.deliveries += stream.live.len() as u64;
        }
        self.counters.windows += 1;
        self.head = window.end();
        self.ring.push(window);
        for session in lost {
            self.begin_anew(now_us, session, effects);
        }
        self.settle_filled(now_us);
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
        sight: Sight,
        start: Start<S>,
        effects: &mut Vec<FanOutEffect>,
    ) {
        assert!(!self.places.contains_key(&session), "a session attaches once");
        self.set_sight(session, sight);
        self.push_lagging(Lagging::new(now_us, session, wire, start));
        self.bite(now_us, self.lagging.len() - 1, effects);
    }

    /// Starts a session anew, with this view: the brane's answer to a
    /// [`FanOutEffect::Resync`]. False when the session is gone by now.
    pub fn restart(
        &mut self,
        now_us: u64,
        session: SessionKey,
        view: Option<View>,
        start: Start<S>,
        effects: &mut Vec<FanOutEffect>,
    ) -> bool {
        let index = match self.places.get(&session) {
            None => return false,
            Some(Place::Lagging(index)) => *index,
            Some(Place::Live(place)) => self.make_lagging(now_us, *place),
        };
        self.set_view(session, view);
        self.lagging[index].begin(now_us, start);
        self.bite(now_us, index, effects);
        true
    }

    /// Lets go of a session and gives its outbox back.
    pub fn detach(&mut self, session: SessionKey) -> Option<W> {
        let place = *self.places.get(&session)?;
        self.aims.remove(&session);
        match place {
            Place::Live(place) => Some(self.take_live(place).wire),
            Place::Lagging(index) => Some(self.take_lagging(index).wire),
        }
    }

    /// The session's outbox is full for a reason that [`Wire::send`] did not
    /// tell.
    pub fn full(&mut self, now_us: u64, session: SessionKey) {
        match self.places.get(&session) {
            Some(Place::Live(place)) => self.fall_behind(now_us, *place),
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

    /// Closes the sessions that were too slow for too long, and tells quiet
    /// views that they are at the head. Called when [`Self::deadline`] has come.
    pub fn expire(&mut self, now_us: u64, effects: &mut Vec<FanOutEffect>) {
        let mut index = 0;
        while index < self.lagging.len() {
            match self.lagging[index].overdue(now_us, &self.config) {
                Some(reason) => self.close(index, reason, effects),
                None => index += 1,
            }
        }
        self.tell_quiet_streams(now_us);
    }

    /// When [`Self::expire`] may have something to do, unless a session
    /// catches up before.
    pub fn deadline(&self) -> Option<u64> {
        let lagging = self.lagging.iter().filter_map(|lagging| lagging.deadline(&self.config));
        lagging.chain(self.quiet_us).min()
    }

    /// A session's outbox, for frames that go to this session alone.
    pub fn wire_mut(&mut self, session: SessionKey) -> Option<&mut W> {
        match *self.places.get(&session)? {
            Place::Live(place) => Some(self.streams.wire_mut(place)),
            Place::Lagging(index) => Some(&mut self.lagging[index].wire),
        }
    }

    /// Every session's outbox, live ones first.
    pub fn wires_mut(&mut self) -> impl Iterator<Item = (SessionKey, &mut W)> {
        let live = self.streams.iter_mut().flat_map(|stream| &mut stream.live);
        let live = live.map(|live| (live.key, &mut live.wire));
        live.chain(self.lagging.iter_mut().map(|lagging| (lagging.key, &mut lagging.wire)))
    }

    /// Whether the session is attached.
    pub fn contains(&self, session: SessionKey) -> bool {
        self.places.contains_key(&session)
    }

    /// For metrics and tests.
    pub fn status(&self) -> FanOutStatus {
        FanOutStatus {
            live: self.streams.live(),
            lagging: self.lagging.len(),
            views: self.streams.views(),
            ring_windows: self.ring.len(),
            ring_bytes: self.ring.bytes(),
            ..self.counters
        }
    }

    /// A live session's outbox is full: it lags from where it stands.
    fn fall_behind(&mut self, now_us: u64, place: LivePlace) {
        self.counters.fell_behind += 1;
        let lagging = self.make_lagging(now_us, place);
        self.lagging[lagging].fill(now_us);
    }

    /// Those whose outboxes were filled by a frame lag behind it.
    fn settle_filled(&mut self, now_us: u64) {
        let mut filled = std::mem::take(&mut self.filled);
        for session in filled.drain(..) {
            self.full(now_us, session);
        }
        self.filled = filled;
    }

    fn make_lagging(&mut self, now_us: u64, place: LivePlace) -> usize {
        let at = Position { seq: self.streams.get(place.stream).since, ..self.head };
        let Live { wire, key } = self.take_live(place);
        self.push_lagging(Lagging::new(now_us, key, wire, Start::Replay(at)));
        self.lagging.len() - 1
    }

    fn make_live(&mut self, now_us: u64, index: usize, effects: &mut Vec<FanOutEffect>) {
        let Lagging { wire, key, .. } = self.take_lagging(index);
        let stream = self.streams.of(self.view(key), self.head.seq, now_us);
        self.tell_head(now_us, stream);
        let place = self.streams.add(stream, Live { wire, key });
        self.places.insert(key, Place::Live(place));
        self.settle_filled(now_us);
        self.consider(now_us, key, effects);
    }

    fn close(&mut self, index: usize, reason: Slow, effects: &mut Vec<FanOutEffect>) {
        let session = self.take_lagging(index).key;
        self.aims.remove(&session);
        self.counters.closed_slow += 1;
        effects.push(FanOutEffect::Close { session, reason });
    }

    fn push_lagging(&mut self, lagging: Lagging<S, W>) {
        self.places.insert(lagging.key, Place::Lagging(self.lagging.len()));
        self.lagging.push(lagging);
    }

    fn take_live(&mut self, place: LivePlace) -> Live<W> {
        let Self { streams, places, .. } = self;
        let taken = streams.take(place, |key, place| {
            places.insert(key, Place::Live(place));
        });
        places.remove(&taken.key);
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
