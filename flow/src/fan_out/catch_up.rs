//! Sessions that have not got everything, and how they get it.

use avvy_model::Position;

use super::{
    Content, FanOut, FanOutConfig, FanOutEffect, Frame, Level, Part, Room, Slow, Start, Wire,
};
use crate::SessionKey;

/// A session that is not live.
pub(super) struct Lagging<S, W> {
    pub(super) key: SessionKey,
    pub(super) wire: W,
    pub(super) stage: Stage<S>,
    /// Since when the stage lasts.
    since_us: u64,
    /// Since when the outbox is full.
    full_us: Option<u64>,
    /// Whether it has everything and waits until those with the same view
    /// have it, too.
    pub(super) joins: bool,
    /// New starts since the session was last live.
    resyncs: u32,
}

/// What a lagging session needs.
pub(super) enum Stage<S> {
    /// Snapshot parts; then it stands at `at`.
    Loading { parts: S, at: Position },
    /// The windows after this.
    Replaying(Position),
    /// A new start from the brane.
    Waiting,
}

impl<S, W> Lagging<S, W> {
    pub(super) fn new(now_us: u64, key: SessionKey, wire: W, start: Start<S>) -> Self {
        let stage = stage_of(start);
        Self { key, wire, stage, since_us: now_us, full_us: None, joins: false, resyncs: 0 }
    }

    pub(super) fn begin(&mut self, now_us: u64, start: Start<S>) {
        self.enter(now_us, stage_of(start));
    }

    pub(super) fn fill(&mut self, now_us: u64) {
        self.full_us.get_or_insert(now_us);
    }

    pub(super) fn drained(&mut self) {
        self.full_us = None;
    }

    /// Whether it can be handed something now.
    pub(super) fn hungry(&self) -> bool {
        self.full_us.is_none() && !self.joins && !matches!(self.stage, Stage::Waiting)
    }

    /// Why it is too slow, if it is.
    pub(super) fn overdue(&self, now_us: u64, config: &FanOutConfig) -> Option<Slow> {
        let passed = |deadline: Option<u64>| deadline.is_some_and(|at| now_us >= at);
        if passed(self.stall_deadline(config)) {
            Some(Slow::Stalled)
        } else if passed(self.stage_deadline(config)) {
            Some(if matches!(self.stage, Stage::Loading { .. }) {
                Slow::Loading
            } else {
                Slow::Behind
            })
        } else {
            None
        }
    }

    pub(super) fn deadline(&self, config: &FanOutConfig) -> Option<u64> {
        self.stall_deadline(config).into_iter().chain(self.stage_deadline(config)).min()
    }

    fn stall_deadline(&self, config: &FanOutConfig) -> Option<u64> {
        self.full_us.map(|since| since + u64::from(config.slow_session_timeout_ms) * 1_000)
    }

    /// A session that waits for the brane or for others is not to blame for it.
    fn stage_deadline(&self, config: &FanOutConfig) -> Option<u64> {
        if self.joins {
            return None;
        }
        let limit_ms = match self.stage {
            Stage::Loading { .. } => config.load_timeout_ms,
            Stage::Replaying(_) => config.slow_session_timeout_ms,
            Stage::Waiting => return None,
        };
        Some(self.since_us + u64::from(limit_ms) * 1_000)
    }

    /// Those for whom it waited were served: it has to catch up from here.
    pub(super) fn joins_no_more(&mut self, now_us: u64) {
        self.joins = false;
        self.since_us = now_us;
    }

    pub(super) fn enter(&mut self, now_us: u64, stage: Stage<S>) {
        self.stage = stage;
        self.joins = false;
        self.since_us = now_us;
    }
}

fn stage_of<S>(start: Start<S>) -> Stage<S> {
    match start {
        Start::Replay(at) => Stage::Replaying(at),
        Start::Load { parts, at } => Stage::Loading { parts, at },
    }
}

/// How a bite of windows ended.
enum Replayed {
    /// The session has everything.
    Live,
    /// There is more, or its outbox is full.
    More,
    /// Its next window is not in the ring.
    Lost(Position),
    /// Its next window cannot be shown to it.
    Unknown,
}

impl<T, P: Content<T>, S: Iterator<Item = T>, W: Wire<T>> FanOut<T, P, S, W> {
    /// Hands the lagging session at `index` what it lacks, up to a bound. The
    /// session may leave its place by that.
    pub(super) fn bite(&mut self, now_us: u64, index: usize, effects: &mut Vec<FanOutEffect>) {
        if !self.lagging[index].hungry() {
            return;
        }
        // It is told its level before it is served by it, which is next time.
        if !self.note_debt(now_us, index, effects) && self.load(now_us, index) {
            self.go_on(now_us, index, effects);
        }
    }

