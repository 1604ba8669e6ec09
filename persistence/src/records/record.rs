//! Records as they are read, and as they are stored.

use bytes::Bytes;

use super::codec;
use super::entry::IndexKey;
use super::key::RecordKey;
use super::value::Fields;
use crate::checksum::Header;
use crate::error::{Place, StoreError};

/// A record.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Its key.
    pub key: RecordKey,
    /// Raised by every write, and never twice the same for one key: fit for an
    /// entity tag. A new record begins at its second times 2^20, plus less than
    /// that, drawn from the commit's id; each change adds 1. So of two records
    /// that had the same key one after the other, the later is above the
    /// earlier, unless both were made within one second: then by the draw they
    /// differ, but for one time in a million. Below 2^53 until the year 2242.
    pub version: u64,
    /// From when on it is as if it were not there, in Unix seconds.
    pub expires_s: Option<u64>,
    /// What is in it.
    pub body: Fields,
}

impl Record {
    /// Whether it is there at this time, in Unix seconds.
    pub fn is_live(&self, now_s: u64) -> bool {
        self.expires_s.is_none_or(|expires_s| now_s < expires_s)
    }
}

/// Under what a record is found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// The index's name.
    pub index: String,
    /// Whether the index was unique when this was written.
    pub unique: bool,
    /// The key.
    pub key: IndexKey,
}

/// A record with all that belongs to it, as it is moved from store to store.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredRecord {
    /// The name of its collection.
    pub of: String,
    /// The record.
    pub record: Record,
    /// Under what it is found, in the order of index and key.
    pub entries: Vec<Entry>,
}

impl StoredRecord {
    /// What is stored of it.
    pub(crate) fn sealed(&self) -> Sealed {
        let Record { key, version, expires_s, body } = &self.record;
        let content = Bytes::from(codec::encode(&self.entries, body));
        let checksum = checksum(&self.of, key, *version, *expires_s, &content);
        Sealed { version: *version, expires_s: *expires_s, content, checksum }
    }
}

/// A record as bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sealed {
    pub(crate) version: u64,
    pub(crate) expires_s: Option<u64>,
    /// See `codec`.
    pub(crate) content: Bytes,
    pub(crate) checksum: u64,
}

impl Sealed {
    /// The record, if it is what was written.
    pub(crate) fn open(&self, of: &str, key: &RecordKey) -> Result<StoredRecord, StoreError> {
        let (entries, body) = self.read(of, key, codec::decode)?;
        Ok(StoredRecord { of: of.to_owned(), record: self.record(key, body), entries })
    }

    /// The record without its entries, of which this has to be one, if it is
    /// what was written.
    pub(crate) fn open_under(
        &self,
        of: &str,
        key: &RecordKey,
        (index, under): (&str, &IndexKey),
    ) -> Result<Option<Record>, StoreError> {
        let mut is_under = false;
        let is_it = |own: &str, _, key: &[u8]| is_under |= own == index && key == under.as_bytes();
        let body = self.read(of, key, |content| codec::decode_body(content, is_it))?;
        Ok(is_under.then(|| self.record(key, body)))
    }

    fn read<T>(
        &self,
        of: &str,
        key: &RecordKey,
        decode: impl FnOnce(&[u8]) -> Result<T, minicbor::decode::Error>,
    ) -> Result<T, StoreError> {
        let Self { version, expires_s, ref content, checksum: sum } = *self;
        let damaged = |why: &str| damaged(of, key, why);
        if checksum(of, key, version, expires_s, content) != sum {
            return Err(damaged("its checksum is wrong"));
        }
        decode(content).map_err(|error| damaged(&format!("it cannot be read: {error}")))
    }

    fn record(&self, key: &RecordKey, body: Fields) -> Record {
        Record { key: key.clone(), version: self.version, expires_s: self.expires_s, body }
    }
}

/// A record as bytes, for others: version, end and the length of the key, each
/// with 8 bytes, little endian; the key; then as `codec` says, without entries.
pub(crate) fn encode_record(record: &Record) -> Vec<u8> {
    let Record { key, version, expires_s, body } = record;
    let end = expires_s.map_or(0, |expires_s| expires_s.saturating_add(1));
    let numbers = [*version, end, key.as_str().len() as u64].map(u64::to_le_bytes);
    let content = codec::encode(&[], body);
    [numbers.as_flattened(), key.as_str().as_bytes(), &content].concat()
}

