//! What is cached: typed read models, and how each is written for others.

use std::hash::Hash;

use avvy_model::{BraneId, Grid, UserId, Visibility};

use crate::life::{decode_later, encode_later};
use crate::record::{BraneKind, BraneRecord, MAX_NAME_BYTES};

/// A kind of value that is read often and changed seldom.
pub trait Model: Send + Sync + 'static {
    /// What a value is found by.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    /// The value.
    type Value: Send + Sync + 'static;

    /// The name among the other kinds; letters only.
    const KIND: &'static str;

    /// The version of what [`Model::encode`] writes. Another one is another
    /// place in the shared tier, so that programs of two versions do not meet.
    const VERSION: u32;

    /// The key as text of at most 192 visible letters.
    fn key_text(key: &Self::Key) -> String;

    /// The key of this text.
    fn key_of(text: &str) -> Option<Self::Key>;

    /// The value as bytes.
    fn encode(value: &Self::Value) -> Vec<u8>;

    /// The value of these bytes; `None` if they are not one.
    fn decode(bytes: &[u8]) -> Option<Self::Value>;

    /// What the value takes of the memory, in bytes, roughly.
    fn weight(value: &Self::Value) -> usize;
}

/// The records of branes.
pub struct BraneRecords;

impl Model for BraneRecords {
    type Key = BraneId;
    type Value = BraneRecord;

    const KIND: &'static str = "brane";
    const VERSION: u32 = 3;

    fn key_text(key: &BraneId) -> String {
        key.to_string()
    }

    fn key_of(text: &str) -> Option<BraneId> {
        text.parse().ok()
    }

    /// Id, owner, when it was created, the size of its cells, kind and
    /// visibility by number; the name with its length; all that is left is what
    /// `encode_later` makes.
    fn encode(record: &BraneRecord) -> Vec<u8> {
        let name = &record.name.as_bytes()[..record.name.len().min(MAX_NAME_BYTES)];
        let mut bytes = Vec::with_capacity(FIXED + record.name.len());
        bytes.extend_from_slice(&record.id.to_bytes());
        bytes.extend_from_slice(&record.owner.to_bytes());
        bytes.extend_from_slice(&record.created_ms.to_le_bytes());
        bytes.extend_from_slice(&record.grid.size().to_le_bytes());
        bytes.push(position(&KINDS, record.kind));
        bytes.push(position(&VISIBILITIES, record.visibility));
        bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(name);
        bytes.extend(encode_later(record));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<BraneRecord> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (owner, rest) = rest.split_first_chunk::<16>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let ([kind, visibility], rest) = rest.split_first_chunk::<2>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (name, later) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        let name = str::from_utf8(name).ok().filter(|name| name.len() <= MAX_NAME_BYTES)?;
        let (id, owner) = (BraneId::from_bytes(*id), UserId::from_bytes(*owner));
        let record = BraneRecord {
            name: name.to_owned(),
            kind: *KINDS.get(usize::from(*kind))?,
            visibility: *VISIBILITIES.get(usize::from(*visibility))?,
            grid: Grid::new(u32::from_le_bytes(*size))?,
            ..BraneRecord::new(id, owner, u64::from_le_bytes(*created))
        };
        decode_later(later, record)
    }

    fn weight(record: &BraneRecord) -> usize {
        let tags = record.tags.iter().map(|tag| size_of::<String>() + tag.len()).sum::<usize>();
        size_of::<BraneRecord>() + record.name.len() + record.description.len() + tags
    }
}

const FIXED: usize = 16 + 16 + 8 + 4 + 2 + 2;

/// By number. Numbers never change while [`Model::VERSION`] does not.
const KINDS: [BraneKind; 4] =
    [BraneKind::Personal, BraneKind::Showcase, BraneKind::Rental, BraneKind::Public];
const VISIBILITIES: [Visibility; 3] =
    [Visibility::Private, Visibility::Unlisted, Visibility::Public];

fn position<T: PartialEq, const N: usize>(all: &[T; N], one: T) -> u8 {
    let at = all.iter().position(|other| *other == one);
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::life::Life;

    fn life() -> impl Strategy<Value = Life> {
        let times = (0..=u64::MAX >> 1, 0..=u64::MAX >> 1, any::<Option<[u8; 16]>>());
        (times, 0..5).prop_map(|((since_ms, purge_ms, successor), kind)| match kind {
            0 => Life::Active,
            1 => Life::Archived { since_ms, successor: successor.map(BraneId::from_bytes) },
            2 => Life::Doomed { since_ms, purge_ms },
            3 => Life::Purging { since_ms },
            _ => Life::Purged { since_ms },
        })
    }

    fn record() -> impl Strategy<Value = BraneRecord> {
        let tags = prop::collection::hash_set("[a-zö]{1,8}", 0..4);
        let later = ("\\PC{0,64}", tags, life(), any::<bool>(), 1..9_u64);
        (first(), later).prop_map(|(record, (description, tags, life, by_operator, version))| {
            let tags = tags.into_iter().collect();
            let by_operator = by_operator && life != Life::Active && !life.is_over();
            BraneRecord { description, tags, life, by_operator, version, ..record }
        })
    }

    fn first() -> impl Strategy<Value = BraneRecord> {
        let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), 0..=u64::MAX >> 1);
        let size = Grid::MIN_SIZE..=Grid::MAX_SIZE;
        (ids, "\\PC{0,64}", 0..4_usize, 0..3_usize, size).prop_map(
            |((id, owner, created_ms), name, kind, visibility, size)| BraneRecord {
                name,
                kind: KINDS[kind],
                visibility: VISIBILITIES[visibility],
                grid: Grid::new(size).unwrap_or_default(),
                ..BraneRecord::new(BraneId::from_bytes(id), UserId::from_bytes(owner), created_ms)
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(record in record()) {
            let bytes = BraneRecords::encode(&record);
            prop_assert_eq!(BraneRecords::decode(&bytes), Some(record.clone()));
            prop_assert_eq!(BraneRecords::key_of(&BraneRecords::key_text(&record.id)), Some(record.id));
        }

        #[test]
        fn bytes_of_others_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(record) = BraneRecords::decode(&bytes) {
                prop_assert_eq!(BraneRecords::encode(&record), bytes);
            }
        }
    }
}
