//! Why the catalog does not do something.

use avvy_actors::Denied;
use avvy_model::{Code, InvalidTransform, InvalidValue};
use avvy_persistence::StoreError;

/// A refusal: a code, and sometimes more for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The reason.
    pub code: Code,
    /// What exactly, if the code alone does not say it.
    pub details: Option<&'static str>,
}

impl Refused {
    /// A refusal that says more.
    pub const fn because(code: Code, details: &'static str) -> Self {
        Self { code, details: Some(details) }
    }
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, details: None }
    }
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        refused.code.into()
    }
}

impl From<InvalidValue> for Refused {
    fn from(error: InvalidValue) -> Self {
        Code::from(error).into()
    }
}

impl From<InvalidTransform> for Refused {
    fn from(_: InvalidTransform) -> Self {
        Code::OutOfRange.into()
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged { .. } => Code::Damaged.into(),
            StoreError::Timeout { .. } => Code::Timeout.into(),
            error => {
                tracing::warn!(%error, "the store failed");
                Code::Unavailable.into()
            }
        }
    }
}

impl PartialEq<Code> for Refused {
    fn eq(&self, code: &Code) -> bool {
        self.code == *code
    }
}
