//! Viewers of parts, some at a time.
//!
//! To hand a window to thousands of sessions takes tens of milliseconds, in
//! which no edit is taken. So what the views show is handed out in turns:
//! first come the views that wait longest, each with all windows since its
//! last turn or what goes of them at a time ([`FanOutConfig::turn_bytes`]),
//! until [`FanOutConfig::turn_sessions`] sessions were served; then others have
//! the rest of the time ([`FanOutConfig::turn_budget_percent`]).
//! Where all are served in one turn, that is with each publication, and nobody
//! waits.
//!
//! [`FanOutConfig::turn_sessions`]: super::FanOutConfig::turn_sessions
//! [`FanOutConfig::turn_bytes`]: super::FanOutConfig::turn_bytes
//! [`FanOutConfig::turn_budget_percent`]: super::FanOutConfig::turn_budget_percent

use avvy_model::Seq;

use super::streams::{LivePlace, Stream};
use super::{
    Content, FanOut, FanOutConfig, FanOutEffect, FanOutStatus, Frame, Part, Place, Room, Wire,
};
use crate::SessionKey;

/// The longest pause between two turns; in microseconds.
const MAX_PAUSE_US: u64 = 1_000_000;

/// When views are handed what they wait for.
#[derive(Clone, Copy, Default)]
pub(super) enum Turn {
    /// With the next window: no view waits.
    #[default]
    WithWindow,
    /// The last one began then, and the driver has not told its end.
    Under(u64),
    /// Due then.
    At(u64),
    /// Due when the brane has published what it has.
    AfterBrane,
}

impl Turn {
    pub(super) fn deadline(self) -> Option<u64> {
        if let Self::At(due_us) = self { Some(due_us) } else { None }
    }
}

/// What a stream was not handed.
pub(super) struct Lack<T> {
    /// What its view shows of it.
    pub(super) shown: Vec<T>,
    /// Where its sessions stand after that.
    pub(super) since: Seq,
    /// Up to where windows were looked at.
    pub(super) seen: Seq,
}

impl<W> Stream<W> {
    /// Hands windows to all sessions; they stand at `to` then.
    fn hand<T>(&mut self, now_us: u64, windows: &[T], to: Seq, filled: &mut Vec<SessionKey>)
    where
        W: Wire<T>,
    {
        for live in &mut self.live {
            if live.wire.send(Frame::Windows(windows)) == Room::Full {
                filled.push(live.key);
            }
        }
        self.since = to;
        self.sent_us = now_us;
        self.holds = false;
    }

    /// Sends what is held for sessions that are handed no window now.
    fn release<T>(&mut self)
    where
        W: Wire<T>,
    {
        if std::mem::take(&mut self.holds) {
            self.live.iter_mut().for_each(|live| live.wire.release());
        }
    }
}

impl FanOutConfig {
    /// How long after a turn the next one is due. One that took very long, as
    /// the process did not run, keeps nobody waiting for much longer.
    fn turn_pause_us(&self, took_us: u64) -> u64 {
        let percent = u64::from(self.turn_budget_percent.clamp(1, 100));
        (took_us.saturating_mul(100 - percent) / percent).min(MAX_PAUSE_US)
    }
}

impl FanOutStatus {
    fn deliver<T, P: Content<T>>(&mut self, sessions: usize, windows: &[T]) {
        let bytes: usize = windows.iter().map(P::bytes).sum();
        self.deliveries += (sessions * windows.len()) as u64;
        self.delivered_bytes += (sessions * bytes) as u64;
    }
}

impl<T, P: Content<T>, S: Iterator<Item = T>, W: Wire<T>> FanOut<T, P, S, W> {
    /// Hands the newest window to those who see the whole brane.
    pub(super) fn serve_whole(&mut self, now_us: u64) {
        let Some(window) = self.ring.last() else { return };
        let whole = self.streams.get_mut(0);
        let frame = window.payload.whole();
        whole.hand(now_us, std::slice::from_ref(frame), window.to, &mut self.filled);
        whole.seen = window.to;
        self.counters.deliver::<T, P>(whole.live.len(), std::slice::from_ref(frame));
        self.settle_filled(now_us);
    }

    /// Keeps a frame for a session until its view was looked after, so that it
    /// goes out with the window that shows what it is about. One that lags is
    /// sent it at once.
    pub fn hold(&mut self, session: SessionKey, frame: T) {
        match self.places.get(&session) {
            Some(Place::Live(place)) => {
                let stream = self.streams.get_mut(place.stream);
                stream.live[place.index].wire.hold(frame);
                stream.holds = true;
            }
            Some(Place::Lagging(index)) => {
                let wire = &mut self.lagging[*index].wire;
                wire.hold(frame);
                wire.release();
            }
            None => {}
        }
    }

    /// The driver has done what the last call led to. From how long that took
    /// follows when it is the turn of others.
    pub fn turned(&mut self, now_us: u64) {
        if let Turn::Under(began_us) = self.turn {
            let took_us = now_us.saturating_sub(began_us);
            self.turn = Turn::At(now_us + self.config.turn_pause_us(took_us));
        }
    }

    /// Whether the machine waits for [`Self::turned`].
    pub fn is_turning(&self) -> bool {
        matches!(self.turn, Turn::Under(_))
    }

    /// Serves the views that wait longest with what was published, unless their
    /// turn comes later or the brane has more for it.
    pub(super) fn serve_parts(&mut self, now_us: u64, effects: &mut Vec<FanOutEffect>) {
        if !matches!(self.turn, Turn::AfterBrane) {
            self.take_turn(now_us, effects);
        }
    }

