//! When a brane's open window of events is closed, and when closed windows
//! are published.
//!
//! An idle brane flushes at once. A busy one collects, because a write to a
//! socket costs about the same whatever is in it: the mean time between two
//! publications is chosen so that fan-out takes a set share of the time. The
//! share falls as a publication grows: a small room's is short, so it may
//! come often and nobody waits; a thousand sessions' would take a core, so it
//! waits for company, up to a set maximum. A few publications may come early,
//! so that edits that are seldom enough in the mean never wait for each other
//! (this is GCRA, the leaky bucket of ITU-T I.371). One publication is under
//! way at a time, so a fan-out that cannot keep up makes windows larger, not
//! queues longer. A window that grows too large, or too old while fan-out is busy,
//! is closed early, so that it can be journaled; it is published in its turn.

/// How windows are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushWindowConfig {
    /// Publishes every edit alone and at once, whatever it costs. Default
    /// false. With it, the cost of fan-out rises with every edit.
    pub flush_every_edit: bool,
    /// The longest from an edit to the end of its fan-out, in milliseconds,
    /// as long as fan-out keeps up. Default 33. Longer windows save writes and
    /// add as much delay.
    pub flush_window_max_ms: u32,
    /// The share of the time that fan-out may take, in percent (1 to 100).
    /// Default 50. A smaller share makes longer windows.
    pub fan_out_budget_percent: u32,
    /// The longest publication, in microseconds, that has the whole share.
    /// Default 2,000. One that takes n times as long has an nth of it, but
    /// never has to wait beyond `flush_window_max_ms`.
    pub fan_out_cheap_us: u32,
    /// Publications that may come at once after a quiet time, whatever their
    /// share. Default 8. 1 keeps the least distance between any two.
    pub burst_windows: u32,
    /// What one delivery is taken to cost at least, in nanoseconds, because
    /// the writes of the sessions' own tasks escape the measurement. Default
    /// 3,000: one system call. 0 goes by the measurement alone.
    pub delivery_cost_ns: u32,
    /// Events after which a window is closed early. Default 4,096.
    pub max_window_events: usize,
    /// Estimated bytes beyond which a window does not grow. Default 1 MiB.
    /// One event that is larger has a window of its own.
    pub max_window_bytes: usize,
}

impl Default for FlushWindowConfig {
    fn default() -> Self {
        Self {
            flush_every_edit: false,
            flush_window_max_ms: 33,
            fan_out_budget_percent: 50,
            fan_out_cheap_us: 2_000,
            burst_windows: 8,
            delivery_cost_ns: 3_000,
            max_window_events: 4_096,
            max_window_bytes: 1024 * 1024,
        }
    }
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing; ask again at this time (microseconds), or, without one, when
    /// something has happened.
    Wait(Option<u64>),
    /// Close the open window for the journal; it is published later.
    Close,
    /// Close the open window, if it holds anything, and publish all that is
    /// closed.
    Publish,
}

/// The machine. All times are microseconds of one monotonic clock.
#[derive(Clone, Debug)]
pub struct FlushWindow {
    config: FlushWindowConfig,
    open: Open,
    /// Closed windows that are not published yet.
    queued: usize,
    last_publish_us: u64,
    /// To so many sessions went the last publication.
    viewers: usize,
    /// When the next publication is due by the mean distance.
    schedule_us: u64,
    /// When the publication that is under way began.
    in_flight_us: Option<u64>,
    cost_us: u64,
}

/// The window that takes events.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    since_us: u64,
    events: usize,
    bytes: usize,
}

impl FlushWindow {
    /// A machine that has seen nothing.
    pub fn new(config: FlushWindowConfig) -> Self {
        Self {
            config,
            open: Open::default(),
            queued: 0,
            last_publish_us: 0,
            viewers: 0,
            schedule_us: 0,
            in_flight_us: None,
            cost_us: 0,
        }
    }

    /// An event of about so many bytes went into the open window.
    pub fn push(&mut self, now_us: u64, bytes: usize) {
        if self.open.events == 0 {
            self.open.since_us = now_us;
        }
        self.open.events += 1;
        self.open.bytes += bytes;
    }

    /// Whether an event of about so many bytes may go into the open window,
    /// which is not to grow beyond its bounds. An empty one takes any.
    pub fn has_room(&self, bytes: usize) -> bool {
        let fits = self.open.bytes.saturating_add(bytes) <= self.config.max_window_bytes;
        self.open.events == 0 || (fits && !self.is_full())
    }

