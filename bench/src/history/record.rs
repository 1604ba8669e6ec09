//! Writing facts down while they come to be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, Fact};

/// Numbers the facts of all clients of a run.
#[derive(Clone, Default)]
pub struct Recorder(Arc<AtomicU64>);

impl Recorder {
    /// One that writes down for a client.
    pub fn clerk(&self) -> Clerk {
        Clerk { recorder: self.clone(), entries: Arc::default() }
    }
}

/// Writes down what one client does and is told of one brane. Clones write
/// into the same history.
#[derive(Clone)]
pub struct Clerk {
    recorder: Recorder,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Clerk {
    /// Writes a fact down: before what it says is done, after what it says
    /// was told.
    pub fn note(&self, fact: Fact) {
        let mut entries = self.lock();
        // Drawn under the lock, so that a client's own facts ascend.
        let nth = self.recorder.0.fetch_add(1, Ordering::SeqCst);
        entries.push(Entry { nth, fact });
    }

    /// What was written down so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
