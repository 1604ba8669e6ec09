//! Keeps room on the device for what must go on when it is nearly full.
//!
//! Deleting takes room first: the log grows before pages become free. So edits
//! are refused while there is still enough left for compaction, for folding
//! the logs and for opening branes. Pages that the file itself has free count
//! as room, as compaction gives none back to the device.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::fault;
use super::options::SqliteOptions;
use crate::error::StoreError;

/// How much room must be left for a kind of write.
pub(super) struct Room {
    directory: PathBuf,
    file: &'static str,
    min_bytes: u64,
}

impl Room {
    /// For edits, or whatever else comes last.
    pub(super) fn for_edits(options: &SqliteOptions, file: &'static str) -> Self {
        Self { directory: options.directory.clone(), file, min_bytes: options.min_free_bytes }
    }

    /// For snapshots, which let compaction delete more: half of the room.
    pub(super) fn for_snapshots(options: &SqliteOptions, file: &'static str) -> Self {
        let all = Self::for_edits(options, file);
        Self { min_bytes: all.min_bytes / 2, ..all }
    }

    /// Refuses a write for which there is no room.
    pub(super) fn check(&self, db: &Connection) -> Result<(), StoreError> {
        if self.min_bytes == 0 {
            return Ok(());
        }
        let free = free_bytes(&self.directory)?;
        if free >= self.min_bytes {
            return Ok(());
        }
        let number = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0));
        let pages = number("PRAGMA freelist_count").map_err(fault::of(self.file))?;
        let page = number("PRAGMA page_size").map_err(fault::of(self.file))?;
        let inside = pages.saturating_mul(page).cast_unsigned();
        if free.saturating_add(inside) >= self.min_bytes {
            return Ok(());
        }
        let (file, min) = (self.file, self.min_bytes);
        Err(StoreError::Full(format!(
            "{file}: {free} bytes are free on the device and {inside} inside, {min} are kept back"
        )))
    }
}

/// What is free for this process on the device of a directory, in bytes.
fn free_bytes(directory: &Path) -> Result<u64, StoreError> {
    match rustix::fs::statvfs(directory) {
        Ok(stat) => Ok(stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => Err(StoreError::Io(format!("{}: {error}", directory.display()))),
    }
}
