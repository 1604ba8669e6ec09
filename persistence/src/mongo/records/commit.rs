//! A commit of records, in one transaction.
//!
//! What is read in a transaction and not written can be changed by another that
//! reads what this one writes, and both commit. So a record that is only to be
//! checked is written, too ([`super::guard`]). Everything else that is judged by
//! is written anyway: a record by its own change, a unique key by the entry that
//! takes it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::super::fault::{self, Failure};
use super::super::link::{Link, Query, Work};
use super::super::writes::length;
use super::rows::{COMMITS, ENTRIES};
use super::{guard, rows};
use crate::records::{
    CommitOutcome, Expect, Facts, Id, Marker, Plan, Planned, Prepared, StoredRecord, Then, judge,
};

/// Keys of entries in one command.
pub(super) const MAX_ENTRY_KEYS: usize = 2_000;
/// About how many bytes one command has, which may have 16 MiB.
const MAX_COMMAND_BYTES: u64 = 8 << 20;

/// A commit under way.
pub(super) struct Group<'a> {
    commit: &'a Prepared,
    /// An attempt found that the commit was done already.
    is_known: AtomicBool,
    /// An attempt met an entry that no record has.
    clears: AtomicBool,
}

impl<'a> Group<'a> {
    pub(super) const fn new(commit: &'a Prepared) -> Self {
        let (is_known, clears) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { commit, is_known, clears }
    }
}

impl Work for Group<'_> {
    type Answer = CommitOutcome;

    async fn run(
        &self,
        link: &Link,
        session: &mut ClientSession,
    ) -> Result<CommitOutcome, Failure> {
        if self.is_known.load(Ordering::Relaxed)
            && let Some(marker) = self.marker(link, session).await?
        {
            return Ok(Ok(marker.answer(self.commit)?));
        }
        let judged = match self.facts(link, session).await {
            Ok(facts) => judge(self.commit, facts),
            Err(Failure::Store(error)) => Err(error),
            Err(failure) => return Err(failure),
        };
        let plan = match judged {
            Ok(Ok(plan)) => plan,
            // What is in the way may be what it did itself.
            refused => {
                return match self.marker(link, session).await? {
                    Some(marker) => Ok(Ok(marker.answer(self.commit)?)),
                    None => Ok(refused?.map(|plan| plan.committed)),
                };
            }
        };
        self.perform(link, session, &plan).await?;
        let marker = Marker::of(self.commit, &plan.committed);
        let document = rows::marker_document(self.commit.id, &marker);
        link.writes().command(1, length(&document));
        match link.collection(COMMITS).insert_one(document).session(session).await {
            Err(error) if fault::is_duplicate(&error) => {
                self.is_known.store(true, Ordering::Relaxed);
                Err(Failure::Again)
            }
            other => Ok(other.map(|_| Ok(plan.committed))?),
        }
    }
}

impl Group<'_> {
    async fn marker(
        &self,
        link: &Link,
        session: &mut ClientSession,
    ) -> Result<Option<Marker>, Failure> {
        let id = self.commit.id;
        let filter = doc! {"_id": rows::marker_key(id)};
        let found = link.find(session, COMMITS, Query { filter, limit: 1, ..Query::default() });
        let found = found.await?.into_iter().next();
        Ok(found.map(|found| rows::marker(id, &found)).transpose()?)
    }

    /// Reads what the commit meets.
    async fn facts(&self, link: &Link, session: &mut ClientSession) -> Result<Facts, Failure> {
        let mut facts = Facts::default();
        let ids = self.commit.writes.iter().map(|write| write.id.clone());
        read(link, session, ids.collect(), &mut facts).await?;
        let keys: Vec<Document> =
            self.commit.wanted().map(|unique| rows::unique_key(&unique)).collect();
        let mut holders = Vec::new();
        for keys in keys.chunks(MAX_ENTRY_KEYS) {
            let filter = doc! {"_id": {"$in": keys.to_vec()}};
            let query = Query { filter, ..Query::default() };
            for found in link.find(session, ENTRIES, query).await? {
                let entry = rows::found_entry(&found)?;
                let id = (entry.of.clone(), entry.record.clone());
                facts.holders.insert((entry.of, entry.index, entry.key), entry.record);
                if !facts.records.contains_key(&id) {
                    holders.push(id);
                }
            }
        }
        read(link, session, holders, &mut facts).await?;
        Ok(facts)
    }

    async fn perform(
        &self,
        link: &Link,
        session: &mut ClientSession,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let removed = plan.changes.iter().flat_map(|planned| {
            planned.removed(true).into_iter().map(|entry| rows::key_of_entry(&planned.id, entry))
        });
        let mut removed: Vec<Document> = removed.collect();
        let mut added = Vec::new();
        for planned in &plan.changes {
            if let Then::Is(new) = &planned.then {
                let documents = planned.added(true).into_iter();
                added.extend(documents.map(|entry| rows::entry_document(new, entry)));
            }
        }
        if self.clears.load(Ordering::Relaxed) {
            let keys = added.iter().filter_map(|entry| entry.get_document("_id").ok());
            removed.extend(keys.cloned());
        }
        delete_entries(link, session, &removed).await?;
        let guarded = self.commit.writes.iter().zip(&plan.changes);
        for (_, planned) in guarded.filter(|(write, planned)| is_guarded(write.expect, planned)) {
            guard::write(link, session, planned, self.commit.id).await?;
        }
        for (of, changes) in by_collection(&plan.changes) {
            change(link, session, &rows::collection(of), &changes).await?;
        }
        match insert(link, session, ENTRIES, added).await {
            Err(Failure::Driver(error)) if fault::is_duplicate(&error) => {
                self.clears.store(true, Ordering::Relaxed);
                Err(Failure::Again)
            }
            other => other,
        }
    }
}

