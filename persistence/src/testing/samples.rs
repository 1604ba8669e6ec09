//! Branes, chunks and bytes for the cases, and their vocabulary.

use std::sync::Arc;

use avvy_model::{BraneId, Epoch, Grid, Seq, UserId};
use bytes::Bytes;

use super::fixture::{Failure, Fixture, Verdict};
use crate::chunk::{AppendRefusal, Chunk, ChunkWrite};
use crate::error::StoreError;
use crate::record::BraneRecord;
use crate::snapshot::{SnapshotId, SnapshotStart};
use crate::store::{Opened, Store};

/// Fails the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::testing::Failure(format!($($text)+)));
        }
    };
}

/// Fails the case unless both sides are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($text:tt)+) => {
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => {
                let what = format!($($text)+);
                return Err($crate::testing::Failure(format!("{what}: {left:?}, not {right:?}")));
            }
        }
    };
}
pub(super) use {ensure, ensure_eq};

/// The nth brane.
pub(super) fn brane(nth: u8) -> BraneId {
    BraneId::from_bytes([nth; 16])
}

/// The nth user.
pub(super) fn user(nth: u8) -> UserId {
    UserId::from_bytes([0x80 | nth; 16])
}

/// The nth brane's record: private, of user 1, with cells of their own size.
pub(super) fn record(nth: u8) -> BraneRecord {
    BraneRecord {
        name: format!("brane {nth}"),
        grid: Grid::new(Grid::MIN_SIZE + u32::from(nth)).unwrap_or_default(),
        ..BraneRecord::new(brane(nth), user(1), 1_700_000_000_000 + u64::from(nth))
    }
}

/// Creates and opens the nth brane.
pub(super) async fn opened(store: &Arc<dyn Store>, nth: u8) -> Result<Opened, Failure> {
    store.create_brane(record(nth)).await?;
    Ok(store.open(brane(nth)).await?)
}

/// Bytes that differ for every range.
pub(super) fn body(from: u64, to: u64, length: usize) -> Bytes {
    let seed = (from << 20 ^ to).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bytes = (0..length as u64).map(|at| (seed.rotate_left((at % 61) as u32) ^ at) as u8);
    bytes.collect::<Vec<u8>>().into()
}

/// A chunk of the nth brane with 40 bytes, written at second `to`.
pub(super) fn chunk(nth: u8, epoch: Epoch, from: u64, to: u64) -> ChunkWrite {
    ChunkWrite {
        brane: brane(nth),
        epoch,
        from: Seq(from),
        to: Seq(to),
        at_ms: to * 1_000,
        body: body(from, to, 40),
    }
}

/// What is read of a chunk that was written.
pub(super) fn read(write: &ChunkWrite) -> Chunk {
    let ChunkWrite { epoch, from, to, at_ms, ref body, .. } = *write;
    Chunk { epoch, from, to, at_ms, body: body.clone() }
}

/// Appends chunks one edit long, from the head on; fails unless all are stored.
pub(super) async fn fill(
    store: &Arc<dyn Store>,
    nth: u8,
    epoch: Epoch,
    range: std::ops::Range<u64>,
) -> Verdict {
    for from in range {
        one(store, chunk(nth, epoch, from, from + 1)).await?.map_err(refused)?;
    }
    Ok(())
}

/// Appends one chunk.
pub(super) async fn one(
    store: &Arc<dyn Store>,
    write: ChunkWrite,
) -> Result<Result<(), AppendRefusal>, Failure> {
    let answers = store.append(vec![write]).await?;
    ensure_eq!(answers.len(), 1, "answers to one chunk");
    Ok(answers[0])
}

/// The failure of a chunk that should have been stored.
pub(super) fn refused(refusal: AppendRefusal) -> Failure {
    Failure(format!("a good chunk was refused: {refusal}"))
}

/// All chunks after `after`, read in stretches of 100 bytes.
pub(super) async fn read_all(
    store: &Arc<dyn Store>,
    nth: u8,
    after: u64,
) -> Result<Vec<Chunk>, Failure> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut after = Seq(after);
    loop {
        let next = store.read_chunks(brane(nth), after, 100).await?;
        let Some(last) = next.last() else { return Ok(chunks) };
        ensure!(last.to > after, "read_chunks does not get on after {after}");
        ensure!(chunks.len() < 100_000, "read_chunks does not end");
        after = last.to;
        chunks.extend(next);
    }
}

/// Fails unless the journal holds exactly one-edit chunks up to `head`.
pub(super) async fn expect_filled(
    fixture: &dyn Fixture,
    nth: u8,
    range: std::ops::Range<u64>,
) -> Verdict {
    let chunks = read_all(&fixture.store(), nth, range.start).await?;
    let found: Vec<_> = chunks.iter().map(|chunk| (chunk.from.0, chunk.to.0)).collect();
    let expected: Vec<_> = range.map(|from| (from, from + 1)).collect();
    ensure_eq!(found, expected, "the ranges of the journal");
    for chunk in chunks {
        let (from, to) = (chunk.from.0, chunk.to.0);
        ensure_eq!(chunk.body, body(from, to, 40), "the body of ({from}..{to}]");
        ensure_eq!(chunk.at_ms, to * 1_000, "the time of ({from}..{to}]");
    }
    Ok(())
}

/// A snapshot's start.
pub(super) fn start(nth: u8, epoch: Epoch, at: u64) -> SnapshotStart {
    SnapshotStart { brane: brane(nth), epoch, at: Seq(at), taken_ms: at * 1_000 }
}

/// The bytes of a part.
pub(super) fn part(at: u64, index: u32) -> Bytes {
    body(at, u64::from(index), 3_000 + index as usize)
}

/// Stores a snapshot of `parts` parts, whole.
pub(super) async fn snapshot(
    store: &Arc<dyn Store>,
    nth: u8,
    epoch: Epoch,
    at: u64,
    parts: u32,
) -> Result<SnapshotId, StoreError> {
    let id = store.begin_snapshot(start(nth, epoch, at)).await?;
    for index in 0..parts {
        store.put_snapshot_part(brane(nth), id, index, part(at, index)).await?;
    }
    store.finish_snapshot(brane(nth), id, parts).await?;
    Ok(id)
}

/// The newest snapshot's name.
pub(super) fn newest(opened: &Opened) -> Option<SnapshotId> {
    opened.snapshots.first().map(|info| info.id)
}

/// A small generator of pseudo-random numbers, the same for the same seed.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
