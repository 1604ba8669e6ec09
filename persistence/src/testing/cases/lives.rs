//! What becomes of a brane: changes of its record, and its end.

use std::sync::Arc;

use avvy_model::label::{MAX_DESCRIPTION_BYTES, MAX_TAG_BYTES, MAX_TAGS};
use avvy_model::{BraneId, Grid, Seq, UserId, Visibility};
use tokio::task::JoinSet;

use super::Case;
use super::list;
use crate::chunk::AppendRefusal;
use crate::error::{Place, StoreError};
use crate::life::Life;
use crate::record::{BraneFilter, BraneKind, BraneRecord, MAX_PAGE};
use crate::report::BraneReport;
use crate::store::Store;
use crate::testing::fixture::{Failure, Fixture, Verdict};
use crate::testing::samples::{
    brane, chunk, ensure, ensure_eq, expect_filled, fill, one, opened, read_all, record, snapshot,
    start, user,
};

pub(super) const CASES: &[Case] = list![
    changes_a_record,
    lets_one_of_many_change_a_version,
    never_changes_what_is_fixed,
    bounds_what_is_changed,
    opens_the_active_alone,
    copies_whatever_has_become_of_it,
    lists_by_what_has_become_of_it,
    finds_many_by_their_ids,
    pages_through_what_is_due,
    purges_what_is_due,
    begins_a_purge_and_goes_on_with_it,
    leaves_a_tombstone_for_ever,
    purges_nobody_else,
    fences_whoever_writes_to_what_is_purged,
];

const ARCHIVED: Life = Life::Archived { since_ms: 5, successor: None };
const DELETED: Life = Life::Doomed { since_ms: 10, purge_ms: 20 };

/// The nth brane after its first change.
fn with(nth: u8, life: Life) -> BraneRecord {
    BraneRecord { life, version: 2, ..record(nth) }
}

/// Creates the nth brane and changes what has become of it.
async fn make(store: &Arc<dyn Store>, nth: u8, life: Life) -> Verdict {
    store.create_brane(record(nth)).await?;
    Ok(store.update_brane(with(nth, life), 1).await?)
}

async fn listed(store: &Arc<dyn Store>, filter: BraneFilter) -> Result<Vec<BraneId>, Failure> {
    let page = store.branes(filter, None, 100).await?;
    Ok(page.branes.iter().map(|record| record.id).collect())
}

async fn changes_a_record(fixture: &mut dyn Fixture) -> Verdict {
    let mut was = record(1);
    fixture.store().create_brane(was.clone()).await?;
    let changes: [fn(&mut BraneRecord); 11] = [
        |record| record.name = "Überall \u{1f30d}".to_owned(),
        |record| record.description = "two\nlines, and \"quotes\"".to_owned(),
        |record| record.tags = ["a", "Stühle", "c"].map(str::to_owned).to_vec(),
        |record| (record.kind, record.visibility) = (BraneKind::Rental, Visibility::Public),
        |record| record.life = ARCHIVED,
        |record| record.life = Life::Archived { since_ms: 6, successor: Some(brane(9)) },
        |record| record.by_operator = true,
        |record| record.life = ARCHIVED,
        |record| record.life = DELETED,
        |record| record.by_operator = false,
        |record| (record.life, record.tags) = (Life::Active, Vec::new()),
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let mut next = was.clone();
        change(&mut next);
        next.version += 1;
        for _ in 0..2 {
            // The second time as if the first had not been answered.
            fixture.store().update_brane(next.clone(), was.version).await?;
            let found = fixture.store().brane(brane(1)).await?;
            ensure_eq!(found, next, "the record after change {nth}");
        }
        if nth % 3 == 0 {
            fixture.crash().await?;
        }
        was = next;
    }
    ensure_eq!(was.version, 12, "the version after 11 changes");
    let unknown = fixture.store().update_brane(with(2, ARCHIVED), 1).await;
    ensure_eq!(unknown, Err(StoreError::UnknownBrane(brane(2))), "a change of what is not there");
    let report = fixture.store().verify_brane(brane(1)).await?;
    ensure_eq!(report.damage_count, 0, "what an inspection finds");
    Ok(())
}

