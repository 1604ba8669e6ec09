//! Records of the memory store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::MemoryStore;
use super::fault::Operation;
use crate::error::StoreError;
use crate::records::{
    COMMIT_MEMORY_S, Collection, Commit, CommitId, CommitOutcome, Entry, Id, IndexKey, MAX_SWEPT,
    Marker, ORPHAN, Order, PageBuilder, Plan, Prepared, Query, Record, RecordKey, RecordPage,
    Records, SCAN_BYTES, SCAN_RECORDS, Sealed, StoredRecord, SweepPlace, Swept, Tables, Then,
    Unique, Weighed, carry_out, check_keys, check_query, left_out, live, record_place, weigh,
};
use crate::report::StoreReport;
use crate::store::BoxFuture;

/// Everything of records.
#[derive(Default)]
pub(super) struct RecordTables {
    records: BTreeMap<Id, Sealed>,
    /// By collection and index.
    entries: BTreeMap<(String, String), BTreeSet<(IndexKey, RecordKey)>>,
    commits: BTreeMap<CommitId, Marker>,
}

impl RecordTables {
    fn open(&self, id: &Id) -> Result<Option<StoredRecord>, StoreError> {
        self.records.get(id).map(|sealed| sealed.open(&id.0, &id.1)).transpose()
    }

    fn put(&mut self, record: &StoredRecord) {
        let id = (record.of.clone(), record.record.key.clone());
        record.entries.iter().for_each(|entry| {
            self.index(&id, entry).insert((entry.key.clone(), id.1.clone()));
        });
        self.records.insert(id, record.sealed());
    }

    fn remove(&mut self, old: &StoredRecord) {
        let id = (old.of.clone(), old.record.key.clone());
        for entry in &old.entries {
            self.index(&id, entry).remove(&(entry.key.clone(), id.1.clone()));
        }
        self.records.remove(&id);
    }

    fn index(&mut self, id: &Id, entry: &Entry) -> &mut BTreeSet<(IndexKey, RecordKey)> {
        self.entries.entry((id.0.clone(), entry.index.clone())).or_default()
    }

    fn list(&self, of: &Collection, query: &Query, now_s: u64) -> Result<RecordPage, StoreError> {
        let mut page = PageBuilder::new(query);
        let index = (of.name.to_owned(), query.index.to_owned());
        let (Some(entries), Some(stretch)) = (self.entries.get(&index), query.stretch()) else {
            return Ok(page.finish());
        };
        let to = stretch.to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries = entries.range((Bound::Included(stretch.from), to));
        let mut next = || match query.order {
            Order::Ascending => entries.next(),
            Order::Descending => entries.next_back(),
        };
        while let Some((key, record)) = next() {
            let id = (of.name.to_owned(), record.clone());
            let found = match self.open(&id) {
                Ok(found) => found,
                Err(error) => {
                    left_out(error)?;
                    continue;
                }
            };
            let found = found.filter(|found| found.has(query.index, key));
            let Some(found) = found.filter(|found| found.record.is_live(now_s)) else { continue };
            let bytes = self.records.get(&id).map_or(0, |sealed| sealed.content.len());
            if !page.take(key.clone(), found.record, bytes) {
                break;
            }
        }
        Ok(page.finish())
    }

    fn commit(&mut self, commit: &Prepared) -> Result<CommitOutcome, StoreError> {
        match weigh(self, commit)? {
            Weighed::Known(committed) => Ok(Ok(committed)),
            Weighed::Refused(refusal) => Ok(Err(refusal)),
            Weighed::Do(plan) => carry_out(self, commit, plan).map(Ok),
        }
    }

    fn sweep(&mut self, now_s: u64, from: SweepPlace, limit: u32) -> Result<Swept, StoreError> {
        let limit = limit.clamp(1, MAX_SWEPT) as usize;
        let is_over = |sealed: &Sealed| sealed.expires_s.is_some_and(|end_s| end_s <= now_s);
        let ended = self.records.iter().filter(|(_, sealed)| is_over(sealed));
        let (mut over, mut damaged) = (Vec::<StoredRecord>::new(), 0);
        for (id, sealed) in ended.skip(from.passed as usize) {
            match sealed.open(&id.0, &id.1) {
                Ok(old) => over.push(old),
                Err(_) => damaged += 1,
            }
            if over.len() == limit || damaged == limit {
                break;
            }
        }
        over.iter().for_each(|old| self.remove(old));
        let is_old = |marker: &Marker| marker.at_s + COMMIT_MEMORY_S <= now_s;
        let old = self.commits.iter().filter(|(_, marker)| is_old(marker)).map(|(id, _)| *id);
        let old: Vec<CommitId> = old.take(limit).collect();
        old.iter().for_each(|id| {
            self.commits.remove(id);
        });
        let is_full = [over.len(), damaged, old.len()].contains(&limit);
        let (records, commits, damaged) = (over.len() as u64, old.len() as u64, damaged as u64);
        let next = is_full.then(|| SweepPlace { passed: from.passed + damaged, ..from });
        Ok(Swept { records, commits, damaged, next })
    }

