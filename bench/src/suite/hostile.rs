//! `hostile`: what clients that mean no good cost those who mean well: the
//! delay of the small room without them and with them, in turns.

use anyhow::Result;
use serde_json::json;

use super::report::round;
use super::room::{Room, Sample, in_turns, median};
use super::{Figure, Report, Setup};
use crate::hostile::Attackers;
use crate::load::Work;

/// The limits of an address as they come; the load's own are within them.
const LIMITS: [(&str, &str); 5] = [
    ("AVVY_LIMITS_REQUESTS_PER_SECOND", "500"),
    ("AVVY_LIMITS_REQUESTS_BURST", "4096"),
    ("AVVY_LIMITS_CONNECTIONS_PER_SECOND", "200"),
    ("AVVY_LIMITS_CONNECTIONS_BURST", "2000"),
    ("AVVY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "2000"),
];

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("hostile", setup);
    let work = Work { senders: 200, edits_per_s: 200.0 };
    let mut room = Room::open(setup, "hostile", &LIMITS, 200, 200)?;
    let token = room.server.tokens(&mut setup.draw(), 1, avvy_model::Role::Builder)?.remove(0);
    let brane = room.crowd.brane();
    let (mut without, mut with, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setup.rounds {
        without.push(room.measure(&work, setup.warm_up() / 2, setup.time)?);
        let attackers = Attackers::start(room.server.address(), brane, &token)?;
        with.push(room.measure(&work, setup.warm_up(), setup.time)?);
        counts.push(attackers.counts());
        drop(attackers);
        // What they left behind is not the next round's.
        room.crowd.work(&work, setup.warm_up())?;
    }
    room.crowd.settle()?;
    report.expect(room.crowd.lost() == 0, "deliveries were lost");
    report.expect(room.crowd.tally().resyncs == 0, "sessions were resynced");
    for (name, count) in counts.iter().flatten() {
        let may_stay = matches!(*name, "slow" | "deaf");
        report.expect(may_stay || *count > 0, &format!("nobody tried {name}"));
    }
    room.server.stop()?;
    let ([before, after], ratios) = in_turns(&without, &with);
    let share = |samples: &[Sample]| median(samples.iter().map(Sample::core_share).collect());
    report.show(Figure::new("p99 with attackers, ms", after).beside(before).at_most(1.5));
    report.show(Figure::new("share of the core", share(&with)).beside(share(&without)));
    report.raw("p99_ms_without", before);
    report.raw("p99_ms_with", after);
    report.raw("ratio", round(after / before));
    report.raw("ratios", ratios.into_iter().map(round).collect::<Vec<_>>());
    report.raw("core_share_without", round(share(&without)));
    report.raw("core_share_with", round(share(&with)));
    let each = |counts: Vec<(&str, u64)>| {
        counts.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect()
    };
    report.raw("attacks", counts.into_iter().map(each).collect::<Vec<serde_json::Value>>());
    report.raw("rounds_without", without.iter().map(Sample::raw).collect::<Vec<_>>());
    report.raw("rounds_with", with.iter().map(Sample::raw).collect::<Vec<_>>());
    Ok(report)
}
