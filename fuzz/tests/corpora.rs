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
        inputs.iter().for_each(|input| (target.run)(input));
    }
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
