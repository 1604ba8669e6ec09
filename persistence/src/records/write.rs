//! What a commit changes, what it expects, and what comes of it.

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::codec;
use super::collection::{Collection, is_name};
use super::entry::{IndexKey, MAX_INDEX_KEY_BYTES};
use super::judge::Id;
use super::key::RecordKey;
use super::record::Entry;
use super::value::{Fields, MAX_TIME_S, Malformed};
use super::{MAX_COMMIT_BYTES, MAX_ENTRIES, MAX_RECORD_BYTES, MAX_WRITES};
use crate::error::StoreError;

/// Names a commit. Drawn by the caller at random (UUID v4), once for what it
/// wants done; the same again if the outcome of the call is unknown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommitId(pub Uuid);

/// Changes of records that are done together or not at all.
#[derive(Clone, PartialEq, Debug)]
pub struct Commit {
    /// Its name.
    pub id: CommitId,
    /// At most [`MAX_WRITES`], of each record one.
    pub writes: Vec<RecordWrite>,
}

/// One record of a commit.
#[derive(Clone, PartialEq, Debug)]
pub struct RecordWrite {
    /// Its collection.
    pub of: &'static Collection,
    /// Its key.
    pub key: RecordKey,
    /// What has to hold of it.
    pub expect: Expect,
    /// What becomes of it.
    pub change: Change,
}

/// What has to hold of a record. One that has expired is absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Anything.
    Any,
    /// That there is none.
    Absent,
    /// That there is one, of whatever version.
    Present,
    /// That it is of this version.
    Version(u64),
}

/// What becomes of a record.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Nothing: what is expected of it has to hold when the commit is done.
    Check,
    /// It is this from now on.
    Put(Draft),
    /// It is gone. Nothing happens if it is not there and that is allowed.
    Delete,
}

/// What a record is to be.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Draft {
    /// What is in it.
    pub body: Fields,
    /// From when on it is as if it were not there, in Unix seconds, at most
    /// [`MAX_TIME_S`].
    pub expires_s: Option<u64>,
    /// Under what it is found: all of it, as what was found under other entries
    /// before is not any more. At most [`MAX_ENTRIES`].
    pub entries: Vec<(&'static str, IndexKey)>,
}

impl Draft {
    /// A record with this body, without entries, that does not end.
    pub fn new(body: Fields) -> Self {
        Self { body, expires_s: None, entries: Vec::new() }
    }

    /// The same, found under this key of this index.
    #[must_use]
    pub fn found_by(mut self, index: &'static str, key: IndexKey) -> Self {
        self.entries.push((index, key));
        self
    }

    /// The same, until this time in Unix seconds.
    #[must_use]
    pub fn until(mut self, expires_s: u64) -> Self {
        self.expires_s = Some(expires_s);
        self
    }
}

impl RecordWrite {
    /// Makes a record that is not there.
    pub fn create(of: &'static Collection, key: RecordKey, draft: Draft) -> Self {
        Self { of, key, expect: Expect::Absent, change: Change::Put(draft) }
    }

    /// Changes the record of this version.
    pub fn update(of: &'static Collection, key: RecordKey, version: u64, draft: Draft) -> Self {
        Self { of, key, expect: Expect::Version(version), change: Change::Put(draft) }
    }

    /// Puts a record, whatever was there.
    pub fn put(of: &'static Collection, key: RecordKey, draft: Draft) -> Self {
        Self { of, key, expect: Expect::Any, change: Change::Put(draft) }
    }

    /// Removes a record of which this holds.
    pub const fn delete(of: &'static Collection, key: RecordKey, expect: Expect) -> Self {
        Self { of, key, expect, change: Change::Delete }
    }

    /// Changes nothing, and has this hold when the rest is done.
    pub const fn check(of: &'static Collection, key: RecordKey, expect: Expect) -> Self {
        Self { of, key, expect, change: Change::Check }
    }
}

/// What came of a commit that was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The version of each record after it, in the order of the writes; 0 where
    /// there is none.
    pub versions: Vec<u64>,
}

/// Why a commit was not done: none of it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("write {write} of the commit: {reason}")]
pub struct Refusal {
    /// The first write that cannot be done, from 0.
    pub write: usize,
    /// Why.
    pub reason: RefusalReason,
}

/// Why a write cannot be done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RefusalReason {
    /// What was expected does not hold.
    #[error("the record's version is {found:?}")]
    Conflict {
        /// The version there is; `None`: there is no such record.
        found: Option<u64>,
    },
    /// Another record is found under a key of a unique index.
    #[error("another record has its key of the index {index}")]
    Taken {
        /// The index.
        index: &'static str,
    },
    /// The record is longer than [`MAX_RECORD_BYTES`], or the commit longer than
    /// [`MAX_COMMIT_BYTES`].
    #[error("{bytes} bytes are too many")]
    TooLarge {
        /// The length of the record, or of the commit up to it, in bytes.
        bytes: usize,
    },
    /// The record is what no record can be.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

/// What a call of [`super::Records::commit`] is answered.
pub type CommitOutcome = Result<Committed, Refusal>;

