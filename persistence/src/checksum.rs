//! One checksum for everything stored: XXH3, 64 bits.
//!
//! It guards against disks and bugs, not against people. XXH3 was chosen over
//! CRC-32C because the checksum also identifies a chunk that is sent again,
//! where 32 bits are few over years of journal, and over BLAKE2 because
//! opening a big brane reads hundreds of megabytes: XXH3 runs at memory speed
//! without special instructions, is specified
//! (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>), and
//! exists in every language.
//!
//! A header of fixed-width little-endian fields is hashed with seed 0; its
//! hash is the seed for the body: `xxh3(body, seed = xxh3(header, seed = 0))`.
//! So neither a body under a foreign header nor a swapped field goes unseen.

use avvy_model::{BraneId, Epoch, Seq};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::snapshot::SnapshotId;

/// The checksum of a journal chunk. Header: `"AVVYchnk"`, brane (16 bytes),
/// epoch, from, to, at_ms (u64 each).
pub(crate) fn chunk(
    brane: BraneId,
    epoch: Epoch,
    from: Seq,
    to: Seq,
    at_ms: u64,
    body: &[u8],
) -> u64 {
    Header::new(b"AVVYchnk")
        .bytes(&brane.to_bytes())
        .number(epoch.0)
        .number(from.0)
        .number(to.0)
        .number(at_ms)
        .seal(body)
}

/// The checksum of a snapshot part. Header: `"AVVYpart"`, brane (16 bytes),
/// snapshot, index (u64 each).
pub(crate) fn part(brane: BraneId, snapshot: SnapshotId, index: u32, body: &[u8]) -> u64 {
    Header::new(b"AVVYpart")
        .bytes(&brane.to_bytes())
        .number(snapshot.0)
        .number(u64::from(index))
        .seal(body)
}

/// Collects the fields of a header.
pub(crate) struct Header(Vec<u8>);

impl Header {
    /// A header for things of the kind that these eight bytes name.
    pub(crate) fn new(kind: &[u8; 8]) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(kind);
        Self(bytes)
    }

    /// Adds a number.
    pub(crate) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// Adds bytes whose length does not vary, or that end the header.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The checksum of the header and this body.
    pub(crate) fn seal(self, body: &[u8]) -> u64 {
        xxh3_64_with_seed(body, xxh3_64(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_counts() {
        let brane = BraneId::from_bytes([7; 16]);
        let sum = |epoch, from, to, at, body: &[u8]| {
            chunk(brane, Epoch(epoch), Seq(from), Seq(to), at, body)
        };
        let base = sum(1, 2, 3, 4, b"body");
        let others = [
            sum(2, 2, 3, 4, b"body"),
            sum(1, 1, 3, 4, b"body"),
            sum(1, 2, 4, 4, b"body"),
            sum(1, 2, 3, 5, b"body"),
            sum(1, 2, 3, 4, b"bodY"),
            sum(1, 2, 3, 4, b""),
            chunk(BraneId::from_bytes([8; 16]), Epoch(1), Seq(2), Seq(3), 4, b"body"),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    #[test]
    fn stays_what_is_on_disk_already() {
        let brane = BraneId::from_bytes([1; 16]);
        assert_eq!(chunk(brane, Epoch(1), Seq(0), Seq(2), 3, b"x"), CHUNK_GOLDEN);
        assert_eq!(part(brane, SnapshotId(1), 0, b"x"), PART_GOLDEN);
    }

    const CHUNK_GOLDEN: u64 = 15_323_416_647_452_024_470;
    const PART_GOLDEN: u64 = 8_780_536_273_055_895_008;
}
