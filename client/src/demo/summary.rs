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
    /// Windows of which two builders saw different contents, and copies that
    /// differ from the server's world at the end.
    pub differing: u64,
    /// Copies whose state hash was compared with the server's at the end.
    pub hashes_compared: u32,
    /// Windows compared with those of a whole copy.
    pub windows_compared: u64,
    /// Seconds of editing.
    pub seconds: f64,
}

impl DemoSummary {
    /// Whether nothing was lost and all copies agree with the server.
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.differing == 0 && self.hashes_compared > 0
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
        writeln!(f, "  resyncs {}, reconnects {}", self.resyncs, self.reconnects)?;
        write!(
            f,
            "  {} state hashes and {} windows compared: {}",
            self.hashes_compared,
            self.windows_compared,
            match self.differing {
                0 => "all agree".to_owned(),
                n => format!("{n} DIFFER"),
            }
        )
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
