//! The one writer of the snapshots' parts.
//!
//! They have a file, a log and a thread of their own, so that writing a
//! snapshot of any size never holds up a commit. Parts are synced when their
//! snapshot is sealed; it becomes visible only after that, by an entry in the
//! journal's file. What has no entry there is garbage, removed at the start.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use avvy_model::BraneId;
use bytes::Bytes;
use rusqlite::{Connection, params};

use super::connection;
use super::directory::PARTS;
use super::fault;
use super::options::Synchronous;
use super::room::Room;
use crate::checksum;
use crate::error::StoreError;
use crate::snapshot::{SnapshotId, SnapshotInfo, SnapshotStart};

/// How many bits of a part's key are its index: a million parts, 256 GiB.
const INDEX_BITS: u32 = 20;

/// The log is folded when it is longer than this, in pages.
const FOLD_PAGES: u32 = 128;

/// Parts deleted in one bite.
const BITE_PARTS: i64 = 16;

/// The row key of a part.
pub(super) fn key(snapshot: SnapshotId, index: u32) -> i64 {
    let top = (1 << (63 - INDEX_BITS)) - 1;
    (snapshot.0.min(top) << INDEX_BITS).cast_signed() | i64::from(index)
}

/// A snapshot under way, with the length of its parts.
struct Unfinished {
    id: SnapshotId,
    start: SnapshotStart,
    lengths: BTreeMap<u32, u64>,
    /// It was sealed, and may be visible by now.
    is_sealed: bool,
}

/// The writer.
pub(super) struct Parts {
    db: Connection,
    synchronous: Synchronous,
    unfinished: HashMap<BraneId, Unfinished>,
    /// Pages in the log after the last commit.
    wal_pages: Arc<AtomicU32>,
    /// Something failed, so what is in the log may not be on the device, even
    /// if the next sync succeeds.
    log_is_spoiled: bool,
    room: Room,
}

impl Parts {
    /// A writer on this connection.
    pub(super) fn new(
        mut db: Connection,
        synchronous: Synchronous,
        room: Room,
    ) -> Result<Self, StoreError> {
        let wal_pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&wal_pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        db.wal_hook(Some(hook)).map_err(fault::of(PARTS))?;
        let unfinished = HashMap::new();
        Ok(Self { db, synchronous, unfinished, wal_pages, log_is_spoiled: false, room })
    }

