#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Tier = Local<u8, u64, u64>;

const BOUNDS: Bounds = Bounds { entries: 4, bytes: 40 };

fn load(tier: &mut Tier, now_us: u64, key: u8) -> Ticket {
    match tier.get(now_us, &key, || 0) {
        Lookup::Load(ticket) => ticket,
        other => panic!("{key} is to be loaded, not {other:?}"),
    }
}

fn keep(tier: &mut Tier, key: u8, value: u64, weight: usize, fresh_until_us: u64) -> bool {
    let ticket = load(tier, 0, key);
    tier.end(&key, ticket, Some(Loaded { value: Some(value), weight, fresh_until_us }))
}

fn has(tier: &mut Tier, key: u8) -> bool {
    tier.entries.contains_key(&key)
}

#[test]
fn hands_out_what_it_has_until_its_time() {
    let mut tier = Tier::new(BOUNDS);
    assert!(keep(&mut tier, 1, 10, 1, 100));
    assert_eq!(tier.get(99, &1, || 0), Lookup::Hit(Some(10)));
    assert!(matches!(tier.get(100, &1, || 0), Lookup::Load(_)));
    assert_eq!(tier.size(), (0, 0));
}

#[test]
fn one_loads_and_the_others_wait() {
    let mut tier = Tier::new(BOUNDS);
    let Lookup::Load(ticket) = tier.get(0, &1, || 7) else { panic!("nobody loads yet") };
    assert_eq!(tier.get(0, &1, || 8), Lookup::Wait(7));
    assert!(!tier.end(&1, ticket, None), "a failure is not kept");
    assert!(matches!(tier.get(0, &1, || 9), Lookup::Load(_)));
}

#[test]
fn a_load_that_began_before_a_write_is_not_kept() {
    let mut tier = Tier::new(BOUNDS);
    let before = load(&mut tier, 0, 1);
    tier.invalidate(&1);
    let after = load(&mut tier, 0, 1);
    let old = Loaded { value: Some(1), weight: 1, fresh_until_us: 100 };
    assert!(!tier.end(&1, before, Some(old.clone())));
    assert_eq!(tier.get(0, &1, || 0), Lookup::Wait(0));
    assert!(tier.end(&1, after, Some(Loaded { value: Some(2), ..old })));
    assert_eq!(tier.get(0, &1, || 0), Lookup::Hit(Some(2)));
    let load = load(&mut tier, 100, 1);
    tier.flush();
    assert!(!tier.end(&1, load, Some(Loaded { value: Some(3), weight: 1, fresh_until_us: 200 })));
    assert_eq!(tier.counts().spoiled, 2);
}

#[test]
fn what_is_used_outlives_what_is_not() {
    let mut tier = Tier::new(BOUNDS);
    for key in 0..4 {
        keep(&mut tier, key, 0, 1, 100);
    }
    tier.get(0, &0, || 0);
    keep(&mut tier, 4, 0, 1, 100);
    assert!(has(&mut tier, 0) && !has(&mut tier, 1));
    keep(&mut tier, 5, 0, 38, 100);
    assert_eq!(tier.size(), (3, 40));
    assert!(!keep(&mut tier, 6, 0, 41, 100), "is larger than all of it");
    assert_eq!(tier.size(), (3, 40));
}

#[test]
fn trusts_again_only_after_the_last_write() {
    let mut tier = Tier::new(BOUNDS);
    let first = tier.distrust(0, 1, 100);
    let second = tier.distrust(0, 1, 200);
    tier.trust(&1, first);
    assert!(!tier.trusts(150, &1) && tier.trusts(0, &2));
    assert!(tier.trusts(200, &1), "by then it has gone by itself");
    tier.trust(&1, second);
    assert!(tier.trusts(0, &1));
}