async fn lets_one_of_many_change_a_version(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    store.create_brane(record(1)).await?;
    for was in 1..4_u64 {
        let mut writers = JoinSet::new();
        for nth in 0..8_u8 {
            let (store, name) = (store.clone(), format!("{was} {nth}"));
            let next = BraneRecord { name, version: was + 1, ..record(1) };
            writers.spawn(async move { (store.update_brane(next.clone(), was).await, next) });
        }
        let mut winners = Vec::new();
        for (answer, next) in writers.join_all().await {
            match answer {
                Ok(()) => winners.push(next),
                Err(StoreError::Changed { version }) => {
                    ensure_eq!(version, was + 1, "the version that was in the way");
                }
                Err(error) => return Err(error.into()),
            }
        }
        ensure_eq!(winners.len(), 1, "who changed version {was}");
        ensure_eq!(Some(store.brane(brane(1)).await?), winners.pop(), "version {}", was + 1);
    }
    let late = BraneRecord { version: 3, ..record(1) };
    let answer = store.update_brane(late, 2).await;
    ensure_eq!(answer, Err(StoreError::Changed { version: 4 }), "a change of an old version");
    Ok(())
}

async fn never_changes_what_is_fixed(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    store.create_brane(record(1)).await?;
    let next = BraneRecord { version: 2, ..record(1) };
    let others = [
        BraneRecord { owner: UserId::from_bytes([7; 16]), ..next.clone() },
        BraneRecord { created_ms: 7, ..next.clone() },
        BraneRecord { grid: Grid::new(Grid::MAX_SIZE).unwrap_or_default(), ..next.clone() },
        BraneRecord { version: 1, ..next.clone() },
        BraneRecord { version: 3, ..next.clone() },
        BraneRecord { life: Life::Purging { since_ms: 1 }, ..next.clone() },
        BraneRecord { life: Life::Purged { since_ms: 1 }, ..next },
    ];
    for other in others {
        let answer = store.update_brane(other.clone(), 1).await;
        ensure!(matches!(answer, Err(StoreError::Invalid(_))), "{other:?}: {answer:?}");
    }
    ensure_eq!(store.brane(brane(1)).await?, record(1), "the record");
    Ok(())
}

async fn bounds_what_is_changed(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let tags = |count: usize, bytes: usize| -> Vec<String> {
        (0..count).map(|nth| format!("{nth:0bytes$}")).collect()
    };
    let longest = BraneRecord {
        description: "d".repeat(MAX_DESCRIPTION_BYTES),
        tags: tags(MAX_TAGS, MAX_TAG_BYTES),
        ..record(1)
    };
    let more = [
        BraneRecord { description: "d".repeat(MAX_DESCRIPTION_BYTES + 1), ..record(2) },
        BraneRecord { tags: tags(MAX_TAGS + 1, 2), ..record(2) },
        BraneRecord { tags: tags(1, MAX_TAG_BYTES + 1), ..record(2) },
        BraneRecord { tags: vec!["two words".to_owned()], ..record(2) },
        BraneRecord { tags: vec![String::new()], ..record(2) },
        BraneRecord { version: u64::MAX, ..record(2) },
        BraneRecord { life: Life::Doomed { since_ms: 1, purge_ms: u64::MAX }, ..record(2) },
        BraneRecord { by_operator: true, ..record(2) },
    ];
    store.create_brane(longest.clone()).await?;
    ensure_eq!(store.brane(brane(1)).await?, longest, "the longest record");
    store.create_brane(record(3)).await?;
    for record in more {
        let answer = store.create_brane(record.clone()).await;
        ensure!(matches!(answer, Err(StoreError::Invalid(_))), "{record:?}: {answer:?}");
        let was = record.version.min(2) - 1;
        let answer = store.update_brane(BraneRecord { id: brane(3), ..record }, was).await;
        ensure!(matches!(answer, Err(StoreError::Invalid(_))), "a change: {answer:?}");
    }
    Ok(())
}

