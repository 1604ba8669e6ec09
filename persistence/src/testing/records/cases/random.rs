//! Long random lives, compared with a model that keeps a map.

use std::collections::{BTreeMap, BTreeSet};

use super::super::RecordsFixture;
use super::super::samples::{NOW_S, USERS, body, id, key};
use super::list;
use crate::records::{
    Change, Commit, CommitOutcome, Draft, Expect, IndexKey, KeyRange, Query, RecordWrite,
    RefusalReason, SweepPlace,
};
use crate::testing::fixture::{Failure, Verdict};
use crate::testing::records::RecordsCase;
use crate::testing::samples::{Draw, ensure, ensure_eq};

pub(super) const CASES: &[RecordsCase] = list![lives_like_a_map];

const STEPS: u64 = 220;
const SEEDS: u64 = 2;
/// Few keys and names, so that they meet.
const KEYS: u64 = 6;
const NAMES: u64 = 4;

/// A record as it should be.
#[derive(Clone, PartialEq, Debug)]
struct Kept {
    version: u64,
    says: u64,
    expires_s: Option<u64>,
    names: BTreeSet<u64>,
    tags: BTreeSet<u64>,
}

#[derive(Default)]
struct Model {
    now_s: u64,
    /// Expired ones, too, which do not show.
    kept: BTreeMap<u64, Kept>,
    /// Every version that each key had.
    versions: BTreeSet<(u64, u64)>,
    done: Vec<(Commit, CommitOutcome)>,
}

async fn lives_like_a_map(fixture: &mut dyn RecordsFixture) -> Verdict {
    for seed in 0..SEEDS {
        life(fixture, seed)
            .await
            .map_err(|failure| Failure(format!("seed {seed}: {}", failure.0)))?;
    }
    Ok(())
}

async fn life(fixture: &mut dyn RecordsFixture, seed: u64) -> Verdict {
    let mut draw = Draw(seed);
    let mut model = Model { now_s: NOW_S, ..Model::default() };
    clear(fixture, seed).await?;
    for step in 0..STEPS {
        let result = match draw.below(24) {
            0 => fixture.crash().await,
            1 => fixture.reopen().await,
            2 | 3 => {
                model.now_s += draw.below(20);
                Ok(())
            }
            4 => sweep(fixture, &model).await,
            5 | 6 => again(fixture, &model, &mut draw).await,
            7..=10 => compare(fixture, &model, &mut draw).await,
            _ => commit(fixture, &mut model, seed << 32 | step, &mut draw).await,
        };
        result.map_err(|failure| Failure(format!("step {step}: {}", failure.0)))?;
    }
    let report = fixture.store().verify_store().await?;
    ensure_eq!(report.damages, [], "damages");
    Ok(())
}

/// Removes what the life before has left.
async fn clear(fixture: &dyn RecordsFixture, seed: u64) -> Verdict {
    let writes = (0..KEYS).map(|nth| RecordWrite::delete(&USERS, key(nth), Expect::Any));
    let commit = Commit { id: id(seed << 32 | 1 << 31), writes: writes.collect() };
    let answer = fixture.records().commit(commit, NOW_S).await?;
    ensure!(answer.is_ok(), "clearing: {answer:?}");
    Ok(())
}

async fn sweep(fixture: &dyn RecordsFixture, model: &Model) -> Verdict {
    let mut from = Some(SweepPlace::default());
    while let Some(place) = from {
        from = fixture.records().sweep(model.now_s, place, 3).await?.next;
    }
    Ok(())
}

/// Repeats a commit of before.
async fn again(fixture: &dyn RecordsFixture, model: &Model, draw: &mut Draw) -> Verdict {
    let nth = draw.below(model.done.len() as u64) as usize;
    let Some((commit, answer)) = model.done.get(nth) else { return Ok(()) };
    let found = fixture.records().commit(commit.clone(), model.now_s).await?;
    ensure_eq!(found, *answer, "the answer to a commit of before");
    Ok(())
}

async fn compare(fixture: &dyn RecordsFixture, model: &Model, draw: &mut Draw) -> Verdict {
    let records = fixture.records();
    for nth in 0..KEYS {
        let found = records.get(&USERS, key(nth), model.now_s).await?;
        let found = found.map(|found| (found.version, found.expires_s, found.body.int("nth")));
        let expected = model.live(nth);
        let expected = expected.map(|kept| (kept.version, kept.expires_s, Some(kept.says as i64)));
        ensure_eq!(found, expected, "user {nth}");
    }
    let is_descending = draw.below(2) == 0;
    let (index, from) = (["by_name", "by_tag"][draw.below(2) as usize], draw.below(NAMES));
    let range = KeyRange { from: IndexKey::new().number(from), to: None };
    let query = Query::new(index, range).limit(1 + draw.below(6) as u32);
    let query = if is_descending { query.descending() } else { query };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = records.list(&USERS, query.clone().after(after), model.now_s).await?;
        found.extend(page.found.iter().map(|one| (one.key.clone(), one.record.key.clone())));
        after = page.next;
        ensure!(found.len() < 1_000, "a listing without end");
        if after.is_none() {
            break;
        }
    }
    let mut expected = Vec::new();
    for nth in 0..KEYS {
        let Some(kept) = model.live(nth) else { continue };
        let own = if index == "by_name" { &kept.names } else { &kept.tags };
        let own = own.iter().filter(|one| **one >= from);
        expected.extend(own.map(|one| (IndexKey::new().number(*one), key(nth))));
    }
    expected.sort_unstable();
    if is_descending {
        expected.reverse();
    }
    ensure_eq!(found, expected, "{index} from {from}");
    Ok(())
}

