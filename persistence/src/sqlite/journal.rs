//! The one writer of the journal's file.
//!
//! It knows the head of every brane that it wrote to, so an append reads
//! nothing: it inserts the chunk and rewrites the head, two pages a brane.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use avvy_model::{BraneId, Epoch};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::connection;
use super::directory::JOURNAL;
use super::entries::{Snapshots, find_snapshot, number, read_lineage, read_record};
use super::fault;
use super::room::Room;
use super::rows::{self, Head, MAX_SEQ, READ_HEAD, WRITE_HEAD, damaged, key};
use crate::chunk::{AppendRefusal, ChunkWrite};
use crate::error::{Place, StoreError};
use crate::judge::{Judgement, judge};
use crate::life::Life;
use crate::lineage;
use crate::record::BraneRecord;
use crate::scan::Verdict;
use crate::snapshot::{SnapshotId, SnapshotInfo};
use crate::store::Opened;

/// Heads that are remembered; above it they are read again.
const MAX_KNOWN: usize = 100_000;

/// A brane's number and head.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) no: i64,
    pub(super) head: Head,
}

/// The writer.
pub(super) struct Journal {
    db: Connection,
    known: HashMap<BraneId, Known>,
    /// Pages in the log after the last commit.
    wal_pages: Arc<AtomicU32>,
    /// Told when the log is longer than `fold_pages`.
    fold: Option<Box<dyn Fn() + Send>>,
    fold_pages: u32,
    /// A commit or a fold failed: remains of the one may be in the log, and
    /// what the other was to sync may not be on the device.
    log_is_spoiled: bool,
    /// Snapshots whose parts may be deleted: they never become visible again.
    given_up: HashSet<SnapshotId>,
    room: Room,
}

impl Journal {
    /// A writer on this connection.
    pub(super) fn new(mut db: Connection, fold_pages: u32, room: Room) -> Result<Self, StoreError> {
        let wal_pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&wal_pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        db.wal_hook(Some(hook)).map_err(fault::of(JOURNAL))?;
        Ok(Self {
            db,
            known: HashMap::new(),
            wal_pages,
            fold: None,
            fold_pages,
            log_is_spoiled: false,
            given_up: HashSet::new(),
            room,
        })
    }

    /// Sets whom to tell that the log is long.
    pub(super) fn on_long_log(&mut self, tell: impl Fn() + Send + 'static) {
        self.fold = Some(Box::new(tell));
    }

    /// Folds the log as far as nobody reads it; the next commit begins it
    /// anew if all of it was folded.
    pub(super) fn fold(&mut self) -> Result<(), StoreError> {
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        let folded = self.db.query_row(sql, [], |_| Ok(())).map_err(fault::of(JOURNAL));
        self.log_is_spoiled |= folded.is_err();
        folded
    }

    /// Has the next commit begin the log anew, because something about it failed.
    pub(super) const fn distrust_log(&mut self) {
        self.log_is_spoiled = true;
    }

    /// Refuses what makes the file larger when there is no room for it.
    pub(super) fn room(&self) -> Result<(), StoreError> {
        self.room.check(&self.db)
    }

    /// Runs `work` in a transaction; what it learns of heads is kept only if
    /// the commit succeeds.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Write<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.known.len() > MAX_KNOWN {
            self.known.clear();
        }
        match self.try_write(work) {
            Ok((answer, changed)) => {
                self.known.extend(changed);
                if self.wal_pages.load(Ordering::Relaxed) >= self.fold_pages {
                    self.fold.iter().for_each(|tell| tell());
                }
                Ok(answer)
            }
            Err(error) => {
                // Whether the commit is on the device may be unknown: believe nothing.
                self.known.clear();
                Err(error)
            }
        }
    }

    fn try_write<T>(
        &mut self,
        work: impl FnOnce(&mut Write<'_>) -> Result<T, StoreError>,
    ) -> Result<(T, HashMap<BraneId, Known>), StoreError> {
        let broken = fault::of(JOURNAL);
        if self.log_is_spoiled {
            connection::begin_log_anew(&self.db, JOURNAL)?;
            self.log_is_spoiled = false;
        }
        let transaction =
            self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&broken)?;
        let mut write = Write { transaction, known: &self.known, changed: HashMap::new() };
        let answer = work(&mut write)?;
        let Write { transaction, changed, .. } = write;
        if let Err(error) = transaction.commit() {
            self.log_is_spoiled = true;
            return Err(broken(error));
        }
        Ok((answer, changed))
    }

    /// Stores a group of chunks.
    pub(super) fn append(
        &mut self,
        chunks: &[ChunkWrite],
    ) -> Result<Vec<Result<(), AppendRefusal>>, StoreError> {
        self.room()?;
        self.write(|write| {
            let answers = chunks.iter().map(|chunk| write.append(chunk)).collect::<Result<_, _>>();
            write.write_heads()?;
            answers
        })
    }
}

