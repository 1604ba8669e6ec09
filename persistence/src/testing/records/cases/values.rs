//! What is in records, and what cannot be.

use bytes::Bytes;

use super::super::RecordsFixture;
use super::super::samples::{Desk, GRANTS, NOW_S, USERS, check, create, draft, id, key, text};
use super::list;
use crate::error::StoreError;
use crate::records::{
    Collection, Commit, Draft, Expect, Fields, Index, IndexKey, KeyRange, MAX_COMMIT_BYTES,
    MAX_DEPTH, MAX_ENTRIES, MAX_INDEX_KEY_BYTES, MAX_KEYS, MAX_RECORD_BYTES, MAX_TIME_S,
    MAX_WRITES, Malformed, Query, RecordWrite, Refusal, RefusalReason, Value,
};
use crate::testing::fixture::{Failure, Verdict};
use crate::testing::records::RecordsCase;
use crate::testing::samples::{ensure, ensure_eq};

pub(super) const CASES: &[RecordsCase] = list![
    keeps_values_of_every_type,
    gets_many_in_the_order_of_their_keys,
    keeps_collections_apart,
    refuses_what_is_too_large,
    refuses_what_cannot_be_a_record,
    refuses_what_only_a_wrong_program_asks,
];

/// A body with every type of value, and the ends of their ranges.
fn everything() -> Fields {
    let inner = Fields::new().with("ä b", "\u{1f30d}").with("none", Fields::new());
    let array = vec![Value::Null, (-1_i64).into(), vec![].into(), inner.clone().into()];
    Fields::new()
        .with("null", Value::Null)
        .with("true", true)
        .with("false", false)
        .with("zero", 0_i64)
        .with("least", i64::MIN)
        .with("most", i64::MAX)
        .with("float", 1.0)
        .with("minus_zero", -0.0)
        .with("tiny", f64::MIN_POSITIVE)
        .with("text", "Überall")
        .with("empty", "")
        .with("bytes", Bytes::from_static(&[0, 0xff]))
        .with("no_bytes", Bytes::new())
        .with("time", Value::time(NOW_S))
        .with("last", Value::time(MAX_TIME_S))
        .with("array", array)
        .with("map", inner)
}

async fn keeps_values_of_every_type(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let until = NOW_S + 1_000;
    let put = Draft::new(everything()).until(until).found_by("by_name", text("\0"));
    let versions = desk.done(vec![RecordWrite::create(&USERS, key(1), put)]).await?;
    for life in 0..3 {
        let desk = Desk::at(fixture.records());
        let found = desk.user(1).await?.ok_or_else(|| Failure(format!("gone in life {life}")))?;
        ensure_eq!(found.body, everything(), "the body in life {life}");
        let minus = found.body.float("minus_zero").map(f64::is_sign_negative);
        ensure_eq!(minus, Some(true), "the sign of minus zero");
        ensure_eq!((found.version, found.expires_s), (versions[0], Some(until)), "life {life}");
        ensure_eq!(found.key, key(1), "the key");
        if life == 0 {
            fixture.crash().await?;
        } else {
            fixture.reopen().await?;
        }
    }
    ensure_eq!(fixture.store().verify_store().await?.records, 1, "records that are whole");
    Ok(())
}

async fn gets_many_in_the_order_of_their_keys(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    desk.done((1..=3).map(create).collect()).await?;
    let keys = [3, 9, 1, 3, 2].map(key).to_vec();
    let mut numbers = Vec::new();
    for found in desk.records.get_many(&USERS, keys, NOW_S).await? {
        numbers.push(found?.and_then(|record| record.body.int("nth")));
    }
    ensure_eq!(numbers, [Some(3), None, Some(1), Some(3), Some(2)], "what was found");
    ensure_eq!(desk.records.get_many(&USERS, Vec::new(), NOW_S).await?, [], "nothing");
    let keys = (0..=MAX_KEYS as u64).map(key).collect();
    let answer = desk.records.get_many(&USERS, keys, NOW_S).await;
    ensure!(matches!(answer, Err(StoreError::Invalid(_))), "too many keys: {answer:?}");
    Ok(())
}

async fn keeps_collections_apart(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let named = |of, nth| {
        let put = draft(nth).found_by("by_name", text("ada")).found_by("by_tag", text("t"));
        RecordWrite::create(of, key(1), put)
    };
    desk.done(vec![named(&USERS, 1), named(&GRANTS, 2)]).await?;
    let found = desk.records.get(&GRANTS, key(1), NOW_S).await?;
    ensure_eq!(found.and_then(|record| record.body.int("nth")), Some(2), "the grant");
    ensure_eq!(desk.under("by_name", "ada").await?, [1], "users of this name");
    ensure_eq!(desk.under("by_tag", "ada").await?, Vec::<i64>::new(), "a name is no tag");
    ensure_eq!(desk.under("by_tag", "t").await?, [1], "users of this tag");
    desk.done(vec![RecordWrite::delete(&GRANTS, key(1), Expect::Present)]).await?;
    ensure_eq!(desk.under("by_name", "ada").await?, [1], "users after the grant went");
    ensure!(desk.user(1).await?.is_some(), "the user went with the grant");
    Ok(())
}

