//! Records: small documents beside the branes.
//!
//! Users, wallets, nonces, grants, prototypes and whatever else a server keeps
//! by key is a [`Record`] of a [`Collection`]: typed fields, a version that
//! rises, perhaps an end. [`Records`] is the contract of all stores. What holds:
//!
//! - **All or none.** A [`Commit`] changes any records in one transaction, if
//!   what it expects of each holds, also of those that it only checks: no two
//!   commits are both done of which each changes what the other checked.
//! - **Once.** A commit has an id, drawn by the caller. Under it the store keeps
//!   what came of the commit, written in the same transaction. So a call whose
//!   outcome is unknown is repeated as it was: had it been done, it is answered
//!   as then, whatever has become of the records since, and nothing is done
//!   again. Ids are kept for [`COMMIT_MEMORY_S`].
//! - **Versions never come again.** A key that was deleted and is taken again
//!   gets versions that it never had (see [`Record::version`]), so an entity tag
//!   of before never fits what is there now.
//! - **Entries.** A writer says under which keys of which indexes a record is
//!   found. Entries are ordered bytes ([`IndexKey`]). An index that is unique
//!   refuses a second holder.
//! - **Ends.** From [`Record::expires_s`] on a record is as if it were not
//!   there, to reads, expectations and unique indexes alike; a sweep removes
//!   it. The time is an argument of every call: a store has no clock.
//! - **Damage stays where it is.** A record that is not what was written is
//!   [`StoreError::Damaged`](crate::StoreError) when it is read or written by
//!   its key, left out of listings, and named by
//!   [`Store::verify_store`](crate::Store::verify_store).

mod codec;
mod collection;
mod contract;
mod digest;
mod entry;
mod judge;
mod key;
mod query;
mod record;
mod tables;
mod value;
mod write;

pub use collection::{Collection, Index};
pub use contract::{Records, SweepPlace, Swept};
pub use digest::{RecordsDigest, digest};
pub use entry::{IndexKey, MAX_INDEX_KEY_BYTES};
pub use key::{MAX_KEY_BYTES, RecordKey};
pub use query::{Cursor, KeyRange, Listed, Order, Query, RecordPage};
pub use record::{Entry, Record, StoredRecord};
pub use value::{Fields, MAX_DEPTH, MAX_FIELD_NAME_BYTES, MAX_TIME_S, Malformed, Value};
pub use write::{
    Change, Commit, CommitId, CommitOutcome, Committed, Draft, Expect, RecordWrite, Refusal,
    RefusalReason,
};

pub(crate) use collection::is_name;
pub(crate) use contract::{check_keys, check_query, live};
#[cfg(feature = "mongodb")]
pub(crate) use judge::{Facts, Planned, judge};
pub(crate) use judge::{Id, MISSING_ENTRY, ORPHAN, Plan, Then, Unique};
pub(crate) use query::{PageBuilder, left_out};
pub(crate) use record::{Sealed, decode_record, encode_record, parse, record_place};
pub(crate) use tables::{Marker, Tables, Weighed, carry_out, weigh};
pub(crate) use write::Prepared;

/// The most records of one commit, checks included.
pub const MAX_WRITES: usize = 128;

/// The most bytes of one commit: the contents of its records, encoded.
pub const MAX_COMMIT_BYTES: usize = 4 << 20;

/// The most bytes of one record: its body and entries, encoded.
pub const MAX_RECORD_BYTES: usize = 256 << 10;

/// The most entries of one record, in all indexes together.
pub const MAX_ENTRIES: usize = 128;

/// The most records of one [`Records::get_many`].
pub const MAX_KEYS: usize = 128;

/// The most records that one page lists.
pub const MAX_LISTED: u32 = 1_000;

/// About how many bytes of records one page holds.
pub const MAX_PAGE_BYTES: usize = 4 << 20;

/// The most that one sweep removes.
pub const MAX_SWEPT: u32 = 1_000;

/// About how many records, and bytes of them, one step of a scan reads.
pub(crate) const SCAN_RECORDS: usize = 256;
pub(crate) const SCAN_BYTES: usize = 4 << 20;

/// How long a commit can be repeated as it was, in seconds, by the times that
/// are given with calls.
pub const COMMIT_MEMORY_S: u64 = 3_600;
