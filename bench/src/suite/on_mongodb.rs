//! `mongodb`: the small room, the durable acknowledgement and the full brane
//! with the store on MongoDB, beside SQLite in the same run. The database is a
//! replica set of one, on the core of the load.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use avvy_persistence::testing::mongod::{self, MongoSet, Writes};
use serde_json::{Value, json};

use super::report::round;
use super::room::{Room, Sample, median};
use super::{Figure, Report, Setup};
use crate::histogram::Histogram;
use crate::load::Work;
use crate::{http, machine};

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("mongodb", setup);
    let set = MongoSet::start(1);
    small_room(setup, &set, &mut report)?;
    full_brane(setup, &set, &mut report)?;
    Ok(report)
}

/// The crowds are not driven while it is not their turn.
const PATIENCE: (&str, &str) = ("AVVY_SESSION_HEARTBEAT_MS", "120000");

/// A crowd at a server that keeps its branes in a database of its own.
fn on_mongodb(setup: &Setup, set: &MongoSet, name: &str, sessions: usize) -> Result<Room> {
    let (uri, database) = (set.uri(), mongod::fresh_database());
    let settings = [
        ("AVVY_STORE_KIND", "mongodb"),
        ("AVVY_STORE_URI", uri.as_str()),
        ("AVVY_STORE_DATABASE", database.as_str()),
        PATIENCE,
    ];
    Room::open(setup, &format!("{name}-mongodb"), &settings, sessions, sessions)
}

fn small_room(setup: &Setup, set: &MongoSet, report: &mut Report) -> Result<()> {
    let work = Work { senders: 200, edits_per_s: 200.0 };
    let mut rooms = [
        on_mongodb(setup, set, "small-room", 200)?,
        Room::open(setup, "small-room", &[PATIENCE], 200, 200)?,
    ];
    let mut samples = [Vec::new(), Vec::new()];
    let [mut idle, mut busy] = [Vec::new(), Vec::new()];
    for _ in 0..setup.rounds {
        let before = chunk_bytes(&rooms[0])?;
        for (room, samples) in rooms.iter_mut().zip(&mut samples) {
            samples.push(room.measure(&work, setup.warm_up() / 2, setup.time)?);
            room.crowd.settle()?;
        }
        let edits = work.edits_per_s * (setup.warm_up() / 2 + setup.time).as_secs_f64();
        let bytes = ((chunk_bytes(&rooms[0])? - before) / edits).round() as usize;
        let inserting = || insert(set, bytes, work.edits_per_s, setup.time, setup.cores.server);
        idle.push(inserting()?.took()?);
        // The same load, of which the database has no part.
        let sqlite = &mut rooms[1];
        sqlite.crowd.work(&work, setup.warm_up() / 2)?;
        let inserts = inserting()?;
        sqlite.crowd.work(&work, setup.time)?;
        busy.push(inserts.took()?);
        sqlite.crowd.settle()?;
    }
    for room in rooms {
        report.expect(room.crowd.lost() == 0, "deliveries or edits were lost");
        room.server.stop()?;
    }
    let p = |samples: &[Sample], of: fn(&Sample) -> &Histogram, percent| {
        median(samples.iter().map(|sample| of(sample).percentile_ms(percent)).collect())
    };
    let bare = |inserts: &[Histogram], percent| {
        median(inserts.iter().map(|inserts| inserts.percentile_ms(percent)).collect())
    };
    let [mongodb, sqlite] = &samples;
    for (percent, goal) in [(99.0, Some([1.2, 3.0])), (50.0, None)] {
        let delay = p(mongodb, |s| &s.tally.latency, percent);
        let beside = p(sqlite, |s| &s.tally.latency, percent);
        let figure = Figure::new(&format!("small room, p{percent}, ms"), delay).beside(beside);
        report.show(goal.map_or(figure.clone(), |[goal, _]| figure.at_most(goal)));
        report.raw(&format!("small_room_p{percent}_ms"), delay);
        report.raw(&format!("small_room_p{percent}_ms_sqlite"), beside);
        let durable = p(mongodb, |s| &s.tally.durable, percent);
        let on_sqlite = p(sqlite, |s| &s.tally.durable, percent);
        let (idle, busy) = (bare(&idle, percent), bare(&busy, percent));
        let name = format!("until durable, p{percent}, ms, beside bare inserts");
        let figure = Figure::new(&name, durable).beside(busy);
        report.show(goal.map_or(figure.clone(), |[_, goal]| figure.at_most(goal)));
        let name = format!("until durable, p{percent}, ms, beside bare inserts with no load");
        report.show(Figure::new(&name, durable).beside(idle));
        let name = format!("until durable, p{percent}, ms, beside SQLite");
        report.show(Figure::new(&name, durable).beside(on_sqlite));
        report.raw(&format!("durable_p{percent}_ms"), durable);
        report.raw(&format!("durable_p{percent}_ms_bare_insert"), busy);
        report.raw(&format!("durable_p{percent}_ms_bare_insert_no_load"), idle);
        report.raw(&format!("durable_p{percent}_ms_sqlite"), on_sqlite);
    }
    report.raw("small_room_rounds", rounds(mongodb));
    report.raw("small_room_rounds_sqlite", rounds(sqlite));
    Ok(())
}

