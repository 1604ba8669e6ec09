//! What commands say. Who reads it may be gone, as after `| head`, or full;
//! `print!` would panic there. It may be a terminal, which obeys control
//! characters, and much of what is said comes from a server.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

use anyhow::{Context, Error, Result};

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

/// Says on standard error why the command fails.
pub fn complain(error: &Error) {
    let text = format!("{error:#}");
    let lines = text.split('\n').map(|line| Escaped(line).to_string());
    let text = lines.collect::<Vec<_>>().join("\n");
    // `eprintln!` panics where nobody reads.
    let _ = writeln!(io::stderr(), "avvyland: {text}");
}

/// A text as a terminal can show it: what would steer that is shown as its
/// number, in the form of JSON, in which it stands for the same.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match steers(c) {
            true => write!(f, "\\u{:04x}", u32::from(c)),
            false => f.write_char(c),
        })
    }
}

/// Whether a terminal does something at this character rather than to show it,
/// or shows what follows in another order. All have four digits at most.
const fn steers(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_terminal_is_steered() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7f}\r\u{202e}b\u{2066}";
        let shown = Escaped(hostile).to_string();
        assert_eq!(shown, r"a\u001b[2J\u009b31m\u007f\u000d\u202eb\u2066");
        let plain = "Gr\u{fc}\u{df}e, \u{4f60}\u{597d} \u{1f30d}\\ \u{a0}";
        assert_eq!(Escaped(plain).to_string(), plain);
    }

    #[test]
    fn json_means_the_same() {
        let text = "\u{9b}31m \u{7f}\u{2028}\u{202e}\"\\\n".to_owned();
        let json = serde_json::json!({text.as_str(): [text]});
        let escaped = Escaped(&json.to_string()).to_string();
        assert!(escaped.is_ascii(), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).ok(), Some(json));
    }
}
