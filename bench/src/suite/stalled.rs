//! `stalled`: 100 sessions in one brane, of which one stops reading: what the
//! others notice of it.

use anyhow::Result;
use avvy_model::Role;

use super::report::round;
use super::room::{Room, Sample, in_turns};
use super::{Figure, Report, Setup};
use crate::load::Work;

/// Everybody's edits, so many that the one who does not read is behind at once.
const EDITS_PER_S: f64 = 4_000.0;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("stalled", setup);
    let work = Work { senders: 99, edits_per_s: EDITS_PER_S };
    let mut room = Room::open(setup, "stalled", &[], 99, 99)?;
    let tokens = room.server.tokens(&mut setup.draw(), setup.rounds, Role::Builder)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for token in tokens {
        without.push(room.measure(&work, setup.warm_up(), setup.time)?);
        room.crowd.join(room.server.address(), std::slice::from_ref(&token))?;
        room.crowd.stall_last()?;
        // Until its buffers are full and it is served less.
        with.push(room.measure(&work, 2 * setup.warm_up(), setup.time)?);
        room.crowd.drop_last();
    }
    room.crowd.settle()?;
    report.expect(room.crowd.lost() == 0, "deliveries to the others were lost");
    report.expect(room.crowd.tally().resyncs == 0, "others were resynced");
    room.server.stop()?;
    let ([before, after], ratios) = in_turns(&without, &with);
    report.show(Figure::new("p99 with one stalled, ms", after).beside(before).at_most(1.5));
    report.raw("p99_ms_without", before);
    report.raw("p99_ms_with", after);
    report.raw("ratio", round(after / before));
    report.raw("ratios", ratios.into_iter().map(round).collect::<Vec<_>>());
    report.raw("rounds_without", without.iter().map(Sample::raw).collect::<Vec<_>>());
    report.raw("rounds_with", with.iter().map(Sample::raw).collect::<Vec<_>>());
    Ok(report)
}
