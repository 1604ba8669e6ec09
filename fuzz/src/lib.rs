//! Bytes from outside, thrown at everything that reads them.
//!
//! A [`Target`] takes any bytes and panics when what reads them panics or does
//! not keep its word: what was read must be written and read again as the
//! same. A corpus, the file `corpus/NAME`, holds inputs that together reach
//! all that a fuzzer has reached so far, each behind its length in four bytes
//! (big endian). The tests replay them, and `cargo xtask fuzz NAME` goes on
//! from there.

mod log;
mod messages;
mod tokens;
mod values;
mod worlds;

/// Something that reads bytes from outside.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Reads the bytes. Panics when a promise is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "client-message", run: messages::client_message },
    Target { name: "server-message", run: messages::server_message },
    Target { name: "server-says", run: messages::server_says },
    Target { name: "rest-cbor", run: messages::rest_cbor },
    Target { name: "rest-json", run: messages::rest_json },
    Target { name: "value", run: values::value },
    Target { name: "props", run: values::props },
    Target { name: "token", run: tokens::token },
    Target { name: "journal", run: log::journal },
    Target { name: "snapshot", run: log::snapshot },
    Target { name: "world", run: worlds::world },
];

/// Cuts an input into pieces, each behind its length in two bytes (big
/// endian); what is left at the end is the last one.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        bytes = rest;
        Some(piece)
    })
}