/// The record of these bytes; `None` if they are none.
pub(crate) fn decode_record(bytes: &[u8]) -> Option<Record> {
    let (numbers, rest) = bytes.split_first_chunk::<24>()?;
    let (numbers, _) = numbers.as_chunks::<8>();
    let [version, end, length] = [numbers[0], numbers[1], numbers[2]].map(u64::from_le_bytes);
    let (key, content) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let key = RecordKey::new(str::from_utf8(key).ok()?)?;
    let (_, body) = codec::decode(content).ok()?;
    body.check().ok()?;
    Some(Record { key, version, expires_s: end.checked_sub(1), body })
}

/// The checksum of a record. Header: `"AVVYrecd"`, the lengths of collection
/// and key and both of them, version, whether it ends, and when.
pub(crate) fn checksum(
    of: &str,
    key: &RecordKey,
    version: u64,
    expires_s: Option<u64>,
    content: &[u8],
) -> u64 {
    Header::new(b"AVVYrecd")
        .number(of.len() as u64)
        .number(key.as_str().len() as u64)
        .bytes(of.as_bytes())
        .bytes(key.as_str().as_bytes())
        .number(version)
        .number(expires_s.is_some().into())
        .number(expires_s.unwrap_or(0))
        .seal(content)
}

/// The place of a record.
pub(crate) fn record_place(of: &str, key: &str) -> Place {
    Place::Record { of: of.to_owned(), key: key.to_owned() }
}

/// The error of a record that is not what was written.
pub(crate) fn damaged(of: &str, key: &RecordKey, why: &str) -> StoreError {
    StoreError::Damaged { place: record_place(of, key.as_str()), why: why.to_owned() }
}

/// A key as it was found, if it can be one.
pub(crate) fn parse(of: &str, key: &str) -> Result<RecordKey, StoreError> {
    RecordKey::new(key).ok_or_else(|| {
        let why = "its key is none".to_owned();
        StoreError::Damaged { place: record_place(of, key), why }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stored() -> StoredRecord {
        let key = RecordKey::new("k").unwrap();
        let body = Fields::new().with("name", "Ada");
        let record = Record { key, version: 7, expires_s: Some(9), body };
        let key = IndexKey::new().text("ada");
        let entries = vec![Entry { index: "by_name".into(), unique: true, key }];
        StoredRecord { of: "users".into(), record, entries }
    }

    #[test]
    fn what_is_not_as_written_is_damage() {
        let (stored, sealed) = (stored(), stored().sealed());
        let key = &stored.record.key;
        assert_eq!(sealed.open("users", key), Ok(stored.clone()));
        let under = |index, key: &str| {
            sealed.open_under("users", &stored.record.key, (index, &IndexKey::new().text(key)))
        };
        assert_eq!(under("by_name", "ada"), Ok(Some(stored.record.clone())));
        assert_eq!((under("by_name", "bob"), under("by_age", "ada")), (Ok(None), Ok(None)));
        let flipped = Bytes::from([&sealed.content[1..], &[0]].concat());
        let others = [
            Sealed { version: 8, ..sealed.clone() },
            Sealed { expires_s: None, ..sealed.clone() },
            Sealed { content: flipped, ..sealed.clone() },
            Sealed { checksum: sealed.checksum ^ 1, ..sealed.clone() },
        ];
        for other in others {
            let found = other.open("users", key);
            assert!(matches!(found, Err(StoreError::Damaged { .. })), "{found:?}");
        }
        assert!(sealed.open("wallets", key).is_err());
        assert!(sealed.open("users", &RecordKey::new("l").unwrap()).is_err());
    }

    #[test]
    fn comes_back_as_others_hold_it() {
        let record = stored().record;
        for expires_s in [None, Some(0), Some(9)] {
            let record = Record { expires_s, ..record.clone() };
            assert_eq!(decode_record(&encode_record(&record)), Some(record));
        }
        let bytes = encode_record(&record);
        assert!((0..bytes.len()).all(|end| decode_record(&bytes[..end]).is_none()));
    }

    #[test]
    fn stays_what_is_on_disk_already() {
        assert_eq!(stored().sealed().checksum, GOLDEN);
    }

    const GOLDEN: u64 = 18_014_409_652_505_124_403;
}
