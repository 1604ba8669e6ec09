//! Two servers on one MongoDB, as nodes of a fleet.
#![allow(clippy::unwrap_used)]

mod clock;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/load.rs"]
mod load;
mod place;
mod revoked;
#[cfg(feature = "redis")]
mod rights;
#[cfg(feature = "redis")]
#[path = "../common/session.rs"]
mod session;
#[cfg(feature = "redis")]
mod signed_out;
mod slow;
#[cfg(feature = "redis")]
mod stale;
mod transfers;
mod worlds;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use avvy_client::machine::MachineOptions;
use avvy_client::net::{Brane, Client, ClientOptions, Pending};
use avvy_model::{BraneId, Position};
use avvy_persistence::testing::mongod::{fresh_database, shared};
use common::Server;
use load::{block, count};
use tokio::time::timeout;

/// The binary of these tests: the release is built without MongoDB.
const BINARY: &str = env!("CARGO_BIN_EXE_avvyland");
const PATIENCE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_millis(2_000);

/// Two nodes; the demo brane is the first one's.
struct Pair {
    one: Server,
    two: Server,
    brane: BraneId,
    _directory: tempfile::TempDir,
}

impl Pair {
    fn start(objects: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = fresh_database();
        let start = |name: &str| node(directory.path(), name, &database, objects);
        let (one, two) = (start("one"), start("two"));
        assert_eq!(one.demo_brane, two.demo_brane, "they share what they have");
        let brane = one.demo_brane.parse().unwrap();
        Self { one, two, brane, _directory: directory }
    }

    /// A client that knows both nodes, this one first.
    async fn join(&self, first: &Server, other: &Server) -> Brane {
        join(self.brane, first, other).await
    }

    fn objects(&self, node: &Server) -> Result<usize, (u16, String)> {
        count(node, self.brane)
    }
}

/// A client that knows both nodes, this one first.
async fn join(brane: BraneId, first: &Server, other: &Server) -> Brane {
    let options = ClientOptions {
        // A node that is stopped takes connections and says nothing.
        connect_timeout_ms: 500,
        reconnect_first_ms: 20,
        reconnect_max_ms: 200,
        other_addresses: vec![other.url.clone()],
        machine: MachineOptions { answer_timeout_ms: 120_000, ..MachineOptions::default() },
        ..ClientOptions::default()
    };
    let connecting = Client::connect(&first.url, &first.token, options);
    let client = timeout(PATIENCE, connecting).await.unwrap().unwrap();
    timeout(PATIENCE, client.join(brane)).await.unwrap().unwrap()
}

fn node(directory: &Path, name: &str, database: &str, objects: u32) -> Server {
    node_with(directory, name, database, objects, &[])
}

/// A node with these settings, too.
fn node_with(
    directory: &Path,
    name: &str,
    database: &str,
    objects: u32,
    more: &[(&str, &str)],
) -> Server {
    let (lease_ms, objects) = (LEASE.as_millis().to_string(), objects.to_string());
    let own = [
        ("AVVY_FLEET_ADDRESS", "http://127.0.0.1:0"),
        ("AVVY_FLEET_LEASE_MS", &lease_ms),
        ("AVVY_SERVER_DEMO_OBJECTS", &objects),
    ];
    start(directory, name, database, &[&own[..], more].concat())
}

fn node_at(
    directory: &Path,
    name: &str,
    database: &str,
    objects: u32,
    address: &str,
    lease: Duration,
) -> Server {
    let lease_ms = lease.as_millis().to_string();
    let more = [("AVVY_FLEET_ADDRESS", address), ("AVVY_FLEET_LEASE_MS", &lease_ms)];
    node_with(directory, name, database, objects, &more)
}

fn start(directory: &Path, name: &str, database: &str, more: &[(&str, &str)]) -> Server {
    let key = directory.join("key.pem");
    let settings = [
        ("AVVY_STORE_KIND", "mongodb"),
        ("AVVY_STORE_URI", shared()),
        ("AVVY_STORE_DATABASE", database),
        // A busy machine is no reason to fail.
        ("AVVY_STORE_OPERATION_TIMEOUT_MS", "60000"),
        ("AVVY_FLEET_HAND_OVER_TIMEOUT_MS", "60000"),
        ("AVVY_SERVER_DRAIN_TIMEOUT_MS", "120000"),
        // Tokens of one are good at the other.
        ("AVVY_AUTH_KEY_FILE", key.to_str().unwrap()),
    ];
    // What comes later counts.
    Server::start_program(BINARY.as_ref(), &directory.join(name), &[&settings, more].concat())
}

