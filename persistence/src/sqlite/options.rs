//! Settings of the embedded store.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// When SQLite waits for the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// At every commit: what is acknowledged survives a power cut.
    #[default]
    Full,
    /// Never: a power cut loses or destroys data. Only to prove that tests
    /// notice.
    Off,
}

impl Synchronous {
    pub(super) const fn pragma(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Off => "OFF",
        }
    }

    /// While a file is made, deletions are waited for, too.
    pub(super) const fn pragma_to_create(self) -> &'static str {
        match self {
            Self::Full => "EXTRA",
            Self::Off => "OFF",
        }
    }
}

/// Settings of the embedded store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteOptions {
    /// The data directory; made with mode 0700 if it is not there. One
    /// process at a time may have it. Default `data`.
    pub directory: PathBuf,
    /// No call waits longer for the store than this, in milliseconds; then it
    /// is answered `Timeout` and its outcome is unknown. Default 5000.
    pub store_timeout_ms: u64,
    /// The most calls that wait in one queue of the store; more are answered
    /// `Overloaded` at once. Default 1024.
    pub queue_calls: usize,
    /// The most bytes of chunks and parts that wait in one queue; more are
    /// answered `Overloaded` at once. Default 67108864 (64 MiB).
    pub queue_bytes: usize,
    /// The journal's write-ahead log is folded into the database when it is
    /// longer than this, in bytes. Larger: fewer and longer folds, a longer
    /// recovery after a crash. Default 8388608 (8 MiB).
    pub wal_bytes: u32,
    /// Threads that read. More of them let more branes open at once; each
    /// takes two connections. Default 2.
    pub readers: usize,
    /// Edits are refused while the device has less room than this, in bytes,
    /// so that compaction and openings still have some; snapshots while it has
    /// less than half. 0: never. Default 268435456 (256 MiB).
    pub min_free_bytes: u64,
    /// When SQLite waits for the device. Default `full`.
    pub synchronous: Synchronous,
    /// The SQLite VFS to go through; `None` is the system's own. For tests.
    #[serde(skip)]
    pub vfs: Option<String>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("data"),
            store_timeout_ms: 5_000,
            queue_calls: 1_024,
            queue_bytes: 64 << 20,
            wal_bytes: 8 << 20,
            readers: 2,
            min_free_bytes: 256 << 20,
            synchronous: Synchronous::Full,
            vfs: None,
        }
    }
}

impl SqliteOptions {
    /// The defaults with this data directory.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn unknown_keys_are_refused() {
        let good: SqliteOptions = toml::from_str("store_timeout_ms = 7").unwrap();
        assert_eq!(good, SqliteOptions { store_timeout_ms: 7, ..SqliteOptions::default() });
        assert!(toml::from_str::<SqliteOptions>("timeout = 7").is_err());
    }
}
