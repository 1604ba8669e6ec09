//! Listings over indexes.

use bytes::Bytes;

use super::super::RecordsFixture;
use super::super::samples::{Desk, NOW_S, USERS, create, draft, key, named, text};
use super::list;
use crate::records::{
    Cursor, Draft, Expect, Fields, IndexKey, KeyRange, Listed, MAX_PAGE_BYTES, Query, RecordWrite,
};
use crate::testing::fixture::{Failure, Verdict};
use crate::testing::records::RecordsCase;
use crate::testing::samples::{ensure, ensure_eq};

pub(super) const CASES: &[RecordsCase] = list![
    lists_in_the_order_of_keys,
    lists_what_a_range_holds,
    pages_without_gap_or_double,
    follows_changes_of_entries,
    bounds_the_bytes_of_a_page,
    scans_everything_in_order,
];

/// Makes the nth user with an age.
fn aged(nth: u64, age: u64) -> RecordWrite {
    RecordWrite::create(
        &USERS,
        key(nth),
        draft(nth).found_by("by_age", IndexKey::new().number(age)),
    )
}

async fn lists_in_the_order_of_keys(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    // The same age for several, whose keys decide; no age for one.
    let ages = [(1, 300), (5, 7), (2, 300), (3, 7), (4, u64::MAX), (6, 0), (9, 300)];
    desk.done(ages.map(|(nth, age)| aged(nth, age)).to_vec()).await?;
    desk.done(vec![create(7)]).await?;
    let all = Query::new("by_age", KeyRange::all());
    let mut expected = vec![6, 3, 5, 1, 2, 9, 4];
    ensure_eq!(desk.found(all.clone()).await?, expected, "ascending");
    expected.reverse();
    ensure_eq!(desk.found(all.descending()).await?, expected, "descending");
    // Texts of different lengths, with zeros, and others that begin alike.
    let names = ["", "\0", "\0a", "a", "a\0", "ab", "b", "ä"];
    let named = (20..).zip(names.iter().rev()).map(|(nth, name)| named(nth, name));
    desk.done(named.collect()).await?;
    let expected: Vec<i64> = (20..20 + names.len() as i64).rev().collect();
    let all = Query::new("by_name", KeyRange::all());
    ensure_eq!(desk.found(all.clone()).await?, expected, "by name");
    let expected: Vec<i64> = expected.into_iter().rev().collect();
    ensure_eq!(desk.found(all.descending()).await?, expected, "by name, descending");
    Ok(())
}

async fn lists_what_a_range_holds(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let pair = |tag: &str, nth: u64| IndexKey::new().text(tag).number(nth);
    let tagged = |nth, keys: &[IndexKey]| {
        let all = keys.iter().fold(draft(nth), |all, key| all.found_by("by_tag", key.clone()));
        RecordWrite::create(&USERS, key(nth), all)
    };
    desk.done(vec![
        tagged(1, &[pair("a", 1), pair("b", 9)]),
        tagged(2, &[pair("a", 2)]),
        tagged(3, &[pair("ab", 0), pair("a", 300)]),
        tagged(4, &[pair("b", 1), pair("b", 1)]),
        tagged(5, &[IndexKey::raw([0xff, 0xff])]),
    ])
    .await?;
    let prefix = |name: &str| KeyRange::prefix(text(name));
    let beginning = |name: &str| KeyRange::prefix(IndexKey::new().text_beginning(name));
    let ranges = [
        (KeyRange::all(), vec![1, 2, 3, 3, 4, 1, 5]),
        (prefix("a"), vec![1, 2, 3]),
        (prefix("b"), vec![4, 1]),
        (prefix("c"), vec![]),
        (beginning("a"), vec![1, 2, 3, 3]),
        (KeyRange::exactly(pair("a", 2)), vec![2]),
        (KeyRange::exactly(text("a")), vec![]),
        (KeyRange::between(pair("a", 2), pair("b", 9)), vec![2, 3, 3, 4]),
        (KeyRange::between(pair("b", 9), pair("a", 2)), vec![]),
        (KeyRange::prefix(IndexKey::raw([0xff])), vec![5]),
    ];
    for (range, expected) in ranges {
        let query = Query::new("by_tag", range.clone());
        ensure_eq!(desk.found(query.clone()).await?, expected, "{range:?}");
        let expected: Vec<i64> = expected.into_iter().rev().collect();
        ensure_eq!(desk.found(query.descending()).await?, expected, "{range:?}, descending");
    }
    Ok(())
}

/// All that a query finds, page by page.
async fn walk(desk: &Desk, query: &Query) -> Result<Vec<Listed>, Failure> {
    let mut found: Vec<Listed> = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = desk.records.list(&USERS, query.clone().after(after), desk.now_s).await?;
        let limit = query.limit.max(1) as usize;
        ensure!(page.found.len() <= limit, "{} on a page of {limit}", page.found.len());
        ensure!(page.next.is_none() || !page.found.is_empty(), "an empty page before others");
        found.extend(page.found);
        ensure!(found.len() < 1_000, "pages without end");
        let Some(next) = page.next else { return Ok(found) };
        // As those do who ask from far away.
        after = Cursor::from_text(&next.to_text());
        ensure_eq!(after, Some(next), "a cursor as text");
    }
}