    /// Serves the views that wait longest, unless their turn comes later.
    pub fn take_turn(&mut self, now_us: u64, effects: &mut Vec<FanOutEffect>) {
        if matches!(self.turn, Turn::Under(_) | Turn::At(_)) {
            return;
        }
        let mut waiting = self.streams.waiting(self.head.seq).into_iter();
        let (mut served, mut all_seen, mut lost) = (0, true, Vec::new());
        for index in waiting.by_ref() {
            if let Some(sessions) = self.serve(now_us, index) {
                served += sessions;
                all_seen &= self.streams.get(index).seen == self.head.seq;
            } else {
                lost.extend(self.streams.get(index).live.iter().map(|live| live.key));
            }
            if served >= self.config.turn_sessions.max(1) {
                break;
            }
        }
        if all_seen && waiting.next().is_none() {
            self.turn = Turn::WithWindow;
            self.ready(false, effects);
        } else {
            self.turn = Turn::Under(now_us);
            self.counters.turns += 1;
        }
        self.settle_filled(now_us);
        for session in lost {
            self.begin_anew(now_us, session, effects);
        }
        self.join_served(now_us, effects);
    }

    /// When a turn is due, the brane publishes what it has before it is taken.
    pub(super) fn come_to_turn(&mut self, now_us: u64, effects: &mut Vec<FanOutEffect>) {
        if self.turn.deadline().is_some_and(|due_us| due_us <= now_us) {
            self.turn = Turn::AfterBrane;
            self.ready(true, effects);
        }
    }

    fn ready(&self, paced: bool, effects: &mut Vec<FanOutEffect>) {
        let (published, floor) = (self.head.seq, self.floor());
        effects.push(FanOutEffect::Ready { published, floor, paced });
    }

    /// Hands a stream what it lacks, or as much of it as goes at a time. Gives
    /// the number of sessions that were handed something; `None` when they
    /// have to begin anew.
    fn serve(&mut self, now_us: u64, index: usize) -> Option<usize> {
        let Lack { shown, since, seen } = self.lacks(index)?;
        let stream = self.streams.get_mut(index);
        stream.seen = seen;
        let mut served = 0;
        if shown.is_empty() {
            stream.release();
        } else {
            served = stream.live.len();
            self.counters.deliver::<T, P>(served, &shown);
            stream.hand(now_us, &P::joined(shown), since, &mut self.filled);
        }
        if stream.since < stream.seen {
            let sent_us = stream.sent_us;
            self.quiet_from(sent_us);
        }
        Some(served)
    }

    /// What a stream was not handed, as much as goes at a time; `None` when its
    /// view cannot be shown it.
    pub(super) fn lacks(&mut self, index: usize) -> Option<Lack<T>> {
        let stream = self.streams.get(index);
        let mut lack = Lack { shown: Vec::new(), since: stream.since, seen: stream.seen };
        if stream.seen == self.head.seq {
            return Some(lack);
        }
        let view = stream.view?;
        let mut bytes = 0;
        for window in self.ring.since(stream.seen)? {
            match window.payload.part(&view, lack.since) {
                Part::Shown(frame) => {
                    bytes += P::bytes(&frame);
                    if bytes > self.config.turn_bytes && !lack.shown.is_empty() {
                        break;
                    }
                    lack.shown.push(frame);
                    lack.since = window.to;
                    self.counters.views_shown += 1;
                }
                Part::Nothing => self.counters.views_spared += 1,
                Part::Unknown => return None,
            }
            lack.seen = window.to;
        }
        Some(lack)
    }

    /// Hands one session of a stream all that it lacks, alone: it lags at the
    /// head from there on.
    pub(super) fn bring_to_head(
        &mut self,
        now_us: u64,
        place: LivePlace,
        Lack { mut shown, since, .. }: Lack<T>,
    ) -> usize {
        if since < self.head.seq {
            shown.extend(self.ring.last().map(|last| last.payload.nothing(since)));
        }
        self.counters.deliver::<T, P>(1, &shown);
        let index = self.make_lagging(now_us, place);
        let lagging = &mut self.lagging[index];
        let windows = P::joined(shown);
        if !windows.is_empty() && lagging.wire.send(Frame::Windows(&windows)) == Room::Full {
            lagging.fill(now_us);
        }
        index
    }

    /// Tells the sessions of a stream that waits for nothing that they are at
    /// the head.
    pub(super) fn tell_head(&mut self, now_us: u64, index: usize) {
        let head = self.head.seq;
        let Self { streams, ring, filled, counters, .. } = self;
        let stream = streams.get_mut(index);
        if stream.since == head {
            return;
        }
        if let Some(last) = ring.last().filter(|_| !stream.live.is_empty()) {
            let frame = [last.payload.nothing(stream.since)];
            stream.hand(now_us, &frame, head, filled);
            counters.deliver::<T, P>(stream.live.len(), &frame);
        }
        stream.since = head;
    }

    /// Whether a session that has everything has to wait until those whose
    /// view is the same have it, too.
    pub(super) fn waits_to_join(&self, session: SessionKey) -> bool {
        let stream = self.streams.find(self.view(session));
        stream.is_some_and(|index| self.streams.get(index).seen < self.head.seq)
    }

    /// Those who wait for others join them, now that these were served.
    fn join_served(&mut self, now_us: u64, effects: &mut Vec<FanOutEffect>) {
        for session in std::mem::take(&mut self.joining) {
            let Some(Place::Lagging(index)) = self.places.get(&session) else { continue };
            let index = *index;
            if !self.lagging[index].joins {
                continue;
            }
            if self.waits_to_join(session) {
                self.joining.push(session);
            } else {
                self.lagging[index].joins_no_more(now_us);
                if self.lagging[index].hungry() {
                    // That it had to wait is no debt.
                    self.go_on(now_us, index, effects);
                }
            }
        }
    }
}
