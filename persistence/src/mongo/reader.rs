//! Reads, each of bounded size.
//!
//! What has to fit together is read in an order in which it does: the head
//! before the chunks, as it only rises, and the snapshots after them, as a
//! chunk goes only when a snapshot covers it.

use avvy_model::{BraneId, Seq, Visibility};
use bytes::Bytes;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::fault::Failure;
use super::link::{Link, Query};
use super::opening::read_lineage;
use super::pack::{PACK, body_length, end_of, unpack};
use super::rows::{
    self, BRANES, CHUNK_RESTS, CHUNKS, CUTS, Found, Head, META, PARTS, SNAPSHOTS, TAIL, chunk_key,
    chunks_from, damaged, date, long, part_key,
};
use super::tail;
use crate::chain::Chain;
use crate::checksum;
use crate::chunk::Chunk;
use crate::error::{Place, StoreError};
use crate::life::Life;
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord, MAX_PAGE};
use crate::report::{Cut, Damage, MAX_DAMAGES};
use crate::scan::Link as Chained;
use crate::snapshot::{SnapshotId, SnapshotInfo};

/// Chunks that are read in one step, and about how many bytes of them.
const BITE_CHUNKS: u32 = 256;
const BITE_BYTES: usize = 4 << 20;

/// What is known of a brane's journal before its chunks are read.
pub(super) struct Outline {
    pub(super) head: Head,
    pub(super) epochs: u64,
    pub(super) snapshots: Snapshots,
}

impl Outline {
    /// The last edit that the newest snapshot whose entry is whole includes.
    pub(super) fn covered(&self) -> Seq {
        self.snapshots.whole.first().map_or(Seq(0), |info| info.at)
    }
}

/// A brane's finished snapshots.
#[derive(Default)]
pub(super) struct Snapshots {
    /// Those whose entries are what was written, newest first.
    pub(super) whole: Vec<SnapshotInfo>,
    /// What is wrong with the others.
    pub(super) damages: Vec<Damage>,
}

