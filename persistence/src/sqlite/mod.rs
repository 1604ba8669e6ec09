//! The embedded store: SQLite in a data directory.
//!
//! ```text
//! data/                    0700
//!   avvyland.sqlite        branes, heads, lineages, chunks, snapshot entries, meta,
//!                          the tails that openings cut, with their chunks, and
//!                          records
//!   snapshots.sqlite       the parts of snapshots
//!   *-wal, *-shm           SQLite's logs and their indices, while it is open
//!   avvyland.lock          held by the process that has the directory
//! ```
//!
//! Both files are in WAL mode with `synchronous=FULL`. Every row has a
//! checksum, because SQLite has none of its pages; the structure of the small
//! tables is checked whole at the start, and the logs are read before SQLite
//! reads them, because it drops what it does not understand.
//!
//! The sqlite3 program can read all of it; the view `journal` lists the chunks.
//! Space that compaction frees is used again, not given back: the files keep
//! the size of their busiest time until somebody runs `VACUUM` on them while
//! the store is closed.
//!
//! One thread writes the journal and records, one the parts, one folds the journal's log,
//! some read. All of them end, and the directory is let go, when the store is
//! closed or dropped.

mod change;
mod compact;
mod connection;
mod cut;
mod directory;
mod entries;
mod fault;
mod fold;
mod import;
mod inspection;
mod journal;
mod options;
mod parts;
mod read_only;
mod reader;
mod readers;
mod records;
mod room;
mod rows;
mod schema;
mod snapshots;
mod start;
mod store;
mod upkeep;
mod wal;
mod worker;

pub use options::{SqliteOptions, Synchronous};
pub use read_only::SqliteReader;
pub use start::SqliteStore;
