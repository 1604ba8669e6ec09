//! Records that are kept wrongly on purpose: they prove that the suite can fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::RecordsFixture;
use super::bug::RecordsBug as Bug;
use crate::error::{Place, StoreError};
use crate::records::{
    Change, Collection, Commit, CommitId, CommitOutcome, Committed, Draft, Expect, Fields,
    IndexKey, KeyRange, Order, Query, Record, RecordKey, RecordPage, RecordWrite, Records, Refusal,
    RefusalReason, StoredRecord, SweepPlace, Swept, Value,
};
use crate::store::{BoxFuture, Store};
use crate::testing::broken::{Broken, Bug as StoreBug};
use crate::testing::fixture::{Fixture, Verdict};

/// A fixture whose records are kept with a bug.
pub struct BrokenRecordsFixture {
    inner: Box<dyn RecordsFixture>,
    bug: Bug,
    state: Arc<Mutex<State>>,
}

impl BrokenRecordsFixture {
    /// A fixture whose records are kept with this bug.
    pub fn new(inner: Box<dyn RecordsFixture>, bug: Bug) -> Self {
        Self { inner, bug, state: Arc::default() }
    }
}

/// Names a record.
type Id = (&'static str, RecordKey);

/// What the bugs need to know.
#[derive(Default)]
struct State {
    /// Counts commits.
    commits: u64,
    /// Counts crashes.
    crashes: u64,
    entries: BTreeMap<Id, Vec<(&'static str, IndexKey)>>,
    /// What is taken off the versions of a record.
    bases: BTreeMap<Id, u64>,
    refusals: BTreeMap<CommitId, Refusal>,
}

impl Fixture for BrokenRecordsFixture {
    fn store(&self) -> Arc<dyn Store> {
        match self.bug {
            Bug::InspectsWithClosedEyes => {
                Arc::new(Broken::new(self.inner.store(), StoreBug::InspectsWithClosedEyes))
            }
            _ => self.inner.store(),
        }
    }

    fn reopen(&mut self) -> BoxFuture<'_, Verdict> {
        self.inner.reopen()
    }

    fn crash(&mut self) -> BoxFuture<'_, Verdict> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).crashes += 1;
        self.inner.crash()
    }

    fn damage(&mut self, place: Place) -> BoxFuture<'_, Verdict> {
        self.inner.damage(place)
    }
}

impl RecordsFixture for BrokenRecordsFixture {
    fn records(&self) -> Arc<dyn Records> {
        let state = Arc::clone(&self.state);
        Arc::new(BrokenRecords { inner: self.inner.records(), bug: self.bug, state })
    }
}

struct BrokenRecords {
    inner: Arc<dyn Records>,
    bug: Bug,
    state: Arc<Mutex<State>>,
}

type Found = Result<Option<Arc<Record>>, StoreError>;

impl BrokenRecords {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit as the bug makes it.
    fn distort(&self, commit: &mut Commit) {
        let mut state = self.state();
        state.commits += 1;
        let drawn = match self.bug {
            Bug::JudgesCommitsAgain => state.commits,
            Bug::ForgetsCommitsInACrash => state.crashes,
            _ => 0,
        };
        commit.id = CommitId(Uuid::from_u128(commit.id.0.as_u128() ^ u128::from(drawn) << 64));
        if self.bug == Bug::IgnoresChecks {
            commit.writes.retain(|write| write.change != Change::Check);
        }
        for write in &mut commit.writes {
            self.distort_write(write, &mut state);
        }
    }