impl Snapshots {
    /// Reads the entries of a brane.
    pub(super) async fn read(
        link: &Link,
        session: &mut ClientSession,
        brane: BraneId,
    ) -> Result<Self, Failure> {
        let filter = doc! {"brane": brane.to_string(), "state": "finished"};
        let sort = doc! {"at": -1, "_id": -1};
        let query = Query { filter, sort, ..Query::default() };
        let mut snapshots = Self::default();
        for found in link.find(session, SNAPSHOTS, query).await? {
            match rows::snapshot(&found, brane) {
                Ok(info) => snapshots.whole.push(info),
                Err(StoreError::Damaged { place, why }) => {
                    snapshots.damages.push(Damage { place, why });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(snapshots)
    }

    /// All of them, newest first; fails if the entry of one is damaged.
    pub(super) fn all_whole(self) -> Result<Vec<SnapshotInfo>, StoreError> {
        match self.damages.into_iter().next() {
            None => Ok(self.whole),
            Some(Damage { place, why }) => Err(StoreError::Damaged { place, why }),
        }
    }
}

/// A brane's head, as this session sees it.
pub(super) async fn head(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
) -> Result<Head, Failure> {
    let filter = doc! {"_id": brane.to_string()};
    let query = Query { filter, fields: Head::fields(), limit: 1, ..Query::default() };
    let found = link.find(session, BRANES, query).await?;
    let found = found.first().ok_or(StoreError::UnknownBrane(brane))?;
    Ok(Head::read(found, brane)?)
}

/// A brane's head.
pub(super) async fn current_head(link: &Link, brane: BraneId) -> Result<Head, StoreError> {
    link.in_session(async |session| head(link, session, brane).await).await
}

/// What is known of a brane's journal.
pub(super) async fn outline(link: &Link, brane: BraneId) -> Result<Outline, StoreError> {
    link.in_session(async |session| {
        // The snapshots first: none is ahead of a head that is read later.
        let snapshots = Snapshots::read(link, session, brane).await?;
        let head = head(link, session, brane).await?;
        if snapshots.whole.first().is_some_and(|info| info.at > head.seq) {
            let why = "its head is before its newest snapshot";
            return Err(damaged(Place::Brane(brane), why).into());
        }
        let epochs = read_lineage(link, session, brane, &head).await?.len() as u64;
        Ok(Outline { head, epochs, snapshots })
    })
    .await
}

/// Refuses a brane that is not active, as this session sees it.
pub(super) async fn expect_active(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
) -> Result<(), Failure> {
    match record_in(link, session, brane).await?.life {
        Life::Active => Ok(()),
        life => Err(StoreError::Inactive { brane, life }.into()),
    }
}

/// A brane's record, as this session sees it.
pub(super) async fn record_in(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
) -> Result<BraneRecord, Failure> {
    let (filter, fields) = (doc! {"_id": brane.to_string()}, doc! {TAIL: 0});
    let query = Query { filter, fields, limit: 1, ..Query::default() };
    let found = link.find(session, BRANES, query).await?;
    Ok(rows::record(found.first().ok_or(StoreError::UnknownBrane(brane))?)?)
}

/// A brane's record.
pub(super) async fn brane(link: &Link, brane: BraneId) -> Result<BraneRecord, StoreError> {
    let (filter, fields) = (doc! {"_id": brane.to_string()}, doc! {TAIL: 0});
    let found = link.one(BRANES, Query { filter, fields, ..Query::default() }).await?;
    rows::record(&found.ok_or(StoreError::UnknownBrane(brane))?)
}

/// The records of these branes.
pub(super) async fn branes_by_id(
    link: &Link,
    ids: Vec<BraneId>,
) -> Result<Vec<BraneRecord>, StoreError> {
    let keys: Vec<String> = ids.iter().map(BraneId::to_string).collect();
    let (filter, fields) = (doc! {"_id": {"$in": keys}}, doc! {TAIL: 0});
    let query = Query { filter, fields, ..Query::default() };
    let mut branes = Vec::new();
    for found in link.many(BRANES, query).await? {
        match rows::record(&found) {
            Ok(record) => branes.push(record),
            Err(error) => tracing::error!(%error, "a brane is left out"),
        }
    }
    Ok(branes)
}

/// A page of a listing.
pub(super) async fn branes(
    link: &Link,
    filter: BraneFilter,
    after: Option<BraneCursor>,
    limit: u32,
) -> Result<BranePage, StoreError> {
    let limit = limit.clamp(1, MAX_PAGE) as usize;
    let mut branes = Vec::new();
    let collection = link.collection(BRANES);
    let listed = link.in_session(async |session| {
        let find = collection.find(listing(filter, after)).sort(doc! {"created": 1, "_id": 1});
        let find = find.batch_size(u32::try_from(limit + 1).unwrap_or(u32::MAX));
        let find = find.projection(doc! {TAIL: 0});
        let mut cursor = find.session(&mut *session).await?;
        while branes.len() <= limit
            && let Some(found) = cursor.next(session).await
        {
            match rows::record(&found?) {
                Ok(record) => branes.push(record),
                Err(error) => tracing::error!(%error, "a listing leaves a brane out"),
            }
        }
        Ok(())
    });
    listed.await?;
    let more = branes.len() > limit;
    branes.truncate(limit);
    let next = branes.last().filter(|_| more).map(BraneRecord::cursor);
    Ok(BranePage { branes, next })
}

fn listing(filter: BraneFilter, after: Option<BraneCursor>) -> Document {
    let active = doc! {"life": {"$exists": false}};
    let public = doc! {"visibility": Visibility::Public.name()};
    let shows = match filter {
        BraneFilter::All => doc! {},
        BraneFilter::Listed => doc! {"$and": [active, public]},
        BraneFilter::VisibleTo(user) => {
            doc! {"$and": [active, {"$or": [public, {"owner": user.to_string()}]}]}
        }
        BraneFilter::OwnedBy(user) => {
            let is_over = doc! {"$in": ["purging", "purged"]};
            doc! {"owner": user.to_string(), "life.state": {"$not": is_over}}
        }
        BraneFilter::ArchivedOf(user) => {
            doc! {"owner": user.to_string(), "life.state": "archived"}
        }
        BraneFilter::DeletedOf(user) => {
            let (owner, later) = (user.to_string(), doc! {"$gt": 1_i64});
            doc! {"owner": owner, "life.state": "deleted", "version": later}
        }
        BraneFilter::Due(now_ms) => {
            doc! {"life.purge": {"$lte": date(now_ms.min(i64::MAX.cast_unsigned()))}}
        }
    };
    let Some(BraneCursor { created_ms, id }) = after else { return shows };
    let created = date(created_ms);
    let same = doc! {"created": created, "_id": {"$gt": id.to_string()}};
    doc! {"$and": [shows, {"$or": [{"created": {"$gt": created}}, same]}]}
}

/// The key of the document with which a stretch after `after` begins: of the
/// one that holds the next edit, or else that of a chunk after `after`.
pub(super) async fn begin(link: &Link, brane: BraneId, after: Seq) -> Result<Seq, StoreError> {
    link.in_session(async |session| {
        // The tail first: what leaves it meanwhile is found among the others.
        let tail = tail::find(link, session, brane).await?;
        let is_in_tail = tail.iter().any(|chunk| is_beyond(chunk, after));
        let first = tail.first().and_then(|first| rows::from_of(first).ok());
        match first.filter(|first| is_in_tail && *first <= after) {
            // Under this key the tail is found when it has gone among the others.
            Some(first) => Ok(first),
            None => begin_in(link, session, brane, after).await,
        }
    })
    .await
}

/// The same, as this session sees it, where nothing is in the tail.
pub(super) async fn begin_in(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
    after: Seq,
) -> Result<Seq, Failure> {
    let keys = doc! {"$gte": chunk_key(brane, Seq(0)), "$lte": chunk_key(brane, after)};
    let (sort, fields) = (doc! {"_id": -1}, doc! {"to": 1, PACK: 1});
    let query = Query { filter: doc! {"_id": keys}, sort, fields, limit: 1, ..Query::default() };
    let found = link.find(session, CHUNKS, query).await?;
    let holds = |found: &&Document| {
        let Ok(packed) = found.get_array(PACK) else { return is_beyond(found, after) };
        let is_readable = |last: &Bson| last.as_document().and_then(end_of).is_some();
        let mut chunks = packed.iter().filter_map(Bson::as_document);
        // What cannot be read at its end is what comes next.
        !packed.last().is_some_and(is_readable) || chunks.any(|chunk| is_beyond(chunk, after))
    };
    let found = found.first().filter(holds);
    Ok(found.and_then(|found| rows::from_of(found).ok()).unwrap_or(after))
}

/// Whether a chunk goes on after an edit, by its key or its end.
fn is_beyond(chunk: &Document, after: Seq) -> bool {
    rows::from_of(chunk).is_ok_and(|from| from >= after)
        || end_of(chunk).is_some_and(|end| end > after)
}

/// Some chunks of a brane, from this key on, about so many bytes at most, and
/// the key from which to go on if there may be more. Of a pack those that end
/// by `after` are left out.
async fn chunks(
    link: &Link,
    brane: BraneId,
    from: Seq,
    after: Seq,
    max_bytes: usize,
) -> Result<(Vec<Found>, Option<Seq>), StoreError> {
    let (filter, sort, limit) = (chunks_from(brane, from), doc! {"_id": 1}, BITE_CHUNKS);
    let query = Query { filter, sort, limit, max_bytes, ..Query::default() };
    let (found, tail) = tail::follow(link, brane, query).await?;
    let bytes: usize = found.iter().map(body_length).sum();
    let is_full = found.len() == BITE_CHUNKS as usize || bytes >= max_bytes;
    let is_over = |chunk: &Document| rows::from_of(chunk).is_ok() && !is_beyond(chunk, after);
    let key = found.last().map(|last| rows::from_of(last).unwrap_or(from));
    let found: Vec<_> = found.into_iter().flat_map(|found| unpack(found, brane)).collect();
    // What has left the tail meanwhile is among the others.
    let last = found.last().map(|last| rows::from_of(last).unwrap_or(from));
    let follows = |found: &Document| {
        let is_later = rows::from_of(found).map_or(true, |at| last.is_none_or(|last| at > last));
        is_later && rows::number(found, "to").map_or(true, |to| to > from.0)
    };
    let tail = tail.into_iter().filter(|found| !is_full && follows(found));
    let mut chunks = Vec::new();
    for found in found.into_iter().chain(tail).filter(|chunk| !is_over(chunk)) {
        let broken = |why| damaged(Place::File(format!("{CHUNKS} of brane {brane}")), why);
        let mut rest = Vec::new();
        if found.contains_key("pieces") {
            let from = rows::from_of(&found).map_err(broken)?;
            rest = pieces(link, brane, from).await?;
        }
        chunks.push(Found::read(found, &rest, brane).map_err(broken)?);
    }
    let next = key.filter(|_| is_full).map(Seq::next);
    Ok((chunks, next))
}

/// How many chunks are stored of a brane, and the length of their bodies.
pub(super) async fn measure(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
) -> Result<(u64, u64), Failure> {
    let packed = format!("${PACK}");
    let size = doc! {"$toLong": {"$size": &packed}};
    let chunks = doc! {"$cond": [{"$isArray": &packed}, size, 1_i64]};
    let bytes = doc! {"$ifNull": ["$bytes", {"$sum": format!("{packed}.bytes")}]};
    let sums = doc! {"_id": Bson::Null, "chunks": {"$sum": chunks}, "bytes": {"$sum": bytes}};
    let stages = [doc! {"$match": chunks_from(brane, Seq(0))}, doc! {"$group": sums}];
    let mut found = link.collection(CHUNKS).aggregate(stages).session(&mut *session).await?;
    let Some(found) = found.next(session).await.transpose()? else { return Ok((0, 0)) };
    let broken = |why| damaged(Place::File(format!("{CHUNKS} of brane {brane}")), why);
    let number = |key| rows::number(&found, key).map_err(broken);
    Ok((number("chunks")?, number("bytes")?))
}

/// What further documents hold of a long chunk.
async fn pieces(link: &Link, brane: BraneId, from: Seq) -> Result<Vec<Bytes>, StoreError> {
    let key = |piece: i64| {
        let mut key = chunk_key(brane, from);
        key.insert("piece", piece);
        key
    };
    let filter = doc! {"_id": {"$gte": key(0), "$lte": key(i64::MAX)}};
    let query = Query { filter, sort: doc! {"_id": 1}, ..Query::default() };
    let found = link.many(CHUNK_RESTS, query).await?;
    // One that is missing or wrong does not fit the chunk's checksum.
    Ok(found.into_iter().filter_map(|mut rest| rows::bytes(&mut rest, "body").ok()).collect())
}

/// A stretch of a brane's journal.
pub(super) async fn stretch(
    link: &Link,
    brane: BraneId,
    after: Seq,
    max_bytes: usize,
) -> Result<Vec<Chunk>, StoreError> {
    let head = current_head(link, brane).await?;
    // Stops where the budget ends; what is read beyond it is a bite at most.
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut at = Some(begin(link, brane, after).await?);
    while let Some(from) = at.filter(|_| bytes <= max_bytes && after < head.seq) {
        // One byte more than fits: then it is known that no more does.
        let room = (max_bytes - bytes + 1).min(BITE_BYTES);
        let (some, next) = chunks(link, brane, from, after, room).await?;
        bytes += some.iter().flat_map(|found| &found.chunk).map(|c| c.body.len()).sum::<usize>();
        found.extend(some);
        at = next;
    }
    let covered = outline(link, brane).await?.covered();
    let mut chain = Chain::new(brane, after, head.seq, covered, max_bytes);
    for Found { to, chunk, .. } in found {
        if !chain.take(to, chunk)? {
            break;
        }
    }
    chain.finish()
}

/// A bite of a scan.
pub(super) struct Bite {
    /// The chunks, each with the length of its body.
    pub(super) links: Vec<(Chained, usize)>,
    /// The key from which the next bite begins; `None` when there is no more.
    pub(super) next: Option<Seq>,
}

/// A bite of a scan of a brane's chunks that goes beyond `after`.
pub(super) async fn bite(
    link: &Link,
    brane: BraneId,
    from: Seq,
    after: Seq,
) -> Result<Bite, StoreError> {
    let (found, next) = chunks(link, brane, from, after, BITE_BYTES).await?;
    let links = found.into_iter().map(|Found { from, to, chunk }| match chunk {
        Ok(chunk) => (Chained::Good { epoch: chunk.epoch, from, to }, chunk.body.len()),
        Err(why) => (Chained::Bad { from, to, why }, 0),
    });
    Ok(Bite { links: links.collect(), next })
}

/// The newest tails that openings of a brane cut, oldest first.
pub(super) async fn cuts(link: &Link, brane: BraneId) -> Result<Vec<Cut>, StoreError> {
    let key = |epoch: i64| doc! {"brane": brane.to_string(), "epoch": epoch};
    let filter = doc! {"_id": {"$gte": key(0), "$lte": key(i64::MAX)}};
    let limit = MAX_DAMAGES as u32;
    let query = Query { filter, sort: doc! {"_id": -1}, limit, ..Query::default() };
    let found = link.many(CUTS, query).await?;
    found.iter().rev().map(|found| rows::cut(found, brane)).collect()
}

/// A part of a finished snapshot.
pub(super) async fn part(
    link: &Link,
    brane: BraneId,
    snapshot: SnapshotId,
    index: u32,
) -> Result<Bytes, StoreError> {
    let owner = brane.to_string();
    let filter = doc! {"_id": long(snapshot.0), "brane": &owner, "state": "finished"};
    let entry = || Query { filter: filter.clone(), ..Query::default() };
    let Some(found) = link.one(SNAPSHOTS, entry()).await? else {
        self::brane(link, brane).await?;
        return Err(StoreError::UnknownSnapshot { brane, snapshot });
    };
    if index >= rows::snapshot(&found, brane)?.parts {
        return Err(StoreError::UnknownSnapshot { brane, snapshot });
    }
    let query = Query { filter: doc! {"_id": part_key(snapshot, index)}, ..Query::default() };
    let place = || Place::Part { brane, snapshot, index };
    let Some(mut found) = link.one(PARTS, query).await? else {
        // It may have been deleted with its snapshot meanwhile.
        return Err(match link.one(SNAPSHOTS, entry()).await? {
            Some(_) => damaged(place(), "missing"),
            None => StoreError::UnknownSnapshot { brane, snapshot },
        });
    };
    let read =
        |found: &mut Document| Ok((rows::bytes(found, "body")?, rows::number(found, "checksum")?));
    let (body, sum) = read(&mut found).map_err(|why: String| damaged(place(), why))?;
    if checksum::part(brane, snapshot, index, &body) != sum {
        return Err(damaged(place(), "its checksum is wrong"));
    }
    Ok(body)
}

/// A value of the server's own.
pub(super) async fn meta(link: &Link, key: &str) -> Result<Option<Bytes>, StoreError> {
    let query = Query { filter: doc! {"_id": key}, ..Query::default() };
    let Some(mut found) = link.one(META, query).await? else { return Ok(None) };
    let place = || Place::Meta(key.to_owned());
    let sum = rows::number(&found, "checksum").map_err(|why| damaged(place(), why))?;
    let value = rows::bytes(&mut found, "value").map_err(|why| damaged(place(), why))?;
    match rows::meta_checksum(key, &value) == sum {
        true => Ok(Some(value)),
        false => Err(damaged(place(), "its checksum is wrong")),
    }
}