async fn pages_without_gap_or_double(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    for nth in 0..24 {
        // Several ages for each, which others have, too; and names.
        let ages = [nth / 5, 100 + nth % 3, 200].map(|age| IndexKey::new().number(age));
        let all = draft(nth).found_by("by_name", IndexKey::new().number(nth * 7 % 24));
        let all = ages.into_iter().fold(all, |all, age| all.found_by("by_age", age));
        desk.done(vec![RecordWrite::create(&USERS, key(nth), all)]).await?;
    }
    for (index, count) in [("by_age", 3 * 24), ("by_name", 24)] {
        for query in
            [Query::new(index, KeyRange::all()), Query::new(index, KeyRange::all()).descending()]
        {
            let whole = walk(&desk, &query).await?;
            ensure_eq!(whole.len(), count, "entries of {index}");
            let place = |listed: &Listed| (listed.key.clone(), listed.record.key.clone());
            let mut sorted = whole.clone();
            sorted.sort_by_key(place);
            if query != query.clone().descending() {
                ensure!(whole == sorted, "{index} is not in order");
            } else {
                sorted.reverse();
                ensure!(whole == sorted, "{index} is not in order, descending");
            }
            for limit in [0, 1, 5, 24] {
                let found = walk(&desk, &query.clone().limit(limit)).await?;
                ensure!(found == whole, "pages of {limit} of {index} show something else");
            }
        }
    }
    // The place of one that is gone is still a place.
    let first = Query::new("by_name", KeyRange::all()).limit(3);
    let next = desk.records.list(&USERS, first.clone(), NOW_S).await?.next;
    let gone = next.clone().map(|next| next.record).ok_or_else(|| "no next page".to_owned())?;
    desk.done(vec![RecordWrite::delete(&USERS, gone, Expect::Present)]).await?;
    let page = desk.records.list(&USERS, first.after(next), NOW_S).await?;
    let keys: Vec<_> = page.found.into_iter().map(|listed| listed.key).collect();
    ensure_eq!(keys, [3, 4, 5].map(|nth| IndexKey::new().number(nth)), "the page after");
    Ok(())
}

async fn follows_changes_of_entries(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let tagged = |tags: &[&str]| {
        let all = tags.iter().fold(draft(1), |all, tag| all.found_by("by_tag", text(tag)));
        RecordWrite::put(&USERS, key(1), all)
    };
    for tags in [&["a", "b"][..], &["b", "c"], &[], &["a"]] {
        desk.done(vec![tagged(tags)]).await?;
        for tag in ["a", "b", "c"] {
            let expected = if tags.contains(&tag) { vec![1] } else { vec![] };
            ensure_eq!(desk.under("by_tag", tag).await?, expected, "{tag} of {tags:?}");
        }
    }
    // What is found is what is there now.
    let later = RecordWrite::put(&USERS, key(1), draft(2).found_by("by_tag", text("a")));
    desk.done(vec![later]).await?;
    ensure_eq!(desk.under("by_tag", "a").await?, [2], "what the record says now");
    desk.done(vec![RecordWrite::delete(&USERS, key(1), Expect::Present)]).await?;
    fixture.crash().await?;
    let desk = Desk::at(fixture.records());
    ensure_eq!(desk.under("by_tag", "a").await?, Vec::<i64>::new(), "after it was deleted");
    Ok(())
}

async fn bounds_the_bytes_of_a_page(fixture: &mut dyn RecordsFixture) -> Verdict {
    const BYTES: usize = 200 << 10;
    let desk = Desk::at(fixture.records());
    for nth in 0..30 {
        let body = Fields::new().with("b", Bytes::from(vec![nth as u8; BYTES]));
        let draft = Draft::new(body).found_by("by_age", IndexKey::new().number(nth));
        desk.done(vec![RecordWrite::create(&USERS, key(nth), draft)]).await?;
    }
    let query = Query::new("by_age", KeyRange::all());
    let page = desk.records.list(&USERS, query.clone(), NOW_S).await?;
    ensure!(page.found.len() * BYTES <= MAX_PAGE_BYTES, "{} on a page", page.found.len());
    ensure!(page.next.is_some(), "a page of so many bytes is the last");
    let keys: Vec<_> = walk(&desk, &query).await?.into_iter().map(|listed| listed.key).collect();
    let expected: Vec<_> = (0..30).map(|nth| IndexKey::new().number(nth)).collect();
    ensure_eq!(keys, expected, "all pages");
    Ok(())
}

async fn scans_everything_in_order(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    for nth in 0..6 {
        desk.done((nth * 100..nth * 100 + 100).map(|nth| aged(nth, 7)).collect()).await?;
    }
    let grant = RecordWrite::create(&super::super::samples::GRANTS, key(1), draft(1));
    desk.done(vec![grant]).await?;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let some = desk.records.scan(after).await?;
        let Some(last) = some.last() else { break };
        after = Some((last.of.clone(), last.record.key.clone()));
        all.extend(some);
        ensure!(all.len() <= 601, "a scan without end");
    }
    let found: Vec<_> = all.iter().map(|found| (found.of.clone(), &found.record.key)).collect();
    ensure!(found.is_sorted() && found.len() == 601, "{} in the wrong order", found.len());
    ensure_eq!((found[0].0.as_str(), found[1].0.as_str()), ("grants", "users"), "collections");
    ensure_eq!(all[1].entries.len(), 1, "entries of a user");
    ensure_eq!(all[1].entries[0].key, IndexKey::new().number(7), "the entry");
    Ok(())
}