    /// Whether the open window has reached its bounds.
    fn is_full(&self) -> bool {
        let alone = self.config.flush_every_edit && self.open.events > 0;
        alone
            || self.open.events >= self.config.max_window_events
            || self.open.bytes >= self.config.max_window_bytes
    }

    /// What to do now, with so many sessions to deliver to.
    pub fn decide(&self, now_us: u64, viewers: usize) -> Verdict {
        if self.open.events == 0 && self.queued == 0 {
            return Verdict::Wait(None);
        }
        if self.config.flush_every_edit {
            return Verdict::Publish;
        }
        if self.in_flight_us.is_some() {
            return self.while_in_flight(now_us);
        }
        let due = self.due_us(viewers);
        if now_us >= due {
            Verdict::Publish
        } else if self.is_full() {
            Verdict::Close
        } else {
            Verdict::Wait(Some(due))
        }
    }

    /// The open window was closed.
    pub fn closed(&mut self) {
        self.open = Open::default();
        self.queued += 1;
    }

    /// Everything that was closed is on its way to so many sessions.
    pub fn published(&mut self, now_us: u64, viewers: usize) {
        self.queued = 0;
        self.last_publish_us = now_us;
        self.viewers = viewers;
        self.in_flight_us.get_or_insert(now_us);
    }

    /// The fan-out has finished all that was published. When it `paced`
    /// itself, others had their time by now, and the next publication is due.
    pub fn ready(&mut self, now_us: u64, paced: bool) {
        let Some(began_us) = self.in_flight_us.take() else { return };
        self.schedule_us = self.schedule_us.max(began_us);
        if !paced {
            self.measured(now_us.saturating_sub(began_us));
            self.schedule_us += self.interval_us(self.viewers);
        }
    }

    /// Whether a publication is under way.
    pub fn in_flight(&self) -> bool {
        self.in_flight_us.is_some()
    }

    /// The mean time between two publications to so many sessions, in
    /// microseconds.
    pub fn interval_us(&self, viewers: usize) -> u64 {
        let assumed_us = viewers as u64 * u64::from(self.config.delivery_cost_ns) / 1_000;
        let cost_us = self.cost_us.max(assumed_us);
        let percent = u64::from(self.config.fan_out_budget_percent.clamp(1, 100));
        let whole_us = cost_us.saturating_mul(100) / percent;
        let cheap_us = u64::from(self.config.fan_out_cheap_us.max(1));
        let shared_us = whole_us.saturating_mul(cost_us.max(cheap_us)) / cheap_us;
        // What is too much for the maximum leaves three fifths of the time to
        // edits: in a room so large there are many, and a backlog has to go, too.
        let longest_us = self.max_us().saturating_sub(cost_us).max(5 * cost_us / 2);
        shared_us.min(longest_us)
    }

    /// What a publication was measured to take, smoothed, in microseconds.
    pub fn cost_us(&self) -> u64 {
        self.cost_us
    }

    /// Smooths over about eight publications. One that took far longer than
    /// usual, as the process did not run, counts as twice the usual.
    fn measured(&mut self, sample_us: u64) {
        self.cost_us = match self.cost_us {
            0 => sample_us,
            usual_us => (7 * usual_us + sample_us.min(2 * usual_us)).div_ceil(8),
        };
    }

    /// When the next publication may begin.
    fn due_us(&self, viewers: usize) -> u64 {
        let early_us = u64::from(self.config.burst_windows.max(1) - 1) * self.interval_us(viewers);
        // The schedule was made for as many viewers as there were.
        self.schedule_us.saturating_sub(early_us).min(self.last_publish_us + self.max_us())
    }

    fn while_in_flight(&self, now_us: u64) -> Verdict {
        if self.open.events == 0 {
            return Verdict::Wait(None);
        }
        let too_old = self.open.since_us + self.max_us();
        if self.is_full() || now_us >= too_old {
            Verdict::Close
        } else {
            Verdict::Wait(Some(too_old))
        }
    }

