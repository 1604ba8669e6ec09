//! Other programs, and how their steps are told.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}

/// Where cargo builds: this program is in `TARGET/PROFILE/`.
pub fn target_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program has a path")?;
    let target =
        own.parent().and_then(Path::parent).context("this program is in a build folder")?;
    Ok(target.to_owned())
}

/// A program of the release build.
pub fn release_binary(name: &str) -> Result<PathBuf> {
    Ok(target_dir()?.join("release").join(name))
}

/// The cargo that started this program, building where this one was built.
pub fn cargo() -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env("CARGO_TARGET_DIR", target_dir()?);
    Ok(cargo)
}

/// Runs a program to its end.
///
/// Fails when it cannot be started or does not end with 0.
pub fn call(command: &mut Command) -> Result<()> {
    let told = tell(command);
    let status = command.status().with_context(|| format!("cannot start {told}"))?;
    ensure!(status.success(), "{told}: {status}");
    Ok(())
}

/// Like [`call`], and gives what it wrote to its standard output.
pub fn read(command: &mut Command) -> Result<String> {
    let told = tell(command);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {told}"))?;
    ensure!(output.status.success(), "{told}: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{told}: output is not UTF-8"))
}

/// Like [`call`]; each line of its standard output is shown and handed on.
pub fn watch(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<()> {
    let told = tell(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {told}"))?;
    let output = child.stdout.take().context("standard output is piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("cannot read from {told}"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        on_line(&line);
    }
    let status = child.wait().with_context(|| format!("cannot wait for {told}"))?;
    ensure!(status.success(), "{told}: {status}");
    Ok(())
}

/// Whether a program can be started and ends with 0. Shows nothing.
pub fn works(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Whether Debian's packages can be installed here, by this user.
pub fn may_install() -> bool {
    let is_root = read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    is_root && Path::new("/usr/bin/apt-get").exists()
}

fn tell(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Steps that all run, also after one has failed, and are told in the end.
pub struct Steps {
    started: Instant,
    done: Vec<(String, Duration, Result<String>)>,
}

impl Steps {
    pub fn new() -> Self {
        Self { started: Instant::now(), done: Vec::new() }
    }

    /// Runs a step. What it gives is shown beside its name.
    pub fn run(&mut self, name: &str, step: impl FnOnce() -> Result<String>) {
        println!("\n== {name}");
        let started = Instant::now();
        let outcome = step();
        if let Err(error) = &outcome {
            eprintln!("{error:#}");
        }
        self.done.push((name.to_owned(), started.elapsed(), outcome));
    }

    /// Whether no step has failed so far.
    pub fn are_good(&self) -> bool {
        self.done.iter().all(|(.., outcome)| outcome.is_ok())
    }

    /// Shows the summary and gives the exit code.
    pub fn finish(self) -> ExitCode {
        println!("\n== summary");
        for (name, took, outcome) in &self.done {
            let (mark, text) = match outcome {
                Ok(text) => ("ok    ", text.clone()),
                Err(error) => ("FAILED", format!("{error:#}")),
            };
            let text = text.lines().next().unwrap_or_default();
            println!("{mark} {:>7.1} s  {name}  {text}", took.as_secs_f64());
        }
        println!("       {:>7.1} s  in all", self.started.elapsed().as_secs_f64());
        if self.are_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
