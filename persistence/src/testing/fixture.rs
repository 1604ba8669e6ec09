//! How the suite gets at a store, and breaks it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use avvy_model::BraneId;
use rusqlite::Connection;
use rusqlite::params;

use crate::error::{Place, StoreError};
use crate::memory::{MemoryDisk, MemoryStore};
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{BoxFuture, Store};

/// What a case found wrong.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// A case's outcome.
pub type Verdict = Result<(), Failure>;

/// A store under test, empty at first, with the power to break it.
pub trait Fixture: Send + Sync {
    /// The store as it is now.
    fn store(&self) -> Arc<dyn Store>;

    /// Closes the store and opens it again on the same data.
    fn reopen(&mut self) -> BoxFuture<'_, Verdict>;

    /// Opens the store on the data as a process that was killed left it.
    fn crash(&mut self) -> BoxFuture<'_, Verdict>;

    /// Spoils what is stored at a place, that of a chunk, a part, a snapshot's
    /// entry, a brane's or a record, so that its checksum does not fit any more,
    /// and opens the store again. A chunk is found by its last edit.
    fn damage(&mut self, place: Place) -> BoxFuture<'_, Verdict>;
}

/// The memory store as a fixture.
pub struct MemoryFixture {
    disk: MemoryDisk,
    store: Arc<MemoryStore>,
}

impl MemoryFixture {
    /// An empty memory store.
    pub fn new() -> Self {
        let disk = MemoryDisk::new();
        let store = Arc::new(disk.mount());
        Self { disk, store }
    }

    /// The store, by its own type.
    pub(super) fn memory(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.store)
    }
}

impl Default for MemoryFixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture for MemoryFixture {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn reopen(&mut self) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            self.store.close().await?;
            self.store = Arc::new(self.disk.mount());
            Ok(())
        })
    }

    fn crash(&mut self) -> BoxFuture<'_, Verdict> {
        self.disk.cut_power();
        self.store = Arc::new(self.disk.mount());
        Box::pin(async { Ok(()) })
    }

    fn damage(&mut self, place: Place) -> BoxFuture<'_, Verdict> {
        let found = self.disk.damage(&place);
        Box::pin(async move {
            if found { Ok(()) } else { Err(Failure(format!("nothing is stored at {place}"))) }
        })
    }
}

/// The SQLite store as a fixture, in directories below one that the caller
/// provides and removes.
pub struct SqliteFixture {
    root: PathBuf,
    /// How often it crashed: each life has a directory of its own.
    life: u32,
    options: SqliteOptions,
    store: Option<Arc<SqliteStore>>,
}

impl SqliteFixture {
    /// An empty store below `root`, which must be empty.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`].
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::through(root, None)
    }

    /// The same, through this VFS of SQLite's.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`].
    pub fn through(root: impl Into<PathBuf>, vfs: Option<String>) -> Result<Self, StoreError> {
        let root = root.into();
        let options = SqliteOptions {
            directory: root.join("0"),
            wal_bytes: 256 << 10,
            readers: 1,
            vfs,
            ..SqliteOptions::default()
        };
        let store = Some(Arc::new(SqliteStore::open(&options)?));
        Ok(Self { root, life: 0, options, store })
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// The store by its own type, if it is open.
    pub(super) fn sqlite(&self) -> Option<Arc<SqliteStore>> {
        self.store.clone()
    }

    fn open(&mut self) -> Verdict {
        self.store = Some(Arc::new(SqliteStore::open(&self.options)?));
        Ok(())
    }

    async fn close(&mut self) -> Verdict {
        if let Some(store) = self.store.take() {
            store.close().await?;
        }
        Ok(())
    }

    /// A copy of the files is what a killed process leaves: all its writes,
    /// none of what it would have done when closing.
    fn copy(&mut self) -> std::io::Result<()> {
        self.life += 1;
        let next = self.root.join(self.life.to_string());
        fs::create_dir(&next)?;
        for entry in fs::read_dir(&self.options.directory)? {
            let entry = entry?;
            // The index of a log is rebuilt; a copy of it could be torn.
            if !entry.file_name().to_string_lossy().ends_with("-shm") {
                fs::copy(entry.path(), next.join(entry.file_name()))?;
            }
        }
        self.options.directory = next;
        Ok(())
    }

    fn spoil(&self, place: &Place) -> rusqlite::Result<usize> {
        let open = |name| Connection::open(self.options.directory.join(name));
        match place {
            Place::Chunk { brane, to, .. } => {
                let sql = "UPDATE chunks SET checksum = checksum + 1 WHERE key = \
                    ((SELECT no FROM branes WHERE id = ?1) << 42) | ?2";
                let brane: &BraneId = brane;
                open("avvyland.sqlite")?.execute(sql, params![brane.to_bytes(), to.0 as i64])
            }
            Place::Part { snapshot, index, .. } => {
                let sql = "UPDATE parts SET body = zeroblob(length(body)) \
                    WHERE key = (?1 << 20) | ?2";
                open("snapshots.sqlite")?.execute(sql, params![snapshot.0 as i64, index])
            }
            Place::Snapshot { snapshot, .. } => {
                let sql = "UPDATE snapshots SET taken_ms = taken_ms + 1 WHERE snapshot = ?1";
                open("avvyland.sqlite")?.execute(sql, [snapshot.0 as i64])
            }
            Place::Record { of, key } => {
                let sql = "UPDATE records SET checksum = checksum + 1 \
                    WHERE collection = ?1 AND key = ?2";
                open("avvyland.sqlite")?.execute(sql, params![of, key])
            }
            Place::Brane(brane) => {
                let sql = "UPDATE heads SET checksum = checksum + 1 \
                    WHERE no = (SELECT no FROM branes WHERE id = ?1)";
                open("avvyland.sqlite")?.execute(sql, [brane.to_bytes()])
            }
            _ => Ok(0),
        }
    }
}

impl Fixture for SqliteFixture {
    fn store(&self) -> Arc<dyn Store> {
        match &self.store {
            Some(store) => store.clone(),
            None => Arc::new(closed()),
        }
    }

    fn reopen(&mut self) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            self.close().await?;
            self.open()
        })
    }

    fn crash(&mut self) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            self.copy().map_err(|error| format!("copying the files: {error}"))?;
            self.close().await?;
            self.open()
        })
    }

    fn damage(&mut self, place: Place) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            self.close().await?;
            let changed = self.spoil(&place).map_err(|error| format!("spoiling: {error}"))?;
            self.open()?;
            match changed {
                1 => Ok(()),
                _ => Err(Failure(format!("nothing is stored at {place}"))),
            }
        })
    }
}

/// A store that answers `Closed`: what is left when opening failed.
pub(super) fn closed() -> MemoryStore {
    let disk = MemoryDisk::new();
    let store = disk.mount();
    disk.cut_power();
    store
}