impl Model {
    fn live(&self, nth: u64) -> Option<&Kept> {
        let kept = self.kept.get(&nth)?;
        kept.expires_s.is_none_or(|expires_s| self.now_s < expires_s).then_some(kept)
    }

    /// Does a commit, without its new versions, if nothing is in the way.
    fn judge(&self, writes: &[(u64, RecordWrite, Option<Kept>)]) -> Result<Self, (usize, bool)> {
        let mut after = Self { now_s: self.now_s, ..Self::default() };
        let live = self.kept.keys().filter_map(|nth| Some((*nth, self.live(*nth)?.clone())));
        after.kept = live.collect();
        for (at, (nth, write, put)) in writes.iter().enumerate() {
            let found = self.live(*nth).map(|kept| kept.version);
            let holds = match write.expect {
                Expect::Any => true,
                Expect::Absent => found.is_none(),
                Expect::Present => found.is_some(),
                Expect::Version(version) => found == Some(version),
            };
            if !holds {
                return Err((at, false));
            }
            match (&write.change, put) {
                (Change::Put(_), Some(kept)) => {
                    after.kept.insert(*nth, kept.clone());
                }
                (Change::Delete, _) => {
                    after.kept.remove(nth);
                }
                _ => {}
            }
        }
        // The first write with a name that somebody else has in the end.
        for (at, (nth, write, _)) in writes.iter().enumerate() {
            let Some(kept) = after.kept.get(nth) else { continue };
            let is_put = |other: u64| {
                let mut rest = writes[at..].iter();
                rest.any(|(nth, w, _)| *nth == other && matches!(w.change, Change::Put(_)))
            };
            let others = after.kept.iter().filter(|(other, _)| *other != nth && !is_put(**other));
            let is_taken =
                others.into_iter().any(|(_, other)| !other.names.is_disjoint(&kept.names));
            if matches!(write.change, Change::Put(_)) && is_taken {
                return Err((at, true));
            }
        }
        Ok(after)
    }
}

async fn commit(
    fixture: &dyn RecordsFixture,
    model: &mut Model,
    nth: u64,
    draw: &mut Draw,
) -> Verdict {
    let mut writes: Vec<(u64, RecordWrite, Option<Kept>)> = Vec::new();
    for _ in 0..=draw.below(3) {
        let key = draw.below(KEYS);
        if writes.iter().all(|(other, ..)| *other != key) {
            let (write, kept) = write(key, model, draw);
            writes.push((key, write, kept));
        }
    }
    let all = writes.iter().map(|(_, write, _)| write.clone()).collect();
    let commit = Commit { id: id(nth), writes: all };
    let answer = fixture.records().commit(commit.clone(), model.now_s).await?;
    let judged = model.judge(&writes);
    match (&answer, judged) {
        (Err(refusal), Err((at, is_taken))) => {
            let was_taken = matches!(refusal.reason, RefusalReason::Taken { index: "by_name" });
            ensure_eq!((refusal.write, was_taken), (at, is_taken), "the refusal {refusal:?}");
        }
        (Ok(committed), Ok(after)) => {
            let live = |nth| (nth, model.live(nth).map(|kept| kept.version));
            let found: BTreeMap<u64, Option<u64>> = (0..KEYS).map(live).collect();
            model.kept = after.kept;
            for ((nth, write, _), version) in writes.iter().zip(&committed.versions) {
                let Some(kept) = model.kept.get_mut(nth) else {
                    ensure_eq!(*version, 0, "the version of what is gone");
                    continue;
                };
                if matches!(write.change, Change::Check) {
                    ensure_eq!(*version, kept.version, "the version of what is checked");
                    continue;
                }
                let is_new = model.versions.insert((*nth, *version));
                ensure!(is_new, "user {nth} has version {version} once more");
                let before = found.get(nth).copied().flatten();
                ensure!(
                    before.is_none_or(|before| *version == before + 1),
                    "version {version} after {before:?}"
                );
                kept.version = *version;
            }
            model.done.push((commit, answer));
        }
        (answer, judged) => {
            let judged = judged.map(|after| after.kept);
            return Err(Failure(format!("{answer:?}, not {judged:?}, of {commit:?}")));
        }
    }
    Ok(())
}

fn write(nth: u64, model: &Model, draw: &mut Draw) -> (RecordWrite, Option<Kept>) {
    let found = model.live(nth).map(|kept| kept.version);
    // Mostly what holds.
    let expect = match (draw.below(5), found) {
        (0, _) => Expect::Any,
        (1, None) | (2, Some(_)) => Expect::Present,
        (_, None) => Expect::Absent,
        (3, Some(version)) => Expect::Version(version + draw.below(2)),
        (_, Some(version)) => Expect::Version(version),
    };
    match draw.below(6) {
        0 => (RecordWrite::delete(&USERS, key(nth), expect), None),
        1 if expect != Expect::Any => (RecordWrite::check(&USERS, key(nth), expect), None),
        _ => {
            let some = |draw: &mut Draw| (0..draw.below(3)).map(|_| draw.below(NAMES)).collect();
            let kept = Kept {
                version: 0,
                says: draw.below(1_000),
                expires_s: (draw.below(3) == 0).then(|| model.now_s + draw.below(30)),
                names: some(draw),
                tags: some(draw),
            };
            let mut draft = Draft { expires_s: kept.expires_s, ..Draft::new(body(kept.says)) };
            for (index, own) in [("by_name", &kept.names), ("by_tag", &kept.tags)] {
                let numbers = own.iter().map(|one| (index, IndexKey::new().number(*one)));
                draft.entries.extend(numbers);
            }
            let change = Change::Put(draft);
            (RecordWrite { of: &USERS, key: key(nth), expect, change }, Some(kept))
        }
    }
}