async fn opens_the_active_alone(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..3).await?;
    for (was, life) in [(1, ARCHIVED), (2, DELETED)] {
        let next = BraneRecord { life, version: was + 1, ..record(1) };
        store.update_brane(next, was).await?;
        let inactive = Err(StoreError::Inactive { brane: brane(1), life });
        ensure_eq!(store.open(brane(1)).await, inactive, "an opening");
        ensure_eq!(read_all(&store, 1, 0).await?.len(), 3, "what can be read");
    }
    // Whoever has it open may still store what was accepted before.
    fill(&store, 1, epoch, 3..4).await?;
    let restored = BraneRecord { version: 4, ..record(1) };
    store.update_brane(restored.clone(), 3).await?;
    let again = store.open(brane(1)).await?;
    ensure_eq!(again.record, restored, "the record of what was opened");
    ensure!(again.epoch > epoch && again.head == Seq(4), "it is restored as {again:?}");
    Ok(())
}

async fn copies_whatever_has_become_of_it(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..3).await?;
    for (was, life) in [(1, Life::Active), (2, ARCHIVED), (3, DELETED)] {
        let next = BraneRecord { life, version: was + 1, ..record(1) };
        store.update_brane(next, was).await?;
        let copied = store.open_to_copy(brane(1)).await?;
        ensure_eq!(copied.head, Seq(3), "the head of what is {}", life.name());
        ensure_eq!(copied.lineage.first(), Some(&(epoch, Seq(0))), "its first opening");
        let stale = one(&store, chunk(1, epoch, 3, 4)).await?;
        let current = copied.epoch;
        ensure_eq!(stale, Err(AppendRefusal::StaleEpoch { current }), "a chunk of before");
    }
    Ok(())
}

async fn lists_by_what_has_become_of_it(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let lives = [Life::Active, ARCHIVED, DELETED, Life::Doomed { since_ms: 10, purge_ms: 30 }];
    for (nth, life) in (1..).zip(lives) {
        let visibility = Visibility::Public;
        store.create_brane(BraneRecord { visibility, ..record(nth) }).await?;
        store.update_brane(BraneRecord { visibility, ..with(nth, life) }, 1).await?;
    }
    make(&store, 5, DELETED).await?;
    store.purge_brane(brane(5), 20).await?;
    // A copy that is being written is no deleted brane.
    let unfinished = Life::Doomed { since_ms: 10, purge_ms: 30 };
    store.create_brane(BraneRecord { life: unfinished, ..record(6) }).await?;
    store.create_brane(BraneRecord { owner: user(2), life: ARCHIVED, ..record(7) }).await?;
    let filters: [(_, &[u8]); 12] = [
        (BraneFilter::All, &[1, 2, 3, 4, 5, 6, 7]),
        (BraneFilter::Listed, &[1]),
        (BraneFilter::VisibleTo(user(1)), &[1]),
        (BraneFilter::VisibleTo(user(2)), &[1]),
        (BraneFilter::OwnedBy(user(1)), &[1, 2, 3, 4, 6]),
        (BraneFilter::ArchivedOf(user(1)), &[2]),
        (BraneFilter::ArchivedOf(user(2)), &[7]),
        (BraneFilter::DeletedOf(user(1)), &[3, 4]),
        (BraneFilter::DeletedOf(user(2)), &[]),
        (BraneFilter::Due(19), &[]),
        (BraneFilter::Due(20), &[3]),
        (BraneFilter::Due(u64::MAX), &[3, 4, 6]),
    ];
    for (filter, expected) in filters {
        let expected: Vec<BraneId> = expected.iter().copied().map(brane).collect();
        ensure_eq!(listed(&store, filter).await?, expected, "what {filter:?} shows");
    }
    Ok(())
}

