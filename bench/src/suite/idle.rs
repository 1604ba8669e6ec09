//! `idle`: what a session that does nothing takes of the server's memory:
//! authenticated, joined, its copy up to date. Beside it a program that holds
//! as many sockets.

use std::time::Duration;

use anyhow::{Result, ensure};
use avvy_model::Role;
use serde_json::json;

use super::report::round;
use super::room::start;
use super::{Figure, Report, Setup};
use crate::bare::{self, BareProgram, Drain};
use crate::http;
use crate::load::Crowd;
use crate::machine::{self, Memory};

/// How long memory may take to come to rest.
const REST: Duration = Duration::from_secs(3);

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("idle", setup);
    let most = setup.size(10_000, 500);
    let files = machine::raise_file_limit(2 * most as u64 + 1_000);
    ensure!(files > most as u64 + 100, "only {files} files may be open: ulimit -n");
    let (server, brane, owner) = start(setup, "idle", &[])?;
    http::create_brane(server.address(), &owner, brane)?;
    let mut draw = setup.draw();
    let mut crowd = Crowd::new(brane, draw.clone())?;
    // One session opens the brane, which is not a session's memory.
    crowd.join(server.address(), &server.tokens(&mut draw, 1, Role::Builder)?)?;
    crowd.listen(REST)?;
    let empty = machine::memory(server.pid())?;
    let mut steps = Vec::new();
    for sessions in [most / 2, most] {
        let more = sessions + 1 - crowd.len();
        crowd.join(server.address(), &server.tokens(&mut draw, more, Role::Builder)?)?;
        // Long enough for everybody's first ping.
        crowd.listen(REST + Duration::from_secs(if setup.quick { 0 } else { 9 }))?;
        crowd.check_live()?;
        steps.push((sessions, machine::memory(server.pid())?));
    }
    crowd.leave();
    server.stop()?;
    let kib = steps.last().map_or(0.0, |step| per_session(&empty, step));
    let baseline = measure_bare(setup, most)?;
    report.show(Figure::new("memory per session, KiB", kib).at_most(10.9));
    report.show(Figure::new("the same of a bare program, KiB", baseline));
    report.raw("kib_per_session", round(kib));
    report.raw("baseline_kib_per_session", round(baseline));
    report.raw("empty_server_kib", empty.pss_kib);
    let raw = |step: &(usize, Memory)| {
        let (sessions, memory) = step;
        json!({
            "sessions": sessions,
            "pss_kib": memory.pss_kib,
            "private_kib": memory.private_kib,
            "rss_kib": memory.rss_kib,
            "kib_per_session": round(per_session(&empty, step)),
        })
    };
    report.raw("steps", steps.iter().map(raw).collect::<Vec<_>>());
    Ok(report)
}

fn per_session(empty: &Memory, (sessions, memory): &(usize, Memory)) -> f64 {
    (memory.pss_kib as f64 - empty.pss_kib as f64) / *sessions as f64
}

/// KiB of a bare tokio program for each socket that it holds.
fn measure_bare(setup: &Setup, sockets: usize) -> Result<f64> {
    let program = BareProgram::start(bare::Role::Hold, setup.cores.server)?;
    let empty = machine::memory(program.pid())?;
    let mut drain = Drain::connect(program.address(), sockets)?;
    drain.listen(REST)?;
    let full = machine::memory(program.pid())?;
    Ok(per_session(&empty, &(sockets, full)))
}
