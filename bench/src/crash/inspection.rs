//! `avvyland inspect`, as the crash test reads it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use avvy_model::{BraneId, Seq};
use serde::Deserialize;

/// What a data directory holds, found to be in order.
#[derive(Deserialize)]
pub(super) struct Inspection {
    branes: Vec<Brane>,
}

#[derive(Deserialize)]
struct Brane {
    id: String,
    head: u64,
    state_hash: Option<String>,
}

impl Inspection {
    /// Looks at a data directory that no server has open.
    ///
    /// # Errors
    /// When it is not in order.
    pub(super) fn take(binary: &Path, data: &Path, settings: &[(String, String)]) -> Result<Self> {
        let mut command = Command::new(binary);
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        command.args(["inspect", "--json", "--data"]).arg(data);
        let output = command.output().context("running `avvyland inspect`")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the data are not in order: {text}{errors}");
        serde_json::from_str(&text).context("reading what `avvyland inspect` says")
    }

    /// The same of a copy, which is removed: opening the data directory itself
    /// would change what is known to be synced.
    ///
    /// # Errors
    /// When it is not in order.
    pub(super) fn take_of_copy(
        binary: &Path,
        data: &Path,
        settings: &[(String, String)],
    ) -> Result<Self> {
        let copy = data.with_extension("copy");
        copy_files(data, &copy)?;
        let found = Self::take(binary, &copy, settings)?;
        fs::remove_dir_all(&copy)?;
        Ok(found)
    }

    fn brane(&self, id: BraneId) -> Result<&Brane> {
        let id = id.to_string();
        self.branes.iter().find(|brane| brane.id == id).context("the brane is gone")
    }

    /// The end of a brane's log.
    pub(super) fn head(&self, id: BraneId) -> Result<Seq> {
        Ok(Seq(self.brane(id)?.head))
    }

    /// The state hash of a brane as it would open.
    pub(super) fn state_hash(&self, id: BraneId) -> Result<[u8; 16]> {
        let text = self.brane(id)?.state_hash.as_ref().context("the brane does not open")?;
        let hash = u128::from_str_radix(text, 16).context("a state hash is hexadecimal")?;
        Ok(hash.to_be_bytes())
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
