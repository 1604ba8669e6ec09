//! `bytes`: what a move takes on the wire in a busy room: everything that the
//! sessions' sockets read, acknowledgements and frame headers included, over
//! the moves that were delivered. Moves set position and rotation.

use anyhow::Result;

use super::report::round;
use super::room::Room;
use super::{Figure, Report, Setup};
use crate::load::Work;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("bytes", setup);
    let sessions = setup.size(1_000, 200);
    let work = Work { senders: sessions, edits_per_s: 10.0 * sessions as f64 };
    let mut room = Room::open(setup, "bytes", &[], sessions, sessions)?;
    let sample = room.measure(&work, setup.warm_up(), setup.time)?;
    room.crowd.settle()?;
    report.expect(room.crowd.lost() == 0, "deliveries were lost");
    room.server.stop()?;
    let bytes = sample.tally.bytes as f64 / sample.tally.deliveries.max(1) as f64;
    report.show(Figure::new("bytes per delivered move", bytes).at_most(24.0));
    report.raw("bytes_per_move", round(bytes));
    report.raw("sample", sample.raw());
    Ok(report)
}
