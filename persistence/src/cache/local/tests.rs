#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Tier = Local<u8, u64, u64>;

const BOUNDS: Bounds = Bounds { entries: 4, bytes: 40 };

/// Loads nothing before its end.
const NEVER: fn() -> u64 = || 0;

fn load(tier: &mut Tier, now_us: u64, key: u8) -> Ticket {
    match tier.get(now_us, &key, NEVER, || 0) {
        Lookup::Load(ticket) => ticket,
        other => panic!("{key} is to be loaded, not {other:?}"),
    }
}

fn keep(tier: &mut Tier, key: u8, value: u64, weight: usize, fresh_until_us: u64) -> bool {
    let ticket = load(tier, 0, key);
    tier.end(&key, ticket, Some(loaded(value, weight, fresh_until_us)))
}

fn loaded(value: u64, weight: usize, fresh_until_us: u64) -> Loaded<u64> {
    Loaded { value: Some(value), weight, renew_from_us: 0, fresh_until_us }
}

fn has(tier: &mut Tier, key: u8) -> bool {
    tier.entries.contains_key(&key)
}

#[test]
fn hands_out_what_it_has_until_its_time() {
    let mut tier = Tier::new(BOUNDS);
    assert!(keep(&mut tier, 1, 10, 1, 100));
    assert_eq!(tier.get(99, &1, NEVER, || 0), Lookup::Hit(Some(10)));
    assert!(matches!(tier.get(100, &1, NEVER, || 0), Lookup::Load(_)));
    assert_eq!(tier.size(), (0, 0));
}

#[test]
fn one_loads_and_the_others_wait() {
    let mut tier = Tier::new(BOUNDS);
    let Lookup::Load(ticket) = tier.get(0, &1, NEVER, || 7) else { panic!("nobody loads yet") };
    assert_eq!(tier.get(0, &1, NEVER, || 8), Lookup::Wait(7));
    assert!(!tier.end(&1, ticket, None), "a failure is not kept");
    assert!(matches!(tier.get(0, &1, NEVER, || 9), Lookup::Load(_)));
}

#[test]
fn a_load_that_began_before_a_write_is_not_kept() {
    let mut tier = Tier::new(BOUNDS);
    let before = load(&mut tier, 0, 1);
    tier.invalidate(&1);
    let after = load(&mut tier, 0, 1);
    let old = loaded(1, 1, 100);
    assert!(!tier.end(&1, before, Some(old.clone())));
    assert_eq!(tier.get(0, &1, NEVER, || 0), Lookup::Wait(0));
    assert!(tier.end(&1, after, Some(Loaded { value: Some(2), ..old })));
    assert_eq!(tier.get(0, &1, NEVER, || 0), Lookup::Hit(Some(2)));
    let load = load(&mut tier, 100, 1);
    tier.flush();
    assert!(!tier.end(&1, load, Some(loaded(3, 1, 200))));
    assert_eq!(tier.counts().spoiled, 2);
}

#[test]
fn one_renews_what_is_to_end_soon_and_all_are_served() {
    let mut tier = Tier::new(BOUNDS);
    let first = load(&mut tier, 0, 1);
    tier.end(&1, first, Some(Loaded { renew_from_us: 50, ..loaded(10, 1, 100) }));
    let mut ask = |now_us, lead_us| tier.get(now_us, &1, || lead_us, || now_us);
    assert_eq!(ask(49, u64::MAX), Lookup::Hit(Some(10)), "is too young");
    assert_eq!(ask(89, 10), Lookup::Hit(Some(10)));
    let Lookup::Renew(Some(10), ticket) = ask(90, 10) else { panic!("is to be renewed") };
    assert_eq!(ask(99, 10), Lookup::Hit(Some(10)));
    assert_eq!(ask(100, 10), Lookup::Wait(90), "it is over before it is renewed");
    assert!(tier.end(&1, ticket, Some(loaded(20, 1, 200))));
    assert_eq!(tier.get(150, &1, NEVER, || 0), Lookup::Hit(Some(20)));
    assert_eq!((tier.counts().loads, tier.counts().renewals), (2, 1));
}

#[test]
fn a_renewal_that_fails_is_not_tried_again() {
    let mut tier = Tier::new(BOUNDS);
    keep(&mut tier, 1, 10, 1, 100);
    let Lookup::Renew(_, ticket) = tier.get(90, &1, || 10, || 0) else { panic!("is due") };
    assert!(!tier.end(&1, ticket, None));
    assert_eq!(tier.get(99, &1, || 10, || 0), Lookup::Hit(Some(10)));
    assert!(matches!(tier.get(100, &1, || 10, || 0), Lookup::Load(_)));
}

#[test]
fn a_write_ends_a_renewal() {
    let mut tier = Tier::new(BOUNDS);
    keep(&mut tier, 1, 10, 1, 100);
    let Lookup::Renew(_, ticket) = tier.get(90, &1, || 10, || 0) else { panic!("is due") };
    tier.invalidate(&1);
    assert!(!tier.end(&1, ticket, Some(loaded(10, 1, 200))));
    assert!(matches!(tier.get(90, &1, || 10, || 0), Lookup::Load(_)));
}

