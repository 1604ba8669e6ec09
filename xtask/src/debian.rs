//! Programs and libraries out of Debian's own packages. Most are unpacked beside
//! the build rather than installed: nothing of the system's starts, and no rights
//! are needed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Fetches these packages into a folder, which is there whole or not at all.
/// `check` looks at what was fetched before that.
pub fn fetch(
    packages: &[&str],
    folder: &Path,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let new = folder.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new).context("cannot make a folder in .cache")?;
    let download = || {
        let mut apt = Command::new("apt-get");
        shell::call(apt.current_dir(&new).args(["download", "--quiet"]).args(packages))
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
    check(&new)?;
    fs::rename(&new, folder).with_context(|| format!("cannot put {} there", folder.display()))
}

/// Sees to what cannot be unpacked: installs these packages unless it is there,
/// where this user may.
///
/// # Errors
/// If it is not there then, with the packages' names.
pub fn need(what: &str, packages: &[&str], is_there: impl Fn() -> bool) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    let names = packages.join(" ");
    let needed = format!("{what} is needed (Debian: apt-get install {names})");
    if !shell::may_install() {
        bail!(needed);
    }
    install(packages).context(needed)?;
    if is_there() { Ok(()) } else { bail!("{names} is installed and there still is no {what}") }
}

fn install(packages: &[&str]) -> Result<()> {
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    shell::call(apt().args(["update", "--quiet"]))?;
    let install = ["install", "--quiet", "--yes", "--no-install-recommends"];
    shell::call(apt().args(install).args(packages))
}

/// What builds the allocator, besides the C compiler that Rust itself needs.
/// Only on Linux there is one to build.
pub fn need_make() -> Result<()> {
    if cfg!(not(target_os = "linux")) {
        return Ok(());
    }
    need("make", &["make"], || shell::works(Command::new("make").arg("--version")))
}

/// What the lines of the documents ask a server with.
pub fn need_curl() -> Result<()> {
    need("curl", &["curl"], || shell::works(Command::new("curl").arg("--version")))
}
