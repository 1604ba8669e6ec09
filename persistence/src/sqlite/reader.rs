//! Reads, each in one transaction and of bounded size.

use avvy_model::{BraneId, Epoch, Seq, UserId, Visibility};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter, types::Value};

use super::cut;
use super::directory::{JOURNAL, PARTS};
use super::entries::{Snapshots, find_snapshot, number, read_lineage, read_record};
use super::fault;
use super::journal::Known;
use super::rows::{self, Head, MAX_SEQ, READ_HEAD, damaged, key, key_seq};
use crate::chain::Chain;
use crate::checksum;
use crate::chunk::Chunk;
use crate::error::{Place, StoreError};
use crate::record::{BraneCursor, BraneFilter, BranePage, BraneRecord, MAX_PAGE};
use crate::report::Cut;
use crate::scan::Link;
use crate::snapshot::SnapshotId;
use crate::store::distinct;

/// How many bytes of chunks one bite of a scan reads.
const BITE_BYTES: usize = 4 << 20;

/// A thread's two read-only connections.
pub(super) struct Reader {
    pub(super) journal: Connection,
    pub(super) parts: Connection,
}

/// What is known of a brane's journal before its chunks are read.
pub(super) struct Outline {
    pub(super) no: i64,
    pub(super) head: Head,
    pub(super) epochs: u64,
    pub(super) snapshots: Snapshots,
}

impl Outline {
    /// The last edit that the newest snapshot whose entry is whole includes.
    pub(super) fn covered(&self) -> Seq {
        self.snapshots.whole.first().map_or(Seq(0), |info| info.at)
    }
}

/// A bite of a scan.
pub(super) struct Bite {
    /// The chunks, each with the length of its body.
    pub(super) links: Vec<(Link, usize)>,
    /// The last edit of the last chunk; `None` when there are no more.
    pub(super) next: Option<Seq>,
}

