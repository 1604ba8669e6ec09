//! Keys of indexes: bytes whose order is that of what they were made from.

use std::fmt;

use uuid::Uuid;

use super::key::to_hex;

/// The longest key of an index, in bytes.
pub const MAX_INDEX_KEY_BYTES: usize = 512;

/// Ends a text or bytes within a key. What is in them never looks like it, as a
/// zero there is followed by [`ESCAPED`]; and it is below whatever else can
/// follow, so that what is shorter comes first.
const END: [u8; 2] = [0, 1];
const ESCAPED: [u8; 2] = [0, 0xff];

/// A key of an index: a tuple, encoded so that the order of the bytes is the
/// order of the tuples, component by component. Tuples in one index are to be
/// of the same types, or those that share their beginning.
///
/// ```
/// use avvy_persistence::records::{IndexKey, KeyRange};
///
/// let of = |name: &str, nth| IndexKey::new().text(name).number(nth);
/// assert!(of("a", 9) < of("ab", 1) && of("ab", 9) < of("ab", 10));
/// assert!(KeyRange::prefix(IndexKey::new().text("ab")).holds(&of("ab", 3)));
/// assert!(!KeyRange::prefix(IndexKey::new().text("a")).holds(&of("ab", 3)));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct IndexKey(Vec<u8>);

impl IndexKey {
    /// The empty key, the first of all.
    pub fn new() -> Self {
        Self::default()
    }

    /// A key of these bytes, as they are.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Adds a text, ordered by its bytes.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds the beginning of a text: a key with which [`super::KeyRange::prefix`]
    /// finds every text that begins so. Nothing can be added after it.
    #[must_use]
    pub fn text_beginning(mut self, text: &str) -> Self {
        self.escape(text.as_bytes());
        self
    }

    /// Adds bytes, ordered as they are, the shorter first.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.escape(bytes);
        self.0.extend_from_slice(&END);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds a UUID, ordered by its bytes.
    #[must_use]
    pub fn uuid(mut self, id: Uuid) -> Self {
        self.0.extend_from_slice(id.as_bytes());
        self
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key of these digits.
    #[cfg(feature = "mongodb")]
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        super::key::from_hex(text).map(Self)
    }

    /// The bytes in hexadecimal.
    pub(crate) fn to_hex(&self) -> String {
        to_hex(&self.0)
    }

    /// The first key that does not begin with this one; `None`: there is none.
    pub(crate) fn end_of_prefix(&self) -> Option<Self> {
        let kept = self.0.iter().rposition(|byte| *byte < 0xff)?;
        let mut end = self.0[..=kept].to_vec();
        end[kept] += 1;
        Some(Self(end))
    }

    fn escape(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                0 => self.0.extend_from_slice(&ESCAPED),
                byte => self.0.push(*byte),
            }
        }
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", self.to_hex())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Tuple = (Vec<u8>, u64, String, u128);

    fn tuple() -> impl Strategy<Value = Tuple> {
        let few = prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()];
        (prop::collection::vec(few, 0..4), 0..3_u64, "[\0\u{1}a]{0,3}", any::<u128>())
    }

    fn key((bytes, number, text, id): &Tuple) -> IndexKey {
        IndexKey::new().bytes(bytes).number(*number).text(text).uuid(Uuid::from_u128(*id))
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_tuples(one in tuple(), other in tuple()) {
            prop_assert_eq!(key(&one).cmp(&key(&other)), one.cmp(&other));
            prop_assert_eq!(key(&one).to_hex().cmp(&key(&other).to_hex()), one.cmp(&other));
        }

        #[test]
        fn a_component_is_the_beginning_of_no_other(one in tuple(), other in tuple()) {
            let begin = IndexKey::new().bytes(&one.0);
            let begins = key(&other).as_bytes().starts_with(begin.as_bytes());
            prop_assert_eq!(begins, one.0 == other.0);
        }
    }

    #[test]
    fn a_prefix_ends_before_what_does_not_begin_with_it() {
        let end = |bytes: &[u8]| IndexKey::raw(bytes).end_of_prefix();
        assert_eq!(end(&[1, 2]), Some(IndexKey::raw([1, 3])));
        assert_eq!(end(&[1, 0xff, 0xff]), Some(IndexKey::raw([2])));
        assert_eq!(end(&[0xff]), None);
        assert_eq!(end(&[]), None);
    }
}