    fn max_us(&self) -> u64 {
        u64::from(self.config.flush_window_max_ms) * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> FlushWindow {
        FlushWindow::new(FlushWindowConfig { burst_windows: 1, ..Default::default() })
    }

    fn publish(window: &mut FlushWindow, now_us: u64, takes_us: u64) {
        assert_eq!(window.decide(now_us, 0), Verdict::Publish);
        window.closed();
        window.published(now_us, 0);
        window.ready(now_us + takes_us, false);
    }

    #[test]
    fn idle_publishes_at_once() {
        let mut window = machine();
        assert_eq!(window.decide(5, 1_000), Verdict::Wait(None));
        window.push(10, 80);
        assert_eq!(window.decide(10, 1_000), Verdict::Publish);
        window.closed();
        window.published(10, 1_000);
        window.ready(20, false);
        window.push(1_000_000, 80);
        assert_eq!(window.decide(1_000_000, 1_000), Verdict::Publish);
    }

    #[test]
    fn busy_waits_for_the_interval() {
        let mut window = machine();
        window.push(0, 80);
        publish(&mut window, 0, 800);
        window.push(1_000, 80);
        assert_eq!(window.decide(1_000, 0), Verdict::Wait(Some(1_600)), "800 us are 50 %");
        assert_eq!(window.decide(1_600, 0), Verdict::Publish);
    }

    #[test]
    fn waits_for_a_fan_out_that_paces_itself_and_no_longer() {
        let mut window = machine();
        window.push(0, 80);
        window.closed();
        window.published(0, 1_000);
        window.push(100, 80);
        window.ready(20_000, true);
        assert_eq!(window.decide(20_000, 1_000), Verdict::Publish);
        assert_eq!(window.cost_us, 0, "that it waited is no cost");
    }

    #[test]
    fn a_few_may_come_early() {
        let config = FlushWindowConfig { burst_windows: 3, ..Default::default() };
        let mut window = FlushWindow::new(config);
        let mut waits = Vec::new();
        for now_us in [1_000_000, 1_000_001, 1_000_002, 1_000_003] {
            window.push(now_us, 80);
            waits.push(window.decide(now_us, 200));
            window.closed();
            window.published(now_us, 200);
            window.ready(now_us, false);
        }
        let wait = Verdict::Wait(Some(1_001_200));
        assert_eq!(waits, [Verdict::Publish, Verdict::Publish, Verdict::Publish, wait]);
    }

    #[test]
    fn the_schedule_follows_the_viewers() {
        let mut window = machine();
        window.push(0, 80);
        window.published(0, 1_000_000);
        window.ready(1, false);
        assert_eq!(window.decide(2, 1), Verdict::Wait(Some(33_000)));
    }

    #[test]
    fn one_publication_at_a_time() {
        let mut window = machine();
        window.push(0, 80);
        window.closed();
        window.published(0, 1);
        window.push(100, 80);
        assert_eq!(window.decide(100, 1), Verdict::Wait(Some(33_100)));
        assert_eq!(window.decide(33_100, 1), Verdict::Close, "the journal does not wait");
        window.closed();
        assert_eq!(window.decide(33_100, 1), Verdict::Wait(None));
        window.ready(40_000, false);
        assert_eq!(window.decide(40_000, 1), Verdict::Publish, "what was closed is due");
    }

    #[test]
    fn the_interval_grows_with_viewers_and_has_a_ceiling() {
        let window = machine();
        assert_eq!(window.interval_us(0), 0);
        assert_eq!(window.interval_us(200), 1_200, "600 us, half of the time");
        assert_eq!(window.interval_us(1_000), 9_000, "3 ms, a third of the time");
        assert_eq!(window.interval_us(2_000), 27_000, "6 ms, and 33 ms with them");
        assert_eq!(window.interval_us(10_000), 75_000, "30 ms, two fifths of the time");
    }

    #[test]
    fn a_full_window_is_closed_early() {
        let mut window = machine();
        window.push(0, 80);
        publish(&mut window, 0, 10_000);
        for _ in 0..4_096 {
            assert!(window.has_room(80));
            window.push(10_500, 80);
        }
        assert!(!window.has_room(80), "by its events");
        assert_eq!(window.decide(10_500, 0), Verdict::Close);
        window.closed();
        window.push(10_600, 986_432);
        assert!(window.has_room(62_144));
        assert!(!window.has_room(62_145), "by its bytes");
        window.closed();
        assert!(window.has_room(1_300_000), "one event has a window whatever its size");
        window.push(10_700, 1_300_000);
        assert!(!window.has_room(0));
    }

    #[test]
    fn every_edit_alone() {
        let config = FlushWindowConfig { flush_every_edit: true, ..FlushWindowConfig::default() };
        let mut window = FlushWindow::new(config);
        window.push(0, 80);
        assert!(window.is_full());
        window.closed();
        window.published(0, 1);
        window.push(1, 80);
        assert_eq!(window.decide(1, 1_000), Verdict::Publish, "also while one is in flight");
    }

    #[test]
    fn the_measurement_is_smoothed() {
        let mut window = machine();
        let mut now = 0;
        for takes in [800, 800, 8_000, 800] {
            now += 1_000_000;
            window.push(now, 80);
            publish(&mut window, now, takes);
        }
        assert_eq!(window.cost_us(), 888, "an outlier counts as twice the usual");
    }
}
