//! Folds the journal's log into its file without holding up commits.
//!
//! SQLite's own checkpoints run inside the commit that makes the log too long,
//! which then takes as long as hundreds of writes and a sync. Here a thread of
//! its own folds most of the log while commits go on; what came in meanwhile
//! is little, and the writer folds that itself between two commits. Then the
//! next commit begins the log anew, over space that the device has already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use super::directory::JOURNAL;
use super::fault;
use super::journal::Journal;
use super::worker::Poster;
use crate::error::StoreError;

/// Passes of the thread before the writer does the rest.
const PASSES: u32 = 4;
/// The rest that the writer may do at once, in pages.
const REST_PAGES: i64 = 64;

/// The thread's connection.
pub(super) struct Folder {
    db: Connection,
    writer: Poster<Journal>,
    /// True from the first long log until the writer has folded the rest.
    running: Arc<AtomicBool>,
}

impl Folder {
    /// A folder that has `writer` do the rest.
    pub(super) const fn new(
        db: Connection,
        writer: Poster<Journal>,
        running: Arc<AtomicBool>,
    ) -> Self {
        Self { db, writer, running }
    }

    /// Folds the log.
    pub(super) fn fold(&mut self) {
        let passed = self.passes();
        if let Err(error) = &passed {
            tracing::warn!(%error, "folding the log failed; the next commit begins it anew");
        }
        let running = Arc::clone(&self.running);
        let posted = self.writer.post(move |journal: &mut Journal| {
            if passed.is_err() {
                journal.distrust_log();
            } else if let Err(error) = journal.fold() {
                tracing::warn!(%error, "folding the rest of the log failed");
            }
            running.store(false, Ordering::Release);
        });
        if !posted {
            self.running.store(false, Ordering::Release);
        }
    }

    fn passes(&self) -> Result<(), StoreError> {
        for _ in 0..PASSES {
            let sql = "PRAGMA wal_checkpoint(PASSIVE)";
            let pass = self
                .db
                .query_row(sql, [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
            let (pages, folded) = pass.map_err(fault::of(JOURNAL))?;
            if pages - folded <= REST_PAGES {
                break;
            }
        }
        Ok(())
    }
}