/// Whether what was expected of a record is not said by a change of it.
fn is_guarded(expect: Expect, planned: &Planned) -> bool {
    matches!(planned.then, Then::Same) && expect != Expect::Any
}

fn by_collection(changes: &[Planned]) -> BTreeMap<&str, Vec<&Planned>> {
    let mut all: BTreeMap<&str, Vec<&Planned>> = BTreeMap::new();
    for planned in changes {
        all.entry(&planned.id.0).or_default().push(planned);
    }
    all
}

/// Changes the documents of one collection.
async fn change(
    link: &Link,
    session: &mut ClientSession,
    collection: &str,
    changes: &[&Planned],
) -> Result<(), Failure> {
    let (mut new, mut updates, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for Planned { id: (_, key), old, then } in changes {
        match (then, old) {
            (Then::Same, _) | (Then::Gone, None) => {}
            (Then::Gone, Some(_)) => gone.push(key.as_str()),
            (Then::Is(record), None) => new.push(rows::document(record)),
            (Then::Is(record), Some(_)) => {
                updates.push((doc! {"_id": key.as_str()}, rows::document(record)));
            }
        }
    }
    if !gone.is_empty() {
        link.writes().command(gone.len(), 0);
        let expected = gone.len() as u64;
        let documents = link.collection(collection);
        let delete = documents.delete_many(doc! {"_id": {"$in": gone}});
        if delete.session(&mut *session).await?.deleted_count != expected {
            return Err(Failure::Again);
        }
    }
    let mut rest = updates.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut some, mut bytes) = (Vec::new(), 0);
        while bytes < MAX_COMMAND_BYTES
            && let Some((filter, update)) = rest.next()
        {
            bytes += length(&update);
            some.push((filter, update));
        }
        if !link.update(session, collection, some).await? {
            return Err(Failure::Again);
        }
    }
    match insert(link, session, collection, new).await {
        Err(Failure::Driver(error)) if fault::is_duplicate(&error) => Err(Failure::Again),
        other => other,
    }
}

/// Inserts documents, if there are any.
pub(super) async fn insert(
    link: &Link,
    session: &mut ClientSession,
    collection: &str,
    documents: Vec<Document>,
) -> Result<(), Failure> {
    if documents.is_empty() {
        return Ok(());
    }
    link.writes().command(documents.len(), documents.iter().map(length).sum());
    let collection = link.collection(collection);
    let insert = collection.insert_many(documents);
    Ok(insert.session(session).await.map(drop)?)
}

/// Deletes entries, there or not.
pub(super) async fn delete_entries(
    link: &Link,
    session: &mut ClientSession,
    keys: &[Document],
) -> Result<(), Failure> {
    for keys in keys.chunks(MAX_ENTRY_KEYS) {
        link.writes().command(keys.len(), 0);
        let keys: Vec<Bson> = keys.iter().cloned().map(Bson::from).collect();
        let entries = link.collection(ENTRIES);
        let delete = entries.delete_many(doc! {"_id": {"$in": keys}});
        delete.session(&mut *session).await?;
    }
    Ok(())
}

/// Reads records into the facts.
async fn read(
    link: &Link,
    session: &mut ClientSession,
    ids: Vec<Id>,
    facts: &mut Facts,
) -> Result<(), Failure> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (of, key) in ids {
        keys.entry(of).or_default().push(key.to_string());
    }
    for (of, keys) in keys {
        let query = Query { filter: doc! {"_id": {"$in": keys}}, ..Query::default() };
        for found in link.find(session, &rows::collection(&of), query).await? {
            let found: StoredRecord = rows::stored(&of, found)?;
            facts.records.insert((of.clone(), found.record.key.clone()), found);
        }
    }
    Ok(())
}
