//! Bytes from outside, thrown at everything that reads them.
//!
//! A [`Target`] takes any bytes and panics when what reads them panics or does
//! not keep its word: what was read must be written and read again as the
//! same. A corpus, the file `corpus/NAME`, holds inputs that together reach
//! all that a fuzzer has reached so far, each behind its length in four bytes
//! (big endian). The tests replay them, and `cargo xtask fuzz NAME` goes on
//! from there. What nobody would come upon by chance is among a target's seeds,
//! which are made of what writes it.

mod api;
mod bodies;
mod cache;
mod documents;
mod identity;
mod log;
mod messages;
mod queries;
mod served;
mod server;
mod settings;
mod stores;
mod tokens;
mod values;
mod worlds;

/// Something that reads bytes from outside.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Reads the bytes. Panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Whether a run takes sockets or files, and so about a millisecond.
    pub is_slow: bool,
    /// Makes inputs to begin with, beside the corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const fn quick(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, is_slow: false, seeds: Vec::new }
}

const fn slow(name: &'static str, run: fn(&[u8])) -> Target {
    Target { is_slow: true, ..quick(name, run) }
}

impl Target {
    const fn seeded(self, seeds: fn() -> Vec<Vec<u8>>) -> Self {
        Self { seeds, ..self }
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    quick("client-message", messages::client_message),
    quick("server-message", messages::server_message),
    quick("server-says", messages::server_says),
    quick("rest-cbor", bodies::cbor).seeded(bodies::cbor_seeds),
    quick("rest-json", bodies::json).seeded(bodies::json_seeds),
    quick("query", queries::query).seeded(queries::seeds),
    quick("json", messages::json),
    slow("http", served::http).seeded(served::http_seeds),
    slow("websocket", served::websocket),
    slow("config", settings::config),
    slow("store", stores::store),
    quick("spool", stores::spool),
    quick("record", stores::record_of_others),
    quick("cache", cache::cache).seeded(cache::seeds),
    quick("documents", documents::documents).seeded(documents::seeds),
    quick("value", values::value),
    quick("props", values::props),
    quick("token", tokens::token),
    quick("sign-in", identity::sign_in),
    quick("jwks", identity::jwks),
    quick("discovery", identity::discovery),
    quick("token-answer", identity::token_answer),
    quick("id-token", identity::id_token),
    quick("journal", log::journal),
    quick("snapshot", log::snapshot),
    quick("world", worlds::world),
];

/// An input of a first byte and what follows it.
fn after(first: u8, rest: &[u8]) -> Vec<u8> {
    [&[first], rest].concat()
}

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