impl Journal {
    /// Makes a snapshot visible, if it was not given up.
    pub(super) fn finish_snapshot(
        &mut self,
        brane: BraneId,
        info: SnapshotInfo,
    ) -> Result<(), StoreError> {
        if self.given_up.contains(&info.id) {
            return Err(StoreError::UnknownSnapshot { brane, snapshot: info.id });
        }
        self.write(|write| write.finish(brane, info))
    }

    /// Gives up a snapshot, unless it is visible; true if it was not.
    pub(super) fn give_up(&mut self, snapshot: SnapshotId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM snapshots WHERE snapshot = ?1";
        let row = self.db.query_row(sql, [snapshot.0.cast_signed()], |_| Ok(()));
        let is_visible = row.optional().map_err(fault::of(JOURNAL))?.is_some();
        if !is_visible {
            self.remember_given_up([snapshot]);
        }
        Ok(!is_visible)
    }

    /// Hides all but the newest snapshots of a brane; their parts are garbage
    /// from then on.
    pub(super) fn hide_snapshots(
        &mut self,
        brane: BraneId,
        keep: u32,
    ) -> Result<Vec<SnapshotId>, StoreError> {
        let hidden = self.write(|write| write.hide_snapshots(brane, keep))?;
        self.remember_given_up(hidden.iter().copied());
        Ok(hidden)
    }

    pub(super) fn remember_given_up(&mut self, snapshots: impl IntoIterator<Item = SnapshotId>) {
        if self.given_up.len() > MAX_KNOWN {
            self.given_up.clear();
        }
        self.given_up.extend(snapshots);
    }
}

/// For what a brane is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// To write: only an active one.
    ToWrite,
    /// To copy it.
    ToCopy,
}

type Judged = Result<Judgement, AppendRefusal>;

/// A transaction of the writer.
pub(super) struct Write<'a> {
    pub(super) transaction: Transaction<'a>,
    known: &'a HashMap<BraneId, Known>,
    changed: HashMap<BraneId, Known>,
}

