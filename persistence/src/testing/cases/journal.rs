//! Chunks in, chunks out.

use avvy_model::Seq;

use super::Case;
use super::list;
use crate::chunk::{AppendRefusal, ChunkWrite, MAX_CHUNK_BYTES};
use crate::testing::fixture::{Fixture, Verdict};
use crate::testing::samples::{
    body, brane, chunk, ensure, ensure_eq, expect_filled, fill, one, opened, read, read_all,
    refused,
};

pub(super) const CASES: &[Case] = list![
    reads_what_was_appended,
    keeps_what_was_acknowledged,
    answers_a_group_in_its_order,
    keeps_the_order_of_a_group,
    reads_from_within_a_chunk,
    reads_within_a_budget,
    refuses_gaps,
    takes_a_retry_once,
    takes_a_retry_after_a_crash_once,
    keeps_bodies_of_any_length,
    refuses_empty_ranges,
    keeps_branes_apart,
];

async fn reads_what_was_appended(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    ensure_eq!(store.read_chunks(brane(1), Seq(0), 100).await?, vec![], "an empty journal");
    fill(&store, 1, epoch, 0..20).await?;
    expect_filled(fixture, 1, 0..20).await?;
    let read = store.read_chunks(brane(1), Seq(20), 100).await?;
    ensure_eq!(read, vec![], "what is after the head");
    ensure_eq!(store.read_chunks(brane(1), Seq(99), 100).await?, vec![], "what is far after");
    Ok(())
}

async fn keeps_what_was_acknowledged(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..5).await?;
    fixture.crash().await?;
    expect_filled(fixture, 1, 0..5).await?;
    let opened = fixture.store().open(brane(1)).await?;
    ensure_eq!(opened.head, Seq(5), "the head after a crash");
    ensure_eq!(opened.torn, None, "the tail after a crash");
    fill(&fixture.store(), 1, opened.epoch, 5..9).await?;
    fixture.reopen().await?;
    expect_filled(fixture, 1, 0..9).await?;
    ensure_eq!(fixture.store().open(brane(1)).await?.head, Seq(9), "the head after closing");
    Ok(())
}

async fn answers_a_group_in_its_order(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let first = opened(&store, 1).await?.epoch;
    let second = opened(&store, 2).await?.epoch;
    let group = vec![
        chunk(1, first, 0, 2),
        chunk(2, second, 5, 6),
        chunk(3, first, 0, 1),
        chunk(1, first, 2, 3),
        chunk(2, second, 0, 4),
    ];
    let answers = store.append(group).await?;
    let expected = vec![
        Ok(()),
        Err(AppendRefusal::Gap { head: Seq(0) }),
        Err(AppendRefusal::UnknownBrane),
        Ok(()),
        Ok(()),
    ];
    ensure_eq!(answers, expected, "the answers");
    let heads = (store.open(brane(1)).await?.head, store.open(brane(2)).await?.head);
    ensure_eq!(heads, (Seq(3), Seq(4)), "the heads");
    ensure_eq!(store.append(Vec::new()).await?, vec![], "the answers to no chunk");
    Ok(())
}

async fn keeps_the_order_of_a_group(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    let group: Vec<ChunkWrite> =
        (0..50).map(|nth| chunk(1, epoch, nth * nth, (nth + 1) * (nth + 1))).collect();
    for answer in store.append(group.clone()).await? {
        answer.map_err(refused)?;
    }
    let expected: Vec<_> = group.iter().map(read).collect();
    ensure_eq!(read_all(&store, 1, 0).await?, expected, "the journal");
    Ok(())
}

async fn reads_from_within_a_chunk(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    for (from, to) in [(0, 10), (10, 20), (20, 30)] {
        one(&store, chunk(1, epoch, from, to)).await?.map_err(refused)?;
    }
    for (after, first) in [(0, 0), (9, 0), (10, 10), (11, 10), (19, 10), (20, 20), (29, 20)] {
        let chunks = store.read_chunks(brane(1), Seq(after), 1_000).await?;
        let found = chunks.first().map(|chunk| chunk.from.0);
        ensure_eq!(found, Some(first), "the first chunk after {after}");
        ensure_eq!(chunks.len() as u64, 3 - first / 10, "the chunks after {after}");
    }
    Ok(())
}

async fn reads_within_a_budget(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..10).await?;
    for (budget, expected) in [(0, 1), (39, 1), (40, 1), (79, 1), (80, 2), (250, 6), (9_999, 10)] {
        let found = store.read_chunks(brane(1), Seq(0), budget).await?.len();
        ensure_eq!(found, expected, "chunks of 40 bytes within {budget}");
    }
    Ok(())
}

