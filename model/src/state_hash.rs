//! One number that is equal where two copies of a world are equal.
//!
//! An object's digest is the BLAKE2b (RFC 7693; unkeyed, 16 bytes) of
//!
//! | bytes | what |
//! |---|---|
//! | 4 | handle, little-endian |
//! | 16 | id |
//! | 4 | parent's handle, little-endian |
//! | 1 | kind ([`crate::Kind::number`]) |
//! | 16 | owner |
//! | 30 | transform ([`crate::Transform::to_packed`]) |
//! | rest | properties ([`crate::Props::as_bytes`]) |
//!
//! The state hash is the sum of the digests of all objects, the root included,
//! each read as a little-endian number, modulo 2^128. So it does not depend on
//! any order, and a change of one object costs two digests.
//! It finds accidents, not forgeries.

use std::fmt;

use blake2b_simd::Params;
use blake2b_simd::many::{HashManyJob, hash_many};

use crate::{Handle, Object, Transform};

/// Bytes before the properties.
const HEAD_LEN: usize = 4 + 16 + 4 + 1 + 16 + Transform::PACKED_LEN;
/// Objects that [`StateHash::sum`] hashes at a time, several of them at once.
const BATCH: usize = 32;

/// The sum of the digests of a world's objects. The default is that of no object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StateHash(u128);

impl StateHash {
    /// The hash of these objects. Faster than adding one after the other.
    pub fn sum<'a>(objects: impl IntoIterator<Item = (Handle, &'a Object)>) -> Self {
        let mut objects = objects.into_iter();
        let mut hash = Self::default();
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(BATCH);
        loop {
            bytes.clear();
            ends.clear();
            for (handle, object) in objects.by_ref().take(BATCH) {
                bytes.extend_from_slice(&head(handle, object));
                bytes.extend_from_slice(object.props.as_bytes());
                ends.push(bytes.len());
            }
            if ends.is_empty() {
                return hash;
            }
            hash.add_all(&bytes, &ends);
        }
    }

    /// Adds the digests of the messages that end at `ends` within `bytes`.
    fn add_all(&mut self, bytes: &[u8], ends: &[usize]) {
        let params = params();
        let mut start = 0;
        let mut jobs: Vec<HashManyJob<'_>> = Vec::with_capacity(ends.len());
        for &end in ends {
            jobs.push(HashManyJob::new(&params, &bytes[start..end]));
            start = end;
        }
        hash_many(jobs.iter_mut());
        for job in &jobs {
            self.add(digest(&job.to_hash()));
        }
    }

    /// Counts an object in.
    pub fn add(&mut self, digest: [u8; 16]) {
        self.0 = self.0.wrapping_add(u128::from_le_bytes(digest));
    }

    /// Takes an object out.
    pub fn remove(&mut self, digest: [u8; 16]) {
        self.0 = self.0.wrapping_sub(u128::from_le_bytes(digest));
    }

    /// Counts in what `other` counts.
    pub fn add_hash(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// Takes out what `other` counts.
    pub fn remove_hash(&mut self, other: Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }

    /// The number in little-endian, as on the wire.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// The hash of which these are the bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

impl fmt::Display for StateHash {
    /// The bytes in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateHash({self})")
    }
}

/// The digest of one object: what it adds to the state hash.
pub fn object_digest(handle: Handle, object: &Object) -> [u8; 16] {
    let mut state = params().to_state();
    state.update(&head(handle, object)).update(object.props.as_bytes());
    digest(&state.finalize())
}

fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(16);
    params
}

fn digest(hash: &blake2b_simd::Hash) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(hash.as_bytes());
    out
}

fn head(handle: Handle, object: &Object) -> [u8; HEAD_LEN] {
    let mut out = [0; HEAD_LEN];
    out[0..4].copy_from_slice(&handle.0.to_le_bytes());
    out[4..20].copy_from_slice(&object.id.to_bytes());
    out[20..24].copy_from_slice(&object.parent.0.to_le_bytes());
    out[24] = object.kind.number();
    out[25..41].copy_from_slice(&object.owner.to_bytes());
    out[41..].copy_from_slice(&object.transform.to_packed());
    out
}
