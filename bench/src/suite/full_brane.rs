//! `full-brane`: 1,000 sessions with ten edits a second each on objects of
//! their own, all seeing all, every edit journaled; `twice-full`: 2,000.

use anyhow::Result;

use super::report::round;
use super::room::Room;
use super::{Figure, Report, Setup};
use crate::load::Work;

/// How full.
pub(super) struct Size {
    name: &'static str,
    sessions: usize,
    p99_ms: f64,
    core_share: Option<f64>,
}

/// A full brane.
pub(super) const FULL: Size =
    Size { name: "full-brane", sessions: 1_000, p99_ms: 40.0, core_share: Some(0.50) };

/// Twice as many sessions, so four times as many deliveries.
pub(super) const TWICE: Size =
    Size { name: "twice-full", sessions: 2_000, p99_ms: 100.0, core_share: None };

/// Takes the figures.
pub(super) fn run(setup: &Setup, size: Size) -> Result<Report> {
    let mut report = Report::new(size.name, setup);
    let sessions = setup.size(size.sessions, 200);
    let work = Work { senders: sessions, edits_per_s: 10.0 * sessions as f64 };
    let mut room = Room::open(setup, size.name, &[], sessions, sessions)?;
    let sample = room.measure(&work, 2 * setup.warm_up(), setup.time * setup.rounds as u32)?;
    room.crowd.settle()?;
    let (lost, tally) = (room.crowd.lost(), room.crowd.tally().clone());
    room.server.stop()?;
    report.expect(lost == 0, "deliveries or edits were lost");
    report.expect(tally.resyncs == 0, "sessions were resynced");
    report.expect(tally.refused == 0, "edits were refused");
    report.expect(tally.all_sent == tally.all_durable, "not every edit became durable");
    let p99_ms = sample.tally.latency.percentile_ms(99.0);
    report.show(Figure::new("p99, ms", p99_ms).at_most(size.p99_ms));
    report.show(Figure::new("p50, ms", sample.tally.latency.percentile_ms(50.0)));
    let share = Figure::new("share of the server's core", sample.core_share());
    report.show(match size.core_share {
        Some(goal) => share.at_most(goal),
        None => share,
    });
    report.show(Figure::new("deliveries, millions/s", sample.deliveries_per_s() / 1e6));
    report.show(Figure::new("lost", lost as f64).at_most(0.0));
    report.show(Figure::new("resyncs", tally.resyncs as f64).at_most(0.0));
    report.raw("p99_ms", p99_ms);
    report.raw("core_share", round(sample.core_share()));
    report.raw("sessions", sessions);
    report.raw("deliveries_per_s", sample.deliveries_per_s().round());
    report.raw("lost", lost);
    // Everybody sees everything here.
    report.raw("cell_crossings_per_s", 0);
    report.raw("resyncs", tally.resyncs);
    // From the first to the last, the making of objects and the warm-up
    // included: equal when every one became durable.
    report.raw("edits", tally.all_sent);
    report.raw("durable_edits", tally.all_durable);
    report.raw("sample", sample.raw());
    Ok(report)
}
