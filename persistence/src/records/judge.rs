//! The one rule by which all stores do a commit or refuse it.
//!
//! Pure: a store gathers the [`Facts`] within its transaction, and performs the
//! [`Plan`].

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::entry::IndexKey;
use super::key::RecordKey;
use super::record::{Entry, Record, StoredRecord, damaged};
use super::write::RefusalReason;
use super::write::{Committed, Expect, Prepared, PreparedChange, PreparedWrite, Refusal};
use crate::error::StoreError;

/// Names a record: its collection and its key.
pub(crate) type Id = (String, RecordKey);

/// A key of a unique index: the collection, the index, the key.
pub(crate) type Unique = (String, String, IndexKey);

/// What a commit meets.
#[derive(Default)]
pub(crate) struct Facts {
    /// The records that are written or checked, and the holders, also those
    /// that have expired.
    pub(crate) records: BTreeMap<Id, StoredRecord>,
    /// Who holds the unique keys that are wanted.
    pub(crate) holders: BTreeMap<Unique, RecordKey>,
}

/// What a commit comes to.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What is done to each record, of which none is there twice.
    pub(crate) changes: Vec<Planned>,
    pub(crate) committed: Committed,
}

/// What is done to one record.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) id: Id,
    pub(crate) old: Option<StoredRecord>,
    pub(crate) then: Then,
}

/// What becomes of a record.
#[derive(Debug)]
pub(crate) enum Then {
    /// It stays as it is, there or not.
    Same,
    Is(Box<StoredRecord>),
    Gone,
}

impl Prepared {
    /// Whether it makes the store larger.
    pub(crate) fn takes_room(&self) -> bool {
        self.writes.iter().any(|write| matches!(write.change, PreparedChange::Put { .. }))
    }

    /// The unique keys whose holders have to be known.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Unique> {
        self.writes.iter().flat_map(|write| {
            let unique = write.entries().iter().filter(|entry| entry.unique);
            unique.map(|entry| unique_of(&write.id, entry))
        })
    }
}

impl PreparedWrite {
    fn entries(&self) -> &[Entry] {
        match &self.change {
            PreparedChange::Put { entries, .. } => entries,
            PreparedChange::Check | PreparedChange::Delete => &[],
        }
    }
}

fn unique_of((of, _): &Id, entry: &Entry) -> Unique {
    (of.clone(), entry.index.clone(), entry.key.clone())
}

/// What becomes of a commit.
///
/// # Errors
/// `Damaged` if a key is held by a record that is not found under it.
pub(crate) fn judge(
    commit: &Prepared,
    mut facts: Facts,
) -> Result<Result<Plan, Refusal>, StoreError> {
    let mut changes = Vec::with_capacity(commit.writes.len());
    let mut versions = Vec::with_capacity(commit.writes.len());
    for (nth, write) in commit.writes.iter().enumerate() {
        let old = facts.records.get(&write.id);
        let live = old.filter(|old| old.record.is_live(commit.now_s));
        let found = live.map(|live| live.record.version);
        if !holds(write.expect, found) {
            let reason = RefusalReason::Conflict { found };
            return Ok(Err(Refusal { write: nth, reason }));
        }
        let then = write.then(commit, old, live.is_some());
        versions.push(match &then {
            Then::Same => found.unwrap_or(0),
            Then::Is(new) => new.record.version,
            Then::Gone => 0,
        });
        changes.push(Planned { id: write.id.clone(), old: old.cloned(), then });
    }
    match claim(commit, &mut facts, &changes)? {
        Ok(evicted) => changes.extend(evicted),
        Err(refusal) => return Ok(Err(refusal)),
    }
    Ok(Ok(Plan { changes, committed: Committed { versions } }))
}

fn holds(expect: Expect, found: Option<u64>) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Present => found.is_some(),
        Expect::Version(version) => found == Some(version),
    }
}

impl PreparedWrite {
    /// What becomes of its record. One that has expired is removed by whoever
    /// meets it.
    fn then(&self, commit: &Prepared, old: Option<&StoredRecord>, is_live: bool) -> Then {
        match &self.change {
            PreparedChange::Put { body, expires_s, entries } => {
                let above = old.map_or(0, |old| old.record.version + 1);
                let version =
                    if is_live { above } else { above.max(first_version(commit, &self.id)) };
                let (of, key) = self.id.clone();
                let (expires_s, body) = (*expires_s, body.clone());
                let record = Record { key, version, expires_s, body };
                Then::Is(Box::new(StoredRecord { of, record, entries: entries.clone() }))
            }
            PreparedChange::Delete if old.is_some() => Then::Gone,
            PreparedChange::Check if old.is_some() && !is_live => Then::Gone,
            PreparedChange::Check | PreparedChange::Delete => Then::Same,
        }
    }
}

