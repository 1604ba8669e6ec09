//! Reads what nodes share, for whoever throws any bytes at it. Each function
//! gives what it has read written again, or `None` for what it refuses.

use bytes::Bytes;

use super::frame::{Frame, is_lease, lease};
use super::notice::Notice;
use super::set::{self, Member};

/// What stands under a key: the body of a value, and its frame.
pub fn frame(key: &str, bytes: &Bytes) -> Option<(Option<Bytes>, Vec<u8>)> {
    let frame = Frame::decode(key, bytes)?;
    assert!(!is_lease(bytes), "a lease is no value");
    let written = frame.encode(key);
    Some((frame.body, written))
}

/// A value and a lease as they are put under a key.
pub fn framed(key: &str, asked_ms: u64, until_ms: u64, body: Option<Bytes>) -> [Vec<u8>; 2] {
    [Frame { asked_ms, until_ms, body }.encode(key), lease(asked_ms, until_ms)]
}

/// A notice.
pub fn notice(bytes: &[u8]) -> Option<String> {
    Notice::decode(bytes).map(|notice| notice.encode())
}

/// A page of a set: its members, and the pages that these take.
pub fn page(bytes: &[u8]) -> Option<(Vec<Member>, Vec<Bytes>)> {
    let mut members = Vec::new();
    set::decode(bytes, &mut members)?;
    let pages = set::encode(&members);
    Some((members, pages))
}
