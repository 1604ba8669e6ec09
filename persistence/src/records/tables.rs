//! Commits of stores that read and write in one step, within what they take
//! for a transaction.

use super::judge::{Facts, Id, Plan, Unique, judge};
use super::key::RecordKey;
use super::record::StoredRecord;
use super::write::{CommitId, Committed, Prepared, Refusal};
use crate::error::StoreError;

/// What is kept of a commit that was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Marker {
    /// When, in Unix seconds.
    pub(crate) at_s: u64,
    /// Of all that was done.
    pub(crate) digest: u64,
    pub(crate) versions: Vec<u64>,
}

impl Marker {
    /// The answer to a commit that comes again.
    pub(crate) fn answer(self, commit: &Prepared) -> Result<Committed, StoreError> {
        match self.digest == commit.digest {
            true => Ok(Committed { versions: self.versions }),
            false => Err(StoreError::Invalid("the commit's id is that of another commit")),
        }
    }

    /// What is kept of a commit.
    pub(crate) fn of(commit: &Prepared, committed: &Committed) -> Self {
        let versions = committed.versions.clone();
        Self { at_s: commit.now_s, digest: commit.digest, versions }
    }
}

/// What a transaction of such a store can do.
pub(crate) trait Tables {
    /// What is kept of a commit.
    fn marker(&self, id: CommitId) -> Result<Option<Marker>, StoreError>;

    /// A record, whether it has expired or not.
    fn record(&self, id: &Id) -> Result<Option<StoredRecord>, StoreError>;

    /// Who holds a key of a unique index.
    fn holder(&self, of: &Unique) -> Result<Option<RecordKey>, StoreError>;

    /// Does what is planned; the entries that go first.
    fn perform(&mut self, plan: &Plan) -> Result<(), StoreError>;

    /// Keeps what came of a commit.
    fn keep(&mut self, id: CommitId, marker: &Marker) -> Result<(), StoreError>;
}

/// What becomes of a commit.
pub(crate) enum Weighed {
    /// It was done already.
    Known(Committed),
    Refused(Refusal),
    /// It is to be carried out.
    Do(Plan),
}

/// Says what becomes of a commit, and changes nothing.
pub(crate) fn weigh(tables: &impl Tables, commit: &Prepared) -> Result<Weighed, StoreError> {
    if let Some(marker) = tables.marker(commit.id)? {
        return marker.answer(commit).map(Weighed::Known);
    }
    let mut facts = Facts::default();
    for write in &commit.writes {
        if let Some(found) = tables.record(&write.id)? {
            facts.records.insert(write.id.clone(), found);
        }
    }
    for unique in commit.wanted() {
        let Some(holder) = tables.holder(&unique)? else { continue };
        let id = (unique.0.clone(), holder.clone());
        if !facts.records.contains_key(&id)
            && let Some(found) = tables.record(&id)?
        {
            facts.records.insert(id, found);
        }
        facts.holders.insert(unique, holder);
    }
    Ok(match judge(commit, facts)? {
        Ok(plan) => Weighed::Do(plan),
        Err(refusal) => Weighed::Refused(refusal),
    })
}

/// Carries a commit out.
pub(crate) fn carry_out(
    tables: &mut impl Tables,
    commit: &Prepared,
    plan: Plan,
) -> Result<Committed, StoreError> {
    tables.perform(&plan)?;
    tables.keep(commit.id, &Marker::of(commit, &plan.committed))?;
    Ok(plan.committed)
}
