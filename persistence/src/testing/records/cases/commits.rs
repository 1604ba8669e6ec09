//! All or none, once, and only if what is expected holds.

use super::super::RecordsFixture;
use super::super::samples::{
    Desk, NOW_S, USERS, check, conflict, create, delete, draft, id, key, named, taken, text, update,
};
use super::list;
use crate::error::StoreError;
use crate::records::{COMMIT_MEMORY_S, Commit, Expect, RecordWrite, SweepPlace};
use crate::testing::fixture::Verdict;
use crate::testing::records::RecordsCase;
use crate::testing::samples::{ensure, ensure_eq};

pub(super) const CASES: &[RecordsCase] = list![
    raises_versions,
    refuses_what_is_not_expected,
    does_all_or_nothing,
    holds_checks,
    does_a_commit_once,
    knows_an_id_of_another_commit,
    judges_a_refused_commit_again,
    gives_a_unique_key_to_one,
    moves_unique_keys_within_a_commit,
];

async fn raises_versions(fixture: &mut dyn RecordsFixture) -> Verdict {
    let mut desk = Desk::at(fixture.records());
    let mut last = 0;
    // Made, changed, removed, and made again.
    for round in 0..3 {
        let made = desk.done(vec![create(1)]).await?[0];
        ensure!(made > last, "round {round}: version {made} after {last}");
        ensure_eq!(desk.version(1).await?, Some(made), "the version that was made");
        last = made;
        for says in 0..3 {
            let version = desk.done(vec![update(1, last, says)]).await?[0];
            ensure_eq!(version, last + 1, "the version after a change");
            ensure_eq!(desk.version(1).await?, Some(version), "the version that is read");
            last = version;
        }
        let put = desk.done(vec![RecordWrite::put(&USERS, key(1), draft(9))]).await?[0];
        ensure_eq!(put, last + 1, "the version after a change of whatever is there");
        last = put;
        ensure_eq!(desk.done(vec![delete(1, Expect::Version(last))]).await?, [0], "deleted");
        ensure_eq!(desk.version(1).await?, None, "the version of what is gone");
        desk.now_s += 1;
    }
    let versions = desk.done(vec![create(2), check(1, Expect::Absent), create(3)]).await?;
    ensure_eq!(versions[0], desk.version(2).await?.unwrap_or(0), "the first of several");
    ensure_eq!(versions[2], desk.version(3).await?.unwrap_or(0), "the last of several");
    ensure_eq!((versions.len(), versions[1]), (3, 0), "what was checked");
    Ok(())
}

async fn refuses_what_is_not_expected(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let version = desk.done(vec![create(1)]).await?[0];
    let there = Some(version);
    let good = [
        (1, Expect::Any),
        (1, Expect::Present),
        (1, Expect::Version(version)),
        (2, Expect::Any),
        (2, Expect::Absent),
    ];
    let bad = [
        (1, Expect::Absent, there),
        (1, Expect::Version(version + 1), there),
        (1, Expect::Version(version - 1), there),
        (2, Expect::Present, None),
        (2, Expect::Version(version), None),
        (2, Expect::Version(0), None),
    ];
    for (nth, expect, found) in bad {
        let put = RecordWrite { expect, ..RecordWrite::put(&USERS, key(nth), draft(7)) };
        for write in [put, delete(nth, expect), check(nth, expect)] {
            let what = format!("{write:?}");
            ensure_eq!(desk.refused(vec![write]).await?, conflict(0, found), "{what}");
        }
        ensure_eq!(desk.version(1).await?, there, "the record that is there");
        ensure_eq!(desk.user(2).await?, None, "the one that is not");
    }
    for (nth, expect) in good {
        if expect != Expect::Any {
            desk.done(vec![check(nth, expect)]).await?;
        }
        ensure_eq!(desk.version(nth).await?.is_some(), nth == 1, "after a check");
    }
    let put = RecordWrite { expect: Expect::Present, ..RecordWrite::put(&USERS, key(1), draft(8)) };
    desk.done(vec![put, delete(2, Expect::Any)]).await?;
    let says = desk.user(1).await?.and_then(|found| found.body.int("nth"));
    ensure_eq!(says, Some(8), "what the record says in the end");
    Ok(())
}

