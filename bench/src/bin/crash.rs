//! `crash`: kills a server under load and checks what it had promised.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use avvy_bench::crash::{self, Cut, Options};
use avvy_bench::draw::Draw;
use avvy_bench::process;
use clap::Parser;

/// Kills a server under load, again and again, and checks everything that it
/// had promised. The exit code is 0 when every promise was kept.
#[derive(Parser)]
#[command(name = "crash", version)]
struct Cli {
    /// How often it is killed
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Take everything that was not synced with it; needs a server that was
    /// built with `--features powercut`
    #[arg(long)]
    powercut: bool,
    /// Let the store not sync at all: then promises must be broken, and the
    /// exit code is 0 when they are
    #[arg(long, requires = "powercut")]
    synchronous_off: bool,
    /// Draws times and edits [default: of the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The server's program [default: AVVYLAND_BINARY, or beside this one]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Directory for data, on a real disk
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
}

fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|error| {
        eprintln!("crash: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let seed = cli.seed.unwrap_or_else(|| Draw::of_now().number());
    let scratch = cli.scratch.join(format!("avvy-crash-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let options = Options {
        binary: process::find_binary(cli.server.as_deref())?,
        data: scratch.join("data"),
        rounds: cli.rounds,
        cut: match cli.powercut {
            true => Cut::Power { synchronous: !cli.synchronous_off },
            false => Cut::Process,
        },
        seed,
        settings: Vec::new(),
    };
    println!("seed {seed}, data in {}", scratch.display());
    let outcome = crash::run(&options, |line| println!("{line}"));
    if cli.synchronous_off {
        let Err(broken) = outcome else {
            anyhow::bail!("nothing was lost without syncing: this test would notice nothing");
        };
        println!("as it must be, a promise was broken: {broken:#}");
    } else {
        // The directory stays for whoever looks for the reason.
        println!("{}", outcome?);
    }
    std::fs::remove_dir_all(&scratch)?;
    ensure!(!scratch.exists(), "{} does not go away", scratch.display());
    Ok(ExitCode::SUCCESS)
}
