//! A crowd of simulated builders in one brane, over the real protocol.
//!
//! A few of them keep whole copies of the world, whose state hashes are
//! compared with the server's at the end. The others follow the log by its
//! ranges, and what each of their windows holds is compared with what a whole
//! copy saw, so that a thousand builders fit into one process.

mod bot;
mod reader;
mod shared;
mod summary;
mod walk;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use avvy_model::BraneId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::machine::{ClientMachine, CopyKind};
use crate::net::session::Session;
use crate::net::{ClientOptions, draw_client_id};
use bot::{Bot, Phase, Report};
use reader::{BotReader, Keeps};
use shared::Shared;
use summary::StatusLine;
pub use summary::{DemoSummary, Live, WalkSummary};
use walk::Walk;

/// Reports of one bot that may wait to be read.
const REPORTS_EACH: usize = 8;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The server's WebSocket, `ws://` or `wss://`.
    pub url: String,
    /// Tokens of builders; builder `n` uses the one at `n` modulo their number.
    pub tokens: Vec<String>,
    /// Where to build.
    pub brane: BraneId,
    /// Builders. At least 1.
    pub users: u32,
    /// Edits of each, a second.
    pub edits_per_second: f64,
    /// How long to edit.
    pub seconds: f64,
    /// Builders that keep whole copies. At least 1.
    pub check: u32,
    /// Builders, of all, that see an area only and walk across the brane with
    /// it. Fewer than there are.
    pub walkers: u32,
    /// New connections a second, so that a crowd does not come at once.
    pub connects_per_second: f64,
    /// How long joining, and how long the last outcomes may take, each.
    pub grace: Duration,
    /// What is shown on standard error.
    pub live: Live,
    /// How to connect.
    pub client: ClientOptions,
}

impl DemoOptions {
    /// Fifty builders with five edits a second for twenty seconds.
    pub fn new(url: String, token: String, brane: BraneId) -> Self {
        Self {
            url,
            tokens: vec![token],
            brane,
            users: 50,
            edits_per_second: 5.0,
            seconds: 20.0,
            check: 4,
            walkers: 0,
            connects_per_second: 250.0,
            grace: Duration::from_secs(30),
            live: Live::default(),
            client: ClientOptions::default(),
        }
    }

    /// How many keep whole copies.
    fn whole(&self) -> u32 {
        self.check.clamp(1, self.users.saturating_sub(self.walkers).max(1))
    }
}

/// Why a demo did not take place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DemoError {
    /// There are no users or no tokens.
    #[error("a demo needs at least one user and one token")]
    Nobody,
    /// Nobody would see the whole brane.
    #[error("of {0} users not more than {most} can walk", most = .0 - 1)]
    AllWalk(u32),
    /// A builder could not go on.
    #[error("builder {number}: {why}")]
    Bot {
        /// Which, from 0.
        number: u32,
        /// Why.
        why: String,
    },
    /// Not everyone was ready in time.
    #[error("{missing} of {users} builders were not ready in time{}", because(.why))]
    NotReady {
        /// How many were not.
        missing: u32,
        /// How many there are.
        users: u32,
        /// The last trouble with a connection, if there was any.
        why: Option<String>,
    },
}

fn because(why: &Option<String>) -> String {
    why.as_ref().map_or_else(String::new, |why| format!(": {why}"))
}

/// Runs a demo to its end.
///
/// # Errors
/// When the builders cannot begin. What goes wrong later is in the summary.
pub async fn run(options: DemoOptions) -> Result<DemoSummary, DemoError> {
    if options.users == 0 || options.tokens.is_empty() {
        return Err(DemoError::Nobody);
    }
    if options.walkers >= options.users {
        return Err(DemoError::AllWalk(options.users));
    }
    let mut demo = Demo::begin(options);
    let outcome = demo.play().await;
    demo.status.end();
    // The bots say goodbye by themselves; whoever does not is cut off.
    demo.phases.send_replace(Phase::End);
    let farewell = async { while demo.bots.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(3), farewell).await;
    outcome
}

struct Demo {
    options: DemoOptions,
    shared: Arc<Shared>,
    phases: watch::Sender<Phase>,
    reports: mpsc::Receiver<(u32, Report)>,
    bots: JoinSet<()>,
    status: StatusLine,
    /// Bots that have been let in.
    users: u32,
}

impl Demo {
    /// Lets the bots in, one after the other, in a task of its own.
    fn begin(options: DemoOptions) -> Self {
        let shared = Arc::new(Shared::new());
        let (phases, phase) = watch::channel(Phase::Build);
        let (sender, reports) = mpsc::channel(REPORTS_EACH * options.users as usize);
        let mut bots = JoinSet::new();
        let pause = Duration::from_secs_f64(1.0 / options.connects_per_second.max(0.1));
        for number in 0..options.users {
            let (options, shared) = (options.clone(), Arc::clone(&shared));
            let (phase, sender) = (phase.clone(), sender.clone());
            let begins = Instant::now() + pause * number;
            bots.spawn(async move {
                sleep_until(begins).await;
                new_bot(number, options, shared, sender).run(phase).await;
            });
        }
        let status = StatusLine::new(options.live);
        let users = options.users;
        Self { options, shared, phases, reports, bots, status, users }
    }

