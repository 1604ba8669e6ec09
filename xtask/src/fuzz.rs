//! `cargo xtask fuzz`: libFuzzer on what reads bytes from outside.
//!
//! The counters come from the compiler itself (SanitizerCoverage), so the
//! project's own toolchain is enough.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// Seconds for each target, unless told otherwise.
const SECONDS: u64 = 600;
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
/// the inputs that together reach everything that was reached.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let (names, seconds) = parse(arguments)?;
    let fuzzer = build()?;
    for name in names {
        fuzz(&fuzzer, &name, seconds)?;
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

fn fuzz(fuzzer: &Path, name: &str, seconds: u64) -> Result<()> {
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
        shell::call(command.args(options).args(arguments))
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
    run(&[&found, &corpus], &options)?;
    // A small set of inputs that reaches every place; not how often, too.
    let cover = ["-set_cover_merge=1", "-use_counters=0", "-verbosity=0"].map(str::to_owned);
    run(&[&merged, &corpus, &found], &cover)?;
    pack(&merged, &packed)
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

/// The other way round: the shortest first, equal ones by their bytes, so
/// that the same inputs make the same file.
fn pack(folder: &Path, packed: &Path) -> Result<()> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    ensure!(!inputs.is_empty(), "nothing was merged");
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let mut bytes = Vec::new();
    for input in inputs {
        bytes.extend_from_slice(&u32::try_from(input.len())?.to_be_bytes());
        bytes.extend_from_slice(&input);
    }
    fs::write(packed, bytes).with_context(|| format!("cannot write {}", packed.display()))
}
