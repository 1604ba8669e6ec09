//! `mongodb`: the small room, the durable acknowledgement and the full brane
//! with the store on MongoDB, beside SQLite in the same run; as many edits in
//! many branes; and a cached record. The database is a replica set of one, on
//! the core of the load.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use avvy_model::{BraneId, Role};
use avvy_persistence::Store;
use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::testing::mongod::{self, MongoSet, Writes};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::report::round;
use super::room::{self, Room, Sample, median};
use super::{Figure, Report, Setup, cache};
use crate::draw::Draw;
use crate::histogram::Histogram;
use crate::load::{Crowd, Work};
use crate::{http, machine};

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("mongodb", setup);
    let set = MongoSet::start(1);
    small_room(setup, &set, &mut report)?;
    full_brane(setup, &set, &mut report)?;
    many_branes(setup, &set, &mut report)?;
    cached(setup, &set, &mut report)?;
    Ok(report)
}

/// The crowds are not driven while it is not their turn.
const PATIENCE: (&str, &str) = ("AVVY_SESSION_HEARTBEAT_MS", "120000");

/// Settings of a server that keeps its branes in a database of its own.
struct Settings {
    uri: String,
    database: String,
}

impl Settings {
    fn on(set: &MongoSet) -> Self {
        Self { uri: set.uri(), database: mongod::fresh_database() }
    }

    fn all(&self) -> [(&str, &str); 4] {
        [
            ("AVVY_STORE_KIND", "mongodb"),
            ("AVVY_STORE_URI", &self.uri),
            ("AVVY_STORE_DATABASE", &self.database),
            PATIENCE,
        ]
    }
}

