//! Records that end, and what a sweep removes.

use super::super::RecordsFixture;
use super::super::samples::{
    Desk, NOW_S, USERS, check, conflict, create, delete, draft, id, key, named, taken, text,
};
use super::list;
use crate::records::{
    COMMIT_MEMORY_S, Commit, Expect, KeyRange, Query, RecordWrite, SweepPlace, Swept,
};
use crate::testing::fixture::Verdict;
use crate::testing::records::RecordsCase;
use crate::testing::samples::{ensure, ensure_eq};

pub(super) const CASES: &[RecordsCase] = list![
    shows_nothing_that_has_ended,
    takes_what_has_ended_for_absent,
    frees_unique_keys_of_what_has_ended,
    sweeps_what_has_ended_alone,
    sweeps_step_by_step,
    forgets_commits_in_time,
];

/// Makes the nth user until a time.
fn until(nth: u64, expires_s: u64) -> RecordWrite {
    let draft = draft(nth).until(expires_s).found_by("by_tag", text("t"));
    RecordWrite::create(&USERS, key(nth), draft)
}

async fn shows_nothing_that_has_ended(fixture: &mut dyn RecordsFixture) -> Verdict {
    let mut desk = Desk::at(fixture.records());
    desk.done(vec![until(1, NOW_S + 10), until(2, NOW_S + 11), until(3, NOW_S + 500)]).await?;
    for (now_s, expected) in [(9, vec![1, 2, 3]), (10, vec![2, 3]), (11, vec![3])] {
        desk.now_s = NOW_S + now_s;
        let shown = |nth: &i64| expected.contains(nth);
        for nth in 1..=3 {
            let found = desk.user(nth).await?.is_some();
            ensure_eq!(found, shown(&(nth as i64)), "user {nth} after {now_s} s");
        }
        let many = desk.records.get_many(&USERS, (1..=3).map(key).collect(), desk.now_s).await?;
        let found = many.iter().filter(|found| matches!(found, Ok(Some(_)))).count();
        ensure_eq!(found, expected.len(), "of many after {now_s} s");
        ensure_eq!(desk.under("by_tag", "t").await?, expected, "listed after {now_s} s");
        let page = Query::new("by_tag", KeyRange::all()).limit(1);
        let page = desk.records.list(&USERS, page, desk.now_s).await?;
        let first = page.found.first().and_then(|listed| listed.record.body.int("nth"));
        ensure_eq!(first, expected.first().copied(), "the first of a page after {now_s} s");
        ensure_eq!(page.next.is_some(), expected.len() > 1, "whether more follows, {now_s} s");
    }
    // One that is put off is there again for those who ask later.
    desk.now_s = NOW_S + 499;
    desk.done(vec![RecordWrite::put(&USERS, key(3), draft(3).until(NOW_S + 900))]).await?;
    desk.now_s = NOW_S + 500;
    ensure!(desk.user(3).await?.is_some(), "one that was put off");
    Ok(())
}

async fn takes_what_has_ended_for_absent(fixture: &mut dyn RecordsFixture) -> Verdict {
    let mut desk = Desk::at(fixture.records());
    let before = desk.done((1..=6).map(|nth| until(nth, NOW_S + 10)).collect()).await?;
    desk.now_s = NOW_S + 10;
    for expect in [Expect::Present, Expect::Version(before[0])] {
        ensure_eq!(desk.refused(vec![delete(1, expect)]).await?, conflict(0, None), "{expect:?}");
    }
    let writes = vec![
        create(1),
        RecordWrite::put(&USERS, key(2), draft(2)),
        delete(3, Expect::Any),
        delete(4, Expect::Absent),
        check(5, Expect::Absent),
    ];
    let versions = desk.done(writes).await?;
    ensure!(versions[0] > before[0] && versions[1] > before[1], "{versions:?} after {before:?}");
    ensure_eq!(versions[2..], [0, 0, 0], "the versions of what is not there");
    ensure_eq!(desk.under("by_tag", "t").await?, Vec::<i64>::new(), "under the old tag");
    for (nth, expected) in (1..=6).zip([true, true, false, false, false, false]) {
        ensure_eq!(desk.user(nth).await?.is_some(), expected, "user {nth}");
    }
    ensure_eq!(fixture.store().verify_store().await?.damages, [], "damages");
    Ok(())
}

