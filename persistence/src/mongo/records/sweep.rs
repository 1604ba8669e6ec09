//! Removes what has expired, in one transaction.

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::super::fault::Failure;
use super::super::link::{Link, Query, Work};
use super::commit::delete_entries;
use super::rows::{self, COMMITS};
use crate::records::{COMMIT_MEMORY_S, MAX_SWEPT, Swept};

/// Damaged records that one sweep passes over, at most.
const MAX_PASSED: u32 = 1_000;

pub(super) struct Sweep {
    pub(super) collections: Vec<String>,
    pub(super) now_s: u64,
    pub(super) limit: u32,
}

impl Work for Sweep {
    type Answer = Swept;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Swept, Failure> {
        let limit = u64::from(self.limit.clamp(1, MAX_SWEPT));
        let mut swept = Swept::default();
        for of in &self.collections {
            let left = limit - swept.records;
            if left > 0 {
                swept.records += self.remove(link, session, of, left).await?;
            }
        }
        swept.commits = self.forget(link, session, limit as u32).await?;
        swept.more = swept.records == limit || swept.commits == limit;
        Ok(swept)
    }
}

impl Sweep {
    /// Removes so many of one kind at most, but for damaged ones.
    async fn remove(
        &self,
        link: &Link,
        session: &mut ClientSession,
        of: &str,
        limit: u64,
    ) -> Result<u64, Failure> {
        let collection = link.collection(&rows::collection(of));
        let over = collection.find(doc! {"expires": {"$lte": rows::date(self.now_s)}});
        let over = over.sort(doc! {"expires": 1}).limit(limit as i64 + i64::from(MAX_PASSED));
        let mut over = over.session(&mut *session).await?;
        let (mut gone, mut entries) = (Vec::new(), Vec::<Document>::new());
        while (gone.len() as u64) < limit
            && let Some(found) = over.next(session).await
        {
            // What is damaged was named when it was read or verified.
            let Ok(found) = rows::stored(of, found?) else { continue };
            let id = (found.of.clone(), found.record.key.clone());
            entries.extend(found.entries.iter().map(|entry| rows::key_of_entry(&id, entry)));
            gone.push(id.1.to_string());
        }
        if gone.is_empty() {
            return Ok(0);
        }
        delete_entries(link, session, &entries).await?;
        link.writes().command(gone.len(), 0);
        let count = gone.len() as u64;
        let delete = collection.delete_many(doc! {"_id": {"$in": gone}});
        match delete.session(session).await?.deleted_count == count {
            true => Ok(count),
            false => Err(Failure::Again),
        }
    }

    /// Forgets so many commits at most.
    async fn forget(
        &self,
        link: &Link,
        session: &mut ClientSession,
        limit: u32,
    ) -> Result<u64, Failure> {
        let Some(at_s) = self.now_s.checked_sub(COMMIT_MEMORY_S) else { return Ok(0) };
        let filter = doc! {"at": {"$lte": rows::date(at_s)}};
        let (sort, fields) = (doc! {"at": 1}, doc! {"_id": 1});
        let query = Query { filter, sort, fields, limit, ..Query::default() };
        let old = link.find(session, COMMITS, query).await?;
        let keys: Vec<Bson> = old.into_iter().filter_map(|mut old| old.remove("_id")).collect();
        if keys.is_empty() {
            return Ok(0);
        }
        link.writes().command(keys.len(), 0);
        let commits = link.collection(COMMITS);
        let delete = commits.delete_many(doc! {"_id": {"$in": keys}});
        Ok(delete.session(session).await?.deleted_count)
    }
}
