//! Plants the bugs of `sim/mutants/` one by one into a copy of the workspace
//! and says which seed of the test finds each, in a table. Fails when one is not
//! found.
//!
//! `cargo xtask mutants [NAME ...]`; a part of a name is enough.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What is run to find bugs whose names begin so: one that the first that fits
/// names.
struct Scene {
    prefix: &'static str,
    arguments: &'static [&'static str],
}

/// The seeds and steps are those of `tests/fleet.rs` and `tests/seeds.rs`.
const SCENES: [Scene; 2] = [
    Scene { prefix: "fleet-", arguments: &["--count", "1000", "--steps", "300", "--fleet"] },
    Scene { prefix: "", arguments: &["--count", "3000", "--steps", "500"] },
];

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
    let patches = patches(root, wanted)?;
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    let bench = Bench { tree: target.join("mutants/tree"), target: target.join("mutants/target") };
    copy(root, &bench.tree)?;
    bench.must_hold()?;
    eprintln!("without a bug no seed fails");
    println!("| name | bug | seed | step | what breaks |\n|---|---|---|---|---|");
    let mut survivors = 0;
    for patch in patches {
        let (name, bug) = (name(&patch), bug(&patch)?);
        match bench.try_patch(&patch)? {
            Some(found) => println!("| {name} | {bug} | {found} |"),
            None => {
                survivors += 1;
                println!("| {name} | {bug} | **none** | | |");
            }
        }
    }
    // Nor was one of them left in and found in the place of the others.
    bench.must_hold()?;
    Ok(survivors)
}

/// Those whose name holds one that is wanted, or all.
fn patches(root: &Path, wanted: &[String]) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root.join("sim/mutants"))?.collect::<io::Result<Vec<_>>>()?;
    let mut patches: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    let is = |patch: &PathBuf, part: &String| name(patch).contains(part.as_str());
    if let Some(nobody) = wanted.iter().find(|part| !patches.iter().any(|patch| is(patch, part))) {
        return Err(io::Error::other(format!("no bug's name holds {nobody:?}")));
    }
    patches.retain(|patch| wanted.is_empty() || wanted.iter().any(|part| is(patch, part)));
    Ok(patches)
}

fn name(patch: &Path) -> String {
    patch.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The patch's first line, without its full stop.
fn bug(patch: &Path) -> io::Result<String> {
    let text = fs::read_to_string(patch)?;
    Ok(text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned())
}

/// What fits into a table: without the ends of ids and hashes, and not all.
fn brief(what: &str) -> String {
    let is_other = |c: char| !c.is_ascii_hexdigit() && c != '-';
    let words = what.split_inclusive(is_other).map(|word| {
        let (id, rest) = word.split_at(word.find(is_other).unwrap_or(word.len()));
        if id.len() < 32 { word.to_owned() } else { format!("{}..{rest}", &id[..8]) }
    });
    let brief: String = words.collect::<String>().chars().take(90).collect();
    brief.replace('|', "/").trim_end().to_owned()
}

/// Where mutants are built.
struct Bench {
    tree: PathBuf,
    target: PathBuf,
}

impl Bench {
    /// Without a bug no seed fails: else the rest would mean nothing.
    fn must_hold(&self) -> io::Result<()> {
        for scene in &SCENES {
            if let Some(found) = self.search(scene)? {
                // A build that was broken off may leave a bug in what it had built.
                let target = self.target.display();
                let advice = format!("if `cargo xtask test` holds, remove {target} and repeat");
                return Err(io::Error::other(format!("fails without a bug: {found}\n{advice}")));
            }
        }
        Ok(())
    }

    /// Plants the bug, looks for it, and takes it out again.
    fn try_patch(&self, patch: &Path) -> io::Result<Option<String>> {
        self.apply(patch, &[])?;
        let name = name(patch);
        let [fleet, server] = &SCENES;
        let found = self.search(if name.starts_with(fleet.prefix) { fleet } else { server });
        self.apply(patch, &["--reverse"])?;
        found
    }

    /// The first seed that fails, with its step and the reason.
    fn search(&self, scene: &Scene) -> io::Result<Option<String>> {
        let build = ["build", "--quiet", "--package", "avvy-sim", "--bin", "avvy-sim"];
        must(Command::new("cargo").args(build).current_dir(&self.tree).envs(self.env()))?;
        let output = Command::new(self.target.join("debug/avvy-sim"))
            .args(["--from", "0", "--first"])
            .args(scene.arguments)
            .output()?;
        if output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let failure = text.lines().find_map(|line| line.strip_prefix("seed "));
        let (place, what) = failure.and_then(|line| line.split_once(": ")).unwrap_or(("?", "?"));
        let (seed, step) = place.split_once(", step ").unwrap_or((place, "?"));
        Ok(Some(format!("{seed} | {step} | `{}`", brief(what))))
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

/// Makes `to` the same as `from`. What is the same already is not touched, so
/// that it is not built again.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut kept = BTreeSet::<OsString>::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if ["target", ".git", "data", "node_modules"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        let (file_type, copied) = (entry.file_type()?, to.join(&name));
        if file_type.is_dir() {
            copy(&entry.path(), &copied)?;
        } else if file_type.is_file() {
            let bytes = fs::read(entry.path())?;
            if fs::read(&copied).ok().as_ref() != Some(&bytes) {
                fs::write(&copied, bytes)?;
            }
        } else {
            continue;
        }
        kept.insert(name);
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if kept.contains(&entry.file_name()) {
            continue;
        }
        let is_folder = entry.file_type()?.is_dir();
        if is_folder { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}