    fn scan(&self, after: Option<Id>) -> Result<Vec<StoredRecord>, StoreError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (id, sealed) in self.records.range((from, Bound::Unbounded)) {
            bytes += sealed.content.len();
            found.push(sealed.open(&id.0, &id.1)?);
            if found.len() >= SCAN_RECORDS || bytes >= SCAN_BYTES {
                break;
            }
        }
        Ok(found)
    }

    /// Names what is damaged.
    pub(super) fn verify(&self, report: &mut StoreReport) {
        for id in self.records.keys() {
            match self.open(id) {
                Ok(_) => report.records += 1,
                Err(StoreError::Damaged { place, why }) => report.add(place, why),
                Err(_) => {}
            }
        }
        for ((of, index), entries) in &self.entries {
            for (key, record) in entries {
                let found = self.open(&(of.clone(), record.clone()));
                if found.is_ok_and(|found| found.is_none_or(|found| !found.has(index, key))) {
                    report.add(record_place(of, record.as_str()), ORPHAN.to_owned());
                }
            }
        }
    }

    /// Spoils what is stored at a place; false if nothing is there.
    pub(super) fn damage(&mut self, of: &str, key: &str) -> bool {
        let mut found = self.records.iter_mut();
        let found = found.find(|((name, own), _)| name == of && own.as_str() == key);
        found.map(|(_, sealed)| sealed.checksum ^= 1).is_some()
    }
}

impl Tables for RecordTables {
    fn marker(&self, id: CommitId) -> Result<Option<Marker>, StoreError> {
        Ok(self.commits.get(&id).cloned())
    }

    fn record(&self, id: &Id) -> Result<Option<StoredRecord>, StoreError> {
        self.open(id)
    }

    fn holder(&self, (of, index, key): &Unique) -> Result<Option<RecordKey>, StoreError> {
        let entries = self.entries.get(&(of.clone(), index.clone()));
        let first = entries.and_then(|all| all.range((key.clone(), RecordKey::least())..).next());
        Ok(first.filter(|(found, _)| found == key).map(|(_, record)| record.clone()))
    }

    fn perform(&mut self, plan: &Plan) -> Result<(), StoreError> {
        for planned in &plan.changes {
            if let (Some(old), Then::Is(_) | Then::Gone) = (&planned.old, &planned.then) {
                self.remove(old);
            }
        }
        for planned in &plan.changes {
            if let Then::Is(new) = &planned.then {
                self.put(new);
            }
        }
        Ok(())
    }

    fn keep(&mut self, id: CommitId, marker: &Marker) -> Result<(), StoreError> {
        self.commits.insert(id, marker.clone());
        Ok(())
    }
}

impl Records for MemoryStore {
    fn get(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<Record>>, StoreError>> {
        self.run(Operation::ReadRecords, move |state, _| {
            let found = state.records.open(&(of.name.to_owned(), key))?;
            Ok(found.and_then(|found| live(found, now_s)))
        })
    }

    fn get_many(
        &self,
        of: &'static Collection,
        keys: Vec<RecordKey>,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Vec<Result<Option<Arc<Record>>, StoreError>>, StoreError>> {
        self.run(Operation::ReadRecords, move |state, _| {
            check_keys(&keys)?;
            let get = |key| {
                let found = state.records.open(&(of.name.to_owned(), key))?;
                Ok(found.and_then(|found| live(found, now_s)))
            };
            Ok(keys.into_iter().map(get).collect())
        })
    }

    fn list(
        &self,
        of: &'static Collection,
        query: Query,
        now_s: u64,
    ) -> BoxFuture<'_, Result<RecordPage, StoreError>> {
        self.run(Operation::ReadRecords, move |state, _| {
            check_query(of, &query)?;
            state.records.list(of, &query, now_s)
        })
    }

    fn commit(
        &self,
        commit: Commit,
        now_s: u64,
    ) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        self.run(Operation::WriteRecords, move |state, _| match commit.prepare(now_s)? {
            Ok(commit) => state.records.commit(&commit),
            Err(refusal) => Ok(Err(refusal)),
        })
    }

    fn sweep(
        &self,
        now_s: u64,
        from: SweepPlace,
        limit: u32,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.run(Operation::WriteRecords, move |state, _| state.records.sweep(now_s, from, limit))
    }

    fn scan(
        &self,
        after: Option<(String, RecordKey)>,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>> {
        self.run(Operation::ReadRecords, move |state, _| state.records.scan(after))
    }
}
