//! Writes of records, within a transaction of the journal's writer.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::directory::JOURNAL;
use super::super::fault;
use super::super::rows::damaged;
use super::rows;
use crate::checksum::Header;
use crate::error::{Place, StoreError};
use crate::import::IS_THERE;
use crate::records::{
    CommitId, Entry, Id, Marker, Plan, RecordKey, StoredRecord, Tables, Then, Unique, parse,
};

/// Records as a transaction sees them.
pub(super) struct RecordTables<'a>(pub(super) &'a Connection);

impl Tables for RecordTables<'_> {
    fn marker(&self, id: CommitId) -> Result<Option<Marker>, StoreError> {
        let broken = fault::of(JOURNAL);
        let sql = "SELECT at, digest, versions, checksum FROM record_commits WHERE id = ?1";
        let mut statement = self.0.prepare_cached(sql).map_err(&broken)?;
        let row = statement.query_row([id.0.as_bytes()], |row| {
            let versions = row.get_ref(2)?.as_blob()?.as_chunks::<8>().0;
            let versions = versions.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
            let [at_s, digest, sum] =
                [row.get::<_, i64>(0)?, row.get(1)?, row.get(3)?].map(i64::cast_unsigned);
            Ok((Marker { at_s, digest, versions }, sum))
        });
        match row.optional().map_err(&broken)? {
            None => Ok(None),
            Some((marker, sum)) if marker_checksum(id, &marker) == sum => Ok(Some(marker)),
            Some(_) => {
                let place = Place::File(format!("{JOURNAL}, record commit {}", id.0));
                Err(damaged(place, "its checksum is wrong"))
            }
        }
    }

    fn record(&self, (of, key): &Id) -> Result<Option<StoredRecord>, StoreError> {
        rows::record(self.0, of, key)
    }

    fn holder(&self, (of, index, key): &Unique) -> Result<Option<RecordKey>, StoreError> {
        let broken = fault::of(JOURNAL);
        let sql = "SELECT record FROM record_entries \
            WHERE collection = ?1 AND name = ?2 AND key = ?3 LIMIT 1";
        let mut statement = self.0.prepare_cached(sql).map_err(&broken)?;
        let row = statement.query_row(params![of, index, key.as_bytes()], |row| row.get(0));
        let found: Option<String> = row.optional().map_err(&broken)?;
        found.map(|found| parse(of, &found)).transpose()
    }

    fn perform(&mut self, plan: &Plan) -> Result<(), StoreError> {
        let broken = fault::of(JOURNAL);
        for planned in &plan.changes {
            for entry in planned.removed(false) {
                self.remove_entry(&planned.id, entry).map_err(&broken)?;
            }
        }
        for planned in &plan.changes {
            match &planned.then {
                Then::Same => {}
                Then::Is(new) => self.put(new).map_err(&broken)?,
                Then::Gone => self.remove(&planned.id).map_err(&broken)?,
            }
            for entry in planned.added(false) {
                self.add_entry(&planned.id, entry).map_err(&broken)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, id: CommitId, marker: &Marker) -> Result<(), StoreError> {
        let sql = "INSERT INTO record_commits (id, at, digest, versions, checksum) \
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let [at, digest, sum] =
            [marker.at_s, marker.digest, marker_checksum(id, marker)].map(u64::cast_signed);
        let row = params![id.0.as_bytes(), at, digest, bytes_of(marker), sum];
        let keep = || self.0.prepare_cached(sql)?.execute(row).map(drop);
        keep().map_err(fault::of(JOURNAL))
    }
}

impl RecordTables<'_> {
    fn put(&self, record: &StoredRecord) -> rusqlite::Result<()> {
        let sql = "INSERT INTO records (collection, key, version, expires, content, checksum) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (collection, key) DO UPDATE SET \
            version = ?3, expires = ?4, content = ?5, checksum = ?6";
        let sealed = record.sealed();
        let content: &[u8] = &sealed.content;
        let row = params![
            record.of,
            record.record.key.as_str(),
            sealed.version.cast_signed(),
            sealed.expires_s.map(u64::cast_signed),
            content,
            sealed.checksum.cast_signed(),
        ];
        self.0.prepare_cached(sql)?.execute(row).map(drop)
    }

    fn remove(&self, (of, key): &Id) -> rusqlite::Result<()> {
        let sql = "DELETE FROM records WHERE collection = ?1 AND key = ?2";
        self.0.prepare_cached(sql)?.execute(params![of, key.as_str()]).map(drop)
    }

    fn add_entry(&self, (of, key): &Id, entry: &Entry) -> rusqlite::Result<()> {
        let sql = "INSERT OR IGNORE INTO record_entries (collection, name, key, record) \
            VALUES (?1, ?2, ?3, ?4)";
        let row = params![of, entry.index, entry.key.as_bytes(), key.as_str()];
        self.0.prepare_cached(sql)?.execute(row).map(drop)
    }

    fn remove_entry(&self, (of, key): &Id, entry: &Entry) -> rusqlite::Result<()> {
        let sql = "DELETE FROM record_entries \
            WHERE collection = ?1 AND name = ?2 AND key = ?3 AND record = ?4";
        let row = params![of, entry.index, entry.key.as_bytes(), key.as_str()];
        self.0.prepare_cached(sql)?.execute(row).map(drop)
    }

    /// Removes a record that was read, and its entries.
    pub(super) fn remove_whole(&self, old: &StoredRecord) -> Result<(), StoreError> {
        let id = (old.of.clone(), old.record.key.clone());
        let remove = || {
            old.entries.iter().try_for_each(|entry| self.remove_entry(&id, entry))?;
            self.remove(&id)
        };
        remove().map_err(fault::of(JOURNAL))
    }
}

/// Puts records as they were elsewhere.
pub(super) fn import(db: &Connection, records: &[StoredRecord]) -> Result<(), StoreError> {
    let tables = RecordTables(db);
    for record in records {
        let id = (record.of.clone(), record.record.key.clone());
        match tables.record(&id)? {
            Some(there) if there == *record => continue,
            Some(_) => return Err(IS_THERE),
            None => {}
        }
        for entry in record.entries.iter().filter(|entry| entry.unique) {
            let unique = (id.0.clone(), entry.index.clone(), entry.key.clone());
            if tables.holder(&unique)?.is_some() {
                return Err(IS_THERE);
            }
        }
        let put = || {
            tables.put(record)?;
            record.entries.iter().try_for_each(|entry| tables.add_entry(&id, entry))
        };
        put().map_err(fault::of(JOURNAL))?;
    }
    Ok(())
}

fn bytes_of(marker: &Marker) -> Vec<u8> {
    marker.versions.iter().flat_map(|version| version.to_le_bytes()).collect()
}

fn marker_checksum(id: CommitId, marker: &Marker) -> u64 {
    Header::new(b"AVVYcmit")
        .bytes(id.0.as_bytes())
        .number(marker.at_s)
        .number(marker.digest)
        .seal(&bytes_of(marker))
}
