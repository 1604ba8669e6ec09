//! For the crash test, and not in what is shipped (feature `powercut`): with
//! `AVVYLAND_POWERCUT` in the environment the store writes through a VFS that
//! remembers what was synced, so that a killed server's data directory can be
//! put into the state that a power cut would have left.

use anyhow::{Result, bail};
use avvy_persistence::powercut;
use avvy_persistence::sqlite::{SqliteOptions, Synchronous};

/// `full`, or `off` for a store that does not sync, which must be found out.
const VARIABLE: &str = "AVVYLAND_POWERCUT";

/// The options with that VFS, if it is asked for.
pub fn through(options: SqliteOptions) -> Result<SqliteOptions> {
    let Some(value) = std::env::var_os(VARIABLE) else { return Ok(options) };
    let synchronous = match value.to_str() {
        Some("full") => Synchronous::Full,
        Some("off") => Synchronous::Off,
        _ => bail!("{VARIABLE} is {value:?}, and has to be full or off"),
    };
    let vfs = Some(powercut::register()?.to_owned());
    // The crash test looks for this line.
    tracing::warn!("the store remembers what was synced, for power cuts; not for service");
    Ok(SqliteOptions { synchronous, vfs, ..options })
}
