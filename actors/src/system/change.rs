//! Changes of a brane's record, and what becomes of a brane.

use std::sync::Arc;

use avvy_auth::Claims;
use avvy_model::label::{are_tags, is_description, is_name};
use avvy_model::{BraneId, Code, Role, UserId, Verb, Visibility};
use avvy_persistence::{BraneFilter, BraneKind, BraneRecord, Life, MAX_PAGE, Store, StoreError};
use tracing::warn;

use super::{System, principal, store_code};
use crate::brane::{BraneMsg, end_of};
use crate::directory::DirectoryMsg;
use crate::limit::Limit;
use crate::loading::refused;
use crate::{Denied, clock};

/// How often a change is tried on what others change meanwhile.
const TRIES: u32 = 4;

/// Who changes a brane.
#[derive(Clone, Copy, Debug)]
pub enum Author<'a> {
    /// A user, as far as they may.
    User(&'a Claims),
    /// Whoever runs the server.
    Operator,
}

/// What is to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BraneChange {
    /// What is said of the brane: whoever may configure it; its kind and who
    /// may see it: its owner.
    Patch(BranePatch),
    /// It is kept, and nobody enters it: its owner. What an operator archived
    /// is for operators alone to archive otherwise, or to restore.
    Archive {
        /// The brane that takes its place.
        successor: Option<BraneId>,
    },
    /// It is deleted, and can be restored for a while: its owner.
    Delete,
    /// It is active again: its owner.
    Restore,
}

/// New values of a brane's record; what is `None` stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BranePatch {
    /// Its name.
    pub name: Option<String>,
    /// What people are told of it.
    pub description: Option<String>,
    /// All its tags from now on.
    pub tags: Option<Vec<String>>,
    /// What it is for.
    pub kind: Option<BraneKind>,
    /// Who may see it.
    pub visibility: Option<Visibility>,
}

impl BranePatch {
    fn is_for_the_owner(&self) -> bool {
        self.kind.is_some() || self.visibility.is_some()
    }

    fn is_good(&self) -> bool {
        self.name.as_deref().is_none_or(is_name)
            && self.description.as_deref().is_none_or(is_description)
            && self.tags.as_deref().is_none_or(are_tags)
    }

    fn apply(self, record: &mut BraneRecord) {
        let Self { name, description, tags, kind, visibility } = self;
        record.name = name.unwrap_or(std::mem::take(&mut record.name));
        record.description = description.unwrap_or(std::mem::take(&mut record.description));
        record.tags = tags.unwrap_or(std::mem::take(&mut record.tags));
        record.kind = kind.unwrap_or(record.kind);
        record.visibility = visibility.unwrap_or(record.visibility);
    }
}

impl BraneChange {
    /// The record after the change; the same if nothing changes. What an
    /// operator archived its owner may delete, and nothing else.
    fn apply(
        self,
        was: &BraneRecord,
        is_operator: bool,
        now_ms: u64,
        grace_ms: u64,
    ) -> Result<BraneRecord, Code> {
        let mut record = was.clone();
        let is_kept_closed = was.by_operator && !is_operator;
        match (self, was.life) {
            (_, Life::Purging { .. } | Life::Purged { .. }) => return Err(Code::NotFound),
            _ if was.is_unfinished() => return Err(Code::NotFound),
            (Self::Patch(patch), Life::Active) => patch.apply(&mut record),
            (Self::Patch(_), life) => return Err(end_of(life).unwrap_or(Code::NotFound)),
            (Self::Archive { .. }, Life::Doomed { .. }) => return Err(Code::BraneDeleted),
            (Self::Archive { .. } | Self::Restore, _) if is_kept_closed => {
                return Err(Code::ArchivedByOperator);
            }
            (Self::Archive { successor }, Life::Archived { since_ms, .. }) => {
                record.life = Life::Archived { since_ms, successor };
                record.by_operator = is_operator;
            }
            (Self::Archive { successor }, Life::Active) => {
                record.life = Life::Archived { since_ms: now_ms, successor };
                record.by_operator = is_operator;
            }
            (Self::Delete, Life::Doomed { .. }) => {}
            (Self::Delete, Life::Active | Life::Archived { .. }) => {
                let purge_ms = now_ms.saturating_add(grace_ms);
                record.life = Life::Doomed { since_ms: now_ms, purge_ms };
            }
            (Self::Restore, _) => (record.life, record.by_operator) = (Life::Active, false),
        }
        if record != *was {
            record.version += 1;
        }
        Ok(record)
    }
}

