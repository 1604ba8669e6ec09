//! Kills this server under load and checks what it promised. More rounds by
//! hand: `cargo xtask crash --rounds 200`.
#![allow(clippy::unwrap_used)]

use avvy_bench::crash::{self, Cut, Options, Summary};
use avvy_bench::draw::Draw;

fn run(rounds: u32, cut: Cut) -> anyhow::Result<Summary> {
    let directory = tempfile::tempdir().unwrap();
    let seed = Draw::of_now().number();
    eprintln!("seed {seed}");
    let binary = env!("CARGO_BIN_EXE_avvyland").into();
    let options = Options {
        binary,
        data: directory.path().join("data"),
        rounds,
        cut,
        seed,
        settings: vec![],
    };
    crash::run(&options, |_| {})
}

#[test]
fn killed_twenty_times_it_keeps_its_promises() {
    let summary = run(20, Cut::Process).unwrap();
    eprintln!("{summary}");
    assert_eq!(summary.rounds, 20);
    assert!(summary.fewest_in_flight >= 1_000);
}

#[test]
fn without_power_it_keeps_its_promises() {
    // Where nothing happened to be unsynced, a cut proves nothing.
    for _ in 0..5 {
        let summary = run(10, Cut::Power { synchronous: true }).unwrap();
        eprintln!("{summary}");
        if summary.lost_sectors > 0 {
            return;
        }
    }
    panic!("nothing was ever unsynced");
}

#[test]
fn without_power_and_syncing_it_does_not() {
    let broken = format!("{:#}", run(10, Cut::Power { synchronous: false }).unwrap_err());
    eprintln!("as it must be: {broken}");
    let losses = ["durable edits are lost", "the brane is gone", "the data are not in order"];
    assert!(losses.iter().any(|loss| broken.contains(loss)), "{broken}");
}
