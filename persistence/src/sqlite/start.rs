//! Opening and closing the store.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};

use super::connection::{self, Shape, Use};
use super::directory::{Directory, JOURNAL, PARTS};
use super::fault;
use super::fold::Folder;
use super::journal::Journal;
use super::options::SqliteOptions;
use super::parts::Parts;
use super::reader::Reader;
use super::readers::Readers;
use super::records::Waiting;
use super::room::Room;
use super::rows::damaged;
use super::schema;
use super::wal;
use super::worker::Worker;
use crate::error::{Place, StoreError};
use crate::snapshot::SnapshotId;

/// Pages of the journal's file. A commit writes whole pages, so small ones
/// make small commits; 4 KiB is what devices write at once.
const JOURNAL_PAGE: u32 = 4 << 10;
/// Pages of the parts' file: few for a part of 256 KiB.
const PARTS_PAGE: u32 = 64 << 10;

/// Tables of the journal's file that are small enough to be checked whole.
pub(super) const SMALL_TABLES: [&str; 6] =
    ["branes", "heads", "lineages", "snapshots", "meta", "cuts"];

/// The embedded store. Dropping it closes it.
pub struct SqliteStore {
    pub(super) journal: Worker<Journal>,
    pub(super) parts: Worker<Parts>,
    pub(super) readers: Readers,
    folder: Worker<Folder>,
    /// Commits of records that the writer of the journal is to do.
    pub(super) waiting: Arc<Waiting>,
    pub(super) dropped_frames: u64,
    /// Let go last, when no thread has a file open any more.
    directory: Mutex<Option<Directory>>,
}

impl SqliteStore {
    /// Opens the store in a data directory, and makes both if they are not
    /// there. Blocks: for milliseconds, or as long as a crash before left logs
    /// to read; call it where blocking is allowed.
    ///
    /// # Errors
    /// `InUse` if another process has the directory; `NewerSchema`; `Damaged`
    /// if the files are not ours, their logs lost acknowledged commits, or a
    /// small table is broken; `Io`.
    pub fn open(options: &SqliteOptions) -> Result<Self, StoreError> {
        let directory = Directory::take(&options.directory)?;
        let dropped_frames = check_files(&options.directory)?;
        let journal_shape = journal_shape(options);
        let path = |name| directory.file(name);

        let mut db = connection::open(&path(JOURNAL), journal_shape, Use::Write, options)?;
        schema::prepare_journal(&mut db)?;
        connection::begin_log_anew(&db, JOURNAL)?;
        connection::check_tables(&db, JOURNAL, &SMALL_TABLES)?;

        let mut parts = connection::open(&path(PARTS), PARTS_SHAPE, Use::Write, options)?;
        schema::prepare_parts(&mut parts)?;
        connection::check_tables(&parts, PARTS, &["taken"])?;
        let mut parts =
            Parts::new(parts, options.synchronous, Room::for_snapshots(options, PARTS))?;
        parts.relax()?;
        remove_garbage(&db, &mut parts)?;

        let folds = connection::open(&path(JOURNAL), journal_shape, Use::Write, options)?;
        let mut readers = Vec::new();
        for _ in 0..options.readers.max(1) {
            let journal = connection::open(&path(JOURNAL), journal_shape, Use::Read, options)?;
            let parts = connection::open(&path(PARTS), PARTS_SHAPE, Use::Read, options)?;
            readers.push(Reader { journal, parts });
        }
        let readers = Readers::start(options, readers)?;

        let fold_pages = (options.wal_bytes / JOURNAL_PAGE).max(1);
        let journal = Journal::new(db, fold_pages, Room::for_edits(options, JOURNAL))?;
        let journal = Worker::start("store-journal", options, journal)?;
        let parts = Worker::start("store-parts", options, parts)?;
        let running = Arc::new(AtomicBool::new(false));
        let folder = Folder::new(folds, journal.poster(), Arc::clone(&running));
        let folder = Worker::start("store-fold", options, folder)?;
        let poster = folder.poster();
        journal.poster().post(move |journal: &mut Journal| {
            journal.on_long_log(move || {
                let is_first = !running.swap(true, Ordering::AcqRel);
                if is_first && !poster.post(Folder::fold) {
                    running.store(false, Ordering::Release);
                }
            });
        });
        let directory = Mutex::new(Some(directory));
        let waiting = Waiting::new(options);
        Ok(Self { journal, parts, readers, folder, waiting, dropped_frames, directory })
    }

    /// The length of all files, in bytes.
    pub(super) fn device_bytes(&self) -> Result<u64, StoreError> {
        let guard = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map(Directory::bytes).ok_or(StoreError::Closed)
    }

    /// Waits until all threads have ended, without blocking one.
    pub(super) async fn wind_down(&self) {
        self.folder.ended().await;
        self.readers.ended().await;
        self.parts.ended().await;
        self.journal.ended().await;
        self.shut();
    }

    /// Ends all threads, the writer last: its connection is then the last
    /// one, and SQLite folds and removes the log.
    fn shut(&self) {
        self.folder.join();
        self.readers.join();
        self.parts.join();
        self.journal.join();
        self.directory.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.shut();
    }
}

pub(super) const fn journal_shape(options: &SqliteOptions) -> Shape {
    Shape {
        name: JOURNAL,
        page_bytes: JOURNAL_PAGE,
        cache_bytes: 8 << 20,
        max_wal_bytes: options.wal_bytes as u64 * 4,
    }
}

pub(super) const PARTS_SHAPE: Shape =
    Shape { name: PARTS, page_bytes: PARTS_PAGE, cache_bytes: 2 << 20, max_wal_bytes: 32 << 20 };

/// Checks what SQLite would take for an empty database or an empty log, and
/// counts the frames of the journal's log that it will drop. The parts' log
/// may end anywhere, as its commits do not wait for the device; what a
/// finished snapshot lacks is found when it is read.
pub(super) fn check_files(directory: &Path) -> Result<u64, StoreError> {
    let length =
        |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len());
    let journal = wal::inspect(&directory.join(format!("{JOURNAL}-wal")))?;
    let others = length(PARTS) > 0 || journal.is_some_and(|tail| tail.committed > 0);
    if length(JOURNAL) == 0 && others {
        let file = Place::File(JOURNAL.to_owned());
        return Err(damaged(file, "it is empty, but files made after it are not"));
    }
    Ok(journal.map_or(0, |tail| tail.dropped))
}

/// Removes the parts of snapshots that were not finished or are hidden.
fn remove_garbage(journal: &Connection, parts: &mut Parts) -> Result<(), StoreError> {
    let sql = "SELECT coalesce(max(snapshot), 0) FROM snapshots";
    let newest = journal.query_row(sql, [], |row| row.get::<_, i64>(0));
    let newest = newest.map_err(fault::of(JOURNAL))?.cast_unsigned();
    if newest > parts.last()? {
        let file = Place::File(PARTS.to_owned());
        return Err(damaged(file, "it does not know the newest snapshot"));
    }
    let mut after = SnapshotId(0);
    while let Some(id) = parts.taken(after)? {
        let sql = "SELECT 1 FROM snapshots WHERE snapshot = ?1";
        let row = journal.query_row(sql, [id.0.cast_signed()], |_| Ok(()));
        if row.optional().map_err(fault::of(JOURNAL))?.is_none() {
            while parts.delete_bite(id)? {}
        }
        after = id;
    }
    Ok(())
}