/// A commit that keeps to its bounds.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) id: CommitId,
    pub(crate) now_s: u64,
    /// Of all that is to be done, so that an id is not taken for another.
    pub(crate) digest: u64,
    /// The length of all contents.
    pub(crate) bytes: usize,
    pub(crate) writes: Vec<PreparedWrite>,
}

#[derive(Clone, Debug)]
pub(crate) struct PreparedWrite {
    pub(crate) id: Id,
    pub(crate) of: &'static Collection,
    pub(crate) expect: Expect,
    pub(crate) change: PreparedChange,
}

#[derive(Clone, Debug)]
pub(crate) enum PreparedChange {
    Check,
    /// With entries sorted, and none twice.
    Put {
        body: Fields,
        expires_s: Option<u64>,
        entries: Vec<Entry>,
    },
    Delete,
}

impl Commit {
    /// Holds a commit to its bounds.
    pub(crate) fn prepare(self, now_s: u64) -> Result<Result<Prepared, Refusal>, StoreError> {
        if self.writes.is_empty() || self.writes.len() > MAX_WRITES {
            return Err(StoreError::Invalid("a commit has no writes, or too many"));
        }
        if now_s > MAX_TIME_S {
            return Err(StoreError::Invalid("the time is too far away"));
        }
        let (mut writes, mut bytes) = (Vec::with_capacity(self.writes.len()), 0);
        let mut all = Vec::new();
        for (nth, write) in self.writes.into_iter().enumerate() {
            write.check_use()?;
            let written = match write.prepare(&mut bytes, &mut all) {
                Ok(written) => written,
                Err(reason) => return Ok(Err(Refusal { write: nth, reason })),
            };
            if writes.iter().any(|other: &PreparedWrite| other.id == written.id) {
                return Err(StoreError::Invalid("a commit writes one record twice"));
            }
            writes.push(written);
        }
        Ok(Ok(Prepared { id: self.id, now_s, digest: xxh3_64(&all), bytes, writes }))
    }
}

impl RecordWrite {
    /// What only a wrong program asks for.
    fn check_use(&self) -> Result<(), StoreError> {
        let of = self.of;
        let names = of.indexes.iter().map(|index| index.name);
        if !std::iter::once(of.name).chain(names).all(is_name) {
            return Err(StoreError::Invalid("a collection or an index has no good name"));
        }
        match (&self.change, self.expect) {
            (Change::Check, Expect::Any) => {
                Err(StoreError::Invalid("a check that expects nothing"))
            }
            (Change::Put(draft), _) => {
                if draft.expires_s.is_some_and(|expires_s| expires_s > MAX_TIME_S) {
                    return Err(StoreError::Invalid("the end of a record is too far away"));
                }
                match draft.entries.iter().all(|(index, _)| of.index(index).is_some()) {
                    true => Ok(()),
                    false => Err(StoreError::Invalid("the collection has no such index")),
                }
            }
            (Change::Check | Change::Delete, _) => Ok(()),
        }
    }

    /// Adds its length to `bytes`, and all that it says to `all`.
    fn prepare(self, bytes: &mut usize, all: &mut Vec<u8>) -> Result<PreparedWrite, RefusalReason> {
        let Self { of, key, expect, change } = self;
        codec::text(of.name, all);
        codec::text(key.as_str(), all);
        let (kind, version) = match expect {
            Expect::Any => (0, 0),
            Expect::Absent => (1, 0),
            Expect::Present => (2, 0),
            Expect::Version(version) => (3, version),
        };
        codec::head(0, kind, all);
        codec::head(0, version, all);
        let change = match change {
            Change::Check => {
                codec::head(0, 0, all);
                PreparedChange::Check
            }
            Change::Delete => {
                codec::head(0, 1, all);
                PreparedChange::Delete
            }
            Change::Put(draft) => {
                codec::head(0, 2, all);
                draft.prepare(of, bytes, all)?
            }
        };
        Ok(PreparedWrite { id: (of.name.to_owned(), key), of, expect, change })
    }
}

impl Draft {
    fn prepare(
        self,
        of: &'static Collection,
        bytes: &mut usize,
        all: &mut Vec<u8>,
    ) -> Result<PreparedChange, RefusalReason> {
        let Self { body, expires_s, entries } = self;
        body.check()?;
        if entries.len() > MAX_ENTRIES {
            return Err(Malformed::Entries.into());
        }
        let entry = |(index, key): (&'static str, IndexKey)| {
            let unique = of.index(index).is_some_and(|index| index.unique);
            match key.as_bytes().len() <= MAX_INDEX_KEY_BYTES {
                true => Ok(Entry { index: index.to_owned(), unique, key }),
                false => Err(Malformed::IndexKey),
            }
        };
        let mut entries = entries.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable();
        entries.dedup();
        let content = codec::encode(&entries, &body);
        if content.len() > MAX_RECORD_BYTES {
            return Err(RefusalReason::TooLarge { bytes: content.len() });
        }
        *bytes += content.len();
        if *bytes > MAX_COMMIT_BYTES {
            return Err(RefusalReason::TooLarge { bytes: *bytes });
        }
        codec::head(0, expires_s.map_or(0, |expires_s| expires_s + 1), all);
        all.extend_from_slice(&content);
        Ok(PreparedChange::Put { body, expires_s, entries })
    }
}
