//! `cargo xtask lint`: everything that is wrong without being run.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::licences;
use crate::shell::{self, Steps};

pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if let Some(argument) = arguments.first() {
        bail!("lint takes no arguments, and this is one: {argument:?}");
    }
    let mut steps = Steps::new();
    steps.run("format", || cargo(&["fmt", "--all", "--check"], &[]));
    steps.run("clippy", || {
        let all = ["--workspace", "--all-targets", "--all-features", "--locked"];
        cargo(&[&["clippy"], &all[..], &["--", "-D", "warnings"]].concat(), &[])
    });
    steps.run("documentation", || {
        let all = ["doc", "--workspace", "--no-deps", "--all-features", "--locked"];
        cargo(&all, &[("RUSTDOCFLAGS", "-D warnings")])
    });
    steps.run("licences", licences::check);
    steps.run("advisories", advisories);
    Ok(steps.finish())
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    shell::call(shell::cargo()?.args(arguments).envs(environment.iter().copied()))?;
    Ok(String::new())
}

/// Needs cargo-deny and its database; where one of them cannot be had, says
/// so and lets it pass.
fn advisories() -> Result<String> {
    if !has_cargo_deny() {
        return Ok("skipped: cargo-deny is not installed".to_owned());
    }
    if !shell::works(Command::new("cargo").args(["deny", "fetch", "db"])) {
        return Ok("skipped: the advisory database cannot be reached".to_owned());
    }
    shell::call(Command::new("cargo").args(["deny", "check", "advisories"]))?;
    Ok("by cargo-deny".to_owned())
}

/// Whether `cargo deny` is there.
pub fn has_cargo_deny() -> bool {
    shell::works(Command::new("cargo").args(["deny", "--version"]))
}
