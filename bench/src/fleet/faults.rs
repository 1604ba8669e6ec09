//! What fails, and for how long.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use avvy_persistence::testing::proxy::Way;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::Network;
use super::site::{LEASE_MS, Site};
use crate::draw::Draw;

/// Something that fails, and is whole again afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    kind: Kind,
    /// Which node, where it is one.
    node: usize,
    /// For so long.
    time: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    KillPrimary,
    PausePrimary,
    KillNode,
    PauseNode,
    DrainNode,
    Cut,
    Silence,
    Hold,
    KillRedis,
    PauseRedis,
    CutRedis,
    SilenceRedis,
    HoldRedis,
}

const KINDS: [Kind; 13] = [
    Kind::KillPrimary,
    Kind::PausePrimary,
    Kind::KillNode,
    Kind::PauseNode,
    Kind::DrainNode,
    Kind::Cut,
    Kind::Silence,
    Kind::Hold,
    Kind::KillRedis,
    Kind::PauseRedis,
    Kind::CutRedis,
    Kind::SilenceRedis,
    Kind::HoldRedis,
];

/// The kinds of a network.
fn kinds(network: Network) -> &'static [Kind] {
    match network {
        Network::Shared => &KINDS,
        // Without its only member there is no database.
        Network::Own => &KINDS[2..],
    }
}

/// The names of all that fails in a network.
pub(super) fn names(network: Network) -> impl Iterator<Item = &'static str> {
    kinds(network).iter().map(|kind| kind.name())
}

/// Draws faults so that each kind comes as often as the others.
pub(super) struct Faults {
    draw: Draw,
    kinds: &'static [Kind],
    left: Vec<Kind>,
    /// How many have come.
    came: usize,
}

impl Faults {
    pub(super) fn new(network: Network, draw: Draw) -> Self {
        Self { draw, kinds: kinds(network), left: Vec::new(), came: 0 }
    }

    /// The pause before the next one.
    pub(super) const fn pause(&mut self) -> Duration {
        Duration::from_millis(1_000 + self.draw.below(1_500))
    }

    /// Whether each kind has come.
    pub(super) const fn all_came(&self) -> bool {
        self.came >= self.kinds.len()
    }

    /// The next one. The first of each kind is sure to be felt: it befalls a
    /// node that serves a brane, and who is away is so for longer than a lease.
    pub(super) async fn next(&mut self, site: &Site) -> Result<Fault> {
        if self.left.is_empty() {
            self.left = self.kinds.to_vec();
        }
        let kind = self.left.swap_remove(self.draw.below(self.left.len() as u64) as usize);
        let (is_first, drawn) = (!self.all_came(), self.draw.below(2) as usize);
        self.came += 1;
        let node = match is_first && kind.is_of_a_node() {
            true => serving(site, drawn).await?,
            false => drawn,
        };
        let time_ms = match kind {
            // Longer than from one sign of life to the next. Nobody waits for
            // it for longer than a moment, so it need not be away for long.
            Kind::KillRedis
            | Kind::PauseRedis
            | Kind::CutRedis
            | Kind::SilenceRedis
            | Kind::HoldRedis => 600 + self.draw.below(1_200),
            Kind::Cut | Kind::Silence if is_first => LEASE_MS + 1_000 + self.draw.below(1_200),
            // Shorter and longer than a lease.
            _ => 200 + self.draw.below(4_000),
        };
        Ok(Fault { kind, node, time: Duration::from_millis(time_ms) })
    }
}

/// For so long a node that serves a brane is looked for.
const SERVING_WITHIN: Duration = Duration::from_secs(20);

/// A node that serves a brane, this one if it does. After a fault there may be
/// none for a moment, and none that can be asked.
async fn serving(site: &Site, drawn: usize) -> Result<usize> {
    let began = Instant::now();
    loop {
        for node in [drawn, 1 - drawn] {
            if site.serves(node).await.unwrap_or(false) {
                return Ok(node);
            }
        }
        ensure!(began.elapsed() < SERVING_WITHIN, "no node serves a brane");
        sleep(Duration::from_millis(100)).await;
    }
}

