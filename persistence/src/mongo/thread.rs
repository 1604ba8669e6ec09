//! The thread on which connections to the database are made and watched, and
//! journals are appended. On a core that is full of fan-outs it is the system
//! that shares out the time, and it lets a thread go first that seldom has work;
//! among the tasks of the server each of an append's round trips would wait for
//! a turn of its own. All else waits for these turns: nobody waits for it with
//! each edit.

use std::panic;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::StoreError;

/// The store's thread; it ends when this is dropped, with what it is doing. Whoever
/// goes on in the process closes the store before, so that nothing is under way.
pub(super) struct Thread(Option<Runtime>);

impl Thread {
    /// Starts it.
    pub(super) fn start() -> Result<Self, StoreError> {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(1).thread_name("mongodb").enable_all();
        let failed = |error| StoreError::Io(format!("the store's thread cannot start: {error}"));
        runtime.build().map(|runtime| Self(Some(runtime))).map_err(failed)
    }

    /// Has it do `work`. If nobody waits for that any more it ends at its next
    /// await.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(runtime) = &self.0 else { return Err(StoreError::Closed) };
        let mut running = Running(runtime.spawn(work));
        match (&mut running.0).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panicked) => panic::resume_unwind(panicked),
                Err(_) => Err(StoreError::Closed),
            },
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work that ends when nobody waits for it any more.
struct Running<T>(JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
