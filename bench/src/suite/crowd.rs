//! `crowd`: what windows save: 1,000 sessions, 200 edits a second in all,
//! beside a program that writes each edit alone.

use anyhow::Result;

use super::fan_out::compare;
use super::room::Room;
use super::{Figure, Report, Setup};
use crate::load::Work;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("crowd", setup);
    let sessions = setup.size(1_000, 300);
    let work = Work { senders: sessions, edits_per_s: 200.0 };
    let room = Room::open(setup, "crowd", &[], sessions, sessions)?;
    let compared = compare(setup, room, sessions, &work, &mut report)?;
    let figure = Figure::new("processor time per delivery, us", compared.us_per_delivery);
    report.show(figure.beside(compared.baseline_us_per_delivery).at_most(0.40));
    report.show(Figure::new("p99, ms", compared.p99_ms).at_most(40.0));
    Ok(report)
}
