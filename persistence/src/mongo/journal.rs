//! Appends: a group of chunks in one statement for each brane, or in one
//! transaction.
//!
//! A few small chunks are pushed into the documents of their branes, each with
//! the new head and found by the old one (see [`tail`]). More, or what a push
//! did not find as it was guessed, are a transaction.
//!
//! The transaction *writes* the document of each brane that it continues, and
//! finds it by the head that it judged by. To read it alone would not do: two
//! transactions that read the same document and write others both commit. So
//! a group and an opening of one of its branes, or two groups that continue
//! the same brane, conflict in the database, and one of them judges again.
//!
//! Where a journal ends is guessed first, from what was stored last: that the
//! document is still so is asked by writing it. Only a guess that proves wrong,
//! or by which something would be refused, costs a reading.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use avvy_model::{BraneId, Position, Seq};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use tokio::time::Instant;

use super::ends::{End, Ends};
use super::fault::{self, Failure};
use super::link::{LONG_IDLE, Link, Query, Work};
use super::pack::{PACK, pack, unpack};
use super::reader;
use super::rows::{
    self, BRANES, CHUNK_RESTS, CHUNKS, Head, MAX_SEQ, PIECE_BYTES, TAIL, binary, chunk_key, date,
    long,
};
use super::tail;
use super::writes::{length, length_with};
use crate::chunk::{AppendRefusal, ChunkWrite};
use crate::error::{Place, StoreError};
use crate::judge::{Judgement, judge};

/// The most chunks and bytes of one transaction: far below what the server
/// takes in the time that it gives one.
const MAX_CHUNKS: usize = 4_096;
const MAX_BYTES: usize = 32 << 20;

/// The most branes of one transaction, as it takes along the tail of each.
const MAX_BRANES: usize = 256;

/// What became of each chunk, in their order.
type Answers = Vec<Result<(), AppendRefusal>>;

/// Stores a group of chunks, in as few commands as its size allows.
pub(super) async fn append(
    link: &Arc<Link>,
    ends: &Ends,
    chunks: &[ChunkWrite],
) -> Result<Answers, StoreError> {
    let mut answers = Vec::with_capacity(chunks.len());
    let mut rest = chunks;
    while !rest.is_empty() {
        let (mut bytes, mut branes) = (0, HashSet::new());
        let fits = |chunk: &&ChunkWrite| {
            bytes += chunk.body.len();
            branes.insert(chunk.brane);
            bytes <= MAX_BYTES && branes.len() <= MAX_BRANES
        };
        let count = rest.iter().take(MAX_CHUNKS).take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        let sums = now.iter().map(ChunkWrite::checksum).collect();
        let mut branes: Vec<BraneId> = now.iter().map(|chunk| chunk.brane).collect();
        branes.sort_unstable();
        branes.dedup();
        let guess = ends.take(&branes);
        let is_guessing = AtomicBool::new(guess.is_some());
        let guess = guess.unwrap_or_default();
        let spoiled = Mutex::default();
        let group = Group { chunks: now, branes, sums, guess, is_guessing, spoiled };
        let deadline = link.deadline();
        let mut plan = match group.push(link).await? {
            Some(plan) => plan,
            None => link.transact_until(deadline, &group).await?,
        };
        for (brane, (_, head)) in plan.heads {
            let tail = plan.pushed.remove(&brane).unwrap_or_default();
            if let Some(to) = ends.put(brane, End { head, tail }) {
                move_tail(link, ends, brane, to);
            }
        }
        let bytes = plan.new.iter().map(|nth| now[*nth].body.len() as u64).sum();
        link.writes().chunks(plan.new.len() as u64, bytes);
        answers.extend(plan.answers);
        rest = later;
    }
    Ok(answers)
}

/// Has a tail that ends `to` there, and what is pushed into it meanwhile, go among
/// the other chunks. Not for long: the next push tries again, and a tail that is
/// full goes with a transaction that continues it.
fn move_tail(link: &Arc<Link>, ends: &Ends, brane: BraneId, to: Position) {
    let (own, ends) = (Arc::clone(link), ends.clone());
    link.spawn(async move {
        let deadline = Instant::now() + LONG_IDLE;
        let moved = own.transact_until(deadline, &tail::Moving(brane)).await;
        if let Err(error) = &moved {
            tracing::debug!(%brane, %error, "a tail was not moved");
        }
        ends.moved(brane, moved.ok().map(|()| to));
    });
}

