//! What those who mean no good can make the server hold.

use super::Config;

const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;

/// The program itself, its threads, its store's caches.
const BASE: u64 = 64 * MIB;
/// A connection beside its head: state, the hello of a stranger, the buffers
/// of TLS.
const CONNECTION: u64 = 64 * KIB;
/// A page of objects on its way.
const PAGE: u64 = 2 * MIB;
/// An address that is told apart: its rates and places.
const ADDRESS: u64 = 320;
/// Buffers grow by doubling, and what is decoded takes up to twice its bytes.
const GROWTH: u64 = 2;

impl Config {
    /// The most bytes of memory that clients without a good token can make
    /// the server hold, whatever they do, the program itself included.
    pub const fn strangers_memory_bytes(&self) -> u64 {
        let limits = &self.limits;
        let connection = limits.http_max_header_bytes + CONNECTION;
        BASE + limits.max_connections as u64 * connection + limits.max_addresses as u64 * ADDRESS
    }

    /// The same when every session belongs to somebody who means no good and
    /// has a good token. What branes hold is not in it.
    pub const fn hostile_memory_bytes(&self) -> u64 {
        let limits = &self.limits;
        let session =
            limits.max_message_bytes + limits.max_bytes_in_flight + self.session.outbox_max_bytes;
        self.strangers_memory_bytes()
            + GROWTH * limits.http_max_bodies_bytes
            + limits.http_max_pages as u64 * PAGE
            + limits.max_sessions as u64 * GROWTH * session
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/HOSTILE.md` names both bounds of the defaults.
    #[test]
    fn the_bounds_in_the_docs_are_these() {
        let text = include_str!("../../../docs/HOSTILE.md");
        let config = Config::default();
        for bytes in [config.strangers_memory_bytes(), config.hostile_memory_bytes()] {
            let stated = format!("{} MiB", bytes.div_ceil(MIB));
            assert!(text.contains(&stated), "{stated}");
        }
    }
}
