//! Records of branes, listings, and the server's own values.

use avvy_model::{BraneId, Visibility};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::Case;
use super::list;
use crate::error::StoreError;
use crate::record::{BraneFilter, BraneRecord, MAX_NAME_BYTES};
use crate::store::{MAX_META_KEY_BYTES, MAX_META_VALUE_BYTES};
use crate::testing::fixture::{Failure, Fixture, Verdict};
use crate::testing::samples::{brane, ensure, ensure_eq, record, user};

pub(super) const CASES: &[Case] = list![
    keeps_records,
    refuses_a_second_record_for_an_id,
    does_not_know_what_was_never_created,
    lists_what_a_filter_shows,
    pages_through_a_listing,
    keeps_values,
    replaces_a_value_that_is_what_it_was,
    lets_one_of_many_replace_a_value,
    refuses_what_is_too_long,
];

async fn keeps_records(fixture: &mut dyn Fixture) -> Verdict {
    let mut second = record(2);
    second.name = "Überall \u{1f30d}".to_owned();
    fixture.store().create_brane(record(1)).await?;
    fixture.store().create_brane(second.clone()).await?;
    for life in 0..3 {
        let store = fixture.store();
        ensure_eq!(store.brane(brane(1)).await?, record(1), "the first record, life {life}");
        ensure_eq!(store.brane(brane(2)).await?, second, "the second record, life {life}");
        if life == 0 {
            fixture.crash().await?;
        } else {
            fixture.reopen().await?;
        }
    }
    Ok(())
}

async fn refuses_a_second_record_for_an_id(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    store.create_brane(record(1)).await?;
    ensure_eq!(store.create_brane(record(1)).await, Ok(()), "the same again");
    let mut other = record(1);
    other.name.push('!');
    let answer = store.create_brane(other).await;
    ensure_eq!(answer, Err(StoreError::BraneExists(brane(1))), "another record");
    ensure_eq!(store.brane(brane(1)).await?, record(1), "the record");
    Ok(())
}

async fn does_not_know_what_was_never_created(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let unknown = StoreError::UnknownBrane(brane(9));
    ensure_eq!(store.brane(brane(9)).await, Err(unknown.clone()), "brane");
    ensure_eq!(store.open(brane(9)).await, Err(unknown.clone()), "open");
    let read = store.read_chunks(brane(9), avvy_model::Seq(0), 100).await;
    ensure_eq!(read, Err(unknown.clone()), "read_chunks");
    ensure_eq!(store.verify_brane(brane(9)).await, Err(unknown), "verify_brane");
    ensure_eq!(store.meta("nothing").await, Ok(None), "meta");
    Ok(())
}

async fn lists_what_a_filter_shows(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let variants = [
        (Visibility::Private, user(1)),
        (Visibility::Unlisted, user(1)),
        (Visibility::Public, user(1)),
        (Visibility::Private, user(2)),
        (Visibility::Public, user(2)),
    ];
    let mut records = Vec::new();
    for (nth, (visibility, owner)) in (1..).zip(variants) {
        records.push(BraneRecord { visibility, owner, ..record(nth) });
    }
    for record in records.iter().rev() {
        store.create_brane(record.clone()).await?;
    }
    let filters = [
        (BraneFilter::All, vec![1, 2, 3, 4, 5]),
        (BraneFilter::Listed, vec![3, 5]),
        (BraneFilter::VisibleTo(user(1)), vec![1, 2, 3, 5]),
        (BraneFilter::VisibleTo(user(3)), vec![3, 5]),
        (BraneFilter::OwnedBy(user(2)), vec![4, 5]),
        (BraneFilter::OwnedBy(user(3)), vec![]),
    ];
    for (filter, expected) in filters {
        let page = store.branes(filter, None, 100).await?;
        let expected: Vec<BraneId> = expected.into_iter().map(brane).collect();
        let found: Vec<BraneId> = page.branes.iter().map(|record| record.id).collect();
        ensure_eq!(found, expected, "what {filter:?} shows");
        ensure_eq!(page.next, None, "the next page of {filter:?}");
    }
    Ok(())
}