impl System {
    /// Changes a brane's record, if its version is expected, and gives it as it
    /// is then. Whoever is in the brane is told, or sent away. In a fleet the
    /// node that holds the brane does it.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `banned`; `precondition_failed`; `malformed` for
    /// what no brane is called, or a successor that is none; `brane_archived`,
    /// `brane_deleted`; `archived_by_operator`; `too_many_branes` where one is restored; `conflict` when
    /// others change it again and again; `moved`, `unavailable`, `timeout`,
    /// `damaged`.
    pub async fn change_brane(
        &self,
        brane: BraneId,
        author: Author<'_>,
        change: BraneChange,
        is_expected: impl Fn(u64) -> bool,
    ) -> Result<BraneRecord, Denied> {
        for _ in 0..TRIES {
            let was = self.record_to_change(brane, author, &change).await?;
            if !is_expected(was.version) {
                return Err(Code::PreconditionFailed.into());
            }
            let is_operator = matches!(author, Author::Operator);
            let grace_ms = self.inner.config.restorable_ms;
            let next = change.clone().apply(&was, is_operator, clock::unix_ms(), grace_ms)?;
            if next == was {
                // It may be asked for again because it was stored too late for
                // whoever stored it to know, and then the brane does not.
                self.tell_changed(next.clone());
                return Ok(next);
            }
            match self.put_record(next.clone(), was).await {
                Err(Denied { code: Code::Conflict, .. }) => {}
                other => return other.map(|()| next),
            }
        }
        Err(Code::Conflict.into())
    }

    /// A brane's record, whatever has become of it and whoever may see it.
    ///
    /// # Errors
    /// `not_found`, or what the store's failure amounts to.
    pub async fn any_brane(&self, brane: BraneId) -> Result<BraneRecord, Code> {
        self.inner.store.brane(brane).await.map_err(store_code)
    }

    /// The records of those of these branes that are there, as [`Self::any_brane`]
    /// has them.
    ///
    /// # Errors
    /// What the store's failure amounts to.
    pub async fn any_branes(&self, branes: &[BraneId]) -> Result<Vec<BraneRecord>, Code> {
        let mut found = Vec::new();
        for ids in branes.chunks(MAX_PAGE as usize) {
            let ids = ids.to_vec();
            found.extend(self.inner.store.branes_by_id(ids).await.map_err(store_code)?);
        }
        Ok(found)
    }

    /// The record that is to be changed, if this change of it is the author's to
    /// make.
    async fn record_to_change(
        &self,
        brane: BraneId,
        author: Author<'_>,
        change: &BraneChange,
    ) -> Result<BraneRecord, Denied> {
        if let BraneChange::Patch(patch) = change {
            if !patch.is_good() {
                return Err(Code::Malformed.into());
            }
            if let Author::User(claims) = author {
                return self.record_to_patch(brane, claims, patch).await;
            }
        }
        if let BraneChange::Archive { successor: Some(successor) } = change {
            self.expect_successor(brane, *successor, author).await?;
        }
        match author {
            Author::Operator => Ok(self.any_brane(brane).await?),
            Author::User(claims) => {
                let record = self.brane(brane, claims).await?;
                if is_owner(&record, claims) { Ok(record) } else { Err(Code::Forbidden.into()) }
            }
        }
    }

    /// Who may configure a brane, its rights know, and with them the brane.
    async fn record_to_patch(
        &self,
        brane: BraneId,
        claims: &Claims,
        patch: &BranePatch,
    ) -> Result<BraneRecord, Denied> {
        let handle = match self.brane_handle(brane).await {
            Err(denied) if denied.code == Code::NotFound => {
                return Err(self.what_became_of(brane, claims).await.into());
            }
            handle => handle?,
        };
        let view = self.ask(&handle.actor, BraneMsg::View).await?;
        let (record, rights) = (&view.record, view.world.rights());
        let principal = principal(record, claims);
        rights.may_enter(&principal, clock::unix_ms())?;
        let may = rights.verbs(&principal).contains(Verb::Configure)
            && (!patch.is_for_the_owner() || is_owner(record, claims));
        if may { Ok(BraneRecord::clone(record)) } else { Err(Code::Forbidden.into()) }
    }

