//! Clients that mean no good. `docs/HOSTILE.md` says what each of them gets;
//! here each of its rows happens to a server of its own, beside somebody who
//! means well and is served all the same.

#![allow(clippy::unwrap_used)]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod floods;
mod frames;
mod http;
mod messages;
mod people;
mod slow;
mod spoiled;
mod table;
mod tls;
mod tokens;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::iter;

use cases::Case;

/// Cases under way at once.
const AT_ONCE: usize = 16;

fn all() -> Vec<Case> {
    let groups = [
        frames::cases(),
        messages::cases(),
        people::cases(),
        http::cases(),
        tokens::cases(),
        slow::cases(),
        floods::cases(),
        tls::cases(),
    ];
    groups.into_iter().flatten().collect()
}

#[test]
fn every_row_is_a_case_and_every_case_a_row() {
    let rows: Vec<String> = table::rows().into_iter().map(|row| row.case).collect();
    let cases: Vec<&str> = all().iter().map(|case| case.name).collect();
    let unique: BTreeSet<&str> = cases.iter().copied().collect();
    assert_eq!(unique.len(), cases.len(), "a case is there twice");
    let listed: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
    assert_eq!(listed.len(), rows.len(), "a row is there twice");
    let without_row: Vec<_> = unique.difference(&listed).collect();
    let without_case: Vec<_> = listed.difference(&unique).collect();
    assert!(without_row.is_empty() && without_case.is_empty(), "{without_row:?} {without_case:?}");
}

#[test]
fn every_answer_is_stated_where_the_table_says() {
    for row in table::rows() {
        assert!(row.is_stated(), "{}: {} is no heading", row.case, row.stated);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_gets_the_answer_of_its_row() {
    let rows = Arc::new(table::rows());
    let run = |case: Case| {
        let rows = Arc::clone(&rows);
        async move {
            let expected = rows.iter().find(|row| row.case == case.name)?.answer.clone();
            let name = case.name;
            let got = tokio::spawn(case.run()).await.unwrap_or_else(|error| error.to_string());
            (got != expected).then(|| format!("{name}: {got}, and not {expected}"))
        }
    };
    let wrong: Vec<_> = iter(all()).map(run).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
