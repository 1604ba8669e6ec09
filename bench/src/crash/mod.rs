//! A real server is killed under load, again and again, and everything that
//! it promised is checked.
//!
//! Each round: writers keep more than a thousand edits in flight; `kill -9`
//! at a random time, sometimes once more while it starts; what is left must
//! be in order and reach as far as any client was told; a new server on the
//! same data directory; the clients come back by themselves. Then, with
//! everything settled: every edit at exactly one place of the log, every
//! place with exactly one edit, every copy with the server's state hash, and
//! in it what the edits make in the order of their places. Known outcomes
//! that are asked for again are the same.

mod content;
mod inspection;
mod oracle;
mod prober;
mod writers;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use avvy_model::{BraneId, Role, Seq};
use avvy_persistence::powercut::{self, Keep};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::draw::Draw;
use crate::http;
use crate::process::{Server, ServerOptions, own_port};
use inspection::Inspection;
use prober::Prober;
use writers::{Shared, Writers};

/// Clients that write.
const WRITERS: usize = 8;
/// Edits that each keeps in flight: fewer than the outcomes that a server
/// remembers of a client.
const IN_FLIGHT_EACH: usize = 200;
/// Edits that have to be in flight at a kill.
const IN_FLIGHT: usize = 1_000;
/// Edits that the prober sends at once before a kill.
const BURST: usize = 120;
/// The longest that the writers work before a kill.
const LOAD: Duration = Duration::from_millis(400);
/// How long they may take to have enough edits in flight.
const FILL: Duration = Duration::from_secs(30);
/// The longest after a start at which a starting server is killed again.
const STARTING: Duration = Duration::from_millis(150);

/// What a server that remembers what it synced says at its start.
const POWERCUT_LINE: &str = "the store remembers what was synced";

/// What is lost with the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// `kill -9`: only what the process held in memory.
    Process,
    /// The power: everything that was not synced, too. Needs a server that
    /// was built with the feature `powercut`.
    Power {
        /// Whether SQLite syncs. If not, something must be lost.
        synchronous: bool,
    },
}

/// How the server is killed.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's program.
    pub binary: PathBuf,
    /// The data directory; must not exist.
    pub data: PathBuf,
    /// How often.
    pub rounds: u32,
    /// What is lost.
    pub cut: Cut,
    /// Draws times and edits; the same seed does not give the same run, as
    /// the machine's timing decides, too.
    pub seed: u64,
    /// Further settings of the server, as `AVVY_SECTION_KEY`.
    pub settings: Vec<(String, String)>,
}

/// What was done. That everything was right is said by there being one.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Kills with edits in flight.
    pub rounds: u32,
    /// Kills of a starting server.
    pub kills_at_start: u32,
    /// The fewest edits in flight at a kill.
    pub fewest_in_flight: usize,
    /// Edits whose client was told that they are durable.
    pub durable_edits: u64,
    /// Outcomes that were asked for again after a restart and were the same.
    pub confirmed: u64,
    /// Unsynced sectors that power cuts took.
    pub lost_sectors: u64,
    /// Objects in the end.
    pub objects: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, kills_at_start, fewest_in_flight, durable_edits, .. } = self;
        let Self { confirmed, lost_sectors, objects, .. } = self;
        write!(
            f,
            "{rounds} kills with at least {fewest_in_flight} edits in flight, {kills_at_start} \
             while starting; {durable_edits} durable edits, each found exactly once; {confirmed} \
             outcomes confirmed; {lost_sectors} unsynced sectors lost; {objects} objects in the end"
        )
    }
}

/// Kills a server as often as asked for and checks what it promised. `tell`
/// is given a line after each round.
///
/// # Errors
/// When a promise was broken, or the server could not be started.
pub fn run(options: &Options, tell: impl FnMut(&str)) -> Result<Summary> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Trial::start(options).await?.run(tell).await })
}

