//! Appends: a group of chunks in one transaction.
//!
//! The transaction *writes* the document of each brane that it continues, and
//! finds it by the head that it judged by. To read it alone would not do: two
//! transactions that read the same document and write others both commit. So
//! a group and an opening of one of its branes, or two groups that continue
//! the same brane, conflict in the database, and one of them judges again.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use avvy_model::BraneId;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::fault::{self, Failure};
use super::link::{Link, Query, Work};
use super::rows::{
    self, BRANES, CHUNK_RESTS, CHUNKS, Head, MAX_SEQ, PIECE_BYTES, binary, chunk_key, date, long,
};
use crate::chunk::{AppendRefusal, ChunkWrite};
use crate::error::{Place, StoreError};
use crate::judge::{Judgement, judge};

/// The most chunks and bytes of one transaction: far below what the server
/// takes in the time that it gives one.
const MAX_CHUNKS: usize = 4_096;
const MAX_BYTES: usize = 32 << 20;

/// What became of each chunk, in their order.
type Answers = Vec<Result<(), AppendRefusal>>;

/// Stores a group of chunks, in as few transactions as its size allows.
pub(super) async fn append(link: &Link, chunks: &[ChunkWrite]) -> Result<Answers, StoreError> {
    let mut answers = Vec::with_capacity(chunks.len());
    let mut rest = chunks;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |chunk: &&ChunkWrite| {
            bytes += chunk.body.len();
            bytes <= MAX_BYTES
        };
        let count = rest.iter().take(MAX_CHUNKS).take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        let sums = now.iter().map(ChunkWrite::checksum).collect();
        let group = Group { chunks: now, sums, spoiled: Mutex::default() };
        answers.extend(link.transact(&group).await?);
        rest = later;
    }
    Ok(answers)
}

/// The chunks of one transaction.
struct Group<'a> {
    chunks: &'a [ChunkWrite],
    sums: Vec<u64>,
    /// Branes behind whose heads lie chunks that no head counts.
    spoiled: Mutex<HashSet<BraneId>>,
}

/// What is known of the branes of a group.
type Heads = HashMap<BraneId, Result<Head, StoreError>>;

impl Work for Group<'_> {
    type Answer = Answers;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Answers, Failure> {
        let before = self.heads(link, session).await?;
        let nothing = HashMap::new();
        let first = self.judge(&before, &nothing);
        let stored = self.look_up(link, session, &first).await?;
        let plan = if stored.is_empty() { first } else { self.judge(&before, &stored) };
        if plan.new.is_empty() {
            return Ok(plan.answers);
        }
        self.insert(link, session, &plan.new).await?;
        // Last: from here to the commit nobody else can continue these branes.
        let changes = plan
            .heads
            .iter()
            .map(|(brane, (old, new))| (old.filter(*brane), doc! {"$set": new.document(*brane)}));
        if !link.update(session, BRANES, changes.collect()).await? {
            return Err(Failure::Again);
        }
        Ok(plan.answers)
    }
}

/// What a group comes to.
struct Plan {
    answers: Answers,
    /// Chunks to be stored, by their places in the group.
    new: Vec<usize>,
    /// Chunks that are refused unless they are there already.
    doubtful: Vec<usize>,
    /// The heads of the branes that are continued: before and after.
    heads: HashMap<BraneId, (Head, Head)>,
}

