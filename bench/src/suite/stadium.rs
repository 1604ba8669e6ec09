//! `stadium`: 5,000 sessions in one brane, five edits a second each, walking
//! across cells, each seeing about its 200 nearest.

use anyhow::Result;
use avvy_model::Role;

use super::report::round;
use super::room::{Room, start};
use super::{Figure, Report, Setup};
use crate::http;
use crate::load::{Crowd, Walk, Work};

/// Metres a side for 5,000 people, so that 200 of them are in the nine cells
/// around each.
const SIDE_M: f64 = 240.0;
const PEOPLE: usize = 5_000;
/// With cells of 16 m a view of the nine around the own one.
const RADIUS_M: f64 = 8.0;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("stadium", setup);
    let sessions = setup.size(PEOPLE, 200);
    let work = Work { senders: sessions, edits_per_s: 5.0 * sessions as f64 };
    let mut room = open(setup, sessions)?;
    let sample = room.measure(&work, 2 * setup.warm_up(), setup.time * setup.rounds as u32)?;
    room.crowd.settle()?;
    let (lost, tally) = (room.crowd.lost(), room.crowd.tally().clone());
    room.server.stop()?;
    report.expect(lost == 0, "deliveries or edits were lost");
    report.expect(tally.resyncs == 0, "sessions were resynced");
    report.expect(tally.refused == 0, "edits were refused");
    report.expect(tally.all_sent == tally.all_durable, "not every edit became durable");
    let seconds = sample.wall.as_secs_f64();
    let p99_ms = sample.tally.latency.percentile_ms(99.0);
    let crossings = sample.tally.crossings as f64 / seconds;
    let seen = sample.tally.deliveries as f64 / sample.tally.sent.max(1) as f64;
    report.show(Figure::new("p99, ms", p99_ms).at_most(100.0));
    report.show(Figure::new("p50, ms", sample.tally.latency.percentile_ms(50.0)));
    report.show(Figure::new("share of the server's core", sample.core_share()));
    report.show(Figure::new("deliveries, millions/s", sample.deliveries_per_s() / 1e6));
    report.show(Figure::new("sessions that see a move", seen));
    report.show(Figure::new("cell crossings/s", crossings));
    report.show(Figure::new("lost", lost as f64).at_most(0.0));
    report.raw("p99_ms", p99_ms);
    report.raw("core_share", round(sample.core_share()));
    report.raw("sessions", sessions);
    report.raw("deliveries_per_s", sample.deliveries_per_s().round());
    report.raw("seen_by", round(seen));
    report.raw("lost", lost);
    report.raw("resyncs", tally.resyncs);
    report.raw("cell_crossings_per_s", round(crossings));
    report.raw("steps_per_s", round(sample.tally.steps as f64 / seconds));
    report.raw("edits", tally.all_sent);
    report.raw("durable_edits", tally.all_durable);
    report.raw("sample", sample.raw());
    Ok(report)
}

/// A server with everybody on the field.
fn open(setup: &Setup, sessions: usize) -> Result<Room> {
    let (server, brane, owner) = start(setup, "stadium", &[])?;
    let mut draw = setup.draw();
    http::create_brane(server.address(), &owner, brane)?;
    let mut crowd = Crowd::new(brane, draw.clone())?;
    let side_m = SIDE_M * (sessions as f64 / PEOPLE as f64).sqrt();
    crowd.walk(Walk::new(&mut draw, sessions, side_m, RADIUS_M));
    let tokens = server.tokens(&mut draw, sessions, Role::Builder)?;
    crowd.join(server.address(), &tokens)?;
    crowd.create_objects(sessions)?;
    Ok(Room { server, crowd })
}
