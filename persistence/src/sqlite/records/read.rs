//! Reads of records, each in one transaction and of bounded size.

use std::sync::Arc;

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::super::directory::JOURNAL;
use super::super::fault;
use super::super::reader::Reader;
use super::rows::{self, SEALED};
use crate::error::StoreError;
use crate::records::{
    Collection, Id, IndexKey, Order, PageBuilder, Query, Record, RecordKey, RecordPage, SCAN_BYTES,
    SCAN_RECORDS, StoredRecord, left_out, live, parse,
};

type Found = Result<Option<Arc<Record>>, StoreError>;

impl Reader {
    /// Records, in the order of the keys.
    pub(super) fn records(
        &self,
        of: &Collection,
        keys: &[RecordKey],
        now_s: u64,
    ) -> Result<Vec<Found>, StoreError> {
        self.journal(|db| {
            let mut all = Vec::with_capacity(keys.len());
            for key in keys {
                let found = rows::record(db, of.name, key);
                all.push(match found {
                    Err(error @ StoreError::Damaged { .. }) => Err(error),
                    found => Ok(found?.and_then(|found| live(found, now_s))),
                });
            }
            Ok(all)
        })
    }

    /// A page of a listing.
    pub(super) fn list_records(
        &self,
        of: &Collection,
        query: &Query,
        now_s: u64,
    ) -> Result<RecordPage, StoreError> {
        let mut page = PageBuilder::new(query);
        let Some((sql, values)) = listing(of, query, now_s) else { return Ok(page.finish()) };
        let broken = fault::of(JOURNAL);
        self.journal(|db| {
            let mut statement = db.prepare_cached(&sql).map_err(&broken)?;
            let mut rows = statement.query(params_from_iter(values)).map_err(&broken)?;
            while let Some(row) = rows.next().map_err(&broken)? {
                let read = || -> rusqlite::Result<_> {
                    let key = IndexKey::raw(row.get_ref(0)?.as_blob()?);
                    Ok((key, row.get::<_, String>(1)?, rows::sealed(row, 2)?))
                };
                let (key, record, sealed) = read().map_err(&broken)?;
                let found = parse(of.name, &record)
                    .and_then(|record| sealed.open_under(of.name, &record, (query.index, &key)));
                let found = match found {
                    Ok(found) => found.filter(|found| found.is_live(now_s)),
                    Err(error) => {
                        left_out(error)?;
                        continue;
                    }
                };
                if found.is_some_and(|found| !page.take(key, found, sealed.content.len())) {
                    break;
                }
            }
            Ok(page.finish())
        })
    }

    /// Some records after one.
    pub(super) fn scan_records(&self, after: Option<Id>) -> Result<Vec<StoredRecord>, StoreError> {
        let (of, key) = after.map_or_else(Default::default, |(of, key)| (of, key.to_string()));
        let broken = fault::of(JOURNAL);
        let sql = format!(
            "SELECT r.collection, r.key, {SEALED} FROM records r \
             WHERE (r.collection, r.key) > (?1, ?2) ORDER BY r.collection, r.key LIMIT ?3"
        );
        self.journal(|db| {
            let mut statement = db.prepare_cached(&sql).map_err(&broken)?;
            let limit = SCAN_RECORDS as i64;
            let mut rows = statement.query((of, key, limit)).map_err(&broken)?;
            let (mut found, mut bytes) = (Vec::new(), 0);
            while bytes < SCAN_BYTES
                && let Some(row) = rows.next().map_err(&broken)?
            {
                let read = || -> rusqlite::Result<(String, String, _)> {
                    Ok((row.get(0)?, row.get(1)?, rows::sealed(row, 2)?))
                };
                let (of, key, sealed) = read().map_err(&broken)?;
                bytes += sealed.content.len();
                found.push(sealed.open(&of, &parse(&of, &key)?)?);
            }
            Ok(found)
        })
    }
}

/// The statement of a listing, and its values; `None`: there is nothing in it.
fn listing(of: &Collection, query: &Query, now_s: u64) -> Option<(String, Vec<Value>)> {
    let stretch = query.stretch()?;
    let text = |text: &str| Value::Text(text.to_owned());
    let bytes = |key: &IndexKey| Value::Blob(key.as_bytes().to_vec());
    let (key, record) = &stretch.from;
    let now_s = Value::Integer(i64::try_from(now_s).unwrap_or(i64::MAX));
    let mut values =
        vec![text(of.name), text(query.index), now_s, bytes(key), text(record.as_str())];
    let mut until = "";
    if let Some((key, record)) = &stretch.to {
        until = "AND (e.key, e.record) < (?6, ?7)";
        values.extend([bytes(key), text(record.as_str())]);
    }
    let order = match query.order {
        Order::Ascending => "ASC",
        Order::Descending => "DESC",
    };
    let sql = format!(
        "SELECT e.key, e.record, {SEALED} FROM record_entries e \
         CROSS JOIN records r ON r.collection = e.collection AND r.key = e.record \
         WHERE e.collection = ?1 AND e.name = ?2 AND (r.expires IS NULL OR r.expires > ?3) \
         AND (e.key, e.record) >= (?4, ?5) {until} \
         ORDER BY e.key {order}, e.record {order}"
    );
    Some((sql, values))
}
