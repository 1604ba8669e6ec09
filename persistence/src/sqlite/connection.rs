//! Connections: how each file is opened, and what is checked before it serves.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::fault;
use super::options::SqliteOptions;
use crate::chunk::MAX_CHUNK_BYTES;
use crate::error::{Place, StoreError};

/// How a connection is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Writes; the file is there, perhaps empty.
    Write,
    /// Reads only.
    Read,
}

/// What differs between the files.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// The file's name, for errors.
    pub(super) name: &'static str,
    /// Pages of a new file, in bytes.
    pub(super) page_bytes: u32,
    /// The cache of one connection, in bytes.
    pub(super) cache_bytes: u32,
    /// The log is cut to this length when it begins anew, in bytes.
    pub(super) max_wal_bytes: u64,
}

/// Opens a file.
pub(super) fn open(
    path: &Path,
    shape: Shape,
    usage: Use,
    options: &SqliteOptions,
) -> Result<Connection, StoreError> {
    let broken = fault::of(shape.name);
    let flags = match usage {
        Use::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Use::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    } | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = match &options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
        None => Connection::open_with_flags(path, flags),
    };
    let db = db.map_err(&broken)?;
    set_up(&db, shape, usage, options).map_err(&broken)?;
    Ok(db)
}

/// Opens a file to read it and to leave it, and everything beside it, as it
/// is. Nobody else may have it open.
pub(super) fn open_untouched(
    path: &Path,
    shape: Shape,
    has_log: bool,
    options: &SqliteOptions,
) -> Result<Connection, StoreError> {
    let broken = fault::of(shape.name);
    let open = || -> rusqlite::Result<Connection> {
        if !has_log {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_URI
                | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            return Connection::open_with_flags(immutable(path), flags);
        }
        // A log is only read with a lock that needs a writable file. Alone
        // with the file, SQLite keeps the log's index in memory.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        db.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
        db.pragma_update(None, "query_only", true)?;
        Ok(db)
    };
    let db = open().map_err(&broken)?;
    set_up(&db, shape, Use::Read, options).map_err(&broken)?;
    Ok(db)
}

/// The URI of a file that nobody changes: SQLite neither locks it nor looks
/// for a log.
fn immutable(path: &Path) -> OsString {
    let mut uri = OsString::from("file:");
    for part in path.as_os_str().as_bytes().chunks(1) {
        match part {
            [byte @ (b'%' | b'?' | b'#')] => uri.push(format!("%{byte:02x}")),
            part => uri.push(OsStr::from_bytes(part)),
        }
    }
    uri.push("?immutable=1");
    uri
}

fn set_up(
    db: &Connection,
    shape: Shape,
    usage: Use,
    options: &SqliteOptions,
) -> rusqlite::Result<()> {
    // A damaged length must not fill memory.
    db.set_limit(Limit::SQLITE_LIMIT_LENGTH, (MAX_CHUNK_BYTES + (1 << 20)) as i32)?;
    db.set_prepared_statement_cache_capacity(64);
    db.busy_timeout(std::time::Duration::from_millis(options.store_timeout_ms))?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "mmap_size", 0)?;
    let cache_kib = -i64::from(shape.cache_bytes >> 10);
    db.pragma_update(None, "cache_size", cache_kib)?;
    // A transaction that is rolled back leaves nothing in the log.
    db.pragma_update(None, "cache_spill", false)?;
    if usage == Use::Read {
        return Ok(());
    }
    db.pragma_update(None, "page_size", shape.page_bytes)?;
    // A new file is made under a rollback journal. If its deletion were not on
    // the device, it would come back after a power cut and undo the file's
    // creation, and with it all that was acknowledged since.
    db.pragma_update(None, "synchronous", options.synchronous.pragma_to_create())?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", options.synchronous.pragma())?;
    // A commit that folds the log takes long and keeps quiet when that fails.
    db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    let limit = i64::try_from(shape.max_wal_bytes).unwrap_or(i64::MAX);
    db.pragma_update_and_check(None, "journal_size_limit", limit, |_| Ok(()))?;
    Ok(())
}

/// Checks the structure of tables that are small enough to be read whole, with
/// their indices: an entry that vanished from a page is found by nothing else.
pub(super) fn check_tables(db: &Connection, file: &str, tables: &[&str]) -> Result<(), StoreError> {
    for table in tables {
        let sql = format!("PRAGMA integrity_check({table})");
        let verdict: String = db.query_row(&sql, [], |row| row.get(0)).map_err(fault::of(file))?;
        if verdict != "ok" {
            let place = Place::File(format!("{file}, table {table}"));
            return Err(StoreError::Damaged { place, why: verdict });
        }
    }
    Ok(())
}

/// Folds all of a log and has it begun anew. Waits for readers, if there are
/// any.
pub(super) fn begin_log_anew(db: &Connection, file: &str) -> Result<(), StoreError> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy = db.query_row(sql, [], |row| row.get::<_, bool>(0)).map_err(fault::of(file))?;
    if busy { Err(StoreError::Io(format!("{file}: its log is in use"))) } else { Ok(()) }
}