async fn does_all_or_nothing(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let versions = desk.done(vec![create(1), create(2)]).await?;
    let all = |third: u64| {
        vec![
            update(1, versions[0], 11),
            delete(2, Expect::Present),
            update(3, third, 13),
            create(4),
        ]
    };
    ensure_eq!(desk.refused(all(5)).await?, conflict(2, None), "the refusal");
    for life in 0..2 {
        let desk = Desk::at(fixture.records());
        ensure_eq!(desk.version(1).await?, Some(versions[0]), "the first in life {life}");
        ensure_eq!(desk.version(2).await?, Some(versions[1]), "the second in life {life}");
        ensure_eq!(desk.user(4).await?, None, "the fourth in life {life}");
        fixture.crash().await?;
    }
    let desk = Desk::at(fixture.records());
    let third = desk.done(vec![named(3, "c")]).await?[0];
    let mut writes = all(third);
    writes[3] = RecordWrite::create(&USERS, key(4), draft(4).found_by("by_tag", text("t")));
    let more = writes.clone();
    let answer = desk.records.commit(Commit { id: id(1), writes }, NOW_S).await?;
    ensure!(answer.is_ok(), "a good commit: {answer:?}");
    fixture.crash().await?;
    let desk = Desk::at(fixture.records());
    ensure_eq!(desk.version(1).await?, Some(versions[0] + 1), "the first");
    ensure_eq!(desk.user(2).await?, None, "the second");
    ensure_eq!(desk.version(3).await?, Some(third + 1), "the third");
    ensure_eq!(desk.under("by_tag", "t").await?, [4], "the fourth");
    ensure_eq!(desk.under("by_name", "c").await?, Vec::<i64>::new(), "the third's old name");
    let again = desk.records.commit(Commit { id: id(1), writes: more }, NOW_S).await?;
    ensure_eq!(again, answer, "the answer to the same again");
    Ok(())
}

async fn holds_checks(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let version = desk.done(vec![create(1)]).await?[0];
    let refusal = desk.refused(vec![create(2), check(1, Expect::Absent)]).await?;
    ensure_eq!(refusal, conflict(1, Some(version)), "a check that does not hold");
    let refusal = desk.refused(vec![create(2), check(3, Expect::Present)]).await?;
    ensure_eq!(refusal, conflict(1, None), "another one");
    ensure_eq!(desk.user(2).await?, None, "what went with them");
    let checks = [check(1, Expect::Version(version)), check(3, Expect::Absent)].to_vec();
    ensure_eq!(desk.done(checks.clone()).await?, [version, 0], "checks alone");
    desk.done([vec![create(2)], checks].concat()).await?;
    ensure!(desk.user(2).await?.is_some(), "what went with checks that hold");
    ensure_eq!(desk.version(1).await?, Some(version), "the version of what was checked");
    ensure_eq!(desk.user(3).await?, None, "what was checked for being absent");
    desk.done(vec![create(3)]).await?;
    Ok(())
}

/// Repeats each of these until the end, and holds the records to having been
/// written once.
async fn does_a_commit_once(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    desk.done(vec![create(1), create(2)]).await?;
    let put = |nth, says| RecordWrite::put(&USERS, key(nth), draft(says));
    let first = desk.version(1).await?.unwrap_or(0);
    let commits = [
        vec![put(1, 5), create(3)],
        vec![update(1, first + 1, 6), delete(2, Expect::Any)],
        vec![delete(3, Expect::Present), check(1, Expect::Version(first + 2))],
        vec![put(1, 7), put(2, 8)],
    ];
    let mut answers = Vec::new();
    for life in 0..4 {
        let desk = Desk::at(fixture.records());
        for (nth, writes) in (0_u64..).zip(&commits) {
            let commit = || Commit { id: id(nth), writes: writes.clone() };
            if life == 0 {
                answers.push(desk.records.commit(commit(), NOW_S).await?);
            }
            let now_s = NOW_S + (COMMIT_MEMORY_S - 1) * u64::from(life > 1);
            for (nth, answer) in (0_u64..).zip(&answers) {
                let commit = Commit { id: id(nth), writes: commits[nth as usize].clone() };
                let again = desk.records.commit(commit, now_s).await?;
                ensure_eq!(again, *answer, "commit {nth} again in life {life}");
                ensure!(again.is_ok(), "commit {nth}: {again:?}");
            }
        }
        let says = desk.user(1).await?.and_then(|found| found.body.int("nth"));
        ensure_eq!((desk.version(1).await?, says), (Some(first + 3), Some(7)), "life {life}");
        ensure!(desk.user(2).await?.is_some(), "the record that was made again, in life {life}");
        ensure_eq!(desk.user(3).await?, None, "the one that was deleted, in life {life}");
        // Ids that are not old stay.
        desk.records.sweep(NOW_S + COMMIT_MEMORY_S - 1, SweepPlace::default(), 1_000).await?;
        if life % 2 == 0 {
            fixture.crash().await?;
        } else {
            fixture.reopen().await?;
        }
    }
    Ok(())
}

