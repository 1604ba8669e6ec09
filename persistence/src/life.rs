//! What becomes of a brane, and how its record changes.
//!
//! Pure, so that every store takes and refuses the same changes.

use avvy_model::{BraneId, Visibility};

use crate::error::StoreError;
use crate::record::BraneRecord;

/// What has become of a brane. All times are in Unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Life {
    /// It can be opened.
    Active,
    /// It is kept, and nobody opens it.
    Archived {
        /// Since when.
        since_ms: u64,
        /// The brane that takes its place.
        successor: Option<BraneId>,
    },
    /// It was deleted, and can still be restored.
    Doomed {
        /// Since when.
        since_ms: u64,
        /// When it may be purged.
        purge_ms: u64,
    },
    /// Its purge has begun, and is done before anything else becomes of it.
    Purging {
        /// Since when.
        since_ms: u64,
    },
    /// Nothing is left of it but its id.
    Purged {
        /// When its purge began.
        since_ms: u64,
    },
}

impl Life {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Archived { .. } => "archived",
            Self::Doomed { .. } => "deleted",
            Self::Purging { .. } => "purging",
            Self::Purged { .. } => "purged",
        }
    }

    /// Whether it counts among the branes that its owner has.
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::Active | Self::Archived { .. })
    }

    /// Whether it has no way back.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Purging { .. } | Self::Purged { .. })
    }

    /// Whether there is something to purge at this time.
    pub const fn is_due(self, now_ms: u64) -> bool {
        match self {
            Self::Doomed { purge_ms, .. } => purge_ms <= now_ms,
            Self::Purging { .. } => true,
            Self::Active | Self::Archived { .. } | Self::Purged { .. } => false,
        }
    }

    /// The times in it.
    pub(crate) fn times(self) -> impl Iterator<Item = u64> {
        let times = match self {
            Self::Active => [None, None],
            Self::Doomed { since_ms, purge_ms } => [Some(since_ms), Some(purge_ms)],
            Self::Archived { since_ms, .. }
            | Self::Purging { since_ms }
            | Self::Purged { since_ms } => [Some(since_ms), None],
        };
        times.into_iter().flatten()
    }
}

impl BraneRecord {
    /// Whether `to` takes the place of this record, whose version is to be
    /// `was`; false if it has done so already.
    pub(crate) fn becomes(&self, to: &Self, was: u64) -> Result<bool, StoreError> {
        let fixed = |record: &Self| (record.id, record.owner, record.created_ms, record.grid);
        if fixed(self) != fixed(to) {
            return Err(StoreError::Invalid("owner, time of creation and grid never change"));
        }
        if was.checked_add(1) != Some(to.version) || to.life.is_over() {
            return Err(StoreError::Invalid("the version is another, or this is no purge"));
        }
        if self == to {
            return Ok(false);
        }
        if self.life.is_over() {
            return Err(StoreError::Inactive { brane: self.id, life: self.life });
        }
        match self.version == was {
            true => Ok(true),
            false => Err(StoreError::Changed { version: self.version }),
        }
    }

    /// How the brane's purge begins or goes on.
    pub(crate) fn purge(&self, now_ms: u64) -> Result<Purge, StoreError> {
        match self.life {
            Life::Purged { .. } => Ok(Purge::Done),
            Life::Purging { .. } => Ok(Purge::GoesOn),
            life if life.is_due(now_ms) => {
                Ok(Purge::Begins(self.ended(Life::Purging { since_ms: now_ms })))
            }
            _ => Err(StoreError::NotDue(self.id)),
        }
    }

    /// The tombstone of a brane whose purge has begun; `None` if that is none.
    pub(crate) fn tombstone(&self) -> Option<Self> {
        match self.life {
            Life::Purging { since_ms } => Some(self.ended(Life::Purged { since_ms })),
            _ => None,
        }
    }

    fn ended(&self, life: Life) -> Self {
        Self {
            visibility: Visibility::Private,
            life,
            version: self.version.saturating_add(1),
            grid: self.grid,
            kind: self.kind,
            ..Self::new(self.id, self.owner, self.created_ms)
        }
    }
}

/// What a purge is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Purge {
    /// To make this the record, to refuse all writers, and to go on.
    Begins(BraneRecord),
    /// To delete what is left, and to set the tombstone.
    GoesOn,
    /// Nothing.
    Done,
}

/// What of a record was not in it from the first version of the software on,
/// as bytes: for checksums and caches. Nothing for a record that is as it was
/// created and has neither description nor tags, so that one from before there
/// was any of this needs no new checksum.
pub(crate) fn encode_later(record: &BraneRecord) -> Vec<u8> {
    let BraneRecord { description, tags, life, by_operator, version, .. } = record;
    let mut bytes = Vec::new();
    let is_new = (*life, *by_operator, *version) == (Life::Active, false, 1);
    if is_new && description.is_empty() && tags.is_empty() {
        return bytes;
    }
    let (kind, successor) = match *life {
        Life::Active => (0, None),
        Life::Archived { successor: None, .. } => (1, None),
        Life::Archived { successor, .. } => (2, successor),
        Life::Doomed { .. } => (3, None),
        Life::Purging { .. } => (4, None),
        Life::Purged { .. } => (5, None),
    };
    bytes.extend(version.to_le_bytes());
    bytes.push(kind | if *by_operator { BY_OPERATOR } else { 0 });
    life.times().for_each(|time| bytes.extend(time.to_le_bytes()));
    successor.iter().for_each(|id| bytes.extend(id.to_bytes()));
    // The bounds of both are far below what their lengths can say.
    bytes.push(u8::try_from(tags.len()).unwrap_or(u8::MAX));
    for tag in tags {
        bytes.push(u8::try_from(tag.len()).unwrap_or(u8::MAX));
        bytes.extend(tag.as_bytes());
    }
    bytes.extend(description.as_bytes());
    bytes
}

