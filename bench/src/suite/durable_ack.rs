//! `durable-ack`: the small room's load; from sending an edit to being told
//! that it is durable, beside a bare append and `fdatasync` of as many bytes
//! as often, on the same file system.

use anyhow::Result;
use serde_json::json;

use super::room::{Room, median};
use super::{Figure, Report, Setup};
use crate::bare;
use crate::load::Work;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("durable-ack", setup);
    let work = Work { senders: 200, edits_per_s: 200.0 };
    let mut room = Room::open(setup, "durable-ack", &[], 200, 200)?;
    let file = setup.scratch.join("durable-ack.append");
    let (mut samples, mut appends) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..setup.rounds {
        let before = room.journal_bytes()?;
        samples.push(room.measure(&work, setup.warm_up() / 2, setup.time)?);
        room.crowd.settle()?;
        let edits = work.edits_per_s * (setup.warm_up() / 2 + setup.time).as_secs_f64();
        bytes = ((room.journal_bytes()? - before) / edits).round() as usize;
        let core = setup.cores.server;
        appends.push(bare::append(&file, bytes, work.edits_per_s, setup.time, core)?);
    }
    std::fs::remove_file(&file)?;
    report.expect(room.crowd.lost() == 0, "edits were lost");
    room.server.stop()?;
    let own =
        |percent| median(samples.iter().map(|s| s.tally.durable.percentile_ms(percent)).collect());
    let bare = |percent| median(appends.iter().map(|a| a.percentile_ms(percent)).collect());
    report.show(Figure::new("p99 until durable, ms", own(99.0)).beside(bare(99.0)).at_most(3.0));
    report.show(Figure::new("p50 until durable, ms", own(50.0)).beside(bare(50.0)));
    report.raw("p50_ms", own(50.0));
    report.raw("p99_ms", own(99.0));
    report.raw("baseline_p50_ms", bare(50.0));
    report.raw("baseline_p99_ms", bare(99.0));
    report.raw("journal_bytes_per_edit", bytes);
    let rounds = samples.iter().zip(&appends).map(|(sample, append)| {
        let mut raw = sample.raw();
        raw["baseline_p50_ms"] = json!(append.percentile_ms(50.0));
        raw["baseline_p99_ms"] = json!(append.percentile_ms(99.0));
        raw
    });
    report.raw("rounds", rounds.collect::<Vec<_>>());
    Ok(report)
}