async fn frees_unique_keys_of_what_has_ended(fixture: &mut dyn RecordsFixture) -> Verdict {
    let mut desk = Desk::at(fixture.records());
    let called = |nth, names: &[&str]| {
        let all = draft(nth).until(NOW_S + 10);
        let all = names.iter().fold(all, |all, name| all.found_by("by_name", text(name)));
        RecordWrite::create(&USERS, key(nth), all.found_by("by_tag", text("t")))
    };
    desk.done(vec![called(1, &["a", "b", "c"]), called(2, &["d"])]).await?;
    desk.now_s = NOW_S + 9;
    ensure_eq!(desk.refused(vec![named(3, "a")]).await?, taken(0), "just before the end");
    desk.now_s = NOW_S + 10;
    // Two of the names, and the key of another that has ended.
    let all = draft(2).found_by("by_name", text("a")).found_by("by_name", text("b"));
    desk.done(vec![RecordWrite::create(&USERS, key(2), all), named(4, "d")]).await?;
    desk.done(vec![named(5, "c")]).await?;
    let mut found = Vec::new();
    for name in ["a", "b", "c", "d"] {
        found.extend(desk.under("by_name", name).await?);
    }
    ensure_eq!(found, [2, 2, 5, 4], "who has the names");
    ensure_eq!(desk.user(1).await?, None, "who had them");
    ensure_eq!(fixture.store().verify_store().await?.damages, [], "damages");
    Ok(())
}

async fn sweeps_what_has_ended_alone(fixture: &mut dyn RecordsFixture) -> Verdict {
    let mut desk = Desk::at(fixture.records());
    let writes = vec![until(1, NOW_S + 10), until(2, NOW_S + 10), until(3, NOW_S + 11), create(4)];
    desk.done(writes).await?;
    let sweep = async |now_s| desk.records.sweep(now_s, SweepPlace::default(), 100).await;
    let swept = sweep(NOW_S + 9).await?;
    ensure_eq!(swept, Swept::default(), "before anything has ended");
    let swept = sweep(NOW_S + 10).await?;
    ensure_eq!(swept, Swept { records: 2, ..Swept::default() }, "when two have");
    let left = desk.records.scan(None).await?;
    let left: Vec<_> = left.into_iter().map(|found| found.record.key).collect();
    ensure_eq!(left, [key(3), key(4)], "what is left");
    ensure_eq!(desk.under("by_tag", "t").await?, [3], "what is listed");
    desk.now_s = NOW_S + 10;
    desk.done(vec![create(1), named(2, "x")]).await?;
    let report = fixture.store().verify_store().await?;
    ensure_eq!((report.records, report.damages), (4, vec![]), "the report");
    Ok(())
}

async fn sweeps_step_by_step(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    desk.done((1..=5).map(|nth| until(nth, NOW_S + nth)).collect()).await?;
    let (mut total, mut steps, mut from) = (0, 0, Some(SweepPlace::default()));
    while let Some(place) = from {
        let swept = desk.records.sweep(NOW_S + 100, place, 2).await?;
        ensure!(swept.records <= 2, "{swept:?} with a limit of 2");
        total += swept.records;
        steps += 1;
        from = swept.next;
        ensure!(steps < 10, "sweeps without end");
    }
    ensure_eq!((total, steps), (5, 3), "records and steps");
    let swept = desk.records.sweep(NOW_S + 100, SweepPlace::default(), 0).await?;
    ensure_eq!(swept, Swept::default(), "when nothing is left");
    Ok(())
}

async fn forgets_commits_in_time(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let commit = || Commit { id: id(1), writes: vec![create(1)] };
    let answer = desk.records.commit(commit(), NOW_S).await?;
    ensure!(answer.is_ok(), "a good commit: {answer:?}");
    let sweep = async |now_s| desk.records.sweep(now_s, SweepPlace::default(), 100).await;
    let swept = sweep(NOW_S + COMMIT_MEMORY_S - 1).await?;
    ensure_eq!(swept, Swept::default(), "while it is remembered");
    let swept = sweep(NOW_S + COMMIT_MEMORY_S).await?;
    ensure_eq!(swept, Swept { commits: 1, ..Swept::default() }, "from then on");
    // Now it is a commit like any other, and its record is there.
    let version = desk.version(1).await?;
    let answer = desk.records.commit(commit(), NOW_S).await?;
    ensure_eq!(answer, Err(conflict(0, version)), "the same again");
    Ok(())
}
