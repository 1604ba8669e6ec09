//! The project's own commands: `cargo xtask NAME`.
//!
//! Needs nothing but std and anyhow, so that the first command in a fresh
//! clone starts within seconds.

mod bench;
mod debian;
mod faketime;
mod fleet;
mod fuzz;
mod licences;
mod lint;
mod mongod;
mod mutants;
mod oidc;
mod python;
mod redis;
mod serve;
mod shell;
mod spdx;
mod suite;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Usage: cargo xtask COMMAND

  run [-- ARGS]       build the server and serve from ./data; ARGS go to `avvyland serve`
  up                  build the server with MongoDB and Redis, and start those and a fleet of two
                      nodes on 127.0.0.1:7881 and :7882, in target/fleet; what runs is left alone.
                      --port N: the first of four ports; --folder DIR; --server PROGRAM
  down                end all of it; the data stay [--folder DIR]
  test [FILTER]       set up and run every test; with FILTER only those whose name holds it
                      (`python`: only the Python client's)
  lint                format, clippy, documentation, licences, advisories
  bench [NAME] [ARGS] run all benchmarks or one; results are in bench/results
  compare COMMIT NAME ...
                      run benchmarks of that version and of this one in turns [--turns N]
                      [--seconds S]; the result is in bench/results/compare.json
  crash [--rounds N]  kill -9 a server under load N times and verify what it promised (200)
  chaos [--seconds N] have a fleet of two nodes fail every few seconds under load and verify what
                      its clients were told (600)
  fuzz [NAME] [--seconds N]
                      fuzz what reads bytes from outside, or one of it, N seconds each (600)
  mutants [NAME ...]  plant bugs and say which seed of the simulation finds each (see sim/README.md)
  help                this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{HELP}");
        return Ok(ExitCode::FAILURE);
    };
    std::env::set_current_dir(shell::root())?;
    let builds: fn(&[String]) -> Result<ExitCode> = match command.as_str() {
        "run" => serve::run,
        "up" => fleet::up,
        "down" => return fleet::down(rest),
        "test" => suite::run,
        "lint" => lint::run,
        "bench" => bench::bench,
        "compare" => bench::compare,
        "fuzz" => fuzz::run,
        "mutants" => mutants::run,
        "crash" => bench::crash,
        "chaos" => bench::chaos,
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        other => bail!("there is no command {other:?}\n\n{HELP}"),
    };
    debian::need_make()?;
    builds(rest)
}
