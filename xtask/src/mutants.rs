//! `cargo xtask mutants`: whether the simulation finds planted bugs.

use std::process::ExitCode;

use anyhow::Result;

use crate::shell;

/// Tries the bugs whose names hold one of the arguments, or all.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let run = ["run", "--quiet", "--locked", "--package", "avvy-sim", "--bin", "mutants", "--"];
    shell::call(shell::cargo()?.args(run).args(arguments))?;
    Ok(ExitCode::SUCCESS)
}
