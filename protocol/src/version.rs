//! The version of the protocol.
//!
//! It rises when a message changes meaning or a new one must be understood.
//! New optional fields need no new version: unknown fields are ignored.

use avvy_model::Code;

/// The version that this crate speaks best.
pub const VERSION: u32 = 1;

/// The lowest version that it still speaks.
pub const MIN_VERSION: u32 = 1;

/// The highest version within both this crate's range and `min..=max`.
///
/// # Errors
/// [`Code::UnsupportedVersion`] when there is none.
pub fn negotiate(min: u32, max: u32) -> Result<u32, Code> {
    let best = max.min(VERSION);
    if best >= min.max(MIN_VERSION) { Ok(best) } else { Err(Code::UnsupportedVersion) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn takes_the_highest_in_common() {
        assert_eq!(negotiate(1, 1), Ok(1));
        assert_eq!(negotiate(0, 9), Ok(VERSION));
        assert_eq!(negotiate(2, 9), Err(Code::UnsupportedVersion));
        assert_eq!(negotiate(0, 0), Err(Code::UnsupportedVersion));
        assert_eq!(negotiate(9, 1), Err(Code::UnsupportedVersion));
    }
}