/// Edits one after another until it is told to stop: the edits, on their way
/// as long as the brane is kept, and the longest that one waited for being applied.
async fn build(
    brane: Brane,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> (Brane, Vec<Pending>, Duration) {
    let (mut edits, mut longest) = (Vec::new(), Duration::ZERO);
    while !*stop.borrow_and_update() {
        let began = Instant::now();
        let mut edit = brane.submit(block()).await.unwrap();
        timeout(PATIENCE, edit.applied()).await.unwrap().unwrap();
        longest = longest.max(began.elapsed());
        edits.push(edit);
    }
    (brane, edits, longest)
}

/// Waits until all of a client's edits are durable; each is later in the log
/// than those before it.
async fn all_durable(edits: Vec<Pending>, seen: &mut BTreeSet<Position>) {
    let mut last = Position::default();
    for edit in edits {
        let at = timeout(PATIENCE, edit.durable()).await.unwrap().unwrap();
        assert!(at.seq > last.seq, "{at:?} after {last:?}");
        assert!(seen.insert(at), "two edits at {at:?}");
        last = at;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_the_node_of_a_brane_and_the_one_after_its_death() {
    let pair = Pair::start(50);
    let objects = pair.objects(&pair.one).unwrap();
    assert_eq!(pair.objects(&pair.two), Err((421, pair.one.url.clone())), "at the other");
    let brane = pair.join(&pair.two, &pair.one).await;
    let edit = brane.submit(block()).await.unwrap();
    let before = timeout(PATIENCE, edit.durable()).await.unwrap().unwrap();
    assert_eq!(pair.objects(&pair.one), Ok(objects + 1));

    let Pair { one, two, .. } = &pair;
    one.signal("-KILL");
    let killed = Instant::now();
    let edit = brane.submit(block()).await.unwrap();
    let after = timeout(PATIENCE, edit.durable()).await.unwrap().unwrap();
    // The lease, and what a busy machine takes.
    let took = killed.elapsed();
    assert!(took < LEASE + Duration::from_secs(10), "served elsewhere after {took:?}");
    assert_eq!(after.seq, before.seq.next());
    assert!(after.epoch > before.epoch);
    assert_eq!(pair.objects(two), Ok(objects + 2));
}

/// The lease would last for an hour: whoever has the branes did not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_after_its_death_has_its_branes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let database = fresh_database();
    let start = |name: &str, address: &str| {
        node_at(directory.path(), name, &database, 50, address, Duration::from_secs(3_600))
    };
    // The address is what others are told; these clients know the port.
    let (here, elsewhere) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
    let mut one = start("one", here);
    let brane = one.demo_brane.parse().unwrap();
    let two = start("two", elsewhere);
    let before = count(&one, brane).unwrap();
    let mut seen = BTreeSet::new();
    for round in 1..=3_usize {
        let client = Client::connect(&one.url, &one.token, ClientOptions::default());
        let client = timeout(PATIENCE, client).await.unwrap().unwrap();
        let world = timeout(PATIENCE, client.join(brane)).await.unwrap().unwrap();
        let mut edits = Vec::new();
        for _ in 0..20 {
            edits.push(world.submit(block()).await.unwrap());
        }
        all_durable(edits, &mut seen).await;
        // In the middle of what it writes.
        for _ in 0..20 {
            world.submit(block()).await.unwrap();
        }
        one.signal("-KILL");
        one.wait();
        drop((world, client));
        assert_eq!(count(&two, brane), Err((421, here.to_owned())), "nobody else has it");
        one = start("one", here);
        let found = count(&one, brane).unwrap();
        assert!((before + 20 * round..=before + 40 * round).contains(&found), "{found} objects");
        assert_eq!(count(&two, brane), Err((421, here.to_owned())));
    }
    let epochs: BTreeSet<_> = seen.iter().map(|at| at.epoch).collect();
    assert_eq!(epochs.len(), 3, "an opening after each death: {epochs:?}");
    // What is not known to be the same place waits for the lease.
    one.signal("-KILL");
    one.wait();
    let one = start("one", "http://127.0.0.1:3");
    assert_eq!(count(&one, brane), Err((421, here.to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_gives_its_branes_away() {
    let objects = std::env::var("AVVYLAND_FLEET_OBJECTS").map_or(2_000, |n| n.parse().unwrap());
    let pair = Pair::start(objects);
    let before = pair.objects(&pair.one).unwrap();
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let mut builders = Vec::new();
    for _ in 0..4 {
        let brane = pair.join(&pair.one, &pair.two).await;
        builders.push(tokio::spawn(build(brane, stopping.clone())));
    }
    let Pair { one, two, brane, _directory } = pair;
    let url = one.url.clone();
    let ended = tokio::task::spawn_blocking(move || one.drain());
    assert_eq!(timeout(2 * PATIENCE, ended).await.unwrap().unwrap().code(), Some(0));
    stop.send(true).unwrap();
    let (mut seen, mut away) = (BTreeSet::new(), Duration::ZERO);
    for builder in builders {
        let (_open, edits, longest) = timeout(PATIENCE, builder).await.unwrap().unwrap();
        away = away.max(longest);
        all_durable(edits, &mut seen).await;
    }
    eprintln!(
        "{before} objects went from {url} to {}; nobody waited longer than {away:?}",
        two.url
    );
    let epochs: BTreeSet<_> = seen.iter().map(|at| at.epoch).collect();
    assert!(epochs.len() > 1, "edits before and after: {epochs:?}");
    let metrics = two.text("/metrics");
    assert!(metrics.contains("avvy_lease_provisional 0"), "{metrics}");
    assert_eq!(count(&two, brane), Ok(before + seen.len()), "each edit once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sleeps_over_its_lease_writes_nothing_when_it_wakes() {
    let pair = Pair::start(50);
    let Pair { one, two, .. } = &pair;
    let before = pair.objects(one).unwrap();
    let sleeper = pair.join(one, two).await;
    let mut edits = Vec::new();
    for _ in 0..5 {
        let mut edit = sleeper.submit(block()).await.unwrap();
        timeout(PATIENCE, edit.applied()).await.unwrap().unwrap();
        edits.push(edit);
    }
    one.signal("-STOP");
    // These it finds when it wakes.
    for _ in 0..5 {
        edits.push(sleeper.submit(block()).await.unwrap());
    }
    let other = pair.join(two, one).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut edit = other.submit(block()).await.unwrap();
        timeout(PATIENCE, edit.applied()).await.unwrap().unwrap();
        others.push(edit);
    }
    one.signal("-CONT");
    let mut seen = BTreeSet::new();
    all_durable(others, &mut seen).await;
    all_durable(edits, &mut seen).await;
    assert_eq!(pair.objects(two), Ok(before + 15), "each edit once");
    assert_eq!(pair.objects(one), Err((421, two.url.clone())), "it has let go of it");
}
