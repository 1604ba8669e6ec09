//! Why bytes are not a message.

use avvy_model::{Code, TraceId};

use super::scan::Fault;
use crate::{Channel, ErrorMessage, RefusedEdit, Update, clip};

/// Bytes that are not a message, with what is needed to answer a typed
/// `error`.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct DecodeError {
    /// The stable code: `malformed`, `too_large` or `unknown_operation`.
    pub code: Code,
    /// A sentence for people.
    pub reason: &'static str,
    /// The operation, as far as it could be read; at most 64 bytes of it.
    pub operation: Option<String>,
    /// The channel, as far as it could be read.
    pub channel: Option<Channel>,
    /// Set when the message is an `object.update` of which only some edits
    /// could not be read: the faulty ones are to be answered `object.refused`,
    /// the others to be served as if they had come alone. No `error` is due.
    pub partial: Option<Box<PartialUpdate>>,
}

/// An `object.update` with faulty edits.
#[derive(Clone, PartialEq, Debug)]
pub struct PartialUpdate {
    /// The edits that could be read; perhaps none.
    pub update: Update,
    /// The ones that could not.
    pub refused: Vec<RefusedEdit>,
}

impl DecodeError {
    /// The `error` that answers it.
    pub fn to_message(&self, trace: TraceId) -> ErrorMessage {
        ErrorMessage {
            code: self.code,
            message: self.code.meaning().to_owned(),
            details: Some(self.reason.to_owned()),
            trace,
            retry_after_ms: None,
            operation: self.operation.clone(),
            channel: self.channel,
            address: None,
        }
    }

    pub(super) fn at(fault: Fault, operation: Option<&str>, channel: Option<Channel>) -> Self {
        Self {
            operation: operation.map(|name| clip(name, 64).to_owned()),
            channel,
            ..Self::from(fault)
        }
    }
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        let Fault { code, reason } = fault;
        Self { code, reason, operation: None, channel: None, partial: None }
    }
}