/// The bit beside the kind of a life of a brane that an operator archived.
const BY_OPERATOR: u8 = 0x80;

/// Puts into a record what [`encode_later`] made of one; `None` if it did not.
pub(crate) fn decode_later(bytes: &[u8], mut record: BraneRecord) -> Option<BraneRecord> {
    if bytes.is_empty() {
        return Some(record);
    }
    let mut rest = bytes;
    let mut take = |count: usize| {
        let (some, more) = rest.split_at_checked(count)?;
        rest = more;
        Some(some)
    };
    let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
    record.version = number(take(8)?)?;
    let kind = *take(1)?.first()?;
    let mut time = || number(take(8)?);
    record.by_operator = kind & BY_OPERATOR != 0;
    record.life = match kind & !BY_OPERATOR {
        0 => Life::Active,
        1 => Life::Archived { since_ms: time()?, successor: None },
        2 => {
            let since_ms = time()?;
            let id = BraneId::from_bytes(take(16)?.try_into().ok()?);
            Life::Archived { since_ms, successor: Some(id) }
        }
        3 => Life::Doomed { since_ms: time()?, purge_ms: time()? },
        4 => Life::Purging { since_ms: time()? },
        5 => Life::Purged { since_ms: time()? },
        _ => return None,
    };
    let count = *take(1)?.first()?;
    for _ in 0..count {
        let length = *take(1)?.first()?;
        record.tags.push(String::from_utf8(take(length.into())?.to_vec()).ok()?);
    }
    record.description = String::from_utf8(rest.to_vec()).ok()?;
    let is_whole = record.check().is_ok() && encode_later(&record) == bytes;
    is_whole.then_some(record)
}

#[cfg(test)]
mod tests {
    use avvy_model::UserId;

    use super::*;

    fn record(life: Life, version: u64) -> BraneRecord {
        let (id, owner) = (BraneId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        BraneRecord { life, version, ..BraneRecord::new(id, owner, 7) }
    }

    #[test]
    fn a_record_becomes_the_next_once() {
        let doomed = Life::Doomed { since_ms: 1, purge_ms: 2 };
        let (there, to) = (record(Life::Active, 3), record(doomed, 4));
        assert_eq!(there.becomes(&to, 3), Ok(true));
        assert_eq!(to.becomes(&to, 3), Ok(false));
        let changed = |version| Err(StoreError::Changed { version });
        assert_eq!(record(Life::Active, 4).becomes(&to, 3), changed(4));
        assert_eq!(record(Life::Active, 2).becomes(&to, 3), changed(2));
        assert_eq!(to.becomes(&record(Life::Active, 5), 4), Ok(true), "it is restored");
        let life = Life::Purging { since_ms: 9 };
        let over = StoreError::Inactive { brane: there.id, life };
        assert_eq!(record(life, 4).becomes(&record(Life::Active, 5), 4), Err(over));
    }

    #[test]
    fn what_was_stored_before_operators_were_told_apart_is_read_as_it_was() {
        let life = Life::Archived { since_ms: 0x0102, successor: None };
        let stored = [&[3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0][..], b"old"].concat();
        let archived = BraneRecord { description: "old".to_owned(), ..record(life, 3) };
        assert_eq!(encode_later(&archived), stored);
        assert_eq!(decode_later(&stored, record(Life::Active, 1)), Some(archived.clone()));
        let by_operator = encode_later(&BraneRecord { by_operator: true, ..archived });
        assert_eq!((by_operator[8], by_operator.len()), (0x81, stored.len()));
        // Nobody archived what is active.
        let active = [&[3, 0, 0, 0, 0, 0, 0, 0, 0x80, 0][..], b"old"].concat();
        assert_eq!(decode_later(&active, record(Life::Active, 1)), None);
    }

    #[test]
    fn what_never_changes_is_refused() {
        let there = record(Life::Active, 1);
        let next = record(Life::Active, 2);
        let others = [
            BraneRecord { id: BraneId::from_bytes([3; 16]), ..next.clone() },
            BraneRecord { owner: UserId::from_bytes([3; 16]), ..next.clone() },
            BraneRecord { created_ms: 8, ..next.clone() },
            BraneRecord { version: 3, ..next.clone() },
            BraneRecord { life: Life::Purged { since_ms: 1 }, ..next },
        ];
        for other in others {
            let answer = there.becomes(&other, 1);
            assert!(matches!(answer, Err(StoreError::Invalid(_))), "{other:?}: {answer:?}");
        }
    }

    #[test]
    fn a_purge_begins_when_it_is_due() {
        let doomed = record(Life::Doomed { since_ms: 1, purge_ms: 20 }, 2);
        assert_eq!(doomed.purge(19), Err(StoreError::NotDue(doomed.id)));
        let Ok(Purge::Begins(purging)) = doomed.purge(20) else { panic!("it does not begin") };
        assert_eq!(purging, record(Life::Purging { since_ms: 20 }, 3));
        assert_eq!(purging.purge(0), Ok(Purge::GoesOn));
        let purged = record(Life::Purged { since_ms: 20 }, 4);
        assert_eq!(purging.tombstone(), Some(purged.clone()));
        assert_eq!(purged.purge(99), Ok(Purge::Done));
        let archived = record(Life::Archived { since_ms: 1, successor: None }, 2);
        assert_eq!(archived.purge(99), Err(StoreError::NotDue(archived.id)));
    }
}