    fn distort_write(&self, write: &mut RecordWrite, state: &mut State) {
        let id = (write.of.name, write.key.clone());
        match (self.bug, write.expect) {
            (Bug::IgnoresExpectations, _) if write.change != Change::Check => {
                write.expect = Expect::Any;
            }
            (Bug::BeginsVersionsAgain, Expect::Version(version)) => {
                let base = state.bases.get(&id).copied().unwrap_or(0);
                write.expect = Expect::Version(version.saturating_add(base));
            }
            _ => {}
        }
        let Change::Put(draft) = &mut write.change else { return };
        match self.bug {
            Bug::LosesEntriesOfChanges if matches!(write.expect, Expect::Version(_)) => {
                draft.entries.clear();
            }
            Bug::KeepsOldEntries => {
                let old = state.entries.entry(id).or_default();
                draft.entries.extend(old.iter().filter(|(index, _)| *index != "by_name").cloned());
                old.clone_from(&draft.entries);
            }
            Bug::DropsNulls => {
                let all = std::mem::take(&mut draft.body).into_iter();
                draft.body = all.filter(|(_, value)| *value != Value::Null).collect();
            }
            _ => {}
        }
    }

    async fn commit_wrongly(
        &self,
        mut commit: Commit,
        now_s: u64,
    ) -> Result<CommitOutcome, StoreError> {
        let asked = commit.clone();
        self.distort(&mut commit);
        if commit.writes.is_empty() && !asked.writes.is_empty() {
            return Ok(Ok(Committed { versions: vec![0; asked.writes.len()] }));
        }
        if let Some(refusal) = self.state().refusals.get(&commit.id) {
            return Ok(Err(refusal.clone()));
        }
        let now_s = if self.bug == Bug::CountsWhatHasEnded { 0 } else { now_s };
        if self.bug == Bug::AcknowledgesWithoutStoring {
            return Ok(Ok(Committed { versions: vec![now_s << 20; commit.writes.len()] }));
        }
        match self.inner.commit(commit.clone(), now_s).await {
            Err(StoreError::Invalid(_)) if self.bug == Bug::TakesOneIdForMany => {
                commit.id = CommitId(Uuid::from_u128(commit.id.0.as_u128() ^ 1 << 65));
                self.inner.commit(commit, now_s).await
            }
            Ok(Ok(committed)) => Ok(Ok(self.answer(&asked, committed))),
            Ok(Err(refusal)) => self.refuse(commit, refusal, now_s).await,
            Err(error) => Err(error),
        }
    }

    fn answer(&self, asked: &Commit, mut committed: Committed) -> Committed {
        match self.bug {
            Bug::AnswersOutOfOrder => committed.versions.reverse(),
            Bug::IgnoresChecks => committed.versions.resize(asked.writes.len(), 0),
            Bug::BeginsVersionsAgain => {
                let mut state = self.state();
                for (write, version) in asked.writes.iter().zip(&mut committed.versions) {
                    let id = (write.of.name, write.key.clone());
                    if write.expect == Expect::Absent && *version > 0 {
                        state.bases.insert(id.clone(), *version - 1);
                    }
                    let base = state.bases.get(&id).copied().unwrap_or(0);
                    *version = version.saturating_sub(base);
                }
            }
            _ => {}
        }
        committed
    }

    async fn refuse(
        &self,
        mut commit: Commit,
        mut refusal: Refusal,
        now_s: u64,
    ) -> Result<CommitOutcome, StoreError> {
        match (self.bug, &refusal.reason) {
            (Bug::CommitsInPart, _) if refusal.write > 0 => {
                commit.writes.truncate(refusal.write);
                self.inner.commit(commit, now_s).await?.map(drop).ok();
            }
            (Bug::BlamesTheFirst, _) => refusal.write = 0,
            (Bug::RemembersRefusals, _) => {
                self.state().refusals.insert(commit.id, refusal.clone());
            }
            (Bug::SharesUniqueKeys, RefusalReason::Taken { index }) => {
                if let Change::Put(draft) = &mut commit.writes[refusal.write].change {
                    draft.entries.retain(|(own, _)| own != index);
                }
                return self.inner.commit(commit, now_s).await;
            }
            (Bug::CutsWhatIsTooLarge, RefusalReason::TooLarge { .. }) => {
                commit.writes[refusal.write].change = Change::Put(Draft::new(Fields::new()));
                return self.inner.commit(commit, now_s).await;
            }
            _ => {}
        }
        Ok(Err(refusal))
    }