fn full_brane(setup: &Setup, set: &MongoSet, report: &mut Report) -> Result<()> {
    let sessions = setup.size(1_000, 200);
    let work = Work { senders: sessions, edits_per_s: 10.0 * sessions as f64 };
    let time = setup.time * setup.rounds as u32;
    let mut room = on_mongodb(setup, set, "full-brane", sessions)?;
    room.crowd.work(&work, setup.warm_up())?;
    let before = set.writes();
    let sample = room.measure(&work, Duration::ZERO, time)?;
    let after = set.writes();
    close(room, report)?;
    let mut room = Room::open(setup, "full-brane", &[], sessions, sessions)?;
    let sqlite = room.measure(&work, setup.warm_up(), time)?;
    close(room, report)?;
    let p99_ms = |sample: &Sample| sample.tally.latency.percentile_ms(99.0);
    report.show(Figure::new("full brane, p99, ms", p99_ms(&sample)).beside(p99_ms(&sqlite)));
    let share = Figure::new("full brane, share of the core", sample.core_share());
    report.show(share.beside(sqlite.core_share()));
    let (seconds, edits) = (sample.wall.as_secs_f64(), sample.tally.sent as f64);
    let Writes { operations, documents, bytes } = after - before;
    let operations = operations as f64 / seconds;
    report.show(Figure::new("writing operations a second", operations).at_most(100.0));
    let per = |count: u64| count as f64 * 1_000.0 / edits;
    report.show(Figure::new("documents written per 1,000 edits", per(documents)));
    report.show(Figure::new("bytes logged per 1,000 edits", per(bytes)));
    report.raw("full_brane_p99_ms", p99_ms(&sample));
    report.raw("full_brane_p99_ms_sqlite", p99_ms(&sqlite));
    report.raw("full_brane_core_share", round(sample.core_share()));
    report.raw("full_brane_core_share_sqlite", round(sqlite.core_share()));
    report.raw("write_operations_per_s", round(operations));
    report.raw("documents_per_1000_edits", round(per(documents)));
    report.raw("bytes_per_1000_edits", round(per(bytes)));
    report.raw("full_brane_sample", sample.raw());
    report.raw("full_brane_sample_sqlite", sqlite.raw());
    Ok(())
}

fn close(mut room: Room, report: &mut Report) -> Result<()> {
    room.crowd.settle()?;
    report.expect(room.crowd.lost() == 0, "deliveries or edits were lost");
    let tally = room.crowd.tally();
    report.expect(tally.all_sent == tally.all_durable, "not every edit became durable");
    room.server.stop()
}

/// Inserts under way.
struct Inserts(JoinHandle<Vec<Duration>>);

impl Inserts {
    /// How long each took.
    fn took(self) -> Result<Histogram> {
        let took = self.0.join().map_err(|_| anyhow::anyhow!("an insert failed"))?;
        let mut latency = Histogram::default();
        took.iter().for_each(|took| latency.record(took.as_micros() as u32));
        Ok(latency)
    }
}

/// Inserts of so many bytes, each acknowledged by a majority, so often for so
/// long: the least that a durable acknowledgement can wait for.
fn insert(
    set: &MongoSet,
    bytes: usize,
    per_s: f64,
    time: Duration,
    core: usize,
) -> Result<Inserts> {
    let uri = set.uri();
    let work = move || mongod::insert(&uri, bytes, per_s, time);
    Ok(machine::on_core(core, || Ok(Inserts(std::thread::spawn(work))))?)
}

/// Bytes of journal that the server has stored so far.
fn chunk_bytes(room: &Room) -> Result<f64> {
    let name = "avvy_journal_bytes_total";
    http::metric(room.server.address(), name)?.with_context(|| format!("/metrics has no {name}"))
}

fn rounds(samples: &[Sample]) -> Value {
    json!(samples.iter().map(Sample::raw).collect::<Vec<_>>())
}
