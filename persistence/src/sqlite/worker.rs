//! A thread that owns a connection, and the bounded queue before it.
//!
//! SQLite's calls block, so none is made on an executor's thread. The queue has
//! two lanes: urgent calls go first, patient ones in between, at least one for
//! every [`PATIENCE`] urgent ones so that none waits for ever. A call whose
//! caller went away before it began is not made.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::options::SqliteOptions;
use crate::error::StoreError;

/// Urgent calls after which a waiting patient one is made.
const PATIENCE: u32 = 32;

/// How soon a call is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Commits, openings, reads that somebody waits for.
    Urgent,
    /// Compaction, sweeping, folding, inspection.
    Patient,
}

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

struct Queue<C> {
    urgent: VecDeque<(Job<C>, usize)>,
    patient: VecDeque<(Job<C>, usize)>,
    /// Bytes that the waiting calls carry.
    bytes: usize,
    urgent_in_row: u32,
    closed: bool,
}

struct Shared<C> {
    queue: Mutex<Queue<C>>,
    filled: Condvar,
    max_calls: usize,
    max_bytes: usize,
}

/// A thread with what it owns, and the way to it.
pub(super) struct Worker<C> {
    shared: Arc<Shared<C>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Its sender goes when the thread has let go of what it owned.
    ended: watch::Receiver<()>,
    timeout: Duration,
}

impl<C: Send + 'static> Worker<C> {
    /// Starts a thread of this name that owns `context`.
    pub(super) fn start(
        name: &str,
        options: &SqliteOptions,
        mut context: C,
    ) -> Result<Self, StoreError> {
        let queue = Queue {
            urgent: VecDeque::new(),
            patient: VecDeque::new(),
            bytes: 0,
            urgent_in_row: 0,
            closed: false,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            max_calls: options.queue_calls.max(1),
            max_bytes: options.queue_bytes,
        });
        let inside = Arc::clone(&shared);
        let (ends, ended) = watch::channel(());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let closes = CloseOnDrop(&inside);
            while let Some(job) = inside.next() {
                job(&mut context);
            }
            drop(closes);
            drop(context);
            drop(ends);
        });
        let thread = thread.map_err(|error| StoreError::Io(format!("no thread: {error}")))?;
        let timeout = Duration::from_millis(options.store_timeout_ms);
        Ok(Self { shared, thread: Mutex::new(Some(thread)), ended, timeout })
    }

    /// Has the thread do `work`, which carries `bytes`, and waits for it.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        lane: Lane,
        bytes: usize,
        work: impl FnOnce(&mut C) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = move |context: &mut C| {
            if !answer.is_closed() {
                // The caller may go away while the work is done; then nobody asks.
                let _ = answer.send(work(context));
            }
        };
        self.shared.push(lane, bytes, Box::new(job))?;
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => {
                let after_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
                Err(StoreError::Timeout { after_ms })
            }
        }
    }

    /// A way to have the thread do things without waiting for them.
    pub(super) fn poster(&self) -> Poster<C> {
        Poster(Arc::clone(&self.shared))
    }

    /// Ends the thread when what is queued is done, and waits for its end.
    pub(super) async fn ended(&self) {
        self.shared.close();
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// The same, blocking.
    pub(super) fn join(&self) {
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            tracing::error!("a thread of the store panicked");
        }
    }
}

impl<C> Drop for Worker<C> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Hands a worker things to do without waiting for them.
pub(super) struct Poster<C>(Arc<Shared<C>>);

impl<C> Clone for Poster<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Poster<C> {
    /// Queues patient work; false if the queue is full or closed.
    pub(super) fn post(&self, work: impl FnOnce(&mut C) + Send + 'static) -> bool {
        self.post_in(Lane::Patient, work).is_ok()
    }

    /// Queues work.
    pub(super) fn post_in(
        &self,
        lane: Lane,
        work: impl FnOnce(&mut C) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.0.push(lane, 0, Box::new(work))
    }
}

