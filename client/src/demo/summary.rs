//! What a demo shows while it runs and says at its end.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::shared::Shared;

/// The end of a demo.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DemoSummary {
    /// Builders.
    pub users: u32,
    /// Edits submitted.
    pub edits: u64,
    /// Edits that the server confirmed as durable.
    pub durable: u64,
    /// Edits that it refused.
    pub refused: u64,
    /// Edits shown: one for each edit and each builder that saw it.
    pub deliveries: u64,
    /// Edits without a last word in time, edits whose outcome the server
    /// did not know, and gaps in what a builder was shown.
    pub lost: u64,
    /// Half of the deliveries took at most this long from sending to
    /// receiving, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 did.
    pub p99_ms: f64,
    /// Copies that had to be replaced or mended.
    pub resyncs: u64,
    /// Connections that were cut and made again.
    pub reconnects: u64,
    /// How often a builder was served less because it did not keep up.
    pub slowed: u64,
    /// Windows of which two builders saw different contents, and copies that
    /// differ from the server's world at the end.
    pub differing: u64,
    /// Copies whose state hash was compared with the server's at the end.
    pub hashes_compared: u32,
    /// Windows compared with those of a whole copy.
    pub windows_compared: u64,
    /// Seconds of editing.
    pub seconds: f64,
    /// What those saw who walked, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walks: Option<WalkSummary>,
}

/// What the walkers of a demo saw; without the steps and windows of their
/// joining.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WalkSummary {
    /// Builders who walked and saw an area only.
    pub walkers: u32,
    /// How often a view became another one.
    pub steps: u64,
    /// Objects under the root that came into view by moving.
    pub entered: u64,
    /// Objects under the root that went out of view so.
    pub left: u64,
    /// Windows shown.
    pub windows: u64,
    /// Objects in a view, the median.
    pub objects_in_view: usize,
    /// Cells of a view that hold something, the median.
    pub cells_in_view: usize,
    /// How often a walker's copy was compared with what its view shows of a
    /// whole copy at the same position.
    pub compared: u64,
    /// How often it was something else.
    pub differing: u64,
    /// Walkers whose copy was not compared at the end.
    pub unchecked: u32,
    /// What one of them saw at the end, from above: objects in each cell; its
    /// own in brackets.
    pub map: Vec<String>,
}

impl WalkSummary {
    fn is_good(&self) -> bool {
        self.differing == 0 && self.unchecked == 0
    }

    fn show(&self, seconds: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { walkers, steps, entered, left, .. } = self;
        let rate = self.windows as f64 / seconds.max(0.001) / f64::from(*walkers);
        writeln!(f)?;
        writeln!(
            f,
            "  {walkers} of them walked: {steps} steps to another view, {entered} objects came \
             and {left} went by themselves"
        )?;
        writeln!(
            f,
            "  in view     {} objects in {} cells (median), {rate:.0} windows a second",
            self.objects_in_view, self.cells_in_view
        )?;
        write!(f, "  {} times what a view shows was compared: ", self.compared)?;
        match (self.differing, self.unchecked) {
            (0, 0) => write!(f, "all agree")?,
            (0, n) => write!(f, "{n} walkers WERE NOT COMPARED at the end")?,
            (n, _) => write!(f, "{n} DIFFER")?,
        }
        if !self.map.is_empty() {
            write!(f, "\n  what one sees from above, objects in each cell, its own in brackets:")?;
        }
        self.map.iter().try_for_each(|row| write!(f, "\n  {row}"))
    }
}

impl DemoSummary {
    /// Whether nothing was lost and all copies agree with the server.
    pub fn is_good(&self) -> bool {
        let have_walked = self.walks.as_ref().is_none_or(WalkSummary::is_good);
        self.lost == 0 && self.differing == 0 && self.hashes_compared > 0 && have_walked
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        // Numbers and names only: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for DemoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_second = |n: u64| n as f64 / self.seconds.max(0.001);
        writeln!(f, "{} builders edited for {:.0} s", self.users, self.seconds)?;
        writeln!(
            f,
            "  edits       {:>12}  ({} durable, {} refused, {} lost)",
            self.edits, self.durable, self.refused, self.lost
        )?;
        let rate = per_second(self.deliveries);
        writeln!(f, "  deliveries  {:>12}  ({rate:.0} a second)", self.deliveries)?;
        writeln!(f, "  latency     p50 {:.1} ms, p99 {:.1} ms", self.p50_ms, self.p99_ms)?;
        writeln!(
            f,
            "  resyncs {}, reconnects {}, served less {} times",
            self.resyncs, self.reconnects, self.slowed
        )?;
        write!(
            f,
            "  {} state hashes and {} windows compared: {}",
            self.hashes_compared,
            self.windows_compared,
            match self.differing {
                0 => "all agree".to_owned(),
                n => format!("{n} DIFFER"),
            }
        )?;
        self.walks.as_ref().map_or(Ok(()), |walks| walks.show(self.seconds, f))
    }
}

/// What is shown while a demo runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Live {
    /// Nothing.
    Off,
    /// A line on standard error every second: one that stays in place on a
    /// terminal, one after the other elsewhere.
    #[default]
    Line,
}

/// The live line.
pub(super) struct StatusLine {
    live: Live,
    terminal: bool,
    seconds: Interval,
    edits: u64,
    deliveries: u64,
}

impl StatusLine {
    pub(super) fn new(live: Live) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { live, terminal, seconds, edits: 0, deliveries: 0 }
    }

    /// Waits for the next second.
    pub(super) async fn tick(&mut self) {
        self.seconds.tick().await;
    }

    /// Shows a second's work.
    pub(super) fn show(&mut self, users: u32, what: &str, shared: &Shared) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (edits, deliveries) = (read(&shared.counters.edits), read(&shared.counters.deliveries));
        let recent = shared.recent_percentiles();
        let line = format!(
            "{what:<9} users {users}  edits/s {}  deliveries/s {}  p50 {:.1} ms  p99 {:.1} ms  \
             resyncs {}",
            edits - self.edits,
            deliveries - self.deliveries,
            recent.p50_ms,
            recent.p99_ms,
            read(&shared.counters.resyncs),
        );
        (self.edits, self.deliveries) = (edits, deliveries);
        self.print(&line);
    }

    /// Leaves the last line as it is.
    pub(super) fn end(&self) {
        if self.live == Live::Line && self.terminal {
            let _ = writeln!(std::io::stderr());
        }
    }

    fn print(&self, line: &str) {
        let mut out = std::io::stderr().lock();
        // A status line that cannot be shown is no reason to stop.
        let _ = match (self.live, self.terminal) {
            (Live::Off, _) => Ok(()),
            (Live::Line, true) => write!(out, "\r\x1b[2K{line}").and_then(|()| out.flush()),
            (Live::Line, false) => writeln!(out, "{line}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use avvy_protocol::LevelReason;

    use super::*;

    #[test]
    fn who_was_served_less_is_counted_and_said() {
        let shared = Shared::new();
        for reason in [LevelReason::Bytes, LevelReason::Recovered, LevelReason::Age] {
            shared.counters.level(reason);
        }
        let slowed = shared.counters.slowed.load(Ordering::Relaxed);
        assert_eq!(slowed, 2, "who recovers is served more");
        let summary = DemoSummary { slowed, ..DemoSummary::default() };
        assert!(summary.to_string().contains("served less 2 times"), "{summary}");
    }
}
