//! The documents of records, and what is read from them.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, DateTime, Document, doc};
use uuid::Uuid;

use super::super::rows::{self as values, binary, long};
use crate::checksum::Header;
use crate::error::{Place, StoreError};
use crate::records::{
    CommitId, Entry, Fields, Id, IndexKey, MAX_TIME_S, Marker, Record, RecordKey, StoredRecord,
    Unique, Value, parse, record_place,
};

/// The keys of indexes.
pub(in super::super) const ENTRIES: &str = "record_entries";
/// What came of commits.
pub(in super::super) const COMMITS: &str = "record_commits";

/// Before the name of each kind.
const PREFIX: &str = "records.";

/// The collection of a kind.
pub(super) fn collection(of: &str) -> String {
    format!("{PREFIX}{of}")
}

/// The kind of a collection, if it is one of records.
pub(super) fn kind(collection: &str) -> Option<&str> {
    collection.strip_prefix(PREFIX)
}

/// A time in Unix seconds as MongoDB holds it.
pub(super) fn date(unix_s: u64) -> DateTime {
    values::date(unix_s.min(MAX_TIME_S) * 1_000)
}

// --- records ---

/// The document of a record.
pub(super) fn document(record: &StoredRecord) -> Document {
    let Record { key, version, expires_s, body } = &record.record;
    let entry = |entry: &Entry| {
        let Entry { index, unique, key } = entry;
        Bson::from(doc! {"index": index, "key": key.to_hex(), "unique": *unique})
    };
    let mut document = doc! {"_id": key.as_str(), "version": long(*version)};
    if let Some(expires_s) = expires_s {
        document.insert("expires", date(*expires_s));
    }
    document.insert("body", fields(body));
    document.insert("entries", record.entries.iter().map(entry).collect::<Vec<_>>());
    document.insert("checksum", long(record.sealed().checksum));
    document
}

fn fields(of: &Fields) -> Document {
    of.iter().map(|(name, field)| (name.to_owned(), value(field))).collect()
}

fn value(of: &Value) -> Bson {
    match of {
        Value::Null => Bson::Null,
        Value::Bool(truth) => Bson::Boolean(*truth),
        Value::Int(number) => Bson::Int64(*number),
        Value::Float(number) => Bson::Double(*number),
        Value::Text(text) => Bson::String(text.clone()),
        Value::Bytes(bytes) => binary(bytes),
        Value::Time(unix_s) => Bson::DateTime(date(*unix_s)),
        Value::Array(items) => Bson::Array(items.iter().map(value).collect()),
        Value::Map(map) => Bson::Document(fields(map)),
    }
}

/// The key of a document of records, as far as it is one.
pub(super) fn key_of(of: &str, document: &Document) -> Result<RecordKey, StoreError> {
    match document.get_str("_id") {
        Ok(key) => parse(of, key),
        Err(_) => {
            let place = record_place(of, &format!("{:?}", document.get("_id")));
            Err(values::damaged(place, "its key is no text"))
        }
    }
}

/// The record of a document, if it is what was written.
pub(super) fn stored(of: &str, mut document: Document) -> Result<StoredRecord, StoreError> {
    let key = key_of(of, &document)?;
    let mut read = || {
        let expires_s = match document.get("expires") {
            None => None,
            Some(expires) => Some(time(expires).ok_or("its end is no time")?),
        };
        let version = values::number(&document, "version")?;
        let sum = values::number(&document, "checksum")?;
        let body = match document.remove("body") {
            Some(Bson::Document(body)) => read_fields(body).ok_or("a field cannot be read")?,
            _ => return Err("it has no body".to_owned()),
        };
        let entries = document.get_array("entries").map_err(|_| "it has no entries")?;
        let entries = entries.iter().map(read_entry).collect::<Option<_>>();
        let entries = entries.ok_or("an entry cannot be read")?;
        let record = Record { key: key.clone(), version, expires_s, body };
        Ok((StoredRecord { of: of.to_owned(), record, entries }, sum))
    };
    let damaged = |why: String| values::damaged(record_place(of, key.as_str()), why);
    let (found, sum) = read().map_err(damaged)?;
    match found.sealed().checksum == sum {
        true => Ok(found),
        false => Err(damaged("its checksum is wrong".to_owned())),
    }
}

fn read_entry(found: &Bson) -> Option<Entry> {
    let found = found.as_document()?;
    Some(Entry {
        index: found.get_str("index").ok()?.to_owned(),
        unique: found.get_bool("unique").ok()?,
        key: IndexKey::from_hex(found.get_str("key").ok()?)?,
    })
}

fn read_fields(found: Document) -> Option<Fields> {
    found.into_iter().map(|(name, field)| Some((name, read_value(field)?))).collect()
}

