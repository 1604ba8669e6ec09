//! Changes of a brane's record, and its end.

use avvy_model::{BraneId, Seq};

use super::fleet::Member;
use super::state::{Brane, State};
use crate::error::StoreError;
use crate::hold::Hold;
use crate::life::{Life, Purge};
use crate::record::BraneRecord;

impl State {
    /// Refuses what is not to be opened.
    pub(super) fn expect_active(&self, brane: BraneId) -> Result<(), StoreError> {
        match self.brane(brane)?.record.life {
            Life::Active => Ok(()),
            life => Err(StoreError::Inactive { brane, life }),
        }
    }

    pub(super) fn update(
        &mut self,
        record: BraneRecord,
        was: u64,
        by: Option<&Member>,
    ) -> Result<(), StoreError> {
        let brane = self.brane_mut(record.id)?;
        if !brane.record.becomes(&record, was)? {
            return Ok(());
        }
        brane.record = record;
        if brane.hold.in_the_way_of(by.map(Member::id)).is_some() {
            // Its lease is over, and it has to hear of this.
            (brane.epoch, brane.hold) = (brane.epoch.next(), Hold::default());
        }
        Ok(())
    }

    /// Begins a purge, and deletes all: nothing comes in between here.
    pub(super) fn begin_purge(&mut self, id: BraneId, now_ms: u64) -> Result<(), StoreError> {
        let brane = self.brane_mut(id)?;
        let Purge::Begins(record) = brane.record.purge(now_ms)? else { return Ok(()) };
        let epoch = brane.epoch.next();
        let empty = Brane {
            record,
            epoch,
            head: Seq(0),
            lineage: Vec::new(),
            chunks: Default::default(),
            unfinished: None,
            snapshots: Default::default(),
            is_spoiled: false,
            cuts: Vec::new(),
            hold: Hold::default(),
        };
        *brane = empty;
        Ok(())
    }

    /// Purges a brane.
    pub(super) fn purge(&mut self, id: BraneId, now_ms: u64) -> Result<(), StoreError> {
        self.begin_purge(id, now_ms)?;
        let brane = self.brane_mut(id)?;
        if let Some(tombstone) = brane.record.tombstone() {
            brane.record = tombstone;
        }
        Ok(())
    }
}
