//! The rows of records, for whoever reads them.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::directory::JOURNAL;
use super::super::fault;
use crate::error::StoreError;
use crate::records::{RecordKey, Sealed, StoredRecord};

/// The columns that [`sealed`] reads, from `records` as `r`.
pub(super) const SEALED: &str = "r.version, r.expires, r.content, r.checksum";

/// Reads a record from those columns, the first of which is `first`.
pub(super) fn sealed(row: &Row<'_>, first: usize) -> rusqlite::Result<Sealed> {
    let expires: Option<i64> = row.get(first + 1)?;
    Ok(Sealed {
        version: row.get::<_, i64>(first)?.cast_unsigned(),
        expires_s: expires.map(i64::cast_unsigned),
        content: Bytes::copy_from_slice(row.get_ref(first + 2)?.as_blob()?),
        checksum: row.get::<_, i64>(first + 3)?.cast_unsigned(),
    })
}

/// A record, whether it has expired or not.
pub(super) fn record(
    db: &Connection,
    of: &str,
    key: &RecordKey,
) -> Result<Option<StoredRecord>, StoreError> {
    let broken = fault::of(JOURNAL);
    let sql = "SELECT version, expires, content, checksum FROM records \
        WHERE collection = ?1 AND key = ?2";
    let mut statement = db.prepare_cached(sql).map_err(&broken)?;
    let found = statement.query_row(params![of, key.as_str()], |row| sealed(row, 0));
    found.optional().map_err(&broken)?.map(|sealed| sealed.open(of, key)).transpose()
}

/// Whether there is such an entry.
pub(super) fn has_entry(
    db: &Connection,
    (of, index): (&str, &str),
    key: &[u8],
    record: &RecordKey,
) -> Result<bool, StoreError> {
    let broken = fault::of(JOURNAL);
    let sql = "SELECT 1 FROM record_entries \
        WHERE collection = ?1 AND name = ?2 AND key = ?3 AND record = ?4";
    let mut statement = db.prepare_cached(sql).map_err(&broken)?;
    let row = statement.query_row(params![of, index, key, record.as_str()], |_| Ok(()));
    Ok(row.optional().map_err(&broken)?.is_some())
}