    /// Does `work`, which writes, on a log that is known to be sound, and
    /// folds the log when it is long.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if self.log_is_spoiled {
            connection::begin_log_anew(&self.db, PARTS)?;
            self.log_is_spoiled = false;
        }
        let done = work(&self.db).map_err(fault::of(PARTS));
        if done.is_err() {
            self.log_is_spoiled = true;
        } else if self.wal_pages.load(Ordering::Relaxed) >= FOLD_PAGES {
            self.fold();
        }
        done
    }

    fn fold(&mut self) {
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        if let Err(error) = self.db.query_row(sql, [], |_| Ok(())) {
            tracing::warn!(%error, "folding the parts' log failed; the next write begins it anew");
            self.log_is_spoiled = true;
        }
    }

    /// The highest number given to a snapshot.
    pub(super) fn last(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'taken'";
        let last = self.db.query_row(sql, [], |row| row.get::<_, i64>(0));
        last.map(i64::cast_unsigned).map_err(fault::of(PARTS))
    }

    /// All snapshots of which parts may be here, after a number.
    pub(super) fn taken(&self, after: SnapshotId) -> Result<Option<SnapshotId>, StoreError> {
        let sql = "SELECT min(snapshot) FROM taken WHERE snapshot > ?1";
        let first = self.db.query_row(sql, [after.0.cast_signed()], |row| row.get(0));
        let first: Option<i64> = first.map_err(fault::of(PARTS))?;
        Ok(first.map(|id| SnapshotId(id.cast_unsigned())))
    }

    /// Begins a snapshot; also says which unfinished one is given up for it.
    pub(super) fn begin(
        &mut self,
        start: SnapshotStart,
    ) -> Result<(SnapshotId, Option<SnapshotId>), StoreError> {
        self.room.check(&self.db)?;
        let sql = "INSERT INTO taken (brane, epoch, at_seq, taken_ms, sealed) \
            VALUES (?1, ?2, ?3, ?4, 0)";
        let [epoch, at, taken] = [start.epoch.0, start.at.0, start.taken_ms].map(u64::cast_signed);
        let row = params![start.brane.to_bytes(), epoch, at, taken];
        let id = self.write(|db| {
            db.execute(sql, row)?;
            Ok(SnapshotId(db.last_insert_rowid().cast_unsigned()))
        })?;
        let unfinished = Unfinished { id, start, lengths: BTreeMap::new(), is_sealed: false };
        let before = self.unfinished.insert(start.brane, unfinished);
        Ok((id, before.map(|before| before.id)))
    }

    /// Puts a part.
    pub(super) fn put(
        &mut self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
        body: &Bytes,
    ) -> Result<(), StoreError> {
        let unfinished = find(&mut self.unfinished, brane, snapshot)?;
        if unfinished.is_sealed {
            return Err(StoreError::UnknownSnapshot { brane, snapshot });
        }
        self.room.check(&self.db)?;
        if index >= 1 << INDEX_BITS {
            return Err(StoreError::Invalid("the part's index is too high"));
        }
        let sum = checksum::part(brane, snapshot, index, body).cast_signed();
        let sql = "INSERT OR REPLACE INTO parts (key, checksum, body) VALUES (?1, ?2, ?3)";
        let bytes: &[u8] = body;
        self.write(|db| {
            db.prepare_cached(sql)?.execute(params![key(snapshot, index), sum, bytes])
        })?;
        let unfinished = find(&mut self.unfinished, brane, snapshot)?;
        unfinished.lengths.insert(index, body.len() as u64);
        Ok(())
    }

    /// Makes the parts of a snapshot durable, if all are there, and takes no
    /// more of them; `None` if it is none of those under way.
    pub(super) fn seal(
        &mut self,
        brane: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> Result<Option<SnapshotInfo>, StoreError> {
        let Ok(unfinished) = find(&mut self.unfinished, brane, snapshot) else {
            return Ok(None);
        };
        let lengths = &unfinished.lengths;
        let found = (0..).zip(lengths.keys()).take_while(|(nth, index)| nth == *index).count();
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        if found != parts || lengths.len() != found as usize {
            return Err(StoreError::SnapshotIncomplete { found, expected: parts });
        }
        let bytes = lengths.values().sum();
        let SnapshotStart { epoch, at, taken_ms, .. } = unfinished.start;
        unfinished.is_sealed = true;
        self.sync(snapshot)?;
        Ok(Some(SnapshotInfo { id: snapshot, epoch, at, parts, bytes, taken_ms }))
    }

    /// A commit that waits for the device has all commits before it there, if
    /// nothing has failed since the log was begun.
    fn sync(&mut self, snapshot: SnapshotId) -> Result<(), StoreError> {
        let synchronous = self.synchronous;
        self.write(|db| {
            db.pragma_update(None, "synchronous", synchronous.pragma())?;
            let sql = "UPDATE taken SET sealed = sealed + 1 WHERE snapshot = ?1";
            let result = db.execute(sql, [snapshot.0.cast_signed()]);
            relax(db, synchronous)?;
            result.map(drop)
        })
    }

    /// Lets commits not wait for the device.
    pub(super) fn relax(&self) -> Result<(), StoreError> {
        relax(&self.db, self.synchronous).map_err(fault::of(PARTS))
    }

    /// Forgets that a snapshot is under way; true if it was.
    pub(super) fn forget(&mut self, brane: BraneId, snapshot: SnapshotId) -> bool {
        let is_it = find(&mut self.unfinished, brane, snapshot).is_ok();
        if is_it {
            self.unfinished.remove(&brane);
        }
        is_it
    }

    /// Forgets what is under way of a brane, and says of which of its snapshots
    /// parts may be here.
    pub(super) fn forget_all(&mut self, brane: BraneId) -> Result<Vec<SnapshotId>, StoreError> {
        self.unfinished.remove(&brane);
        let all = || -> rusqlite::Result<_> {
            let sql = "SELECT snapshot FROM taken WHERE brane = ?1";
            let mut statement = self.db.prepare_cached(sql)?;
            let found = statement.query_map([brane.to_bytes()], |row| row.get::<_, i64>(0))?;
            found.map(|id| id.map(|id| SnapshotId(id.cast_unsigned()))).collect()
        };
        all().map_err(fault::of(PARTS))
    }

    /// Deletes some parts of a snapshot that nobody can see; false when
    /// nothing of it is left.
    pub(super) fn delete_bite(&mut self, snapshot: SnapshotId) -> Result<bool, StoreError> {
        self.write(|db| {
            let first = key(snapshot, 0);
            let last = first | ((1 << INDEX_BITS) - 1);
            let sql = "DELETE FROM parts WHERE key IN \
                (SELECT key FROM parts WHERE key BETWEEN ?1 AND ?2 ORDER BY key LIMIT ?3)";
            let gone = db.prepare_cached(sql)?.execute([first, last, BITE_PARTS])?;
            if gone > 0 {
                return Ok(true);
            }
            let sql = "DELETE FROM taken WHERE snapshot = ?1";
            db.execute(sql, [snapshot.0.cast_signed()])?;
            Ok(false)
        })
    }
}

fn relax(db: &Connection, synchronous: Synchronous) -> rusqlite::Result<()> {
    let relaxed = match synchronous {
        Synchronous::Full => "NORMAL",
        Synchronous::Off => "OFF",
    };
    db.pragma_update(None, "synchronous", relaxed)
}

fn find(
    unfinished: &mut HashMap<BraneId, Unfinished>,
    brane: BraneId,
    snapshot: SnapshotId,
) -> Result<&mut Unfinished, StoreError> {
    let found = unfinished.get_mut(&brane).filter(|unfinished| unfinished.id == snapshot);
    found.ok_or(StoreError::UnknownSnapshot { brane, snapshot })
}
