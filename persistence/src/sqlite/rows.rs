//! The rows of the small tables, each sealed with a checksum, and the key that
//! keeps a brane's chunks together.

use avvy_model::{BraneId, Epoch, Grid, Seq, UserId, Visibility};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::directory::JOURNAL;
use super::fault;
use crate::checksum::Header;
use crate::error::{Place, StoreError};
use crate::life::{Life, encode_later};
use crate::record::{BraneKind, BraneRecord};
use crate::snapshot::{SnapshotId, SnapshotInfo};

/// How many bits of a chunk's key are its last edit: 2^42 edits are 14 years
/// of 10,000 a second. The bits above are the brane's number in this file.
const SEQ_BITS: u32 = 42;

/// The highest brane number: 2^21 - 1, about two million branes in one file.
pub(super) const MAX_BRANE_NO: i64 = (1 << (63 - SEQ_BITS)) - 1;

/// The last edit that a key can hold.
pub(super) const MAX_SEQ: Seq = Seq((1 << SEQ_BITS) - 1);

/// The row key of the chunk that ends at `to`. Chunks lie in the order of
/// their keys: a brane's journal is one stretch of the file, an append touches
/// one leaf, and old chunks free whole pages.
pub(super) fn key(no: i64, to: Seq) -> i64 {
    (no << SEQ_BITS) | to.0.min(MAX_SEQ.0).cast_signed()
}

/// The last edit of the chunk with this key.
pub(super) const fn key_seq(key: i64) -> Seq {
    Seq(key.cast_unsigned() & MAX_SEQ.0)
}

/// The brane number of the chunk with this key.
pub(super) const fn key_no(key: i64) -> i64 {
    key >> SEQ_BITS
}

/// A brane's number and record.
pub(super) fn record(row: &Row<'_>) -> Result<(i64, BraneRecord), StoreError> {
    let get = || -> rusqlite::Result<_> {
        let id = BraneId::from_bytes(row.get("id")?);
        let owner = UserId::from_bytes(row.get("owner")?);
        let created_ms = row.get::<_, i64>("created_ms")?.cast_unsigned();
        let tags: String = row.get("tags")?;
        let record = BraneRecord {
            name: row.get("name")?,
            description: row.get("description")?,
            tags: tags.split_whitespace().map(str::to_owned).collect(),
            version: row.get::<_, i64>("version")?.cast_unsigned(),
            ..BraneRecord::new(id, owner, created_ms)
        };
        let parts = (
            kind_of(row.get("kind")?),
            visibility_of(row.get("visibility")?),
            u32::try_from(row.get::<_, i64>("cell_size")?).ok().and_then(Grid::new),
            life(row)?,
            by_operator(row.get("by_operator")?),
        );
        Ok((row.get("no")?, row.get("checksum")?, record, parts))
    };
    let (no, sum, record, parts): (i64, i64, _, _) = get().map_err(fault::of(JOURNAL))?;
    let id = record.id;
    let (Some(kind), Some(visibility), Some(grid), Some(life), Some(by_operator)) = parts else {
        return Err(damaged(Place::Brane(id), "its kind, visibility, cells or life is none"));
    };
    let record = BraneRecord { kind, visibility, grid, life, by_operator, ..record };
    match record_checksum(no, &record) == sum {
        true => Ok((no, record)),
        false => Err(damaged(Place::Brane(id), "its record's checksum is wrong")),
    }
}

/// What has become of a brane, from its columns; `None` if they do not fit.
fn life(row: &Row<'_>) -> rusqlite::Result<Option<Life>> {
    let time = |column| row.get::<_, Option<i64>>(column).map(|ms| ms.map(i64::cast_unsigned));
    let (since, purge) = (time("since_ms")?, time("purge_ms")?);
    let successor = row.get::<_, Option<[u8; 16]>>("successor")?.map(BraneId::from_bytes);
    Ok(match (row.get::<_, i64>("life")?, since, purge, successor) {
        (0, None, None, None) => Some(Life::Active),
        (1, Some(since_ms), None, successor) => Some(Life::Archived { since_ms, successor }),
        (2, Some(since_ms), Some(purge_ms), None) => Some(Life::Doomed { since_ms, purge_ms }),
        (3, Some(since_ms), Some(0), None) => Some(Life::Purging { since_ms }),
        (4, Some(since_ms), None, None) => Some(Life::Purged { since_ms }),
        _ => None,
    })
}

