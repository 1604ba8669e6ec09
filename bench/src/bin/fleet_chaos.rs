//! `fleet-chaos`: a fleet of two nodes under faults.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use avvy_bench::draw::Draw;
use avvy_bench::fleet::{self, Network, Options, Summary};
use avvy_bench::{machine, process};
use clap::Parser;
use serde_json::json;

/// Has a fleet of two nodes on MongoDB and Redis fail every few seconds under
/// load, and checks all that its clients were told. The exit code is 0 when
/// every promise was kept.
#[derive(Parser)]
#[command(name = "fleet-chaos", version)]
struct Cli {
    /// For how long things fail; longer if not each kind of fault has come by then
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
    /// Directory of the results, `chaos.json` or `chaos-own-ways.json` [default: none]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
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
    fs::create_dir_all(&scratch)?;
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
    let summary = fleet::run(&options, |line| println!("{line}"))?;
    println!("{summary}");
    if let Some(out) = &cli.out {
        write(out, &options, &summary)?;
    }
    Ok(fs::remove_dir_all(&scratch)?)
}

/// Writes what was done to a folder, for those who do it again.
fn write(folder: &Path, options: &Options, summary: &Summary) -> Result<()> {
    let (name, network) = match options.network {
        Network::Shared => ("chaos", "shared"),
        Network::Own => ("chaos-own-ways", "own ways"),
    };
    let Options { branes, clients, seed, .. } = options;
    let text = json!({
        "benchmark": name,
        "machine": machine::describe(),
        "network": network,
        "seconds": summary.seconds,
        "branes": branes,
        "clients_of_each": clients,
        // Beyond what a number of JSON is sure to hold.
        "seed": seed.to_string(),
        "faults": summary.faults,
        "faults_in_all": summary.faults.values().sum::<u32>(),
        "facts": summary.facts,
        "edits": summary.edits,
        "epochs": summary.epochs,
        "rewinds": summary.rewinds,
        "refused": summary.refused,
        "unknown": summary.unknown,
    });
    fs::create_dir_all(folder)?;
    let file = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(&text)? + "\n";
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
}
