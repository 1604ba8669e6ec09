//! The library by which a test sets the clock of one process off, fetched once
//! and kept.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::{debian, shell};

/// The version; Debian's revisions of it bring repairs only.
const VERSION: &str = "0.9.10";

fn folder() -> PathBuf {
    shell::root().join(".cache/faketime").join(VERSION)
}

/// Fetches the library, unless it is there.
pub fn set_up() -> Result<PathBuf> {
    let folder = folder();
    if !folder.exists() {
        debian::fetch(&["libfaketime=0.9.10-*"], &folder, |new| {
            let libraries = std::fs::read_dir(new.join("usr/lib"))?.flatten();
            let library = |entry: std::fs::DirEntry| entry.path().join("faketime/libfaketime.so.1");
            let is_there = libraries.map(library).any(|path| path.exists());
            ensure!(is_there, "the package has another form");
            Ok(())
        })?;
    }
    Ok(folder)
}
