//! `small-room`: the delay in a room that is not busy: 200 sessions, each
//! with one edit a second.

use anyhow::Result;

use super::room::{Room, median};
use super::{Figure, Report, Setup};
use crate::load::Work;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("small-room", setup);
    let work = Work { senders: 200, edits_per_s: 200.0 };
    let mut room = Room::open(setup, "small-room", &[], 200, 200)?;
    let mut samples = Vec::new();
    for _ in 0..setup.rounds {
        samples.push(room.measure(&work, setup.warm_up() / 2, setup.time)?);
    }
    room.crowd.settle()?;
    report.expect(room.crowd.lost() == 0, "deliveries were lost");
    report.expect(room.crowd.tally().resyncs == 0, "sessions were resynced");
    room.server.stop()?;
    let p =
        |percent| median(samples.iter().map(|s| s.tally.latency.percentile_ms(percent)).collect());
    report.show(Figure::new("p99, ms", p(99.0)).at_most(5.0));
    report.show(Figure::new("p50, ms", p(50.0)));
    report.raw("p99_ms", p(99.0));
    report.raw("p50_ms", p(50.0));
    report.raw("rounds", samples.iter().map(super::room::Sample::raw).collect::<Vec<_>>());
    Ok(report)
}
