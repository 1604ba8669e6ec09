//! `fleet-chaos`: a fleet of two nodes under faults.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use avvy_bench::draw::Draw;
use avvy_bench::fleet::{self, Network, Options};
use avvy_bench::process;
use clap::Parser;

/// Has a fleet of two nodes on MongoDB and Redis fail every few seconds under
/// load, and checks all that its clients were told. The exit code is 0 when
/// every promise was kept.
#[derive(Parser)]
#[command(name = "fleet-chaos", version)]
struct Cli {
    /// For how long things fail
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,
    /// Give each node a way of its own to a single database, so that one can
    /// be cut off while the other goes on
    #[arg(long)]
    own_ways: bool,
    /// Branes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    branes: u16,
    /// Clients of each brane
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    clients: u16,
    /// Draws faults and edits [default: of the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The server's program, built with the features mongodb and redis
    /// [default: AVVYLAND_BINARY, or beside this one]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Directory for data and logs
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
}

fn main() -> ExitCode {
    run(&Cli::parse()).map_or_else(
        |error| {
            eprintln!("fleet-chaos: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn run(cli: &Cli) -> Result<()> {
    let seed = cli.seed.unwrap_or_else(|| Draw::of_now().number());
    let scratch = cli.scratch.join(format!("avvy-fleet-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let options = Options {
        binary: process::find_binary(cli.server.as_deref())?,
        scratch: scratch.clone(),
        network: if cli.own_ways { Network::Own } else { Network::Shared },
        seconds: cli.seconds,
        branes: cli.branes.into(),
        clients: cli.clients.into(),
        seed,
    };
    println!("seed {seed}, logs in {}", scratch.display());
    // The directory stays for whoever looks for the reason of a failure.
    println!("{}", fleet::run(&options, |line| println!("{line}"))?);
    Ok(std::fs::remove_dir_all(&scratch)?)
}
