//! `cargo xtask run`: from a clone to a server.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::shell;

/// Builds the server and becomes it, so that Ctrl-C, signals and the exit
/// code are the server's own. Settings are those of `config.toml`: its data
/// directory is `./data`.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let arguments = match arguments {
        [dashes, rest @ ..] if dashes == "--" => rest,
        all => all,
    };
    build_server()?;
    let error =
        Command::new(shell::release_binary("avvyland")?).arg("serve").args(arguments).exec();
    Err(error).context("cannot start the server")
}

/// Builds `avvyland` with its default features.
pub fn build_server() -> Result<()> {
    shell::call(shell::cargo()?.args([
        "build",
        "--release",
        "--locked",
        "--package",
        "avvy-server",
    ]))
}
