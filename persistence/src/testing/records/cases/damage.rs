//! A record that is not what was written.

use super::super::RecordsFixture;
use super::super::samples::{Desk, GRANTS, NOW_S, USERS, check, create, delete, draft, key, text};
use super::list;
use crate::error::{Place, StoreError};
use crate::records::{Expect, RecordWrite, SweepPlace, Swept};
use crate::testing::fixture::Verdict;
use crate::testing::records::RecordsCase;
use crate::testing::samples::{ensure, ensure_eq};

pub(super) const CASES: &[RecordsCase] = list![
    tells_of_a_damaged_record,
    goes_on_beside_a_damaged_record,
    sweeps_past_a_damaged_record,
    sweeps_past_many_damaged_records,
];

fn place() -> Place {
    Place::Record { of: "users".into(), key: key(2).to_string() }
}

fn is_damage<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Damaged { place: found, .. }) if *found == place())
}

/// Three users under one tag, of whom the second is damaged.
async fn spoiled(fixture: &mut dyn RecordsFixture) -> Result<Desk, crate::testing::Failure> {
    let desk = Desk::at(fixture.records());
    let tagged = |nth| {
        let draft = draft(nth).until(NOW_S + 10 * nth).found_by("by_tag", text("t"));
        RecordWrite::create(&USERS, key(nth), draft.found_by("by_name", text(&format!("n{nth}"))))
    };
    desk.done((1..=3).map(tagged).collect()).await?;
    fixture.damage(place()).await?;
    Ok(Desk::at(fixture.records()))
}

async fn tells_of_a_damaged_record(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = spoiled(fixture).await?;
    let answer = desk.user(2).await;
    ensure!(is_damage(&answer), "get: {answer:?}");
    let many = desk.records.get_many(&USERS, (1..=3).map(key).collect(), NOW_S).await?;
    ensure!(is_damage(&many[1]), "get_many: {many:?}");
    ensure!(many[0].is_ok() && many[2].is_ok(), "the others of many: {many:?}");
    let put = RecordWrite::put(&USERS, key(2), draft(2));
    for write in [put, delete(2, Expect::Any), check(2, Expect::Absent)] {
        let answer = desk.commit(vec![create(4), write]).await;
        ensure!(is_damage(&answer), "a commit: {answer:?}");
    }
    let name = RecordWrite::create(&USERS, key(5), draft(5).found_by("by_name", text("n2")));
    let answer = desk.commit(vec![name]).await;
    ensure!(is_damage(&answer), "a commit that wants its name: {answer:?}");
    let answer = desk.records.scan(None).await;
    ensure!(is_damage(&answer), "scan: {answer:?}");
    let report = fixture.store().verify_store().await?;
    let places: Vec<_> = report.damages.into_iter().map(|damage| damage.place).collect();
    ensure_eq!((report.records, places), (2, vec![place()]), "the report");
    Ok(())
}

async fn goes_on_beside_a_damaged_record(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = spoiled(fixture).await?;
    ensure_eq!(desk.under("by_tag", "t").await?, [1, 3], "what is listed");
    let put = |nth| RecordWrite::put(&USERS, key(nth), draft(nth).found_by("by_tag", text("t")));
    desk.done(vec![put(1), put(4), delete(3, Expect::Present)]).await?;
    ensure_eq!(desk.under("by_tag", "t").await?, [1, 4], "what is listed then");
    ensure_eq!(fixture.store().verify_store().await?.damages.len(), 1, "damages");
    Ok(())
}

async fn sweeps_past_a_damaged_record(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = spoiled(fixture).await?;
    let swept = desk.records.sweep(NOW_S + 100, SweepPlace::default(), 100).await?;
    ensure_eq!(swept, Swept { records: 2, damaged: 1, ..Swept::default() }, "what was swept");
    let report = fixture.store().verify_store().await?;
    ensure_eq!((report.records, report.damages.len()), (0, 1), "the report");
    Ok(())
}

/// However many there are, and in more collections than one.
async fn sweeps_past_many_damaged_records(fixture: &mut dyn RecordsFixture) -> Verdict {
    let desk = Desk::at(fixture.records());
    let ends = |of, nth| RecordWrite::create(of, key(nth), draft(nth).until(NOW_S + nth));
    desk.done((1..=7).flat_map(|nth| [ends(&USERS, nth), ends(&GRANTS, nth)]).collect()).await?;
    for (of, nth) in [(&USERS, 1), (&USERS, 2), (&USERS, 3), (&USERS, 4), (&GRANTS, 6)] {
        fixture.damage(Place::Record { of: of.name.into(), key: key(nth).to_string() }).await?;
    }
    let records = fixture.records();
    let (mut total, mut steps, mut from) = (Swept::default(), 0, Some(SweepPlace::default()));
    while let Some(place) = from {
        let swept = records.sweep(NOW_S + 100, place, 2).await?;
        total.records += swept.records;
        total.damaged += swept.damaged;
        from = swept.next;
        steps += 1;
        ensure!(steps < 20, "sweeps without end");
    }
    ensure_eq!((total.records, total.damaged), (9, 5), "what was swept and passed");
    let report = fixture.store().verify_store().await?;
    ensure_eq!((report.records, report.damages.len()), (0, 5), "the report");
    Ok(())
}