/// The chunks of one push or transaction.
struct Group<'a> {
    chunks: &'a [ChunkWrite],
    /// Their branes, each once.
    branes: Vec<BraneId>,
    sums: Vec<u64>,
    /// Where the journals are likely to end.
    guess: HashMap<BraneId, End>,
    /// Whether that is known of all of them, and has not been tried yet.
    is_guessing: AtomicBool,
    /// Branes behind whose heads lie chunks that no head counts.
    spoiled: Mutex<HashSet<BraneId>>,
}

/// What is known of the branes of a group.
type Heads = HashMap<BraneId, Result<Head, StoreError>>;

/// The chunks in the tails of branes.
type Tails = HashMap<BraneId, Vec<Document>>;

impl Work for Group<'_> {
    type Answer = Plan;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Plan, Failure> {
        // A tail that is to be moved has to be read.
        let is_short = self.guess.values().all(|end| end.tail.is_empty());
        let guessed = if is_short { self.guessed() } else { None };
        let is_guessed = guessed.is_some();
        let plan = match guessed {
            Some(plan) => plan,
            None => self.judge_by_reading(link, session).await?,
        };
        if plan.new.is_empty() {
            return Ok(plan);
        }
        self.insert(link, session, &plan, is_guessed).await?;
        // Last: from here to the commit nobody else can continue these branes.
        let changes = plan.heads.iter().map(|(brane, (old, new))| {
            let mut change = doc! {"$set": new.document(*brane)};
            if plan.tails.contains_key(brane) {
                change.insert("$unset", doc! {TAIL: ""});
            }
            (old.filter(*brane), change)
        });
        if !link.update(session, BRANES, changes.collect()).await? {
            return Err(Failure::Again);
        }
        Ok(plan)
    }
}

/// What a group comes to.
#[derive(Default)]
struct Plan {
    answers: Answers,
    /// Chunks to be stored, by their places in the group.
    new: Vec<usize>,
    /// Chunks that are refused unless they are there already.
    doubtful: Vec<usize>,
    /// The heads of the branes that are continued: before and after.
    heads: HashMap<BraneId, (Head, Head)>,
    /// The tails of branes that are continued and have one: they go among the
    /// other chunks.
    tails: Tails,
    /// What is in the tails into which the chunks were pushed.
    pushed: HashMap<BraneId, tail::Outline>,
}

