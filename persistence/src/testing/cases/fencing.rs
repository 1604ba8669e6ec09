//! Epochs: one writer at a time.

use avvy_model::{Epoch, Seq};

use super::Case;
use super::list;
use crate::chunk::AppendRefusal;
use crate::error::StoreError;
use crate::testing::fixture::{Fixture, Verdict};
use crate::testing::samples::{
    brane, chunk, ensure, ensure_eq, expect_filled, fill, one, opened, record, snapshot,
};

pub(super) const CASES: &[Case] = list![
    opens_under_rising_epochs,
    remembers_where_epochs_began,
    refuses_old_epochs,
    refuses_epochs_never_given,
    stores_a_group_around_a_stale_chunk,
    refuses_snapshots_of_old_epochs,
    closes_for_good,
];

async fn opens_under_rising_epochs(fixture: &mut dyn Fixture) -> Verdict {
    fixture.store().create_brane(record(1)).await?;
    let mut last = Epoch(0);
    for life in 0..6 {
        let opened = fixture.store().open(brane(1)).await?;
        ensure!(opened.epoch > last, "opening {life}: epoch {} after {last}", opened.epoch);
        ensure_eq!(opened.head, Seq(0), "the head");
        last = opened.epoch;
        match life % 3 {
            0 => fixture.crash().await?,
            1 => fixture.reopen().await?,
            _ => {}
        }
    }
    Ok(())
}

async fn remembers_where_epochs_began(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    store.create_brane(record(1)).await?;
    let mut lineage = Vec::new();
    let mut head = 0;
    for edits in [3, 0, 2, 5] {
        let opened = fixture.store().open(brane(1)).await?;
        lineage.push((opened.epoch, Seq(head)));
        ensure_eq!(opened.lineage, lineage, "the lineage");
        ensure_eq!(opened.head, Seq(head), "the head");
        fill(&fixture.store(), 1, opened.epoch, head..head + edits).await?;
        head += edits;
        fixture.crash().await?;
    }
    Ok(())
}

async fn refuses_old_epochs(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let old = opened(&store, 1).await?.epoch;
    fill(&store, 1, old, 0..3).await?;
    let current = store.open(brane(1)).await?.epoch;
    let stale = Err(AppendRefusal::StaleEpoch { current });
    ensure_eq!(one(&store, chunk(1, old, 3, 4)).await?, stale, "an old writer's chunk");
    fill(&store, 1, current, 3..5).await?;
    ensure_eq!(one(&store, chunk(1, old, 5, 6)).await?, stale, "an old writer's late chunk");
    fixture.crash().await?;
    let answer = one(&fixture.store(), chunk(1, old, 5, 6)).await?;
    ensure_eq!(answer, stale, "an old writer's chunk after a crash");
    expect_filled(fixture, 1, 0..5).await
}

async fn refuses_epochs_never_given(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let current = opened(&store, 1).await?.epoch;
    let answer = one(&store, chunk(1, current.next(), 0, 1)).await?;
    ensure_eq!(answer, Err(AppendRefusal::StaleEpoch { current }), "a chunk of the future");
    expect_filled(fixture, 1, 0..0).await
}

async fn stores_a_group_around_a_stale_chunk(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let first = opened(&store, 1).await?.epoch;
    let stale = opened(&store, 2).await?.epoch;
    let third = opened(&store, 3).await?.epoch;
    let current = store.open(brane(2)).await?.epoch;
    let group = vec![chunk(1, first, 0, 1), chunk(2, stale, 0, 1), chunk(3, third, 0, 1)];
    let answers = store.append(group).await?;
    let expected = vec![Ok(()), Err(AppendRefusal::StaleEpoch { current }), Ok(())];
    ensure_eq!(answers, expected, "the answers");
    fixture.crash().await?;
    expect_filled(fixture, 1, 0..1).await?;
    expect_filled(fixture, 2, 0..0).await?;
    expect_filled(fixture, 3, 0..1).await
}

async fn refuses_snapshots_of_old_epochs(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let old = opened(&store, 1).await?.epoch;
    fill(&store, 1, old, 0..3).await?;
    let begun = store.begin_snapshot(crate::testing::samples::start(1, old, 3)).await?;
    store.put_snapshot_part(brane(1), begun, 0, bytes::Bytes::from_static(b"x")).await?;
    let current = store.open(brane(1)).await?.epoch;
    let stale = StoreError::StaleEpoch { current };
    let answer = store.finish_snapshot(brane(1), begun, 1).await;
    ensure_eq!(answer, Err(stale.clone()), "finishing a snapshot begun before the opening");
    let answer = snapshot(&store, 1, old, 3, 1).await;
    ensure_eq!(answer, Err(stale), "a snapshot of an old writer");
    ensure_eq!(store.open(brane(1)).await?.snapshots, vec![], "the snapshots");
    Ok(())
}

async fn closes_for_good(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..3).await?;
    fixture.reopen().await?;
    let answer = store.append(vec![chunk(1, epoch, 3, 4)]).await;
    ensure_eq!(answer, Err(StoreError::Closed), "an append after closing");
    ensure_eq!(store.open(brane(1)).await, Err(StoreError::Closed), "an opening after closing");
    expect_filled(fixture, 1, 0..3).await
}