async fn finds_many_by_their_ids(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    for (nth, life) in (1..).zip([Life::Active, ARCHIVED, DELETED]) {
        make(&store, nth, life).await?;
    }
    let found = async |ids: &[u8]| {
        let ids = ids.iter().copied().map(brane).collect();
        let mut found = store.branes_by_id(ids).await?;
        found.sort_by_key(BraneRecord::cursor);
        Ok::<_, Failure>(found)
    };
    let all = [with(1, Life::Active), with(2, ARCHIVED), with(3, DELETED)];
    ensure_eq!(found(&[3, 9, 1, 2, 3]).await?, all, "those that are there");
    ensure_eq!(found(&[2]).await?, all[1..2], "one of them");
    ensure_eq!(found(&[]).await?, [], "none");
    let many = (0..=MAX_PAGE).map(|nth| BraneId::from_bytes(u128::from(nth).to_be_bytes()));
    let answer = store.branes_by_id(many.collect()).await;
    ensure!(matches!(answer, Err(StoreError::Invalid(_))), "too many: {answer:?}");
    fixture.damage(Place::Brane(brane(1))).await?;
    let found = fixture.store().branes_by_id(vec![brane(1), brane(2)]).await?;
    ensure!(found.contains(&all[1]), "beside a damaged one: {found:?}");
    Ok(())
}

