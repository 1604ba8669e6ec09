//! Reads documents as a database gives them, for whoever throws any at it: each
//! is of a kind, by its number. What was read of one is written, and read again
//! as the same.

use std::fmt::Debug;

use avvy_model::{BraneId, Epoch, NodeId, Seq, UserId};
use bytes::Bytes;
use mongodb::bson::{Bson, Document, deserialize_from_slice, doc};

use super::pack::{body_length, pack, unpack};
use super::rows::{self, Found, Head, TAIL, from_of};
use super::{journal, records, tail};
use crate::chunk::{Chunk, ChunkWrite};
use crate::hold::{Coming, Handed, Hold};
use crate::life::Life;
use crate::record::BraneRecord;
use crate::report::Cut;
use crate::snapshot::{SnapshotId, SnapshotInfo, SnapshotStart};
use crate::store::TornTail;

/// The brane whose documents they are.
const BRANE: BraneId = BraneId::from_bytes([7; 16]);

struct Kind {
    read: fn(Document),
    /// One as it is written.
    example: fn() -> Document,
}

/// By their numbers. New ones come last, as corpora go by these.
const KINDS: &[Kind] = &[
    Kind { read: head, example: || a_head().document(BRANE) },
    Kind { read: hold, example: || held(&a_hold()) },
    Kind { read: record, example: || rows::new_brane(&a_record()) },
    Kind { read: lineage, example: || rows::lineage_document(BRANE, &a_lineage()) },
    Kind { read: chunks, example: || written(&a_chunk(1)) },
    Kind { read: chunks, example: a_pack },
    Kind { read: tail, example: a_tail },
    Kind { read: cut, example: || rows::cut_document(BRANE, &a_cut()) },
    Kind { read: snapshot, example: || entry(&a_snapshot()) },
    Kind { read: records::fuzzing::record, example: records::fuzzing::a_record },
    Kind { read: records::fuzzing::entry, example: records::fuzzing::an_entry },
    Kind { read: records::fuzzing::marker, example: records::fuzzing::a_marker },
];

/// Reads a document of this kind. Panics when a promise is broken.
pub fn document(kind: u8, bytes: &[u8]) {
    let Some(kind) = KINDS.get(usize::from(kind)) else { return };
    if let Ok(document) = deserialize_from_slice(bytes) {
        (kind.read)(document);
    }
}

/// A document of each kind.
pub fn documents() -> impl Iterator<Item = (u8, Vec<u8>)> {
    let bytes = |kind: &Kind| (kind.example)().to_vec().expect("what is written has a BSON form");
    (0..).zip(KINDS.iter().map(bytes))
}

/// What was read, written and read again.
pub(super) fn comes_back<T: Debug, E: Debug>(
    one: &T,
    written: Document,
    read: impl Fn(Document) -> Result<T, E>,
) {
    are_same(&read(written).expect("what is written can be read"), one);
}

/// By their texts: NaN is not equal to itself.
fn are_same(one: &impl Debug, other: &impl Debug) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

// --- a brane's own document ---

fn head(found: Document) {
    let read = |found: Document| Head::read(&found, BRANE);
    let Ok(head) = read(found) else { return };
    comes_back(&head, head.document(BRANE), read);
}

fn a_head() -> Head {
    Head { epoch: Epoch(3), seq: Seq(40), chunks: 4, bytes: 400 }
}

fn hold(found: Document) {
    let read = |found: Document| rows::hold(&found, BRANE);
    let Ok(hold) = read(found) else { return };
    comes_back(&hold, held(&hold), read);
}

/// The document of a brane that nobody held before.
fn held(hold: &Hold) -> Document {
    match rows::hold_change(hold, Document::new()).remove("$set") {
        Some(Bson::Document(set)) => set,
        _ => Document::new(),
    }
}

fn a_hold() -> Hold {
    let [me, other] = [NodeId::from_bytes([1; 16]), NodeId::from_bytes([2; 16])];
    Hold {
        holder: Some(me),
        coming: Some(Coming { to: other, is_ready: true }),
        handed: Some(Handed { from: other, epoch: Epoch(2), to: me }),
    }
}

fn record(found: Document) {
    let read = |found: Document| rows::record(&found);
    let Ok(record) = read(found) else { return };
    comes_back(&record, rows::new_brane(&record), read);
}

