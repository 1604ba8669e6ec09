//! Who has got what: one brane's windows on their way to its sessions.
//!
//! A session is *live*, when it is handed everything that is published and
//! that its view shows, or *lagging*: it loads a snapshot, or replays windows
//! that it missed, or waits for the brane to start it anew because its windows
//! are no longer in the ring. Live sessions with equal views stand in one dense
//! array, so that a publication makes one frame for each view and is a tight
//! loop over its sessions. Where these are very many, the views take turns; see
//! [`FanOutConfig::turn_sessions`].
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
mod degrade;
mod levels;
mod ring;
mod streams;
#[cfg(test)]
mod tests;
mod turns;
mod types;
mod views;

use std::marker::PhantomData;

use avvy_model::{Position, Seq, View};
use rustc_hash::FxHashMap;

use crate::SessionKey;
pub use avvy_protocol::{Level, LevelReason};
use catch_up::Lagging;
use degrade::Degrade;
pub use degrade::{Change, Debt, Threshold};
pub use ring::Published;
use ring::Ring;
use streams::{Live, LivePlace, Streams};
use turns::Turn;
pub use types::{
    Content, FanOutConfig, FanOutEffect, FanOutStatus, Frame, Part, Room, Slow, Start, Wire,
};
use views::Aim;
pub use views::Sight;

/// For so long a view in which nothing happens is told nothing; in
/// microseconds.
const QUIET_US: u64 = 1_000_000;

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
    /// Of sessions that are not served everything, or were not lately.
    levels: FxHashMap<SessionKey, Degrade>,
    /// What sessions want to see that see parts of the brane or want to.
    aims: FxHashMap<SessionKey, Aim>,
    /// Which lagging session [`Self::work`] looks at next.
    next_bite: usize,
    /// Live sessions whose outbox the current publication filled.
    filled: Vec<SessionKey>,
    /// When views are handed what they wait for.
    turn: Turn,
    /// Sessions that have everything, and whose view waits.
    joining: Vec<SessionKey>,
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
            levels: FxHashMap::default(),
            aims: FxHashMap::default(),
            next_bite: 0,
            filled: Vec::new(),
            turn: Turn::default(),
            joining: Vec::new(),
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

    /// Hands a window to every live session that it shows something to, at once
    /// or in its view's turn, and keeps it for the others.
    ///
    /// # Panics
    /// When the window does not begin where the last one ended: the brane
    /// would show its viewers a gap.
    pub fn publish(
        &mut self,
        now_us: u64,
        mut window: Published<P>,
        effects: &mut Vec<FanOutEffect>,
    ) {
        assert_eq!(window.from, self.head.seq, "windows join");
        window.at_us = now_us;
        self.counters.windows += 1;
        self.head = window.end();
        self.ring.push(window);
        self.serve_whole(now_us);
        self.serve_parts(now_us, effects);
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

    /// Lets go of a session and gives its outbox back, with what was held for it.
    pub fn detach(&mut self, now_us: u64, session: SessionKey) -> Option<W> {
        let place = *self.places.get(&session)?;
        self.aims.remove(&session);
        self.forget_level(now_us, session);
        let mut wire = match place {
            Place::Live(place) => self.take_live(place).wire,
            Place::Lagging(index) => self.take_lagging(index).wire,
        };
        wire.release();
        Some(wire)
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
        let next =
            (0..count).map(|i| (self.next_bite + i) % count).find(|i| self.lagging[*i].hungry());
        if let Some(index) = next {
            self.next_bite = index + 1;
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
                Some(reason) => self.close(now_us, index, reason, effects),
                None => index += 1,
            }
        }
        self.come_to_turn(now_us, effects);
        self.tell_quiet_streams(now_us);
        self.review_levels(now_us, effects);
    }

    /// When [`Self::expire`] may have something to do, unless a session
    /// catches up before.
    pub fn deadline(&self) -> Option<u64> {
        let lagging = self.lagging.iter().filter_map(|lagging| lagging.deadline(&self.config));
        lagging.chain(self.turn.deadline()).chain(self.quiet_us).chain(self.level_deadline()).min()
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

    /// Whether the session is attached and has everything.
    pub fn is_live(&self, session: SessionKey) -> bool {
        matches!(self.places.get(&session), Some(Place::Live(_)))
    }

    /// Windows handed to live sessions, and their bytes.
    pub fn delivered(&self) -> [u64; 2] {
        [self.counters.deliveries, self.counters.delivered_bytes]
    }

    /// For metrics and tests.
    pub fn status(&self) -> FanOutStatus {
        FanOutStatus {
            live: self.streams.live(),
            lagging: self.lagging.len(),
            views: self.streams.views(),
            ring_windows: self.ring.len(),
            ring_bytes: self.ring.bytes(),
            degraded: self.degraded(),
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
        let stream = self.streams.get(place.stream);
        let (at, holds) = (Position { seq: stream.since, ..self.head }, stream.holds);
        let Live { mut wire, key } = self.take_live(place);
        if holds {
            wire.release();
        }
        self.push_lagging(Lagging::new(now_us, key, wire, Start::Replay(at)));
        self.lagging.len() - 1
    }

    fn make_live(&mut self, now_us: u64, index: usize, effects: &mut Vec<FanOutEffect>) {
        let key = self.lagging[index].key;
        if self.waits_to_join(key) {
            self.lagging[index].joins = true;
            self.joining.push(key);
            return;
        }
        let Lagging { wire, .. } = self.take_lagging(index);
        let stream = self.streams.of(self.view(key), self.head.seq, now_us);
        self.tell_head(now_us, stream);
        let place = self.streams.add(stream, Live { wire, key });
        self.places.insert(key, Place::Live(place));
        self.settle_filled(now_us);
        self.note_even(now_us, key, effects);
        self.consider(now_us, key, effects);
    }

    fn close(&mut self, now_us: u64, index: usize, reason: Slow, effects: &mut Vec<FanOutEffect>) {
        let session = self.take_lagging(index).key;
        self.aims.remove(&session);
        self.forget_level(now_us, session);
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
