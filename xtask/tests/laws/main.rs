//! The laws of the house (see `docs/ARCHITECTURE.md`): which room may know
//! what. A law that a machine can check is checked here.
#![allow(clippy::unwrap_used)]

mod dependencies;
mod rooms;
mod sources;

use std::path::{Path, PathBuf};

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
