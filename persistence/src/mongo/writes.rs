//! Counts what is written while branes are open.

use std::sync::atomic::{AtomicU64, Ordering};

use mongodb::bson::Document;

use crate::report::WriteCounts;

/// The most bytes of a field's key, type and length around a body.
const BODY_FIELD_BYTES: u64 = 11;

/// Counters, each of which only rises.
#[derive(Default)]
pub(super) struct Writes {
    operations: AtomicU64,
    commits: AtomicU64,
    documents: AtomicU64,
    bytes: AtomicU64,
    chunks: AtomicU64,
    chunk_bytes: AtomicU64,
}

impl Writes {
    /// A command that writes documents was sent.
    pub(super) fn command(&self, documents: usize, bytes: u64) {
        add(&self.operations, 1);
        add(&self.documents, documents as u64);
        add(&self.bytes, bytes);
    }

    /// A transaction was committed.
    pub(super) fn commit(&self) {
        add(&self.commits, 1);
    }

    /// Chunks are in the journal.
    pub(super) fn chunks(&self, chunks: u64, bytes: u64) {
        add(&self.chunks, chunks);
        add(&self.chunk_bytes, bytes);
    }

    pub(super) fn counts(&self) -> WriteCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriteCounts {
            operations: load(&self.operations),
            commits: load(&self.commits),
            documents: load(&self.documents),
            bytes: load(&self.bytes),
            chunks: load(&self.chunks),
            chunk_bytes: load(&self.chunk_bytes),
        }
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// The length of a document as it is sent.
pub(super) fn length(document: &Document) -> u64 {
    // What cannot be encoded is not sent.
    document.to_vec().map_or(0, |bytes| bytes.len() as u64)
}

/// The length of a document to which a body is added under the key `body`.
pub(super) fn length_with(document: &Document, body: &[u8]) -> u64 {
    length(document) + BODY_FIELD_BYTES + body.len() as u64
}
