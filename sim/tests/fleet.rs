//! The fleet, simulated: every promise holds, and every kind of fault was
//! among what happened.

use std::thread;

use avvy_sim::{Counts, fleet};

const SEEDS: u64 = 1_000;
const STEPS: u64 = 300;
const THREADS: u64 = 2;

/// What all runs together have to contain for their success to mean anything.
const KINDS: &[&str] = &[
    "answer lost",
    "brane dropped by a hint",
    "brane lost",
    "brane opened",
    "brane preloaded",
    "brane taken",
    "branes not kept any further",
    "database away",
    "edit durable",
    "edits kept",
    "edits left by a node that died",
    "hand-over",
    "hand-over: not ready in time",
    "hand-over: the brane is gone",
    "hand-over: the store did not do it",
    "kept edit archived",
    "kept edit stored",
    "lease lapsed",
    "lease of the dead ended",
    "no room on local disk",
    "node asleep",
    "node cut off",
    "node ended",
    "node ends",
    "node killed",
    "node provisional",
    "node started",
    "node sure",
    "opening rejected",
    "sent to another node",
    "untrue hint",
];

#[test]
fn every_seed_keeps_what_a_fleet_promises() {
    let run = |first: u64| {
        let mut totals = Counts::new();
        for seed in (first..SEEDS).step_by(THREADS as usize) {
            let counts =
                fleet::run(seed, STEPS, false).unwrap_or_else(|failure| panic!("{failure}"));
            for (kind, n) in counts {
                *totals.entry(kind).or_default() += n;
            }
        }
        totals
    };
    let mut totals = Counts::new();
    thread::scope(|scope| {
        let runs = (0..THREADS).map(|first| scope.spawn(move || run(first)));
        for counts in runs.collect::<Vec<_>>() {
            for (kind, n) in counts.join().expect("every seed holds") {
                *totals.entry(kind).or_default() += n;
            }
        }
    });
    for kind in KINDS {
        assert!(totals.contains_key(kind), "no {kind} among {totals:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run() {
    for seed in 0..3 {
        let runs = [(); 2].map(|()| fleet::run(seed, STEPS, false).map_err(|f| f.to_string()));
        assert_eq!(runs[0], runs[1]);
    }
}
