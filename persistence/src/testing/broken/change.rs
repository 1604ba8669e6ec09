//! The bugs of what becomes of a brane.

use avvy_model::{BraneId, Visibility};

use super::{Broken, Bug};
use crate::error::StoreError;
use crate::life::Life;
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord};

impl Broken {
    pub(super) async fn update_wrongly(
        &self,
        record: BraneRecord,
        was: u64,
    ) -> Result<(), StoreError> {
        if self.bug == Bug::ChangesNothing {
            return Ok(());
        }
        if self.bug == Bug::ChangesBehindTheLapsed
            && self.changes_as_the_lapsed(&record, was).await?
        {
            return Ok(());
        }
        let is_again = self.inner.brane(record.id).await.ok().as_ref() == Some(&record);
        match (self.bug, self.inner.update_brane(record.clone(), was).await) {
            (Bug::RefusesRepeatedChanges, Ok(())) if is_again => {
                Err(StoreError::Changed { version: record.version })
            }
            (Bug::ChangesEveryVersion, Err(StoreError::Changed { version })) => {
                let forced = BraneRecord { version: version + 1, ..record };
                self.inner.update_brane(forced, version).await
            }
            (Bug::ChangesOwners, Err(StoreError::Invalid(_))) => Ok(()),
            (Bug::ForgetsOperators, Ok(())) if record.by_operator => {
                let (version, by_operator) = (record.version, false);
                let forgotten = BraneRecord { by_operator, version: version + 1, ..record };
                self.inner.update_brane(forgotten, version).await
            }
            (Bug::ChangesWhatOthersHold, Err(StoreError::Held { .. })) => {
                self.lapse_holder(record.id).await?;
                self.inner.update_brane(record, was).await
            }
            (_, answer) => answer,
        }
    }

    pub(super) async fn purge_wrongly(
        &self,
        brane: BraneId,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let record = self.inner.brane(brane).await?;
        match self.bug {
            Bug::PurgesNothing if record.life.is_due(now_ms) => return Ok(()),
            Bug::RefusesToPurgeAgain if record.life.is_over() => {
                return Err(StoreError::NotDue(brane));
            }
            Bug::PurgesEarly => return self.inner.purge_brane(brane, u64::MAX >> 1).await,
            Bug::PurgesTheActive if record.life == Life::Active => {
                let (version, life) = (record.version, Life::Doomed { since_ms: 0, purge_ms: 0 });
                let doomed = BraneRecord { life, version: version + 1, ..record };
                self.inner.update_brane(doomed, version).await?;
            }
            Bug::PurgesTheHeld => self.lapse_holder(brane).await?,
            _ => {}
        }
        self.inner.purge_brane(brane, now_ms).await
    }

    /// Whether it takes a purged brane for one that never was.
    pub(super) async fn forgets(&self, brane: BraneId) -> Result<bool, StoreError> {
        let is_over = self.inner.brane(brane).await?.life.is_over();
        Ok(is_over && self.bug == Bug::ForgetsThePurged)
    }

    pub(super) async fn find_wrongly(
        &self,
        ids: Vec<BraneId>,
    ) -> Result<Vec<BraneRecord>, StoreError> {
        let mut found = self.inner.branes_by_id(ids.clone()).await?;
        match self.bug {
            Bug::FindsTheActiveAlone => found.retain(|record| record.life == Life::Active),
            Bug::FindsNothingBesideTheUnknown => {
                let is_there = |id: &BraneId| found.iter().any(|record| record.id == *id);
                if let Some(unknown) = ids.into_iter().find(|id| !is_there(id)) {
                    return Err(StoreError::UnknownBrane(unknown));
                }
            }
            _ => {}
        }
        Ok(found)
    }

    pub(super) async fn list_wrongly(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> Result<BranePage, StoreError> {
        let wrong: fn(BraneFilter, &BraneRecord) -> bool = match self.bug {
            Bug::ListsEverything => |_, _| true,
            Bug::ListsTheInactive => |filter, record| {
                let is_public = record.visibility == Visibility::Public;
                filter.shows(record) || filter == BraneFilter::Listed && is_public
            },
            Bug::HidesTheDeleted => |filter, record| {
                let is_deleted = matches!(record.life, Life::Doomed { .. });
                let is_own = matches!(filter, BraneFilter::OwnedBy(_));
                filter.shows(record) && !(is_own && is_deleted)
            },
            Bug::ListsTheUnfinished => |filter, record| {
                let is_asked = filter == BraneFilter::DeletedOf(record.owner);
                filter.shows(record) || is_asked && record.is_unfinished()
            },
            Bug::ListsThePurged => |filter, record| {
                let is_own = filter == BraneFilter::OwnedBy(record.owner);
                filter.shows(record) || is_own
            },
            Bug::NothingIsDue => {
                |filter, record| filter.shows(record) && !matches!(filter, BraneFilter::Due(_))
            }
            Bug::DueAtOnce => |filter, record| {
                let is_deleted = matches!(record.life, Life::Doomed { .. });
                filter.shows(record) || matches!(filter, BraneFilter::Due(_)) && is_deleted
            },
            _ => {
                let mut page = self.inner.branes(filter, after, limit).await?;
                if self.bug == Bug::EndsListingsEarly {
                    page.next = None;
                }
                return Ok(page);
            }
        };
        let mut page = self.inner.branes(BraneFilter::All, after, limit).await?;
        page.branes.retain(|record| wrong(filter, record));
        Ok(page)
    }
}
