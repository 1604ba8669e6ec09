//! Changes of a brane's record, and its end.
//!
//! The first step of a purge is one transaction after which nothing of the
//! brane can be seen: its head is that of an empty journal under the next
//! epoch. What is left is deleted bite by bite, and the tombstone set last.

use avvy_model::{BraneId, Seq};

use super::compact::{BITE_BYTES, due};
use super::directory::JOURNAL;
use super::entries::{Snapshots, read_record};
use super::fault;
use super::journal::{Journal, Write};
use super::parts::Parts;
use super::rows::{Head, MAX_SEQ, key, put_record};
use super::start::SqliteStore;
use super::worker::Lane;
use crate::error::StoreError;
use crate::life::Purge;
use crate::record::BraneRecord;
use crate::snapshot::SnapshotId;

/// Chunks that were put aside and are deleted in one bite.
const BITE_CUT_CHUNKS: i64 = 64;

impl SqliteStore {
    /// Changes a record.
    pub(super) async fn update(&self, record: BraneRecord, was: u64) -> Result<(), StoreError> {
        record.check()?;
        let bytes = record.description.len();
        let update = move |journal: &mut Journal| journal.write(|write| write.update(&record, was));
        self.journal.call(Lane::Urgent, bytes, update).await
    }

    /// Begins a purge or goes on with it; false if it is done.
    pub(super) async fn start_purge(
        &self,
        brane: BraneId,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let begin = move |journal: &mut Journal| journal.begin_purge(brane, now_ms);
        self.journal.call(Lane::Urgent, 0, begin).await
    }

    /// Purges a brane.
    pub(super) async fn purge(&self, brane: BraneId, now_ms: u64) -> Result<(), StoreError> {
        if !self.start_purge(brane, now_ms).await? {
            return Ok(());
        }
        let forget = move |parts: &mut Parts| parts.forget_all(brane);
        for snapshot in self.parts.call(Lane::Patient, 0, forget).await? {
            self.delete_parts(snapshot).await?;
        }
        let bite = move |journal: &mut Journal| journal.write(|write| write.purge_bite(brane));
        while self.journal.call(Lane::Patient, 0, bite).await? {}
        let end = move |journal: &mut Journal| journal.write(|write| write.end_purge(brane));
        self.journal.call(Lane::Urgent, 0, end).await
    }
}

impl Journal {
    /// Begins a purge or goes on with it; false if it is done.
    fn begin_purge(&mut self, brane: BraneId, now_ms: u64) -> Result<bool, StoreError> {
        let begun = self.write(|write| write.begin_purge(brane, now_ms))?;
        let goes_on = begun.is_some();
        self.remember_given_up(begun.into_iter().flatten());
        Ok(goes_on)
    }
}

impl Write<'_> {
    fn record(&self, brane: BraneId) -> Result<(i64, BraneRecord), StoreError> {
        read_record(&self.transaction, brane)?.ok_or(StoreError::UnknownBrane(brane))
    }

    fn update(&self, record: &BraneRecord, was: u64) -> Result<(), StoreError> {
        let (no, there) = self.record(record.id)?;
        if there.becomes(record, was)? {
            put_record(&self.transaction, no, record).map_err(fault::of(JOURNAL))?;
        }
        Ok(())
    }

    /// Begins a purge, and says which snapshots are not to be seen any more;
    /// `None` if there is nothing to do.
    fn begin_purge(
        &mut self,
        brane: BraneId,
        now_ms: u64,
    ) -> Result<Option<Vec<SnapshotId>>, StoreError> {
        let (no, there) = self.record(brane)?;
        let record = match there.purge(now_ms)? {
            Purge::Begins(record) => record,
            Purge::GoesOn => return Ok(Some(Vec::new())),
            Purge::Done => return Ok(None),
        };
        let mut known = self.expect(brane)?;
        known.head = Head { epoch: known.head.epoch.next(), ..Head::default() };
        self.set_head(brane, known);
        self.write_heads()?;
        let snapshots = Snapshots::read(&self.transaction, no, brane)?.whole;
        let delete = || -> rusqlite::Result<()> {
            for table in ["lineages", "snapshots", "cuts"] {
                self.transaction.execute(&format!("DELETE FROM {table} WHERE no = ?1"), [no])?;
            }
            put_record(&self.transaction, no, &record)
        };
        delete().map_err(fault::of(JOURNAL))?;
        Ok(Some(snapshots.into_iter().map(|info| info.id).collect()))
    }

    /// Deletes some of what is left of a brane whose purge has begun; false when
    /// that was all.
    fn purge_bite(&self, brane: BraneId) -> Result<bool, StoreError> {
        let (no, there) = self.record(brane)?;
        if there.tombstone().is_none() {
            return Ok(false);
        }
        let bite = || -> rusqlite::Result<bool> {
            let range = (key(no, Seq(0)), key(no, MAX_SEQ));
            let (bitten, last) = due(&self.transaction, range, u64::MAX, BITE_BYTES)?;
            if let Some(last) = last {
                let sql = "DELETE FROM chunks WHERE key > ?1 AND key <= ?2";
                self.transaction.execute(sql, [range.0, last])?;
            }
            let sql = "DELETE FROM cut_chunks WHERE rowid IN \
                (SELECT rowid FROM cut_chunks WHERE no = ?1 LIMIT ?2)";
            let put_aside = self.transaction.execute(sql, [no, BITE_CUT_CHUNKS])?;
            Ok(bitten.more || put_aside > 0)
        };
        bite().map_err(fault::of(JOURNAL))
    }

    /// Sets the tombstone.
    fn end_purge(&self, brane: BraneId) -> Result<(), StoreError> {
        let (no, there) = self.record(brane)?;
        match there.tombstone() {
            Some(record) => put_record(&self.transaction, no, &record).map_err(fault::of(JOURNAL)),
            None => Ok(()),
        }
    }
}
