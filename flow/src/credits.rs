//! How many edits a session may have under way.
//!
//! A session takes a credit for every edit that it hands to a brane and gives
//! it back with the edit's outcome. When credits are short it keeps the
//! message that it has and reads no further, so that TCP pushes back on that
//! client alone. The bound on edits under way bounds the brane's mailbox.

/// What became of a wish for credits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// Granted.
    Taken,
    /// Not now: keep the message, read no further, ask again after a
    /// [`Credits::give`].
    Wait,
    /// More than there will ever be: refuse the message.
    TooMany,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Credits {
    max: u32,
    in_flight: u32,
    waits: u64,
}

/// What a session's credits look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct CreditsStatus {
    /// Edits without an outcome.
    pub in_flight: u32,
    /// The bound.
    pub max: u32,
    /// How often a message had to wait.
    pub waits: u64,
}

impl Credits {
    /// So many edits (at least 1) may be under way at once.
    pub fn new(max: u32) -> Self {
        Self { max: max.max(1), in_flight: 0, waits: 0 }
    }

    /// Takes `n` credits, all or none.
    pub fn take(&mut self, n: u32) -> Take {
        if n > self.max {
            return Take::TooMany;
        }
        if n > self.max - self.in_flight {
            self.waits += 1;
            return Take::Wait;
        }
        self.in_flight += n;
        Take::Taken
    }

    /// Gives `n` credits back: so many edits got their outcome. More than
    /// were taken is as good as all.
    pub fn give(&mut self, n: u32) {
        self.in_flight = self.in_flight.saturating_sub(n);
    }

    /// Whether the next message may be read from the socket. `outbox_full`
    /// says that the client does not read its own answers; without that
    /// condition, outcomes would pile up for a client that only writes.
    pub fn may_read(&self, outbox_full: bool) -> bool {
        !outbox_full && self.in_flight < self.max
    }

    /// For metrics and tests.
    pub fn status(&self) -> CreditsStatus {
        CreditsStatus { in_flight: self.in_flight, max: self.max, waits: self.waits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_none() {
        let mut credits = Credits::new(10);
        assert_eq!(credits.take(7), Take::Taken);
        assert_eq!(credits.take(4), Take::Wait);
        assert_eq!(credits.take(3), Take::Taken);
        assert!(!credits.may_read(false));
        credits.give(4);
        assert!(credits.may_read(false));
        assert_eq!(credits.take(4), Take::Taken);
        assert_eq!(credits.status(), CreditsStatus { in_flight: 10, max: 10, waits: 1 });
    }

    #[test]
    fn what_never_fits_is_said_so() {
        let mut credits = Credits::new(10);
        assert_eq!(credits.take(11), Take::TooMany);
        assert_eq!(credits.take(10), Take::Taken);
    }

    #[test]
    fn a_client_that_does_not_read_is_not_read() {
        let credits = Credits::new(1);
        assert!(credits.may_read(false));
        assert!(!credits.may_read(true));
    }

    #[test]
    fn giving_too_much_is_harmless() {
        let mut credits = Credits::new(2);
        assert_eq!(credits.take(1), Take::Taken);
        credits.give(u32::MAX);
        assert_eq!(credits.take(2), Take::Taken);
        assert_eq!(credits.take(1), Take::Wait);
    }
}