async fn knows_an_id_of_another_commit(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let commit = |writes| desk.records.commit(Commit { id: id(1), writes }, NOW_S);
    let answer = commit(vec![create(1)]).await?;
    ensure!(answer.is_ok(), "a good commit: {answer:?}");
    let ended = RecordWrite::create(&USERS, key(1), draft(1).until(NOW_S + 9));
    let others = [
        vec![create(2)],
        vec![create(1), create(2)],
        vec![RecordWrite::create(&USERS, key(1), draft(2))],
        vec![RecordWrite::put(&USERS, key(1), draft(1))],
        vec![ended],
    ];
    for writes in others {
        let what = format!("{writes:?}");
        let answer = commit(writes).await;
        ensure!(matches!(answer, Err(StoreError::Invalid(_))), "{what}: {answer:?}");
    }
    ensure_eq!(desk.user(2).await?, None, "what came under the id of another");
    ensure_eq!(commit(vec![create(1)]).await?, answer, "the same again");
    Ok(())
}

async fn judges_a_refused_commit_again(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let version = desk.done(vec![create(1)]).await?[0];
    let again = || Commit { id: id(1), writes: vec![create(1)] };
    for _ in 0..2 {
        let answer = desk.records.commit(again(), NOW_S).await?;
        ensure_eq!(answer, Err(conflict(0, Some(version))), "while it is there");
    }
    desk.done(vec![delete(1, Expect::Any)]).await?;
    let answer = desk.records.commit(again(), NOW_S).await?;
    ensure!(answer.is_ok(), "when it is gone: {answer:?}");
    ensure_eq!(desk.records.commit(again(), NOW_S).await?, answer, "once more");
    Ok(())
}

async fn gives_a_unique_key_to_one(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let version = desk.done(vec![named(1, "ada")]).await?[0];
    ensure_eq!(desk.refused(vec![create(3), named(2, "ada")]).await?, taken(1), "a second one");
    ensure_eq!(desk.refused(vec![named(2, "x"), named(3, "x")]).await?, taken(1), "two at once");
    ensure_eq!(desk.user(2).await?, None, "who was refused");
    let own = RecordWrite::update(
        &USERS,
        key(1),
        version,
        draft(1).found_by("by_name", text("ada")).found_by("by_name", text("eda")),
    );
    desk.done(vec![own]).await?;
    ensure_eq!(desk.refused(vec![named(2, "eda")]).await?, taken(0), "a second name");
    for name in ["ada", "eda"] {
        ensure_eq!(desk.under("by_name", name).await?, [1], "who is called {name}");
    }
    fixture.crash().await?;
    let desk = Desk::at(fixture.records());
    ensure_eq!(desk.refused(vec![named(2, "ada")]).await?, taken(0), "in another life");
    // Whoever gives a name up leaves it to others.
    desk.done(vec![RecordWrite::put(&USERS, key(1), draft(1).found_by("by_name", text("eda")))])
        .await?;
    desk.done(vec![named(2, "ada")]).await?;
    desk.done(vec![delete(1, Expect::Present)]).await?;
    desk.done(vec![named(3, "eda")]).await?;
    ensure_eq!(desk.under("by_name", "ada").await?, [2], "who is called ada");
    ensure_eq!(desk.under("by_name", "eda").await?, [3], "who is called eda");
    Ok(())
}

async fn moves_unique_keys_within_a_commit(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let put = |nth, name: &str| {
        RecordWrite::put(&USERS, key(nth), draft(nth).found_by("by_name", text(name)))
    };
    desk.done(vec![put(1, "a"), put(2, "b"), put(3, "c")]).await?;
    desk.done(vec![put(1, "b"), put(2, "a")]).await?;
    desk.done(vec![put(4, "c"), delete(3, Expect::Present)]).await?;
    let found = [
        desk.under("by_name", "a").await?,
        desk.under("by_name", "b").await?,
        desk.under("by_name", "c").await?,
    ];
    ensure_eq!(found, [vec![2], vec![1], vec![4]], "who is called a, b and c");
    // One that is only checked keeps what it has.
    let refusal = desk.refused(vec![check(4, Expect::Present), put(1, "c")]).await?;
    ensure_eq!(refusal, taken(1), "a name of who is checked");
    ensure_eq!(fixture.store().verify_store().await?.damages, [], "damages");
    Ok(())
}
