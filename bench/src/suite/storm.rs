//! `storm`: 5,000 sessions with copies in one brane, some of which edit; the
//! server is killed and started again on what is on its disk, and all of them
//! come back within a second.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use avvy_model::{BraneId, Role};
use serde_json::json;

use super::report::round;
use super::room::{median, options};
use super::{Figure, Report, Setup};
use crate::http;
use crate::load::{Crowd, Tally, Work};
use crate::machine;
use crate::process::{Server, own_port};

/// The time over which they come back.
const WITHIN: Duration = Duration::from_secs(1);
/// Sessions that edit until the server is killed.
const SENDERS: usize = 20;
/// Their edits a second, together: fewer than the machine can deliver.
const EDITS_PER_S: f64 = 20.0;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("storm", setup);
    let sessions = setup.size(5_000, 300);
    let files = machine::raise_file_limit(2 * sessions as u64 + 1_000);
    ensure!(files > sessions as u64 + 100, "only {files} files may be open: ulimit -n");
    let options = options(setup, "storm", &[]);
    let mut draw = setup.draw();
    let address = own_port(&mut draw)?;
    let mut server = Server::start_at(&options, address)?;
    let owner = server.tokens(&mut draw, 1, Role::Owner)?.pop().unwrap_or_default();
    let brane = BraneId::new(draw.uuid());
    http::create_brane(address, &owner, brane)?;
    let tokens = server.tokens(&mut draw, sessions, Role::Builder)?;
    let mut crowd = Crowd::new(brane, draw.clone())?;
    crowd.join(address, &tokens)?;
    crowd.create_objects(SENDERS)?;
    let work = Work { senders: SENDERS, edits_per_s: EDITS_PER_S };
    let mut rounds: Vec<(f64, Tally)> = Vec::new();
    for _ in 0..setup.rounds {
        crowd.work(&work, setup.time / 2)?;
        server.kill()?;
        let starting = Instant::now();
        server = Server::start_at(&options, address)?;
        let started = starting.elapsed();
        crowd.tally().restart();
        crowd.come_back(address, &tokens, WITHIN)?;
        crowd.check_live()?;
        let tally = crowd.tally().clone();
        rounds.push((started.as_secs_f64() * 1_000.0, tally));
    }
    server.stop()?;
    let p = |percent| {
        median(rounds.iter().map(|(_, tally)| tally.to_live.percentile_ms(percent)).collect())
    };
    report.show(Figure::new("p99 until a session is live, ms", p(99.0)));
    report.show(Figure::new("p50, ms", p(50.0)));
    let worst = rounds.iter().map(|(_, tally)| tally.to_live.percentile_ms(99.0));
    let worst = worst.fold(0.0, f64::max);
    report.show(Figure::new("p99 in the worst round, ms", worst));
    report.raw("p99_to_live_ms", round(p(99.0)));
    report.raw("p50_to_live_ms", round(p(50.0)));
    report.raw("worst_p99_to_live_ms", round(worst));
    report.raw("sessions", sessions);
    let raw = |(start_ms, tally): &(f64, Tally)| {
        json!({
            "start_ms": round(*start_ms),
            "p50_to_live_ms": round(tally.to_live.percentile_ms(50.0)),
            "p99_to_live_ms": round(tally.to_live.percentile_ms(99.0)),
            "max_to_live_ms": f64::from(tally.to_live.max_us()) / 1_000.0,
            "told_later": tally.told_later,
            "replayed_windows": tally.replayed,
        })
    };
    report.raw("rounds", rounds.iter().map(raw).collect::<Vec<_>>());
    Ok(report)
}
