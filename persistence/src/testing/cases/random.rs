//! Long random lives, compared with a model that keeps a list.

use std::collections::BTreeMap;

use avvy_model::{Epoch, Seq};

use super::Case;
use super::list;
use crate::chunk::{AppendRefusal, Chunk, ChunkWrite};
use crate::error::StoreError;
use crate::report::CompactPolicy;
use crate::testing::fixture::{Failure, Fixture, Verdict};
use crate::testing::samples::{
    Draw, body, brane, chunk, ensure, ensure_eq, part, read, record, snapshot,
};

pub(super) const CASES: &[Case] = list![lives_like_a_list];

/// Steps of a life, and lives.
const STEPS: u32 = 250;
const SEEDS: u64 = 3;
const BRANES: u8 = 4;

/// What a brane should be.
#[derive(Default)]
struct Model {
    epoch: u64,
    head: u64,
    chunks: Vec<Chunk>,
    /// The last edit before the oldest chunk kept.
    oldest: u64,
    snapshot: Option<u64>,
}

async fn lives_like_a_list(fixture: &mut dyn Fixture) -> Verdict {
    for seed in 0..SEEDS {
        let first = seed as u8 * BRANES;
        life(fixture, seed, first)
            .await
            .map_err(|failure| Failure(format!("seed {seed}: {}", failure.0)))?;
    }
    Ok(())
}

async fn life(fixture: &mut dyn Fixture, seed: u64, first: u8) -> Verdict {
    let mut draw = Draw(seed);
    let mut models = BTreeMap::new();
    for nth in first..first + BRANES {
        fixture.store().create_brane(record(nth)).await?;
        open(fixture, nth, models.entry(nth).or_default()).await?;
    }
    for step in 0..STEPS {
        let nth = first + draw.below(u64::from(BRANES)) as u8;
        let result = match draw.below(20) {
            0 => fixture.crash().await,
            1 => fixture.reopen().await,
            2 => open(fixture, nth, models.entry(nth).or_default()).await,
            3 => store_snapshot(fixture, nth, models.entry(nth).or_default()).await,
            4 => compact(fixture, &mut models).await,
            5..=8 => compare(fixture, nth, models.entry(nth).or_default(), &mut draw).await,
            _ => append(fixture, &mut models, first, &mut draw).await,
        };
        result.map_err(|failure| Failure(format!("step {step}: {}", failure.0)))?;
    }
    Ok(())
}

async fn open(fixture: &dyn Fixture, nth: u8, model: &mut Model) -> Verdict {
    let opened = fixture.store().open(brane(nth)).await?;
    ensure!(opened.epoch.0 > model.epoch, "epoch {} after {}", opened.epoch, model.epoch);
    ensure_eq!((opened.head, opened.torn), (Seq(model.head), None), "head and tail");
    ensure_eq!(opened.snapshots.first().map(|info| info.at.0), model.snapshot, "the snapshot");
    ensure_eq!(opened.lineage.last(), Some(&(opened.epoch, opened.head)), "the lineage's end");
    model.epoch = opened.epoch.0;
    Ok(())
}

async fn store_snapshot(fixture: &dyn Fixture, nth: u8, model: &mut Model) -> Verdict {
    let at = model.head;
    let id = snapshot(&fixture.store(), nth, Epoch(model.epoch), at, 2).await?;
    model.snapshot = Some(at);
    let found = fixture.store().read_snapshot_part(brane(nth), id, 1).await?;
    ensure!(found == part(at, 1), "a part is not what was put");
    Ok(())
}

async fn compact(fixture: &dyn Fixture, models: &mut BTreeMap<u8, Model>) -> Verdict {
    // Chunks are written at the second of their last edit: those up to 50 go.
    let policy = CompactPolicy {
        now_ms: 100_001,
        retention_ms: 50_000,
        max_journal_bytes: None,
        keep_snapshots: 1,
    };
    fixture.store().compact(policy).await?;
    for model in models.values_mut() {
        let covered = model.snapshot.unwrap_or(0);
        model.chunks.retain(|chunk| chunk.to.0 > covered || chunk.to.0 > 50);
        model.oldest = model.chunks.first().map_or(model.head, |chunk| chunk.from.0);
    }
    Ok(())
}

async fn compare(fixture: &dyn Fixture, nth: u8, model: &mut Model, draw: &mut Draw) -> Verdict {
    let after = draw.below(model.head + 2);
    let found = fixture.store().read_chunks(brane(nth), Seq(after), usize::MAX).await;
    if after < model.oldest {
        let oldest = Seq(model.oldest);
        ensure_eq!(found, Err(StoreError::Compacted { oldest }), "what is after {after}");
        return Ok(());
    }
    let expected = model.chunks.iter().filter(|chunk| chunk.to.0 > after).cloned().collect();
    ensure!(found == Ok(expected), "what is after {after} of {}", model.head);
    Ok(())
}

/// Appends a group of good chunks, retries, stale ones and gaps.
async fn append(
    fixture: &dyn Fixture,
    models: &mut BTreeMap<u8, Model>,
    first: u8,
    draw: &mut Draw,
) -> Verdict {
    let mut group = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..=draw.below(6) {
        let nth = first + draw.below(u64::from(BRANES)) as u8;
        let model = models.entry(nth).or_default();
        let (write, answer) = write(nth, model, draw);
        group.push(write);
        expected.push(answer);
    }
    let answers = fixture.store().append(group).await?;
    ensure_eq!(answers, expected, "the answers");
    Ok(())
}

fn write(nth: u8, model: &mut Model, draw: &mut Draw) -> (ChunkWrite, Result<(), AppendRefusal>) {
    let (epoch, head) = (Epoch(model.epoch), Seq(model.head));
    let to = model.head + 1 + draw.below(5);
    let mut write = chunk(nth, epoch, model.head, to);
    write.body = body(model.head, to, draw.below(300) as usize);
    match draw.below(8) {
        0 if epoch > Epoch(1) => {
            write.epoch = Epoch(draw.below(epoch.0));
            return (write, Err(AppendRefusal::StaleEpoch { current: epoch }));
        }
        1 => {
            write.from = Seq(head.0 + 1);
            write.to = Seq(to + 1);
            return (write, Err(AppendRefusal::Gap { head }));
        }
        2 => {
            if let Some(last) = model.chunks.last() {
                let Chunk { epoch, from, to, at_ms, ref body } = *last;
                let body = body.clone();
                return (ChunkWrite { brane: brane(nth), epoch, from, to, at_ms, body }, Ok(()));
            }
        }
        _ => {}
    }
    model.head = to;
    model.chunks.push(read(&write));
    (write, Ok(()))
}
