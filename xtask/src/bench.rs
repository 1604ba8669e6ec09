//! `cargo xtask bench` and `cargo xtask crash`: the programs of `bench/`
//! against the release build.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{serve, shell};

/// Builds and runs `avvy-bench` with the arguments as they are.
pub fn bench(arguments: &[String]) -> Result<ExitCode> {
    run("avvy-bench", arguments)
}

/// Builds and runs `crash`.
pub fn crash(arguments: &[String]) -> Result<ExitCode> {
    run("crash", arguments)
}

fn run(binary: &str, arguments: &[String]) -> Result<ExitCode> {
    serve::build_server()?;
    let build = ["build", "--release", "--package", "avvy-bench", "--bin", binary];
    shell::call(shell::cargo()?.args(build))?;
    let mut program = Command::new(shell::release_binary(binary)?);
    program.env("AVVYLAND_BINARY", shell::release_binary("avvyland")?);
    shell::call(program.args(arguments))?;
    Ok(ExitCode::SUCCESS)
}
