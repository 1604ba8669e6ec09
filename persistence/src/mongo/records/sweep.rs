//! Removes what has expired, in one transaction.

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::super::fault::Failure;
use super::super::link::{Link, Query, Work};
use super::commit::delete_entries;
use super::rows::{self, COMMITS};
use crate::records::{COMMIT_MEMORY_S, MAX_SWEPT, SweepPlace, Swept};

pub(super) struct Sweep {
    /// In the order of their names.
    pub(super) collections: Vec<String>,
    pub(super) now_s: u64,
    pub(super) from: SweepPlace,
    pub(super) limit: u32,
}

impl Work for Sweep {
    type Answer = Swept;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Swept, Failure> {
        let limit = u64::from(self.limit.clamp(1, MAX_SWEPT));
        let (mut swept, mut at) = (Swept::default(), self.from.clone());
        for of in self.collections.iter().filter(|of| **of >= self.from.of) {
            if *of != at.of {
                at = SweepPlace { of: of.clone(), passed: 0 };
            }
            let left = (limit - swept.records, limit - swept.damaged);
            let (gone, damaged) = self.remove(link, session, &at, left).await?;
            swept.records += gone;
            swept.damaged += damaged;
            at.passed += damaged;
            if [swept.records, swept.damaged].contains(&limit) {
                break;
            }
        }
        swept.commits = self.forget(link, session, limit as u32).await?;
        let is_full = [swept.records, swept.damaged, swept.commits].contains(&limit);
        swept.next = is_full.then_some(at);
        Ok(swept)
    }
}

impl Sweep {
    /// Removes so many of one kind at most, and passes so many damaged ones.
    async fn remove(
        &self,
        link: &Link,
        session: &mut ClientSession,
        SweepPlace { of, passed }: &SweepPlace,
        (limit, may_pass): (u64, u64),
    ) -> Result<(u64, u64), Failure> {
        let collection = link.collection(&rows::collection(of));
        let over = collection.find(doc! {"expires": {"$lte": rows::date(self.now_s)}});
        let over = over.sort(doc! {"expires": 1}).skip(*passed).limit((limit + may_pass) as i64);
        let mut over = over.session(&mut *session).await?;
        let (mut gone, mut damaged, mut entries) = (Vec::new(), 0, Vec::<Document>::new());
        while (gone.len() as u64) < limit
            && damaged < may_pass
            && let Some(found) = over.next(session).await
        {
            // What is damaged was named when it was read or verified.
            let Ok(found) = rows::stored(of, found?) else {
                damaged += 1;
                continue;
            };
            let id = (found.of.clone(), found.record.key.clone());
            entries.extend(found.entries.iter().map(|entry| rows::key_of_entry(&id, entry)));
            gone.push(id.1.to_string());
        }
        if gone.is_empty() {
            return Ok((0, damaged));
        }
        delete_entries(link, session, &entries).await?;
        link.writes().command(gone.len(), 0);
        let count = gone.len() as u64;
        let delete = collection.delete_many(doc! {"_id": {"$in": gone}});
        match delete.session(session).await?.deleted_count == count {
            true => Ok((count, damaged)),
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
