//! The settings of what is kept between the store and those who ask, and of
//! what several servers share.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;
use super::sections::{MIB, section};

section! {
    /// What is kept of the store's answers.
    Cache {
        /// Values of each kind kept in the process.
        max_entries: u32 = 16_384,
        /// Bytes of the values of each kind, roughly.
        max_bytes: u64 = 16 * MIB,
        /// How long the process keeps a value before it asks again, in milliseconds.
        ttl_ms: u64 = 5_000,
        /// How long it is kept that there is no such value, in milliseconds.
        missing_ttl_ms: u64 = 1_000,
        /// How long a value may be served at all, whatever was lost, in milliseconds.
        max_stale_ms: u64 = 30_000,
        /// How long one server waits for what another one loads, in milliseconds.
        load_wait_ms: u64 = 100,
        /// How eagerly values are loaded anew before they end; 0: never.
        early_percent: u32 = 100,
    }
}

section! {
    /// What several servers share.
    Redis {
        /// The address of Redis; empty: none.
        url: Secret = Secret::default(),
        /// PEM file of the certificates that Redis' own has to lead to; empty: the
        /// public authorities.
        tls_ca_file: PathBuf = PathBuf::new(),
        /// What all names in Redis begin with.
        namespace: String = "avvyland".to_owned(),
        /// How long a call may take, in milliseconds.
        timeout_ms: u64 = 100,
        /// Calls under way at once.
        max_in_flight: u32 = 256,
        /// How long who loads a value has the right to put it, in milliseconds.
        lease_ms: u64 = 1_000,
        /// How long Redis is left alone after failures, at first, in milliseconds.
        retry_ms: u64 = 500,
    }
}
