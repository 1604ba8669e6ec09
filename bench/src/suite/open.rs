//! `open`: a cold start of the server on a brane of a million objects: from
//! the first join until it is answered, the state's hash verified.

use anyhow::{Context, Result};
use avvy_model::{ClientId, Role};
use serde_json::json;

use super::report::round;
use super::room::{median, options};
use super::{Figure, Report, Setup};
use crate::large;
use crate::load::visitor::Visitor;
use crate::machine;
use crate::process::Server;

/// Bytes of properties of each object.
const PROPS_BYTES: usize = 200;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("open", setup);
    let options = options(setup, "open", &[]);
    let large = large::write(&options.data, setup.size(1_000_000, 20_000) as u32, PROPS_BYTES)?;
    let mut draw = setup.draw();
    let (mut rounds, mut all_ok) = (Vec::new(), true);
    for _ in 0..setup.rounds {
        let server = Server::start(&options)?;
        let empty = machine::memory(server.pid())?;
        let token = server.tokens(&mut draw, 1, Role::Builder)?.pop().context("one token")?;
        let mut visitor = Visitor::connect(server.address(), &token)?;
        let took = visitor.join(large.brane, ClientId::new(draw.uuid()), None)?;
        // The server has compared the hash of what it read with the stored
        // one; this is the same again, from outside.
        all_ok &= visitor.hash()? == large.hash;
        let memory = machine::memory(server.pid())?;
        rounds.push((took.as_secs_f64(), memory.rss_kib, empty.rss_kib));
        server.kill()?;
    }
    let seconds = median(rounds.iter().map(|round| round.0).collect());
    let rss_mib = median(rounds.iter().map(|round| round.1 as f64 / 1_024.0).collect());
    let bytes = |(_, full, empty): &(f64, u64, u64)| full.saturating_sub(*empty) as f64 * 1_024.0;
    let each = median(rounds.iter().map(bytes).collect()) / f64::from(large.objects);
    report.expect(all_ok, "the state is not the one that was written");
    report.show(Figure::new("from the join to its answer, s", seconds).at_most(2.0));
    report.show(Figure::new("memory of the server, MiB", rss_mib));
    report.show(Figure::new("memory per object, bytes", each));
    report.raw("seconds", round(seconds));
    report.raw("objects", large.objects);
    report.raw("props_bytes", PROPS_BYTES);
    report.raw("state_hash_ok", all_ok);
    report.raw("rss_mib", round(rss_mib));
    report.raw("bytes_per_object", round(each));
    let raw = |(seconds, full, empty): &(f64, u64, u64)| json!({ "seconds": round(*seconds), "rss_kib": full, "empty_server_kib": empty });
    report.raw("rounds", rounds.iter().map(raw).collect::<Vec<_>>());
    Ok(report)
}
