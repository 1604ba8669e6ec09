//! The wire: every message between client and server, and its bytes.
//!
//! [`message`] and [`people`] hold the messages as types, [`codec`] their CBOR, [`rest`] the
//! bodies of HTTP, [`frame`] WebSocket frames made once for many sockets, and
//! [`close`] the reasons for which a connection ends. `PROTOCOL.md` says the
//! same to whoever writes a client; the files under `vectors/` hold both to it.
//!
//! Nothing here knows a socket or a clock. Whatever bytes come in, decoding
//! ends in a message or a typed error, in memory bounded by their length.

pub mod close;
pub mod codec;
pub mod frame;
pub mod json;
mod level;
pub mod message;
pub mod people;
pub mod rest;
mod version;

pub use codec::{DecodeError, DecodeLimits, PartialUpdate};
pub use level::{Level, LevelReason};
pub use message::*;
pub use people::*;
pub use version::{MIN_VERSION, VERSION, negotiate};

/// As much of the start of a text as fits into `max` bytes.
fn clip(text: &str, max: usize) -> &str {
    let fits = |&end: &usize| text.is_char_boundary(end);
    &text[..(0..=max.min(text.len())).rev().find(fits).unwrap_or(0)]
}
