//! Reads the small entries of a brane: for the writer within its transaction,
//! and for readers.

use avvy_model::{BraneId, Seq};
use rusqlite::{Connection, OptionalExtension};

use super::directory::JOURNAL;
use super::fault;
use super::journal::Known;
use super::rows::{self, damaged};
use crate::error::{Place, StoreError};
use crate::lineage;
use crate::record::BraneRecord;
use crate::report::Damage;
use crate::snapshot::{SnapshotId, SnapshotInfo};

/// A brane's number and record.
pub(super) fn read_record(
    db: &Connection,
    brane: BraneId,
) -> Result<Option<(i64, BraneRecord)>, StoreError> {
    let broken = fault::of(JOURNAL);
    let sql = "SELECT * FROM branes WHERE id = ?1";
    let mut statement = db.prepare_cached(sql).map_err(&broken)?;
    let mut found = statement.query([brane.to_bytes()]).map_err(&broken)?;
    found.next().map_err(&broken)?.map(rows::record).transpose()
}

/// A brane's number.
pub(super) fn number(db: &Connection, brane: BraneId) -> Result<Option<i64>, StoreError> {
    read_record(db, brane).map(|found| found.map(|(no, _)| no))
}

/// A brane's openings. There are none before the first has ended well, and
/// nothing is stored before that.
pub(super) fn read_lineage(
    db: &Connection,
    Known { no, head }: Known,
    brane: BraneId,
) -> Result<lineage::Lineage, StoreError> {
    let broken = fault::of(JOURNAL);
    let sql = "SELECT body, checksum FROM lineages WHERE no = ?1";
    let mut statement = db.prepare_cached(sql).map_err(&broken)?;
    let row = statement.query_row([no], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)));
    let Some((body, sum)) = row.optional().map_err(&broken)? else {
        let is_new = head.seq == Seq(0);
        let missing = || damaged(Place::Brane(brane), "its lineage is missing");
        return if is_new { Ok(Vec::new()) } else { Err(missing()) };
    };
    let is_good = rows::lineage_checksum(no, &body) == sum;
    let found = lineage::decode(&body).filter(|_| is_good);
    found.ok_or_else(|| damaged(Place::Brane(brane), "its lineage's checksum is wrong"))
}

/// A brane's finished snapshots.
#[derive(Default)]
pub(super) struct Snapshots {
    /// Those whose entries are what was written, newest first.
    pub(super) whole: Vec<SnapshotInfo>,
    /// What is wrong with the others.
    pub(super) damages: Vec<Damage>,
}

impl Snapshots {
    /// Reads the entries of a brane.
    pub(super) fn read(db: &Connection, no: i64, brane: BraneId) -> Result<Self, StoreError> {
        let broken = fault::of(JOURNAL);
        let columns = rows::SNAPSHOT_COLUMNS;
        let sql = format!(
            "SELECT {columns} FROM snapshots WHERE no = ?1 ORDER BY at_seq DESC, snapshot DESC"
        );
        let mut statement = db.prepare_cached(&sql).map_err(&broken)?;
        let mut found = statement.query([no]).map_err(&broken)?;
        let mut snapshots = Self::default();
        while let Some(row) = found.next().map_err(&broken)? {
            match rows::snapshot(row, no, brane) {
                Ok(info) => snapshots.whole.push(info),
                Err(StoreError::Damaged { place, why }) => {
                    snapshots.damages.push(Damage { place, why });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(snapshots)
    }

    /// All of them, newest first; fails if the entry of one is damaged.
    pub(super) fn all_whole(self) -> Result<Vec<SnapshotInfo>, StoreError> {
        match self.damages.into_iter().next() {
            None => Ok(self.whole),
            Some(Damage { place, why }) => Err(StoreError::Damaged { place, why }),
        }
    }
}

/// A finished snapshot of a brane.
pub(super) fn find_snapshot(
    db: &Connection,
    no: i64,
    brane: BraneId,
    snapshot: SnapshotId,
) -> Result<Option<SnapshotInfo>, StoreError> {
    let broken = fault::of(JOURNAL);
    let columns = rows::SNAPSHOT_COLUMNS;
    let sql = format!("SELECT {columns} FROM snapshots WHERE snapshot = ?1 AND no = ?2");
    let mut statement = db.prepare_cached(&sql).map_err(&broken)?;
    let mut found = statement.query([snapshot.0.cast_signed(), no]).map_err(&broken)?;
    found.next().map_err(&broken)?.map(|row| rows::snapshot(row, no, brane)).transpose()
}
