//! `cargo xtask test`: everything that proves something.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::shell::{self, Steps};
use crate::{debian, faketime, mongod, oidc, python, redis, serve};

pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let filter = match arguments {
        [] => None,
        [filter] => Some(filter.as_str()),
        _ => bail!("one filter at most; for more use `cargo test` itself"),
    };
    let mut steps = Steps::new();
    let wants_python = filter.is_none_or(|filter| filter == "python");
    let wants_rust = filter != Some("python");
    steps.run("set up Python", || python::set_up().map(|venv| venv.display().to_string()));
    if wants_rust {
        steps.run("set up curl", || debian::need_curl().map(|()| String::new()));
        steps.run("set up MongoDB", || mongod::set_up().map(|path| path.display().to_string()));
        steps.run("set up Redis", || redis::set_up().map(|path| path.display().to_string()));
        steps.run("set up the OpenID provider", || {
            oidc::set_up().map(|path| path.display().to_string())
        });
        steps.run("set up faketime", || faketime::set_up().map(|path| path.display().to_string()));
    }
    steps.run("build the release", || serve::build_server().map(|()| String::new()));
    if wants_rust {
        steps.run("Rust tests", || rust(filter));
    }
    if wants_python {
        steps.run("Python tests", python::test);
    }
    Ok(steps.finish())
}

/// What a default build is without.
const FEATURES: [&str; 2] = [
    "--features",
    "avvy-persistence/mongodb,avvy-identity/mongodb,avvy-catalog/mongodb,avvy-server/mongodb,\
     avvy-persistence/redis,avvy-server/redis,avvy-server/chaos",
];

/// All of the workspace. The profile is in the root's `Cargo.toml`: checks of
/// the debug build stay on, the pure crates are optimised for the simulation.
fn rust(filter: Option<&str>) -> Result<String> {
    let mut cargo = shell::cargo()?;
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(FEATURES).args(filter);
    cargo.envs(python::environment()?).envs([mongod::environment()]);
    let mut counts = Counts::default();
    let outcome = shell::watch(&mut cargo, |line| counts.add(line));
    outcome.map_err(|error| error.context(counts.to_string()))?;
    if filter.is_some() && counts.passed == 0 {
        bail!("no test's name holds the filter");
    }
    Ok(counts.to_string())
}

/// What the lines `test result: ...` add up to.
#[derive(Default, PartialEq, Debug)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let words: Vec<&str> = rest.split_whitespace().collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed;" => self.passed += number,
                "failed;" => self.failed += number,
                "ignored;" => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, failed, ignored } = self;
        write!(f, "{passed} passed, {failed} failed, {ignored} ignored")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_results_up() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 1.0s");
        counts.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.0s");
        counts.add("test it ... ok");
        assert_eq!(counts, Counts { passed: 4, failed: 2, ignored: 1 });
    }
}
