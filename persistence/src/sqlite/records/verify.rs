//! Reads all records and entries, step by step, and names what is damaged.

use rusqlite::params;

use super::super::directory::JOURNAL;
use super::super::fault;
use super::super::reader::Reader;
use super::super::readers::Readers;
use super::super::worker::Lane;
use super::rows::{self, SEALED};
use crate::error::StoreError;
use crate::records::{
    IndexKey, MISSING_ENTRY, ORPHAN, SCAN_BYTES, SCAN_RECORDS, parse, record_place,
};
use crate::report::{Damage, StoreReport};

/// What a step has found.
#[derive(Default)]
struct Step<K> {
    whole: u64,
    damages: Vec<Damage>,
    /// Where the next one begins; `None` at the end.
    last: Option<K>,
}

impl<K> Step<K> {
    fn add(&mut self, of: &str, key: &str, why: &str) {
        self.damages.push(Damage { place: record_place(of, key), why: why.to_owned() });
    }
}

type Row = (String, String);
type EntryRow = (String, String, Vec<u8>, String);

impl Readers {
    /// Counts the records that are whole, and names what is not.
    pub(in super::super) async fn inspect_records(
        &self,
        report: &mut StoreReport,
    ) -> Result<(), StoreError> {
        let mut after = Row::default();
        loop {
            let step = move |reader: &mut Reader| reader.verify_some(&after);
            let step = self.call(Lane::Patient, step).await?;
            report.records += step.whole;
            step.damages.into_iter().for_each(|damage| report.add(damage.place, damage.why));
            let Some(last) = step.last else { break };
            after = last;
        }
        let mut after = EntryRow::default();
        loop {
            let step = move |reader: &mut Reader| reader.verify_some_entries(&after);
            let step = self.call(Lane::Patient, step).await?;
            step.damages.into_iter().for_each(|damage| report.add(damage.place, damage.why));
            let Some(last) = step.last else { break };
            after = last;
        }
        Ok(())
    }
}

impl Reader {
    /// Holds some records to their checksums, and to having their entries.
    fn verify_some(&self, (of, key): &Row) -> Result<Step<Row>, StoreError> {
        let broken = fault::of(JOURNAL);
        let sql = format!(
            "SELECT r.collection, r.key, {SEALED} FROM records r \
             WHERE (r.collection, r.key) > (?1, ?2) ORDER BY r.collection, r.key LIMIT ?3"
        );
        self.journal(|db| {
            let mut statement = db.prepare_cached(&sql).map_err(&broken)?;
            let limit = SCAN_RECORDS as i64;
            let mut found = statement.query(params![of, key, limit]).map_err(&broken)?;
            let (mut step, mut bytes) = (Step::default(), 0);
            while bytes < SCAN_BYTES
                && let Some(row) = found.next().map_err(&broken)?
            {
                let read = || -> rusqlite::Result<(String, String, _)> {
                    Ok((row.get(0)?, row.get(1)?, rows::sealed(row, 2)?))
                };
                let (of, key, sealed) = read().map_err(&broken)?;
                bytes += sealed.content.len();
                match parse(&of, &key).and_then(|key| sealed.open(&of, &key)) {
                    Ok(found) => {
                        step.whole += 1;
                        for entry in &found.entries {
                            let (index, own) = ((of.as_str(), &*entry.index), &found.record.key);
                            if !rows::has_entry(db, index, entry.key.as_bytes(), own)? {
                                step.add(&of, &key, MISSING_ENTRY);
                            }
                        }
                    }
                    Err(StoreError::Damaged { place, why }) => {
                        step.damages.push(Damage { place, why });
                    }
                    Err(error) => return Err(error),
                }
                step.last = Some((of, key));
            }
            Ok(step)
        })
    }

    /// Holds some entries to the records that they name.
    fn verify_some_entries(&self, after: &EntryRow) -> Result<Step<EntryRow>, StoreError> {
        let broken = fault::of(JOURNAL);
        let sql = "SELECT collection, name, key, record FROM record_entries \
            WHERE (collection, name, key, record) > (?1, ?2, ?3, ?4) \
            ORDER BY collection, name, key, record LIMIT ?5";
        let (of, index, key, record) = after;
        self.journal(|db| {
            let mut statement = db.prepare_cached(sql).map_err(&broken)?;
            let bounds = params![of, index, key, record, SCAN_RECORDS as i64];
            let mut found = statement.query(bounds).map_err(&broken)?;
            let mut step = Step::default();
            while let Some(row) = found.next().map_err(&broken)? {
                let read = || -> rusqlite::Result<EntryRow> {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                };
                let (of, index, key, record) = read().map_err(&broken)?;
                let named = parse(&of, &record).and_then(|key| rows::record(db, &of, &key));
                // A record that is damaged was named before.
                if let Ok(found) = named {
                    let key = IndexKey::raw(key.clone());
                    if found.is_none_or(|found| !found.has(&index, &key)) {
                        step.add(&of, &record, ORPHAN);
                    }
                }
                step.last = Some((of, index, key, record));
            }
            Ok(step)
        })
    }
}
