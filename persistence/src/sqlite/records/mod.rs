//! Records, in the journal's file.
//!
//! One row a record, whose checksum covers its entries as well; one a key of an
//! index, which counts only as far as the record it names has it; one a commit,
//! for an hour. The thread that writes the journal writes them, in groups of
//! their own (see `group`).

mod group;
mod read;
mod rows;
mod sweep;
mod verify;
mod write;

use std::sync::Arc;

pub(super) use group::Waiting;

use super::reader::Reader;
use super::start::SqliteStore;
use super::worker::Lane;
use crate::error::StoreError;
use crate::records::{
    Collection, Commit, CommitOutcome, Query, Record, RecordKey, RecordPage, Records, StoredRecord,
    SweepPlace, Swept, check_keys, check_query, live,
};
use crate::store::BoxFuture;

impl Records for SqliteStore {
    fn get(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<Record>>, StoreError>> {
        Box::pin(self.readers.call(Lane::Urgent, move |reader| {
            let found = rows::record(&reader.journal, of.name, &key)?;
            Ok(found.and_then(|found| live(found, now_s)))
        }))
    }

    fn get_many(
        &self,
        of: &'static Collection,
        keys: Vec<RecordKey>,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Vec<Result<Option<Arc<Record>>, StoreError>>, StoreError>> {
        Box::pin(async move {
            check_keys(&keys)?;
            let read = move |reader: &mut Reader| reader.records(of, &keys, now_s);
            self.readers.call(Lane::Urgent, read).await
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
            let read = move |reader: &mut Reader| reader.list_records(of, &query, now_s);
            self.readers.call(Lane::Urgent, read).await
        })
    }

    fn commit(
        &self,
        commit: Commit,
        now_s: u64,
    ) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        Box::pin(async move {
            match commit.prepare(now_s)? {
                Ok(commit) => self.waiting.commit(&self.journal, commit).await,
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
        Box::pin(self.journal.call(Lane::Patient, 0, move |journal| {
            journal.write(|write| sweep::sweep(&write.transaction, now_s, from, limit))
        }))
    }

    fn scan(
        &self,
        after: Option<(String, RecordKey)>,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>> {
        let read = move |reader: &mut Reader| reader.scan_records(after);
        Box::pin(self.readers.call(Lane::Patient, read))
    }
}

impl SqliteStore {
    /// What a migration brings.
    pub(super) fn put_records(
        &self,
        records: Vec<StoredRecord>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.journal.call(Lane::Urgent, 0, move |journal| {
            journal.write(|write| write::import(&write.transaction, &records))
        }))
    }
}