impl Reader {
    /// Runs `work` on one state of the journal.
    pub(super) fn journal<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.journal.unchecked_transaction().map_err(fault::of(JOURNAL))?;
        let result = work(&transaction);
        // A read transaction has nothing to commit; ending it cannot lose anything.
        drop(transaction);
        result
    }

    /// A brane's record.
    pub(super) fn brane(&self, brane: BraneId) -> Result<BraneRecord, StoreError> {
        self.journal(|db| match read_record(db, brane)? {
            Some((_, record)) => Ok(record),
            None => Err(StoreError::UnknownBrane(brane)),
        })
    }

    /// The records of these branes.
    pub(super) fn branes_by_id(&self, ids: Vec<BraneId>) -> Result<Vec<BraneRecord>, StoreError> {
        let ids = distinct(ids)?;
        self.journal(|db| {
            let mut branes = Vec::new();
            for id in ids {
                match read_record(db, id) {
                    Ok(found) => branes.extend(found.map(|(_, record)| record)),
                    Err(StoreError::Damaged { place, why }) => {
                        tracing::error!(%place, why, "a brane is left out");
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(branes)
        })
    }

    /// A page of a listing.
    pub(super) fn branes(
        &self,
        filter: BraneFilter,
        after: Option<BraneCursor>,
        limit: u32,
    ) -> Result<BranePage, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let (sql, values) = listing(filter, after);
        let broken = fault::of(JOURNAL);
        self.journal(|db| {
            let mut statement = db.prepare_cached(&sql).map_err(&broken)?;
            let mut found = statement.query(params_from_iter(values)).map_err(&broken)?;
            let mut branes = Vec::new();
            while let Some(row) = found.next().map_err(&broken)?
                && branes.len() <= limit
            {
                match rows::record(row) {
                    Ok((_, record)) => branes.push(record),
                    Err(StoreError::Damaged { place, why }) => {
                        tracing::error!(%place, why, "a listing leaves a brane out");
                    }
                    Err(error) => return Err(error),
                }
            }
            let more = branes.len() > limit;
            branes.truncate(limit);
            let next = branes.last().filter(|_| more).map(BraneRecord::cursor);
            Ok(BranePage { branes, next })
        })
    }

    /// A stretch of a brane's journal.
    pub(super) fn chunks(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> Result<Vec<Chunk>, StoreError> {
        self.journal(|db| {
            let outline = outline(db, brane)?;
            let (head, covered) = (outline.head.seq, outline.covered());
            let mut chain = Chain::new(brane, after, head, covered, max_bytes);
            // Of what is being purged some are left, behind its head.
            if after < head {
                each_chunk(db, brane, outline.no, after, |to, chunk| {
                    chain.take(to, chunk.map_err(|(_, why)| why))
                })?;
            }
            chain.finish()
        })
    }

    /// What is known of a brane's journal.
    pub(super) fn outline(&self, brane: BraneId) -> Result<Outline, StoreError> {
        self.journal(|db| outline(db, brane))
    }

    /// The tails that openings of a brane cut.
    pub(super) fn cuts(&self, brane: BraneId, no: i64) -> Result<Vec<Cut>, StoreError> {
        self.journal(|db| cut::cuts(db, no, brane))
    }

    /// The next bite of a scan of a brane's chunks after `after`.
    pub(super) fn bite(&self, brane: BraneId, no: i64, after: Seq) -> Result<Bite, StoreError> {
        self.journal(|db| {
            let mut bite = Bite { links: Vec::new(), next: None };
            let mut bytes = 0;
            each_chunk(db, brane, no, after, |to, chunk| {
                let (link, length) = match chunk {
                    Ok(Chunk { epoch, from, to, body, .. }) => {
                        (Link::Good { epoch, from, to }, body.len())
                    }
                    Err((from, why)) => (Link::Bad { from, to, why }, 0),
                };
                bite.links.push((link, length));
                bytes += length + 256;
                let is_full = bytes >= BITE_BYTES;
                bite.next = is_full.then_some(to);
                Ok(!is_full)
            })?;
            Ok(bite)
        })
    }

    /// A part of a finished snapshot.
    pub(super) fn part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> Result<Bytes, StoreError> {
        let info = self.journal(|db| {
            let no = number(db, brane)?.ok_or(StoreError::UnknownBrane(brane))?;
            find_snapshot(db, no, brane, snapshot)
        })?;
        if info.is_none_or(|info| index >= info.parts) {
            return Err(StoreError::UnknownSnapshot { brane, snapshot });
        }
        let place = Place::Part { brane, snapshot, index };
        let broken = fault::of(PARTS);
        let sql = "SELECT checksum, body FROM parts WHERE key = ?1";
        let mut statement = self.parts.prepare_cached(sql).map_err(&broken)?;
        let row = statement.query_row([super::parts::key(snapshot, index)], |row| {
            let body = row.get_ref(1)?.as_blob()?;
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), Bytes::copy_from_slice(body)))
        });
        match row.optional().map_err(&broken)? {
            None => Err(damaged(place, "missing")),
            Some((sum, body)) if checksum::part(brane, snapshot, index, &body) == sum => Ok(body),
            Some(_) => Err(damaged(place, "its checksum is wrong")),
        }
    }

    /// A value of the server's own.
    pub(super) fn meta(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        rows::meta(&self.journal, name)
    }

    /// A brane's epoch.
    pub(super) fn epoch(&self, brane: BraneId) -> Result<Epoch, StoreError> {
        self.journal(|db| {
            let no = number(db, brane)?.ok_or(StoreError::UnknownBrane(brane))?;
            head(db, no, brane).map(|head| head.epoch)
        })
    }
}

fn head(db: &Connection, no: i64, brane: BraneId) -> Result<Head, StoreError> {
    let mut statement = db.prepare_cached(READ_HEAD).map_err(fault::of(JOURNAL))?;
    Head::read(&mut statement, no, brane)
}

