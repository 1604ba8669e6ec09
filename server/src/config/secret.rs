//! A setting that nobody should read by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text that may hold a password: it is in no log and no message.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_not_shown() {
        let secret = Secret("mongodb://user:sesame@host".to_owned());
        assert_eq!(format!("{secret:?}"), "\"…\"");
    }
}
