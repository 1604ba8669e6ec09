//! Two nodes on one MongoDB and one Redis.
#![allow(clippy::unwrap_used)]

use avvy_bench::draw::Draw;
use avvy_bench::fleet::{self, Network, Options};

/// The binary of these tests: the release is built without MongoDB.
const BINARY: &str = env!("CARGO_BIN_EXE_avvyland");

fn survives(network: Network, seconds: u64) {
    let directory = tempfile::tempdir().unwrap();
    let seed = Draw::of_now().number();
    eprintln!("seed {seed}");
    let options = Options {
        binary: BINARY.into(),
        scratch: directory.path().to_owned(),
        network,
        seconds,
        branes: 3,
        clients: 4,
        seed,
    };
    let summary = fleet::run(&options, |line| eprintln!("{line}")).unwrap();
    eprintln!("{summary}");
}

#[test]
fn what_clients_of_a_failing_fleet_are_told_is_true() {
    survives(Network::Shared, 60);
}

#[test]
fn what_is_told_by_nodes_that_are_cut_off_one_by_one_is_true() {
    survives(Network::Own, 40);
}