/// What is of no type that was written is damage.
fn read_value(found: Bson) -> Option<Value> {
    Some(match found {
        Bson::Null => Value::Null,
        Bson::Boolean(truth) => Value::Bool(truth),
        Bson::Int64(number) => Value::Int(number),
        Bson::Double(number) => Value::Float(number),
        Bson::String(text) => Value::Text(text),
        Bson::Binary(binary) if binary.subtype == BinarySubtype::Generic => {
            Value::Bytes(binary.bytes.into())
        }
        Bson::DateTime(_) => Value::Time(time(&found)?),
        Bson::Array(items) => {
            Value::Array(items.into_iter().map(read_value).collect::<Option<_>>()?)
        }
        Bson::Document(map) => Value::Map(read_fields(map)?),
        _ => return None,
    })
}

fn time(found: &Bson) -> Option<u64> {
    let ms = u64::try_from(found.as_datetime()?.timestamp_millis()).ok()?;
    let unix_s = ms.is_multiple_of(1_000).then_some(ms / 1_000)?;
    (unix_s <= MAX_TIME_S).then_some(unix_s)
}

// --- entries ---

/// The key of an entry, and with it its place in a listing. Without `record`:
/// that of a unique one.
pub(super) fn entry_key(of: &str, index: &str, key: &IndexKey, record: &str) -> Document {
    doc! {"collection": of, "index": index, "key": key.to_hex(), "record": record}
}

/// The key of an entry of a record.
pub(super) fn key_of_entry((of, record): &Id, entry: &Entry) -> Document {
    let record = if entry.unique { "" } else { record.as_str() };
    entry_key(of, &entry.index, &entry.key, record)
}

/// The key of the entry of a unique index.
pub(super) fn unique_key((of, index, key): &Unique) -> Document {
    entry_key(of, index, key, "")
}

/// The document of an entry.
pub(super) fn entry_document(record: &StoredRecord, entry: &Entry) -> Document {
    let id = (record.of.clone(), record.record.key.clone());
    let mut document = doc! {"_id": key_of_entry(&id, entry), "record": id.1.as_str()};
    if let Some(expires_s) = record.record.expires_s {
        document.insert("expires", date(expires_s));
    }
    document
}

/// An entry as it was found.
pub(super) struct FoundEntry {
    pub(super) of: String,
    pub(super) index: String,
    pub(super) key: IndexKey,
    pub(super) record: RecordKey,
}

/// Reads an entry.
pub(super) fn found_entry(found: &Document) -> Result<FoundEntry, StoreError> {
    let read = || {
        let id = found.get_document("_id").ok()?;
        let text = |key| id.get_str(key).ok().map(str::to_owned);
        Some(FoundEntry {
            of: text("collection")?,
            index: text("index")?,
            key: IndexKey::from_hex(id.get_str("key").ok()?)?,
            record: RecordKey::new(found.get_str("record").ok()?)?,
        })
    };
    read().ok_or_else(|| {
        let place = Place::File(format!("{ENTRIES}, {:?}", found.get("_id")));
        values::damaged(place, "it cannot be read")
    })
}

// --- commits ---

/// The key of what came of a commit.
pub(super) fn marker_key(id: CommitId) -> String {
    Uuid::hyphenated(id.0).to_string()
}

/// The document of what came of a commit.
pub(super) fn marker_document(id: CommitId, marker: &Marker) -> Document {
    let versions: Vec<i64> = marker.versions.iter().copied().map(long).collect();
    doc! {
        "_id": marker_key(id),
        "at": date(marker.at_s),
        "digest": long(marker.digest),
        "versions": versions,
        "checksum": long(marker_checksum(id, marker)),
    }
}

/// What came of a commit.
pub(super) fn marker(id: CommitId, found: &Document) -> Result<Marker, StoreError> {
    let read = || {
        let versions = found.get_array("versions").map_err(|_| "it has no versions")?;
        let versions = versions.iter().map(|version| version.as_i64().map(i64::cast_unsigned));
        let marker = Marker {
            at_s: found.get("at").and_then(time).ok_or("its time is none")?,
            digest: values::number(found, "digest")?,
            versions: versions.collect::<Option<_>>().ok_or("a version is none")?,
        };
        match values::number(found, "checksum")? == marker_checksum(id, &marker) {
            true => Ok(marker),
            false => Err("its checksum is wrong".to_owned()),
        }
    };
    read().map_err(|why: String| {
        values::damaged(Place::File(format!("{COMMITS}, {}", marker_key(id))), why)
    })
}

fn marker_checksum(id: CommitId, marker: &Marker) -> u64 {
    let versions: Vec<u8> = marker.versions.iter().flat_map(|one| one.to_le_bytes()).collect();
    Header::new(b"AVVYcmit")
        .bytes(id.0.as_bytes())
        .number(marker.at_s)
        .number(marker.digest)
        .seal(&versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_second_that_may_be() {
        let read = |ms| time(&Bson::DateTime(DateTime::from_millis(ms)));
        assert_eq!(read(9_000), Some(9));
        assert_eq!(read(MAX_TIME_S.cast_signed() * 1_000), Some(MAX_TIME_S));
        for none in [-1_000, 9_001, (MAX_TIME_S.cast_signed() + 1) * 1_000] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
