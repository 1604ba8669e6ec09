//! Error answers, in the one form that all of them have.

use avvy_model::{Code, TraceId};
use avvy_protocol::{Channel, ErrorMessage, ServerMessage};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::wire::{Wire, frame};

/// Why a message was not served.
pub(crate) struct Answer<'a> {
    pub(crate) code: Code,
    /// What was asked for, as far as that is known.
    pub(crate) operation: Option<&'a str>,
    pub(crate) channel: Option<Channel>,
    /// After how many milliseconds it may be.
    pub(crate) retry_after_ms: Option<u64>,
    /// Of the node where it is served.
    pub(crate) address: Option<String>,
}

impl Answer<'_> {
    /// Counts it and sends it. With a session's trace id all that its client
    /// is refused is found together.
    pub(crate) fn send(self, wire: &dyn Wire, trace: Option<TraceId>, metrics: &Metrics) {
        let Self { code, operation, channel, retry_after_ms, address } = self;
        metrics.errors.count(code);
        let error = ServerMessage::Error(ErrorMessage {
            code,
            message: code.meaning().to_owned(),
            details: None,
            trace: trace.unwrap_or_else(|| TraceId::new(Uuid::new_v4())),
            retry_after_ms,
            operation: operation.map(str::to_owned),
            channel,
            address,
        });
        wire.send(&[frame(&error)]);
    }
}