/// One run.
struct Trial<'a> {
    options: &'a Options,
    server_options: ServerOptions,
    address: SocketAddr,
    brane: BraneId,
    /// Not there while it is down.
    server: Option<Server>,
    writers: Writers,
    prober: Option<Prober>,
    oracle: Shared,
    draw: Draw,
    summary: Summary,
}

impl<'a> Trial<'a> {
    async fn start(options: &'a Options) -> Result<Self> {
        ensure!(!options.data.exists(), "{} is there already", options.data.display());
        let mut draw = Draw::new(options.seed);
        let server_options = server_options(options);
        let address = own_port(&mut draw)?;
        let server = start(&server_options, address).await?;
        ensure!(
            options.cut == Cut::Process || server.log()?.contains(POWERCUT_LINE),
            "this server does not remember what it synced: build it with `--features powercut`"
        );
        let owner = server.tokens(&mut draw, 1, Role::Owner)?.remove(0);
        let brane = BraneId::new(draw.uuid());
        http::create_brane(address, &owner, brane)?;
        let mut tokens = server.tokens(&mut draw, WRITERS + 1, Role::Builder)?;
        let oracle = Shared::default();
        let probers = tokens.pop().context("one more than writers")?;
        let prober = Prober::new(address, probers, brane, &mut draw, &oracle);
        let url = format!("ws://{address}/ws");
        let writers =
            Writers::start(&url, &tokens, brane, IN_FLIGHT_EACH, &mut draw, &oracle).await?;
        let summary = Summary { fewest_in_flight: usize::MAX, ..Summary::default() };
        Ok(Self {
            options,
            server_options,
            address,
            brane,
            server: Some(server),
            writers,
            prober: Some(prober),
            oracle,
            draw,
            summary,
        })
    }

    async fn run(mut self, mut tell: impl FnMut(&str)) -> Result<Summary> {
        self.settle_prober().await?;
        for round in 1..=self.options.rounds {
            let in_flight = self.kill_under_load().await.context(Round(round))?;
            let head = self.restart_and_verify().await.context(Round(round))?;
            self.summary.rounds = round;
            tell(&format!("round {round}: {in_flight} edits in flight, the log ends at {head}"));
        }
        self.finish().await?;
        Ok(self.summary)
    }

    /// Gives the number of edits in flight at the kill.
    async fn kill_under_load(&mut self) -> Result<usize> {
        self.writers.work(true);
        let mut prober = self.prober.take().context("the prober is back")?;
        let listening = spawn_blocking(move || prober.burst(BURST).map(|()| prober));
        sleep(LOAD.mul_f64(self.draw.fraction())).await;
        let started = Instant::now();
        let in_flight = loop {
            let in_flight = self.oracle.lock().outstanding();
            if in_flight >= IN_FLIGHT {
                break in_flight;
            }
            self.oracle.lock().check()?;
            ensure!(started.elapsed() < FILL, "only {in_flight} edits are in flight");
            sleep(Duration::from_micros(200)).await;
        };
        self.kill()?;
        self.prober = Some(listening.await??);
        self.writers.work(false);
        self.summary.fewest_in_flight = self.summary.fewest_in_flight.min(in_flight);
        Ok(in_flight)
    }

    fn kill(&mut self) -> Result<()> {
        let server = self.server.take().context("a server runs")?;
        server.kill()?;
        let Cut::Power { .. } = self.options.cut else { return Ok(()) };
        // Every other time parts of what was not synced are there.
        let keep = match self.draw.below(2) {
            0 => Keep::Synced,
            _ => Keep::Some { seed: self.draw.number() },
        };
        self.summary.lost_sectors += powercut::restore(&self.options.data, keep)?.lost;
        Ok(())
    }