/// A crowd at such a server.
fn on_mongodb(setup: &Setup, set: &MongoSet, name: &str, sessions: usize) -> Result<Room> {
    let (settings, name) = (Settings::on(set), format!("{name}-mongodb"));
    Room::open(setup, &name, &settings.all(), sessions, sessions)
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
        let before = rooms[0].journal_bytes()?;
        for (room, samples) in rooms.iter_mut().zip(&mut samples) {
            samples.push(room.measure(&work, setup.warm_up() / 2, setup.time)?);
            room.crowd.settle()?;
        }
        let edits = work.edits_per_s * (setup.warm_up() / 2 + setup.time).as_secs_f64();
        let bytes = ((rooms[0].journal_bytes()? - before) / edits).round() as usize;
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

/// As many edits a second as in the full brane, in twenty branes. Their fan-outs
/// fill a core, so the same on SQLite says what of the time that is.
fn many_branes(setup: &Setup, set: &MongoSet, report: &mut Report) -> Result<()> {
    let settings = Settings::on(set);
    let mongodb = twenty_branes(setup, "many-branes-mongodb", &settings.all(), set, report)?;
    let sqlite = twenty_branes(setup, "many-branes", &[PATIENCE], set, report)?;
    let operations = mongodb.written.operations as f64 / mongodb.seconds;
    let figure = Figure::new("writing operations a second, in 20 branes", operations);
    report.show(figure.at_most(100.0));
    for percent in [99.0, 50.0] {
        let durable = mongodb.durable.percentile_ms(percent);
        let beside = sqlite.durable.percentile_ms(percent);
        let name = format!("until durable in 20 branes, p{percent}, ms, beside SQLite");
        report.show(Figure::new(&name, durable).beside(beside));
        report.raw(&format!("many_branes_durable_p{percent}_ms"), durable);
        report.raw(&format!("many_branes_durable_p{percent}_ms_sqlite"), beside);
    }
    report.raw("many_branes", BRANES);
    report.raw("many_branes_edits_per_s", round(mongodb.edits / mongodb.seconds));
    report.raw("many_branes_edits_per_s_sqlite", round(sqlite.edits / sqlite.seconds));
    report.raw("many_branes_write_operations_per_s", round(operations));
    let documents = mongodb.written.documents as f64 * 1_000.0 / mongodb.edits;
    report.raw("many_branes_documents_per_1000_edits", round(documents));
    Ok(())
}

/// The branes of one server.
const BRANES: usize = 20;

/// What was done in them.
struct Done {
    edits: f64,
    seconds: f64,
    durable: Histogram,
    /// What the database wrote meanwhile.
    written: Writes,
}

fn twenty_branes(
    setup: &Setup,
    name: &str,
    settings: &[(&str, &str)],
    set: &MongoSet,
    report: &mut Report,
) -> Result<Done> {
    let (sessions, mut draw) = (setup.size(50, 10), setup.draw());
    let work = Work { senders: sessions, edits_per_s: 10.0 * sessions as f64 };
    let (server, _, owner) = room::start(setup, name, settings)?;
    let mut crowds = Vec::new();
    for _ in 0..BRANES {
        let brane = BraneId::new(draw.uuid());
        http::create_brane(server.address(), &owner, brane)?;
        let mut crowd = Crowd::new(brane, Draw::new(draw.number()))?;
        crowd.join(server.address(), &server.tokens(&mut draw, sessions, Role::Builder)?)?;
        crowd.create_objects(sessions)?;
        crowds.push(crowd);
    }
    all_work(&mut crowds, &work, setup.warm_up())?;
    crowds.iter_mut().for_each(|crowd| crowd.tally().restart());
    let (before, sent, began) = (set.writes(), sent_by(&mut crowds), Instant::now());
    all_work(&mut crowds, &work, setup.time)?;
    let (written, seconds) = (set.writes() - before, began.elapsed().as_secs_f64());
    let edits = (sent_by(&mut crowds) - sent) as f64;
    let mut durable = Histogram::default();
    for crowd in &mut crowds {
        settled(crowd, report)?;
        durable.add(&crowd.tally().durable);
    }
    server.stop()?;
    Ok(Done { edits, seconds, durable, written })
}

/// The edits of all crowds so far.
fn sent_by(crowds: &mut [Crowd]) -> u64 {
    crowds.iter_mut().map(|crowd| crowd.tally().all_sent).sum()
}

/// Has each crowd work by a thread of its own, all on the core of the load,
/// where the database need not wait for twenty of them.
fn all_work(crowds: &mut [Crowd], work: &Work, time: Duration) -> Result<()> {
    std::thread::scope(|scope| {
        let at_work = move |crowd: &mut Crowd| {
            let _ = rustix::process::nice(19);
            crowd.work(work, time)
        };
        let works: Vec<_> =
            crowds.iter_mut().map(|crowd| scope.spawn(move || at_work(crowd))).collect();
        works.into_iter().try_for_each(|work| match work.join() {
            Ok(worked) => worked,
            Err(_) => bail!("a crowd failed"),
        })
    })
}

/// A record, with and without caches.
fn cached(setup: &Setup, set: &MongoSet, report: &mut Report) -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let options = MongoOptions::at(set.uri(), mongod::fresh_database());
        let store: Arc<dyn Store> = Arc::new(MongoStore::open(&options).await?);
        cache::over(setup, report, &store, "cache_").await?;
        Ok(store.close().await?)
    })
}

fn close(mut room: Room, report: &mut Report) -> Result<()> {
    settled(&mut room.crowd, report)?;
    room.server.stop()
}

/// Waits until all that a crowd did is durable, and everybody knows it.
fn settled(crowd: &mut Crowd, report: &mut Report) -> Result<()> {
    crowd.settle()?;
    report.expect(crowd.lost() == 0, "deliveries or edits were lost");
    let tally = crowd.tally();
    report.expect(tally.all_sent == tally.all_durable, "not every edit became durable");
    Ok(())
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

fn rounds(samples: &[Sample]) -> Value {
    json!(samples.iter().map(Sample::raw).collect::<Vec<_>>())
}
