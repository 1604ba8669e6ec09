//! `compare`: the figures of two versions, side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use avvy_bench::machine;
use avvy_bench::suite::median;
use clap::Parser;
use serde_json::{Value, json};

/// Runs benchmarks of two versions in turns, each by the programs of its own, and
/// says how the figures that both have differ.
#[derive(Parser)]
#[command(name = "compare", version)]
struct Cli {
    /// Where the programs of the version before are
    #[arg(long, value_name = "DIR")]
    before: PathBuf,
    /// Where those of this version are
    #[arg(long, value_name = "DIR")]
    after: PathBuf,
    /// What the version before is called
    #[arg(long, value_name = "NAME")]
    called: String,
    /// Turns of each; one round in each turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Seconds of each measurement
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Directory for data, on a real disk
    #[arg(long, value_name = "DIR")]
    scratch: PathBuf,
    /// Directory of the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which benchmarks
    #[arg(required = true)]
    names: Vec<String>,
}

/// The figures of one round, by their names.
type Figures = BTreeMap<String, f64>;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let scratch = cli.scratch.join(format!("avvy-compare-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("{}", scratch.display()))?;
    println!("{}\nbefore: {}", machine::describe(), cli.called);
    let mut compared = serde_json::Map::new();
    for name in &cli.names {
        let mut pairs = Vec::new();
        for turn in 0..cli.turns {
            let one = |programs: &Path| round(cli, programs, name, &scratch);
            // Each is first as often as it is second.
            pairs.push(if turn % 2 == 0 {
                let before = one(&cli.before)?;
                [before, one(&cli.after)?]
            } else {
                let after = one(&cli.after)?;
                [one(&cli.before)?, after]
            });
        }
        println!("\n{name:<44} {:>10} {:>10} {:>8}", "before", "now", "ratio");
        let figures = compare(&pairs);
        for (figure, Compared { before, now, ratio }) in &figures {
            println!("  {figure:<42} {before:>10.4} {now:>10.4} {ratio:>8.3}");
        }
        let raw =
            |Compared { before, now, ratio }| json!({"before": before, "now": now, "ratio": ratio});
        let figures = figures.into_iter().map(|(figure, compared)| (figure, raw(compared)));
        compared.insert(name.clone(), figures.collect::<serde_json::Map<_, _>>().into());
    }
    let report = json!({
        "machine": machine::describe(),
        "before": cli.called,
        "turns": cli.turns,
        "seconds": cli.seconds,
        "benchmarks": compared,
    });
    std::fs::create_dir_all(&cli.out)?;
    let text = serde_json::to_string_pretty(&report)? + "\n";
    std::fs::write(cli.out.join("compare.json"), text)?;
    Ok(std::fs::remove_dir_all(&scratch)?)
}

/// One round of a benchmark by these programs.
fn round(cli: &Cli, programs: &Path, name: &str, scratch: &Path) -> Result<Figures> {
    let program = programs.join("avvy-bench");
    let mut bench = Command::new(&program);
    bench.arg(name).args(["--rounds", "1", "--seconds", &cli.seconds.to_string()]);
    bench.arg("--server").arg(programs.join("avvyland"));
    bench.arg("--scratch").arg(scratch).arg("--out").arg(scratch);
    let status = bench.stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(status.success(), "{} {name}: {status}", program.display());
    let path = scratch.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let report: serde_json::Map<String, Value> = serde_json::from_str(&text)?;
    Ok(report.into_iter().filter_map(|(key, value)| Some((key, value.as_f64()?))).collect())
}

/// A figure of both versions.
struct Compared {
    before: f64,
    now: f64,
    /// Of the pair in the middle by it.
    ratio: f64,
}

/// The figures that both versions have and that are not always the same.
fn compare(pairs: &[[Figures; 2]]) -> BTreeMap<String, Compared> {
    let Some([first, _]) = pairs.first() else { return BTreeMap::new() };
    let figure = |key: &String| {
        let of = |[before, now]: &[Figures; 2]| Some((*before.get(key)?, *now.get(key)?));
        let both: Vec<(f64, f64)> = pairs.iter().filter_map(of).collect();
        let (before, now): (Vec<f64>, Vec<f64>) = both.iter().copied().unzip();
        let varies = before.iter().chain(&now).any(|value| Some(value) != before.first());
        let ratios = both.iter().map(|(before, now)| now / before).collect();
        let compared =
            || Compared { before: median(before), now: median(now), ratio: median(ratios) };
        (both.len() == pairs.len() && varies).then(|| (key.clone(), compared()))
    };
    first.keys().filter_map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(of: &[(&str, f64)]) -> Figures {
        of.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
    }

    #[test]
    fn a_ratio_is_that_of_a_pair() {
        let pair = |before, now| {
            [
                figures(&[("p99_ms", before), ("sessions", 9.0)]),
                figures(&[("p99_ms", now), ("sessions", 9.0)]),
            ]
        };
        let compared = compare(&[pair(1.0, 3.0), pair(2.0, 1.0), pair(4.0, 4.0)]);
        let compared: Vec<_> =
            compared.iter().map(|(key, c)| (key.as_str(), c.before, c.now, c.ratio)).collect();
        assert_eq!(compared, [("p99_ms", 2.0, 3.0, 1.0)]);
    }

    #[test]
    fn what_one_version_has_alone_is_left_out() {
        let pair =
            [figures(&[("old", 1.0), ("same", 1.0)]), figures(&[("new", 1.0), ("same", 2.0)])];
        assert_eq!(compare(&[pair]).into_keys().collect::<Vec<_>>(), ["same"]);
        assert!(compare(&[]).is_empty());
    }
}
