//! `cargo xtask bench`, `crash` and `chaos`: the programs of `bench/` against
//! the release build.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{fleet, mongod, python, redis, serve, shell};

/// Builds and runs `avvy-bench` with the arguments as they are.
pub fn bench(arguments: &[String]) -> Result<ExitCode> {
    // All but these are run when none is named.
    let is_name = |argument: &&String| !argument.starts_with('-');
    let names: Vec<&String> = arguments.iter().take_while(is_name).collect();
    if names.iter().any(|name| ["mongodb", "moves"].contains(&name.as_str())) {
        return run_on_a_fleet("avvy-bench", arguments);
    }
    if names.is_empty() || names.iter().any(|name| *name == "cache") {
        redis::set_up()?;
    }
    run("avvy-bench", arguments)
}

/// Builds and runs `crash`.
pub fn crash(arguments: &[String]) -> Result<ExitCode> {
    run("crash", arguments)
}

/// Builds and runs `fleet-chaos`, with a MongoDB and a Redis that are fetched.
pub fn chaos(arguments: &[String]) -> Result<ExitCode> {
    run_on_a_fleet("fleet-chaos", arguments)
}

fn run_on_a_fleet(binary: &str, arguments: &[String]) -> Result<ExitCode> {
    python::set_up()?;
    mongod::set_up()?;
    redis::set_up()?;
    // One by one: with both at once, each is built without what the other asks for.
    fleet::build_server()?;
    let build = ["build", "--release", "--locked", "--package", "avvy-bench", "--bin", binary];
    shell::call(shell::cargo()?.args(build).args(["--features", "fleet"]))?;
    start(binary, arguments)
}

fn run(binary: &str, arguments: &[String]) -> Result<ExitCode> {
    serve::build_server()?;
    let package = ["--package", "avvy-bench", "--features", "avvy-bench/redis"];
    let build = [&["build", "--release", "--bin", binary], &package[..]].concat();
    shell::call(shell::cargo()?.args(build))?;
    start(binary, arguments)
}

fn start(binary: &str, arguments: &[String]) -> Result<ExitCode> {
    let mut program = Command::new(shell::release_binary(binary)?);
    program.env("AVVYLAND_BINARY", shell::release_binary("avvyland")?);
    program.envs([mongod::environment()]);
    shell::call(program.args(arguments))?;
    Ok(ExitCode::SUCCESS)
}
