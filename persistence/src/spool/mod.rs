//! The spool: a bounded journal on local disk for what the store cannot take
//! now.
//!
//! While the store is away a node goes on for a while, and what it would
//! commit is appended here, in order, synced in groups. When the store is back
//! the chunks are appended to it, oldest first. A chunk is taken only under
//! the epoch that it was written under and at the head that it continues, so a
//! brane that nobody opened meanwhile goes on where it stood, and of one that
//! somebody did the rest is refused: it is put into an archive, a file for each
//! brane and epoch, which people can look at. The same holds for what a process
//! that died has left, if it is drained before its branes are opened again.
//!
//! To append a chunk that is stored already is no error, so nothing notes how
//! far a drain has come: files go when all of them is settled.
//!
//! ```text
//! spool/avvyland.lock      held by the process that has the spool
//! spool/00000000000000000007.spool
//! spool/00000000000000000008.spool
//! spool/archive/BRANE-EPOCH.spool
//! spool/archive/00000000000000000003-BYTES.damaged
//! ```

mod archive;
mod files;
mod format;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

pub use archive::{Archived, archived};
pub use files::look;
pub use format::{Segment, read_segment, write_segment};

use crate::chunk::{AppendRefusal, ChunkWrite};
use crate::error::StoreError;
use crate::store::{BoxFuture, Store};
use files::Files;

/// Chunks and bytes that are drained in one group.
const DRAIN_CHUNKS: usize = 1_024;
const DRAIN_BYTES: usize = 4 << 20;

/// Where a spool is, and how much it may hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpoolOptions {
    /// Its directory, which is made.
    pub directory: PathBuf,
    /// The most bytes that wait. Beyond, appends are answered `Full`. What is
    /// archived does not count.
    pub max_bytes: u64,
    /// How long a file may become before the next is begun, in bytes. Room
    /// becomes free a file at a time.
    pub file_bytes: u64,
}

impl SpoolOptions {
    /// The defaults for a spool in a directory: 1 GiB in files of 16 MiB.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), max_bytes: 1 << 30, file_bytes: 16 << 20 }
    }
}

/// What a spool holds, and what has become of what it held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpoolStatus {
    /// Chunks that wait.
    pub chunks: u64,
    /// The length of the files that they are in.
    pub bytes: u64,
    /// Chunks that were there when the spool was opened.
    pub found: u64,
    /// Chunks that the store has taken, or had already.
    pub stored: u64,
    /// Chunks that the store refused for good, and that are archived.
    pub archived: u64,
    /// Whether the newest end was not whole when the spool was opened, as when
    /// a process dies while it writes. It is put aside.
    pub cut: u64,
    /// Older files that were damaged, the rest of which is put aside.
    pub damaged: u64,
}

/// What a drain came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drained {
    /// Chunks that the store has taken, or had already.
    pub stored: u64,
    /// Chunks that the store refused for good, and that are archived.
    pub archived: u64,
}

/// What becomes of a chunk by the store's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It is in the journal.
    Stored,
    /// It never will be.
    Lost(AppendRefusal),
}

impl Settled {
    /// What the answer means for a chunk of a spool. A journal that has gone on
    /// past it under its own epoch holds it: nobody else writes under that.
    pub fn of(chunk: &ChunkWrite, answer: Result<(), AppendRefusal>) -> Self {
        match answer {
            Ok(()) => Self::Stored,
            Err(AppendRefusal::Gap { head }) if head >= chunk.to => Self::Stored,
            Err(refusal) => Self::Lost(refusal),
        }
    }
}

/// A spool that this process has.
///
/// Calls may overlap; one at a time drains. Work on files is done by threads
/// of the runtime's for such.
#[derive(Clone)]
pub struct Spool {
    files: Arc<Mutex<Files>>,
    /// As of the last call that ended: nobody waits for a device to be told.
    status: Arc<Mutex<SpoolStatus>>,
}

impl Spool {
    /// Takes the spool in a directory, and looks through what is there. Blocks.
    ///
    /// # Errors
    /// `InUse` if another process has it; `Io`.
    pub fn open(options: &SpoolOptions) -> Result<Self, StoreError> {
        let files = Files::open(options)?;
        let status = Arc::new(Mutex::new(files.status()));
        Ok(Self { files: Arc::new(Mutex::new(files)), status })
    }

    /// Appends chunks behind what is there, durable when the future is done.
    ///
    /// # Errors
    /// `Full` if they would exceed the bound, or the device has no room:
    /// nothing is appended. `Io`: they may be there or not, and may be
    /// appended again.
    pub fn append(&self, chunks: Vec<ChunkWrite>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.run(move |files| files.append(&chunks))
    }

    /// The oldest chunks, at most so many, and at most so many bytes of bodies
    /// but one chunk at least. They stay until they are settled.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn peek(
        &self,
        max_chunks: usize,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<ChunkWrite>, StoreError>> {
        self.run(move |files| files.peek(max_chunks, max_bytes))
    }

    /// Settles the oldest chunks by the store's answers to them, in their
    /// order: those that are lost are archived.
    ///
    /// # Errors
    /// `Io`, `Damaged`: none is settled, and it may be tried again.
    pub fn settle(
        &self,
        answers: Vec<Result<(), AppendRefusal>>,
    ) -> BoxFuture<'static, Result<Drained, StoreError>> {
        self.run(move |files| files.settle(&answers))
    }

    /// Appends to the store what is there, oldest first, until nothing is.
    ///
    /// # Errors
    /// Those of the store, and of the files. What was not settled stays.
    pub async fn drain(&self, store: &dyn Store) -> Result<Drained, StoreError> {
        let mut all = Drained::default();
        loop {
            let some = self.peek(DRAIN_CHUNKS, DRAIN_BYTES).await?;
            if some.is_empty() {
                return Ok(all);
            }
            let answers = store.append(some).await?;
            let drained = self.settle(answers).await?;
            all.stored += drained.stored;
            all.archived += drained.archived;
        }
    }

    /// What it held when the last call ended.
    pub fn status(&self) -> SpoolStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Files) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (files, status) = (Arc::clone(&self.files), Arc::clone(&self.status));
        Box::pin(async move {
            let work = move || {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                let done = work(&mut files);
                *status.lock().unwrap_or_else(PoisonError::into_inner) = files.status();
                done
            };
            tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
        })
    }
}
