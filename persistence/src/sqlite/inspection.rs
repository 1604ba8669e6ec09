//! Inspection: a long walk in short steps that changes nothing.

use avvy_model::{BraneId, Seq};
use rusqlite::OptionalExtension;

use super::directory::JOURNAL;
use super::fault;
use super::reader::{Outline, Reader};
use super::readers::Readers;
use super::rows::{MAX_SEQ, key, key_no};
use super::schema::JOURNAL_VERSION;
use super::worker::Lane;
use crate::error::{Place, StoreError};
use crate::inspection::{Walk, note_damage};
use crate::report::{BraneReport, Damage, MAX_DAMAGES, StoreReport};
use crate::snapshot::SnapshotId;

impl Readers {
    /// Reads everything of a brane.
    pub(super) async fn inspect(&self, brane: BraneId) -> Result<BraneReport, StoreError> {
        let outline = move |reader: &mut Reader| reader.outline(brane);
        let mut report = BraneReport::default();
        let outline = match self.call(Lane::Patient, outline).await {
            Ok(outline) => outline,
            Err(StoreError::Damaged { place, why }) => {
                report.add(place, why);
                return Ok(report);
            }
            Err(error) => return Err(error),
        };
        report.epoch = outline.head.epoch;
        report.head = outline.head.seq;
        report.oldest = outline.head.seq;
        report.epochs = outline.epochs;
        report.snapshots.clone_from(&outline.snapshots.whole);
        for damage in &outline.snapshots.damages {
            report.add(damage.place.clone(), damage.why.clone());
        }
        let no = outline.no;
        let cuts = move |reader: &mut Reader| reader.cuts(brane, no);
        let cuts = self.call(Lane::Patient, cuts).await;
        let result = cuts.map(|cuts| report.cuts = cuts);
        note_damage(result, &mut report)?;
        let result = self.inspect_chunks(brane, &outline, &mut report).await;
        note_damage(result, &mut report)?;
        for info in outline.snapshots.whole {
            for index in 0..info.parts {
                let result = self.inspect_part(brane, info.id, index).await;
                note_damage(result, &mut report)?;
            }
        }
        Ok(report)
    }

    async fn inspect_chunks(
        &self,
        brane: BraneId,
        outline: &Outline,
        report: &mut BraneReport,
    ) -> Result<(), StoreError> {
        let (no, head) = (outline.no, outline.head);
        let mut walk = Walk::new(brane, head.seq, outline.covered(), report);
        let mut after = Some(Seq(0));
        while let Some(from) = after {
            let step = move |reader: &mut Reader| reader.bite(brane, no, from);
            let bite = self.call(Lane::Patient, step).await?;
            let is_on = bite.links.into_iter().all(|(link, length)| walk.feed(link, length));
            after = bite.next.filter(|_| is_on);
        }
        if let Some(Damage { place, why }) = walk.finish(head.chunks)
            && self.is_still(brane, outline).await?
        {
            report.add(place, why);
        }
        Ok(())
    }

    /// Whether nothing was stored or compacted since the outline was read.
    async fn is_still(&self, brane: BraneId, outline: &Outline) -> Result<bool, StoreError> {
        let again = move |reader: &mut Reader| reader.outline(brane);
        let again = self.call(Lane::Patient, again).await?;
        Ok(again.head == outline.head)
    }

    async fn inspect_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> Result<(), StoreError> {
        let read = move |reader: &mut Reader| reader.part(brane, snapshot, index).map(drop);
        self.call(Lane::Patient, read).await
    }

    /// Checks what belongs to no brane alone.
    pub(super) async fn inspect_store(
        &self,
        device_bytes: u64,
        dropped: u64,
    ) -> Result<StoreReport, StoreError> {
        let mut report = StoreReport {
            schema: JOURNAL_VERSION,
            device_bytes,
            dropped,
            ..StoreReport::default()
        };
        let mut after = 0;
        loop {
            let step = move |reader: &mut Reader| reader.numbers(after);
            let numbers = match self.call(Lane::Patient, step).await {
                Err(StoreError::Damaged { place, why }) => {
                    report.damages.push(Damage { place, why });
                    break;
                }
                other => other?,
            };
            let Some(last) = numbers.last else { break };
            after = last;
            report.branes += numbers.branes.len() as u64;
            let room = MAX_DAMAGES.saturating_sub(report.damages.len());
            report.damages.extend(numbers.damages.into_iter().take(room));
        }
        let mut no = -1;
        while report.damages.len() < MAX_DAMAGES {
            let step = move |reader: &mut Reader| reader.next_journal(no);
            let Some((found, is_known)) = self.call(Lane::Patient, step).await? else {
                break;
            };
            no = found;
            if !is_known {
                let place = Place::File(format!("{JOURNAL}, chunks of brane number {no}"));
                report.damages.push(Damage { place, why: "there is no such brane".into() });
            }
        }
        match self.inspect_records(&mut report).await {
            Err(StoreError::Damaged { place, why }) => report.add(place, why),
            other => other?,
        }
        Ok(report)
    }
}

impl Reader {
    /// The next number after `no` under which there are chunks, and whether
    /// there is a brane of that number.
    fn next_journal(&self, no: i64) -> Result<Option<(i64, bool)>, StoreError> {
        let find = || -> rusqlite::Result<_> {
            let sql = "SELECT key FROM chunks WHERE key > ?1 ORDER BY key LIMIT 1";
            let first = self.journal.query_row(sql, [key(no, MAX_SEQ)], |row| row.get(0));
            let Some(found) = first.optional()?.map(key_no) else {
                return Ok(None);
            };
            let sql = "SELECT 1 FROM branes WHERE no = ?1";
            let brane = self.journal.query_row(sql, [found], |_| Ok(())).optional()?;
            Ok(Some((found, brane.is_some())))
        };
        find().map_err(fault::of(JOURNAL))
    }
}
