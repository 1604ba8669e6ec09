//! Records: a collection for each kind, a document for each record.
//!
//! `records.users` holds the users, under their keys, with a field for each
//! field. The keys of their indexes are documents of `record_entries`, whose
//! own key is what they are listed by; one of a unique index leaves its record
//! out of it, so that there cannot be two. What came of a commit is a document
//! of `record_commits`, written in the commit's transaction.

mod commit;
#[cfg(feature = "testing")]
pub(super) mod fuzzing;
mod guard;
mod import;
mod list;
mod rows;
mod sweep;
mod verify;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mongodb::bson::doc;

pub(super) use rows::{COMMITS, ENTRIES};
pub(super) use verify::verify;

use super::MongoStore;
use super::link::{Link, Query as Find};
use super::schema;
use crate::error::StoreError;
use crate::records::{
    Collection, Commit, CommitOutcome, Prepared, Query, Record, RecordKey, RecordPage, Records,
    StoredRecord, SweepPlace, Swept, check_keys, check_query, live,
};
use crate::share::Share;
use crate::store::BoxFuture;

/// Collections that are known to be there.
#[derive(Default)]
pub(super) struct Made(Mutex<BTreeSet<String>>);

impl Made {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the collections of records where they are missing, with their
    /// indexes: no transaction has to.
    async fn make<'a>(
        &self,
        link: &Link,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<(), StoreError> {
        let missing: BTreeSet<&str> = {
            let made = self.lock();
            names.filter(|name| !made.contains(*name)).collect()
        };
        for name in missing {
            schema::make_records(link, &rows::collection(name)).await?;
            self.lock().insert(name.to_owned());
        }
        Ok(())
    }
}

impl MongoStore {
    async fn commit_records(&self, commit: &Prepared) -> Result<CommitOutcome, StoreError> {
        let names = commit.writes.iter().map(|write| write.id.0.as_str());
        self.made.make(&self.link, names).await?;
        self.link.transact(&commit::Group::new(commit)).await
    }

    /// What a migration brings.
    pub(super) async fn put_records(&self, records: &[StoredRecord]) -> Result<(), StoreError> {
        self.made.make(&self.link, records.iter().map(|record| record.of.as_str())).await?;
        self.link.transact(&import::Arrivals { records }).await
    }
}

type Found = Result<Option<Arc<Record>>, StoreError>;

impl Records for MongoStore {
    fn get(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<Record>>, StoreError>> {
        Box::pin(async move {
            let find = Find { filter: doc! {"_id": key.as_str()}, ..Find::default() };
            let found = self.link.one(&rows::collection(of.name), find).await?;
            let found = found.map(|found| rows::stored(of.name, found)).transpose()?;
            Ok(found.and_then(|found| live(found, now_s)))
        })
    }

    fn get_many(
        &self,
        of: &'static Collection,
        keys: Vec<RecordKey>,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        Box::pin(async move {
            check_keys(&keys)?;
            let found = list::by_keys(&self.link, of.name, keys.iter()).await?;
            let get = |key: &RecordKey| match found.get(key) {
                None => Ok(None),
                Some(Ok(found)) => Ok(live(found.clone(), now_s)),
                Some(Err(error)) => Err(error.clone()),
            };
            Ok(keys.iter().map(get).collect())
        })
    }

    fn list(
        &self,
        of: &'static Collection,
        query: Query,
        now_s: u64,
    ) -> BoxFuture<'_, Result<RecordPage, StoreError>> {
        Box::pin(async move {
            check_query(of, &query)?;
            self.link.transact(&list::Listing { of, query: &query, now_s }).await
        })
    }

    fn commit(
        &self,
        commit: Commit,
        now_s: u64,
    ) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        Box::pin(async move {
            match commit.prepare(now_s)? {
                Ok(commit) => self.commit_records(&commit).await,
                Err(refusal) => Ok(Err(refusal)),
            }
        })
    }

    fn sweep(
        &self,
        now_s: u64,
        from: SweepPlace,
        limit: u32,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        Box::pin(async move {
            let share = self.share().await?;
            if !share.as_ref().is_none_or(Share::has_the_whole) {
                return Ok(Swept::default());
            }
            let collections = list::collections(&self.link).await?;
            self.link.transact(&sweep::Sweep { collections, now_s, from, limit }).await
        })
    }

    fn scan(
        &self,
        after: Option<(String, RecordKey)>,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>> {
        Box::pin(async move { list::scan(&self.link, after).await })
    }
}
