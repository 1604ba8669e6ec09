//! The schema, its version, and the way from older versions.
//!
//! Each file's `user_version` is the version of its schema, its
//! `application_id` says that it is ours. A migration is one transaction that
//! ends by setting the version, so a crash leaves the old one or the new one.

use avvy_model::{BraneId, UserId};
use rusqlite::{Connection, TransactionBehavior, params};

use super::directory::{JOURNAL, PARTS};
use super::fault;
use super::rows::{damaged, kind_number, record_checksum, visibility_number};
use crate::checksum::Header;
use crate::error::{Place, StoreError};
use crate::record::{BraneKind, BraneRecord};

/// `AVVY` in ASCII.
const APPLICATION_ID: i32 = 0x4156_5659;

/// The version of the journal's schema that this program writes.
pub(super) const JOURNAL_VERSION: u32 = 7;
/// The version of the parts' schema that this program writes.
const PARTS_VERSION: u32 = 1;

const JOURNAL_SQL: &str = "
    CREATE TABLE branes (
        no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, owner BLOB NOT NULL,
        name TEXT NOT NULL, kind INTEGER NOT NULL, created_ms INTEGER NOT NULL,
        checksum INTEGER NOT NULL, visibility INTEGER NOT NULL DEFAULT 0) STRICT;
    CREATE INDEX branes_by_age ON branes (created_ms, id);
    CREATE TABLE heads (
        no INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
        chunks INTEGER NOT NULL, bytes INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT;
    CREATE TABLE lineages (
        no INTEGER PRIMARY KEY, body BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT;
    CREATE TABLE chunks (
        key INTEGER PRIMARY KEY, from_seq INTEGER NOT NULL, epoch INTEGER NOT NULL,
        at_ms INTEGER NOT NULL, checksum INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE TABLE snapshots (
        snapshot INTEGER PRIMARY KEY, no INTEGER NOT NULL, epoch INTEGER NOT NULL,
        at_seq INTEGER NOT NULL, parts INTEGER NOT NULL, bytes INTEGER NOT NULL,
        taken_ms INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT;
    CREATE INDEX snapshots_by_brane ON snapshots (no, at_seq);
";

/// What version 2 added.
const JOURNAL_V2_SQL: &str = "
    CREATE INDEX branes_by_owner ON branes (owner, created_ms, id);
    CREATE TABLE meta (
        key TEXT PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE VIEW journal AS
        SELECT branes.name AS brane, chunks.epoch, chunks.from_seq,
            chunks.key & 4398046511103 AS to_seq,
            datetime(chunks.at_ms / 1000, 'unixepoch') AS written, length(chunks.body) AS bytes
        FROM chunks LEFT JOIN branes ON branes.no = chunks.key >> 42;
";

/// What version 3 added: the tails that openings cut, and their chunks as they
/// were found. Those are damaged, so any type and no value must fit.
const JOURNAL_V3_SQL: &str = "
    CREATE TABLE cuts (
        no INTEGER NOT NULL, epoch INTEGER NOT NULL, kept INTEGER NOT NULL,
        claimed INTEGER NOT NULL, chunks INTEGER NOT NULL, why TEXT NOT NULL,
        checksum INTEGER NOT NULL, PRIMARY KEY (no, epoch)) STRICT, WITHOUT ROWID;
    CREATE TABLE cut_chunks (
        no INTEGER, cut_epoch INTEGER, key INTEGER, from_seq, epoch, at_ms, checksum, body);
    CREATE INDEX cut_chunks_by_cut ON cut_chunks (no, cut_epoch);
";

/// What version 4 added: how large a brane's cells are when it begins, in units
/// of 0.1 mm. Those that were there began with the default.
const JOURNAL_V4_SQL: &str = "
    ALTER TABLE branes ADD COLUMN cell_size INTEGER NOT NULL DEFAULT 160000;
";

/// What version 5 added: records, the entries of their indexes, and what came
/// of commits. See `records`.
const JOURNAL_V5_SQL: &str = "
    CREATE TABLE records (
        no INTEGER PRIMARY KEY, collection TEXT NOT NULL, key TEXT NOT NULL,
        version INTEGER NOT NULL, expires INTEGER, content BLOB NOT NULL,
        checksum INTEGER NOT NULL, UNIQUE (collection, key)) STRICT;
    CREATE INDEX records_by_end ON records (expires) WHERE expires IS NOT NULL;
    CREATE TABLE record_entries (
        collection TEXT NOT NULL, name TEXT NOT NULL, key BLOB NOT NULL, record TEXT NOT NULL,
        PRIMARY KEY (collection, name, key, record)) STRICT, WITHOUT ROWID;
    CREATE TABLE record_commits (
        id BLOB PRIMARY KEY, at INTEGER NOT NULL, digest INTEGER NOT NULL,
        versions BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX record_commits_by_age ON record_commits (at);
";

/// What version 6 added: descriptions and tags, and what has become of a brane.
/// A record that is as it was created keeps its checksum, so all are valid as
/// they are. `purge_ms` is set while something is to be purged.
const JOURNAL_V6_SQL: &str = "
    ALTER TABLE branes ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE branes ADD COLUMN description TEXT NOT NULL DEFAULT '';
    ALTER TABLE branes ADD COLUMN tags TEXT NOT NULL DEFAULT '';
    ALTER TABLE branes ADD COLUMN life INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE branes ADD COLUMN since_ms INTEGER;
    ALTER TABLE branes ADD COLUMN purge_ms INTEGER;
    ALTER TABLE branes ADD COLUMN successor BLOB;
    CREATE INDEX branes_to_purge ON branes (created_ms, id) WHERE purge_ms IS NOT NULL;
";

/// What version 7 added: whether an operator archived a brane. Of those that
/// were archived before, nobody knows.
const JOURNAL_V7_SQL: &str = "
    ALTER TABLE branes ADD COLUMN by_operator INTEGER NOT NULL DEFAULT 0;
";

const PARTS_SQL: &str = "
    CREATE TABLE taken (
        snapshot INTEGER PRIMARY KEY AUTOINCREMENT, brane BLOB NOT NULL,
        epoch INTEGER NOT NULL, at_seq INTEGER NOT NULL, taken_ms INTEGER NOT NULL,
        sealed INTEGER NOT NULL) STRICT;
    CREATE TABLE parts (
        key INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
";

/// Makes or migrates the journal's file.
pub(super) fn prepare_journal(db: &mut Connection) -> Result<(), StoreError> {
    match version(db, JOURNAL)? {
        None => {
            let sql = [
                JOURNAL_SQL,
                JOURNAL_V2_SQL,
                JOURNAL_V3_SQL,
                JOURNAL_V4_SQL,
                JOURNAL_V5_SQL,
                JOURNAL_V6_SQL,
                JOURNAL_V7_SQL,
            ];
            create(db, JOURNAL, &sql, JOURNAL_VERSION)
        }
        Some(found @ 1..=JOURNAL_VERSION) => {
            (found + 1..=JOURNAL_VERSION).try_for_each(|to| match to {
                2 => to_version_2(db),
                3 => add(db, JOURNAL_V3_SQL, to),
                4 => add(db, JOURNAL_V4_SQL, to),
                5 => add(db, JOURNAL_V5_SQL, to),
                6 => add(db, JOURNAL_V6_SQL, to),
                _ => add(db, JOURNAL_V7_SQL, to),
            })
        }
        Some(found) => Err(StoreError::NewerSchema { found, known: JOURNAL_VERSION }),
    }
}

/// Makes or migrates the file of the snapshots' parts.
pub(super) fn prepare_parts(db: &mut Connection) -> Result<(), StoreError> {
    match version(db, PARTS)? {
        None => create(db, PARTS, &[PARTS_SQL], PARTS_VERSION),
        Some(PARTS_VERSION) => Ok(()),
        Some(found) => Err(StoreError::NewerSchema { found, known: PARTS_VERSION }),
    }
}

/// Refuses files of another version than that which this program writes.
pub(super) fn expect_current(journal: &Connection, parts: &Connection) -> Result<(), StoreError> {
    let files = [(journal, JOURNAL, JOURNAL_VERSION), (parts, PARTS, PARTS_VERSION)];
    for (db, file, known) in files {
        match version(db, file)? {
            Some(found) if found == known => {}
            Some(found) if found > known => return Err(StoreError::NewerSchema { found, known }),
            Some(found) => return Err(StoreError::OlderSchema { found, known }),
            None => return Err(damaged(Place::File(file.to_owned()), "there is nothing in it")),
        }
    }
    Ok(())
}

/// The file's version; `None` if it is empty.
fn version(db: &Connection, file: &str) -> Result<Option<u32>, StoreError> {
    let number = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(fault::of(file));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    match (tables, id, u32::try_from(version)) {
        (0, 0, Ok(0)) => Ok(None),
        (1.., id, Ok(version @ 1..)) if id == i64::from(APPLICATION_ID) => Ok(Some(version)),
        _ => Err(damaged(Place::File(file.to_owned()), "its header is not that of our files")),
    }
}

fn create(db: &mut Connection, file: &str, sql: &[&str], version: u32) -> Result<(), StoreError> {
    let mut work = || {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        sql.iter().try_for_each(|sql| transaction.execute_batch(sql))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()
    };
    work().map_err(fault::of(file))
}

/// Version 2 knows who may see a brane: branes of version 1 become private,
/// as nobody was asked. Their checksums are verified, and made anew.
fn to_version_2(db: &mut Connection) -> Result<(), StoreError> {
    let broken = fault::of(JOURNAL);
    let transaction =
        db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&broken)?;
    let add = "ALTER TABLE branes ADD COLUMN visibility INTEGER NOT NULL DEFAULT 0";
    transaction.execute_batch(add).map_err(&broken)?;
    transaction.execute_batch(JOURNAL_V2_SQL).map_err(&broken)?;
    let mut after = 0;
    while let Some((no, record)) = first_of_version_1(&transaction, after)? {
        let sum = record_checksum(no, &record);
        let visibility = visibility_number(record.visibility);
        let set = "UPDATE branes SET visibility = ?2, checksum = ?3 WHERE no = ?1";
        transaction.execute(set, params![no, visibility, sum]).map_err(&broken)?;
        after = no;
    }
    transaction.pragma_update(None, "user_version", 2).map_err(&broken)?;
    transaction.commit().map_err(&broken)
}

/// Makes a version of the one before by what it adds.
fn add(db: &mut Connection, sql: &str, version: u32) -> Result<(), StoreError> {
    let mut work = || {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()
    };
    work().map_err(fault::of(JOURNAL))
}

/// The first brane of version 1 after a number.
fn first_of_version_1(
    db: &Connection,
    after: i64,
) -> Result<Option<(i64, BraneRecord)>, StoreError> {
    let sql = "SELECT no, id, owner, name, kind, created_ms, checksum \
        FROM branes WHERE no > ?1 ORDER BY no LIMIT 1";
    let mut statement = db.prepare_cached(sql).map_err(fault::of(JOURNAL))?;
    let mut rows = statement.query([after]).map_err(fault::of(JOURNAL))?;
    let Some(row) = rows.next().map_err(fault::of(JOURNAL))? else {
        return Ok(None);
    };
    let get = || -> rusqlite::Result<_> {
        let (id, owner) = (BraneId::from_bytes(row.get(1)?), UserId::from_bytes(row.get(2)?));
        let created_ms = row.get::<_, i64>(5)?.cast_unsigned();
        let record = BraneRecord { name: row.get(3)?, ..BraneRecord::new(id, owner, created_ms) };
        Ok((row.get(0)?, record, row.get(4)?, row.get(6)?))
    };
    let (no, mut record, kind, sum): (i64, _, i64, i64) = get().map_err(fault::of(JOURNAL))?;
    let kinds = [BraneKind::Personal, BraneKind::Showcase, BraneKind::Rental, BraneKind::Public];
    let known = kinds.into_iter().find(|known| kind_number(*known) == kind);
    record.kind = match known.filter(|_| checksum_of_version_1(no, kind, &record) == sum) {
        Some(kind) => kind,
        None => return Err(damaged(Place::Brane(record.id), "its record's checksum is wrong")),
    };
    Ok(Some((no, record)))
}

/// The checksum of a record before there was visibility.
fn checksum_of_version_1(no: i64, kind: i64, record: &BraneRecord) -> i64 {
    Header::new(b"AVVYbran")
        .number(no.cast_unsigned())
        .bytes(&record.id.to_bytes())
        .bytes(&record.owner.to_bytes())
        .number(kind.cast_unsigned())
        .number(record.created_ms)
        .seal(record.name.as_bytes())
        .cast_signed()
}