#[test]
fn beyond_its_memory_it_trusts_nothing() {
    let mut tier = Local::<u32, u64, u64>::new(BOUNDS);
    for key in 0..=MAX_DISTRUSTED as u32 {
        tier.distrust(0, key, 100);
    }
    assert!(!tier.trusts(99, &u32::MAX) && tier.trusts(100, &u32::MAX));
}

/// What happens, of few keys and at times close together.
#[derive(Clone, Copy, Debug)]
enum Step {
    Get(u8),
    /// The load that began so many loads ago ends, or fails.
    End(usize, bool),
    /// The truth changes, which is told at once.
    Write(u8),
    /// The truth changes, and nobody is told.
    SilentWrite(u8),
    Flush,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..6_u8).prop_map(Step::Get),
        6 => (0..4_usize, any::<bool>()).prop_map(|(nth, is_good)| Step::End(nth, is_good)),
        3 => (0..6_u8).prop_map(Step::Write),
        1 => (0..6_u8).prop_map(Step::SilentWrite),
        1 => Just(Step::Flush),
        4 => (0..60_u64).prop_map(Step::Pass),
    ]
}

const MAX_STALE_US: u64 = 100;

proptest! {
    /// Whatever happens in whatever order: the bounds hold, no key is loaded
    /// twice at once, and a value is never older than the last write that was
    /// told, nor than the bound.
    #[test]
    fn nothing_stale_is_handed_out(steps in prop::collection::vec(step(), 1..200)) {
        let mut tier = Tier::new(BOUNDS);
        let mut now_us = 0;
        // The truth: every value that a key had, and since when.
        let mut truth: BTreeMap<u8, Vec<(u64, u64)>> = BTreeMap::new();
        // The oldest value that may still be handed out.
        let mut told: BTreeMap<u8, u64> = BTreeMap::new();
        let mut loads: VecDeque<(u8, Ticket, u64, u64)> = VecDeque::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Get(key) => match tier.get(now_us, &key, || now_us) {
                    Lookup::Hit(value) => {
                        let value = value.unwrap_or_default();
                        let least = told.get(&key).copied().unwrap_or_default();
                        prop_assert!(value >= least, "{key}: {value} was replaced by {least}");
                        let values = truth.get(&key).cloned().unwrap_or_default();
                        let replaced = values.iter().find(|(other, _)| *other > value);
                        let is_within = replaced.is_none_or(|(_, at)| now_us < at + MAX_STALE_US);
                        prop_assert!(is_within, "{key}: {value} is too old");
                    }
                    Lookup::Wait(_) => {
                        prop_assert!(loads.iter().any(|(loading, ..)| *loading == key));
                    }
                    Lookup::Load(ticket) => {
                        let values = truth.get(&key).and_then(|values| values.last());
                        let value = values.map_or(0, |(value, _)| *value);
                        loads.push_back((key, ticket, value, now_us));
                    }
                },
                Step::End(nth, is_good) if nth < loads.len() => {
                    let (key, ticket, value, began_us) = loads.remove(nth).unwrap();
                    let fresh_until_us = began_us + MAX_STALE_US;
                    let weight = 1 + value as usize % 15;
                    let loaded = Loaded { value: Some(value), weight, fresh_until_us };
                    tier.end(&key, ticket, is_good.then_some(loaded));
                }
                Step::End(..) => {}
                Step::Write(key) | Step::SilentWrite(key) => {
                    next += 1;
                    truth.entry(key).or_default().push((next, now_us));
                    if matches!(step, Step::Write(_)) {
                        tier.invalidate(&key);
                        told.insert(key, next);
                    }
                }
                Step::Flush => tier.flush(),
                Step::Pass(us) => now_us += us,
            }
            let (entries, bytes) = tier.size();
            prop_assert!(entries <= BOUNDS.entries && bytes <= BOUNDS.bytes);
            let weights: usize = tier.entries.values().map(|entry| entry.loaded.weight).sum();
            prop_assert_eq!(weights, bytes);
            prop_assert!(tier.order.len() <= 2 * entries + 17);
        }
    }
}