/// Whether an operator archived a brane, from its column; `None` if that says
/// neither.
const fn by_operator(number: i64) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Puts a brane's record under its number.
pub(super) fn put_record(db: &Connection, no: i64, record: &BraneRecord) -> rusqlite::Result<()> {
    let (life, since, purge, successor) = match record.life {
        Life::Active => (0, None, None, None),
        Life::Archived { since_ms, successor } => (1, Some(since_ms), None, successor),
        Life::Doomed { since_ms, purge_ms } => (2, Some(since_ms), Some(purge_ms), None),
        Life::Purging { since_ms } => (3, Some(since_ms), Some(0), None),
        Life::Purged { since_ms } => (4, Some(since_ms), None, None),
    };
    let sql = "INSERT OR REPLACE INTO branes \
        (no, id, owner, name, kind, created_ms, checksum, visibility, cell_size, version, \
         description, tags, life, since_ms, purge_ms, successor, by_operator) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    let row = params![
        no,
        record.id.to_bytes(),
        record.owner.to_bytes(),
        record.name,
        kind_number(record.kind),
        record.created_ms.cast_signed(),
        record_checksum(no, record),
        visibility_number(record.visibility),
        record.grid.size(),
        record.version.cast_signed(),
        record.description,
        record.tags.join(" "),
        life,
        since.map(u64::cast_signed),
        purge.map(u64::cast_signed),
        successor.map(BraneId::to_bytes),
        i64::from(record.by_operator),
    ];
    db.execute(sql, row).map(drop)
}

/// The checksum of a brane's record under its number. The default grid is not
/// in it, nor is what a record of before had not, so that none needs a new one.
pub(super) fn record_checksum(no: i64, record: &BraneRecord) -> i64 {
    let header = Header::new(b"AVVYbran")
        .number(no.cast_unsigned())
        .bytes(&record.id.to_bytes())
        .bytes(&record.owner.to_bytes())
        .number(kind_number(record.kind).cast_unsigned())
        .number(visibility_number(record.visibility).cast_unsigned())
        .number(record.created_ms);
    let header = match record.grid == Grid::default() {
        true => header,
        false => header.number(record.grid.size().into()),
    };
    header.bytes(&encode_later(record)).seal(record.name.as_bytes()).cast_signed()
}

/// The number of a kind in its column.
pub(super) const fn kind_number(kind: BraneKind) -> i64 {
    match kind {
        BraneKind::Personal => 0,
        BraneKind::Showcase => 1,
        BraneKind::Rental => 2,
        BraneKind::Public => 3,
    }
}

const fn kind_of(number: i64) -> Option<BraneKind> {
    match number {
        0 => Some(BraneKind::Personal),
        1 => Some(BraneKind::Showcase),
        2 => Some(BraneKind::Rental),
        3 => Some(BraneKind::Public),
        _ => None,
    }
}

/// The number of a visibility in its column.
pub(super) const fn visibility_number(visibility: Visibility) -> i64 {
    match visibility {
        Visibility::Private => 0,
        Visibility::Unlisted => 1,
        Visibility::Public => 2,
    }
}

const fn visibility_of(number: i64) -> Option<Visibility> {
    match number {
        0 => Some(Visibility::Private),
        1 => Some(Visibility::Unlisted),
        2 => Some(Visibility::Public),
        _ => None,
    }
}

/// Where a brane's journal stands: rewritten with every commit, so that a tail
/// that vanished whole is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Head {
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    /// Chunks kept.
    pub(super) chunks: u64,
    /// The length of their bodies.
    pub(super) bytes: u64,
}

impl Head {
    /// Reads the head of a brane.
    pub(super) fn read(
        statement: &mut Statement<'_>,
        no: i64,
        brane: BraneId,
    ) -> Result<Self, StoreError> {
        let row = statement.query_row([no], |row| {
            let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
            let head = Self {
                epoch: Epoch(number(0)?),
                seq: Seq(number(1)?),
                chunks: number(2)?,
                bytes: number(3)?,
            };
            Ok((head, row.get::<_, i64>(4)?))
        });
        match row.optional().map_err(fault::of(JOURNAL))? {
            Some((head, sum)) if head.checksum(no) == sum => Ok(head),
            Some(_) => Err(damaged(Place::Brane(brane), "its head's checksum is wrong")),
            None => Err(damaged(Place::Brane(brane), "its head is missing")),
        }
    }

