//! `cargo xtask fuzz`: libFuzzer on what reads bytes from outside.
//!
//! The counters come from the compiler itself (SanitizerCoverage), so the
//! project's own toolchain is enough.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// What libFuzzer says before the number of runs.
const RUNS: &str = "stat::number_of_executed_units:";
/// The lines in `fuzz/README.md` between which the runs are noted.
const NOTES: [&str; 2] = ["<!-- runs: begin -->\n", "<!-- runs: end -->"];

/// Seconds for each target, unless told otherwise.
const SECONDS: u64 = 600;
/// Inputs that a corpus has, at least; `fuzz/tests/corpora.rs` changes them and
/// puts them together.
const LEAST: usize = 30;
/// Longer inputs teach little and are slow.
const MAX_BYTES: u32 = 4_096;
/// What has the compiler count which code was reached and what was compared.
const COVERAGE: &str = "-Cpasses=sancov-module -Ccodegen-units=1 -Cdebug-assertions=on \
    -Coverflow-checks=on \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Fuzzes the targets named, or all, from their corpora, and leaves in these
/// the inputs that together reach everything that was reached, and in
/// `fuzz/README.md` how many runs it were.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let (names, seconds) = parse(arguments)?;
    let fuzzer = build()?;
    for name in names {
        let runs = fuzz(&fuzzer, &name, seconds)?;
        note(&name, seconds, runs)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(arguments: &[String]) -> Result<(Vec<String>, u64)> {
    let corpora = shell::root().join("fuzz/corpus");
    let mut all = Vec::new();
    for entry in fs::read_dir(&corpora).context("cannot read fuzz/corpus")? {
        all.push(entry?.file_name().to_string_lossy().into_owned());
    }
    all.sort();
    let (mut names, mut seconds) = (Vec::new(), SECONDS);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().and_then(|number| number.parse().ok());
            seconds = number.context("--seconds takes a number")?;
        } else if all.contains(argument) {
            names.push(argument.clone());
        } else {
            bail!("there is no target {argument:?}; there are {}", all.join(", "));
        }
    }
    Ok((if names.is_empty() { all } else { names }, seconds))
}

fn build() -> Result<PathBuf> {
    let version = shell::read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say for which machine it builds")?;
    let target_dir = shell::target_dir()?.join("fuzz");
    // With `--target` the flags are not for build scripts and macros.
    let build =
        ["build", "--release", "--locked", "--package", "avvy-fuzz", "--features", "fuzzer"];
    let mut cargo = shell::cargo()?;
    cargo.env("CARGO_TARGET_DIR", &target_dir).env("RUSTFLAGS", COVERAGE);
    shell::call(cargo.args(build).args(["--target", host]))?;
    Ok(target_dir.join(host).join("release/fuzz"))
}

/// Fuzzes one target; how many runs it were.
fn fuzz(fuzzer: &Path, name: &str, seconds: u64) -> Result<u64> {
    let packed = shell::root().join("fuzz/corpus").join(name);
    let work = shell::target_dir()?.join("fuzz").join(name);
    // What an earlier run found is in the corpus.
    let _ = fs::remove_dir_all(&work);
    let [corpus, found, merged] = ["corpus", "found", "merged"].map(|folder| work.join(folder));
    for folder in [&corpus, &found, &merged] {
        fs::create_dir_all(folder)?;
    }
    unpack(&packed, &corpus)?;
    let run = |arguments: &[&Path], options: &[String]| {
        let mut command = Command::new(fuzzer);
        command.env("AVVY_FUZZ_TARGET", name).current_dir(&work);
        // Of these, too, only those stay in the corpus that reach something.
        command.env("AVVY_FUZZ_SEEDS", &corpus);
        heard(command.args(options).args(arguments))
    };
    let options = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={MAX_BYTES}"),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
        "-rss_limit_mb=1024".to_owned(),
        "-timeout=5".to_owned(),
    ];
    println!("{name}: {seconds} s");
    let runs = run(&[&found, &corpus], &options)?;
    // A small set of inputs that reaches every place; not how often, too, unless
    // that leaves little to change and put together.
    for counters in [0, 1] {
        if inputs(&merged)?.len() < LEAST {
            let cover = ["-set_cover_merge=1".to_owned(), format!("-use_counters={counters}")];
            run(&[&merged, &corpus, &found], &[&cover[..], &["-verbosity=0".to_owned()]].concat())?;
        }
    }
    fill(&merged, &[&corpus, &found])?;
    pack(&merged, &packed)?;
    Ok(runs)
}

/// Adds the shortest inputs of these folders that are not there, until there are
/// enough: a target with little code may be covered by a handful.
fn fill(folder: &Path, others: &[&Path]) -> Result<()> {
    let there = inputs(folder)?;
    let mut more = BTreeSet::new();
    for other in others {
        more.extend(inputs(other)?.difference(&there).cloned());
    }
    let missing = LEAST.saturating_sub(there.len());
    for (number, Input(_, bytes)) in more.into_iter().take(missing).enumerate() {
        fs::write(folder.join(format!("more-{number:05}")), bytes)?;
    }
    Ok(())
}

/// Calls a fuzzer and passes on what it says; the number of runs, if it says
/// one.
fn heard(command: &mut Command) -> Result<u64> {
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot start the fuzzer")?;
    let said = child.stderr.take().context("its error output is piped")?;
    let mut runs = 0;
    for line in BufReader::new(said).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        eprintln!("{line}");
        let number = line.strip_prefix(RUNS).and_then(|text| text.trim().parse().ok());
        runs = number.unwrap_or(runs);
    }
    let status = child.wait()?;
    ensure!(status.success(), "the fuzzer ended with {status}");
    Ok(runs)
}