async fn refuses_gaps(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..3).await?;
    let gap = Err(AppendRefusal::Gap { head: Seq(3) });
    for (from, to) in [(4, 5), (0, 1), (2, 4), (1, 3), (100, 200)] {
        let mut write = chunk(1, epoch, from, to);
        write.body = body(77, 77, 40);
        ensure_eq!(one(&store, write).await?, gap, "({from}..{to}] after 3");
    }
    expect_filled(fixture, 1, 0..3).await
}

async fn takes_a_retry_once(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..5).await?;
    for from in [4, 2, 4] {
        let again = one(&store, chunk(1, epoch, from, from + 1)).await?;
        ensure_eq!(again, Ok(()), "chunk ({from}..] again");
    }
    let group = (0..7).map(|from| chunk(1, epoch, from, from + 1)).collect();
    ensure_eq!(store.append(group).await?, vec![Ok(()); 7], "a group, partly there");
    expect_filled(fixture, 1, 0..7).await?;
    let mut other = chunk(1, epoch, 6, 7);
    other.body = body(1, 2, 40);
    let answer = one(&store, other).await?;
    ensure_eq!(answer, Err(AppendRefusal::Gap { head: Seq(7) }), "another chunk there");
    expect_filled(fixture, 1, 0..7).await
}

async fn takes_a_retry_after_a_crash_once(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    fill(&fixture.store(), 1, epoch, 0..5).await?;
    fixture.crash().await?;
    let again = one(&fixture.store(), chunk(1, epoch, 4, 5)).await?;
    ensure_eq!(again, Ok(()), "the last chunk again");
    fill(&fixture.store(), 1, epoch, 5..6).await?;
    expect_filled(fixture, 1, 0..6).await?;
    fixture.store().open(brane(1)).await?;
    let again = one(&fixture.store(), chunk(1, epoch, 5, 6)).await?;
    ensure_eq!(again, Ok(()), "a stored chunk of an earlier epoch again");
    expect_filled(fixture, 1, 0..6).await
}

async fn keeps_bodies_of_any_length(fixture: &mut dyn Fixture) -> Verdict {
    let epoch = opened(&fixture.store(), 1).await?.epoch;
    let lengths = [0, 1, 100, 1_000, 4_000, 4_096, 5_000, 70_000, 1 << 20];
    let mut writes = Vec::new();
    for (from, length) in (0..).zip(lengths) {
        let body = body(from, from + 1, length);
        writes.push(ChunkWrite { body, ..chunk(1, epoch, from, from + 1) });
    }
    ensure_eq!(
        fixture.store().append(writes.clone()).await?,
        vec![Ok(()); lengths.len()],
        "the answers"
    );
    fixture.crash().await?;
    let expected: Vec<_> = writes.iter().map(read).collect();
    ensure!(read_all(&fixture.store(), 1, 0).await? == expected, "a body is not what was written");
    let too_long = ChunkWrite {
        body: vec![0; MAX_CHUNK_BYTES + 1].into(),
        ..chunk(1, epoch, lengths.len() as u64, 99)
    };
    let answer = one(&fixture.store(), too_long).await?;
    ensure_eq!(answer, Err(AppendRefusal::Malformed), "a body that is too long");
    Ok(())
}

async fn refuses_empty_ranges(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let epoch = opened(&store, 1).await?.epoch;
    fill(&store, 1, epoch, 0..3).await?;
    for (from, to) in [(3, 3), (3, 2), (0, 0)] {
        let answer = one(&store, chunk(1, epoch, from, to)).await?;
        ensure_eq!(answer, Err(AppendRefusal::Malformed), "({from}..{to}]");
    }
    expect_filled(fixture, 1, 0..3).await
}

async fn keeps_branes_apart(fixture: &mut dyn Fixture) -> Verdict {
    let store = fixture.store();
    let mut epochs = Vec::new();
    for nth in 0..20 {
        epochs.push(opened(&store, nth).await?.epoch);
    }
    for round in 0..5 {
        let group = (0..20).zip(&epochs);
        let group = group.map(|(nth, epoch)| chunk(nth, *epoch, round, round + 1)).collect();
        ensure_eq!(store.append(group).await?, vec![Ok(()); 20], "the answers");
    }
    for nth in 0..20 {
        expect_filled(fixture, nth, 0..5).await?;
    }
    Ok(())
}
