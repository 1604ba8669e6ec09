//! Records of which those that are read by key are cached. Every read and write
//! of the server goes through it, so no caller invalidates anything by hand.

use std::sync::Arc;

use super::hub::Caches;
use super::layer::Cache;
use super::model::Model;
use crate::error::StoreError;
use crate::records::{
    Change, Collection, Commit, CommitOutcome, Fields, Query, Record, RecordKey, RecordPage,
    Records, StoredRecord, SweepPlace, Swept, Value, decode_record, encode_record, is_name,
};
use crate::store::BoxFuture;

/// Records with a cache over them.
///
/// [`Records::get`] is answered from the cache, at most
/// [`max_stale`](super::CacheOptions::max_stale) behind what other nodes have
/// written; whatever else is asked goes to the store. A commit is judged by the
/// store alone, so who expects a version that is not the last is refused, and
/// reads the last one then.
pub struct CachedRecords {
    records: Arc<dyn Records>,
    cache: Arc<Cache<RecordsByKey>>,
}

impl CachedRecords {
    /// Records with these caches over them.
    pub fn new(records: Arc<dyn Records>, caches: &Caches) -> Self {
        Self { records, cache: caches.of() }
    }

    async fn read(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> Result<Option<Arc<Record>>, StoreError> {
        let records = Arc::clone(&self.records);
        let id = (of.name.to_owned(), key.clone());
        let load = move || async move { records.get(of, key, now_s).await };
        let found = self.cache.get(&id, load).await?;
        Ok(found.map(|found| Arc::clone(&*found)).filter(|found| found.is_live(now_s)))
    }

    async fn write(&self, commit: Commit, now_s: u64) -> Result<CommitOutcome, StoreError> {
        let changed = commit.writes.iter().filter(|write| write.change != Change::Check);
        let changed = changed.map(|write| (write.of.name.to_owned(), write.key.clone()));
        let writes: Vec<_> = changed.map(|id| self.cache.write(id)).collect();
        let outcome = self.records.commit(commit, now_s).await;
        // Also when it was refused: what was read before may have been too old.
        let ends: Vec<_> = writes.into_iter().map(|write| tokio::spawn(write.end())).collect();
        for end in ends {
            // One that was not told is told again, or ends with its bound.
            let _ = end.await;
        }
        outcome
    }
}

impl Records for CachedRecords {
    fn get(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<Record>>, StoreError>> {
        Box::pin(self.read(of, key, now_s))
    }

    fn get_many(
        &self,
        of: &'static Collection,
        keys: Vec<RecordKey>,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Vec<Result<Option<Arc<Record>>, StoreError>>, StoreError>> {
        self.records.get_many(of, keys, now_s)
    }

    fn list(
        &self,
        of: &'static Collection,
        query: Query,
        now_s: u64,
    ) -> BoxFuture<'_, Result<RecordPage, StoreError>> {
        self.records.list(of, query, now_s)
    }

    fn commit(
        &self,
        commit: Commit,
        now_s: u64,
    ) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        Box::pin(self.write(commit, now_s))
    }

    /// What is removed has ended, and is served by no cache.
    fn sweep(
        &self,
        now_s: u64,
        from: SweepPlace,
        limit: u32,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.records.sweep(now_s, from, limit)
    }

    fn scan(
        &self,
        after: Option<(String, RecordKey)>,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>> {
        self.records.scan(after)
    }
}

/// Records, by collection and key.
pub struct RecordsByKey;

impl Model for RecordsByKey {
    type Key = (String, RecordKey);
    type Value = Arc<Record>;

    const KIND: &'static str = "record";
    const VERSION: u32 = 1;

    fn key_text((of, key): &(String, RecordKey)) -> String {
        format!("{of}/{key}")
    }

    fn key_of(text: &str) -> Option<(String, RecordKey)> {
        let (of, key) = text.split_once('/').filter(|(of, _)| is_name(of))?;
        Some((of.to_owned(), RecordKey::new(key)?))
    }

    fn encode(record: &Arc<Record>) -> Vec<u8> {
        encode_record(record)
    }

    fn decode(bytes: &[u8]) -> Option<Arc<Record>> {
        decode_record(bytes).map(Arc::new)
    }

    fn weight(record: &Arc<Record>) -> usize {
        size_of::<Record>() + record.key.as_str().len() + fields_weight(&record.body)
    }
}

/// What a field takes beside its name and value, roughly.
const FIELD_BYTES: usize = 64;

fn fields_weight(fields: &Fields) -> usize {
    fields.iter().map(|(name, value)| FIELD_BYTES + name.len() + value_weight(value)).sum()
}

fn value_weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Time(_) => 0,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(items) => {
            items.iter().map(|item| size_of::<Value>() + value_weight(item)).sum()
        }
        Value::Map(fields) => fields_weight(fields),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_comes_back_as_it_was(of in "[a-z0-9_]{1,32}", key in "[!-~]{1,128}") {
            let id = (of, RecordKey::new(key).unwrap());
            let text = RecordsByKey::key_text(&id);
            prop_assert!(text.len() <= 192 && !text.contains(' '));
            prop_assert_eq!(RecordsByKey::key_of(&text), Some(id));
        }

        #[test]
        fn bytes_of_others_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(record) = RecordsByKey::decode(&bytes) {
                prop_assert!(RecordsByKey::weight(&record) > 0);
            }
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in ["", "users", "users/", "/k", "Users/k", "users/a b"] {
            assert_eq!(RecordsByKey::key_of(text), None, "{text}");
        }
    }
}
