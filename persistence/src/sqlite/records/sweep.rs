//! Removes what has expired.

use rusqlite::{Connection, params};

use super::super::directory::JOURNAL;
use super::super::fault;
use super::rows::{self, SEALED};
use super::write::RecordTables;
use crate::error::StoreError;
use crate::records::{COMMIT_MEMORY_S, MAX_SWEPT, StoredRecord, SweepPlace, Swept, parse};

/// Removes what has expired, in the transaction of this connection.
pub(super) fn sweep(
    db: &Connection,
    now_s: u64,
    from: SweepPlace,
    limit: u32,
) -> Result<Swept, StoreError> {
    let limit = limit.clamp(1, MAX_SWEPT);
    let Ended { over, damaged } = Ended::read(db, now_s, &from, limit)?;
    over.iter().try_for_each(|old| RecordTables(db).remove_whole(old))?;
    let sql = "DELETE FROM record_commits WHERE id IN \
        (SELECT id FROM record_commits WHERE at <= ?1 ORDER BY at LIMIT ?2)";
    let commits = match now_s.checked_sub(COMMIT_MEMORY_S) {
        Some(at) => db.execute(sql, params![at.cast_signed(), limit]),
        None => Ok(0),
    };
    let (records, commits) = (over.len() as u64, commits.map_err(fault::of(JOURNAL))? as u64);
    let is_full = [records, damaged, commits].contains(&u64::from(limit));
    let next = is_full.then(|| SweepPlace { passed: from.passed + damaged, ..from });
    Ok(Swept { records, commits, damaged, next })
}

/// Some of the records that have expired.
struct Ended {
    over: Vec<StoredRecord>,
    /// Others, which are damaged.
    damaged: u64,
}

impl Ended {
    /// So many at most of either, behind those that were passed.
    fn read(
        db: &Connection,
        now_s: u64,
        from: &SweepPlace,
        limit: u32,
    ) -> Result<Self, StoreError> {
        let broken = fault::of(JOURNAL);
        let sql = format!(
            "SELECT r.collection, r.key, {SEALED} FROM records r \
             WHERE r.expires <= ?1 ORDER BY r.expires, r.no LIMIT -1 OFFSET ?2"
        );
        let mut statement = db.prepare_cached(&sql).map_err(&broken)?;
        let bounds = params![now_s.cast_signed(), from.passed.cast_signed()];
        let mut found = statement.query(bounds).map_err(&broken)?;
        let (mut ended, limit) = (Self { over: Vec::new(), damaged: 0 }, u64::from(limit));
        while (ended.over.len() as u64) < limit
            && ended.damaged < limit
            && let Some(row) = found.next().map_err(&broken)?
        {
            let read = || -> rusqlite::Result<(String, String, _)> {
                Ok((row.get(0)?, row.get(1)?, rows::sealed(row, 2)?))
            };
            let (of, key, sealed) = read().map_err(&broken)?;
            // What is damaged was named when it was read or verified.
            match parse(&of, &key).and_then(|key| sealed.open(&of, &key)) {
                Ok(old) => ended.over.push(old),
                Err(_) => ended.damaged += 1,
            }
        }
        Ok(ended)
    }
}
