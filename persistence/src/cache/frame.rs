//! What stands under a key of the shared tier: a value, that there is none, or
//! the lease of whoever loads it.
//!
//! A value says when the store was asked for it and until when it may be
//! served, both on the clock of the shared tier, so that every reader holds it
//! to its own bound as well. Its checksum covers the key, so that nothing is
//! taken for another.

use bytes::Bytes;

use crate::checksum::Header;

/// The first byte.
const VALUE: u8 = b'V';
const LEASE: u8 = b'L';

/// Times, a flag and the checksum.
const FIXED: usize = 1 + 8 + 8 + 1 + 8;

/// A value, with its times in milliseconds of the shared clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    /// A moment at which the store had not been asked yet.
    pub asked_ms: u64,
    /// When it ends.
    pub until_ms: u64,
    /// `None`: there is none.
    pub body: Option<Bytes>,
}

impl Frame {
    pub(crate) fn encode(&self, key: &str) -> Vec<u8> {
        let body = self.body.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(FIXED + body.len());
        bytes.push(VALUE);
        bytes.extend_from_slice(&self.asked_ms.to_le_bytes());
        bytes.extend_from_slice(&self.until_ms.to_le_bytes());
        bytes.push(u8::from(self.body.is_some()));
        bytes.extend_from_slice(&self.checksum(key).to_le_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// `None` for what is no value: a lease, or bytes that are damaged.
    pub(crate) fn decode(key: &str, bytes: &Bytes) -> Option<Self> {
        let (&VALUE, rest) = bytes.split_first()? else { return None };
        let (asked, rest) = rest.split_first_chunk::<8>()?;
        let (until, rest) = rest.split_first_chunk::<8>()?;
        let (&flag, rest) = rest.split_first()?;
        let (checksum, body) = rest.split_first_chunk::<8>()?;
        let body = match flag {
            0 if body.is_empty() => None,
            1 => Some(bytes.slice(FIXED..)),
            _ => return None,
        };
        let (asked_ms, until_ms) = (u64::from_le_bytes(*asked), u64::from_le_bytes(*until));
        let frame = Self { asked_ms, until_ms, body };
        (frame.checksum(key) == u64::from_le_bytes(*checksum)).then_some(frame)
    }

    fn checksum(&self, key: &str) -> u64 {
        let header = Header::new(b"AVVYcach").number(self.asked_ms).number(self.until_ms);
        let header = header.number(self.body.is_some().into());
        header.bytes(key.as_bytes()).seal(self.body.as_deref().unwrap_or_default())
    }
}

/// The lease of this number, drawn by a process.
pub(crate) fn lease(process: u64, nth: u64) -> Vec<u8> {
    let mut bytes = vec![LEASE];
    bytes.extend_from_slice(&process.to_le_bytes());
    bytes.extend_from_slice(&nth.to_le_bytes());
    bytes
}

/// Whether somebody loads it.
pub(crate) fn is_lease(bytes: &[u8]) -> bool {
    bytes.first() == Some(&LEASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: Option<&'static [u8]>) -> Frame {
        Frame { asked_ms: 1, until_ms: 2, body: body.map(Bytes::from_static) }
    }

    #[test]
    fn comes_back_as_it_was() {
        for body in [None, Some(&b""[..]), Some(b"value")] {
            let bytes = Bytes::from(frame(body).encode("k"));
            assert_eq!(Frame::decode("k", &bytes), Some(frame(body)));
            assert_eq!(Frame::decode("other", &bytes), None);
        }
    }

    #[test]
    fn what_was_changed_is_no_value() {
        let bytes = frame(Some(b"value")).encode("k");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Frame::decode("k", &changed.into()), None, "{at}");
            assert_eq!(Frame::decode("k", &Bytes::copy_from_slice(&bytes[..at])), None, "{at}");
        }
    }

    #[test]
    fn nothing_follows_where_there_is_none() {
        let bytes = [frame(None).encode("k"), b"more".to_vec()].concat();
        assert_eq!(Frame::decode("k", &bytes.into()), None);
    }

    #[test]
    fn a_lease_is_no_value() {
        let bytes = Bytes::from(lease(1, 2));
        assert!(is_lease(&bytes) && Frame::decode("k", &bytes).is_none());
        assert_ne!(lease(1, 2), lease(2, 1));
        assert!(!is_lease(&frame(None).encode("k")));
    }
}
