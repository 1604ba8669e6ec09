//! `fan-out`: what a delivery costs when nothing is saved: 200 sessions,
//! every edit published alone, beside a program that writes as many bytes to
//! as many sockets as often.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::report::round;
use super::room::{Room, Sample, Watch, median};
use super::{Figure, Report, Setup};
use crate::bare::{BareProgram, Drain, Role};
use crate::load::Work;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("fan-out", setup);
    let sessions = 200;
    let work = Work { senders: 1, edits_per_s: 250.0 };
    let every_edit = [("AVVY_BRANE_FLUSH_EVERY_EDIT", "true")];
    let room = Room::open(setup, "fan-out", &every_edit, sessions, 1)?;
    let compared = compare(setup, room, sessions, &work, &mut report)?;
    let figure = Figure::new("processor time per delivery, us", compared.us_per_delivery);
    report.show(figure.beside(compared.baseline_us_per_delivery).at_most(1.25));
    report.show(Figure::new("p99, ms", compared.p99_ms));
    Ok(report)
}

/// The figures of server and bare program.
pub(super) struct Compared {
    pub(super) us_per_delivery: f64,
    pub(super) baseline_us_per_delivery: f64,
    pub(super) p99_ms: f64,
}

/// Lets the server and the bare program, which writes each edit alone, take
/// turns. The figures are those of the median round by ratio.
pub(super) fn compare(
    setup: &Setup,
    mut room: Room,
    sessions: usize,
    work: &Work,
    report: &mut Report,
) -> Result<Compared> {
    let mut bare = BareProgram::start(Role::Write, setup.cores.server)?;
    let mut drain = Drain::connect(bare.address(), sessions)?;
    let mut rounds = Vec::new();
    for _ in 0..setup.rounds {
        let sample = room.measure(work, setup.warm_up() / 2, setup.time)?;
        room.crowd.settle()?;
        let bytes = frame_bytes(&sample);
        let baseline = measure_bare(&mut bare, &mut drain, bytes, work.edits_per_s, setup)?;
        rounds.push((sample, bytes, baseline));
    }
    report.expect(room.crowd.lost() == 0, "deliveries were lost");
    report.expect(room.crowd.tally().resyncs == 0, "sessions were resynced");
    room.server.stop()?;
    let p99_ms = median(rounds.iter().map(|(s, ..)| s.tally.latency.percentile_ms(99.0)).collect());
    rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let (sample, _, baseline) = &rounds[rounds.len() / 2];
    let compared = Compared {
        us_per_delivery: sample.us_per_delivery(),
        baseline_us_per_delivery: *baseline,
        p99_ms,
    };
    report.raw("us_per_delivery", round(compared.us_per_delivery));
    report.raw("baseline_us_per_delivery", round(compared.baseline_us_per_delivery));
    report.raw("p99_ms", p99_ms);
    report.raw("rounds_by_ratio", rounds.iter().map(raw).collect::<Vec<_>>());
    Ok(compared)
}

type Round = (Sample, usize, f64);

fn ratio((sample, _, baseline): &Round) -> f64 {
    sample.us_per_delivery() / baseline
}

fn raw(round_of: &Round) -> Value {
    let (sample, bytes, baseline) = round_of;
    let mut raw = sample.raw();
    raw["baseline_bytes"] = json!(bytes);
    raw["baseline_us_per_delivery"] = json!(round(*baseline));
    raw["ratio"] = json!(round(ratio(round_of)));
    raw
}

/// Bytes of a frame that carries one move.
fn frame_bytes(sample: &Sample) -> usize {
    let tally = &sample.tally;
    let windows = tally.windows.max(1);
    let per_window = tally.bytes as f64 / windows as f64;
    let moves = tally.deliveries as f64 / windows as f64;
    // Moves are 23 bytes each; with windows on, one alone has the rest, too.
    (per_window - 23.0 * (moves - 1.0)).round().max(23.0) as usize
}

/// The bare program's processor time per write, in microseconds.
fn measure_bare(
    bare: &mut BareProgram,
    drain: &mut Drain,
    bytes: usize,
    per_s: f64,
    setup: &Setup,
) -> Result<f64> {
    bare.write(bytes, per_s)?;
    drain.listen(setup.warm_up() / 2)?;
    let before = drain.bytes;
    let watch = Watch::start(bare.pid())?;
    drain.listen(setup.time)?;
    let (cpu, _) = watch.stop()?;
    let writes = (drain.bytes - before) as f64 / bytes as f64;
    bare.write(bytes, 0.0)?;
    drain.listen(Duration::from_millis(100))?;
    Ok(cpu.as_secs_f64() * 1e6 / writes.max(1.0))
}
