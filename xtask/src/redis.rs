//! The Redis server of the tests, fetched once and kept.
//!
//! From Debian's own packages, unpacked beside the build rather than
//! installed: nothing of the system's starts, and no rights are needed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell;

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
    let new = folder.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new).context("cannot make a folder in .cache")?;
    let download = || {
        let mut apt = Command::new("apt-get");
        shell::call(apt.current_dir(&new).args(["download", "--quiet"]).args(PACKAGES))
    };
    if download().is_err() {
        // A fresh system knows no packages; only root can tell it of them.
        shell::call(Command::new("apt-get").args(["update", "--quiet"]))?;
        download()?;
    }
    for entry in fs::read_dir(&new)? {
        let package = entry?.path();
        if package.extension().is_some_and(|name| name == "deb") {
            shell::call(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&new))?;
            fs::remove_file(package)?;
        }
    }
    let mut redis = Command::new(new.join("usr/bin/redis-server"));
    let told = shell::read(redis.arg("--version").env("LD_LIBRARY_PATH", libraries_in(&new)?))?;
    ensure!(told.contains(&format!("v={VERSION}.")), "not Redis {VERSION}: {told}");
    fs::rename(&new, &folder).context("cannot put Redis in its place")?;
    Ok(program)
}