async fn pages_through_a_listing(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    for nth in 0..25 {
        // Many of the same age: the id decides between them.
        let created_ms = 1_700_000_000_000 + u64::from(nth / 10);
        store.create_brane(BraneRecord { created_ms, ..record(nth) }).await?;
    }
    for limit in [1, 7, 25, 1_000] {
        let mut found = Vec::new();
        let mut after = None;
        for _ in 0..=25 {
            let page = store.branes(BraneFilter::All, after, limit).await?;
            ensure!(page.branes.len() <= limit as usize, "a page is longer than {limit}");
            found.extend(page.branes.into_iter().map(|record| record.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<BraneId> = (0..25).map(brane).collect();
        ensure_eq!(found, expected, "what pages of {limit} show");
    }
    let page = store.branes(BraneFilter::All, None, 0).await?;
    ensure_eq!(page.branes.len(), 1, "records of a page of none");
    Ok(())
}

async fn keeps_values(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let put = |key: &'static str, value: &'static [u8]| (key, Bytes::from_static(value));
    for (key, value) in [put("a", b"1"), put("b", b""), put("a", b"2")] {
        store.put_meta(key, value).await?;
    }
    for _ in 0..2 {
        let store = fixture.store();
        ensure_eq!(store.meta("a").await?.as_deref(), Some(&b"2"[..]), "the value of a");
        ensure_eq!(store.meta("b").await?.as_deref(), Some(&b""[..]), "the value of b");
        ensure_eq!(store.meta("c").await?, None, "the value of c");
        fixture.crash().await?;
    }
    Ok(())
}

async fn replaces_a_value_that_is_what_it_was(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let bytes = |value: &'static str| Bytes::from_static(value.as_bytes());
    store.put_meta("empty", Bytes::new()).await?;
    // Key, what it was, what it shall be, whether it is, what there is then.
    let steps = [
        ("new", None, "1", true, Some("1")),
        ("new", None, "1", true, Some("1")),
        ("new", None, "2", false, Some("1")),
        ("new", Some("2"), "3", false, Some("1")),
        ("new", Some("1"), "2", true, Some("2")),
        ("new", Some("1"), "2", true, Some("2")),
        ("new", Some("1"), "3", false, Some("2")),
        ("new", Some("2"), "", true, Some("")),
        ("nothing", Some(""), "1", false, None),
        ("empty", None, "1", false, Some("")),
        ("empty", Some(""), "1", true, Some("1")),
    ];
    for (nth, (key, was, shall, is_done, then)) in steps.into_iter().enumerate() {
        let done = store.replace_meta(key, was.map(bytes), bytes(shall)).await?;
        ensure_eq!(done, is_done, "step {nth} of {key}");
        ensure_eq!(store.meta(key).await?, then.map(bytes), "{key} after step {nth}");
    }
    fixture.crash().await?;
    let store = fixture.store();
    ensure_eq!(store.meta("new").await?, Some(bytes("")), "the new value");
    ensure_eq!(store.meta("nothing").await?, None, "the value that was refused");
    ensure_eq!(store.meta("empty").await?, Some(bytes("1")), "the value that was empty");
    Ok(())
}

async fn lets_one_of_many_replace_a_value(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let mut was = None;
    for round in 0..4_u8 {
        let mut writers = JoinSet::new();
        for nth in 0..8_u8 {
            let (store, was) = (store.clone(), was.clone());
            let value = Bytes::copy_from_slice(&[round, nth]);
            writers.spawn(async move {
                let done = store.replace_meta("value", was, value.clone()).await?;
                Ok::<_, StoreError>(done.then_some(value))
            });
        }
        let mut winners = Vec::new();
        for answer in writers.join_all().await {
            winners.extend(answer?);
        }
        ensure_eq!(winners.len(), 1, "who replaced it in round {round}: {winners:?}");
        was = winners.pop();
        ensure_eq!(store.meta("value").await?, was, "the value after round {round}");
    }
    Ok(())
}

async fn refuses_what_is_too_long(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let name = |length| BraneRecord { name: "x".repeat(length), ..record(1) };
    let is_invalid =
        |answer: &Result<(), StoreError>| matches!(answer, Err(StoreError::Invalid(_)));
    let answer = store.create_brane(name(MAX_NAME_BYTES + 1)).await;
    ensure!(is_invalid(&answer), "a long name: {answer:?}");
    store.create_brane(name(MAX_NAME_BYTES)).await?;
    let longest = "x".repeat(MAX_META_KEY_BYTES);
    let most = Bytes::from(vec![7; MAX_META_VALUE_BYTES]);
    store.put_meta(&longest, most.clone()).await?;
    ensure_eq!(store.meta(&longest).await?, Some(most.clone()), "the longest value");
    let answer = store.put_meta(&(longest.clone() + "x"), Bytes::new()).await;
    ensure!(is_invalid(&answer), "a long key: {answer:?}");
    let more = Bytes::from([&most[..], b"x"].concat());
    let answer = store.put_meta("x", more.clone()).await;
    ensure!(is_invalid(&answer), "a long value: {answer:?}");
    let answer = store.replace_meta("x", None, more).await.map(drop);
    ensure!(is_invalid(&answer), "a long value that replaces: {answer:?}");
    ensure!(store.replace_meta(&longest, Some(most.clone()), most).await?, "the longest again");
    let answer = store.meta("x").await.map_err(Failure::from)?;
    ensure_eq!(answer, None, "the value that was refused");
    Ok(())
}
