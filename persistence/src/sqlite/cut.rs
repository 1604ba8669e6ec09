//! Cutting a tail that is not whole.
//!
//! A chunk and the head that counts it are one commit, so a tail that a head
//! claims and that is not whole was stored and acknowledged once: it is cut,
//! because a brane that opens without its last edits is of more use than one
//! that stays closed, but never silently. The cut stays on record, and the
//! chunks are put aside as they were found.

use avvy_model::{BraneId, Epoch, Seq};
use rusqlite::{Connection, params};

use super::directory::JOURNAL;
use super::fault;
use super::journal::{Known, Write};
use super::rows::{Head, MAX_SEQ, damaged, key};
use crate::checksum::Header;
use crate::error::{Place, StoreError};
use crate::report::{Cut, MAX_DAMAGES};
use crate::store::TornTail;

impl Write<'_> {
    /// Puts the chunks after the last good one aside, and counts what is left.
    pub(super) fn cut(
        &self,
        brane: BraneId,
        known: Known,
        torn: &TornTail,
    ) -> Result<Head, StoreError> {
        let Known { no, head } = known;
        let TornTail { kept, claimed, chunks, why } = torn;
        tracing::error!(%brane, from = %kept, to = %claimed, chunks, why,
            "edits that had been stored are not whole: they are cut off and put aside");
        let db = &self.transaction;
        let move_away = || -> rusqlite::Result<Head> {
            let epoch = head.epoch.0.cast_signed();
            let sum = checksum(no, head.epoch, torn);
            let [from, to, count] = [kept.0, claimed.0, *chunks].map(u64::cast_signed);
            let sql = "INSERT INTO cuts (no, epoch, kept, claimed, chunks, why, checksum) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            db.execute(sql, params![no, epoch, from, to, count, why, sum])?;
            let sql = "INSERT INTO cut_chunks \
                (no, cut_epoch, key, from_seq, epoch, at_ms, checksum, body) \
                SELECT ?1, ?2, key, from_seq, epoch, at_ms, checksum, body FROM chunks \
                WHERE key > ?3 AND key <= ?4";
            db.execute(sql, params![no, epoch, key(no, *kept), key(no, MAX_SEQ)])?;
            let sql = "DELETE FROM chunks WHERE key > ?1 AND key <= ?2";
            db.execute(sql, [key(no, *kept), key(no, MAX_SEQ)])?;
            let sql = "SELECT count(*), coalesce(sum(length(body)), 0) FROM chunks \
                WHERE key > ?1 AND key <= ?2";
            let [chunks, bytes] =
                db.query_row(sql, [key(no, Seq(0)), key(no, MAX_SEQ)], |row| {
                    Ok([row.get::<_, i64>(0)?, row.get(1)?].map(i64::cast_unsigned))
                })?;
            Ok(Head { seq: *kept, chunks, bytes, ..head })
        };
        move_away().map_err(fault::of(JOURNAL))
    }
}

/// The newest cuts of a brane, oldest first.
pub(super) fn cuts(db: &Connection, no: i64, brane: BraneId) -> Result<Vec<Cut>, StoreError> {
    let broken = fault::of(JOURNAL);
    let sql = "SELECT epoch, kept, claimed, chunks, why, checksum FROM cuts \
        WHERE no = ?1 ORDER BY epoch DESC LIMIT ?2";
    let mut statement = db.prepare_cached(sql).map_err(&broken)?;
    let rows = statement.query_map(params![no, MAX_DAMAGES as i64], |row| {
        let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
        let torn = TornTail {
            kept: Seq(number(1)?),
            claimed: Seq(number(2)?),
            chunks: number(3)?,
            why: row.get(4)?,
        };
        Ok((Cut { epoch: Epoch(number(0)?), torn }, row.get::<_, i64>(5)?))
    });
    let mut found = Vec::new();
    for row in rows.map_err(&broken)? {
        let (cut, sum) = row.map_err(&broken)?;
        if checksum(no, cut.epoch, &cut.torn) != sum {
            return Err(damaged(Place::Brane(brane), "the checksum of one of its cuts is wrong"));
        }
        found.push(cut);
    }
    found.reverse();
    Ok(found)
}

fn checksum(no: i64, epoch: Epoch, torn: &TornTail) -> i64 {
    Header::new(b"AVVYcut ")
        .number(no.cast_unsigned())
        .number(epoch.0)
        .number(torn.kept.0)
        .number(torn.claimed.0)
        .number(torn.chunks)
        .seal(torn.why.as_bytes())
        .cast_signed()
}