async fn pages_through_what_is_due(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    for nth in 0..9 {
        make(&store, nth, if nth % 3 == 0 { ARCHIVED } else { DELETED }).await?;
    }
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..9 {
        let page = store.branes(BraneFilter::Due(20), after, 4).await?;
        ensure!(page.branes.len() <= 4, "a page of {}", page.branes.len());
        found.extend(page.branes.into_iter().map(|record| record.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<BraneId> = [1, 2, 4, 5, 7, 8].map(brane).to_vec();
    ensure_eq!(found, expected, "what is due");
    Ok(())
}

/// A brane with chunks and two snapshots that is deleted.
async fn furnished(store: &Arc<dyn Store>, nth: u8) -> Verdict {
    let epoch = opened(store, nth).await?.epoch;
    fill(store, nth, epoch, 0..20).await?;
    snapshot(store, nth, epoch, 10, 3).await?;
    snapshot(store, nth, epoch, 20, 20).await?;
    store.begin_snapshot(start(nth, epoch, 20)).await?;
    Ok(store.update_brane(BraneRecord { by_operator: true, ..with(nth, DELETED) }, 1).await?)
}

async fn purges_what_is_due(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    furnished(&store, 1).await?;
    store.create_brane(record(2)).await?;
    for (nth, now_ms) in [(1, 19), (2, 1 << 60)] {
        let answer = store.purge_brane(brane(nth), now_ms).await;
        ensure_eq!(answer, Err(StoreError::NotDue(brane(nth))), "a purge at {now_ms}");
    }
    expect_filled(fixture, 1, 0..20).await?;
    let unknown = store.purge_brane(brane(3), 20).await;
    ensure_eq!(unknown, Err(StoreError::UnknownBrane(brane(3))), "a purge of what is not there");
    for life in 0..3 {
        fixture.store().purge_brane(brane(1), 20).await?;
        expect_purged(&fixture.store(), 1).await?;
        if life == 0 {
            fixture.crash().await?;
        }
    }
    Ok(())
}

/// Fails unless nothing of a brane is left but its tombstone.
async fn expect_purged(store: &Arc<dyn Store>, nth: u8) -> Verdict {
    let life = Life::Purged { since_ms: 20 };
    let tombstone = BraneRecord { name: String::new(), life, version: 4, ..record(nth) };
    ensure_eq!(store.brane(brane(nth)).await?, tombstone, "the tombstone");
    ensure_eq!(read_all(store, nth, 0).await?, [], "its journal");
    let inactive = Err(StoreError::Inactive { brane: brane(nth), life });
    ensure_eq!(store.open(brane(nth)).await, inactive, "an opening");
    let BraneReport { head, chunks, epochs, snapshots, cuts, damage_count, torn, .. } =
        store.verify_brane(brane(nth)).await?;
    let left = (head, chunks, epochs, snapshots.len(), cuts.len());
    ensure_eq!(left, (Seq(0), 0, 0, 0, 0), "what is left of its journal");
    ensure_eq!((damage_count, torn), (0, None), "what is damaged");
    let report = store.verify_store().await?;
    ensure!(report.damages.is_empty(), "the store is damaged: {:?}", report.damages);
    Ok(())
}

async fn begins_a_purge_and_goes_on_with_it(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    furnished(&store, 1).await?;
    let early = store.begin_purge(brane(1), 19).await;
    ensure_eq!(early, Err(StoreError::NotDue(brane(1))), "a purge that is not due");
    let life = Life::Purging { since_ms: 20 };
    let begun = BraneRecord { name: String::new(), life, version: 3, ..record(1) };
    for now_ms in [20, 30] {
        let store = fixture.store();
        store.begin_purge(brane(1), now_ms).await?;
        ensure_eq!(store.brane(brane(1)).await?, begun, "the record of what is being purged");
        ensure_eq!(listed(&store, BraneFilter::Due(0)).await?, [brane(1)], "what is due");
        ensure_eq!(listed(&store, BraneFilter::OwnedBy(user(1))).await?, [], "what is owned");
        ensure_eq!(read_all(&store, 1, 0).await?, [], "its journal");
        let inactive = StoreError::Inactive { brane: brane(1), life };
        ensure_eq!(store.open(brane(1)).await, Err(inactive.clone()), "an opening");
        let restored = BraneRecord { version: 4, ..record(1) };
        ensure_eq!(store.update_brane(restored, 3).await, Err(inactive), "a change");
        fixture.crash().await?;
    }
    let store = fixture.store();
    store.purge_brane(brane(1), 40).await?;
    expect_purged(&store, 1).await?;
    store.begin_purge(brane(1), 50).await?;
    expect_purged(&store, 1).await?;
    ensure_eq!(listed(&store, BraneFilter::Due(u64::MAX)).await?, [], "what is due");
    Ok(())
}

async fn leaves_a_tombstone_for_ever(fixture: &mut dyn Fixture) -> Verdict {
    furnished(&fixture.store(), 1).await?;
    fixture.store().purge_brane(brane(1), 20).await?;
    for _ in 0..2 {
        let store = fixture.store();
        for again in [record(1), BraneRecord { owner: user(2), ..record(1) }] {
            let answer = store.create_brane(again).await;
            ensure_eq!(answer, Err(StoreError::BraneExists(brane(1))), "a brane of the same id");
        }
        let restored = BraneRecord { version: 5, ..record(1) };
        let answer = store.update_brane(restored, 4).await;
        ensure!(matches!(answer, Err(StoreError::Inactive { .. })), "restored: {answer:?}");
        expect_purged(&store, 1).await?;
        fixture.reopen().await?;
    }
    Ok(())
}

async fn purges_nobody_else(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    for nth in [1, 3] {
        let epoch = opened(&store, nth).await?.epoch;
        fill(&store, nth, epoch, 0..20).await?;
        snapshot(&store, nth, epoch, 10, 3).await?;
    }
    furnished(&store, 2).await?;
    store.purge_brane(brane(2), 20).await?;
    fixture.crash().await?;
    for nth in [1, 3] {
        expect_filled(fixture, nth, 0..20).await?;
        let report = fixture.store().verify_brane(brane(nth)).await?;
        ensure_eq!((report.damage_count, report.snapshots.len()), (0, 1), "brane {nth}");
        ensure_eq!(fixture.store().open(brane(nth)).await?.head, Seq(20), "its head");
    }
    Ok(())
}

async fn fences_whoever_writes_to_what_is_purged(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..3).await?;
    let id = store.begin_snapshot(start(1, epoch, 3)).await?;
    store.update_brane(with(1, DELETED), 1).await?;
    store.purge_brane(brane(1), 20).await?;
    for (from, to) in [(0, 1), (3, 4)] {
        let answer = one(&store, chunk(1, epoch, from, to)).await?;
        let is_stale = matches!(answer, Err(AppendRefusal::StaleEpoch { .. }));
        ensure!(is_stale, "a chunk of whoever had it open: {answer:?}");
    }
    let begun = store.begin_snapshot(start(1, epoch, 3)).await;
    ensure!(matches!(begun, Err(StoreError::StaleEpoch { .. })), "a snapshot: {begun:?}");
    ensure!(store.finish_snapshot(brane(1), id, 0).await.is_err(), "one that was begun is seen");
    expect_purged(&store, 1).await
}
