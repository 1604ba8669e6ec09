//! The threads that read, taken in turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::options::SqliteOptions;
use super::reader::Reader;
use super::worker::{Lane, Worker};
use crate::error::StoreError;

/// The reading threads; at least one.
pub(super) struct Readers {
    workers: Vec<Worker<Reader>>,
    next: AtomicUsize,
}

impl Readers {
    /// Starts a thread for each reader.
    pub(super) fn start(options: &SqliteOptions, readers: Vec<Reader>) -> Result<Self, StoreError> {
        let start = |(nth, reader)| Worker::start(&format!("store-read-{nth}"), options, reader);
        let workers = readers.into_iter().enumerate().map(start).collect::<Result<_, _>>()?;
        Ok(Self { workers, next: AtomicUsize::new(0) })
    }

    /// The next thread in turn.
    pub(super) fn next(&self) -> &Worker<Reader> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.workers[turn % self.workers.len()]
    }

    /// Has the next thread do `work`, and waits for it.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.next().call(lane, 0, work).await
    }

    /// Ends the threads when what is queued is done, and waits for it.
    pub(super) async fn ended(&self) {
        for worker in &self.workers {
            worker.ended().await;
        }
    }

    /// The same, blocking.
    pub(super) fn join(&self) {
        self.workers.iter().for_each(Worker::join);
    }
}
