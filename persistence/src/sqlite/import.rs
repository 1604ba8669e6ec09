//! Branes and records that come from another store.

use avvy_model::BraneId;
use rusqlite::params;

use super::directory::JOURNAL;
use super::fault;
use super::journal::Write;
use super::rows::{self, Head, MAX_SEQ, key};
use super::start::SqliteStore;
use super::worker::Lane;
use crate::chunk::ChunkWrite;
use crate::error::StoreError;
use crate::import::{self, Import, Inheritance, WAS_OPENED};
use crate::lineage;
use crate::records::StoredRecord;
use crate::store::BoxFuture;

impl Import for SqliteStore {
    fn import_chunks(
        &self,
        brane: BraneId,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            import::check(&chunks, brane)?;
            let bytes = chunks.iter().map(|chunk| chunk.body.len()).sum();
            self.journal
                .call(Lane::Urgent, bytes, move |journal| {
                    journal.write(|write| write.import_chunks(brane, &chunks))
                })
                .await
        })
    }

    fn inherit(
        &self,
        brane: BraneId,
        inheritance: Inheritance,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.journal.call(Lane::Urgent, 0, move |journal| {
            journal.write(|write| write.inherit(brane, &inheritance))
        }))
    }

    fn import_records(&self, records: Vec<StoredRecord>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.put_records(records)
    }
}

impl Write<'_> {
    fn import_chunks(&mut self, brane: BraneId, chunks: &[ChunkWrite]) -> Result<(), StoreError> {
        let known = self.known(brane)?.ok_or(StoreError::UnknownBrane(brane))?;
        if known.head != Head::default() {
            return Err(WAS_OPENED);
        }
        let inserted = chunks.iter().try_for_each(|chunk| self.insert(known.no, chunk));
        inserted.map_err(fault::of(JOURNAL))
    }

    fn inherit(&mut self, brane: BraneId, from: &Inheritance) -> Result<(), StoreError> {
        let mut known = self.known(brane)?.ok_or(StoreError::UnknownBrane(brane))?;
        if known.head != Head::default() {
            return Err(WAS_OPENED);
        }
        let broken = fault::of(JOURNAL);
        let sql = "SELECT count(*), coalesce(sum(length(body)), 0) FROM chunks \
            WHERE key > ?1 AND key <= ?2";
        let range = [key(known.no, avvy_model::Seq(0)), key(known.no, MAX_SEQ)];
        let counted = self.transaction.query_row(sql, range, |row| {
            Ok([row.get::<_, i64>(0)?, row.get(1)?].map(i64::cast_unsigned))
        });
        let [chunks, bytes] = counted.map_err(&broken)?;
        known.head = Head { epoch: from.epoch, seq: from.head, chunks, bytes };
        self.set_head(brane, known);
        self.write_heads()?;
        let body = lineage::encode(&from.lineage);
        let sum = rows::lineage_checksum(known.no, &body);
        let sql = "INSERT OR REPLACE INTO lineages (no, body, checksum) VALUES (?1, ?2, ?3)";
        self.transaction.execute(sql, params![known.no, body, sum]).map(drop).map_err(&broken)
    }
}