    /// Writes the head of a brane.
    pub(super) fn write(self, statement: &mut Statement<'_>, no: i64) -> rusqlite::Result<()> {
        let [epoch, seq] = [self.epoch.0, self.seq.0].map(u64::cast_signed);
        let [chunks, bytes] = [self.chunks, self.bytes].map(u64::cast_signed);
        statement.execute(params![no, epoch, seq, chunks, bytes, self.checksum(no)])?;
        Ok(())
    }

    fn checksum(self, no: i64) -> i64 {
        Header::new(b"AVVYhead")
            .number(no.cast_unsigned())
            .number(self.epoch.0)
            .number(self.seq.0)
            .number(self.chunks)
            .number(self.bytes)
            .seal(&[])
            .cast_signed()
    }
}

/// The statements of [`Head::read`] and [`Head::write`].
pub(super) const READ_HEAD: &str =
    "SELECT epoch, seq, chunks, bytes, checksum FROM heads WHERE no = ?1";
pub(super) const WRITE_HEAD: &str = "INSERT OR REPLACE INTO heads \
    (no, epoch, seq, chunks, bytes, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// The checksum of a lineage.
pub(super) fn lineage_checksum(no: i64, body: &[u8]) -> i64 {
    Header::new(b"AVVYline").number(no.cast_unsigned()).seal(body).cast_signed()
}

/// A finished snapshot from the columns of [`SNAPSHOT_COLUMNS`].
pub(super) fn snapshot(row: &Row<'_>, no: i64, brane: BraneId) -> Result<SnapshotInfo, StoreError> {
    let get = || -> rusqlite::Result<_> {
        let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
        let info = SnapshotInfo {
            id: SnapshotId(number(0)?),
            epoch: Epoch(number(1)?),
            at: Seq(number(2)?),
            parts: row.get(3)?,
            bytes: number(4)?,
            taken_ms: number(5)?,
        };
        Ok((info, row.get::<_, i64>(6)?))
    };
    let (info, sum) = get().map_err(fault::of(JOURNAL))?;
    match snapshot_checksum(no, &info) == sum {
        true => Ok(info),
        false => {
            let place = Place::Snapshot { brane, snapshot: info.id };
            Err(damaged(place, "its checksum is wrong"))
        }
    }
}

/// The columns that [`snapshot`] reads.
pub(super) const SNAPSHOT_COLUMNS: &str =
    "snapshot, epoch, at_seq, parts, bytes, taken_ms, checksum";

/// The checksum of a snapshot's entry.
pub(super) fn snapshot_checksum(no: i64, info: &SnapshotInfo) -> i64 {
    Header::new(b"AVVYsnap")
        .number(no.cast_unsigned())
        .number(info.id.0)
        .number(info.epoch.0)
        .number(info.at.0)
        .number(u64::from(info.parts))
        .number(info.bytes)
        .number(info.taken_ms)
        .seal(&[])
        .cast_signed()
}

/// The checksum of a value of the server's own.
pub(super) fn meta_checksum(key: &str, value: &[u8]) -> i64 {
    Header::new(b"AVVYmeta").bytes(key.as_bytes()).seal(value).cast_signed()
}

/// A value of the server's own.
pub(super) fn meta(db: &Connection, key: &str) -> Result<Option<Bytes>, StoreError> {
    let broken = fault::of(JOURNAL);
    let sql = "SELECT value, checksum FROM meta WHERE key = ?1";
    let mut statement = db.prepare_cached(sql).map_err(&broken)?;
    let row = statement.query_row([key], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)));
    match row.optional().map_err(&broken)? {
        None => Ok(None),
        Some((value, sum)) if meta_checksum(key, &value) == sum => Ok(Some(Bytes::from(value))),
        Some(_) => Err(damaged(Place::Meta(key.to_owned()), "its checksum is wrong")),
    }
}

/// The error of something that is not what was written.
pub(super) fn damaged(place: Place, why: &str) -> StoreError {
    StoreError::Damaged { place, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_branes_apart_and_edits_in_order() {
        assert!(key(1, MAX_SEQ) < key(2, Seq(0)));
        assert!(key(2, Seq(1)) < key(2, Seq(2)));
        let top = key(MAX_BRANE_NO, MAX_SEQ);
        assert_eq!((top, key_no(top), key_seq(top)), (i64::MAX, MAX_BRANE_NO, MAX_SEQ));
        assert_eq!(key(1, Seq(u64::MAX)), key(1, MAX_SEQ));
    }
}