/// Over a thousand lives of a value, each asked for once in a time.
fn waited(asked_every_us: u64, eagerness: f64) -> (usize, u64) {
    const COST_US: u64 = 20;
    const LIFE_US: u64 = 1_000;
    let mut tier = Tier::new(BOUNDS);
    let mut under_way: Option<(Ticket, u64)> = None;
    let (mut waited, mut early_us, mut draw) = (0, 0, 1_u64);
    for now_us in (0..1_000 * LIFE_US).step_by(asked_every_us as usize) {
        if let Some((ticket, began_us)) = under_way.filter(|(_, at)| at + COST_US <= now_us) {
            tier.end(&1, ticket, Some(loaded(0, 1, began_us + LIFE_US)));
            under_way = None;
        }
        // As good as any: a generator of Knuth's, its upper half mixed in.
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lead_us = || lead_us(COST_US, eagerness, draw ^ (draw >> 29));
        let until_us = tier.entries.get(&1).map_or(0, |entry| entry.loaded.fresh_until_us);
        match tier.get(now_us, &1, lead_us, || 0) {
            Lookup::Hit(_) => {}
            Lookup::Wait(_) => waited += 1,
            Lookup::Load(ticket) => {
                waited += 1;
                under_way = Some((ticket, now_us));
            }
            Lookup::Renew(_, ticket) => {
                early_us += until_us - now_us;
                under_way = Some((ticket, now_us));
            }
        }
    }
    (waited, early_us / tier.counts().renewals.max(1))
}

#[test]
fn nobody_waits_for_what_is_asked_for_all_the_time() {
    let (without, _) = waited(1, 0.0);
    assert!(without > 19_000, "each end holds up all who ask while the store is read: {without}");
    let (with, early_us) = waited(1, 1.0);
    assert!(with < without / 50, "{with} of {without}");
    assert!((40..200).contains(&early_us), "it is renewed {early_us} us early");
    // What hardly anybody asks for is hardly ever renewed.
    let (seldom, _) = waited(400, 1.0);
    assert!(seldom > 300, "{seldom}");
}

#[test]
fn a_lead_is_the_cost_in_the_mean() {
    let draws = (0..1_024_u64).map(|nth| (nth << 54) | (1 << 53));
    let mean = draws.map(|draw| lead_us(1_000, 1.0, draw)).sum::<u64>() / 1_024;
    assert!((990..=1_010).contains(&mean), "{mean}");
    assert_eq!((lead_us(1_000, 0.0, 0), lead_us(1_000, 1.0, u64::MAX)), (0, 0));
    assert_eq!(lead_us(1_000, 1.0, 0), 36_736, "and never endless");
}

#[test]
fn what_is_used_outlives_what_is_not() {
    let mut tier = Tier::new(BOUNDS);
    for key in 0..4 {
        keep(&mut tier, key, 0, 1, 100);
    }
    tier.get(0, &0, NEVER, || 0);
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
    /// Somebody asks, who would load it so long before its end.
    Get(u8, u64),
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
        8 => (0..6_u8, 0..60_u64).prop_map(|(key, lead_us)| Step::Get(key, lead_us)),
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
                Step::Get(key, lead_us) => {
                    let lookup = tier.get(now_us, &key, || lead_us, || now_us);
                    if let Lookup::Hit(value) | Lookup::Renew(value, _) = &lookup {
                        let value = value.unwrap_or_default();
                        let least = told.get(&key).copied().unwrap_or_default();
                        prop_assert!(value >= least, "{key}: {value} was replaced by {least}");
                        let values = truth.get(&key).cloned().unwrap_or_default();
                        let replaced = values.iter().find(|(other, _)| *other > value);
                        let is_within = replaced.is_none_or(|(_, at)| now_us < at + MAX_STALE_US);
                        prop_assert!(is_within, "{key}: {value} is too old");
                    }
                    match lookup {
                        Lookup::Hit(_) => {}
                        Lookup::Wait(_) => {
                            prop_assert!(loads.iter().any(|(loading, ..)| *loading == key));
                        }
                        Lookup::Load(ticket) | Lookup::Renew(_, ticket) => {
                            let current = tier.loads.get(&key).map(|loading| loading.ticket);
                            prop_assert_eq!(current, Some(ticket));
                            let values = truth.get(&key).and_then(|values| values.last());
                            let value = values.map_or(0, |(value, _)| *value);
                            loads.push_back((key, ticket, value, now_us));
                        }
                    }
                }
                Step::End(nth, is_good) if nth < loads.len() => {
                    let (key, ticket, value, began_us) = loads.remove(nth).unwrap();
                    let fresh_until_us = began_us + MAX_STALE_US;
                    let weight = 1 + value as usize % 15;
                    let loaded = loaded(value, weight, fresh_until_us);
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
