//! The documents of records, for [`super::super::fuzzing`].

use mongodb::bson::Document;
use uuid::Uuid;

use super::super::fuzzing::comes_back;
use super::rows;
use crate::records::{
    CommitId, Entry, Fields, IndexKey, Marker, Record, RecordKey, StoredRecord, Value,
};

/// The collection whose documents they are.
const OF: &str = "things";
/// The commit of which something came.
const COMMIT: CommitId = CommitId(Uuid::from_u128(9));

pub(in super::super) fn record(found: Document) {
    let read = |found: Document| rows::stored(OF, found);
    let Ok(record) = read(found) else { return };
    comes_back(&record, rows::document(&record), read);
    for entry in &record.entries {
        let written = rows::entry_document(&record, entry);
        let found = rows::found_entry(&written).expect("what is written can be read");
        assert_eq!(found.key, entry.key);
    }
}

pub(in super::super) fn a_record() -> Document {
    rows::document(&stored())
}

pub(in super::super) fn entry(found: Document) {
    let Ok(found) = rows::found_entry(&found) else { return };
    let key = rows::entry_key(&found.of, &found.index, &found.key, found.record.as_str());
    let written = mongodb::bson::doc! {"_id": key, "record": found.record.as_str()};
    let again = rows::found_entry(&written).expect("what is written can be read");
    let all = |entry: rows::FoundEntry| (entry.of, entry.index, entry.key, entry.record);
    assert_eq!(all(again), all(found));
}

pub(in super::super) fn an_entry() -> Document {
    let stored = stored();
    rows::entry_document(&stored, &stored.entries[0])
}

pub(in super::super) fn marker(found: Document) {
    let read = |found: Document| rows::marker(COMMIT, &found);
    let Ok(marker) = read(found) else { return };
    comes_back(&marker, rows::marker_document(COMMIT, &marker), read);
}

pub(in super::super) fn a_marker() -> Document {
    let marker = Marker { at_s: 7, digest: 8, versions: vec![1, 2] };
    rows::marker_document(COMMIT, &marker)
}

fn stored() -> StoredRecord {
    let key = RecordKey::from(Uuid::from_u128(1));
    let within = Fields::new().with("truth", true).with("nothing", Value::Null);
    let body = Fields::new()
        .with("name", "Ada")
        .with("ended", Value::Time(9))
        .with("half", 0.5)
        .with("hash", Value::Bytes(vec![1, 2, 3].into()))
        .with("list", vec![1_i64.into(), Value::Map(within)]);
    let record = Record { key, version: 7, expires_s: Some(9), body };
    let entry = |index: &str, unique| Entry {
        index: index.to_owned(),
        unique,
        key: IndexKey::new().text("ada"),
    };
    let entries = vec![entry("by_name", true), entry("by_word", false)];
    StoredRecord { of: OF.to_owned(), record, entries }
}
