//! Retention: a long walk in short steps.
//!
//! Any process may do it, also several at once: what may go is judged from
//! what is stored, and each bite is a transaction of its own. The nodes of a
//! fleet share the branes out, see [`Share`].

use avvy_model::{BraneId, NodeId, Seq};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::fault::Failure;
use super::link::{Link, Query, Work};
use super::pack::{self, PACK, end_of, unpack};
use super::reader::{self, Snapshots};
use super::rows::{
    self, BRANES, CHUNK_RESTS, CHUNKS, COMPACTED, HOLDER, Head, chunk_key, chunks_from,
};
use super::snapshots::{delete, doom, sweep};
use super::tail;
use crate::error::StoreError;
use crate::report::{CompactPolicy, Compaction};
use crate::share::Share;
use crate::upkeep::{self, Bite, Bites, Bitten, HeldUp, skip_damaged};

/// Branes listed in one step.
const STEP: u32 = 256;
/// Documents of chunks looked at in one bite.
const BITE_CHUNKS: u32 = 256;
/// Bytes of chunks deleted in one bite.
const BITE_BYTES: u64 = 1 << 20;

/// Deletes what the policy lets go, of the part of a fleet's branes that is
/// this node's.
pub(super) async fn compact(
    link: &Link,
    policy: CompactPolicy,
    share: Option<&Share>,
) -> Result<Compaction, StoreError> {
    let mut done = Compaction::default();
    let before_ms = policy.now_ms.saturating_sub(policy.retention_ms);
    let (mut after, mut held_up) = (String::new(), HeldUp::default());
    loop {
        let (some, last) = some_branes(link, &after).await?;
        for Listed { brane, holder } in some {
            let is_ours = |brane| share.is_none_or(|share| share.has(brane, holder));
            let result = match brane {
                Some(brane) if !is_ours(brane) => continue,
                Some(brane) => {
                    let result = compact_brane(link, brane, policy, before_ms, &mut done).await;
                    held_up.skip(brane, result)
                }
                None => Err(rows::damaged(
                    crate::error::Place::File(BRANES.into()),
                    "the key of a document is no id",
                )),
            };
            skip_damaged(result, &mut done)?;
        }
        let Some(last) = last else { break };
        after = last;
    }
    let cap = policy.max_journal_bytes;
    if let Some(cap) = cap.filter(|_| share.is_none_or(Share::has_the_whole)) {
        upkeep::cut_to(link, cap, policy.keep_snapshots, &mut held_up, &mut done).await?;
    }
    Ok(done)
}

/// A brane, and who holds it.
pub(super) struct Listed {
    /// `None`: its key is no id.
    pub(super) brane: Option<BraneId>,
    holder: Option<NodeId>,
}

/// Some branes after a key, and the last key if there may be more.
pub(super) async fn some_branes(
    link: &Link,
    after: &str,
) -> Result<(Vec<Listed>, Option<String>), StoreError> {
    let (filter, sort) = (doc! {"_id": {"$gt": after}}, doc! {"_id": 1});
    let fields = doc! {"_id": 1, HOLDER: 1};
    let query = Query { filter, sort, fields, limit: STEP, ..Query::default() };
    let found = link.many(BRANES, query).await?;
    let key = |found: &Document| found.get_str("_id").ok().map(str::to_owned);
    let last = found.last().filter(|_| found.len() == STEP as usize).and_then(key);
    let listed = |found: &Document| Listed {
        brane: found.get_str("_id").ok().and_then(|id| id.parse().ok()),
        holder: found.get_str(HOLDER).ok().and_then(|id| id.parse().ok()),
    };
    Ok((found.iter().map(listed).collect(), last))
}

async fn compact_brane(
    link: &Link,
    brane: BraneId,
    policy: CompactPolicy,
    before_ms: u64,
    done: &mut Compaction,
) -> Result<(), StoreError> {
    let keep = policy.keep_snapshots.max(1);
    let outline = reader::outline(link, brane).await?;
    sweep(link, brane, outline.head.epoch).await?;
    let old = outline.snapshots.all_whole()?.into_iter().skip(keep as usize);
    for info in old {
        if doom(link, info.id, "finished").await? {
            done.snapshots += 1;
            delete(link, info.id).await?;
        }
    }
    let bite = Bite { brane, keep, before_ms, wanted: u64::MAX };
    upkeep::bite_off(link, bite, done).await
}

impl Bites for Link {
    async fn bite(&self, bite: Bite) -> Result<Bitten, StoreError> {
        let due = self.in_session(async |session| look(self, session, bite).await).await?;
        if due.chunks.is_empty() {
            return Ok(due.bitten);
        }
        self.transact(&bite).await
    }

