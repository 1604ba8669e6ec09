//! Power cuts for SQLite: a VFS that remembers what was synced.
//!
//! After `kill -9` the page cache is still there, so everything written is
//! found again, synced or not; that proves less than it seems. Under this VFS
//! every file `X` has an image `X.synced` beside it that is brought up to
//! date at each `xSync` of `X` and at nothing else. [`restore`] puts the
//! images in place of the files: then the directory is what a power cut would
//! have left. It works in the process that wrote, after [`cut`], and in
//! another one after the writer was killed; a kill in the middle of an `xSync`
//! leaves an image in between, as a cut in the middle of a sync would.
//!
//! A file's creation and truncation are as durable as its next sync, and so
//! is a deletion that was not asked to sync the directory. The device itself
//! is not waited for: killing a process does not lose its page cache, and the
//! tests are the faster for it. Never for service.
//!
//! While the power is on, single operations can fail ([`fail_after`]), and the
//! room for a directory can be bounded ([`limit`]).
//!
//! What a real device adds is that any part of the unsynced writes may be
//! there nevertheless: [`Keep::Some`] draws such parts, sector by sector.

mod image;
mod restore;
mod vfs;

pub use image::{Failure, cut, cut_after, fail_after, is_cut, is_failing, limit};
pub use restore::{Keep, Restored, restore};
pub use vfs::register;
