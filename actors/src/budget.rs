//! What all sessions together make the server hold. Each has bounds of its own,
//! which are wide, as few ever reach them; those who all do at once are many
//! times what a machine has.

use std::sync::atomic::Ordering;

use avvy_flow::SessionKey;
use avvy_protocol::close::CloseCode;

use crate::clock;
use crate::limit::Limit;
use crate::session::Shared;

/// What is decoded takes up to twice its bytes.
const DECODED: u64 = 2;

/// Who has to go so that the others hold no more than `most` bytes: those who
/// hold the most.
pub(crate) fn beyond(mut held: Vec<(u64, SessionKey)>, most: u64) -> Vec<SessionKey> {
    let mut total: u64 = held.iter().map(|(bytes, _)| bytes).sum();
    if total <= most {
        return Vec::new();
    }
    held.sort_unstable();
    let mut gone = Vec::new();
    while total > most
        && let Some((bytes, session)) = held.pop()
    {
        total -= bytes;
        gone.push(session);
    }
    gone
}

impl Shared {
    /// Bytes that are held for this session: of messages that are on their way
    /// in or are being served, and of what waits to be sent.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.wire.held_bytes() as u64 + DECODED * self.served_bytes()
    }

    /// Ends the session because all together hold too much, and cuts it when
    /// it is looked after the next time: until then it holds what it held.
    pub(crate) fn give_way(&self) {
        self.metrics.limits.count(Limit::SessionBytes);
        self.close(CloseCode::Overloaded);
        self.cut_at_ms.fetch_min(clock::monotonic_ms().max(1), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_hold_the_most_go_and_no_more_than_have_to() {
        let held = |bytes: &[u64]| bytes.iter().copied().zip((0..).map(SessionKey)).collect();
        assert_eq!(beyond(held(&[5, 5, 90]), 100), []);
        assert_eq!(beyond(held(&[5, 91, 5]), 100), [SessionKey(1)]);
        assert_eq!(beyond(held(&[60, 5, 70, 80]), 100), [SessionKey(3), SessionKey(2)]);
        assert_eq!(beyond(held(&[60]), 0), [SessionKey(0)]);
    }
}
