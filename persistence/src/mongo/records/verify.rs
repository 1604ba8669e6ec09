//! Reads all records and entries, step by step, and names what is damaged.

use std::collections::BTreeMap;

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::super::fault::Failure;
use super::super::link::{Link, Query, Work};
use super::list::collections;
use super::rows::{self, ENTRIES, FoundEntry};
use crate::error::StoreError;
use crate::records::{Id, MISSING_ENTRY, ORPHAN, StoredRecord, record_place};
use crate::report::{Damage, StoreReport};

/// Records and entries looked at in one step.
const BITE: u32 = 32;
const ENTRY_BITE: u32 = 256;

/// What a step has found.
#[derive(Default)]
struct Step {
    whole: u64,
    damages: Vec<Damage>,
    /// Where the next one begins; `None` at the end.
    last: Option<Bson>,
}

/// Counts the records that are whole, and names what is not.
pub(in super::super) async fn verify(
    link: &Link,
    report: &mut StoreReport,
) -> Result<(), StoreError> {
    for of in collections(link).await? {
        let mut after = Some(Bson::MinKey);
        while let Some(from) = after {
            let step = link.transact(&SomeRecords { of: &of, after: from }).await?;
            after = note(step, report);
        }
    }
    let mut after = Some(Bson::MinKey);
    while let Some(from) = after {
        let step = link.transact(&SomeEntries { after: from }).await?;
        after = note(step, report);
    }
    Ok(())
}

fn note(step: Step, report: &mut StoreReport) -> Option<Bson> {
    report.records += step.whole;
    step.damages.into_iter().for_each(|damage| report.add(damage.place, damage.why));
    step.last
}

impl Step {
    /// Notes damage; other errors end the inspection.
    fn note<T>(&mut self, found: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::Damaged { place, why }) => {
                self.damages.push(Damage { place, why });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn add(&mut self, of: &str, key: &str, why: &str) {
        self.damages.push(Damage { place: record_place(of, key), why: why.to_owned() });
    }
}

fn after(from: &Bson, limit: u32) -> Query {
    let (filter, sort) = (doc! {"_id": {"$gt": from.clone()}}, doc! {"_id": 1});
    Query { filter, sort, limit, ..Query::default() }
}

/// Some records, held to their checksums and to having their entries.
struct SomeRecords<'a> {
    of: &'a str,
    after: Bson,
}

impl Work for SomeRecords<'_> {
    const WRITES: bool = false;

    type Answer = Step;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Step, Failure> {
        let mut step = Step::default();
        let query = after(&self.after, BITE);
        let mut whole: Vec<StoredRecord> = Vec::new();
        for found in link.find(session, &rows::collection(self.of), query).await? {
            step.last = found.get("_id").cloned();
            whole.extend(step.note(rows::stored(self.of, found))?);
        }
        step.whole = whole.len() as u64;
        for found in whole {
            let id = (found.of.clone(), found.record.key.clone());
            let keys = found.entries.iter().map(|entry| rows::key_of_entry(&id, entry));
            let keys: Vec<Document> = keys.collect();
            let expected = keys.len();
            let filter = doc! {"_id": {"$in": keys}, "record": id.1.as_str()};
            let query = Query { filter, fields: doc! {"_id": 1}, ..Query::default() };
            if expected > 0 && link.find(session, ENTRIES, query).await?.len() < expected {
                step.add(self.of, id.1.as_str(), MISSING_ENTRY);
            }
        }
        Ok(step)
    }
}

/// Some entries, held to the records that they name.
struct SomeEntries {
    after: Bson,
}

impl Work for SomeEntries {
    const WRITES: bool = false;

    type Answer = Step;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Step, Failure> {
        let mut step = Step::default();
        let mut entries: Vec<FoundEntry> = Vec::new();
        for found in link.find(session, ENTRIES, after(&self.after, ENTRY_BITE)).await? {
            step.last = found.get("_id").cloned();
            entries.extend(step.note(rows::found_entry(&found))?);
        }
        let records = self.named(link, session, &entries).await?;
        for entry in entries {
            let is_had = match records.get(&(entry.of.clone(), entry.record.clone())) {
                None => false,
                Some(Ok(found)) => found.has(&entry.index, &entry.key),
                // A record that is damaged was named before.
                Some(Err(_)) => true,
            };
            if !is_had {
                step.add(&entry.of, entry.record.as_str(), ORPHAN);
            }
        }
        Ok(step)
    }
}

impl SomeEntries {
    /// The records that entries name.
    async fn named(
        &self,
        link: &Link,
        session: &mut ClientSession,
        entries: &[FoundEntry],
    ) -> Result<BTreeMap<Id, Result<StoredRecord, StoreError>>, Failure> {
        let mut all = BTreeMap::new();
        for of in entries.chunk_by(|a, b| a.of == b.of) {
            let Some(first) = of.first() else { continue };
            for some in of.chunks(BITE as usize) {
                let keys: Vec<&str> = some.iter().map(|entry| entry.record.as_str()).collect();
                let query = Query { filter: doc! {"_id": {"$in": keys}}, ..Query::default() };
                for found in link.find(session, &rows::collection(&first.of), query).await? {
                    let key = rows::key_of(&first.of, &found)?;
                    all.insert((first.of.clone(), key), rows::stored(&first.of, found));
                }
            }
        }
        Ok(all)
    }
}
