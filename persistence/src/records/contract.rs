//! The contract of every store of records.

use std::sync::Arc;

use super::collection::Collection;
use super::key::RecordKey;
use super::query::{Query, RecordPage};
use super::record::{Record, StoredRecord};
use super::write::{Commit, CommitOutcome};
use crate::error::StoreError;
use crate::store::BoxFuture;

/// What a sweep removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Records that had expired.
    pub records: u64,
    /// Outcomes of commits that are not kept any more.
    pub commits: u64,
    /// Records that have expired and are damaged: they stay, and it went on
    /// past them.
    pub damaged: u64,
    /// Where the next sweep goes on; `None`: there is no more to remove.
    pub next: Option<SweepPlace>,
}

/// How far sweeps have come: past the damaged records that they met. The default
/// is the beginning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SweepPlace {
    /// The collection, where each is swept alone.
    pub(crate) of: String,
    /// Damaged records that were passed there.
    pub(crate) passed: u64,
}

/// Keeps records; see [the module](super) for what holds.
///
/// Every method is bounded in time, [`StoreError::Timeout`] at worst, and in
/// memory. Writes are durable when their future is done. A future that is
/// dropped leaves its write done or not done, never half. `now_s` is the time
/// in Unix seconds.
pub trait Records: Send + Sync + 'static {
    /// A record.
    ///
    /// # Errors
    /// `Damaged`.
    fn get(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<Record>>, StoreError>>;

    /// Records, in the order of the keys, as the store has them: never from a
    /// cache. What is wrong with one is said in its place.
    ///
    /// # Errors
    /// `Invalid` if there are more than [`super::MAX_KEYS`] keys.
    #[allow(clippy::type_complexity)]
    fn get_many(
        &self,
        of: &'static Collection,
        keys: Vec<RecordKey>,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Vec<Result<Option<Arc<Record>>, StoreError>>, StoreError>>;

    /// A page of a listing, of one state of the store. Records that are damaged
    /// are left out.
    ///
    /// # Errors
    /// `Invalid` if the collection has no such index.
    fn list(
        &self,
        of: &'static Collection,
        query: Query,
        now_s: u64,
    ) -> BoxFuture<'_, Result<RecordPage, StoreError>>;

    /// Does a commit as a whole, or none of it. A call whose outcome is unknown
    /// can be repeated as it was, within [`super::COMMIT_MEMORY_S`] of its
    /// `now_s`: see [the module](super).
    ///
    /// # Errors
    /// `Invalid` if it has no writes, more than [`super::MAX_WRITES`], or two of
    /// one record; names an index that the collection does not have, or a check
    /// of nothing; or has the id of a commit that is another one. `Damaged` if a
    /// record that it writes, checks, or meets in a unique index is.
    fn commit(
        &self,
        commit: Commit,
        now_s: u64,
    ) -> BoxFuture<'_, Result<CommitOutcome, StoreError>>;

    /// Removes what has expired, `limit` of each kind at most, which is cut to
    /// 1..=[`super::MAX_SWEPT`], in one transaction. Of the nodes of a fleet
    /// one does so. Damaged records stay; it passes as many at most, and goes on
    /// behind those that sweeps of this round, up to `from`, have passed.
    fn sweep(
        &self,
        now_s: u64,
        from: SweepPlace,
        limit: u32,
    ) -> BoxFuture<'_, Result<Swept, StoreError>>;

    /// Some records after one, by collection and key, expired ones included;
    /// empty when there are no more. For copies.
    ///
    /// # Errors
    /// `Damaged` at the first record that is.
    fn scan(
        &self,
        after: Option<(String, RecordKey)>,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>>;
}

/// Refuses a query of an index that the collection does not have.
pub(crate) fn check_query(of: &'static Collection, query: &Query) -> Result<(), StoreError> {
    match of.index(query.index) {
        Some(_) => Ok(()),
        None => Err(StoreError::Invalid("the collection has no such index")),
    }
}

/// Refuses more keys than a call can have.
pub(crate) fn check_keys(keys: &[RecordKey]) -> Result<(), StoreError> {
    match keys.len() <= super::MAX_KEYS {
        true => Ok(()),
        false => Err(StoreError::Invalid("too many keys")),
    }
}

/// The record, if it is there at this time.
pub(crate) fn live(found: StoredRecord, now_s: u64) -> Option<Arc<Record>> {
    found.record.is_live(now_s).then(|| Arc::new(found.record))
}
