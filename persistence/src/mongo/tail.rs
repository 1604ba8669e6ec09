//! The newest chunks of a brane, in its own document.
//!
//! To continue a journal is to change its head, which the brane's document
//! holds. A small chunk is pushed into that document with it: one statement
//! does both or neither, and waits once for the majority, where a transaction
//! takes three round trips. When a tail is long it goes among the others, as one
//! document (see [`super::pack`]), in a transaction beside the pushes; and so it
//! does with the next transaction that continues the brane, opens it or deletes
//! some of it. So a journal is what is in [`CHUNKS`], and after it the tail. Many
//! or long chunks take a transaction at once.

use std::collections::VecDeque;

use avvy_model::{BraneId, Position};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::fault::{self, Failure};
use super::link::{Link, Query, Work};
use super::pack::pack;
use super::rows::{BRANES, CHUNKS, TAIL, damaged, from_of, is_chunk_of};
use super::writes::length;
use crate::chunk::ChunkWrite;
use crate::error::{Place, StoreError};

/// The most chunks that are pushed at once, into however many branes, and the
/// most bytes of one.
const MAX_PUSHED: usize = 4;
const MAX_PUSHED_BYTES: usize = 4 << 10;

/// The chunks in a tail, and bytes of their bodies, from which on it is moved, and
/// the most while it is. A push takes longer the longer the document is that it
/// changes.
const LONG_CHUNKS: usize = 32;
const LONG_BYTES: usize = 16 << 10;
const MAX_CHUNKS: usize = 2 * LONG_CHUNKS;
const MAX_BYTES: usize = 2 * LONG_BYTES;

/// What may be in a tail, and nothing else is: of each chunk where it ends and the
/// bytes of its body.
#[derive(Clone, Default)]
pub(super) struct Outline {
    chunks: VecDeque<(Position, usize)>,
    bytes: usize,
}

impl Outline {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Where it ends, if it is so long that it is to be moved.
    pub(super) fn end_if_long(&self) -> Option<Position> {
        let is_long = self.chunks.len() >= LONG_CHUNKS || self.bytes >= LONG_BYTES;
        self.chunks.back().map(|(end, _)| *end).filter(|_| is_long)
    }

    /// Counts one more chunk, and says whether there is room for it.
    pub(super) fn grows_by(&mut self, chunk: &ChunkWrite) -> bool {
        self.chunks.push_back((Position { epoch: chunk.epoch, seq: chunk.to }, chunk.body.len()));
        self.bytes += chunk.body.len();
        self.chunks.len() <= MAX_CHUNKS && self.bytes <= MAX_BYTES
    }

    /// What ends here or before is not in the tail any more.
    pub(super) fn begins_after(&mut self, end: Position) {
        while let Some((to, bytes)) = self.chunks.front()
            && *to <= end
        {
            self.bytes -= bytes;
            self.chunks.pop_front();
        }
    }
}

/// Whether these chunks are so few and so small that they are pushed.
pub(super) fn takes(chunks: &[ChunkWrite]) -> bool {
    chunks.len() <= MAX_PUSHED && chunks.iter().all(|chunk| chunk.body.len() <= MAX_PUSHED_BYTES)
}

/// Whether a chunk with a body of so many bytes goes into one document with so
/// many others, which have so many: not more than are moved from a tail at once.
pub(super) fn has_room(chunks: usize, bytes: usize, more: usize) -> bool {
    chunks < LONG_CHUNKS && bytes + more <= LONG_BYTES
}

/// Takes the tail out of a brane's document: each as it is among [`CHUNKS`].
pub(super) fn read(from: &mut Document, brane: BraneId) -> Result<Vec<Document>, StoreError> {
    let broken = || damaged(Place::Brane(brane), "its tail is not of chunks");
    let chunk = |chunk: Bson| match chunk {
        Bson::Document(chunk) if is_chunk_of(&chunk, brane) => Ok(chunk),
        _ => Err(broken()),
    };
    match from.remove(TAIL) {
        None => Ok(Vec::new()),
        Some(Bson::Array(chunks)) => chunks.into_iter().map(chunk).collect(),
        Some(_) => Err(broken()),
    }
}

/// The chunks in a brane's tail, as this session sees it.
pub(super) async fn find(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
) -> Result<Vec<Document>, Failure> {
    let (filter, fields) = (doc! {"_id": brane.to_string()}, doc! {TAIL: 1});
    let query = Query { filter, fields, limit: 1, ..Query::default() };
    let found = link.find(session, BRANES, query).await?.into_iter().next();
    Ok(found.map_or(Ok(Vec::new()), |mut found| read(&mut found, brane))?)
}

/// What `query` finds among a brane's other chunks, and its tail. A chunk that
/// goes from the one to the other meanwhile is in both.
pub(super) async fn follow(
    link: &Link,
    brane: BraneId,
    query: Query,
) -> Result<(Vec<Document>, Vec<Document>), StoreError> {
    link.in_session(async |session| {
        let tail = find(link, session, brane).await?;
        let found = link.find(session, CHUNKS, query).await?;
        Ok((found, tail))
    })
    .await
}

/// What a tail is among the other chunks, unless it is empty.
pub(super) fn packed(brane: BraneId, tail: Vec<Document>) -> Option<Document> {
    let from = from_of(tail.first()?).ok()?;
    Some(pack(brane, from, tail.into_iter().map(Bson::from).collect()))
}

/// The moving of a brane's tail among its other chunks while more is pushed. It
/// changes nothing that a journal says, so whoever has the brane may do it.
pub(super) struct Moving(pub(super) BraneId);

impl Work for Moving {
    type Answer = ();

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<(), Failure> {
        settle(link, session, self.0, doc! {"_id": self.0.to_string()}).await
    }
}

/// Has a brane's tail go among the other chunks, within a transaction, if its
/// document is found by this. The document is changed last: what is pushed before
/// that is not held up, and has this done again.
pub(super) async fn settle(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
    filter: Document,
) -> Result<(), Failure> {
    let tail = find(link, session, brane).await?;
    let Some(tail) = packed(brane, tail) else { return Ok(()) };
    link.writes().command(1, length(&tail));
    let inserted = link.collection(CHUNKS).insert_one(tail).session(&mut *session).await;
    match inserted {
        Err(error) if fault::is_duplicate(&error) => {
            let why = "there are chunks that its tail has as well";
            return Err(damaged(Place::Brane(brane), why).into());
        }
        other => other?,
    };
    let gone = (filter, doc! {"$unset": {TAIL: ""}});
    match link.update(session, BRANES, vec![gone]).await? {
        true => Ok(()),
        false => Err(Failure::Again),
    }
}
