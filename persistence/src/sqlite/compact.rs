//! Retention: what each bite deletes.

use avvy_model::{BraneId, Seq};
use rusqlite::{Connection, params};

use super::directory::JOURNAL;
use super::entries::Snapshots;
use super::fault;
use super::journal::Write;
use super::rows::key;
use crate::error::StoreError;
use crate::snapshot::SnapshotId;
use crate::upkeep::{Bite, Bitten};

/// Chunks looked at in one bite.
const BITE_CHUNKS: usize = 256;
/// Bytes of chunks deleted in one bite.
pub(super) const BITE_BYTES: u64 = 1 << 20;

impl Write<'_> {
    /// Deletes a bite.
    pub(super) fn compact_bite(&mut self, bite: Bite) -> Result<Bitten, StoreError> {
        let Bite { brane, keep, before_ms, wanted } = bite;
        let Some(mut known) = self.known(brane)? else {
            return Ok(Bitten::default());
        };
        let all = Snapshots::read(&self.transaction, known.no, brane)?.all_whole()?;
        let covered = all.get(keep.max(1) as usize - 1).map_or(Seq(0), |info| info.at);
        let wanted = wanted.min(BITE_BYTES);
        let range = (key(known.no, Seq(0)), key(known.no, covered));
        let (bitten, last) =
            due(&self.transaction, range, before_ms, wanted).map_err(fault::of(JOURNAL))?;
        let Some(last) = last else {
            return Ok(bitten);
        };
        let sql = "DELETE FROM chunks WHERE key > ?1 AND key <= ?2";
        self.transaction.execute(sql, [range.0, last]).map_err(fault::of(JOURNAL))?;
        known.head.chunks = known.head.chunks.saturating_sub(bitten.chunks);
        known.head.bytes = known.head.bytes.saturating_sub(bitten.bytes);
        self.set_head(brane, known);
        self.write_heads()?;
        Ok(bitten)
    }

    /// Deletes the entries of all but the newest snapshots of a brane.
    pub(super) fn hide_snapshots(
        &mut self,
        brane: BraneId,
        keep: u32,
    ) -> Result<Vec<SnapshotId>, StoreError> {
        let Some(known) = self.known(brane)? else {
            return Ok(Vec::new());
        };
        let all = Snapshots::read(&self.transaction, known.no, brane)?.all_whole()?;
        let old: Vec<_> = all.iter().skip(keep.max(1) as usize).map(|info| info.id).collect();
        for id in &old {
            let sql = "DELETE FROM snapshots WHERE snapshot = ?1";
            self.transaction.execute(sql, [id.0.cast_signed()]).map_err(fault::of(JOURNAL))?;
        }
        Ok(old)
    }
}

/// How much from the front of a key range is due, and its last key.
pub(super) fn due(
    db: &Connection,
    range: (i64, i64),
    before_ms: u64,
    wanted: u64,
) -> rusqlite::Result<(Bitten, Option<i64>)> {
    let sql = "SELECT key, at_ms, length(body) FROM chunks \
        WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT ?3";
    let mut statement = db.prepare_cached(sql)?;
    let limit = BITE_CHUNKS as i64;
    let mut found = statement.query(params![range.0, range.1, limit])?;
    let mut bitten = Bitten::default();
    let mut last = None;
    while let Some(row) = found.next()? {
        let at_ms = row.get::<_, i64>(1)?.cast_unsigned();
        if at_ms >= before_ms || bitten.bytes >= wanted {
            bitten.more = bitten.bytes >= wanted && at_ms < before_ms;
            return Ok((bitten, last));
        }
        bitten.chunks += 1;
        bitten.bytes += row.get::<_, i64>(2)?.cast_unsigned();
        last = Some(row.get(0)?);
    }
    bitten.more = bitten.chunks == BITE_CHUNKS as u64;
    Ok((bitten, last))
}
