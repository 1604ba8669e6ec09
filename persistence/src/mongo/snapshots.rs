//! Writing snapshots, and giving them up.
//!
//! A snapshot's document goes from `writing` to `finished`, when it is seen,
//! or to `doomed`, when its parts may be deleted; each step is one change of
//! that document, so nothing is deleted that is seen. A process that ends
//! leaves what it was writing; that is given up when the brane has been opened
//! again, and never while another process may still be writing it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use avvy_model::{BraneId, Epoch};
use bytes::Bytes;
use mongodb::ClientSession;
use mongodb::bson::{Bson, doc};
use mongodb::options::{ReturnDocument, WriteConcern};

use super::fault::Failure;
use super::link::{Link, Query, Work};
use super::reader;
use super::rows::{self, BRANES, COUNTERS, PARTS, SNAPSHOTS, binary, long, part_key, parts_of};
use crate::checksum;
use crate::error::{Place, StoreError};
use crate::snapshot::{SnapshotId, SnapshotInfo, SnapshotStart};

/// Parts deleted in one step.
const BITE_PARTS: u32 = 64;

/// The snapshots that this process is writing, one of each brane at most.
#[derive(Default)]
pub(super) struct Writing(Mutex<HashMap<BraneId, Unfinished>>);

#[derive(Clone)]
struct Unfinished {
    id: SnapshotId,
    start: SnapshotStart,
    /// Length and checksum of each part that was put.
    parts: BTreeMap<u32, (u64, u64)>,
}

impl Writing {
    fn lock(&self) -> MutexGuard<'_, HashMap<BraneId, Unfinished>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, brane: BraneId, snapshot: SnapshotId) -> Option<Unfinished> {
        self.lock().get(&brane).filter(|unfinished| unfinished.id == snapshot).cloned()
    }

    fn forget(&self, brane: BraneId, snapshot: SnapshotId) -> bool {
        let mut all = self.lock();
        let is_it = all.get(&brane).is_some_and(|unfinished| unfinished.id == snapshot);
        is_it && all.remove(&brane).is_some()
    }

    /// Begins a snapshot.
    pub(super) async fn begin(
        &self,
        link: &Link,
        start: SnapshotStart,
    ) -> Result<SnapshotId, StoreError> {
        let SnapshotStart { brane, epoch, .. } = start;
        let current = reader::current_head(link, brane).await?.epoch;
        if epoch != current {
            return Err(StoreError::StaleEpoch { current });
        }
        let id = next_id(link).await?;
        link.in_session(async |session| {
            let snapshots = link.collection(SNAPSHOTS);
            let document = rows::begun(id, &start);
            Ok(snapshots.insert_one(document).session(session).await.map(drop)?)
        })
        .await?;
        let unfinished = Unfinished { id, start, parts: BTreeMap::new() };
        let old = self.lock().insert(brane, unfinished);
        if let Some(old) = old {
            give_up(link, old.id).await;
        }
        Ok(id)
    }

    /// Puts a part. It is durable with the snapshot.
    pub(super) async fn put(
        &self,
        link: &Link,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
        body: &Bytes,
    ) -> Result<(), StoreError> {
        let unknown = || StoreError::UnknownSnapshot { brane, snapshot };
        self.find(brane, snapshot).ok_or_else(unknown)?;
        let sum = checksum::part(brane, snapshot, index, body);
        let length = body.len() as u64;
        let part = doc! {
            "_id": part_key(snapshot, index),
            "bytes": long(length),
            "checksum": long(sum),
            "body": binary(body),
        };
        link.in_session(async |session| {
            let filter = doc! {"_id": part_key(snapshot, index)};
            let parts = link.collection(PARTS);
            link.writes().command(1, body.len() as u64);
            let put = parts.replace_one(filter, part).upsert(true);
            Ok(put.write_concern(WriteConcern::nodes(1)).session(session).await.map(drop)?)
        })
        .await?;
        let mut all = self.lock();
        let unfinished = all.get_mut(&brane).filter(|unfinished| unfinished.id == snapshot);
        unfinished.ok_or_else(unknown)?.parts.insert(index, (length, sum));
        Ok(())
    }

    /// Makes a snapshot durable, then seen.
    pub(super) async fn finish(
        &self,
        link: &Link,
        brane: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> Result<(), StoreError> {
        let Some(unfinished) = self.find(brane, snapshot) else {
            let (id, owner) = (long(snapshot.0), brane.to_string());
            let filter = doc! {"_id": id, "brane": owner, "state": "finished"};
            let found = link.one(SNAPSHOTS, Query { filter, ..Query::default() }).await?;
            let unknown = StoreError::UnknownSnapshot { brane, snapshot };
            return found.map(drop).ok_or(unknown);
        };
        // Before the transaction, as it takes the longer the more parts there are.
        let bytes = unfinished.measure(link, parts).await;
        link.transact(&Finish { unfinished, parts, bytes }).await?;
        self.forget(brane, snapshot);
        Ok(())
    }

    /// Gives up a snapshot that is not finished.
    pub(super) async fn abort(
        &self,
        link: &Link,
        brane: BraneId,
        snapshot: SnapshotId,
    ) -> Result<(), StoreError> {
        link.step(async { Ok(()) }).await?;
        if self.forget(brane, snapshot) {
            give_up(link, snapshot).await;
        }
        Ok(())
    }
}

