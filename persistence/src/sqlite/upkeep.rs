//! Retention: a long walk in short steps.

use avvy_model::BraneId;
use rusqlite::params;

use super::directory::JOURNAL;
use super::fault;
use super::journal::Journal;
use super::reader::Reader;
use super::rows;
use super::start::SqliteStore;
use super::worker::Lane;
use crate::error::StoreError;
use crate::report::{CompactPolicy, Compaction, Damage};
use crate::upkeep::{self, Bite, Bites, Bitten, HeldUp, skip_damaged};

/// Branes listed in one step.
const STEP: u32 = 256;

impl SqliteStore {
    pub(super) async fn compact_all(
        &self,
        policy: CompactPolicy,
    ) -> Result<Compaction, StoreError> {
        let mut done = Compaction::default();
        let before_ms = policy.now_ms.saturating_sub(policy.retention_ms);
        let mut after = 0;
        loop {
            let step = move |reader: &mut Reader| reader.numbers(after);
            let numbers = self.readers.call(Lane::Patient, step).await?;
            let Some(last) = numbers.last else { break };
            after = last;
            for Damage { place, why } in numbers.damages {
                skip_damaged(Err(StoreError::Damaged { place, why }), &mut done)?;
            }
            for brane in numbers.branes {
                let result = self.compact_brane(brane, policy, before_ms, &mut done).await;
                skip_damaged(result, &mut done)?;
            }
        }
        if let Some(cap) = policy.max_journal_bytes {
            let mut held_up = HeldUp::default();
            upkeep::cut_to(self, cap, policy.keep_snapshots, &mut held_up, &mut done).await?;
        }
        Ok(done)
    }

    async fn compact_brane(
        &self,
        brane: BraneId,
        policy: CompactPolicy,
        before_ms: u64,
        done: &mut Compaction,
    ) -> Result<(), StoreError> {
        let keep = policy.keep_snapshots;
        let hidden = self
            .journal
            .call(Lane::Patient, 0, move |journal| journal.hide_snapshots(brane, keep))
            .await?;
        for snapshot in hidden {
            done.snapshots += 1;
            self.delete_parts(snapshot).await?;
        }
        let bite = Bite { brane, keep, before_ms, wanted: u64::MAX };
        upkeep::bite_off(self, bite, done).await
    }
}

impl Bites for SqliteStore {
    async fn bite(&self, bite: Bite) -> Result<Bitten, StoreError> {
        let work = move |journal: &mut Journal| journal.write(|write| write.compact_bite(bite));
        self.journal.call(Lane::Patient, 0, work).await
    }

    async fn longest(&self) -> Result<(u64, Vec<BraneId>), StoreError> {
        let longest = |reader: &mut Reader| reader.longest();
        self.readers.call(Lane::Patient, longest).await
    }
}

/// A stretch of the branes, by their numbers.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) branes: Vec<BraneId>,
    /// Of the records that are not what was written.
    pub(super) damages: Vec<Damage>,
    /// The last number seen; `None` if there are no more.
    pub(super) last: Option<i64>,
}

impl Reader {
    /// Some branes after a number.
    pub(super) fn numbers(&self, after: i64) -> Result<Numbers, StoreError> {
        let broken = fault::of(JOURNAL);
        let sql = "SELECT * FROM branes WHERE no > ?1 ORDER BY no LIMIT ?2";
        let mut statement = self.journal.prepare_cached(sql).map_err(&broken)?;
        let mut found = statement.query(params![after, STEP]).map_err(&broken)?;
        let mut numbers = Numbers::default();
        while let Some(row) = found.next().map_err(&broken)? {
            numbers.last = Some(row.get("no").map_err(&broken)?);
            match rows::record(row) {
                Ok((_, record)) => numbers.branes.push(record.id),
                Err(StoreError::Damaged { place, why }) => {
                    numbers.damages.push(Damage { place, why });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(numbers)
    }

    /// The length of all journals, and the branes with the longest.
    fn longest(&self) -> Result<(u64, Vec<BraneId>), StoreError> {
        let broken = fault::of(JOURNAL);
        let sql = "SELECT coalesce(sum(bytes), 0) FROM heads";
        let total = self.journal.query_row(sql, [], |row| row.get::<_, i64>(0));
        let total = total.map_err(&broken)?.cast_unsigned();
        let sql = "SELECT branes.* FROM heads JOIN branes USING (no) \
            ORDER BY heads.bytes DESC LIMIT ?1";
        let mut statement = self.journal.prepare_cached(sql).map_err(&broken)?;
        let mut found = statement.query([STEP]).map_err(&broken)?;
        let mut branes = Vec::new();
        while let Some(row) = found.next().map_err(&broken)? {
            // A damaged record was counted when the branes were gone through.
            branes.extend(rows::record(row).ok().map(|(_, record)| record.id));
        }
        Ok((total, branes))
    }
}
