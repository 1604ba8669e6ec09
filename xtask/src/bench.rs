//! `cargo xtask bench`, `compare`, `crash` and `chaos`: the programs of `bench/`
//! against the release build.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

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

/// Builds this version and that of a commit, and has `compare` run them in turns:
/// the first argument is the commit, the others are as they are.
pub fn compare(arguments: &[String]) -> Result<ExitCode> {
    let (commit, rest) = arguments.split_first().context("compare with which commit?")?;
    let commit = format!("{commit}^{{commit}}");
    let commit = shell::read(Command::new("git").args(["rev-parse", "--short", &commit]))?;
    let commit = commit.trim();
    let source = shell::target_dir()?.join("compare").join(commit);
    if !source.exists() {
        let archive = shell::target_dir()?.join(format!("{commit}.tar"));
        shell::call(Command::new("git").args(["archive", "--output"]).arg(&archive).arg(commit))?;
        std::fs::create_dir_all(&source)?;
        shell::call(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&source))?;
        std::fs::remove_file(&archive)?;
    }
    let target = source.join("target");
    for package in ["avvy-server", "avvy-bench"] {
        let build = ["build", "--release", "--locked", "--bins", "--package", package];
        let mut cargo = shell::cargo()?;
        shell::call(cargo.args(build).current_dir(&source).env("CARGO_TARGET_DIR", &target))?;
        shell::call(shell::cargo()?.args(build))?;
    }
    let mut program = Command::new(shell::release_binary("compare")?);
    program.args(["--called", commit]).arg("--before").arg(target.join("release"));
    program.arg("--after").arg(shell::target_dir()?.join("release"));
    program.arg("--scratch").arg(shell::target_dir()?);
    program.arg("--out").arg(shell::root().join("bench/results"));
    shell::call(program.args(rest))?;
    Ok(ExitCode::SUCCESS)
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
