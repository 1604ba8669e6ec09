//! Programs and libraries out of Debian's own packages, unpacked beside the
//! build rather than installed: nothing of the system's starts, and no rights
//! are needed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

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