async fn refuses_what_is_too_large(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    // The content is an array, no entries, a map of one, a name and a length.
    let filled = |bytes: usize| Fields::new().with("b", Bytes::from(vec![7; bytes - 10]));
    let make = |nth, bytes| RecordWrite::create(&USERS, key(nth), Draft::new(filled(bytes)));
    let refusal = desk.refused(vec![create(1), make(2, MAX_RECORD_BYTES + 1)]).await?;
    let reason = RefusalReason::TooLarge { bytes: MAX_RECORD_BYTES + 1 };
    ensure_eq!(refusal, Refusal { write: 1, reason }, "a long record");
    ensure_eq!(desk.user(1).await?, None, "the record beside it");
    desk.done(vec![make(2, MAX_RECORD_BYTES)]).await?;
    let found = desk.user(2).await?.map(|found| found.body.clone());
    ensure_eq!(found, Some(filled(MAX_RECORD_BYTES)), "the longest record");
    let count = MAX_COMMIT_BYTES / MAX_RECORD_BYTES;
    let all = |nths: std::ops::Range<usize>| -> Vec<_> {
        nths.map(|nth| make(100 + nth as u64, MAX_RECORD_BYTES)).collect()
    };
    let refusal = desk.refused(all(0..count + 1)).await?;
    let reason = RefusalReason::TooLarge { bytes: MAX_COMMIT_BYTES + MAX_RECORD_BYTES };
    ensure_eq!(refusal, Refusal { write: count, reason }, "a long commit");
    desk.done(all(0..count)).await?;
    Ok(())
}

async fn refuses_what_cannot_be_a_record(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let mut deep = Value::Null;
    for _ in 0..MAX_DEPTH {
        deep = vec![deep].into();
    }
    let with = |name: &str, value: Value| Draft::new(Fields::new().with(name, value));
    let tags = |count: u64| {
        (0..count).fold(draft(1), |all, nth| all.found_by("by_tag", IndexKey::new().number(nth)))
    };
    let long = |bytes| draft(1).found_by("by_tag", IndexKey::raw(vec![1; bytes]));
    let inside = Value::from(Fields::new().with("a.b", true));
    let bad = [
        (with("", Value::Null), Malformed::Name),
        (with("$set", Value::Null), Malformed::Name),
        (with("a\0", Value::Null), Malformed::Name),
        (with(&"x".repeat(65), Value::Null), Malformed::Name),
        (with("a", inside), Malformed::Name),
        (with("a", deep.clone()), Malformed::Depth),
        (with("a", f64::NAN.into()), Malformed::Float),
        (with("a", f64::INFINITY.into()), Malformed::Float),
        (with("a", Value::time(MAX_TIME_S + 1)), Malformed::Time),
        (tags(MAX_ENTRIES as u64 + 1), Malformed::Entries),
        (long(MAX_INDEX_KEY_BYTES + 1), Malformed::IndexKey),
    ];
    for (nth, (draft, malformed)) in (1..).zip(bad) {
        let refusal = desk.refused(vec![RecordWrite::put(&USERS, key(nth), draft)]).await?;
        ensure_eq!(refusal.reason, RefusalReason::Malformed(malformed), "the {nth}th");
        ensure_eq!(desk.user(nth).await?, None, "the {nth}th");
    }
    let Value::Array(mut items) = deep else { return Ok(()) };
    let good = [
        with(&"x".repeat(64), items.remove(0)),
        tags(MAX_ENTRIES as u64),
        long(MAX_INDEX_KEY_BYTES),
        draft(1).found_by("by_tag", IndexKey::new()),
    ];
    for (nth, draft) in (100..).zip(good) {
        desk.done(vec![RecordWrite::create(&USERS, key(nth), draft)]).await?;
    }
    let all = Query::new("by_tag", KeyRange::all());
    ensure_eq!(desk.found(all).await?.len(), MAX_ENTRIES + 2, "entries");
    Ok(())
}

static BAD_NAME: Collection = Collection { name: "Users", indexes: &[] };
static BAD_INDEX: Collection = Collection { name: "others", indexes: &[Index::plain("by.x")] };

async fn refuses_what_only_a_wrong_program_asks(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let wrong = [
        vec![],
        (0..=MAX_WRITES as u64).map(create).collect(),
        vec![create(1), check(1, Expect::Absent)],
        vec![check(1, Expect::Any)],
        vec![RecordWrite::put(&USERS, key(1), draft(1).found_by("by_hair", text("x")))],
        vec![RecordWrite::put(&USERS, key(1), draft(1).until(MAX_TIME_S + 1))],
        vec![RecordWrite::put(&BAD_NAME, key(1), draft(1))],
        vec![RecordWrite::put(&BAD_INDEX, key(1), draft(1))],
    ];
    for (nth, writes) in (1..).zip(wrong) {
        let answer = desk.records.commit(Commit { id: id(nth), writes }, NOW_S).await;
        ensure!(matches!(answer, Err(StoreError::Invalid(_))), "the {nth}th: {answer:?}");
    }
    let late = Commit { id: id(100), writes: vec![create(1)] };
    let answer = desk.records.commit(late, MAX_TIME_S + 1).await;
    ensure!(matches!(answer, Err(StoreError::Invalid(_))), "after all times: {answer:?}");
    let answer = desk.records.list(&USERS, Query::new("by_hair", KeyRange::all()), NOW_S).await;
    ensure!(matches!(answer, Err(StoreError::Invalid(_))), "an unknown index: {answer:?}");
    ensure_eq!(desk.user(1).await?, None, "what was refused");
    Ok(())
}
