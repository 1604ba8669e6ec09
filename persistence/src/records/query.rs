//! Listings over an index.

use std::sync::Arc;

use super::entry::{IndexKey, MAX_INDEX_KEY_BYTES};
use super::key::{RecordKey, from_hex};
use super::record::Record;
use super::{MAX_LISTED, MAX_PAGE_BYTES};
use crate::error::StoreError;

/// Which stretch of an index is listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The index.
    pub index: &'static str,
    /// The keys.
    pub range: KeyRange,
    /// From which end.
    pub order: Order,
    /// Only what comes after this; [`RecordPage::next`] of the page before.
    pub after: Option<Cursor>,
    /// The most records, which is cut to 1..=[`MAX_LISTED`]. There are less on a
    /// page that would become longer than [`MAX_PAGE_BYTES`].
    pub limit: u32,
}

impl Query {
    /// The first records of an index under these keys.
    pub const fn new(index: &'static str, range: KeyRange) -> Self {
        Self { index, range, order: Order::Ascending, after: None, limit: MAX_LISTED }
    }

    /// The same from the other end.
    #[must_use]
    pub fn descending(self) -> Self {
        Self { order: Order::Descending, ..self }
    }

    /// The same after a cursor.
    #[must_use]
    pub fn after(self, after: Option<Cursor>) -> Self {
        Self { after, ..self }
    }

    /// The same, so many at most.
    #[must_use]
    pub fn limit(self, limit: u32) -> Self {
        Self { limit, ..self }
    }

    /// The entries from one on and before another, in their order; `None`: there
    /// can be none.
    pub(crate) fn stretch(&self) -> Option<Stretch> {
        let mut from = (self.range.from.clone(), RecordKey::least());
        let mut to = self.range.to.clone().map(|to| (to, RecordKey::least()));
        if let Some(Cursor { key, record }) = &self.after {
            match self.order {
                Order::Ascending => from = from.max((key.clone(), record.successor())),
                Order::Descending => {
                    let before = (key.clone(), record.clone());
                    to = Some(to.map_or(before.clone(), |to| to.min(before)));
                }
            }
        }
        to.as_ref().is_none_or(|to| from < *to).then_some(Stretch { from, to })
    }

    pub(crate) fn limit_of_page(&self) -> usize {
        self.limit.clamp(1, MAX_LISTED) as usize
    }
}

/// A stretch of an index, with keys that none has at its ends.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    pub(crate) from: (IndexKey, RecordKey),
    /// It is not part of it.
    pub(crate) to: Option<(IndexKey, RecordKey)>,
}

/// The order of a listing: by index key, then by record key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// Keys of an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRange {
    /// The first.
    pub from: IndexKey,
    /// The first after the last; `None`: there is no last.
    pub to: Option<IndexKey>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self { from: IndexKey::new(), to: None }
    }

    /// The keys that begin with this one.
    pub fn prefix(prefix: IndexKey) -> Self {
        Self { to: prefix.end_of_prefix(), from: prefix }
    }

    /// This key alone.
    pub fn exactly(key: IndexKey) -> Self {
        let to = IndexKey::raw([key.as_bytes(), &[0]].concat());
        Self { from: key, to: Some(to) }
    }

    /// Those from one up to, and without, another.
    pub const fn between(from: IndexKey, to: IndexKey) -> Self {
        Self { from, to: Some(to) }
    }

    /// Whether a key is one of them.
    pub fn holds(&self, key: &IndexKey) -> bool {
        *key >= self.from && self.to.as_ref().is_none_or(|to| key < to)
    }
}

/// A place in a listing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cursor {
    /// The index key of the last record seen.
    pub key: IndexKey,
    /// Its own key.
    pub record: RecordKey,
}

impl Cursor {
    /// As text without spaces, for those who ask for the next page.
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.key.to_hex(), self.record)
    }

    /// The cursor of this text; `None` if it is none.
    pub fn from_text(text: &str) -> Option<Self> {
        let (key, record) = text.split_once('.')?;
        let key = from_hex(key).filter(|key| key.len() <= MAX_INDEX_KEY_BYTES)?;
        Some(Self { key: IndexKey::raw(key), record: RecordKey::new(record)? })
    }
}

/// A record on a page.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// The index key under which it was found.
    pub key: IndexKey,
    /// The record.
    pub record: Arc<Record>,
}

/// A page of a listing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RecordPage {
    /// The records, in the order asked for. One that has several keys in the
    /// range is there for each.
    pub found: Vec<Listed>,
    /// Where the next page begins; `None`: nothing follows.
    pub next: Option<Cursor>,
}

/// Fills a page.
pub(crate) struct PageBuilder {
    limit: usize,
    bytes: usize,
    page: RecordPage,
}

impl PageBuilder {
    pub(crate) fn new(query: &Query) -> Self {
        Self { limit: query.limit_of_page(), bytes: 0, page: RecordPage::default() }
    }

    /// Takes the next live record, whose content has this length; false when
    /// the page is full, and this one follows.
    pub(crate) fn take(&mut self, key: IndexKey, record: Record, bytes: usize) -> bool {
        let RecordPage { found: all, next } = &mut self.page;
        let is_full = all.len() >= self.limit || self.bytes + bytes > MAX_PAGE_BYTES;
        if is_full && let Some(last) = all.last() {
            *next = Some(Cursor { key: last.key.clone(), record: last.record.key.clone() });
            return false;
        }
        self.bytes += bytes;
        all.push(Listed { key, record: Arc::new(record) });
        true
    }

    pub(crate) fn finish(self) -> RecordPage {
        self.page
    }
}

/// Says that a listing leaves a damaged record out; other errors end it.
pub(crate) fn left_out(error: StoreError) -> Result<(), StoreError> {
    match error {
        StoreError::Damaged { place, why } => {
            tracing::error!(%place, why, "a listing leaves a record out");
            Ok(())
        }
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cursors_come_back_as_text() {
        let record = RecordKey::new("a.b").unwrap();
        let cursor = Cursor { key: IndexKey::new().text("x y"), record };
        assert!(!cursor.to_text().contains(' '));
        assert_eq!(Cursor::from_text(&cursor.to_text()), Some(cursor));
        let long = format!("{}.a", "00".repeat(MAX_INDEX_KEY_BYTES + 1));
        for bad in ["", ".", "00", "0.a", "00.", "00.a b", &long] {
            assert_eq!(Cursor::from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn ranges_hold_what_they_say() {
        let key = |bytes: &[u8]| IndexKey::raw(bytes);
        assert!(KeyRange::all().holds(&key(&[])) && KeyRange::all().holds(&key(&[0xff; 9])));
        let one = KeyRange::exactly(key(&[1]));
        assert!(one.holds(&key(&[1])) && !one.holds(&key(&[1, 0])) && !one.holds(&key(&[0])));
        let prefix = KeyRange::prefix(key(&[0xff]));
        assert!(prefix.holds(&key(&[0xff, 0xff])) && !prefix.holds(&key(&[0xfe, 0xff])));
    }
}
