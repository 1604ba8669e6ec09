//! One change of a user's things, which is one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use avvy_model::{Code, UserId};
use avvy_persistence::StoreError;
use avvy_persistence::records::{
    Commit, CommitId, Committed, Expect, MAX_KEYS, MAX_WRITES, Record, RecordKey, RecordWrite,
    RefusalReason,
};
use uuid::Uuid;

use crate::account::{ACCOUNTS, Account, Usage};
use crate::found::{self, FOUND};
use crate::thing::{THINGS, Thing, read};
use crate::{Catalog, Refused};

/// How often a change begins anew when another change of the same user came
/// between.
const ATTEMPTS: usize = 16;

/// A thing and the version of its record.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    /// The thing.
    pub thing: Thing,
    /// Fit for an entity tag.
    pub version: u64,
}

/// What is to be done for one user. Nothing is until [`Catalog::finish`].
pub(crate) struct Work {
    pub(crate) owner: UserId,
    pub(crate) now_s: u64,
    pub(crate) account: Account,
    before: Account,
    /// That of the account's record; `None`: there is none yet.
    version: Option<u64>,
    writes: BTreeMap<(&'static str, String), RecordWrite>,
}

/// Counts the attempts of one change.
pub(crate) struct Attempts(usize);

impl Attempts {
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// # Errors
    /// `conflict` when there were enough.
    pub(crate) fn again(&mut self) -> Result<(), Refused> {
        self.0 += 1;
        if self.0 < ATTEMPTS { Ok(()) } else { Err(Code::Conflict.into()) }
    }
}

/// Does a change again and again until no other change of the same user came
/// between, and gives what it gave and the versions of what it wrote.
macro_rules! serially {
    ($catalog:expr, $owner:expr, $now_s:expr, |$work:ident| $change:expr) => {{
        let mut attempts = $crate::work::Attempts::new();
        loop {
            let mut $work = $catalog.begin($owner, $now_s).await?;
            let result = $change;
            if let Some(done) = $catalog.finish($work).await? {
                break (result, done);
            }
            attempts.again()?;
        }
    }};
}
pub(crate) use serially;

/// The versions of what was written.
pub(crate) struct Done(BTreeMap<(&'static str, String), u64>);

impl Done {
    /// A thing that was written.
    pub(crate) fn stored(&self, thing: Thing) -> Stored {
        let version = self.0.get(&(THINGS.name, thing.id.to_string())).copied().unwrap_or(0);
        Stored { thing, version }
    }
}

impl Work {
    /// Writes a thing: `old` is what it was, as it was read; `None`: it is new.
    pub(crate) fn put(&mut self, old: Option<&Stored>, new: &Thing) {
        let key = RecordKey::from(new.id);
        let draft = match new.is_deleted {
            true => new.draft().until(self.now_s + DELETED_KEPT_S),
            false => new.draft(),
        };
        let write = match old {
            Some(old) => RecordWrite::update(&THINGS, key, old.version, draft),
            None => RecordWrite::create(&THINGS, key, draft),
        };
        self.count(old, Usage::of(new));
        self.list(old.map(|old| &old.thing), Some(new));
        self.write(write);
    }

    /// Removes a thing.
    pub(crate) fn remove(&mut self, old: &Stored) {
        self.count(Some(old), Usage::default());
        self.list(Some(&old.thing), None);
        let expect = Expect::Version(old.version);
        self.write(RecordWrite::delete(&THINGS, RecordKey::from(old.thing.id), expect));
    }

    /// Writes something else.
    pub(crate) fn write(&mut self, write: RecordWrite) {
        self.writes.insert((write.of.name, write.key.as_str().to_owned()), write);
    }

    fn count(&mut self, old: Option<&Stored>, new: Usage) {
        let old = old.map(|old| Usage::of(&old.thing)).unwrap_or_default();
        self.account.usage = self.account.usage.minus(old).plus(new);
    }

    /// Has searches find what they should.
    fn list(&mut self, old: Option<&Thing>, new: Option<&Thing>) {
        let [old, new] = [old, new].map(|thing| thing.filter(|thing| thing.is_listed()));
        match (old, new) {
            (_, Some(new)) => self.write(found::listed(new)),
            (Some(old), None) => {
                let key = found::key(old.kind().into(), old.id);
                self.write(RecordWrite::delete(&FOUND, key, Expect::Any));
            }
            (None, None) => {}
        }
    }
}

/// How long it is known that a published thing was deleted, in seconds.
const DELETED_KEPT_S: u64 = 30 * 24 * 3_600;

impl Catalog {
    /// Begins a change of a user's things. Whatever is read of them from now on
    /// still holds when the change is done.
    pub(crate) async fn begin(&self, owner: UserId, now_s: u64) -> Result<Work, Refused> {
        let record = self.records().get(&ACCOUNTS, account_key(owner), now_s).await?;
        let version = record.as_ref().map(|record| record.version);
        let account = record.map(|record| Account::read(&record)).unwrap_or_default();
        let before = account.clone();
        Ok(Work { owner, now_s, account, before, version, writes: BTreeMap::new() })
    }

    /// Does a change; `None` if another one came between.
    ///
    /// # Errors
    /// The code of the bound that the user would be beyond; `tree_too_large` if
    /// it is more than one commit can hold.
    pub(crate) async fn finish(&self, work: Work) -> Result<Option<Done>, Refused> {
        let Work { owner, now_s, account, before, version, writes } = work;
        if writes.is_empty() && account == before {
            return Ok(Some(Done(BTreeMap::new())));
        }
        account.usage.check(before.usage, &self.limits)?;
        let (names, mut all): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        let draft = account.draft(owner);
        all.push(match version {
            Some(version) => RecordWrite::update(&ACCOUNTS, account_key(owner), version, draft),
            None => RecordWrite::create(&ACCOUNTS, account_key(owner), draft),
        });
        if all.len() > MAX_WRITES {
            return Err(Code::TreeTooLarge.into());
        }
        let done = self.commit(all, now_s).await?;
        Ok(done.map(|done| Done(names.into_iter().zip(done.versions).collect())))
    }

    /// Does a commit; `None` if something is not as it was read. What is not
    /// known to be done is asked for once more.
    pub(crate) async fn commit(
        &self,
        writes: Vec<RecordWrite>,
        now_s: u64,
    ) -> Result<Option<Committed>, Refused> {
        let commit = Commit { id: CommitId(Uuid::new_v4()), writes };
        let outcome = match self.records().commit(commit.clone(), now_s).await {
            Err(StoreError::Timeout { .. }) => self.records().commit(commit, now_s).await?,
            outcome => outcome?,
        };
        match outcome.map_err(|refusal| refusal.reason) {
            Ok(committed) => Ok(Some(committed)),
            Err(RefusalReason::Conflict { .. }) => Ok(None),
            Err(RefusalReason::Taken { .. }) => Err(Code::Exists.into()),
            Err(RefusalReason::TooLarge { .. }) => Err(Code::TooLarge.into()),
            Err(RefusalReason::Malformed(_)) => Err(Code::Malformed.into()),
        }
    }

    /// Things by their ids, as the store has them, in the order of the ids.
    pub(crate) async fn load(
        &self,
        ids: &[Uuid],
        now_s: u64,
    ) -> Result<Vec<Option<Stored>>, Refused> {
        let mut all = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MAX_KEYS) {
            let keys = ids.iter().map(|id| RecordKey::from(*id)).collect();
            for found in self.records().get_many(&THINGS, keys, now_s).await? {
                all.push(found?.map(stored).transpose()?);
            }
        }
        Ok(all)
    }

    /// What an earlier call has made under an id that was drawn for it.
    ///
    /// # Errors
    /// `exists` if another's thing has the id.
    pub(crate) async fn made(&self, work: &Work, id: Uuid) -> Result<Option<Stored>, Refused> {
        match self.load(&[id], work.now_s).await?.pop().flatten() {
            Some(stored) if stored.thing.owner == work.owner => Ok(Some(stored)),
            Some(_) => Err(Code::Exists.into()),
            None => Ok(None),
        }
    }

    /// One thing, as the store has it.
    pub(crate) async fn load_one(&self, id: Uuid, now_s: u64) -> Result<Stored, Refused> {
        let found = self.load(&[id], now_s).await?.pop().flatten();
        found.ok_or(Code::NotFound.into())
    }
}

pub(crate) fn stored(record: Arc<Record>) -> Result<Stored, Refused> {
    Ok(Stored { thing: read(&record)?, version: record.version })
}

fn account_key(owner: UserId) -> RecordKey {
    RecordKey::from(owner.uuid())
}

/// Holds a thing to the version that its changer has seen.
///
/// # Errors
/// `precondition_failed`.
pub(crate) fn expect(stored: &Stored, version: Option<u64>) -> Result<(), Refused> {
    match version.is_none_or(|version| version == stored.version) {
        true => Ok(()),
        false => Err(Code::PreconditionFailed.into()),
    }
}
