//! What becomes of a session by time alone.

use std::sync::atomic::Ordering;

use avvy_protocol::ServerMessage;
use avvy_protocol::close::CloseCode;

use super::Shared;

impl Shared {
    /// Looks after what time alone brings about. Called about once a second.
    /// True when the connection was cut: there is nothing more to look after.
    pub(crate) fn sweep(&self, now_ms: u64, now_s: u64) -> bool {
        let cut_at = self.cut_at_ms.load(Ordering::Acquire);
        if cut_at != 0 {
            let is_over = now_ms >= cut_at;
            if is_over {
                self.wire.cut();
            }
            return is_over;
        }
        if self.is_welcomed() {
            self.sweep_outbox(now_ms);
            self.sweep_silence(now_ms);
            self.sweep_token(now_s);
        } else if now_ms.saturating_sub(self.opened_ms) > self.config.hello_timeout_ms {
            // Whatever else it says: a place is for those with a token.
            self.close(CloseCode::HelloTimeout);
        }
        false
    }

    /// A brane looks after the sessions that lag in it, but what fills the
    /// queue can also be answers.
    fn sweep_outbox(&self, now_ms: u64) {
        if !self.wire.is_full() {
            return self.full_since_ms.store(0, Ordering::Relaxed);
        }
        let since_ms = match self.full_since_ms.load(Ordering::Relaxed) {
            0 => now_ms,
            since_ms => since_ms,
        };
        self.full_since_ms.store(since_ms, Ordering::Relaxed);
        if now_ms.saturating_sub(since_ms) > self.config.slow_session_timeout_ms {
            self.close(CloseCode::SlowConsumer);
        }
    }

    fn sweep_silence(&self, now_ms: u64) {
        // While we do not read, the client cannot be heard.
        if self.wire.is_full() || self.parked().is_some() || !self.credits.may_read(false) {
            self.heard_ms.store(now_ms, Ordering::Relaxed);
        }
        let silent_ms = now_ms.saturating_sub(self.heard_ms.load(Ordering::Relaxed));
        if silent_ms > 2 * self.config.heartbeat_ms {
            self.close(CloseCode::HeartbeatTimeout);
        }
    }

    fn sweep_token(&self, now_s: u64) {
        let expires = self.validity.ends_s();
        if self.validity.is_over(now_s) {
            self.close(CloseCode::TokenExpired);
        } else if now_s + self.config.token_warning_s >= expires
            && !self.warned.swap(true, Ordering::AcqRel)
        {
            self.tell(&ServerMessage::Expiring { expires });
        }
    }
}
