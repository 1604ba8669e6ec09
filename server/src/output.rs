//! Standard output. What reads it may be gone, as after `| head`, or full;
//! `print!` would panic there.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Context, Result};

/// Writes a text and the end of the line.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn say(text: impl Display) -> Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")
        .and_then(|()| output.flush())
        .context("standard output cannot be written")
}
