//! The Redis server of the tests, fetched once and kept.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{debian, shell};

/// The version; Debian's revisions of it bring repairs only.
const VERSION: &str = "7.0";
/// The packages of the program and of the libraries that it alone needs.
const PACKAGES: [&str; 4] = ["redis-server", "redis-tools", "libjemalloc2", "liblzf1"];

fn folder() -> PathBuf {
    shell::root().join(".cache/redis").join(VERSION)
}

/// Where the libraries of the fetched program lie, as a search path of the
/// loader.
pub fn libraries() -> Result<OsString> {
    libraries_in(&folder())
}

fn libraries_in(folder: &Path) -> Result<OsString> {
    let folders = fs::read_dir(folder.join("usr/lib"))?;
    let folders = folders.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(std::env::join_paths(folders.filter(|path| path.is_dir()))?)
}

/// Fetches the program, unless it is there.
pub fn set_up() -> Result<PathBuf> {
    let folder = folder();
    let program = folder.join("usr/bin/redis-server");
    if program.exists() {
        return Ok(program);
    }
    debian::fetch(&PACKAGES, &folder, |new| {
        let mut redis = Command::new(new.join("usr/bin/redis-server"));
        let told = shell::read(redis.arg("--version").env("LD_LIBRARY_PATH", libraries_in(new)?))?;
        ensure!(told.contains(&format!("v={VERSION}.")), "not Redis {VERSION}: {told}");
        Ok(())
    })?;
    Ok(program)
}
