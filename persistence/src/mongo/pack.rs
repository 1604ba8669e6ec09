//! Several chunks in one document of [`CHUNKS`], a pack.
//!
//! A tail (see [`super::tail`]) goes among the other chunks as a pack, and so do
//! small chunks that are stored together: to insert one document takes the time
//! of one, however many chunks are in it. Its key
//! is that of its first chunk, and what it holds are chunks as they are alone,
//! each with its checksum. Who reads a journal unpacks what was found.

use avvy_model::{BraneId, Seq};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::fault::{self, Failure};
use super::link::{Link, Query};
use super::rows::{self, CHUNKS, chunk_key, damaged, from_of, is_chunk_of};
use super::writes::length;
use crate::error::Place;

/// In a document of [`CHUNKS`] that is a pack: its chunks.
pub(super) const PACK: &str = "pack";

/// The pack of chunks that follow this edit.
pub(super) fn pack(brane: BraneId, from: Seq, chunks: Vec<Bson>) -> Document {
    doc! {"_id": chunk_key(brane, from), PACK: chunks}
}

/// The chunks in a document of [`CHUNKS`]: itself, if it is no pack. What
/// cannot be read of one is a chunk without anything in it, after the good ones.
pub(super) fn unpack(mut found: Document, brane: BraneId) -> Vec<Document> {
    let packed = match found.remove(PACK) {
        Some(Bson::Array(packed)) => packed,
        _ => return vec![found],
    };
    let count = packed.len();
    let chunk = |chunk: Bson| match chunk {
        Bson::Document(chunk) if is_chunk_of(&chunk, brane) => Some(chunk),
        _ => None,
    };
    let mut chunks: Vec<Document> = packed.into_iter().map_while(chunk).collect();
    if chunks.len() < count || count == 0 {
        if let Some(end) = chunks.last().and_then(end_of) {
            found.insert("_id", chunk_key(brane, end));
        }
        chunks.push(found);
    }
    chunks
}

/// The length of the bodies in a document.
pub(super) fn body_length(found: &Document) -> usize {
    let length = |found: &Document| found.get_binary_generic("body").map_or(0, Vec::len);
    let Ok(packed) = found.get_array(PACK) else { return length(found) };
    packed.iter().filter_map(Bson::as_document).map(length).sum()
}

/// The last edit in a chunk.
pub(super) fn end_of(chunk: &Document) -> Option<Seq> {
    rows::number(chunk, "to").ok().map(Seq)
}

/// Has no pack reach over an edit, within a transaction: one that does becomes
/// two.
pub(super) async fn split(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
    at: Seq,
) -> Result<(), Failure> {
    let keys = doc! {"$gte": chunk_key(brane, Seq(0)), "$lt": chunk_key(brane, at)};
    let (filter, sort, fields) = (doc! {"_id": keys}, doc! {"_id": -1}, doc! {PACK: 1});
    let query = Query { filter, sort, fields, limit: 1, ..Query::default() };
    let found = link.find(session, CHUNKS, query).await?.into_iter().next();
    let Some(mut found) = found else { return Ok(()) };
    let Some(Bson::Array(mut front)) = found.remove(PACK) else { return Ok(()) };
    let is_before = |chunk: &Bson| {
        let chunk = chunk.as_document();
        let from = chunk.and_then(|chunk| from_of(chunk).ok());
        from.is_some_and(|from| from < at) && chunk.and_then(end_of).is_some_and(|end| end <= at)
    };
    let back = front.split_off(front.iter().rposition(is_before).map_or(0, |last| last + 1));
    if front.is_empty() || back.is_empty() {
        return Ok(());
    }
    found.insert(PACK, front);
    let chunks = link.collection(CHUNKS);
    let back = pack(brane, at, back);
    link.writes().command(2, length(&found) + length(&back));
    let key = doc! {"_id": found.get("_id")};
    chunks.replace_one(key, found).session(&mut *session).await?;
    match chunks.insert_one(back).session(&mut *session).await {
        Err(error) if fault::is_duplicate(&error) => {
            let why = "there are chunks that a pack has as well";
            Err(damaged(Place::Brane(brane), why).into())
        }
        other => Ok(other.map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Found;
    use super::*;

    const BRANE: BraneId = BraneId::from_bytes([7; 16]);

    /// Nothing follows an edit that no number of MongoDB's can hold.
    #[test]
    fn what_follows_no_edit_is_no_chunk() {
        let chunk = doc! {"_id": {"brane": BRANE.to_string(), "from": -1_i64}};
        assert!(Found::read(chunk.clone(), &[], BRANE).is_err());
        let packed = pack(BRANE, Seq(3), vec![chunk.into()]);
        assert_eq!(unpack(packed, BRANE), [doc! {"_id": chunk_key(BRANE, Seq(3))}]);
    }
}