impl<C> Shared<C> {
    fn push(&self, lane: Lane, bytes: usize, job: Job<C>) -> Result<(), StoreError> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(StoreError::Closed);
        }
        let calls = queue.urgent.len() + queue.patient.len();
        let is_full = bytes > 0 && queue.bytes > 0 && queue.bytes + bytes > self.max_bytes;
        if calls >= self.max_calls || is_full {
            return Err(StoreError::Overloaded);
        }
        queue.bytes += bytes;
        match lane {
            Lane::Urgent => queue.urgent.push_back((job, bytes)),
            Lane::Patient => queue.patient.push_back((job, bytes)),
        }
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// The next job; `None` when the queue is closed and empty.
    fn next(&self) -> Option<Job<C>> {
        let mut queue = self.lock();
        loop {
            if let Some((job, bytes)) = queue.pop() {
                queue.bytes -= bytes;
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue<C>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Queue<C> {
    fn pop(&mut self) -> Option<(Job<C>, usize)> {
        if self.urgent_in_row >= PATIENCE || self.urgent.is_empty() {
            self.urgent_in_row = 0;
            if let Some(job) = self.patient.pop_front() {
                return Some(job);
            }
        }
        self.urgent_in_row += 1;
        self.urgent.pop_front()
    }
}

/// Closes the queue and drops what waits when the thread ends, also by a panic:
/// so callers are answered `Closed` and do not wait for their time-out.
struct CloseOnDrop<'a, C>(&'a Shared<C>);

impl<C> Drop for CloseOnDrop<'_, C> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        let waiting = (std::mem::take(&mut queue.urgent), std::mem::take(&mut queue.patient));
        drop(queue);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    fn options() -> SqliteOptions {
        SqliteOptions { queue_calls: 100, queue_bytes: 10, ..SqliteOptions::default() }
    }

    /// Blocks the worker until the sender is dropped.
    fn block(worker: &Worker<Vec<u32>>) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        assert!(worker.poster().post(move |_| {
            begun.send(()).unwrap();
            let _ = released.recv();
        }));
        begins.recv().unwrap();
        release
    }

    #[tokio::test]
    async fn urgent_first_and_patient_not_never() {
        let worker = Worker::start("test", &options(), Vec::new()).unwrap();
        let release = block(&worker);
        let post = |lane, number| {
            let job = move |seen: &mut Vec<u32>| seen.push(number);
            worker.shared.push(lane, 0, Box::new(job)).unwrap();
        };
        (0..2).for_each(|number| post(Lane::Patient, 1_000 + number));
        (0..40).for_each(|number| post(Lane::Urgent, number));
        drop(release);
        let seen = worker.call(Lane::Patient, 0, |seen| Ok(seen.clone())).await.unwrap();
        assert_eq!(seen.len(), 42);
        assert_eq!(seen.iter().position(|number| *number == 1_000), Some(PATIENCE as usize));
        assert_eq!(seen.last(), Some(&1_001));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let worker = Worker::start("test", &options(), Vec::new()).unwrap();
        let release = block(&worker);
        let push = |bytes| worker.shared.push(Lane::Urgent, bytes, Box::new(|_| ()));
        assert_eq!(push(11), Ok(()));
        assert_eq!(push(1), Err(StoreError::Overloaded));
        (0..99).for_each(|_| push(0).unwrap());
        assert_eq!(push(0), Err(StoreError::Overloaded));
        drop(release);
    }

    #[tokio::test]
    async fn a_late_answer_is_a_timeout() {
        let options = SqliteOptions { store_timeout_ms: 10, ..options() };
        let worker = Worker::start("test", &options, Vec::new()).unwrap();
        let release = block(&worker);
        let late = worker.call(Lane::Urgent, 0, |seen| {
            seen.push(1);
            Ok(())
        });
        assert_eq!(late.await, Err(StoreError::Timeout { after_ms: 10 }));
        drop(release);
        let (saw, sees) = mpsc::channel();
        assert!(worker.poster().post(move |seen| saw.send(seen.len()).unwrap()));
        assert_eq!(sees.recv(), Ok(0), "a call given up before it began is not made");
    }

    #[tokio::test]
    async fn a_panic_closes() {
        let worker = Worker::start("test", &options(), Vec::<u32>::new()).unwrap();
        let broken: Result<(), _> = worker.call(Lane::Urgent, 0, |_| panic!("planned")).await;
        assert_eq!(broken, Err(StoreError::Closed));
        assert_eq!(worker.call(Lane::Urgent, 0, |_| Ok(())).await, Err(StoreError::Closed));
    }
}
