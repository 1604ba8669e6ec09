//! What goes into the machine and what comes out.

use avvy_model::{Position, Seq, View};

use super::degrade::{Change, Threshold};
use crate::SessionKey;

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
    /// Sessions of viewers of parts that are handed something in one turn.
    /// Default 1,000. With more of them, each view has its turn in a while, and
    /// the core is free for edits between two turns.
    pub turn_sessions: usize,
    /// The share of the time that turns may take, in percent (1 to 100).
    /// Default 60.
    pub turn_budget_percent: u32,
    /// Bytes of windows that a viewer of a part is handed at most at a time,
    /// unless a single window is more. Default 1 MiB; the rest comes in the
    /// next turns. An outbox that takes less is cut though nobody was slow.
    pub turn_bytes: usize,
    /// What has to be owed to a session for each [`super::Level`] but the first. The
    /// defaults are 64 KiB or 100 ms, 256 KiB or 250 ms, 1 MiB or 1 s, 4 MiB
    /// or 5 s.
    pub degrade: [Threshold; 4],
    /// How long nothing may be owed until the level falls by one, in
    /// milliseconds. Default 2,000.
    pub recover_ms: u32,
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
            turn_sessions: 1_000,
            turn_budget_percent: 60,
            turn_bytes: 1024 * 1024,
            degrade: [
                Threshold { bytes: 64 << 10, age_ms: 100 },
                Threshold { bytes: 256 << 10, age_ms: 250 },
                Threshold { bytes: 1 << 20, age_ms: 1_000 },
                Threshold { bytes: 4 << 20, age_ms: 5_000 },
            ],
            recover_ms: 2_000,
        }
    }
}

/// What a session's outbox is handed.
#[derive(Debug)]
pub enum Frame<'a, T> {
    /// Windows of the log, one after the other: the same for every session
    /// with the same view.
    Windows(&'a [T]),
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
    /// It is over its high-water mark; the driver calls [`super::FanOut::drained`]
    /// when it is under its low-water mark again.
    Full,
}

/// A session's outbox, given by the driver.
pub trait Wire<T> {
    /// Queues a frame. Must not block.
    fn send(&mut self, frame: Frame<'_, T>) -> Room;

    /// Keeps a frame that is to be sent before the next window, and in one go
    /// with it.
    fn hold(&mut self, frame: T);

    /// Queues what is held, if anything is: no window comes soon.
    fn release(&mut self);
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
    /// All windows up to here are handed out, or nearly; the brane may publish
    /// the next. With `paced`, others had their time, and the driver says
    /// [`super::FanOut::take_turn`] after whatever the brane publishes now.
    Ready {
        /// The head.
        published: Seq,
        /// The oldest position that it can replay from.
        floor: Seq,
        /// Whether views take turns.
        paced: bool,
    },
    /// Ask the brane for a new start of this session, which will not get to
    /// the head by replay; then [`super::FanOut::restart`].
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
    /// session has; then [`super::FanOut::show`].
    Step {
        /// Who.
        session: SessionKey,
        /// The session's view.
        from: View,
        /// The next one.
        to: View,
    },
    /// This session is served at another level. Tell it.
    Level {
        /// Who.
        session: SessionKey,
        /// Which, and why.
        change: Change,
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
    /// Their bytes.
    pub delivered_bytes: u64,
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
    /// Sessions at each [`super::Level`] but the first, which all others have.
    pub degraded: [usize; 4],
    /// How often a session came to each of these levels from below.
    pub degradations: [u64; 4],
    /// For how long sessions were at each of these levels, in milliseconds,
    /// counted when they leave it.
    pub degraded_ms: [u64; 4],
    /// Turns in which viewers of parts were handed what they see.
    pub turns: u64,
    /// Changes of level by [`super::LevelReason`].
    pub level_changes: [u64; 3],
}

/// A window as sessions are sent it.
pub trait Content<T> {
    /// For viewers of the whole brane.
    fn whole(&self) -> &T;

    /// What a view shows of it, as a window that begins at `from`.
    fn part(&self, view: &View, from: Seq) -> Part<T>;

    /// How many bytes a frame is.
    fn bytes(frame: &T) -> usize;

    /// Frames that are handed to many sessions, in as few as can be.
    fn joined(frames: Vec<T>) -> Vec<T> {
        frames
    }

    /// A window that begins at `from` and shows nothing.
    fn nothing(&self, from: Seq) -> T;

    /// Several windows, the first of which begins at `from`, as one, in which
    /// only the last of several moves of an object is left; `None` for the
    /// view is the whole brane. How many of the windows it holds, from the
    /// first on, is up to this; at least one.
    fn collapsed(windows: &[&Self], view: Option<&View>, from: Seq) -> (usize, Part<T>)
    where
        Self: Sized;
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
