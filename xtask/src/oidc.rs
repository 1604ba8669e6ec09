//! The OpenID provider of a test, fetched once and kept: packages of npm, each of
//! the version and with the hash that `server/tests/provider` has.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{debian, shell};

const PROVIDER: &str = "server/tests/provider";

/// Fetches the packages, unless they are there.
pub fn set_up() -> Result<PathBuf> {
    let folder = shell::root().join(".cache/oidc-provider");
    let lock = fs::read_to_string(format!("{PROVIDER}/package-lock.json"))
        .with_context(|| format!("cannot read what {PROVIDER} needs"))?;
    let mark = folder.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == lock) {
        return Ok(folder);
    }
    need_node()?;
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot remove the old packages")?;
    }
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(format!("{PROVIDER}/{file}"), folder.join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
    shell::call(npm.current_dir(&folder))?;
    fs::write(&mark, lock).context("cannot mark the packages as complete")?;
    Ok(folder)
}

/// Node and its package manager.
fn need_node() -> Result<()> {
    debian::need("Node 20 or later with npm", &["nodejs", "npm"], || {
        ["node", "npm"].iter().all(|it| shell::works(Command::new(it).arg("--version")))
    })
}
