//! `avvy-bench`: takes the figures that `README.md` explains.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use avvy_bench::machine::{self, Cores};
use avvy_bench::suite::{Benchmark, Setup};
use avvy_bench::{bare, process};
use clap::{Args, Parser, Subcommand};

/// Takes the figures of Avvyland, each beside a bare program in the same run.
#[derive(Parser)]
#[command(name = "avvy-bench", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Part {
    /// A program that the server is compared with; started by the benchmarks.
    #[command(hide = true)]
    Bare {
        /// What it does.
        role: bare::Role,
    },
}

#[derive(Args)]
struct Bench {
    /// Which; all when none is named
    names: Vec<Benchmark>,
    /// Small and short: whether everything works, not how fast
    #[arg(long)]
    quick: bool,
    /// The server's program [default: AVVYLAND_BINARY, or beside this one]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Rounds in which server and baseline take turns
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Seconds of each measurement
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: Option<u64>,
    /// A setting of the server, as AVVY_SECTION_KEY=VALUE; more than once for more
    #[arg(long = "set", value_name = "SETTING")]
    settings: Vec<String>,
    /// Directory for data, on a real disk [default: target, beside the results of builds]
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target"), hide_default_value = true)]
    scratch: PathBuf,
    /// Directory of the results [default: bench/results; none for --quick]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.part {
        Some(Part::Bare { role }) => bare::run(role).map(|()| ExitCode::SUCCESS),
        None => run(&cli.bench),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("avvy-bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(bench: &Bench) -> Result<ExitCode> {
    let setup = setup(bench)?;
    machine::pin(setup.cores.load)?;
    println!("{}", machine::describe());
    if !setup.cores.are_apart() {
        println!("there is only one core: server and load share it, and the figures say little");
    }
    let out = match &bench.out {
        Some(out) => Some(out.clone()),
        None if bench.quick => None,
        None => Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("results")),
    };
    let names = if bench.names.is_empty() { &Benchmark::ALL[..] } else { &bench.names };
    let mut all_good = true;
    for benchmark in names {
        match benchmark.run(&setup) {
            Ok(report) => {
                report.print();
                all_good &= report.broken().is_empty();
                if let Some(out) = &out {
                    report.write(out)?;
                }
            }
            Err(error) => {
                eprintln!("\n{}: {error:#}", benchmark.name());
                all_good = false;
            }
        }
    }
    std::fs::remove_dir_all(&setup.scratch)?;
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn setup(bench: &Bench) -> Result<Setup> {
    let scratch = bench.scratch.join(format!("avvy-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("{}", scratch.display()))?;
    let (rounds, seconds) = if bench.quick { (1, 2) } else { (5, 4) };
    let settings = bench.settings.iter().map(|setting| {
        let (name, value) = setting.split_once('=').context("a setting is NAME=VALUE")?;
        ensure!(name.starts_with("AVVY_"), "settings are AVVY_SECTION_KEY=VALUE");
        Ok((name.to_owned(), value.to_owned()))
    });
    Ok(Setup {
        binary: process::find_binary(bench.server.as_deref())?,
        scratch,
        cores: Cores::choose()?,
        rounds: bench.rounds.map_or(rounds, usize::from),
        time: Duration::from_secs(bench.seconds.unwrap_or(seconds)),
        quick: bench.quick,
        settings: settings.collect::<Result<_>>()?,
    })
}
