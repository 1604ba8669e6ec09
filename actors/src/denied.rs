//! Why something of a brane is not served here.

use avvy_model::Code;

/// Why something is not served, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// The reason.
    pub code: Code,
    /// With [`Code::Moved`]: the URL of the node that serves it.
    pub address: Option<String>,
    /// When to try again, in milliseconds, if that is known.
    pub retry_after_ms: Option<u64>,
}

impl Denied {
    /// The brane is served by the node at this URL.
    pub(crate) fn moved(address: &str) -> Self {
        Self { address: Some(address.to_owned()), ..Self::from(Code::Moved) }
    }
}

impl From<Code> for Denied {
    fn from(code: Code) -> Self {
        Self { code, address: None, retry_after_ms: None }
    }
}

impl PartialEq<Code> for Denied {
    fn eq(&self, code: &Code) -> bool {
        self.code == *code
    }
}
