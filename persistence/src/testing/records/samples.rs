//! Collections, records and commits for the cases.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::error::StoreError;
use crate::records::{
    Collection, Commit, CommitId, CommitOutcome, Draft, Expect, Fields, Index, IndexKey, KeyRange,
    Query, Record, RecordKey, RecordWrite, Records, Refusal, RefusalReason,
};
use crate::testing::fixture::Failure;

/// People, with one name each and any number of tags.
pub(super) static USERS: Collection = Collection {
    name: "users",
    indexes: &[Index::unique("by_name"), Index::plain("by_tag"), Index::plain("by_age")],
};

/// Another collection with indexes of the same names.
pub(super) static GRANTS: Collection =
    Collection { name: "grants", indexes: &[Index::unique("by_name"), Index::plain("by_tag")] };

/// A time at which the cases begin, in Unix seconds.
pub(super) const NOW_S: u64 = 1_700_000_000;

/// The nth key.
pub(super) fn key(nth: u64) -> RecordKey {
    RecordKey::from(Uuid::from_u128(u128::from(nth)))
}

/// The nth commit's id.
pub(super) fn id(nth: u64) -> CommitId {
    CommitId(Uuid::from_u128(1 << 100 | u128::from(nth)))
}

/// A body that says a number.
pub(super) fn body(nth: u64) -> Fields {
    Fields::new().with("nth", nth.cast_signed())
}

/// A draft that says a number.
pub(super) fn draft(nth: u64) -> Draft {
    Draft::new(body(nth))
}

/// A key of one text.
pub(super) fn text(text: &str) -> IndexKey {
    IndexKey::new().text(text)
}

/// Records as the cases talk to them: at one time, which they move.
pub(super) struct Desk {
    pub(super) records: Arc<dyn Records>,
    pub(super) now_s: u64,
}

/// Counts commits, so that no two have one id.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Desk {
    pub(super) fn at(records: Arc<dyn Records>) -> Self {
        Self { records, now_s: NOW_S }
    }

    /// Does a commit under an id of its own.
    pub(super) async fn commit(
        &self,
        writes: Vec<RecordWrite>,
    ) -> Result<CommitOutcome, StoreError> {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = CommitId(Uuid::from_u128(u128::from(nth) | 1 << 90));
        self.records.commit(Commit { id, writes }, self.now_s).await
    }

    /// Does a commit that is to be done, and gives the versions.
    pub(super) async fn done(&self, writes: Vec<RecordWrite>) -> Result<Vec<u64>, Failure> {
        match self.commit(writes).await? {
            Ok(committed) => Ok(committed.versions),
            Err(refusal) => Err(Failure(format!("a good commit was refused: {refusal}"))),
        }
    }

    /// Does a commit that is to be refused.
    pub(super) async fn refused(&self, writes: Vec<RecordWrite>) -> Result<Refusal, Failure> {
        match self.commit(writes).await? {
            Ok(_) => Err(Failure("a commit was done that was to be refused".into())),
            Err(refusal) => Ok(refusal),
        }
    }

    /// A user.
    pub(super) async fn user(&self, nth: u64) -> Result<Option<Arc<Record>>, StoreError> {
        self.records.get(&USERS, key(nth), self.now_s).await
    }

    /// The version of a user.
    pub(super) async fn version(&self, nth: u64) -> Result<Option<u64>, StoreError> {
        Ok(self.user(nth).await?.map(|record| record.version))
    }

    /// The numbers of the users that a query finds, in their order, all on one
    /// page.
    pub(super) async fn found(&self, query: Query) -> Result<Vec<i64>, Failure> {
        let page = self.records.list(&USERS, query, self.now_s).await?;
        if page.next.is_some() {
            return Err(Failure("a short listing has a second page".into()));
        }
        Ok(page.found.iter().filter_map(|listed| listed.record.body.int("nth")).collect())
    }

    /// The users under one key.
    pub(super) async fn under(&self, index: &'static str, name: &str) -> Result<Vec<i64>, Failure> {
        self.found(Query::new(index, KeyRange::exactly(text(name)))).await
    }
}

/// Makes the nth user with this name.
pub(super) fn named(nth: u64, name: &str) -> RecordWrite {
    RecordWrite::create(&USERS, key(nth), draft(nth).found_by("by_name", text(name)))
}

/// Makes the nth user.
pub(super) fn create(nth: u64) -> RecordWrite {
    RecordWrite::create(&USERS, key(nth), draft(nth))
}

/// Has the nth user say another number.
pub(super) fn update(nth: u64, version: u64, says: u64) -> RecordWrite {
    RecordWrite::update(&USERS, key(nth), version, draft(says))
}

/// Removes the nth user.
pub(super) fn delete(nth: u64, expect: Expect) -> RecordWrite {
    RecordWrite::delete(&USERS, key(nth), expect)
}

/// Checks the nth user.
pub(super) fn check(nth: u64, expect: Expect) -> RecordWrite {
    RecordWrite::check(&USERS, key(nth), expect)
}

/// The refusal of a write whose expectation does not hold.
pub(super) const fn conflict(write: usize, found: Option<u64>) -> Refusal {
    Refusal { write, reason: RefusalReason::Conflict { found } }
}

/// The refusal of a write that wants a name of somebody else's.
pub(super) const fn taken(write: usize) -> Refusal {
    Refusal { write, reason: RefusalReason::Taken { index: "by_name" } }
}