/// Notes a target's last runs in `fuzz/README.md`.
fn note(name: &str, seconds: u64, runs: u64) -> Result<()> {
    let file = shell::root().join("fuzz/README.md");
    let text = fs::read_to_string(&file).context("cannot read fuzz/README.md")?;
    let date = shell::read(Command::new("date").arg("+%F"))?;
    let new = noted(&text, name, &format!("{} | {seconds} | {runs}", date.trim()))?;
    fs::write(&file, new).context("cannot write fuzz/README.md")
}

/// The text with the target's row in its table as given.
fn noted(text: &str, name: &str, row: &str) -> Result<String> {
    let [begin, end] = NOTES;
    let (before, rest) = text.split_once(begin).context("fuzz/README.md has no table of runs")?;
    let (table, after) = rest.split_once(end).context("fuzz/README.md's table has no end")?;
    let mut lines = table.lines();
    let head: Vec<&str> = lines.by_ref().take(2).collect();
    let mut rows: BTreeMap<&str, String> = lines
        .filter_map(|line| Some((line.strip_prefix("| `")?.split_once('`')?.0, line.to_owned())))
        .collect();
    rows.insert(name, format!("| `{name}` | {row} |"));
    let lines: Vec<&str> = head.into_iter().chain(rows.values().map(String::as_str)).collect();
    Ok(format!("{before}{begin}{}\n{end}{after}", lines.join("\n")))
}

/// Writes each input of a corpus, which is behind its length in four bytes
/// (big endian), to a file of its own.
fn unpack(packed: &Path, folder: &Path) -> Result<()> {
    let bytes = fs::read(packed).with_context(|| format!("cannot read {}", packed.display()))?;
    let mut rest = &bytes[..];
    for number in 0.. {
        let Some((length, behind)) = rest.split_first_chunk::<4>() else { break };
        let length = u32::from_be_bytes(*length) as usize;
        let input = behind.get(..length).context("the corpus ends within an input")?;
        fs::write(folder.join(format!("{number:05}")), input)?;
        rest = &behind[length..];
    }
    Ok(())
}

/// An input behind its length: the shortest comes first, and the same inputs
/// always make the same file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Input(usize, Vec<u8>);

/// The inputs in a folder.
fn inputs(folder: &Path) -> Result<BTreeSet<Input>> {
    let mut inputs = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let bytes = fs::read(entry?.path())?;
        inputs.insert(Input(bytes.len(), bytes));
    }
    Ok(inputs)
}

/// The other way round, if there are enough of them.
fn pack(folder: &Path, packed: &Path) -> Result<()> {
    let inputs = inputs(folder)?;
    ensure!(inputs.len() >= LEAST, "{} inputs are too few for a corpus", inputs.len());
    let mut bytes = Vec::new();
    for Input(_, input) in inputs {
        bytes.extend_from_slice(&u32::try_from(input.len())?.to_be_bytes());
        bytes.extend_from_slice(&input);
    }
    fs::write(packed, bytes).with_context(|| format!("cannot write {}", packed.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Files of these bytes in a folder of its own.
    fn folder(name: &str, files: &[&[u8]]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("avvy-xtask-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (number, bytes) in files.iter().enumerate() {
            fs::write(folder.join(number.to_string()), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn a_corpus_is_never_too_small() {
        let texts: Vec<String> = (0..40).map(|n| "x".repeat(n + 1)).collect();
        let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let merged = folder("merged", &[texts[39], texts[3]]);
        let (corpus, found) = (folder("corpus", &texts[..20]), folder("found", &texts[10..40]));
        let packed = merged.with_extension("packed");
        let few = pack(&merged, &packed).unwrap_err().to_string();
        assert!(few.contains("2 inputs are too few") && !packed.exists(), "{few}");
        fill(&merged, &[&corpus, &found]).unwrap();
        pack(&merged, &packed).unwrap();
        // The shortest, and what was chosen before.
        let again = folder("again", &[]);
        unpack(&packed, &again).unwrap();
        let lengths: Vec<usize> = inputs(&again).unwrap().into_iter().map(|i| i.0).collect();
        assert_eq!(lengths, (1..30).chain([40]).collect::<Vec<_>>());
        // Enough is enough.
        fill(&merged, &[&found]).unwrap();
        assert_eq!(inputs(&merged).unwrap().len(), LEAST);
        for folder in [merged, corpus, found, again] {
            fs::remove_dir_all(folder).unwrap();
        }
        fs::remove_file(packed).unwrap();
    }

    #[test]
    fn a_row_takes_the_place_of_the_one_before() {
        let [begin, end] = NOTES;
        let text = |rows: &str| format!("a\n{begin}| target | date |\n|---|---|\n{rows}{end}\nb\n");
        let one = noted(&text(""), "json", "1").unwrap();
        assert_eq!(one, text("| `json` | 1 |\n"));
        let two = noted(&one, "http", "2").unwrap();
        assert_eq!(two, text("| `http` | 2 |\n| `json` | 1 |\n"));
        assert_eq!(noted(&two, "json", "3").unwrap(), text("| `http` | 2 |\n| `json` | 3 |\n"));
        assert!(noted("", "json", "1").is_err());
    }
}
