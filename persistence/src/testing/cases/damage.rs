//! Torn tails and damage.

use avvy_model::{Epoch, Seq};

use super::Case;
use super::list;
use crate::chunk::AppendRefusal;
use crate::error::{Place, StoreError};
use crate::record::BraneFilter;
use crate::report::{CompactPolicy, Cut};
use crate::testing::fixture::{Failure, Fixture, Verdict};
use crate::testing::samples::{
    brane, chunk, ensure, ensure_eq, expect_filled, fill, newest, opened, snapshot,
};

pub(super) const CASES: &[Case] = list![
    cuts_a_torn_tail,
    cuts_a_torn_tail_behind_a_snapshot,
    refuses_damage_before_good_chunks,
    reads_no_damaged_chunk,
    opens_past_damage_that_a_snapshot_covers,
    says_what_it_has,
    says_where_damage_is,
    goes_on_beside_a_damaged_brane,
];

fn place(from: u64, to: u64) -> Place {
    Place::Chunk { brane: brane(1), from: Seq(from), to: Seq(to) }
}

/// Ten chunks of one edit each.
async fn ten(fixture: &mut dyn Fixture) -> Result<Epoch, Failure> {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..10).await?;
    Ok(epoch)
}

async fn cuts_a_torn_tail(fixture: &mut dyn Fixture) -> Verdict {
    let first = ten(fixture).await?;
    let second = fixture.store().open(brane(1)).await?.epoch;
    fixture.damage(place(8, 9)).await?;
    fixture.damage(place(9, 10)).await?;
    let opened = fixture.store().open(brane(1)).await?;
    ensure_eq!(opened.head, Seq(8), "the head");
    let Some(torn) = opened.torn else {
        return Err(Failure("the torn tail is not reported".into()));
    };
    ensure_eq!((torn.kept, torn.claimed, torn.chunks), (Seq(8), Seq(10), 2), "the report");
    let lineage = vec![(first, Seq(0)), (second, Seq(8)), (opened.epoch, Seq(8))];
    ensure_eq!(opened.lineage, lineage, "the lineage: the second opening began where the cut is");
    expect_filled(fixture, 1, 0..8).await?;
    fill(&fixture.store(), 1, opened.epoch, 8..12).await?;
    fixture.crash().await?;
    expect_filled(fixture, 1, 0..12).await?;
    let again = fixture.store().open(brane(1)).await?;
    ensure_eq!((again.head, again.torn), (Seq(12), None), "the next opening");
    let report = fixture.store().verify_brane(brane(1)).await?;
    let cuts = vec![Cut { epoch: opened.epoch, torn }];
    ensure_eq!((report.cuts, report.damage_count), (cuts, 0), "what an inspection finds");
    Ok(())
}

async fn cuts_a_torn_tail_behind_a_snapshot(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = ten(fixture).await?;
    let id = snapshot(&fixture.store(), 1, epoch, 9, 2).await?;
    fixture.damage(place(9, 10)).await?;
    let opened = fixture.store().open(brane(1)).await?;
    ensure_eq!(opened.head, Seq(9), "the head");
    ensure_eq!(opened.torn.as_ref().map(|torn| torn.kept), Some(Seq(9)), "where it was cut");
    ensure_eq!(newest(&opened), Some(id), "the snapshot");
    fill(&fixture.store(), 1, opened.epoch, 9..12).await?;
    expect_filled(fixture, 1, 0..12).await
}

async fn refuses_damage_before_good_chunks(fixture: &mut dyn Fixture) -> Verdict {
    ten(fixture).await?;
    let epoch = opened(&fixture.store(), 2).await?.epoch;
    fill(&fixture.store(), 2, epoch, 0..3).await?;
    fixture.damage(place(4, 5)).await?;
    for attempt in 0..2 {
        match fixture.store().open(brane(1)).await {
            Err(StoreError::Damaged { place: found, .. }) => {
                ensure_eq!(found, place(4, 5), "the place, attempt {attempt}");
            }
            other => return Err(Failure(format!("a damaged brane was opened: {other:?}"))),
        }
    }
    ensure_eq!(fixture.store().open(brane(2)).await?.head, Seq(3), "another brane's head");
    expect_filled(fixture, 2, 0..3).await?;
    let report = fixture.store().verify_brane(brane(1)).await?;
    ensure_eq!((report.chunks, report.head), (9, Seq(10)), "the rest is still there");
    Ok(())
}

