//! Two nodes, each with a way of its own to one database.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use avvy_client::machine::MachineOptions;
use avvy_client::net::{Brane, Client, ClientOptions};
use avvy_model::BraneId;
use avvy_persistence::testing::mongod::{MongoSet, fresh_database};
use avvy_persistence::testing::proxy::{Proxy, Way};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::LOOK;
use crate::common::Server;
use crate::load::{Built, Load, count, judge};

/// The binary of these tests: the release is built without MongoDB.
const BINARY: &str = env!("CARGO_BIN_EXE_avvyland");
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a lease of [`QUICK`] lasts.
pub const LEASE: Duration = Duration::from_millis(1_000);

/// A node, and its way to the database.
pub struct Node {
    pub server: Server,
    pub way: Proxy,
}

/// What makes a node that is cut off notice soon.
pub const QUICK: [(&str, &str); 3] = [
    ("AVVY_STORE_OPERATION_TIMEOUT_MS", "2000"),
    ("AVVY_STORE_RETRY_MAX_MS", "500"),
    ("AVVY_FLEET_LEASE_MS", "1000"),
];

/// A node of a fleet.
pub fn serve(uri: &str, directory: &Path, database: &str, more: &[(&str, &str)]) -> Server {
    let key = directory.with_file_name("key.pem");
    let own = [
        ("AVVY_STORE_KIND", "mongodb"),
        ("AVVY_STORE_URI", uri),
        ("AVVY_STORE_DATABASE", database),
        ("AVVY_FLEET_ADDRESS", "http://127.0.0.1:0"),
        // Tokens of one are good at the other.
        ("AVVY_AUTH_KEY_FILE", key.to_str().unwrap()),
    ];
    Server::start_program(BINARY.as_ref(), directory, &[&own[..], more].concat())
}

/// Somebody who builds in a brane; `others` is where else it may be.
pub async fn join(node: &Server, brane: BraneId, others: &[&Server]) -> Brane {
    let options = ClientOptions {
        reconnect_first_ms: 20,
        reconnect_max_ms: 200,
        other_addresses: others.iter().map(|node| node.url.clone()).collect(),
        machine: MachineOptions { answer_timeout_ms: 60_000, ..MachineOptions::default() },
        ..ClientOptions::default()
    };
    let connecting = Client::connect(&node.url, &node.token, options);
    let client = timeout(PATIENCE, connecting).await.unwrap().unwrap();
    timeout(PATIENCE, client.join(brane)).await.unwrap().unwrap()
}

impl Node {
    /// A number of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.server.text("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until a number of `/metrics` is as it should be.
    pub fn until(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        let began = Instant::now();
        while !wanted(self.metric(name)) {
            assert!(began.elapsed() < PATIENCE, "{name} is {}", self.metric(name));
            // Who asks all the time is sent away.
            std::thread::park_timeout(LOOK);
        }
    }

    /// How many files are in its archive.
    pub fn archived(&self) -> usize {
        let archive = std::fs::read_dir(self.server.data.join("spool/archive"));
        archive.map_or(0, Iterator::count)
    }
}

/// Two nodes; the demo brane is the first one's.
pub struct Pair {
    pub one: Node,
    pub two: Node,
    pub brane: BraneId,
    database: String,
    _set: MongoSet,
    _directory: TempDir,
}

impl Pair {
    /// Two nodes that notice soon, with these settings.
    pub fn start(more: &[(&str, &str)]) -> Self {
        Self::start_as_set(&[&QUICK[..], more].concat())
    }

    /// Two nodes with these settings and otherwise those of a fleet's own.
    pub fn start_as_set(more: &[(&str, &str)]) -> Self {
        let (set, directory) = (MongoSet::start(1), tempfile::tempdir().unwrap());
        let database = fresh_database();
        let node = |name| {
            let way = Proxy::start(SocketAddr::from(([127, 0, 0, 1], set.ports()[0])));
            let directory = directory.path().join(name);
            Node { server: serve(&way.direct_mongodb(), &directory, &database, more), way }
        };
        let (one, two) = (node("one"), node("two"));
        let brane = one.server.demo_brane.parse().unwrap();
        Self { one, two, brane, database, _set: set, _directory: directory }
    }

    /// Kills the first node, and starts it again where it was, with the database
    /// there and these settings.
    pub fn kill_and_start_one(&mut self, more: &[(&str, &str)]) {
        let Node { server, way } = &mut self.one;
        server.signal("-KILL");
        server.wait();
        way.set(Way::CLEAR);
        let data = server.data.clone();
        let settings = [&QUICK[..], more].concat();
        *server = serve(&way.direct_mongodb(), &data, &self.database, &settings);
    }

    /// What holds of a brane that was taken from the first node: those who were
    /// there, and others, have built so much on what there was before.
    pub fn judge_taken(
        &self,
        brane: BraneId,
        before: usize,
        robbed: Vec<Built>,
        others: Vec<Built>,
    ) {
        assert!(robbed.iter().all(|built| built.rewinds == 1), "what they saw last was lost");
        let all: Vec<Built> = robbed.into_iter().chain(others).collect();
        let (edits, epochs) = judge(&all);
        assert_eq!(epochs.len(), 2, "before and after: {epochs:?}");
        assert_eq!(count(&self.two.server, brane), Ok(before + edits), "each edit once");
    }

    /// So many builders who come to this node.
    pub async fn build(&self, node: &Node, builders: usize) -> Load {
        Load::start(self.join(node, self.brane, builders).await)
    }

    /// So many who come to this node for a brane.
    pub async fn join(&self, node: &Node, brane: BraneId, count: usize) -> Vec<Brane> {
        let mut branes = Vec::new();
        for _ in 0..count {
            let both = [&self.one.server, &self.two.server];
            branes.push(join(&node.server, brane, &both).await);
        }
        branes
    }
}
