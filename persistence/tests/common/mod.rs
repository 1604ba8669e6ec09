//! What the tests of the SQLite store share.
#![allow(clippy::unwrap_used, dead_code)]

pub mod failing;
pub mod told;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use avvy_model::{BraneId, Epoch, Seq, UserId};
use avvy_persistence::{BraneKind, BraneRecord, ChunkWrite, SnapshotStart, Store};
use bytes::Bytes;

/// A small generator of pseudo-random numbers (SplitMix64).
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

pub fn brane(nth: u8) -> BraneId {
    BraneId::from_bytes([nth; 16])
}

pub fn record(nth: u8) -> BraneRecord {
    BraneRecord {
        name: format!("brane {nth}"),
        kind: BraneKind::Showcase,
        ..BraneRecord::new(
            brane(nth),
            UserId::from_bytes([9; 16]),
            1_700_000_000_000 + u64::from(nth),
        )
    }
}

/// Bytes that only this chunk of this brane has.
pub fn body(nth: u8, from: u64, to: u64) -> Bytes {
    let length = 20 + (from * 37 + u64::from(nth) * 11) % 700;
    let seed = Draw(from << 20 ^ to << 8 ^ u64::from(nth)).below(u64::MAX);
    (0..length).map(|at| (seed.rotate_left((at % 63) as u32) ^ at) as u8).collect()
}

pub fn chunk(nth: u8, epoch: Epoch, from: u64, to: u64) -> ChunkWrite {
    let body = body(nth, from, to);
    ChunkWrite { brane: brane(nth), epoch, from: Seq(from), to: Seq(to), at_ms: to, body }
}

pub fn part(nth: u8, at: u64, index: u32) -> Bytes {
    body(nth, at, 1_000_000 + u64::from(index)).repeat(20).into()
}

/// Stores a snapshot of three parts.
pub async fn snapshot(
    store: &dyn Store,
    nth: u8,
    epoch: Epoch,
    at: u64,
) -> Result<(), avvy_persistence::StoreError> {
    let start = SnapshotStart { brane: brane(nth), epoch, at: Seq(at), taken_ms: at };
    let id = store.begin_snapshot(start).await?;
    for index in 0..3 {
        store.put_snapshot_part(brane(nth), id, index, part(nth, at, index)).await?;
    }
    store.finish_snapshot(brane(nth), id, 3).await
}

/// What is in a directory, and when it was changed.
pub fn contents(directory: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let content = |entry: fs::DirEntry| {
        let changed = entry.metadata().unwrap().modified().unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, (fs::read(entry.path()).unwrap(), changed))
    };
    entries.map(content).collect()
}
