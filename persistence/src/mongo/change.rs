//! Changes of a brane's record, and its end.
//!
//! A change *writes* the brane's document as an opening does, so of the two one
//! sees the other. The first step of a purge is one transaction after which
//! nothing of the brane can be seen: its head is that of an empty journal under
//! the next epoch. What is left is deleted bite by bite, and the tombstone set
//! last.

use avvy_model::{BraneId, NodeId, Seq};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::fault::Failure;
use super::fleet;
use super::link::{Link, Query, Work};
use super::reader;
use super::rows::{
    BRANES, CHUNK_RESTS, CHUNKS, CUT_CHUNKS, CUTS, Head, LINEAGES, OBJECT_VIEWS, OBJECTS,
    SNAPSHOTS, TAIL, chunks_from, hold_change, record_change,
};
use super::snapshots::sweep;
use crate::error::StoreError;
use crate::hold::Hold;
use crate::life::Purge;
use crate::record::BraneRecord;

/// Documents deleted in one step: chunks may have megabytes, the others have
/// little.
const BITE_CHUNKS: u32 = 64;
const BITE_OBJECTS: u32 = 500;

/// Changes a brane's record, for a node.
pub(super) async fn update(
    link: &Link,
    record: BraneRecord,
    was: u64,
    node: Option<NodeId>,
) -> Result<(), StoreError> {
    record.check()?;
    link.transact(&Update { record, was, node }).await
}

struct Update {
    record: BraneRecord,
    was: u64,
    /// `None`: a store that is part of no fleet.
    node: Option<NodeId>,
}

impl Work for Update {
    type Answer = ();

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<(), Failure> {
        let brane = self.record.id;
        let there = reader::record_in(link, session, brane).await?;
        let (head, hold) = fleet::head_and_hold(link, session, brane).await?;
        if !there.becomes(&self.record, self.was)? {
            return Ok(());
        }
        let changes = match hold.in_the_way_of(self.node) {
            None => vec![(head.filter(brane), record_change(&self.record, Document::new()))],
            Some(holder) => {
                fleet::outlive(link, session, holder).await?;
                // Its holder has to hear of this.
                let next = Head { epoch: head.epoch.next(), ..head };
                freed(&self.record, &head, &next)
            }
        };
        match link.update(session, BRANES, changes).await? {
            true => Ok(()),
            false => Err(Failure::Again),
        }
    }
}

/// The statements that change a brane's record and head, and have nobody hold it.
fn freed(record: &BraneRecord, old: &Head, new: &Head) -> Vec<(Document, Document)> {
    let brane = record.id;
    let changed = (old.filter(brane), record_change(record, new.document(brane)));
    let free = (new.filter(brane), hold_change(&Hold::default(), Document::new()));
    vec![changed, free]
}

/// Begins a purge or goes on with it: the head from then on, `None` if it is
/// done.
pub(super) async fn begin_purge(
    link: &Link,
    brane: BraneId,
    now_ms: u64,
) -> Result<Option<Head>, StoreError> {
    link.transact(&Begin { brane, now_ms }).await
}

/// Purges a brane.
pub(super) async fn purge(link: &Link, brane: BraneId, now_ms: u64) -> Result<(), StoreError> {
    let Some(head) = begin_purge(link, brane, now_ms).await? else { return Ok(()) };
    sweep(link, brane, head.epoch).await?;
    let owner = brane.to_string();
    for (collection, filter, limit) in [
        (CHUNKS, chunks_from(brane, Seq(0)), BITE_CHUNKS),
        (CHUNK_RESTS, chunks_from(brane, Seq(0)), 1),
        (CUT_CHUNKS, doc! {"_id.chunk.brane": &owner}, BITE_CHUNKS),
        (OBJECTS, doc! {"brane": &owner}, BITE_OBJECTS),
        (OBJECT_VIEWS, doc! {"_id": &owner}, 1),
    ] {
        while delete_bite(link, collection, filter.clone(), limit).await? {}
    }
    link.transact(&End { brane }).await
}

/// Deletes some of what is found; false if nothing is.
async fn delete_bite(
    link: &Link,
    collection: &str,
    filter: Document,
    limit: u32,
) -> Result<bool, StoreError> {
    let query = Query { filter, fields: doc! {"_id": 1}, limit, ..Query::default() };
    let found = link.many(collection, query).await?;
    let keys: Vec<Bson> = found.into_iter().filter_map(|mut one| one.remove("_id")).collect();
    if keys.is_empty() {
        return Ok(false);
    }
    link.in_session(async |session| {
        let bite = doc! {"_id": {"$in": keys}};
        let collection = link.collection(collection);
        Ok(collection.delete_many(bite).session(session).await.map(|_| true)?)
    })
    .await
}

/// The first step of a purge.
struct Begin {
    brane: BraneId,
    now_ms: u64,
}

impl Work for Begin {
    type Answer = Option<Head>;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Option<Head>, Failure> {
        let brane = self.brane;
        let there = reader::record_in(link, session, brane).await?;
        let (old, hold) = fleet::head_and_hold(link, session, brane).await?;
        let record = match there.purge(self.now_ms)? {
            Purge::Begins(record) => record,
            Purge::GoesOn => return Ok(Some(old)),
            Purge::Done => return Ok(None),
        };
        if let Some(holder) = hold.in_the_way_of(None) {
            fleet::outlive(link, session, holder).await?;
        }
        let owner = brane.to_string();
        let cut = |epoch: i64| doc! {"brane": &owner, "epoch": epoch};
        let cuts = doc! {"_id": {"$gte": cut(0), "$lte": cut(i64::MAX)}};
        link.collection(CUTS).delete_many(cuts).session(&mut *session).await?;
        let lineage = doc! {"_id": &owner};
        link.collection(LINEAGES).delete_one(lineage).session(&mut *session).await?;
        let (all, doomed) = (doc! {"brane": &owner}, doc! {"$set": {"state": "doomed"}});
        link.collection(SNAPSHOTS).update_many(all, doomed).session(&mut *session).await?;
        let new = Head { epoch: old.epoch.next(), ..Head::default() };
        let mut changes = freed(&record, &old, &new);
        changes.push((new.filter(brane), doc! {"$unset": {TAIL: ""}}));
        match link.update(session, BRANES, changes).await? {
            true => Ok(Some(new)),
            false => Err(Failure::Again),
        }
    }
}

/// Sets the tombstone.
struct End {
    brane: BraneId,
}

impl Work for End {
    type Answer = ();

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<(), Failure> {
        let brane = self.brane;
        let there = reader::record_in(link, session, brane).await?;
        let head = reader::head(link, session, brane).await?;
        let Some(record) = there.tombstone() else { return Ok(()) };
        let change = record_change(&record, Document::new());
        match link.update(session, BRANES, vec![(head.filter(brane), change)]).await? {
            true => Ok(()),
            false => Err(Failure::Again),
        }
    }
}