/// Takes the next name of a snapshot.
async fn next_id(link: &Link) -> Result<SnapshotId, StoreError> {
    link.in_session(async |session| {
        let change = doc! {"$inc": {"last": 1_i64}};
        let counters = link.collection(COUNTERS);
        let next = counters.find_one_and_update(doc! {"_id": "snapshots"}, change);
        let next = next.upsert(true).return_document(ReturnDocument::After);
        let next = next.session(session).await?;
        let last = next.map(|counter| rows::number(&counter, "last"));
        let place = || Place::File(COUNTERS.into());
        match last {
            Some(Ok(last)) => Ok(SnapshotId(last)),
            Some(Err(why)) => Err(rows::damaged(place(), why).into()),
            None => Err(Failure::Again),
        }
    })
    .await
}

/// Makes a snapshot seen.
struct Finish {
    unfinished: Unfinished,
    parts: u32,
    /// What was measured of them.
    bytes: Result<u64, StoreError>,
}

impl Work for Finish {
    type Answer = ();

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<(), Failure> {
        let Self { unfinished: Unfinished { id, start, .. }, parts, ref bytes } = *self;
        let SnapshotStart { brane, epoch, at, taken_ms } = start;
        let head = reader::head(link, session, brane).await?;
        // Written, and not read alone, so that no opening comes in between; and
        // before all else, as what continues the brane meanwhile would have it
        // all done again, and a busy brane for ever.
        let seen = (head.filter(brane), doc! {"$set": {"snapshot": long(id.0)}});
        if !link.update(session, BRANES, vec![seen]).await? {
            return Err(Failure::Again);
        }
        let filter = doc! {"_id": long(id.0)};
        let query = Query { filter, limit: 1, ..Query::default() };
        let found = link.find(session, SNAPSHOTS, query).await?.into_iter().next();
        match found.as_ref().and_then(|found| found.get_str("state").ok()) {
            Some("writing") => {}
            // By an earlier attempt.
            Some("finished") => return Ok(()),
            _ => return Err(StoreError::UnknownSnapshot { brane, snapshot: id }.into()),
        }
        if epoch != head.epoch {
            return Err(StoreError::StaleEpoch { current: head.epoch }.into());
        }
        if at > head.seq {
            return Err(StoreError::SnapshotAhead { head: head.seq }.into());
        }
        let bytes = bytes.clone()?;
        let info = SnapshotInfo { id, epoch, at, parts, bytes, taken_ms };
        let change = doc! {"$set": rows::finished(brane, &info)};
        let snapshot = (doc! {"_id": long(id.0), "state": "writing"}, change);
        let is_done = link.update(session, SNAPSHOTS, vec![snapshot]).await?;
        if is_done { Ok(()) } else { Err(Failure::Again) }
    }
}

