//! Plants the bugs of `sim/mutants/` one by one into a copy of the workspace
//! and says which seed of the test finds each. Fails when one is not found.
//!
//! `cargo run -p avvy-sim --bin mutants [-- PART_OF_A_NAME ...]`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The same as in `tests/seeds.rs`.
const SEEDS: &str = "3000";
const STEPS: &str = "500";

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    match run(&wanted) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(survivors) => {
            println!("{survivors} not found");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Says how many mutants survived.
fn run(wanted: &[String]) -> io::Result<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    let bench = Bench { tree: target.join("mutants/tree"), target: target.join("mutants/target") };
    if bench.tree.exists() {
        fs::remove_dir_all(&bench.tree)?;
    }
    copy(root, &bench.tree)?;
    bench.must_hold()?;
    println!("| bug | found by seed | at step | seconds | as |\n|---|---|---|---|---|");
    let mut survivors = 0;
    for patch in patches(root)? {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        match bench.try_patch(&patch)? {
            Some(found) => println!("| {name} | {found} |"),
            None => {
                survivors += 1;
                println!("| {name} | **not found** | | | |");
            }
        }
    }
    Ok(survivors)
}

fn patches(root: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root.join("sim/mutants"))?.collect::<io::Result<Vec<_>>>()?;
    let mut patches: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    Ok(patches)
}

/// Where mutants are built.
struct Bench {
    tree: PathBuf,
    target: PathBuf,
}

impl Bench {
    /// Without a bug no seed fails: else the rest would mean nothing.
    fn must_hold(&self) -> io::Result<()> {
        match self.search()? {
            None => Ok(()),
            Some(found) => Err(io::Error::other(format!("fails without a bug: {found}"))),
        }
    }

    /// Plants the bug, looks for it, and takes it out again.
    fn try_patch(&self, patch: &Path) -> io::Result<Option<String>> {
        self.apply(patch, &[])?;
        let found = self.search();
        self.apply(patch, &["--reverse"])?;
        found
    }

    /// The first seed that fails, with its step, the time and the reason.
    fn search(&self) -> io::Result<Option<String>> {
        let build = ["build", "--quiet", "--package", "avvy-sim", "--bin", "avvy-sim"];
        must(Command::new("cargo").args(build).current_dir(&self.tree).envs(self.env()))?;
        let began = Instant::now();
        let output = Command::new(self.target.join("debug/avvy-sim"))
            .args(["--from", "0", "--count", SEEDS, "--steps", STEPS, "--first"])
            .output()?;
        if output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let failure = text.lines().find_map(|line| line.strip_prefix("seed "));
        let (place, what) = failure.and_then(|line| line.split_once(": ")).unwrap_or(("?", "?"));
        let (seed, step) = place.split_once(", step ").unwrap_or((place, "?"));
        let seconds = began.elapsed().as_secs_f64();
        let what: String = what.chars().take(100).collect();
        let what = what.replace('|', "/");
        Ok(Some(format!("{seed} | {step} | {seconds:.1} | {what}")))
    }

    fn apply(&self, patch: &Path, options: &[&str]) -> io::Result<()> {
        let mut git = Command::new("git");
        git.arg("apply").args(options).arg(patch).current_dir(&self.tree).envs(self.env());
        must(&mut git)
    }

    fn env(&self) -> [(&'static str, PathBuf); 2] {
        let above = self.tree.parent().unwrap_or(&self.tree).to_path_buf();
        // The copy lies within the repository, but is not part of it.
        [("CARGO_TARGET_DIR", self.target.clone()), ("GIT_CEILING_DIRECTORIES", above)]
    }
}

fn must(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if ["target", ".git", "data", "node_modules"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        let file_type = entry.file_type()?;
        if file_type.is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else if file_type.is_file() {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
