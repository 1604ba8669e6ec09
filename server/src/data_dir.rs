//! The data directory: what lies where, and who may read it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The file in which a running server says where it is.
const RUNNING_FILE: &str = "running.json";

/// What a running server leaves for `avvyland demo` and the like. Secret: it
/// holds a token.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Running {
    /// Where HTTP and WebSocket are served, such as `http://127.0.0.1:7878`.
    pub url: String,
    /// A token for development, if there is one.
    pub token: Option<String>,
    /// The demo brane, if there is one.
    pub demo_brane: Option<Uuid>,
    /// The server's process id.
    pub pid: u32,
}

impl Running {
    /// Writes it for its owner only.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, data_dir: &Path) -> Result<()> {
        write_secret(&running_file(data_dir), &serde_json::to_string_pretty(self)?)
    }

    /// Reads what the server on this directory wrote.
    ///
    /// # Errors
    /// When there is none, or it is not readable.
    pub fn read(data_dir: &Path) -> Result<Self> {
        let file = running_file(data_dir);
        let text = fs::read_to_string(&file).with_context(|| {
            format!("no server runs on {}: cannot read {}", data_dir.display(), file.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))
    }

    /// Takes it away, at the server's end.
    pub fn remove(data_dir: &Path) {
        // A file that stays is wrong, but harmless: nobody answers there.
        let _ = fs::remove_file(running_file(data_dir));
    }
}

fn running_file(data_dir: &Path) -> PathBuf {
    data_dir.join(RUNNING_FILE)
}

/// Makes the directory, for its owner only.
///
/// # Errors
/// When it cannot be made.
pub fn prepare(data_dir: &Path) -> Result<()> {
    let made = !data_dir.exists();
    fs::create_dir_all(data_dir)
        .with_context(|| format!("cannot make the data directory {}", data_dir.display()))?;
    if made {
        fs::set_permissions(data_dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Reads a file that only its owner may read; `None`: there is none.
///
/// # Errors
/// When the file cannot be read, or others may read it.
pub fn read_secret(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => {
            let mode = fs::metadata(file)?.permissions().mode();
            if mode & 0o077 != 0 {
                bail!(
                    "{} may be read by others (mode {:o}); whoever has it can be anyone: chmod 600",
                    file.display(),
                    mode & 0o777
                );
            }
            Ok(Some(text))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// 32 random bytes for a secret.
///
/// # Errors
/// When the system has none.
pub fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system has no random numbers")?;
    Ok(bytes)
}

/// Writes a file whole or not at all, mode 0600.
///
/// # Errors
/// When it cannot be written.
pub fn write_secret(file: &Path, text: &str) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let temporary = file.with_extension("new");
        let _ = fs::remove_file(&temporary);
        let mut options = OpenOptions::new();
        let mut out = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&temporary, file)?;
        if let Some(directory) = file.parent() {
            fs::File::open(directory)?.sync_all()?;
        }
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}
