//! Whose turn it is to start and end programs in a fleet's folder.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

const FILE: &str = "turn.lock";

/// A turn, until it is dropped or its process ends, however that ends.
pub(super) struct Turn {
    _file: File,
}

impl Turn {
    /// Takes it.
    ///
    /// # Errors
    /// When another process has it: says which one.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let wrong = || format!("cannot use {}", path.display());
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).with_context(wrong)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                file.read_to_string(&mut process).with_context(wrong)?;
                bail!(
                    "the fleet in {} is being started or ended by process {}: nothing was done; \
                     repeat this when it has finished, or give another --folder and --port",
                    folder.display(),
                    process.trim(),
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(wrong),
        }
        file.set_len(0).with_context(wrong)?;
        file.rewind().with_context(wrong)?;
        writeln!(file, "{}", std::process::id()).with_context(wrong)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_it() {
        let folder = std::env::temp_dir().join(format!("avvy-xtask-{}-turn", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let turn = Turn::take(&folder).expect("it is free");
        let error = Turn::take(&folder).err().expect("it is taken").to_string();
        assert!(error.contains(&format!("by process {}:", std::process::id())), "{error}");
        drop(turn);
        drop(Turn::take(&folder).expect("it is free again"));
        std::fs::remove_dir_all(folder).expect("the folder is there");
    }
}
