//! Bounds of who and what people see of each other, and what became of it.

/// Bounds of the people of one brane.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PeopleConfig {
    /// People whose poses a viewer is sent: the nearest. Default 100.
    pub max_avatars: usize,
    /// Poses are handed out so often, in milliseconds. Default 50.
    pub pose_interval_ms: u32,
    /// How often it is looked who is nearest, in milliseconds. Default 500.
    pub nearest_interval_ms: u32,
    /// With so many poses at most it is looked at every turn. Default 256.
    pub small_crowd: usize,
    /// Poses nearer than this, in metres, are handed out at every turn; up to
    /// twice this at every second, up to four times at every fourth, and so
    /// on. Default 8.
    pub pose_near_m: f64,
    /// The share of the time that poses may take, in percent: with more to do
    /// they are handed out less often. Default 25.
    pub pose_budget_percent: u32,
    /// Joins and leaves are told so often at most, in milliseconds. Default 500.
    pub roster_interval_ms: u32,
    /// Joins and leaves that are kept for slow sessions; one that lacks more
    /// is told to list anew. Default 10,000.
    pub roster_ring: usize,
    /// People on one page. Default 500.
    pub page_people: u32,
    /// Signals to those near reach so far, in metres. Default 50.
    pub signal_near_m: f64,
    /// Whether visitors may send signals. Default true.
    pub visitors_may_signal: bool,
    /// Signals of one session to everyone.
    pub signals_to_all: Rate,
    /// To those near.
    pub signals_to_near: Rate,
    /// To one.
    pub signals_to_one: Rate,
    /// Deliveries of signals in the brane.
    pub signal_deliveries: Rate,
}

/// How often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a rest.
    pub burst: u32,
}

impl Default for PeopleConfig {
    fn default() -> Self {
        let rate = |per_second, burst| Rate { per_second, burst };
        Self {
            max_avatars: 100,
            pose_interval_ms: 50,
            nearest_interval_ms: 500,
            small_crowd: 256,
            pose_near_m: 8.0,
            pose_budget_percent: 25,
            roster_interval_ms: 500,
            roster_ring: 10_000,
            page_people: 500,
            signal_near_m: 50.0,
            visitors_may_signal: true,
            signals_to_all: rate(1, 5),
            signals_to_near: rate(5, 20),
            signals_to_one: rate(10, 40),
            signal_deliveries: rate(20_000, 100_000),
        }
    }
}

/// The people of a brane at one moment; the counters since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct PeopleStatus {
    /// Sessions that have joined.
    pub people: usize,
    /// Those that follow who is there.
    pub followers: usize,
    /// Those that have a pose.
    pub posed: usize,
    /// Joins and leaves.
    pub changes: u64,
    /// Followers that lacked too many of them and were told to list anew.
    pub resets: u64,
    /// Poses of people taken.
    pub poses_taken: u64,
    /// Poses handed to viewers.
    pub poses_sent: u64,
    /// Messages that they were in.
    pub pose_messages: u64,
    /// Turns that a viewer missed because its outbox was full.
    pub poses_dropped: u64,
    /// Signals taken.
    pub signals: u64,
    /// Signals refused.
    pub signals_refused: u64,
    /// Signals handed to sessions.
    pub signals_delivered: u64,
    /// Signals that a session missed because its outbox was full.
    pub signals_dropped: u64,
}
