//! What fails, and for how long.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use avvy_persistence::testing::proxy::Way;
use tokio::task::spawn_blocking;

use super::Network;
use super::site::Site;
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
    KillNode,
    PauseNode,
    DrainNode,
    KillPrimary,
    PausePrimary,
    Cut,
    Silence,
    Hold,
    KillRedis,
}

const KINDS: [Kind; 9] = [
    Kind::KillPrimary,
    Kind::PausePrimary,
    Kind::KillNode,
    Kind::PauseNode,
    Kind::DrainNode,
    Kind::Cut,
    Kind::Silence,
    Kind::Hold,
    Kind::KillRedis,
];

/// Draws faults so that each kind comes as often as the others.
pub(super) struct Faults {
    draw: Draw,
    kinds: &'static [Kind],
    left: Vec<Kind>,
}

impl Faults {
    pub(super) fn new(network: Network, draw: Draw) -> Self {
        let kinds = match network {
            Network::Shared => &KINDS[..],
            // Without its only member there is no database.
            Network::Own => &KINDS[2..],
        };
        Self { draw, kinds, left: Vec::new() }
    }

    /// The pause before the next one.
    pub(super) const fn pause(&mut self) -> Duration {
        Duration::from_millis(1_000 + self.draw.below(2_000))
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Fault {
        if self.left.is_empty() {
            self.left = self.kinds.to_vec();
        }
        let kind = self.left.swap_remove(self.draw.below(self.left.len() as u64) as usize);
        // Shorter and longer than a lease.
        let time = Duration::from_millis(200 + self.draw.below(4_000));
        Fault { kind, node: self.draw.below(2) as usize, time }
    }
}

impl Fault {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self.kind {
            Kind::KillNode => "node killed",
            Kind::PauseNode => "node paused",
            Kind::DrainNode => "node drained",
            Kind::KillPrimary => "primary killed",
            Kind::PausePrimary => "primary paused",
            Kind::Cut => "cut off",
            Kind::Silence => "silent",
            Kind::Hold => "held up",
            Kind::KillRedis => "Redis killed",
        }
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
            Kind::Cut => disturb(&site, node, Way::Cut, time),
            Kind::Silence => disturb(&site, node, Way::Swallowing, time),
            Kind::Hold => disturb(&site, node, Way::Held, time),
            Kind::KillRedis => {
                site.redis.kill();
                wait(time);
                site.redis.restart();
            }
        }
        Ok(site)
    }
}

fn disturb(site: &Site, node: usize, way: Way, time: Duration) {
    let proxy = site.way(node);
    proxy.set(way);
    wait(time);
    if site.has_own_ways() {
        // If the node's lease is over by now, its branes are taken.
        site.knock(1 - node);
    }
    proxy.set(Way::CLEAR);
}

#[expect(clippy::disallowed_methods, reason = "a thread that has nothing else to do")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} ms", self.name(), self.time.as_millis())?;
        match self.kind {
            Kind::KillPrimary | Kind::PausePrimary | Kind::KillRedis => Ok(()),
            _ => write!(f, ", node {}", self.node),
        }
    }
}