/// Where the versions of a new record begin; see [`Record::version`].
fn first_version(commit: &Prepared, (_, key): &Id) -> u64 {
    let drawn = xxh3_64(&[&commit.id.0.as_bytes()[..], key.as_str().as_bytes()].concat());
    (commit.now_s << 20) | (drawn & ((1 << 20) - 1))
}

/// Gives each unique key to who wants it. Holders that have expired are removed.
fn claim(
    commit: &Prepared,
    facts: &mut Facts,
    changes: &[Planned],
) -> Result<Result<Vec<Planned>, Refusal>, StoreError> {
    // Who is changed gives up what it held, and is counted by what it wants.
    let changed: BTreeSet<&Id> = changes
        .iter()
        .filter(|planned| !matches!(planned.then, Then::Same))
        .map(|p| &p.id)
        .collect();
    let mut claimed = BTreeSet::new();
    let mut evicted = BTreeMap::new();
    for (nth, write) in commit.writes.iter().enumerate() {
        for entry in write.entries().iter().filter(|entry| entry.unique) {
            let unique = unique_of(&write.id, entry);
            let holder = facts.holders.get(&unique).map(|key| (write.id.0.clone(), key.clone()));
            let mut is_taken = false;
            if let Some(holder) = holder.filter(|holder| !changed.contains(holder)) {
                is_taken = match found_under(&holder, entry, facts)? {
                    found if found.record.is_live(commit.now_s) => true,
                    found => {
                        evicted.insert(holder, found.clone());
                        false
                    }
                };
            }
            if is_taken || !claimed.insert(unique) {
                let name = write.of.index(&entry.index).map_or("", |index| index.name);
                let reason = RefusalReason::Taken { index: name };
                return Ok(Err(Refusal { write: nth, reason }));
            }
        }
    }
    let gone = |(id, old)| Planned { id, old: Some(old), then: Then::Gone };
    Ok(Ok(evicted.into_iter().map(gone).collect()))
}

fn found_under<'a>(
    holder: &Id,
    entry: &Entry,
    facts: &'a Facts,
) -> Result<&'a StoredRecord, StoreError> {
    let found = facts.records.get(holder).filter(|found| found.is_found_under(entry));
    found.ok_or_else(|| damaged(&holder.0, &holder.1, ORPHAN))
}

/// What is wrong with an entry without a record that has it.
pub(crate) const ORPHAN: &str = "there is an index entry that it does not have";

/// What is wrong with a record of which an index knows nothing.
pub(crate) const MISSING_ENTRY: &str = "one of its index entries is missing";

impl StoredRecord {
    /// Whether it has an entry.
    pub(crate) fn is_found_under(&self, entry: &Entry) -> bool {
        self.has(&entry.index, &entry.key)
    }

    /// Whether it has this key of this index.
    pub(crate) fn has(&self, index: &str, key: &IndexKey) -> bool {
        self.entries.iter().any(|own| own.index == index && own.key == *key)
    }
}

impl Planned {
    /// The entries that go. If `with_end`, an entry is another when the record
    /// ends at another time.
    pub(crate) fn removed(&self, with_end: bool) -> Vec<&Entry> {
        let (old, new) = self.sides();
        differing(old, new, with_end)
    }

    /// The entries that come.
    pub(crate) fn added(&self, with_end: bool) -> Vec<&Entry> {
        let (old, new) = self.sides();
        differing(new, old, with_end)
    }

    fn sides(&self) -> (Option<&StoredRecord>, Option<&StoredRecord>) {
        let old = self.old.as_ref();
        match &self.then {
            Then::Same => (None, None),
            Then::Is(new) => (old, Some(&**new)),
            Then::Gone => (old, None),
        }
    }
}

/// The entries of one that another lacks.
fn differing<'a>(
    one: Option<&'a StoredRecord>,
    other: Option<&StoredRecord>,
    with_end: bool,
) -> Vec<&'a Entry> {
    let Some(one) = one else { return Vec::new() };
    let same = other.filter(|other| !with_end || other.record.expires_s == one.record.expires_s);
    let is_same = |entry: &Entry| same.is_some_and(|same| same.entries.contains(entry));
    one.entries.iter().filter(|entry| !is_same(entry)).collect()
}
