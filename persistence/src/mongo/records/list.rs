//! Listings, scans and reads of many.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::super::fault::Failure;
use super::super::link::{Link, Query as Find, Work};
use super::rows::{self, ENTRIES, FoundEntry};
use crate::error::StoreError;
use crate::records::{
    Collection, Cursor, Id, Order, PageBuilder, Query, RecordKey, RecordPage, StoredRecord,
    left_out,
};

/// Records read in one step: a few megabytes at worst.
const BITE: usize = 32;

/// Records read in one step of a scan, which nobody waits for.
const SCAN_BITE: u32 = 128;

/// What is known of each key.
type ByKey = BTreeMap<RecordKey, Result<StoredRecord, StoreError>>;

/// Records by their keys, in a session of their own.
pub(super) async fn by_keys<'a>(
    link: &Link,
    of: &str,
    keys: impl Iterator<Item = &'a RecordKey>,
) -> Result<ByKey, StoreError> {
    let keys: BTreeSet<&RecordKey> = keys.collect();
    link.in_session(async |session| find(link, session, of, keys).await).await
}

async fn find(
    link: &Link,
    session: &mut ClientSession,
    of: &str,
    keys: BTreeSet<&RecordKey>,
) -> Result<ByKey, Failure> {
    let keys: Vec<&str> = keys.into_iter().map(RecordKey::as_str).collect();
    let query = Find { filter: doc! {"_id": {"$in": keys}}, ..Find::default() };
    let mut all = ByKey::new();
    for found in link.find(session, &rows::collection(of), query).await? {
        let key = rows::key_of(of, &found)?;
        all.insert(key, rows::stored(of, found));
    }
    Ok(all)
}

/// A page of a listing, of one state of the database.
pub(super) struct Listing<'a> {
    pub(super) of: &'static Collection,
    pub(super) query: &'a Query,
    pub(super) now_s: u64,
}

impl Work for Listing<'_> {
    const WRITES: bool = false;

    type Answer = RecordPage;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<RecordPage, Failure> {
        let mut page = PageBuilder::new(self.query);
        let mut query = self.query.clone();
        // One more than fits, which says whether more follows.
        let limit = query.limit_of_page() + 1;
        while let Some(find) = self.entries(&query, limit) {
            let found = link.find(session, ENTRIES, find).await?;
            let is_last = found.len() < limit;
            let mut entries = Vec::with_capacity(found.len());
            for entry in found.iter().map(rows::found_entry) {
                match entry {
                    Ok(entry) => entries.push(entry),
                    Err(error) => left_out(error)?,
                }
            }
            let Some(last) = entries.last() else { break };
            query.after = Some(Cursor { key: last.key.clone(), record: last.record.clone() });
            for some in entries.chunks(BITE) {
                if !self.fill(link, session, some, &mut page).await? {
                    return Ok(page.finish());
                }
            }
            if is_last {
                break;
            }
        }
        Ok(page.finish())
    }
}

impl Listing<'_> {
    /// What finds the entries of a stretch that have not ended.
    fn entries(&self, query: &Query, limit: usize) -> Option<Find> {
        let (of, index) = (self.of.name, query.index);
        let stretch = query.stretch()?;
        let is_unique = self.of.index(index).is_some_and(|index| index.unique);
        let (key, record) = &stretch.from;
        let mut range = doc! {"$gte": rows::entry_key(of, index, key, record.as_str())};
        let to = match &stretch.to {
            // A unique one has no record in its key, and is before it.
            Some((key, _)) if is_unique => rows::entry_key(of, index, key, ""),
            Some((key, record)) => rows::entry_key(of, index, key, record.as_str()),
            None => doc! {"collection": of, "index": index, "key": Bson::MaxKey},
        };
        range.insert("$lt", to);
        let ended = doc! {"$not": {"$lte": rows::date(self.now_s)}};
        let order = match query.order {
            Order::Ascending => 1,
            Order::Descending => -1,
        };
        Some(Find {
            filter: doc! {"_id": range, "expires": ended},
            sort: doc! {"_id": order},
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            ..Find::default()
        })
    }

    /// Puts the records of some entries on the page; false when it is full.
    async fn fill(
        &self,
        link: &Link,
        session: &mut ClientSession,
        entries: &[FoundEntry],
        page: &mut PageBuilder,
    ) -> Result<bool, Failure> {
        let keys = entries.iter().map(|entry| &entry.record).collect();
        let found = find(link, session, self.of.name, keys).await?;
        for entry in entries {
            let found = match found.get(&entry.record) {
                // No record has it: an inspection names it.
                None => continue,
                Some(Ok(found)) => found,
                Some(Err(error)) => {
                    left_out(error.clone())?;
                    continue;
                }
            };
            let is_shown = found.has(&entry.index, &entry.key) && found.record.is_live(self.now_s);
            let bytes = found.sealed().content.len();
            if is_shown && !page.take(entry.key.clone(), found.record.clone(), bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The names of the kinds of records that there are, in order.
pub(super) async fn collections(link: &Link) -> Result<Vec<String>, StoreError> {
    let names = link.step(async { Ok(link.db().list_collection_names().await?) }).await?;
    let kinds = names.iter().filter_map(|name| rows::kind(name)).map(str::to_owned);
    Ok(kinds.collect::<BTreeSet<_>>().into_iter().collect())
}

/// Some records after one.
pub(super) async fn scan(link: &Link, after: Option<Id>) -> Result<Vec<StoredRecord>, StoreError> {
    let (of, key) = after.map_or_else(Default::default, |(of, key)| (of, key.to_string()));
    for kind in collections(link).await?.into_iter().filter(|kind| *kind >= of) {
        let after = if kind == of { key.as_str() } else { "" };
        let found = bite(link, &kind, after).await?;
        if !found.is_empty() {
            return found.into_iter().map(|found| rows::stored(&kind, found)).collect();
        }
    }
    Ok(Vec::new())
}

async fn bite(link: &Link, of: &str, after: &str) -> Result<Vec<Document>, StoreError> {
    let find = Find {
        filter: doc! {"_id": {"$gt": after}},
        sort: doc! {"_id": 1},
        limit: SCAN_BITE,
        ..Find::default()
    };
    link.many(&rows::collection(of), find).await
}