    async fn play(&mut self) -> Result<DemoSummary, DemoError> {
        let crowd = f64::from(self.users) / self.options.connects_per_second.max(0.1);
        let joining = Duration::from_secs_f64(crowd) + self.options.grace;
        let missing = self.wait_for_all("joining", Phase::Build, joining).await?;
        if missing > 0 {
            let why = self.shared.trouble();
            return Err(DemoError::NotReady { missing, users: self.users, why });
        }
        let before = read(&self.shared.counters.deliveries);
        let began = Instant::now();
        self.phases.send_replace(Phase::Edit);
        self.pass("editing", Duration::from_secs_f64(self.options.seconds)).await?;
        let seconds = began.elapsed().as_secs_f64();
        self.phases.send_replace(Phase::Settle);
        self.wait_for_all("settling", Phase::Settle, self.options.grace).await?;
        let deliveries = read(&self.shared.counters.deliveries) - before;
        // The last receipts are taken in a little later.
        self.pass("settling", Duration::from_secs(1)).await?;
        let shared::Percentiles { p50_ms, p99_ms } = self.shared.percentiles();
        let walks = self.compare_walks().await?;
        self.phases.send_replace(Phase::Clean);
        self.wait_for_all("cleaning", Phase::Clean, self.options.grace).await?;
        let (hashes_compared, disagree) = self.check().await?;

        let counters = &self.shared.counters;
        let (edits, durable, refused) =
            (read(&counters.edits), read(&counters.durable), read(&counters.refused));
        Ok(DemoSummary {
            users: self.users,
            edits,
            durable,
            refused,
            deliveries,
            lost: edits.saturating_sub(durable + refused) + read(&counters.gaps),
            p50_ms,
            p99_ms,
            resyncs: read(&counters.resyncs),
            reconnects: read(&counters.reconnects),
            slowed: read(&counters.slowed),
            differing: read(&counters.differing) + u64::from(disagree),
            hashes_compared,
            windows_compared: read(&counters.compared),
            seconds,
            walks,
        })
    }

    /// Has each walker's copy compared where it stands.
    async fn compare_walks(&mut self) -> Result<Option<WalkSummary>, DemoError> {
        let walkers = self.options.walkers;
        if walkers == 0 {
            return Ok(None);
        }
        self.phases.send_replace(Phase::Compare);
        let unchecked = self.wait_for_all("comparing", Phase::Compare, self.options.grace).await?;
        Ok(Some(self.shared.walks().summary(walkers, unchecked)))
    }

    /// How many state hashes were compared, and how many bots disagree.
    async fn check(&mut self) -> Result<(u32, u32), DemoError> {
        self.phases.send_replace(Phase::Check);
        let deadline = Instant::now() + self.options.grace;
        let whole = self.options.whole();
        let (mut checked, mut hashes, mut disagree) = (0, 0, 0);
        while checked < self.users {
            match self.next_report("checking", deadline).await? {
                None => return Ok((hashes, disagree + (self.users - checked))),
                Some((number, Report::Checked { agrees })) => {
                    checked += 1;
                    hashes += u32::from(number < whole);
                    disagree += u32::from(!agrees);
                }
                Some(_) => {}
            }
        }
        Ok((hashes, disagree))
    }

    /// Waits until all bots have done this; says how many have not in time.
    async fn wait_for_all(
        &mut self,
        what: &str,
        phase: Phase,
        limit: Duration,
    ) -> Result<u32, DemoError> {
        let deadline = Instant::now() + limit;
        let mut missing = self.users;
        while missing > 0 {
            match self.next_report(what, deadline).await? {
                None => return Ok(missing),
                Some((_, Report::Done(done))) if done == phase => missing -= 1,
                Some(_) => {}
            }
        }
        Ok(0)
    }

    async fn pass(&mut self, what: &str, time: Duration) -> Result<(), DemoError> {
        let deadline = Instant::now() + time;
        while self.next_report(what, deadline).await?.is_some() {}
        Ok(())
    }

    /// The next report before the deadline, showing the status meanwhile.
    async fn next_report(
        &mut self,
        what: &str,
        deadline: Instant,
    ) -> Result<Option<(u32, Report)>, DemoError> {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(deadline) => return Ok(None),
                _ = self.status.tick() => self.status.show(self.users, what, &self.shared),
                report = self.reports.recv() => match report {
                    Some((number, Report::Failed(why))) => {
                        return Err(DemoError::Bot { number, why });
                    }
                    report => return Ok(report),
                },
            }
        }
    }
}

fn new_bot(
    number: u32,
    options: DemoOptions,
    shared: Arc<Shared>,
    reports: mpsc::Sender<(u32, Report)>,
) -> Bot {
    let (whole, walks) = (number < options.whole(), number >= options.users - options.walkers);
    let keeps = match (walks, whole) {
        (true, _) => Keeps::Part,
        (false, true) => Keeps::Whole,
        (false, false) => Keeps::Position,
    };
    let walk = walks.then(|| Walk::new(number, options.users));
    let edits_a_second = f64::from(options.users) * options.edits_per_second;
    let DemoOptions { url, tokens, brane, edits_per_second, walkers, mut client, .. } = options;
    if keeps == Keeps::Position {
        client.machine.copy = CopyKind::Position;
    }
    client.machine.agent.get_or_insert_with(|| "avvyland demo".to_owned());
    let token = tokens[number as usize % tokens.len()].clone();
    let machine = ClientMachine::new(client.machine.clone(), token, Box::new(draw_client_id));
    let reader = BotReader::new(Arc::clone(&shared), keeps);
    let session = Session::new(machine, reader, url, client);
    let mut bot = Bot::new(session, shared, brane, edits_per_second, number, whole, reports);
    bot.walk = walk;
    // As a float it is never negative, and 1 at least.
    bot.mark_every =
        (number == 0 && walkers > 0 || walks).then_some(edits_a_second.max(1.0) as u64);
    bot
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
