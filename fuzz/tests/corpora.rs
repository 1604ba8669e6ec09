//! What fuzzers found so far, and bytes like it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use avvy_fuzz::{TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The inputs of a target's corpus.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let packed = std::fs::read(file).unwrap();
    let mut rest = &packed[..];
    let mut inputs = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (input, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        inputs.push(input.to_vec());
        rest = behind;
    }
    inputs
}

#[test]
fn every_input_of_every_corpus() {
    for target in TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= 30, "{} has a corpus", target.name);
        inputs.iter().chain(&(target.seeds)()).for_each(|input| (target.run)(input));
    }
}

/// The table of runs has a row for each target, of ten minutes and more, and
/// none for anything else.
#[test]
fn every_target_was_fuzzed_for_ten_minutes() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, runs) = readme.split_once("<!-- runs: begin -->").unwrap();
    let (runs, _) = runs.split_once("<!-- runs: end -->").unwrap();
    let rows = runs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let mut fuzzed: Vec<&str> = rows
        .map(|(name, row)| {
            let numbers: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
            let [_, seconds, runs] = numbers[..] else { panic!("{name}: {row}") };
            assert!(seconds.parse::<u64>().unwrap() >= 600, "{name}: {row}");
            assert!(runs.parse::<u64>().unwrap() > 0, "{name}: {row}");
            name
        })
        .collect();
    let mut all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    fuzzed.sort_unstable();
    all.sort_unstable();
    assert_eq!(fuzzed, all);
}

/// A corpus' input with some bytes changed, cut off, or put in from another.
#[test]
fn inputs_like_them() {
    for target in TARGETS {
        let inputs = corpus(target);
        let spoiled = (
            prop::sample::select(inputs.clone()),
            prop::sample::select(inputs),
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        );
        let mut runner = TestRunner::new(Config {
            cases: if target.is_slow { 100 } else { 2_000 },
            ..Config::default()
        });
        let run = runner.run(&spoiled, |(mut input, other, at, from, bytes)| {
            if bytes.len() % 2 == 1 && !other.is_empty() {
                input.truncate(at.index(input.len() + 1));
                input.extend_from_slice(&other[from.index(other.len())..]);
            }
            for (place, byte) in &bytes {
                if !input.is_empty() {
                    let place = place.index(input.len());
                    input[place] = *byte;
                }
            }
            (target.run)(&input);
            Ok(())
        });
        run.unwrap_or_else(|error| panic!("{}: {error}", target.name));
    }
}
