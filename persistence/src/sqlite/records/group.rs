//! Commits of records wait here, and are done many at a time.
//!
//! One call of the writer's queue is for all that wait: so before a commit of
//! the journal there is never more than one group of records, and however many
//! commits come, each costs a part of a sync. Each is judged alone, after
//! those before it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::journal::Journal;
use super::super::options::SqliteOptions;
use super::super::worker::{Lane, Poster, Worker};
use super::write::RecordTables;
use crate::error::StoreError;
use crate::records::{CommitOutcome, Prepared, Weighed, carry_out, weigh};

/// The most commits, and about how many bytes, of one group.
const MAX_COMMITS: usize = 64;
const MAX_BYTES: usize = 2 << 20;

type Answer = Result<CommitOutcome, StoreError>;

/// Commits that nobody has begun.
pub(in super::super) struct Waiting {
    queue: Mutex<Queue>,
    max_commits: usize,
    max_bytes: usize,
    timeout: Duration,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Whether a call for them is in the writer's queue.
    is_called: bool,
}

struct Job {
    commit: Prepared,
    answer: oneshot::Sender<Answer>,
}

impl Waiting {
    pub(in super::super) fn new(options: &SqliteOptions) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            max_commits: options.queue_calls.max(1),
            max_bytes: options.queue_bytes,
            timeout: Duration::from_millis(options.store_timeout_ms),
        })
    }

    /// Has the writer do a commit, and waits for it.
    pub(super) async fn commit(
        self: &Arc<Self>,
        writer: &Worker<Journal>,
        commit: Prepared,
    ) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.push(Job { commit, answer })? {
            self.call(&writer.poster())?;
        }
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => {
                let after_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
                Err(StoreError::Timeout { after_ms })
            }
        }
    }

    /// True if the writer has to be called.
    fn push(&self, job: Job) -> Result<bool, StoreError> {
        let mut queue = self.lock();
        let bytes = job.commit.bytes;
        let is_full = queue.bytes > 0 && queue.bytes + bytes > self.max_bytes;
        if queue.jobs.len() >= self.max_commits || is_full {
            return Err(StoreError::Overloaded);
        }
        queue.bytes += bytes;
        queue.jobs.push_back(job);
        Ok(!std::mem::replace(&mut queue.is_called, true))
    }

    fn call(self: &Arc<Self>, writer: &Poster<Journal>) -> Result<(), StoreError> {
        let (turn, again) = (Turn(Some(Arc::clone(self))), writer.clone());
        writer.post_in(Lane::Urgent, move |journal: &mut Journal| turn.take(journal, &again))
    }

    /// The next group.
    fn next(&self) -> Vec<Job> {
        let mut queue = self.lock();
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < MAX_COMMITS
            && bytes < MAX_BYTES
            && let Some(job) = queue.jobs.pop_front()
        {
            queue.bytes -= job.commit.bytes;
            bytes += job.commit.bytes;
            // Who went away before it began does not want it done.
            if !job.answer.is_closed() {
                group.push(job);
            }
        }
        group
    }

    /// Whether the writer has to be called once more.
    fn is_left(&self) -> bool {
        let mut queue = self.lock();
        queue.is_called = !queue.jobs.is_empty();
        queue.is_called
    }

    /// Lets go of all that wait, of which nothing was begun.
    fn give_up(&self) {
        let waiting = std::mem::take(&mut *self.lock());
        for job in waiting.jobs {
            let _ = job.answer.send(Err(StoreError::Overloaded));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call for what waits. One that is never made, because the queue was full
/// or the thread has ended, leaves nobody waiting.
struct Turn(Option<Arc<Waiting>>);

impl Turn {
    fn take(mut self, journal: &mut Journal, writer: &Poster<Journal>) {
        // What is left here is given up if what follows panics.
        let Some(waiting) = self.0.clone() else { return };
        commit_all(journal, waiting.next());
        self.0 = None;
        if waiting.is_left()
            && let Err(error) = waiting.call(writer)
        {
            tracing::warn!(%error, "commits of records that wait are given up");
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(waiting) = self.0.take() {
            waiting.give_up();
        }
    }
}

/// Does a group in one transaction, and answers each.
fn commit_all(journal: &mut Journal, group: Vec<Job>) {
    if group.is_empty() {
        return;
    }
    let (commits, askers): (Vec<_>, Vec<_>) =
        group.into_iter().map(|Job { commit, answer }| (commit, answer)).unzip();
    let room = journal.room();
    let done = journal.write(|write| {
        let one = |commit: &Prepared| match &room {
            Err(error) if commit.takes_room() => Ok(Err(error.clone())),
            _ => commit_one(&write.transaction, commit),
        };
        commits.iter().map(one).collect::<Result<Vec<Answer>, StoreError>>()
    });
    let answers = done.unwrap_or_else(|error| vec![Err(error); commits.len()]);
    for (asker, answer) in askers.into_iter().zip(answers) {
        // Who went away meanwhile does not hear it.
        let _ = asker.send(answer);
    }
}

/// Does a commit within the group's transaction. What is wrong with it alone is
/// its answer; what fails otherwise fails the group, as SQLite may have given
/// the transaction up.
fn commit_one(db: &Connection, commit: &Prepared) -> Result<Answer, StoreError> {
    let mut tables = RecordTables(db);
    match weigh(&tables, commit) {
        Ok(Weighed::Known(committed)) => Ok(Ok(Ok(committed))),
        Ok(Weighed::Refused(refusal)) => Ok(Ok(Err(refusal))),
        Ok(Weighed::Do(plan)) => carry_out(&mut tables, commit, plan).map(|done| Ok(Ok(done))),
        Err(error @ (StoreError::Damaged { .. } | StoreError::Invalid(_))) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_model::{BraneId, Epoch, Seq, UserId};
    use bytes::Bytes;
    use std::sync::mpsc;
    use uuid::Uuid;

    use super::super::super::start::SqliteStore;
    use super::*;
    use crate::chunk::ChunkWrite;
    use crate::record::BraneRecord;
    use crate::records::{
        Collection, Commit, CommitId, Draft, Fields, RecordKey, RecordWrite, Records,
    };
    use crate::store::Store;

    static THINGS: Collection = Collection { name: "things", indexes: &[] };

    fn commit(nth: u128) -> Commit {
        let draft = Draft::new(Fields::new());
        let write = RecordWrite::create(&THINGS, RecordKey::from(Uuid::from_u128(nth)), draft);
        Commit { id: CommitId(Uuid::from_u128(nth)), writes: vec![write] }
    }

    fn brane() -> BraneRecord {
        BraneRecord::new(BraneId::from_bytes([1; 16]), UserId::from_bytes([2; 16]), 1)
    }

    /// A store whose writer waits until the sender is dropped.
    async fn blocked(root: &std::path::Path) -> (Arc<SqliteStore>, Epoch, mpsc::Sender<()>) {
        let store = Arc::new(SqliteStore::open(&SqliteOptions::at(root)).unwrap());
        store.create_brane(brane()).await.unwrap();
        let epoch = store.open(brane().id).await.unwrap().epoch;
        let (release, released) = mpsc::channel::<()>();
        let wait = move |_: &mut Journal| {
            let _ = released.recv();
        };
        store.journal.poster().post_in(Lane::Urgent, wait).unwrap();
        (store, epoch, release)
    }

    #[tokio::test]
    async fn an_append_waits_for_one_group_at_most() {
        let root = tempfile::tempdir().unwrap();
        let (store, epoch, release) = blocked(root.path()).await;
        let all = 3 * MAX_COMMITS + 1;
        let commits: Vec<_> = (0..all as u128)
            .map(|nth| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.commit(commit(nth), 1).await })
            })
            .collect();
        while store.waiting.lock().jobs.len() < all {
            tokio::task::yield_now().await;
        }
        // Behind all of them, and a look at what is there right after it.
        let (from, to, body) = (Seq(0), Seq(1), Bytes::from_static(b"x"));
        let chunk = ChunkWrite { brane: brane().id, epoch, from, to, at_ms: 1, body };
        let mut append = std::pin::pin!(store.append(vec![chunk]));
        let look = async {
            store
                .journal
                .call(Lane::Urgent, 0, |journal| {
                    let count = |sql, db: &Connection| {
                        db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
                    };
                    journal.write(|write| {
                        let db = &write.transaction;
                        let records = count("SELECT count(*) FROM records", db);
                        Ok((records, count("SELECT count(*) FROM chunks", db)))
                    })
                })
                .await
        };
        let release = async {
            tokio::task::yield_now().await;
            drop(release);
        };
        let (appended, found, ()) = tokio::join!(&mut append, look, release);
        assert_eq!(appended.unwrap(), [Ok(())]);
        assert_eq!(found.unwrap(), (MAX_COMMITS as i64, 1));
        for commit in commits {
            assert!(commit.await.unwrap().unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_writer_that_ends_is_answered() {
        let root = tempfile::tempdir().unwrap();
        let (store, _, release) = blocked(root.path()).await;
        let panics = |_: &mut Journal| panic!("planned");
        store.journal.poster().post_in(Lane::Urgent, panics).unwrap();
        let waits = store.commit(commit(1), 1);
        let release = async { drop(release) };
        let (answer, ()) = tokio::join!(waits, release);
        assert_eq!(answer, Err(StoreError::Overloaded), "nothing was begun");
        assert_eq!(store.commit(commit(2), 1).await, Err(StoreError::Closed));
        assert_eq!(store.waiting.lock().jobs.len(), 0);
    }
}
