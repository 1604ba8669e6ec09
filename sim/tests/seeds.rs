//! The simulation as a test: at least 2,000 seeds of at least 500 steps, and
//! a proof that every kind of fault was among them.

mod harness;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use avvy_sim::{Counts, Failure, run, witness};

const SEEDS: u64 = 3_000;
const STEPS: u64 = 500;
const THREADS: u64 = 2;
/// So often a copy of a part is compared in each run, on average at least.
const PARTS_COMPARED: u64 = 50;
/// So often sessions come to each level but the first and leave it, at least.
const LEVELS: u64 = SEEDS / 5;

/// What a run of all seeds has to contain for its success to mean anything.
const KINDS: &[&str] = &[
    "admission: somebody is told to come back",
    "admission: somebody waits",
    "admission: who takes long keeps nobody out",
    "admission: who waited is let in",
    "admission: who waits goes away",
    "append done after its time-out",
    "append timed out",
    "append without effect after its time-out",
    "area: an object is hung elsewhere",
    "area: an object is hung elsewhere, and is gone or in another",
    "area: an object moves to another home",
    "area: brought up by replay",
    "area: copy compared",
    "area: copy compared at the end",
    "area: crossing followed",
    "area: fresh start",
    "area: fresh start instead of another",
    "area: from the whole brane",
    "area: more crosses than fits into a window",
    "area: objects entered",
    "area: objects left",
    "area: objects of cells seen",
    "area: objects of the layer seen",
    "area: quiet view told late",
    "area: resumed by replay",
    "area: step away from objects",
    "area: step to another view",
    "area: the whole brane wanted",
    "area: to the whole brane",
    "area: walk",
    "area: walk while catching up",
    "area: wanted",
    "avatar taken away",
    "brane opened by another process",
    "brane opened anew for its cells",
    "brane superseded",
    "catch-up by difference",
    "catch-up by replay",
    "catch-up by snapshot",
    "cell taken",
    "cells compared",
    "client gives its connection up",
    "client goes for good",
    "client goes on under a new name",
    "client leaves a brane",
    "client stays away for long",
    "compaction",
    "compaction to a size",
    "connection cut",
    "connection cut while catching up",
    "copy compared",
    "copy compared at the end",
    "crash of a brane",
    "crash of a brane between two effects",
    "crash of the process",
    "defaults made up by a client are refused",
    "deletion allowed by a narrow grant",
    "edit allowed by a grant",
    "edit allowed by a grant for a prototype",
    "edit allowed by a grant for a region",
    "edit allowed by a grant within a group",
    "edit allowed by a role",
    "edit applied anew after a fork",
    "edit durable",
    "edit refused as unavailable",
    "edit's outcome unknown",
    "fork: accepted edits lost",
    "fork: seen edits lost",
    "fork: seen edits lost to another writer",
    "group commit of several chunks",
    "idle brane closed",
    "instances compared",
    "join refused",
    "level served: begun anew near",
    "level served: moves left out",
    "level served: people changed without poses",
    "level served: several windows as one",
    "level served: step of one that recovers",
    "level served: windows of an area",
    "level told",
    "level: collapsed for age",
    "level: collapsed for bytes",
    "level: from collapsed to no presence",
    "level: from near to collapsed",
    "level: from no presence to full",
    "level: from resync to near",
    "level: near for age",
    "level: near for bytes",
    "level: no presence for age",
    "level: no presence for bytes",
    "level: resync for age",
    "level: resync for bytes",
    "network delay spike",
    "opening after compaction",
    "opening failed",
    "opening from an older snapshot",
    "own rights told",
    "people changed",
    "people compared at the end",
    "people listed anew",
    "portals there",
    "poses seen",
    "power cut at a store operation",
    "pressure of the journal's queue",
    "prototype adopted",
    "prototype dropped",
    "prototype updated",
    "reader message by message",
    "recovery judged, from an older snapshot",
    "recovery judged, from the journal alone",
    "recovery judged, from the newest snapshot",
    "resync of a slow session",
    "rewind of a copy",
    "rewind seen by a client",
    "ruling",
    "server stops reading a client",
    "session let go of by a ruling",
    "signal heard",
    "slot taken",
    "slots compared",
    "slow reader",
    "slow reader of an area",
    "slow session closed: it loads for too long",
    "slow session closed: it replays for too long",
    "slow session closed: its outbox stays full",
    "slow session closed: too many new starts",
    "slow store operation",
    "snapshot failed",
    "snapshot stored",
    "somebody is kept out",
    "stalled actor",
    "state hash asked for",
    "storm of connections",
    "store error after an append",
    "store error after another operation",
    "store error before an append",
    "store error before another operation",
    "store error within an append",
    "store full",
    "store overloaded",
    "update for a brane that is gone",
    "views take turns",
    "wall clock set back",
    "wall clock set forth",
];

/// Seeds that are run twice.
const TWICE: [u64; 8] = [11, 200, 404, 808, 1_205, 1_562, 1_777, 1_999];

/// What there is to run, by name.
const TESTS: [(&str, fn()); 2] = [
    ("every_seed_holds_and_every_fault_occurs", every_seed_holds_and_every_fault_occurs),
    ("a_seed_gives_the_same_run", a_seed_gives_the_same_run),
];

fn main() -> ExitCode {
    harness::run(&TESTS, std::env::args().skip(1))
}

fn every_seed_holds_and_every_fault_occurs() {
    let began = Instant::now();
    let totals = run_all();
    println!("{SEEDS} seeds of {STEPS} steps in {:.1} s:", began.elapsed().as_secs_f64());
    for (kind, n) in &totals {
        println!("{n:>10}  {kind}");
    }
    let missing: Vec<_> = KINDS.iter().filter(|kind| !totals.contains_key(**kind)).collect();
    assert!(missing.is_empty(), "these did not occur: {missing:?}");
    let compared = totals["area: copy compared"];
    assert!(compared >= SEEDS * PARTS_COMPARED, "{compared} copies of parts were compared");
    for (level, n) in totals.iter().filter(|(kind, _)| kind.starts_with("level: ")) {
        assert!(*n >= LEVELS, "{level}: only {n} times");
    }
}

fn a_seed_gives_the_same_run() {
    let mut witnesses = BTreeSet::new();
    for seed in TWICE {
        let once = || witness(seed, STEPS).unwrap_or_else(|failure| panic!("{failure}"));
        let (first, second) = (once(), once());
        assert_eq!(first, second, "seed {seed} went another way");
        witnesses.insert(first);
    }
    assert_eq!(witnesses.len(), TWICE.len(), "other seeds go other ways");
}

fn run_all() -> Counts {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let outcomes = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| work(&next, &stop))).collect();
        workers.into_iter().map(|w| w.join().expect("workers catch panics")).collect::<Vec<_>>()
    });
    let mut totals = Counts::new();
    for outcome in outcomes {
        add(&mut totals, outcome.unwrap_or_else(|failure| panic!("{failure}")));
    }
    totals
}

fn work(next: &AtomicU64, stop: &AtomicBool) -> Result<Counts, Failure> {
    let mut totals = Counts::new();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= SEEDS || stop.load(Ordering::Relaxed) {
            return Ok(totals);
        }
        match run(seed, STEPS, false) {
            Ok(counts) => add(&mut totals, counts),
            Err(failure) => {
                stop.store(true, Ordering::Relaxed);
                return Err(failure);
            }
        }
    }
}

fn add(totals: &mut Counts, counts: Counts) {
    for (kind, n) in counts {
        *totals.entry(kind).or_default() += n;
    }
}