    /// Gives the head of the log.
    async fn restart_and_verify(&mut self) -> Result<Seq> {
        self.inspect().await?;
        if self.draw.below(4) == 0 {
            let server = Server::spawn(&self.server_options, self.address)?;
            sleep(STARTING.mul_f64(self.draw.fraction())).await;
            self.server = Some(server);
            self.kill()?;
            self.summary.kills_at_start += 1;
            self.inspect().await?;
        }
        self.server = Some(start(&self.server_options, self.address).await?);
        self.settle_prober().await?;
        self.writers.settle().await?;
        let (head, _, world) = self.writers.compare().await?;
        let mut oracle = self.oracle.lock();
        let expected = oracle.verify(head)?;
        if let Some(difference) = expected.difference(&world) {
            anyhow::bail!("the edits make another world than the server shows: {difference}");
        }
        self.summary.objects = world.len();
        self.summary.durable_edits = oracle.durable;
        Ok(head)
    }

    async fn settle_prober(&mut self) -> Result<()> {
        let mut prober = self.prober.take().context("the prober is back")?;
        let prober = spawn_blocking(move || prober.settle().map(|()| prober)).await??;
        self.summary.confirmed = prober.confirmed;
        self.prober = Some(prober);
        Ok(())
    }

    /// What a killed server left must be in order and reach as far as any
    /// client was told.
    async fn inspect(&self) -> Result<()> {
        let found = inspect(self.options).await?;
        let head = found.head(self.brane)?;
        let told = self.oracle.lock().highest_told();
        ensure!(head >= told, "durable edits are lost: told up to {told}, found up to {head}");
        Ok(())
    }

    /// Drains the server: what it stored has the state hash that the copies
    /// had.
    async fn finish(&mut self) -> Result<()> {
        let (head, hash, _) = self.writers.compare().await?;
        let server = self.server.take().context("a server runs")?;
        spawn_blocking(move || server.stop()).await??;
        let found = inspect(self.options).await?;
        ensure!(found.head(self.brane)? == head, "a drained server stored another end of the log");
        ensure!(found.state_hash(self.brane)? == hash, "a drained server stored another state");
        Ok(())
    }
}

/// Names a round in an error.
#[derive(Debug)]
struct Round(u32);

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {}", self.0)
    }
}

async fn start(options: &ServerOptions, address: SocketAddr) -> Result<Server> {
    let options = options.clone();
    spawn_blocking(move || Server::start_at(&options, address)).await?
}

async fn inspect(options: &Options) -> Result<Inspection> {
    let Options { binary, data, cut, settings, .. } = options.clone();
    spawn_blocking(move || match cut {
        Cut::Process => Inspection::take(&binary, &data, &settings),
        Cut::Power { .. } => Inspection::take_of_copy(&binary, &data, &settings),
    })
    .await?
}

/// Snapshots and compaction often, so that kills meet them, and no bound on
/// how fast a client may write.
fn server_options(options: &Options) -> ServerOptions {
    let settings = ServerOptions::new(&options.binary, &options.data)
        .set("AVVY_SERVER_DEMO_OBJECTS", 0)
        .set("AVVY_LIMITS_EDITS_PER_SECOND", 1_000_000)
        .set("AVVY_LIMITS_EDITS_BURST", 1_000_000)
        .set("AVVY_LIMITS_EDITS_PER_SECOND_PER_USER", 1_000_000)
        .set("AVVY_LIMITS_EDITS_BURST_PER_USER", 1_000_000)
        .set("AVVY_BRANE_SNAPSHOT_EVERY_EVENTS", 5_000)
        .set("AVVY_BRANE_SNAPSHOT_EVERY_BYTES", 1 << 20)
        .set("AVVY_STORE_COMPACTION_INTERVAL_S", 1)
        .set("AVVY_STORE_MAX_JOURNAL_BYTES", 4 << 20);
    let further = options.settings.iter();
    let settings = further.fold(settings, |settings, (name, value)| settings.set(name, value));
    match options.cut {
        Cut::Process => settings,
        Cut::Power { synchronous: true } => settings.set("AVVYLAND_POWERCUT", "full"),
        Cut::Power { synchronous: false } => settings.set("AVVYLAND_POWERCUT", "off"),
    }
}
