//! Records that come from another store.

use mongodb::ClientSession;
use mongodb::bson::doc;

use super::super::fault::Failure;
use super::super::link::{Link, Query, Work};
use super::commit::{MAX_ENTRY_KEYS, insert};
use super::rows::{self, ENTRIES};
use crate::import::IS_THERE;
use crate::records::StoredRecord;

/// Records as they were elsewhere.
pub(super) struct Arrivals<'a> {
    pub(super) records: &'a [StoredRecord],
}

impl Work for Arrivals<'_> {
    type Answer = ();

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<(), Failure> {
        let mut new = Vec::new();
        for of in self.records.chunk_by(|a, b| a.of == b.of) {
            let Some(first) = of.first() else { continue };
            let collection = rows::collection(&first.of);
            let keys: Vec<&str> = of.iter().map(|record| record.record.key.as_str()).collect();
            let query = Query { filter: doc! {"_id": {"$in": keys}}, ..Query::default() };
            let mut there = Vec::new();
            for found in link.find(session, &collection, query).await? {
                there.push(rows::stored(&first.of, found)?);
            }
            let mut documents = Vec::new();
            for record in of {
                match there.iter().find(|there| there.record.key == record.record.key) {
                    // By an earlier attempt.
                    Some(there) if there == record => {}
                    Some(_) => return Err(IS_THERE.into()),
                    None => {
                        documents.push(rows::document(record));
                        new.push(record);
                    }
                }
            }
            insert(link, session, &collection, documents).await?;
        }
        let entries = new.iter().flat_map(|record| {
            record.entries.iter().map(|entry| rows::entry_document(record, entry))
        });
        let entries: Vec<_> = entries.collect();
        for some in entries.chunks(MAX_ENTRY_KEYS) {
            let keys: Vec<_> = some.iter().filter_map(|entry| entry.get("_id").cloned()).collect();
            let query = Query { filter: doc! {"_id": {"$in": keys}}, limit: 1, ..Query::default() };
            if !link.find(session, ENTRIES, query).await?.is_empty() {
                return Err(IS_THERE.into());
            }
        }
        insert(link, session, ENTRIES, entries).await
    }
}
