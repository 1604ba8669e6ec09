//! Removes what has expired.

use rusqlite::{Connection, params};

use super::super::directory::JOURNAL;
use super::super::fault;
use super::rows::{self, SEALED};
use super::write::RecordTables;
use crate::error::StoreError;
use crate::records::{COMMIT_MEMORY_S, MAX_SWEPT, StoredRecord, Swept, parse};

/// Damaged records that one sweep passes over, at most.
const MAX_PASSED: usize = 1_000;

/// Removes what has expired, in the transaction of this connection.
pub(super) fn sweep(db: &Connection, now_s: u64, limit: u32) -> Result<Swept, StoreError> {
    let limit = limit.clamp(1, MAX_SWEPT);
    let over = ended(db, now_s, limit as usize)?;
    over.iter().try_for_each(|old| RecordTables(db).remove_whole(old))?;
    let sql = "DELETE FROM record_commits WHERE id IN \
        (SELECT id FROM record_commits WHERE at <= ?1 ORDER BY at LIMIT ?2)";
    let commits = match now_s.checked_sub(COMMIT_MEMORY_S) {
        Some(at) => db.execute(sql, params![at.cast_signed(), limit]),
        None => Ok(0),
    };
    let commits = commits.map_err(fault::of(JOURNAL))?;
    let more = over.len() == limit as usize || commits == limit as usize;
    Ok(Swept { records: over.len() as u64, commits: commits as u64, more })
}

/// Records that have expired, but for damaged ones.
fn ended(db: &Connection, now_s: u64, limit: usize) -> Result<Vec<StoredRecord>, StoreError> {
    let broken = fault::of(JOURNAL);
    let sql = format!(
        "SELECT r.collection, r.key, {SEALED} FROM records r \
         WHERE r.expires <= ?1 ORDER BY r.expires LIMIT ?2"
    );
    let mut statement = db.prepare_cached(&sql).map_err(&broken)?;
    let bounds = params![now_s.cast_signed(), (limit + MAX_PASSED) as i64];
    let mut found = statement.query(bounds).map_err(&broken)?;
    let mut over = Vec::new();
    while over.len() < limit
        && let Some(row) = found.next().map_err(&broken)?
    {
        let read = || -> rusqlite::Result<(String, String, _)> {
            Ok((row.get(0)?, row.get(1)?, rows::sealed(row, 2)?))
        };
        let (of, key, sealed) = read().map_err(&broken)?;
        // What is damaged was named when it was read or verified.
        over.extend(parse(&of, &key).and_then(|key| sealed.open(&of, &key)).ok());
    }
    Ok(over)
}