impl Group<'_> {
    async fn heads(&self, link: &Link, session: &mut ClientSession) -> Result<Heads, Failure> {
        let mut ids: Vec<String> =
            self.chunks.iter().map(|chunk| chunk.brane.to_string()).collect();
        ids.sort_unstable();
        ids.dedup();
        let filter = doc! {"_id": {"$in": ids}};
        let query = Query { filter, fields: Head::fields(), ..Query::default() };
        let mut heads = Heads::new();
        for found in link.find(session, BRANES, query).await? {
            let brane = rows::text(&found, "_id").ok().and_then(|id| id.parse().ok());
            if let Some(brane) = brane {
                heads.insert(brane, Head::read(&found, brane));
            }
        }
        for brane in self.spoiled.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let place = Place::Brane(*brane);
            let why = "there are chunks that its head does not count";
            heads.insert(*brane, Err(rows::damaged(place, why)));
        }
        Ok(heads)
    }

    /// Judges each chunk alone, counting those before it. `stored` are chunks
    /// that do not continue a journal and are there already.
    fn judge(&self, before: &Heads, stored: &HashMap<usize, bool>) -> Plan {
        let mut plan =
            Plan { answers: vec![], new: vec![], doubtful: vec![], heads: HashMap::new() };
        for (nth, chunk) in self.chunks.iter().enumerate() {
            let answer = self.judge_one(nth, chunk, before, stored, &mut plan);
            plan.answers.push(answer);
        }
        plan
    }

    fn judge_one(
        &self,
        nth: usize,
        chunk: &ChunkWrite,
        before: &Heads,
        stored: &HashMap<usize, bool>,
        plan: &mut Plan,
    ) -> Result<(), AppendRefusal> {
        chunk.check()?;
        if chunk.to > MAX_SEQ {
            return Err(AppendRefusal::Malformed);
        }
        let old = match before.get(&chunk.brane).ok_or(AppendRefusal::UnknownBrane)? {
            Ok(head) => *head,
            Err(error) => {
                tracing::error!(brane = %chunk.brane, %error, "a chunk is refused");
                return Err(AppendRefusal::Damaged);
            }
        };
        let head = plan.heads.get(&chunk.brane).map_or(old, |(_, now)| *now);
        let is_stored = || {
            let is_here = plan.new.iter().any(|other| self.is_same(*other, nth));
            is_here || stored.get(&nth).copied().unwrap_or(false)
        };
        let judged = judge(chunk, head.epoch, head.seq, || Ok::<_, Infallible>(is_stored()));
        match judged.unwrap_or_else(|never| match never {}) {
            Ok(Judgement::New) => {
                let now = Head {
                    seq: chunk.to,
                    chunks: head.chunks + 1,
                    bytes: head.bytes + chunk.body.len() as u64,
                    ..head
                };
                plan.heads.insert(chunk.brane, (old, now));
                plan.new.push(nth);
                Ok(())
            }
            Ok(Judgement::Stored) => Ok(()),
            Err(refusal) => {
                plan.doubtful.push(nth);
                Err(refusal)
            }
        }
    }

    fn is_same(&self, one: usize, other: usize) -> bool {
        let key = |nth: usize| {
            let ChunkWrite { brane, epoch, from, to, .. } = self.chunks[nth];
            (brane, epoch, from, to, self.sums[nth])
        };
        key(one) == key(other)
    }

    /// Which of the doubtful chunks are there already.
    async fn look_up(
        &self,
        link: &Link,
        session: &mut ClientSession,
        plan: &Plan,
    ) -> Result<HashMap<usize, bool>, Failure> {
        if plan.doubtful.is_empty() {
            return Ok(HashMap::new());
        }
        let key = |nth: &usize| chunk_key(self.chunks[*nth].brane, self.chunks[*nth].from);
        let keys: Vec<Document> = plan.doubtful.iter().map(key).collect();
        let filter = doc! {"_id": {"$in": keys}};
        let fields = doc! {"to": 1, "epoch": 1, "checksum": 1};
        let query = Query { filter, fields, ..Query::default() };
        let found = link.find(session, CHUNKS, query).await?;
        let is_there = |nth: &usize| {
            let (chunk, id) = (&self.chunks[*nth], Bson::from(key(nth)));
            let expected = Ok([chunk.to.0, chunk.epoch.0, self.sums[*nth]]);
            found.iter().any(|found| found.get("_id") == Some(&id) && outline(found) == expected)
        };
        Ok(plan.doubtful.iter().map(|nth| (*nth, is_there(nth))).collect())
    }

    async fn insert(
        &self,
        link: &Link,
        session: &mut ClientSession,
        new: &[usize],
    ) -> Result<(), Failure> {
        let (mut documents, mut rests) = (Vec::new(), Vec::new());
        for nth in new {
            let (document, more) = self::documents(&self.chunks[*nth], self.sums[*nth]);
            documents.push(document);
            rests.extend(more);
        }
        if !rests.is_empty() {
            link.collection(CHUNK_RESTS).insert_many(rests).session(&mut *session).await?;
        }
        let inserted = link.collection(CHUNKS).insert_many(documents).session(session).await;
        let Err(error) = inserted else { return Ok(()) };
        if let Some(at) = fault::duplicate_at(&error).and_then(|at| new.get(at)) {
            // The head says that nothing is there. The brane is refused from
            // now on, and the others go on.
            let mut spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
            spoiled.insert(self.chunks[*at].brane);
            return Err(Failure::Again);
        }
        Err(error.into())
    }
}

fn outline(found: &Document) -> Result<[u64; 3], String> {
    let number = |key| rows::number(found, key);
    Ok([number("to")?, number("epoch")?, number("checksum")?])
}

/// The document of a chunk with this checksum, and those of what is more of
/// its body than one document holds.
pub(super) fn documents(chunk: &ChunkWrite, sum: u64) -> (Document, Vec<Document>) {
    let mut pieces = chunk.body.chunks(PIECE_BYTES);
    let body = pieces.next().unwrap_or_default();
    let mut document = doc! {
        "_id": chunk_key(chunk.brane, chunk.from),
        "to": long(chunk.to.0),
        "epoch": long(chunk.epoch.0),
        "at": date(chunk.at_ms),
        "bytes": chunk.body.len() as i64,
        "checksum": long(sum),
        "body": binary(body),
    };
    if body.len() < chunk.body.len() {
        document.insert("pieces", chunk.body.len().div_ceil(PIECE_BYTES) as i64);
    }
    let rest = (1..).zip(pieces).map(|(piece, body)| {
        let mut key = chunk_key(chunk.brane, chunk.from);
        key.insert("piece", piece as i64);
        doc! {"_id": key, "body": binary(body)}
    });
    (document, rest.collect())
}