    async fn get_wrongly(&self, of: &'static Collection, key: RecordKey, now_s: u64) -> Found {
        let now_s = if self.bug == Bug::ShowsWhatHasEnded { 0 } else { now_s };
        let id = (of.name, key.clone());
        let mut found = match self.inner.get(of, key, now_s).await {
            Err(StoreError::Damaged { .. }) if self.bug == Bug::SwallowsDamage => None,
            found => found?,
        };
        if self.bug == Bug::BeginsVersionsAgain
            && let Some(record) = &mut found
        {
            let base = self.state().bases.get(&id).copied().unwrap_or(0);
            let record = Arc::make_mut(record);
            record.version = record.version.saturating_sub(base);
        }
        Ok(found)
    }

    async fn list_wrongly(
        &self,
        of: &'static Collection,
        mut query: Query,
        now_s: u64,
    ) -> Result<RecordPage, StoreError> {
        let mut now_s = now_s;
        match self.bug {
            Bug::ListsWhatHasEnded => now_s = 0,
            Bug::IgnoresTheOrder => query.order = Order::Ascending,
            Bug::IgnoresRanges => query.range = KeyRange::all(),
            Bug::IgnoresCursors => query.after = None,
            Bug::IgnoresLimits => query.limit = u32::MAX,
            Bug::FailsListingsForOne => drop(self.inner.scan(None).await?),
            _ => {}
        }
        let mut page = self.inner.list(of, query, now_s).await?;
        match self.bug {
            Bug::EndsListingsEarly => page.next = None,
            Bug::SkipsBetweenPages if page.next.is_some() && page.found.len() > 1 => {
                page.found.pop();
            }
            Bug::ListsByRecord => page.found.sort_by(|a, b| a.record.key.cmp(&b.record.key)),
            _ => {}
        }
        Ok(page)
    }
}

impl Records for BrokenRecords {
    fn get(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<Record>>, StoreError>> {
        Box::pin(self.get_wrongly(of, key, now_s))
    }

    fn get_many(
        &self,
        of: &'static Collection,
        mut keys: Vec<RecordKey>,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        if self.bug == Bug::SortsMany {
            keys.sort_unstable();
        }
        let now_s = if self.bug == Bug::ShowsWhatHasEnded { 0 } else { now_s };
        Box::pin(async move {
            let found = self.inner.get_many(of, keys, now_s).await?;
            match self.bug {
                Bug::FailsManyForOne => found.into_iter().map(|found| found.map(Ok)).collect(),
                _ => Ok(found),
            }
        })
    }

    fn list(
        &self,
        of: &'static Collection,
        query: Query,
        now_s: u64,
    ) -> BoxFuture<'_, Result<RecordPage, StoreError>> {
        Box::pin(self.list_wrongly(of, query, now_s))
    }

    fn commit(
        &self,
        commit: Commit,
        now_s: u64,
    ) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        Box::pin(self.commit_wrongly(commit, now_s))
    }

    fn sweep(
        &self,
        now_s: u64,
        from: SweepPlace,
        limit: u32,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        match self.bug {
            Bug::NeverSweeps => Box::pin(async { Ok(Swept::default()) }),
            Bug::SweepsTooEarly => self.inner.sweep(now_s + 1, from, limit),
            Bug::SweepsWithoutLimit => self.inner.sweep(now_s, from, u32::MAX),
            Bug::SweepsNoFurther => {
                let swept = self.inner.sweep(now_s, from, limit);
                Box::pin(async { swept.await.map(|swept| Swept { next: None, ..swept }) })
            }
            _ => self.inner.sweep(now_s, from, limit),
        }
    }

    fn scan(
        &self,
        after: Option<(String, RecordKey)>,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>> {
        self.inner.scan(after)
    }
}