    /// Why a brane is not there for changes: whoever may see it is told.
    async fn what_became_of(&self, brane: BraneId, claims: &Claims) -> Code {
        match self.brane(brane, claims).await {
            Ok(record) => end_of(record.life).unwrap_or(Code::NotFound),
            Err(code) => code,
        }
    }

    async fn expect_successor(
        &self,
        brane: BraneId,
        successor: BraneId,
        author: Author<'_>,
    ) -> Result<(), Denied> {
        let found = match author {
            Author::User(claims) => self.brane(successor, claims).await,
            Author::Operator => self.any_brane(successor).await,
        };
        match found {
            Ok(found) if found.life == Life::Active && successor != brane => Ok(()),
            Ok(_) | Err(Code::NotFound) => Err(Code::Malformed.into()),
            Err(code) => Err(code.into()),
        }
    }

    /// Stores a record in place of the one that was, and tells the brane. Goes on
    /// to its end when whoever asked does not wait any more: those who are in
    /// the brane have to hear of it.
    async fn put_record(&self, next: BraneRecord, was: BraneRecord) -> Result<(), Denied> {
        let system = self.clone();
        let put = tokio::spawn(async move {
            // One at a time, as for a new one.
            let counts = next.life.is_kept() && !was.life.is_kept();
            let creating = if counts { Some(system.inner.creating.lock().await) } else { None };
            if counts {
                system.expect_room(next.owner, Room::Kept).await?;
            }
            let brane = next.id;
            let put = system.inner.store.update_brane(next.clone(), was.version).await;
            drop(creating);
            let record = match &put {
                Ok(()) => Ok(next),
                // It may have been stored all the same, or others have changed it.
                Err(_) => system.inner.store.brane(brane).await,
            };
            if let Ok(record) = record {
                system.tell_changed(record);
            }
            put.map_err(|error| match error {
                StoreError::Changed { .. } => Code::Conflict.into(),
                error => refused(system.inner.fleet.as_ref(), brane, error),
            })
        });
        put.await.unwrap_or_else(|error| {
            warn!(%error, "changing a brane's record failed");
            Err(Code::Internal.into())
        })
    }

    /// Has the brane, if it is open here, know what is stored of it.
    fn tell_changed(&self, record: BraneRecord) {
        // Without the directory the whole system ends.
        let changed = DirectoryMsg::Changed(Arc::new(record));
        let _ = self.inner.directory.send_message(changed);
    }

    /// Refuses one more brane to whoever has as many as one may.
    pub(super) async fn expect_room(&self, owner: UserId, room: Room) -> Result<(), Code> {
        let (store, max) = (self.inner.store.as_ref(), self.inner.config.max_branes_per_user);
        let owned = owned_branes(store, owner, max).await.map_err(store_code)?;
        let is_full = owned.kept >= max || room == Room::New && owned.all >= 2 * max;
        if is_full {
            self.inner.metrics.limits.count(Limit::BranesOfUser);
            return Err(Code::TooManyBranes);
        }
        Ok(())
    }
}

/// Whether this is the owner, with a token that allows what owners may.
fn is_owner(record: &BraneRecord, claims: &Claims) -> bool {
    record.owner == claims.user && claims.role == Role::Owner
}

/// For what a brane takes room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// One that is there is kept from now on.
    Kept,
    /// A new one. Of those that are deleted and not purged yet as many may be
    /// there as of those that are kept: making and deleting them has an end.
    New,
}

/// How many branes a user owns.
#[derive(Default)]
struct Owned {
    /// Those that count.
    kept: usize,
    /// All that are not purged.
    all: usize,
}

/// Counts a user's branes; so many that are kept are as good as more.
async fn owned_branes(
    store: &dyn Store,
    owner: UserId,
    enough: usize,
) -> Result<Owned, StoreError> {
    let (mut owned, mut after) = (Owned::default(), None);
    while owned.kept < enough {
        let page = store.branes(BraneFilter::OwnedBy(owner), after, MAX_PAGE).await?;
        owned.all += page.branes.len();
        owned.kept += page.branes.iter().filter(|record| record.life.is_kept()).count();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(owned)
}
