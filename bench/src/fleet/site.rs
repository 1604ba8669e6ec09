//! The programs of a fleet: two nodes, a replica set, a Redis.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use avvy_model::{BraneId, Role};
use avvy_persistence::testing::mongod::{MongoSet, fresh_database};
use avvy_persistence::testing::proxy::Proxy;
use avvy_persistence::testing::redis_server::RedisServer;
use tokio::task::spawn_blocking;

use super::{Network, Options};
use crate::draw::Draw;
use crate::http;
use crate::process::{Server, ServerOptions, own_port};

/// Milliseconds of a lease: shorter than the longest fault.
pub(super) const LEASE_MS: u64 = 2_000;

/// Everything that runs.
pub(super) struct Site {
    pub(super) set: MongoSet,
    /// Each node's own way to the database, where they have one.
    ways: Vec<Proxy>,
    pub(super) redis: RedisServer,
    /// Both nodes' way to it.
    pub(super) way_to_redis: Proxy,
    pub(super) database: String,
    /// What clients are in.
    pub(super) branes: Vec<BraneId>,
    token: String,
    nodes: Vec<Node>,
}

struct Node {
    address: SocketAddr,
    options: ServerOptions,
    /// Not there while it is down.
    server: Option<Server>,
}

impl Site {
    /// Starts all of it, with one key for the tokens of both nodes.
    pub(super) async fn start(options: &Options, draw: &mut Draw) -> Result<Self> {
        let addresses = [own_port(draw)?, own_port(draw)?];
        let options = options.clone();
        spawn_blocking(move || Self::start_here(&options, &addresses)).await?
    }

    fn start_here(options: &Options, addresses: &[SocketAddr]) -> Result<Self> {
        let (set, ways) = match options.network {
            Network::Shared => (MongoSet::start_behind_proxies(3), Vec::new()),
            Network::Own => {
                let set = MongoSet::start(1);
                let server = SocketAddr::from(([127, 0, 0, 1], set.ports()[0]));
                (set, addresses.iter().map(|_| Proxy::start(server)).collect())
            }
        };
        let redis = RedisServer::start();
        let way_to_redis = Proxy::start(SocketAddr::from(([127, 0, 0, 1], redis.port())));
        let database = fresh_database();
        let (branes, token, nodes) = (Vec::new(), String::new(), Vec::new());
        let mut site = Self { set, ways, redis, way_to_redis, database, branes, token, nodes };
        for (nth, address) in addresses.iter().enumerate() {
            let data = options.scratch.join(format!("node-{nth}"));
            fs::create_dir_all(&data)?;
            if let Some(first) = site.nodes.first() {
                let key = "auth-key.pem";
                fs::copy(first.options.data.join(key), data.join(key)).context("the key")?;
            }
            let options = ServerOptions::new(&options.binary, &data);
            let options = site.settings(options, nth, *address);
            site.nodes.push(Node { address: *address, options, server: None });
            site.start_node(nth)?;
        }
        let mut draw = Draw::new(options.seed);
        site.token = site.server(0)?.tokens(&mut draw, 1, Role::Builder)?.remove(0);
        Ok(site)
    }

    fn settings(&self, options: ServerOptions, nth: usize, address: SocketAddr) -> ServerOptions {
        let uri = self.ways.get(nth).map_or_else(|| self.set.uri(), Proxy::direct_mongodb);
        options
            .set("AVVY_STORE_KIND", "mongodb")
            .set("AVVY_STORE_URI", uri)
            .set("AVVY_STORE_DATABASE", &self.database)
            .set("AVVY_STORE_OPERATION_TIMEOUT_MS", 2_000)
            .set("AVVY_STORE_RETRY_MAX_MS", 500)
            .set("AVVY_FLEET_ADDRESS", format!("http://{address}"))
            .set("AVVY_FLEET_LEASE_MS", LEASE_MS)
            .set("AVVY_REDIS_URL", format!("redis://{}/", self.way_to_redis.address()))
            .set("AVVY_REDIS_NAMESPACE", &self.database)
            .set("AVVY_BRANE_SNAPSHOT_EVERY_EVENTS", 500)
            .set("AVVY_SERVER_DEMO_OBJECTS", 0)
            // What is tried is that nothing is lost, not how fast a busy machine is.
            .set("AVVY_SERVER_DRAIN_TIMEOUT_MS", 25_000)
    }

    /// The database's address.
    pub(super) fn uri(&self) -> String {
        self.set.uri()
    }

    /// What a fault of the network is between: a node and the database where
    /// each has a way of its own, everybody and the primary elsewhere.
    pub(super) fn way(&self, node: usize) -> &Proxy {
        self.ways.get(node).unwrap_or_else(|| self.set.proxy(self.set.primary()))
    }

    /// Whether a node can be cut off while the other is not.
    pub(super) fn has_own_ways(&self) -> bool {
        !self.ways.is_empty()
    }

    /// Where the nodes are.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// A node that runs.
    pub(super) fn server(&self, nth: usize) -> Result<&Server> {
        self.nodes[nth].server.as_ref().context("the node runs")
    }

    /// Whether a node serves a brane.
    pub(super) async fn serves(&self, nth: usize) -> Result<bool> {
        let address = self.nodes[nth].address;
        let branes = spawn_blocking(move || http::metric(address, "avvy_branes")).await??;
        Ok(branes.is_some_and(|branes| branes > 0.0))
    }

    /// Starts a node as a supervisor does: again if it ends, as it does when it
    /// finds no primary because one is being chosen.
    pub(super) fn start_node(&mut self, nth: usize) -> Result<()> {
        let node = &mut self.nodes[nth];
        let start = || Server::start_at(&node.options, node.address);
        node.server = Some(start().or_else(|_| start()).or_else(|_| start())?);
        Ok(())
    }

    pub(super) fn kill_node(&mut self, nth: usize) -> Result<()> {
        Ok(self.nodes[nth].server.take().context("the node runs")?.kill()?)
    }

    /// Ends a node as an operator does.
    pub(super) fn drain_node(&mut self, nth: usize) -> Result<()> {
        self.nodes[nth].server.take().context("the node runs")?.stop()
    }

    /// Has a node stand still, or go on.
    pub(super) fn signal_node(&self, nth: usize, stop: bool) -> Result<()> {
        use rustix::process::{Pid, Signal, kill_process};
        let id = Pid::from_raw(self.server(nth)?.pid().cast_signed()).context("it has an id")?;
        Ok(kill_process(id, if stop { Signal::STOP } else { Signal::CONT })?)
    }

    /// Asks a node for each brane, which it opens if it may. What it answers
    /// does not matter.
    pub(super) fn knock(&self, nth: usize) {
        for brane in &self.branes {
            let path = format!("GET /api/v1/brane/{brane}/objects?limit=1");
            let head = format!("{path}\r\nAuthorization: Bearer {}", self.token);
            let _ = http::ask(self.nodes[nth].address, &head, b"");
        }
    }

    /// Drains both nodes.
    pub(super) fn drain(mut self) -> Result<Self> {
        (0..self.nodes.len()).try_for_each(|nth| self.drain_node(nth))?;
        Ok(self)
    }
}
