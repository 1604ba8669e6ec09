//! What `cargo test` expects of a test binary that brings its own `main`:
//! filters, `--list`, and a `test result:` line that adds up with the others.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

/// A test with its name.
pub type Test = (&'static str, fn());

/// Runs those of the tests that the arguments choose, or lists them.
pub fn run(tests: &[Test], arguments: impl Iterator<Item = String>) -> ExitCode {
    let choice = match Choice::read(arguments) {
        Ok(choice) => choice,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let chosen: Vec<&Test> = tests.iter().filter(|(name, _)| choice.takes(name)).collect();
    if choice.lists {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        println!("\n{}, 0 benchmarks", tests_of(chosen.len()));
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    println!("\nrunning {}", tests_of(chosen.len()));
    let mut passed = 0;
    for (name, test) in &chosen {
        // The panic has printed what is wrong.
        let holds = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if holds { "ok" } else { "FAILED" });
        passed += usize::from(holds);
    }
    let (failed, left_out) = (chosen.len() - passed, tests.len() - chosen.len());
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; \
         {left_out} filtered out; finished in {:.2}s\n",
        began.elapsed().as_secs_f64()
    );
    // 101 is what Rust's own harness ends with.
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

fn tests_of(count: usize) -> String {
    format!("{count} test{}", if count == 1 { "" } else { "s" })
}

#[derive(Default)]
struct Choice {
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    lists: bool,
    /// None of the tests here is an ignored one.
    ignored_only: bool,
}

impl Choice {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut choice = Self::default();
        let mut arguments = arguments.map(|argument| match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name.to_owned(), Some(value.to_owned()))
            }
            _ => (argument, None),
        });
        while let Some((name, value)) = arguments.next() {
            let mut value = || {
                let next = || arguments.next().map(|(value, _)| value);
                value.clone().or_else(next).ok_or(format!("{name} needs a value"))
            };
            match name.as_str() {
                "--list" => choice.lists = true,
                "--exact" => choice.exact = true,
                "--ignored" => choice.ignored_only = true,
                "--skip" => choice.skips.push(value()?),
                // How the output looks is the same whatever these say.
                "--format" | "--color" | "--test-threads" | "-Z" => drop(value()?),
                "--nocapture" | "--no-capture" | "--show-output" | "--include-ignored"
                | "--quiet" | "-q" => {}
                option if option.starts_with('-') => return Err(format!("{option}: unknown")),
                _ => choice.filters.push(name),
            }
        }
        Ok(choice)
    }

    fn takes(&self, test: &str) -> bool {
        let matches = |filter: &String| {
            if self.exact { test == filter } else { test.contains(filter.as_str()) }
        };
        !self.ignored_only
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skips.iter().any(matches)
    }
}
