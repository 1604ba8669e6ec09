//! A data directory that is looked at and left as it is.
//!
//! Nothing is written, made, migrated or locked against readers. A log that a
//! process left behind is read, too: its index is kept in memory, and it is
//! neither folded nor removed. What has no log is opened as immutable.

use avvy_model::{BraneId, Seq};
use bytes::Bytes;
use rusqlite::Connection;

use super::connection;
use super::directory::{JOURNAL, Lookout, PARTS};
use super::options::SqliteOptions;
use super::reader::Reader;
use super::readers::Readers;
use super::rows::damaged;
use super::schema;
use super::start::{PARTS_SHAPE, SMALL_TABLES, check_files, journal_shape};
use super::wal;
use super::worker::Lane;
use crate::chunk::{AppendRefusal, Chunk, ChunkWrite, MAX_CHUNK_BYTES};
use crate::error::{Place, StoreError};
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord};
use crate::report::{BraneReport, CompactPolicy, Compaction, StoreReport};
use crate::snapshot::{SnapshotId, SnapshotStart};
use crate::store::{BoxFuture, Opened, Store};

/// The embedded store, for reading alone: every write, and the opening of a
/// brane, is answered `ReadOnly`. Dropping it closes it.
pub struct SqliteReader {
    readers: Readers,
    dropped_frames: u64,
    directory: Lookout,
}

impl SqliteReader {
    /// Opens the store in a data directory, without changing anything there.
    /// While it is open no other process can take the directory. Blocks, like
    /// [`super::SqliteStore::open`].
    ///
    /// # Errors
    /// `InUse` if a process has the directory; `OlderSchema` if it would have
    /// to be migrated, `NewerSchema`; `Damaged` as for
    /// [`super::SqliteStore::open`], also if a file is missing; `Io`.
    pub fn open(options: &SqliteOptions) -> Result<Self, StoreError> {
        let directory = Lookout::over(&options.directory)?;
        let dropped_frames = check_files(&options.directory)?;
        let file = |name: &str, shape| -> Result<Connection, StoreError> {
            let path = options.directory.join(name);
            let log = wal::inspect(&options.directory.join(format!("{name}-wal")));
            // A log of parts may end anywhere: whatever is in it is read.
            let has_log = log.map_or(true, |tail| tail.is_some());
            if std::fs::metadata(&path).is_ok_and(|file| file.len() > 0) || has_log {
                return connection::open_untouched(&path, shape, has_log, options);
            }
            Err(damaged(Place::File(name.to_owned()), "it is missing or empty"))
        };
        let journal = file(JOURNAL, journal_shape(options))?;
        let parts = file(PARTS, PARTS_SHAPE)?;
        schema::expect_current(&journal, &parts)?;
        connection::check_tables(&journal, JOURNAL, &SMALL_TABLES)?;
        connection::check_tables(&parts, PARTS, &["taken"])?;
        let readers = Readers::start(options, vec![Reader { journal, parts }])?;
        Ok(Self { readers, dropped_frames, directory })
    }
}

impl Drop for SqliteReader {
    fn drop(&mut self) {
        self.readers.join();
    }
}

/// What a call is answered that would change something.
fn refuse<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, StoreError>> {
    Box::pin(std::future::ready(Err(StoreError::ReadOnly)))
}

impl Store for SqliteReader {
    fn create_brane(&self, _: BraneRecord) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn update_brane(&self, _: BraneRecord, _: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn purge_brane(&self, _: BraneId, _: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn begin_purge(&self, _: BraneId, _: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneRecord, StoreError>> {
        Box::pin(self.readers.call(Lane::Urgent, move |reader| reader.brane(brane)))
    }

    fn branes_by_id(
        &self,
        ids: Vec<BraneId>,
    ) -> BoxFuture<'_, Result<Vec<BraneRecord>, StoreError>> {
        Box::pin(self.readers.call(Lane::Urgent, move |reader| reader.branes_by_id(ids)))
    }

    fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<BranePage, StoreError>> {
        let page = move |reader: &mut Reader| reader.branes(filter, after, limit);
        Box::pin(self.readers.call(Lane::Urgent, page))
    }

    fn open(&self, _: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        refuse()
    }

    fn open_to_copy(&self, _: BraneId) -> BoxFuture<'_, Result<Opened, StoreError>> {
        refuse()
    }

    fn read_chunks(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<Chunk>, StoreError>> {
        let max_bytes = max_bytes.min(4 * MAX_CHUNK_BYTES);
        let read = move |reader: &mut Reader| reader.chunks(brane, after, max_bytes);
        Box::pin(self.readers.call(Lane::Urgent, read))
    }

    fn append(
        &self,
        _: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), AppendRefusal>>, StoreError>> {
        refuse()
    }

    fn begin_snapshot(&self, _: SnapshotStart) -> BoxFuture<'_, Result<SnapshotId, StoreError>> {
        refuse()
    }

    fn put_snapshot_part(
        &self,
        _: BraneId,
        _: SnapshotId,
        _: u32,
        _: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn finish_snapshot(
        &self,
        _: BraneId,
        _: SnapshotId,
        _: u32,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn abort_snapshot(&self, _: BraneId, _: SnapshotId) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn read_snapshot_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        let read = move |reader: &mut Reader| reader.part(brane, snapshot, index);
        Box::pin(self.readers.call(Lane::Urgent, read))
    }

    fn compact(&self, _: CompactPolicy) -> BoxFuture<'_, Result<Compaction, StoreError>> {
        refuse()
    }

    fn verify_brane(&self, brane: BraneId) -> BoxFuture<'_, Result<BraneReport, StoreError>> {
        Box::pin(self.readers.inspect(brane))
    }

    fn verify_store(&self) -> BoxFuture<'_, Result<StoreReport, StoreError>> {
        Box::pin(self.readers.inspect_store(self.directory.bytes(), self.dropped_frames))
    }

    fn meta(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let key = key.to_owned();
        Box::pin(self.readers.call(Lane::Urgent, move |reader| reader.meta(&key)))
    }

    fn put_meta(&self, _: &str, _: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        refuse()
    }

    fn replace_meta(
        &self,
        _: &str,
        _: Option<Bytes>,
        _: Bytes,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        refuse()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.readers.ended().await;
            Ok(())
        })
    }
}
