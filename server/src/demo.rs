//! `avvyland demo`: simulated builders against a running server.

use std::process::ExitCode;

use anyhow::Result;
use avvy_client::demo::{DemoOptions, Live, run as build};

use crate::whereabouts::Target;
use crate::{cli, output};

/// Runs the builders and prints what came of it. Fails the process when
/// something was lost or copies differ.
///
/// # Errors
/// When there is no server, or the builders cannot join.
pub fn run(arguments: &cli::Demo) -> Result<ExitCode> {
    let target = Target::find(&arguments.place)?;
    let options = DemoOptions {
        users: arguments.users,
        edits_per_second: arguments.edits_per_second,
        seconds: arguments.seconds as f64,
        walkers: arguments.walkers,
        client: target.client(),
        live: if arguments.json { Live::Off } else { Live::default() },
        ..DemoOptions::new(target.address(), target.token, target.brane)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let summary = runtime.block_on(build(options))?;
    if arguments.json {
        output::say(summary.to_json())?;
    } else {
        output::say(&summary)?;
    }
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
