//! Retention and inspection: long walks in short steps.

use avvy_model::{BraneId, Seq};
use rusqlite::{OptionalExtension, params};

use super::directory::JOURNAL;
use super::fault;
use super::reader::{Outline, Reader};
use super::rows::{self, MAX_SEQ, key, key_no};
use super::schema::JOURNAL_VERSION;
use super::start::SqliteStore;
use super::worker::Lane;
use crate::error::{Place, StoreError};
use crate::report::{BraneReport, CompactPolicy, Compaction, Damage, MAX_DAMAGES, StoreReport};
use crate::scan::{Link, Scan, Verdict};
use crate::snapshot::SnapshotId;

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
            let numbers = self.reader().call(Lane::Patient, 0, step).await?;
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
            self.cut_to(cap, policy.keep_snapshots, &mut done).await?;
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
        while self.bite(brane, keep, before_ms, u64::MAX, done).await?.1 {}
        Ok(())
    }

    /// Deletes a bite of a brane's chunks; says how many bytes, and whether
    /// there may be more.
    async fn bite(
        &self,
        brane: BraneId,
        keep: u32,
        before_ms: u64,
        wanted: u64,
        done: &mut Compaction,
    ) -> Result<(u64, bool), StoreError> {
        let bitten = self
            .journal
            .call(Lane::Patient, 0, move |journal| {
                journal.write(|write| write.compact_bite(brane, keep, before_ms, wanted))
            })
            .await?;
        done.chunks += bitten.chunks;
        done.chunk_bytes += bitten.bytes;
        Ok((bitten.bytes, bitten.more))
    }

    /// Deletes covered chunks of the longest journals while all together are
    /// longer than `cap`.
    async fn cut_to(&self, cap: u64, keep: u32, done: &mut Compaction) -> Result<(), StoreError> {
        let longest = |reader: &mut Reader| reader.longest();
        let (mut total, branes) = self.reader().call(Lane::Patient, 0, longest).await?;
        for brane in branes {
            let mut more = total > cap;
            while more {
                let result = self.bite(brane, keep, u64::MAX, total - cap, done).await;
                let (bytes, goes_on) = match result {
                    Ok(bitten) => bitten,
                    Err(error) => {
                        skip_damaged(Err(error), done)?;
                        (0, false)
                    }
                };
                total = total.saturating_sub(bytes);
                more = goes_on && total > cap;
            }
        }
        Ok(())
    }

    pub(super) async fn inspect(&self, brane: BraneId) -> Result<BraneReport, StoreError> {
        let outline = move |reader: &mut Reader| reader.outline(brane);
        let mut report = BraneReport::default();
        let outline = match self.reader().call(Lane::Patient, 0, outline).await {
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
        let cuts = self.reader().call(Lane::Patient, 0, cuts).await;
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
        let (no, covered) = (outline.no, outline.covered());
        let mut scan: Option<Scan> = None;
        let mut count = 0;
        let mut after = Some(Seq(0));
        while let Some(from) = after {
            let step = move |reader: &mut Reader| reader.bite(brane, no, from);
            let bite = self.reader().call(Lane::Patient, 0, step).await?;
            after = bite.next;
            for (link, length) in bite.links {
                // Chunks stored after the outline was read are not its matter.
                if link.from() >= outline.head.seq {
                    after = None;
                    break;
                }
                let scan = scan.get_or_insert_with(|| {
                    report.oldest = link.from();
                    Scan::new(brane, link.from().min(covered), covered)
                });
                count += 1;
                if let Link::Good { .. } = link {
                    report.chunks += 1;
                    report.chunk_bytes += length as u64;
                }
                scan.feed(link, &mut |damage| report.add(damage.place, damage.why));
            }
        }
        let scan = scan.unwrap_or_else(|| Scan::new(brane, covered, covered));
        let head = outline.head.seq;
        let verdict = scan.finish(head, &mut |damage| report.add(damage.place, damage.why));
        if let Verdict::Torn(torn) = verdict {
            report.torn = Some(torn);
        } else if count != outline.head.chunks && self.is_still(brane, outline).await? {
            let why =
                format!("its head counts {} chunks, and {count} are there", outline.head.chunks);
            report.add(Place::Brane(brane), why);
        }
        Ok(())
    }

    /// Whether nothing was stored or compacted since the outline was read.
    async fn is_still(&self, brane: BraneId, outline: &Outline) -> Result<bool, StoreError> {
        let again = move |reader: &mut Reader| reader.outline(brane);
        let again = self.reader().call(Lane::Patient, 0, again).await?;
        Ok(again.head == outline.head)
    }

    async fn inspect_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> Result<(), StoreError> {
        let read = move |reader: &mut Reader| reader.part(brane, snapshot, index).map(drop);
        self.reader().call(Lane::Patient, 0, read).await
    }

    pub(super) async fn inspect_store(&self) -> Result<StoreReport, StoreError> {
        let mut report = StoreReport {
            schema: JOURNAL_VERSION,
            device_bytes: self.device_bytes()?,
            dropped: self.dropped_frames,
            ..StoreReport::default()
        };
        let mut after = 0;
        loop {
            let step = move |reader: &mut Reader| reader.numbers(after);
            let numbers = match self.reader().call(Lane::Patient, 0, step).await {
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
            let Some((found, is_known)) = self.reader().call(Lane::Patient, 0, step).await? else {
                break;
            };
            no = found;
            if !is_known {
                let place = Place::File(format!("{JOURNAL}, chunks of brane number {no}"));
                report.damages.push(Damage { place, why: "there is no such brane".into() });
            }
        }
        Ok(report)
    }
}

/// A stretch of the branes, by their numbers.
#[derive(Default)]
struct Numbers {
    branes: Vec<BraneId>,
    /// Of the records that are not what was written.
    damages: Vec<Damage>,
    /// The last number seen; `None` if there are no more.
    last: Option<i64>,
}

impl Reader {
    /// Some branes after a number.
    fn numbers(&self, after: i64) -> Result<Numbers, StoreError> {
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

/// Lets a damaged brane not hold up the others.
fn skip_damaged(result: Result<(), StoreError>, done: &mut Compaction) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Damaged { place, why }) => {
            tracing::error!(%place, %why, "compaction skips a damaged brane");
            done.skipped += 1;
            Ok(())
        }
        other => other,
    }
}

/// Puts damage into the report; other errors end the inspection.
fn note_damage(result: Result<(), StoreError>, report: &mut BraneReport) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Damaged { place, why }) => {
            report.add(place, why);
            Ok(())
        }
        // Compacted away since the inspection began.
        Err(StoreError::UnknownSnapshot { .. }) => Ok(()),
        other => other,
    }
}
