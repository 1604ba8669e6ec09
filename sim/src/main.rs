//! Repeats one seed, or runs a range of them, to the end or to the first
//! that fails.

use std::process::ExitCode;

use avvy_sim::{Counts, fleet, run};

const USAGE: &str = "\
usage: avvy-sim --seed N [--steps M] [--trace] [--fleet]
       avvy-sim --from N --count K [--steps M] [--first] [--fleet]";

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Arguments { from, count, steps, trace, first, fleet } = arguments;
    let run = if fleet { fleet::run } else { run };
    let mut totals = Counts::new();
    let mut failures = 0;
    for seed in from..from + count {
        match run(seed, steps, trace) {
            Ok(counts) => {
                for (kind, n) in counts {
                    *totals.entry(kind).or_default() += n;
                }
            }
            Err(failure) => {
                failures += 1;
                println!("{failure}");
                if first {
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    for (kind, n) in totals {
        println!("{n:>10}  {kind}");
    }
    println!("{count} seeds, {failures} failures");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Arguments {
    from: u64,
    count: u64,
    steps: u64,
    trace: bool,
    first: bool,
    fleet: bool,
}

impl Arguments {
    fn read() -> Option<Self> {
        let mut read =
            Self { from: 0, count: 0, steps: 500, trace: false, first: false, fleet: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--trace" => {
                    read.trace = true;
                    continue;
                }
                "--first" => {
                    read.first = true;
                    continue;
                }
                "--fleet" => {
                    read.fleet = true;
                    continue;
                }
                _ => {}
            }
            let value = arguments.next()?.parse().ok()?;
            match name.as_str() {
                "--seed" => (read.from, read.count) = (value, 1),
                "--from" => read.from = value,
                "--count" => read.count = value,
                "--steps" => read.steps = value,
                _ => return None,
            }
        }
        (read.count > 0).then_some(read)
    }
}
