//! What a brane says to single sessions, beside what its fan-out sends.

use avvy_flow::SessionKey;
use avvy_model::Code;
use avvy_protocol::ServerMessage;

use super::{Brane, Goodbye};
use crate::answer::Answer;
use crate::clock;
use crate::fan_out::{FanOutMsg, Farewell};
use crate::limit::Limit;
use crate::wire::{Wire, frame};

/// The least time until what is not possible now may be, in milliseconds.
const PAUSE_MS: u64 = 1_000;

impl Brane {
    pub(super) fn refuse(&mut self, session: SessionKey, code: Code) {
        if code == Code::BraneFull {
            self.context.metrics.limits.count(Limit::SessionsOfBrane);
        }
        self.writers.fail(session, code);
        self.admission.entered(clock::monotonic_us(), session);
        let retry_after_ms = self.later_ms(code);
        self.turn_away(session, code, retry_after_ms);
    }

    /// Answers a join that is not served.
    pub(super) fn turn_away(
        &mut self,
        session: SessionKey,
        code: Code,
        retry_after_ms: Option<u64>,
    ) {
        let join = self.members.join(session);
        if let (Some(join), Some(wire)) = (join, self.members.remove(session)) {
            self.context.registry.forget_join(session, self.record.id, join);
            self.send_error(&*wire, code, "brane.join", retry_after_ms);
        }
    }

    /// A ruling has ended somebody's stay.
    pub(super) fn expel(&mut self, session: SessionKey, code: Code) {
        self.writers.fail(session, code);
        if let Some(join) = self.members.join(session) {
            self.context.registry.forget_join(session, self.record.id, join);
        }
        self.forget_knock(session);
        self.bid_farewell(session, Goodbye(Some(code)));
    }

    /// Says that a session's edits were not served because the brane closes.
    pub(super) fn not_served(&self, session: SessionKey) {
        if let Some(wire) = self.members.wire(session) {
            self.send_error(&*wire, Code::Unavailable, "object.update", Some(100));
        }
    }

    /// The last word to a session. One that still waits for being let in
    /// knows no channel: its join is answered.
    pub(super) fn bid_farewell(&mut self, session: SessionKey, Goodbye(code): Goodbye) {
        let was_let_in = self.members.was_let_in(session);
        let Some(wire) = self.members.remove(session) else { return };
        if was_let_in {
            let message = ServerMessage::Left { channel: self.channel, code, address: None };
            let farewell = Some(Farewell { wire, frame: frame(&message) });
            self.tell_fan_out(FanOutMsg::Detach { session, farewell });
        } else {
            let code = code.unwrap_or(Code::Unavailable);
            let retry_after_ms = self.later_ms(code);
            self.send_error(&*wire, code, "brane.join", retry_after_ms);
        }
    }

    pub(super) fn tell(&mut self, session: SessionKey, message: ServerMessage) {
        if let ServerMessage::Refused { edits, .. } = &message {
            let refused = &self.context.metrics.refused_edits;
            edits.iter().for_each(|edit| refused.count(edit.code));
        }
        if let Some(message) = self.writers.take_told(session, message) {
            self.tell_fan_out(FanOutMsg::Tell { session, message });
        }
    }

    /// When to try again, if that may help: each at a time of its own.
    fn later_ms(&mut self, code: Code) -> Option<u64> {
        let passes = matches!(code, Code::Unavailable | Code::BraneFull);
        passes.then(|| PAUSE_MS + self.admission.later_ms(clock::monotonic_us()))
    }

    fn send_error(
        &self,
        wire: &dyn Wire,
        code: Code,
        operation: &str,
        retry_after_ms: Option<u64>,
    ) {
        let (operation, channel) = (Some(operation), Some(self.channel));
        let answer = Answer { code, operation, channel, retry_after_ms, address: None };
        answer.send(wire, None, &self.context.metrics);
    }
}