    async fn longest(&self) -> Result<(u64, Vec<BraneId>), StoreError> {
        self.in_session(async |session| {
            let branes = self.collection(BRANES);
            let all = doc! {"$group": {"_id": Bson::Null, "bytes": {"$sum": "$bytes"}}};
            let mut sums = branes.aggregate([all]).session(&mut *session).await?;
            let sum = sums.next(session).await.transpose()?;
            let sum = sum.map_or(0, |sum| rows::number(&sum, "bytes").unwrap_or_default());
            let (sort, fields) = (doc! {"bytes": -1}, doc! {"_id": 1});
            let query = Query { sort, fields, limit: STEP, ..Query::default() };
            let found = self.find(session, BRANES, query).await?;
            let ids = found.iter().filter_map(|found| found.get_str("_id").ok()?.parse().ok());
            Ok((sum, ids.collect()))
        })
        .await
    }
}

impl Work for Bite {
    type Answer = Bitten;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Bitten, Failure> {
        let old = reader::head(link, session, self.brane).await?;
        // Written before all else, as what continues the brane meanwhile would
        // have it all done again, and a busy brane for ever.
        let begun = (old.filter(self.brane), doc! {"$currentDate": {COMPACTED: true}});
        if !link.update(session, BRANES, vec![begun]).await? {
            return Err(Failure::Again);
        }
        let Due { bitten, chunks: due, is_in_tail } = look(link, session, *self).await?;
        if is_in_tail {
            tail::settle(link, session, self.brane, old.filter(self.brane)).await?;
        }
        let Some(last) = due.last() else { return Ok(bitten) };
        if let Some(end) = end_of(last) {
            pack::split(link, session, self.brane, end).await?;
        }
        let range = doc! {"$gte": chunk_key(self.brane, Seq(0)), "$lte": last["_id"].clone()};
        let range = doc! {"_id": range};
        let gone = link.collection(CHUNKS).delete_many(range).session(&mut *session).await?;
        link.writes().command(usize::try_from(gone.deleted_count).unwrap_or(usize::MAX), 0);
        for chunk in due.iter().filter(|chunk| chunk.contains_key("pieces")) {
            let from = rows::from_of(chunk).unwrap_or_default();
            let key = |piece: i64| {
                let mut key = chunk_key(self.brane, from);
                key.insert("piece", piece);
                key
            };
            let rest = doc! {"_id": {"$gte": key(0), "$lte": key(i64::MAX)}};
            link.collection(CHUNK_RESTS).delete_many(rest).session(&mut *session).await?;
        }
        let new = Head {
            chunks: old.chunks.saturating_sub(bitten.chunks),
            bytes: old.bytes.saturating_sub(bitten.bytes),
            ..old
        };
        let statement = (old.filter(self.brane), doc! {"$set": new.document(self.brane)});
        if !link.update(session, BRANES, vec![statement]).await? {
            return Err(Failure::Again);
        }
        Ok(bitten)
    }
}

/// What from the front of a journal is due.
struct Due {
    bitten: Bitten,
    chunks: Vec<Document>,
    /// Whether some of it is in the tail.
    is_in_tail: bool,
}

/// Looks for what is due, as this session sees it.
async fn look(link: &Link, session: &mut ClientSession, bite: Bite) -> Result<Due, Failure> {
    let all = Snapshots::read(link, session, bite.brane).await?.all_whole()?;
    let covered = all.get(bite.keep.max(1) as usize - 1).map_or(Seq(0), |info| info.at);
    let (filter, sort) = (chunks_from(bite.brane, Seq(0)), doc! {"_id": 1});
    let mut fields = doc! {"to": 1, "at": 1, "bytes": 1, "pieces": 1};
    for key in ["_id", "to", "at", "bytes"] {
        fields.insert(format!("{PACK}.{key}"), 1);
    }
    let query = Query { filter, sort, fields, limit: BITE_CHUNKS, ..Query::default() };
    let found = link.find(session, CHUNKS, query).await?;
    let is_full = found.len() == BITE_CHUNKS as usize;
    let mut chunks: Vec<_> =
        found.into_iter().flat_map(|found| unpack(found, bite.brane)).collect();
    let count = chunks.len();
    if !is_full {
        chunks.extend(tail::find(link, session, bite.brane).await?);
    }
    let mut bitten = due(bite, &chunks, covered);
    if bitten.chunks == chunks.len() as u64 {
        bitten.more = is_full;
    }
    chunks.truncate(usize::try_from(bitten.chunks).unwrap_or(usize::MAX));
    let is_in_tail = chunks.len() > count;
    Ok(Due { bitten, chunks, is_in_tail })
}

/// How much from the front is due.
fn due(bite: Bite, found: &[Document], covered: Seq) -> Bitten {
    let wanted = bite.wanted.min(BITE_BYTES);
    let mut bitten = Bitten::default();
    for chunk in found {
        let at = chunk.get_datetime("at").map(|at| at.timestamp_millis().cast_unsigned());
        let to = rows::number(chunk, "to").unwrap_or(u64::MAX);
        let is_due = to <= covered.0 && at.is_ok_and(|at| at < bite.before_ms);
        if !is_due || bitten.bytes >= wanted {
            bitten.more = is_due;
            break;
        }
        bitten.chunks += 1;
        bitten.bytes += rows::number(chunk, "bytes").unwrap_or_default();
    }
    bitten
}