fn a_record() -> BraneRecord {
    BraneRecord {
        name: "Workshop".to_owned(),
        description: "Where we build.".to_owned(),
        tags: vec!["wood".to_owned()],
        life: Life::Doomed { since_ms: 8, purge_ms: 9 },
        by_operator: true,
        version: 3,
        ..BraneRecord::new(BRANE, UserId::from_bytes([9; 16]), 7)
    }
}

fn lineage(found: Document) {
    let read = |found: Document| rows::lineage(&found, BRANE);
    let Ok(lineage) = read(found) else { return };
    comes_back(&lineage, rows::lineage_document(BRANE, &lineage), read);
}

fn a_lineage() -> Vec<(Epoch, Seq)> {
    vec![(Epoch(1), Seq(0)), (Epoch(3), Seq(20))]
}

// --- the journal ---

/// A chunk, or a pack of several.
fn chunks(found: Document) {
    body_length(&found);
    let unpacked = unpack(found, BRANE);
    unpacked.iter().cloned().for_each(chunk);
    are_packed(&unpacked);
}

fn chunk(found: Document) {
    let read = |found: Document| Found::read(found, &[], BRANE)?.chunk;
    let Ok(chunk) = read(found) else { return };
    comes_back(&chunk, written(&chunk), read);
}

/// Good chunks that are packed come out as they are.
fn are_packed(chunks: &[Document]) {
    let is_chunk = |chunk: &Document| rows::is_chunk_of(chunk, BRANE);
    let first = chunks.first().filter(|_| chunks.iter().all(is_chunk));
    if let Some(from) = first.and_then(|first| from_of(first).ok()) {
        let packed = pack(BRANE, from, chunks.iter().cloned().map(Bson::from).collect());
        are_same(&unpack(packed, BRANE), &chunks);
    }
}

fn written(chunk: &Chunk) -> Document {
    let Chunk { epoch, from, to, at_ms, body } = chunk.clone();
    let chunk = ChunkWrite { brane: BRANE, epoch, from, to, at_ms, body };
    journal::documents(&chunk, chunk.checksum()).0
}

fn a_chunk(nth: u64) -> Chunk {
    let body = Bytes::from_static(b"edits");
    Chunk { epoch: Epoch(3), from: Seq(nth), to: Seq(nth + 1), at_ms: 5, body }
}

fn a_pack() -> Document {
    let chunks = (1..4).map(|nth| written(&a_chunk(nth)).into());
    pack(BRANE, Seq(1), chunks.collect())
}

fn tail(mut found: Document) {
    let Ok(chunks) = tail::read(&mut found, BRANE) else { return };
    if let Some(packed) = tail::packed(BRANE, chunks.clone()) {
        are_same(&unpack(packed, BRANE), &chunks);
    }
    chunks.into_iter().for_each(chunk);
}

fn a_tail() -> Document {
    let chunks: Vec<Document> = (1..3).map(|nth| written(&a_chunk(nth))).collect();
    doc! {TAIL: chunks}
}

fn cut(found: Document) {
    let read = |found: Document| rows::cut(&found, BRANE);
    let Ok(cut) = read(found) else { return };
    comes_back(&cut, rows::cut_document(BRANE, &cut), read);
}

fn a_cut() -> Cut {
    let why = "its checksum is wrong".to_owned();
    Cut { epoch: Epoch(2), torn: TornTail { kept: Seq(4), claimed: Seq(9), chunks: 1, why } }
}

// --- snapshots ---

fn snapshot(found: Document) {
    let read = |found: Document| rows::snapshot(&found, BRANE);
    let Ok(snapshot) = read(found) else { return };
    comes_back(&snapshot, entry(&snapshot), read);
}

/// The entry of a finished one.
fn entry(info: &SnapshotInfo) -> Document {
    let SnapshotInfo { id, epoch, at, taken_ms, .. } = *info;
    let mut entry = rows::begun(id, &SnapshotStart { brane: BRANE, epoch, at, taken_ms });
    entry.extend(rows::finished(BRANE, info));
    entry
}

fn a_snapshot() -> SnapshotInfo {
    let (epoch, at) = (Epoch(2), Seq(20));
    SnapshotInfo { id: SnapshotId(6), epoch, at, parts: 2, bytes: 300, taken_ms: 8 }
}
