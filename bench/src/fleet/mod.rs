//! A fleet of two nodes under faults, and whether all that its clients were
//! told can be true.
//!
//! Two servers on a MongoDB and a Redis behind proxies. Clients write and
//! watch in several branes, connected to either node. Every few seconds
//! something fails, one thing at a time: a node is killed, stands still or is
//! drained; the primary is killed or stands still; it, or one node alone, is
//! cut off, falls silent or is held up; Redis is killed, stands still, is cut
//! off, falls silent or is held up. In the end all is whole again, everybody
//! settles, the nodes are drained, and [`crate::history`] holds what everybody
//! was told against the journals that are left. A trial in which not all of
//! this came, or was not felt, counts as failed.

mod faults;
mod journal;
mod site;
mod writers;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::draw::Draw;
use crate::history::{self, History};
use faults::Faults;
use site::Site;
use writers::Crowd;

/// How the nodes reach the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Network {
    /// Three members, and a proxy before each for all who talk to it. Members
    /// fail, and what is cut off is the primary.
    #[default]
    Shared,
    /// One member, and for each node a proxy of its own before it. What is cut
    /// off is one node, while the other goes on.
    Own,
}

/// How the fleet is tried.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's program, built with the features `mongodb` and `redis`.
    pub binary: PathBuf,
    /// An empty directory for data and logs.
    pub scratch: PathBuf,
    /// How the nodes reach the database.
    pub network: Network,
    /// For how long things fail, in seconds; longer if not each kind of fault
    /// has come by then.
    pub seconds: u64,
    /// Branes.
    pub branes: usize,
    /// Clients of each brane.
    pub clients: usize,
    /// Draws faults and edits; the same seed does not give the same run, as
    /// the machine's timing decides, too.
    pub seed: u64,
}

/// What was done. That everything was right is said by there being one.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// For how long things failed, in seconds.
    pub seconds: u64,
    /// How often what has failed.
    pub faults: BTreeMap<&'static str, u32>,
    /// Edits in the journals.
    pub edits: usize,
    /// Edits that were refused, as they may be.
    pub refused: usize,
    /// Edits of which nothing could be told any more.
    pub unknown: usize,
    /// Times that a client was told that something is lost.
    pub rewinds: usize,
    /// Facts that were held against each other.
    pub facts: usize,
    /// Openings that edits were written under, of all branes.
    pub epochs: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, faults, edits, refused, unknown, rewinds, facts, epochs } = self;
        let faults: Vec<_> = faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        write!(
            f,
            "{facts} facts fit {edits} edits of {epochs} epochs ({refused} refused, {unknown} \
             unknown, {rewinds} rewinds); faults in {seconds} s: {}",
            faults.join(", ")
        )
    }
}

/// Has a fleet fail for a while and checks what it promised. `tell` is given a
/// line for each fault.
///
/// # Errors
/// When a promise was broken, the fleet does not come back, or what was to be
/// tried did not come to be.
pub fn run(options: &Options, tell: impl FnMut(&str)) -> Result<Summary> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    runtime.block_on(trial(options, tell))
}

async fn trial(options: &Options, mut tell: impl FnMut(&str)) -> Result<Summary> {
    let mut draw = Draw::new(options.seed);
    let mut site = Site::start(options, &mut draw).await?;
    let mut summary = Summary::default();
    let crowd = Crowd::start(&site, options, &mut draw).await?;
    site.branes = crowd.branes();
    let mut faults = Faults::new(options.network, Draw::new(draw.number()));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(options.seconds) || !faults.all_came() {
        sleep(faults.pause()).await;
        let fault = faults.next(&site).await?;
        tell(&format!("{:>4} s: {fault}", began.elapsed().as_secs()));
        *summary.faults.entry(fault.name()).or_default() += 1;
        site = fault.happen(site).await?;
    }
    summary.seconds = began.elapsed().as_secs();
    let (clerks, worlds) = crowd.settle().await?;
    let redis = site.way_to_redis.counts();
    ensure!(redis.reset > 0 && redis.swallowed > 0, "nobody missed Redis: {redis:?}");
    let database = site.database.clone();
    let site = spawn_blocking(move || site.drain()).await??;
    for (brane, clerks) in clerks {
        let history = History {
            clients: clerks.iter().map(history::Clerk::entries).collect(),
            journal: journal::read(&site.uri(), &database, brane).await?,
            state: worlds.get(&brane).cloned().unwrap_or_default(),
        };
        summary.add(&history);
        let violations = history::check(&history);
        let told: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
        ensure!(
            violations.is_empty(),
            "brane {brane}: {} violations:\n{}",
            violations.len(),
            told.join("\n")
        );
    }
    summary.ensure_tried(options)?;
    Ok(summary)
}

impl Summary {
    /// That this is what a trial is for.
    fn ensure_tried(&self, options: &Options) -> Result<()> {
        let missing: Vec<_> =
            faults::names(options.network).filter(|name| !self.faults.contains_key(name)).collect();
        ensure!(missing.is_empty(), "these never came: {}", missing.join(", "));
        ensure!(self.facts > 0 && self.edits > 0, "nothing was written: {self}");
        ensure!(self.epochs > options.branes, "no brane was opened a second time: {self}");
        let must_lose = options.network == Network::Own;
        ensure!(self.rewinds > 0 || !must_lose, "nobody lost what only a lost node had: {self}");
        Ok(())
    }

    fn add(&mut self, history: &History) {
        use history::Fact;
        let facts = || history.clients.iter().flatten().map(|entry| &entry.fact);
        let count = |wanted: fn(&Fact) -> bool| facts().filter(|fact| wanted(fact)).count();
        self.facts += facts().count();
        self.refused += count(|fact| matches!(fact, Fact::Refused(_)));
        self.unknown += count(|fact| matches!(fact, Fact::Unknown(_)));
        self.rewinds += count(|fact| matches!(fact, Fact::Rewound(_)));
        self.edits += history.journal.len();
        let epochs = history.journal.iter().map(|place| place.at.epoch);
        self.epochs += epochs.collect::<std::collections::BTreeSet<_>>().len();
    }
}

#[cfg(test)]
mod tests;
