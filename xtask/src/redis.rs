//! The Redis server of the tests, fetched once and kept.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{debian, shell};

/// The version. Debian's revisions of it (`-1~deb12u7`) bring repairs only, and
/// each takes the place of the one before, whose package is gone from the
/// mirrors. So what is pinned is what stays: the version of those who write the
/// program, which it says itself. A package's SHA-256 would be wrong after the
/// next repair; that it is Debian's own is checked by `apt-get`, by signature.
const VERSION: &str = "7.0.15";
/// The packages of the program and of the libraries that it alone needs, each
/// with its version, whatever its revision is.
const PACKAGES: [&str; 4] =
    ["redis-server=5:7.0.15-*", "redis-tools=5:7.0.15-*", "libjemalloc2=5.3.0-*", "liblzf1=3.6-*"];

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
        ensure!(told.contains(&format!("v={VERSION} ")), "not Redis {VERSION}: {told}");
        Ok(())
    })?;
    Ok(program)
}