impl Kind {
    /// Whether it befalls a node, or what is before one.
    const fn is_of_a_node(self) -> bool {
        match self {
            Self::KillNode
            | Self::PauseNode
            | Self::DrainNode
            | Self::Cut
            | Self::Silence
            | Self::Hold => true,
            Self::KillPrimary
            | Self::PausePrimary
            | Self::KillRedis
            | Self::PauseRedis
            | Self::CutRedis
            | Self::SilenceRedis
            | Self::HoldRedis => false,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::KillNode => "node killed",
            Self::PauseNode => "node paused",
            Self::DrainNode => "node drained",
            Self::KillPrimary => "primary killed",
            Self::PausePrimary => "primary paused",
            Self::Cut => "cut off",
            Self::Silence => "silent",
            Self::Hold => "held up",
            Self::KillRedis => "Redis killed",
            Self::PauseRedis => "Redis paused",
            Self::CutRedis => "Redis cut off",
            Self::SilenceRedis => "Redis silent",
            Self::HoldRedis => "Redis held up",
        }
    }
}

impl Fault {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        self.kind.name()
    }

    /// Fails, and mends it.
    pub(super) async fn happen(self, site: Site) -> Result<Site> {
        spawn_blocking(move || self.happen_here(site)).await?
    }

    fn happen_here(self, mut site: Site) -> Result<Site> {
        let Self { kind, node, time } = self;
        match kind {
            Kind::KillNode => {
                site.kill_node(node)?;
                wait(time);
                site.knock(1 - node);
                site.start_node(node)?;
            }
            Kind::PauseNode => {
                site.signal_node(node, true)?;
                wait(time);
                // If the lease is over by now, its branes are taken.
                site.knock(1 - node);
                site.signal_node(node, false)?;
            }
            Kind::DrainNode => {
                site.drain_node(node)?;
                wait(time);
                site.start_node(node)?;
            }
            Kind::KillPrimary => {
                let primary = site.set.primary();
                site.set.kill(primary);
                wait(time);
                site.set.restart(primary);
            }
            Kind::PausePrimary => {
                let primary = site.set.primary();
                site.set.pause(primary);
                wait(time);
                site.set.resume(primary);
            }
            Kind::Cut => cut_off(&site, node, Way::Cut, time),
            Kind::Silence => cut_off(&site, node, Way::Swallowing, time),
            Kind::Hold => cut_off(&site, node, Way::Held, time),
            Kind::KillRedis => {
                site.redis.kill();
                wait(time);
                site.redis.restart();
            }
            Kind::PauseRedis => {
                site.redis.stop();
                wait(time);
                site.redis.go_on();
            }
            Kind::CutRedis => keep_from_redis(&site, Way::Cut, time),
            Kind::SilenceRedis => keep_from_redis(&site, Way::Swallowing, time),
            Kind::HoldRedis => keep_from_redis(&site, Way::Held, time),
        }
        Ok(site)
    }
}

/// Disturbs what is between a node, or everybody, and the database.
fn cut_off(site: &Site, node: usize, way: Way, time: Duration) {
    let proxy = site.way(node);
    proxy.set(way);
    wait(time);
    if site.has_own_ways() {
        // If the node's lease is over by now, its branes are taken.
        site.knock(1 - node);
    }
    proxy.set(Way::CLEAR);
}

/// Disturbs what is between everybody and Redis.
fn keep_from_redis(site: &Site, way: Way, time: Duration) {
    site.way_to_redis.set(way);
    wait(time);
    site.way_to_redis.set(Way::CLEAR);
}

#[expect(clippy::disallowed_methods, reason = "a thread that has nothing else to do")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} ms", self.name(), self.time.as_millis())?;
        match self.kind.is_of_a_node() {
            true => write!(f, ", node {}", self.node),
            false => Ok(()),
        }
    }
}