fn outline(db: &Connection, brane: BraneId) -> Result<Outline, StoreError> {
    let no = number(db, brane)?.ok_or(StoreError::UnknownBrane(brane))?;
    let head = head(db, no, brane)?;
    let snapshots = Snapshots::read(db, no, brane)?;
    if snapshots.whole.first().is_some_and(|info| info.at > head.seq) {
        return Err(damaged(Place::Brane(brane), "its head is before its newest snapshot"));
    }
    let epochs = read_lineage(db, Known { no, head }, brane)?.len() as u64;
    Ok(Outline { no, head, epochs, snapshots })
}

/// A chunk, or of a bad one the edit before it, by its own words, and what is
/// wrong.
type Found = Result<Chunk, (Seq, String)>;

/// Calls `take` for the chunks after `after` until it returns false.
fn each_chunk(
    db: &Connection,
    brane: BraneId,
    no: i64,
    after: Seq,
    mut take: impl FnMut(Seq, Found) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let broken = fault::of(JOURNAL);
    let sql = "SELECT key, from_seq, epoch, at_ms, checksum, body FROM chunks \
        WHERE key > ?1 AND key <= ?2 ORDER BY key";
    let mut statement = db.prepare_cached(sql).map_err(&broken)?;
    let range = params![key(no, after), key(no, MAX_SEQ)];
    let mut found = statement.query(range).map_err(&broken)?;
    while let Some(row) = found.next().map_err(&broken)? {
        let (to, chunk) = chunk(row, brane).map_err(&broken)?;
        if !take(to, chunk)? {
            return Ok(());
        }
    }
    Ok(())
}

fn chunk(row: &Row<'_>, brane: BraneId) -> rusqlite::Result<(Seq, Found)> {
    let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
    let to = key_seq(row.get(0)?);
    let (from, epoch, at_ms, sum) = (Seq(number(1)?), Epoch(number(2)?), number(3)?, number(4)?);
    let body = row.get_ref(5)?.as_blob()?;
    let chunk = match checksum::chunk(brane, epoch, from, to, at_ms, body) == sum {
        true => Ok(Chunk { epoch, from, to, at_ms, body: Bytes::copy_from_slice(body) }),
        false => Err((from, "its checksum is wrong".to_owned())),
    };
    Ok((to, chunk))
}

/// The statement of a listing, and its values.
fn listing(filter: BraneFilter, after: Option<BraneCursor>) -> (String, Vec<Value>) {
    let start = after.map_or((-1, Vec::new()), |cursor| {
        (cursor.created_ms.cast_signed(), cursor.id.to_bytes().to_vec())
    });
    let mut values = vec![Value::Integer(start.0), Value::Blob(start.1)];
    let owner = |user: UserId| Value::Blob(user.to_bytes().to_vec());
    let public = rows::visibility_number(Visibility::Public);
    let shows = match filter {
        BraneFilter::All => String::new(),
        BraneFilter::Listed => format!("AND life = 0 AND visibility = {public}"),
        BraneFilter::VisibleTo(user) => {
            values.push(owner(user));
            format!("AND life = 0 AND (visibility = {public} OR owner = ?3)")
        }
        BraneFilter::OwnedBy(user) => {
            values.push(owner(user));
            "AND life < 3 AND owner = ?3".to_owned()
        }
        BraneFilter::ArchivedOf(user) => {
            values.push(owner(user));
            "AND life = 1 AND owner = ?3".to_owned()
        }
        BraneFilter::DeletedOf(user) => {
            values.push(owner(user));
            "AND life = 2 AND version > 1 AND owner = ?3".to_owned()
        }
        BraneFilter::Due(now_ms) => {
            values.push(Value::Integer(i64::try_from(now_ms).unwrap_or(i64::MAX)));
            "AND purge_ms IS NOT NULL AND purge_ms <= ?3".to_owned()
        }
    };
    let sql = format!(
        "SELECT * FROM branes WHERE (created_ms, id) > (?1, ?2) {shows} \
         ORDER BY created_ms, id"
    );
    (sql, values)
}