impl Write<'_> {
    /// A brane's number and head as this transaction sees them.
    pub(super) fn known(&mut self, brane: BraneId) -> Result<Option<Known>, StoreError> {
        if let Some(known) = self.changed.get(&brane).or_else(|| self.known.get(&brane)) {
            return Ok(Some(*known));
        }
        let Some(no) = number(&self.transaction, brane)? else {
            return Ok(None);
        };
        let mut statement =
            self.transaction.prepare_cached(READ_HEAD).map_err(fault::of(JOURNAL))?;
        let known = Known { no, head: Head::read(&mut statement, no, brane)? };
        drop(statement);
        self.changed.insert(brane, known);
        Ok(Some(known))
    }

    pub(super) fn expect(&mut self, brane: BraneId) -> Result<Known, StoreError> {
        self.known(brane)?.ok_or(StoreError::UnknownBrane(brane))
    }

    /// Changes a brane's head; [`Write::write_heads`] stores it.
    pub(super) fn set_head(&mut self, brane: BraneId, known: Known) {
        self.changed.insert(brane, known);
    }

    /// Stores the heads that changed.
    pub(super) fn write_heads(&self) -> Result<(), StoreError> {
        let broken = fault::of(JOURNAL);
        let mut statement = self.transaction.prepare_cached(WRITE_HEAD).map_err(&broken)?;
        for (brane, known) in &self.changed {
            if self.known.get(brane).is_none_or(|before| before.head != known.head) {
                known.head.write(&mut statement, known.no).map_err(&broken)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, chunk: &ChunkWrite) -> Result<Result<(), AppendRefusal>, StoreError> {
        if let Err(refusal) = chunk.check() {
            return Ok(Err(refusal));
        }
        if chunk.to > MAX_SEQ {
            return Ok(Err(AppendRefusal::Malformed));
        }
        let (mut known, judged) = match self.judge(chunk) {
            Ok(Some(judged)) => judged,
            Ok(None) => return Ok(Err(AppendRefusal::UnknownBrane)),
            Err(StoreError::Damaged { place, why }) => {
                // Nothing was changed for this chunk: the others go on.
                tracing::error!(brane = %chunk.brane, %place, why, "a chunk is refused");
                return Ok(Err(AppendRefusal::Damaged));
            }
            Err(error) => return Err(error),
        };
        match judged {
            Ok(Judgement::New) => {}
            Ok(Judgement::Stored) => return Ok(Ok(())),
            Err(refusal) => return Ok(Err(refusal)),
        }
        self.insert(known.no, chunk).map_err(fault::of(JOURNAL))?;
        known.head.seq = chunk.to;
        known.head.chunks += 1;
        known.head.bytes += chunk.body.len() as u64;
        self.set_head(chunk.brane, known);
        Ok(Ok(()))
    }

    /// What is known of a chunk's brane, and what becomes of the chunk.
    fn judge(&mut self, chunk: &ChunkWrite) -> Result<Option<(Known, Judged)>, StoreError> {
        let Some(known) = self.known(chunk.brane)? else { return Ok(None) };
        let Head { epoch, seq, .. } = known.head;
        let judged = judge(chunk, epoch, seq, || self.is_stored(known.no, chunk))?;
        Ok(Some((known, judged)))
    }

    /// Inserts a chunk under its brane's number.
    pub(super) fn insert(&self, no: i64, chunk: &ChunkWrite) -> rusqlite::Result<()> {
        let sql = "INSERT INTO chunks (key, from_seq, epoch, at_ms, checksum, body) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let [from, epoch, at_ms, sum] =
            [chunk.from.0, chunk.epoch.0, chunk.at_ms, chunk.checksum()].map(u64::cast_signed);
        let body: &[u8] = &chunk.body;
        let row = params![key(no, chunk.to), from, epoch, at_ms, sum, body];
        self.transaction.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    /// Whether this very chunk is there already.
    fn is_stored(&self, no: i64, chunk: &ChunkWrite) -> Result<bool, StoreError> {
        let sql = "SELECT from_seq, epoch, checksum FROM chunks WHERE key = ?1";
        let broken = fault::of(JOURNAL);
        let mut statement = self.transaction.prepare_cached(sql).map_err(&broken)?;
        let row = statement.query_row([key(no, chunk.to)], |row| {
            Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?].map(i64::cast_unsigned))
        });
        let stored = row.optional().map_err(&broken)?;
        Ok(stored == Some([chunk.from.0, chunk.epoch.0, chunk.checksum()]))
    }

    /// Takes the next epoch of a brane. From its commit on, no earlier writer
    /// can store anything.
    pub(super) fn take_epoch(
        &mut self,
        brane: BraneId,
        opening: Opening,
    ) -> Result<Known, StoreError> {
        let mut known = self.expect(brane)?;
        if opening == Opening::ToWrite
            && let Some((_, BraneRecord { life, .. })) = read_record(&self.transaction, brane)?
            && life != Life::Active
        {
            return Err(StoreError::Inactive { brane, life });
        }
        known.head.epoch = known.head.epoch.next();
        self.set_head(brane, known);
        self.write_heads()?;
        Ok(known)
    }

    /// Ends an opening: cuts a torn tail, and writes the lineage.
    pub(super) fn settle(
        &mut self,
        brane: BraneId,
        epoch: Epoch,
        verdict: Verdict,
    ) -> Result<Opened, StoreError> {
        let mut known = self.expect(brane)?;
        if known.head.epoch != epoch {
            return Err(StoreError::StaleEpoch { current: known.head.epoch });
        }
        let torn = match verdict {
            Verdict::Whole => None,
            Verdict::Torn(torn) => {
                known.head = self.cut(brane, known, &torn)?;
                self.set_head(brane, known);
                self.write_heads()?;
                Some(torn)
            }
        };
        let head = known.head.seq;
        let mut lineage = read_lineage(&self.transaction, known, brane)?;
        lineage::push(&mut lineage, epoch, head);
        let body = lineage::encode(&lineage);
        let sum = rows::lineage_checksum(known.no, &body);
        let sql = "INSERT OR REPLACE INTO lineages (no, body, checksum) VALUES (?1, ?2, ?3)";
        self.transaction.execute(sql, params![known.no, body, sum]).map_err(fault::of(JOURNAL))?;
        let snapshots = Snapshots::read(&self.transaction, known.no, brane)?.whole;
        let (_, record) =
            read_record(&self.transaction, brane)?.ok_or(StoreError::UnknownBrane(brane))?;
        Ok(Opened { record, epoch, lineage, head, snapshots, torn })
    }

    /// Makes a snapshot visible; one that is visible already stays so.
    fn finish(&mut self, brane: BraneId, info: SnapshotInfo) -> Result<(), StoreError> {
        let known = self.expect(brane)?;
        if let Some(there) = find_snapshot(&self.transaction, known.no, brane, info.id)? {
            let place = Place::Snapshot { brane, snapshot: info.id };
            let other = || damaged(place, "another snapshot has its name");
            return if there == info { Ok(()) } else { Err(other()) };
        }
        if info.epoch != known.head.epoch {
            return Err(StoreError::StaleEpoch { current: known.head.epoch });
        }
        if info.at > known.head.seq {
            return Err(StoreError::SnapshotAhead { head: known.head.seq });
        }
        let sql = "INSERT INTO snapshots \
            (snapshot, no, epoch, at_seq, parts, bytes, taken_ms, checksum) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let sum = rows::snapshot_checksum(known.no, &info);
        let [id, epoch, at, bytes, taken] =
            [info.id.0, info.epoch.0, info.at.0, info.bytes, info.taken_ms].map(u64::cast_signed);
        let row = params![id, known.no, epoch, at, info.parts, bytes, taken, sum];
        self.transaction.execute(sql, row).map(drop).map_err(fault::of(JOURNAL))
    }

    /// Creates a brane.
    pub(super) fn create(&self, record: &BraneRecord) -> Result<(), StoreError> {
        let broken = fault::of(JOURNAL);
        if let Some((_, there)) = read_record(&self.transaction, record.id)? {
            let same = there == *record;
            return if same { Ok(()) } else { Err(StoreError::BraneExists(record.id)) };
        }
        let sql = "SELECT coalesce(max(no), 0) + 1 FROM branes";
        let no: i64 = self.transaction.query_row(sql, [], |row| row.get(0)).map_err(&broken)?;
        if no > rows::MAX_BRANE_NO {
            return Err(StoreError::Full("no brane numbers are left in this file".into()));
        }
        rows::put_record(&self.transaction, no, record).map_err(&broken)?;
        let mut statement = self.transaction.prepare_cached(WRITE_HEAD).map_err(&broken)?;
        Head::default().write(&mut statement, no).map_err(&broken)
    }

    /// Sets a value of the server's own.
    pub(super) fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO meta (key, value, checksum) VALUES (?1, ?2, ?3)";
        let row = params![key, value, rows::meta_checksum(key, value)];
        self.transaction.execute(sql, row).map(drop).map_err(fault::of(JOURNAL))
    }

    /// Sets it if it was this, and says whether it is this now.
    pub(super) fn replace_meta(
        &self,
        key: &str,
        was: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let found = rows::meta(&self.transaction, key)?;
        if found.as_deref() != was {
            return Ok(found.as_deref() == Some(value));
        }
        self.put_meta(key, value).map(|()| true)
    }
}