async fn reads_no_damaged_chunk(fixture: &mut dyn Fixture) -> Verdict {
    ten(fixture).await?;
    fixture.damage(place(4, 5)).await?;
    for after in [0, 3, 4] {
        let mut after = Seq(after);
        let error = loop {
            match fixture.store().read_chunks(brane(1), after, 100).await {
                Ok(chunks) => match chunks.last() {
                    Some(last) => after = last.to,
                    None => return Err(Failure("the journal ends before the damage".into())),
                },
                Err(error) => break error,
            }
        };
        ensure_eq!(after, Seq(4), "how far good chunks are read");
        let StoreError::Damaged { place: found, .. } = error else {
            return Err(Failure(format!("not damage: {error}")));
        };
        ensure_eq!(found, place(4, 5), "the place");
    }
    let rest = fixture.store().read_chunks(brane(1), Seq(5), 10_000).await?;
    ensure_eq!(rest.len(), 5, "chunks behind the damage");
    Ok(())
}

async fn opens_past_damage_that_a_snapshot_covers(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = ten(fixture).await?;
    snapshot(&fixture.store(), 1, epoch, 7, 1).await?;
    fixture.damage(place(4, 5)).await?;
    let opened = fixture.store().open(brane(1)).await?;
    ensure_eq!((opened.head, opened.torn), (Seq(10), None), "head and tail");
    let report = fixture.store().verify_brane(brane(1)).await?;
    ensure_eq!(report.damage_count, 1, "damages found by an inspection");
    Ok(())
}

async fn says_what_it_has(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = ten(fixture).await?;
    let older = snapshot(&fixture.store(), 1, epoch, 4, 1).await?;
    let newer = snapshot(&fixture.store(), 1, epoch, 8, 3).await?;
    fixture.reopen().await?;
    let report = fixture.store().verify_brane(brane(1)).await?;
    ensure_eq!(report.epoch, epoch, "the epoch");
    ensure_eq!((report.oldest, report.head), (Seq(0), Seq(10)), "the range");
    ensure_eq!((report.chunks, report.chunk_bytes), (10, 400), "chunks and their bytes");
    ensure_eq!(report.epochs, 1, "openings");
    let ids: Vec<_> = report.snapshots.iter().map(|info| info.id).collect();
    ensure_eq!(ids, vec![newer, older], "the snapshots");
    ensure_eq!((report.damage_count, report.torn), (0, None), "damage");
    let store = fixture.store().verify_store().await?;
    ensure_eq!((store.branes, store.damages), (1, vec![]), "branes and damages");
    Ok(())
}

async fn says_where_damage_is(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = ten(fixture).await?;
    let id = snapshot(&fixture.store(), 1, epoch, 3, 3).await?;
    let part = Place::Part { brane: brane(1), snapshot: id, index: 1 };
    fixture.damage(part.clone()).await?;
    fixture.damage(place(5, 6)).await?;
    fixture.damage(place(9, 10)).await?;
    let report = fixture.store().verify_brane(brane(1)).await?;
    let places: Vec<_> = report.damages.iter().map(|damage| damage.place.clone()).collect();
    ensure_eq!(places, vec![place(5, 6), part], "the places");
    ensure_eq!(report.damage_count, 2, "damages");
    ensure_eq!(report.torn.map(|torn| torn.kept), Some(Seq(9)), "the torn tail");
    ensure!(fixture.store().open(brane(1)).await.is_err(), "a damaged brane was opened");
    Ok(())
}

async fn goes_on_beside_a_damaged_brane(fixture: &mut dyn Fixture) -> Verdict {
    let sick = ten(fixture).await?;
    let epoch = opened(&fixture.store(), 2).await?.epoch;
    fill(&fixture.store(), 2, epoch, 0..3).await?;
    snapshot(&fixture.store(), 2, epoch, 3, 1).await?;
    fixture.damage(Place::Brane(brane(1))).await?;
    let store = fixture.store();
    for to in 4..6 {
        let group = vec![chunk(1, sick, 10, 11), chunk(2, epoch, to - 1, to)];
        let answers = store.append(group).await?;
        ensure_eq!(answers, vec![Err(AppendRefusal::Damaged), Ok(())], "the answers");
    }
    expect_filled(fixture, 2, 0..5).await?;
    let answer = store.open(brane(1)).await;
    ensure!(matches!(answer, Err(StoreError::Damaged { .. })), "the damaged brane: {answer:?}");
    let policy = CompactPolicy {
        now_ms: u64::MAX,
        retention_ms: 0,
        max_journal_bytes: None,
        keep_snapshots: 1,
    };
    let done = store.compact(policy).await?;
    ensure_eq!((done.chunks, done.skipped), (3, 1), "chunks deleted and branes skipped");
    let report = store.verify_brane(brane(1)).await?;
    let places: Vec<_> = report.damages.into_iter().map(|damage| damage.place).collect();
    ensure_eq!(places, vec![Place::Brane(brane(1))], "what an inspection finds");
    let page = store.branes(BraneFilter::All, None, 10).await?;
    ensure_eq!(page.branes.len(), 2, "branes listed");
    Ok(())
}