impl Unfinished {
    /// The length of all parts, if the majority has each as it was put. A part
    /// is written without waiting for other servers; when another became the
    /// primary since, it may be missing. What is there stays while the snapshot
    /// is being written.
    async fn measure(&self, link: &Link, expected: u32) -> Result<u64, StoreError> {
        let put = &self.parts;
        let joined = (0..).zip(put.keys()).take_while(|(nth, index)| nth == *index).count();
        let found = u32::try_from(joined).unwrap_or(u32::MAX);
        if found != expected || put.len() != joined {
            return Err(StoreError::SnapshotIncomplete { found, expected });
        }
        let (filter, sort) = (parts_of(self.id), doc! {"_id": 1});
        let fields = doc! {"bytes": 1, "checksum": 1};
        let query = Query { filter, sort, fields, ..Query::default() };
        let stored = link.many(PARTS, query).await?;
        let is_it = |stored: &mongodb::bson::Document, (length, sum): &(u64, u64)| {
            rows::number(stored, "bytes").as_ref() == Ok(length)
                && rows::number(stored, "checksum").as_ref() == Ok(sum)
        };
        let good = stored.iter().zip(put.values()).take_while(|(stored, put)| is_it(stored, put));
        let found = u32::try_from(good.count()).unwrap_or(u32::MAX);
        if found != expected || stored.len() != put.len() {
            return Err(StoreError::SnapshotIncomplete { found, expected });
        }
        Ok(put.values().map(|(length, _)| length).sum())
    }
}

/// Deletes a snapshot that is not wanted any more, unless it is seen. What
/// cannot be deleted now is left for a compaction.
pub(super) async fn give_up(link: &Link, snapshot: SnapshotId) {
    let result = async {
        if doom(link, snapshot, "writing").await? {
            delete(link, snapshot).await?;
        }
        Ok::<_, StoreError>(())
    };
    if let Err(error) = result.await {
        tracing::warn!(%snapshot, %error, "parts of a snapshot that was given up are left");
    }
}

/// Has a snapshot in this state never be seen again; false if it is in another.
pub(super) async fn doom(
    link: &Link,
    snapshot: SnapshotId,
    state: &str,
) -> Result<bool, StoreError> {
    link.in_session(async |session| {
        let filter = doc! {"_id": long(snapshot.0), "state": state};
        let doomed = doc! {"$set": {"state": "doomed"}};
        let snapshots = link.collection(SNAPSHOTS);
        let done = snapshots.update_one(filter, doomed).session(session).await?;
        Ok(done.matched_count == 1)
    })
    .await
}

/// Deletes a doomed snapshot: its parts, then its entry.
pub(super) async fn delete(link: &Link, snapshot: SnapshotId) -> Result<(), StoreError> {
    loop {
        let (filter, sort) = (parts_of(snapshot), doc! {"_id": 1});
        let query =
            Query { filter, sort, fields: doc! {"_id": 1}, limit: BITE_PARTS, ..Query::default() };
        let found = link.many(PARTS, query).await?;
        let keys: Vec<Bson> =
            found.into_iter().filter_map(|part| part.get("_id").cloned()).collect();
        if keys.is_empty() {
            break;
        }
        link.in_session(async |session| {
            let bite = doc! {"_id": {"$in": keys}};
            Ok(link.collection(PARTS).delete_many(bite).session(session).await.map(drop)?)
        })
        .await?;
    }
    link.in_session(async |session| {
        let filter = doc! {"_id": long(snapshot.0), "state": "doomed"};
        Ok(link.collection(SNAPSHOTS).delete_one(filter).session(session).await.map(drop)?)
    })
    .await
}

/// Deletes what is doomed of a brane, and what openings before this one were
/// writing.
pub(super) async fn sweep(link: &Link, brane: BraneId, epoch: Epoch) -> Result<(), StoreError> {
    let left = doc! {"$or": [
        {"state": "doomed"}, {"state": "writing", "epoch": {"$lt": long(epoch.0)}},
    ]};
    let filter = doc! {"$and": [{"brane": brane.to_string()}, left]};
    let query = Query { filter, fields: doc! {"state": 1}, ..Query::default() };
    for found in link.many(SNAPSHOTS, query).await? {
        let Ok(id) = rows::number(&found, "_id").map(SnapshotId) else { continue };
        let is_doomed = found.get_str("state").is_ok_and(|state| state == "doomed");
        if is_doomed || doom(link, id, "writing").await? {
            delete(link, id).await?;
        }
    }
    Ok(())
}