    /// Hands the session at `index` the windows that it lacks, up to a bound.
    pub(super) fn go_on(&mut self, now_us: u64, index: usize, effects: &mut Vec<FanOutEffect>) {
        match self.replay(now_us, index) {
            Replayed::Live => self.make_live(now_us, index, effects),
            Replayed::More => {}
            Replayed::Lost(at) => self.resync(now_us, index, at, effects),
            Replayed::Unknown => {
                let session = self.lagging[index].key;
                self.begin_anew(now_us, session, effects);
            }
        }
    }

    /// Hands out snapshot parts. True when there are none left and the outbox
    /// takes more.
    fn load(&mut self, now_us: u64, index: usize) -> bool {
        let lagging = &mut self.lagging[index];
        let Stage::Loading { parts, at } = &mut lagging.stage else { return true };
        for _ in 0..self.config.bite_parts.max(1) {
            let Some(part) = parts.next() else {
                let at = *at;
                lagging.enter(now_us, Stage::Replaying(at));
                return true;
            };
            self.counters.parts += 1;
            if lagging.wire.send(Frame::Part(part)) == Room::Full {
                lagging.fill(now_us);
                return false;
            }
        }
        false
    }

    fn replay(&mut self, now_us: u64, index: usize) -> Replayed {
        let key = self.lagging[index].key;
        let (view, level) = (self.view(key), self.level(key));
        let lagging = &mut self.lagging[index];
        let Stage::Replaying(at) = &mut lagging.stage else { return Replayed::More };
        if at.seq == self.head.seq {
            return Replayed::Live;
        }
        let Some(windows) = self.ring.since(at.seq) else { return Replayed::Lost(*at) };
        let windows: Vec<_> = windows.take(self.config.bite_windows.max(1)).collect();
        let mut rest = windows.as_slice();
        // The last window that showed nothing, and was not sent therefore.
        let mut spared = None;
        while let Some(first) = rest.first() {
            let own;
            let (count, part) = if level >= Level::Collapsed {
                let contents: Vec<_> = rest.iter().map(|window| &window.payload).collect();
                P::collapsed(&contents, view.as_ref(), at.seq)
            } else {
                (1, view.map_or(Part::Nothing, |view| first.payload.part(&view, at.seq)))
            };
            let (done, left) = rest.split_at(count.clamp(1, rest.len()));
            let last = done[done.len() - 1];
            rest = left;
            let frame = match part {
                Part::Shown(frame) => {
                    own = frame;
                    &own
                }
                Part::Unknown => return Replayed::Unknown,
                Part::Nothing if view.is_none() => first.payload.whole(),
                Part::Nothing => {
                    spared = Some(last);
                    continue;
                }
            };
            spared = None;
            *at = last.end();
            self.counters.replayed += done.len() as u64;
            if hand(&mut lagging.wire, frame, *at) == Room::Full {
                lagging.full_us = Some(now_us);
                return Replayed::More;
            }
        }
        if let Some(window) = spared {
            let frame = window.payload.nothing(at.seq);
            *at = window.end();
            if hand(&mut lagging.wire, &frame, *at) == Room::Full {
                lagging.full_us = Some(now_us);
                return Replayed::More;
            }
        }
        if at.seq == self.head.seq { Replayed::Live } else { Replayed::More }
    }

    pub(super) fn resync(
        &mut self,
        now_us: u64,
        index: usize,
        at: Position,
        effects: &mut Vec<FanOutEffect>,
    ) {
        let key = self.lagging[index].key;
        let (has, view) = (self.view(key), self.first_view(key));
        let lagging = &mut self.lagging[index];
        lagging.resyncs += 1;
        self.counters.resyncs += 1;
        if lagging.resyncs > self.config.max_resyncs {
            return self.close(now_us, index, Slow::Resyncs, effects);
        }
        lagging.enter(now_us, Stage::Waiting);
        let at = Some(at).filter(|_| has.is_none() && view.is_none());
        effects.push(FanOutEffect::Resync { session: key, at, view });
    }
}

fn hand<T, W: Wire<T>>(wire: &mut W, frame: &T, at: Position) -> Room {
    let rooms =
        [wire.send(Frame::Windows(std::slice::from_ref(frame))), wire.send(Frame::Complete(at))];
    if rooms.contains(&Room::Full) { Room::Full } else { Room::More }
}
