//! How records are read and written here.

use std::sync::Arc;

use avvy_model::UserId;
use avvy_persistence::StoreError;
use avvy_persistence::records::{
    Collection, Commit, CommitId, CommitOutcome, Expect, Record, RecordKey, RecordWrite, Records,
};
use uuid::Uuid;

use crate::IdentityError;

/// How often a change is tried anew that others came before.
pub(crate) const TRIES: usize = 8;

/// The records, with the two ways in which they are used here.
#[derive(Clone)]
pub(crate) struct Stored(pub(crate) Arc<dyn Records>);

impl Stored {
    /// A record as the store has it: what decides who somebody is never comes
    /// from a cache.
    pub(crate) async fn fresh(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> Result<Option<Arc<Record>>, IdentityError> {
        let mut found = self.0.get_many(of, vec![key], now_s).await?;
        Ok(found.pop().transpose()?.flatten())
    }

    /// Takes a record that counts once. Whether nobody else has: it is gone then.
    pub(crate) async fn take(
        &self,
        of: &'static Collection,
        record: &Record,
        now_s: u64,
    ) -> Result<bool, IdentityError> {
        let version = Expect::Version(record.version);
        let delete = RecordWrite::delete(of, record.key.clone(), version);
        Ok(self.commit(vec![delete], now_s).await?.is_ok())
    }

    /// Does a commit. One whose outcome is not known is asked for once more:
    /// nothing is done twice.
    pub(crate) async fn commit(
        &self,
        writes: Vec<RecordWrite>,
        now_s: u64,
    ) -> Result<CommitOutcome, IdentityError> {
        let commit = Commit { id: CommitId(Uuid::new_v4()), writes };
        match self.0.commit(commit.clone(), now_s).await {
            Err(StoreError::Timeout { .. } | StoreError::Io(_)) => {
                Ok(self.0.commit(commit, now_s).await?)
            }
            outcome => Ok(outcome?),
        }
    }
}

/// The error of a record that is not of its form.
pub(crate) fn damaged(of: &Collection, key: &RecordKey) -> IdentityError {
    let place = avvy_persistence::Place::Record { of: of.name.to_owned(), key: key.to_string() };
    StoreError::Damaged { place, why: "it lacks what such a record has".to_owned() }.into()
}

/// The key of a user's record.
pub(crate) fn user_key(user: UserId) -> RecordKey {
    RecordKey::from(user.uuid())
}

/// Bytes from the system's cryptographic random source.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|_| IdentityError::Unavailable("the system gives no random bytes"))?;
    Ok(bytes)
}