impl Group<'_> {
    /// Pushes the chunks into the documents of their branes. `None` if they
    /// are to be stored by a transaction: too many, too long, without room in a
    /// tail, or if it is not known that all of them are stored now.
    async fn push(&self, link: &Link) -> Result<Option<Plan>, StoreError> {
        if !tail::takes(self.chunks) || !self.is_guessing.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut plan = self.judge(&self.guessed_heads(), &HashMap::new());
        if !plan.answers.iter().all(Result::is_ok) {
            return Ok(None);
        }
        let mut pushed: HashMap<BraneId, Vec<Bson>> = HashMap::new();
        for nth in &plan.new {
            let chunk = &self.chunks[*nth];
            let guess = self.guess.get(&chunk.brane);
            let guessed = || guess.map(|end| end.tail.clone()).unwrap_or_default();
            if !plan.pushed.entry(chunk.brane).or_insert_with(guessed).grows_by(chunk) {
                return Ok(None);
            }
            let (document, _) = documents(chunk, self.sums[*nth]);
            pushed.entry(chunk.brane).or_default().push(document.into());
        }
        let statements = plan.heads.iter().map(|(brane, (old, new))| {
            let chunks = pushed.remove(brane).unwrap_or_default();
            let push = doc! {TAIL: {"$each": chunks}};
            (old.filter(*brane), doc! {"$set": new.document(*brane), "$push": push})
        });
        let began = Instant::now();
        // Whatever becomes of it, the guess has been tried.
        self.is_guessing.store(false, Ordering::Relaxed);
        match link.update_each(BRANES, statements.collect()).await {
            Ok(true) => Ok(Some(plan)),
            // What of it is there is seen by whoever reads.
            Ok(false) => Ok(None),
            // There is no time left for a transaction.
            Err(error) if link.is_late(began) => Err(error),
            Err(error) => {
                tracing::debug!(%error, "a push is followed by a transaction");
                Ok(None)
            }
        }
    }

    fn guessed_heads(&self) -> Heads {
        self.guess.iter().map(|(brane, end)| (*brane, Ok(end.head))).collect()
    }

    /// What the group comes to by guesses alone: once, and only if nothing is
    /// refused by them.
    fn guessed(&self) -> Option<Plan> {
        if !self.is_guessing.swap(false, Ordering::Relaxed) {
            return None;
        }
        let plan = self.judge(&self.guessed_heads(), &HashMap::new());
        plan.answers.iter().all(Result::is_ok).then_some(plan)
    }

    async fn judge_by_reading(
        &self,
        link: &Link,
        session: &mut ClientSession,
    ) -> Result<Plan, Failure> {
        let (before, mut tails) = self.ends(link, session).await?;
        let mut plan = self.judge(&before, &HashMap::new());
        let stored = self.look_up(link, session, &plan, &tails).await?;
        if !stored.is_empty() {
            plan = self.judge(&before, &stored);
        }
        tails.retain(|brane, tail| !tail.is_empty() && plan.heads.contains_key(brane));
        Ok(Plan { tails, ..plan })
    }

    /// The heads of the branes, and their tails.
    async fn ends(
        &self,
        link: &Link,
        session: &mut ClientSession,
    ) -> Result<(Heads, Tails), Failure> {
        let ids: Vec<String> = self.branes.iter().map(ToString::to_string).collect();
        let (filter, mut fields) = (doc! {"_id": {"$in": ids}}, Head::fields());
        fields.insert(TAIL, 1);
        let query = Query { filter, fields, ..Query::default() };
        let (mut heads, mut tails) = (Heads::new(), Tails::new());
        for mut found in link.find(session, BRANES, query).await? {
            let brane = rows::text(&found, "_id").ok().and_then(|id| id.parse().ok());
            if let Some(brane) = brane {
                let head = Head::read(&found, brane);
                let tail = tail::read(&mut found, brane);
                heads.insert(
                    brane,
                    tail.and_then(|tail| {
                        tails.insert(brane, tail);
                        head
                    }),
                );
            }
        }
        // Whose end is known has none: this store has stored it itself.
        if self.guess.is_empty() {
            self.look_for_strays(link, session, &heads).await?;
        }
        for brane in self.spoiled.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let place = Place::Brane(*brane);
            let why = "there are chunks that its head does not count";
            heads.insert(*brane, Err(rows::damaged(place, why)));
        }
        Ok((heads, tails))
    }

    /// Finds branes behind whose heads there are chunks. An insertion meets only
    /// those where a document begins that it makes.
    async fn look_for_strays(
        &self,
        link: &Link,
        session: &mut ClientSession,
        heads: &Heads,
    ) -> Result<(), Failure> {
        let behind = |(brane, head): (&BraneId, &Result<Head, StoreError>)| {
            Some(rows::chunks_from(*brane, head.as_ref().ok()?.seq))
        };
        let behind: Vec<Document> = heads.iter().filter_map(behind).collect();
        if behind.is_empty() {
            return Ok(());
        }
        let (filter, fields) = (doc! {"$or": behind}, doc! {"_id": 1});
        let query = Query { filter, fields, limit: MAX_CHUNKS as u32, ..Query::default() };
        let strays = link.find(session, CHUNKS, query).await?;
        let brane = |found: &Document| {
            let key = found.get_document("_id").ok()?;
            rows::text(key, "brane").ok()?.parse::<BraneId>().ok()
        };
        let mut spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
        spoiled.extend(strays.iter().filter_map(brane));
        Ok(())
    }

    /// Judges each chunk alone, counting those before it. `stored` are chunks
    /// that do not continue a journal and are there already.
    fn judge(&self, before: &Heads, stored: &HashMap<usize, bool>) -> Plan {
        let mut plan = Plan::default();
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
            let is_there = stored.get(&nth).copied().unwrap_or(false);
            is_there || plan.new.iter().any(|other| self.is_same(*other, nth))
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
        tails: &Tails,
    ) -> Result<HashMap<usize, bool>, Failure> {
        if plan.doubtful.is_empty() {
            return Ok(HashMap::new());
        }
        let mut spans: HashMap<BraneId, (Seq, Seq)> = HashMap::new();
        for ChunkWrite { brane, from, .. } in plan.doubtful.iter().map(|nth| &self.chunks[*nth]) {
            let (first, last) = spans.entry(*brane).or_insert((*from, *from));
            (*first, *last) = ((*first).min(*from), (*last).max(*from));
        }
        let mut there: HashMap<(BraneId, Seq), Vec<[u64; 3]>> = HashMap::new();
        for (brane, (first, last)) in spans {
            // The pack that the first of them may be in begins before it.
            let begin = reader::begin_in(link, session, brane, first).await?;
            let keys = doc! {"$gte": chunk_key(brane, begin), "$lte": chunk_key(brane, last)};
            let mut fields = doc! {"to": 1, "epoch": 1, "checksum": 1};
            for key in ["_id", "to", "epoch", "checksum"] {
                fields.insert(format!("{PACK}.{key}"), 1);
            }
            let query = Query { filter: doc! {"_id": keys}, fields, ..Query::default() };
            let found = link.find(session, CHUNKS, query).await?;
            let found = found.into_iter().flat_map(|found| unpack(found, brane));
            for chunk in found.chain(tails.get(&brane).into_iter().flatten().cloned()) {
                // What cannot be read is not what is looked for.
                if let (Ok(from), Ok(outline)) = (rows::from_of(&chunk), outline(&chunk)) {
                    there.entry((brane, from)).or_default().push(outline);
                }
            }
        }
        let is_there = |nth: &usize| {
            let ChunkWrite { brane, from, to, epoch, .. } = self.chunks[*nth];
            let expected = [to.0, epoch.0, self.sums[*nth]];
            there.get(&(brane, from)).is_some_and(|found| found.contains(&expected))
        };
        Ok(plan.doubtful.iter().map(|nth| (*nth, is_there(nth))).collect())
    }

    /// What goes into each document: a chunk, or small ones that follow one
    /// another in a brane, as many as are in a tail that is moved.
    fn runs(&self, new: &[usize]) -> Vec<Vec<usize>> {
        let mut runs: Vec<Vec<usize>> = Vec::new();
        let mut last: HashMap<BraneId, (usize, usize)> = HashMap::new();
        for nth in new {
            let ChunkWrite { brane, body, .. } = &self.chunks[*nth];
            match last.get_mut(brane) {
                Some((run, bytes)) if tail::has_room(runs[*run].len(), *bytes, body.len()) => {
                    *bytes += body.len();
                    runs[*run].push(*nth);
                }
                _ => {
                    last.insert(*brane, (runs.len(), body.len()));
                    runs.push(vec![*nth]);
                }
            }
        }
        runs
    }

    async fn insert(
        &self,
        link: &Link,
        session: &mut ClientSession,
        plan: &Plan,
        is_guessed: bool,
    ) -> Result<(), Failure> {
        let (mut documents, mut rests, mut branes) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for (brane, tail) in &plan.tails {
            let Some(packed) = tail::packed(*brane, tail.clone()) else { continue };
            bytes += length(&packed);
            documents.push(packed);
            branes.push(*brane);
        }
        for run in self.runs(&plan.new) {
            let first = &self.chunks[run[0]];
            branes.push(first.brane);
            if let [nth] = run[..] {
                let (mut document, body, more) = outline_of(first, self.sums[nth]);
                bytes += length_with(&document, body);
                document.insert("body", binary(body));
                documents.push(document);
                rests.extend(more);
            } else {
                // Each is in one piece.
                let chunk = |nth: usize| self::documents(&self.chunks[nth], self.sums[nth]).0;
                let chunks = run.iter().map(|nth| chunk(*nth).into()).collect();
                let packed = pack(first.brane, first.from, chunks);
                bytes += length(&packed);
                documents.push(packed);
            }
        }
        link.writes().command(documents.len(), bytes);
        if !rests.is_empty() {
            let bytes = rests.iter().map(length).sum();
            link.writes().command(rests.len(), bytes);
            link.collection(CHUNK_RESTS).insert_many(rests).session(&mut *session).await?;
        }
        let inserted = link.collection(CHUNKS).insert_many(documents).session(session).await;
        let Err(error) = inserted else { return Ok(()) };
        if let Some(brane) = fault::duplicate_at(&error).and_then(|at| branes.get(at)) {
            if is_guessed {
                return Err(Failure::Again);
            }
            // The head says that nothing is there. The brane is refused from
            // now on, and the others go on.
            let mut spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
            spoiled.insert(*brane);
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
    let (mut document, body, rest) = outline_of(chunk, sum);
    document.insert("body", binary(body));
    (document, rest)
}

/// The document without its body, and that.
fn outline_of(chunk: &ChunkWrite, sum: u64) -> (Document, &[u8], Vec<Document>) {
    let mut pieces = chunk.body.chunks(PIECE_BYTES);
    let body = pieces.next().unwrap_or_default();
    let mut document = doc! {
        "_id": chunk_key(chunk.brane, chunk.from),
        "to": long(chunk.to.0),
        "epoch": long(chunk.epoch.0),
        "at": date(chunk.at_ms),
        "bytes": chunk.body.len() as i64,
        "checksum": long(sum),
    };
    if body.len() < chunk.body.len() {
        document.insert("pieces", chunk.body.len().div_ceil(PIECE_BYTES) as i64);
    }
    let rest = (1..).zip(pieces).map(|(piece, body)| {
        let mut key = chunk_key(chunk.brane, chunk.from);
        key.insert("piece", piece as i64);
        doc! {"_id": key, "body": binary(body)}
    });
    (document, body, rest.collect())
}
