//! How long to wait before the next attempt to connect.

use avvy_protocol::close::{CloseCode, Reconnect};

/// Pauses that double, drawn at random so that a crowd does not come back at
/// the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    first_ms: u64,
    max_ms: u64,
    failures: u32,
}

/// When a server goes, all its clients are told in one moment. They come back
/// within so many milliseconds, and not all at the start of them.
const TOGETHER_MS: u64 = 2_000;
const GOING_AWAY: u16 = CloseCode::GoingAway.number();

/// Pauses after [`Reconnect::Later`], in milliseconds.
const LATER_MS: std::ops::Range<u64> = 10_000..30_000;

impl Backoff {
    /// Pauses from about `first_ms` up to `max_ms`.
    pub fn new(first_ms: u64, max_ms: u64) -> Self {
        Self { first_ms: first_ms.max(1), max_ms: max_ms.max(first_ms.max(1)), failures: 0 }
    }

    /// A connection worked: the next pause is the first again.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// The pause before the next attempt, in milliseconds, after a connection
    /// that ended with this close code or without one; `random` is drawn
    /// evenly from 0 to 1. `None`: do not try again.
    pub fn pause_ms(&mut self, code: Option<u16>, random: f64) -> Option<u64> {
        let random = random.clamp(0.0, 1.0);
        let between = |low: u64, high: u64| low + ((high - low) as f64 * random) as u64;
        match advice(code) {
            Reconnect::No => None,
            Reconnect::Later => Some(between(LATER_MS.start, LATER_MS.end)),
            Reconnect::Yes => {
                let doubled = self.first_ms.saturating_mul(1 << self.failures.min(20));
                let most = doubled.min(self.max_ms);
                self.failures += 1;
                // The first attempt comes at once, but for the jitter.
                match (self.failures, code) {
                    (1, Some(GOING_AWAY)) => Some(between(0, most.max(TOGETHER_MS))),
                    (1, _) => Some(between(0, most)),
                    _ => Some(between(most / 2, most)),
                }
            }
        }
    }
}

/// What a close code that may be unknown advises. A connection that ended
/// without one was cut: come back.
pub fn advice(code: Option<u16>) -> Reconnect {
    let Some(number) = code else { return Reconnect::Yes };
    match (CloseCode::from_number(number), number) {
        (Some(code), _) => code.reconnect(),
        (None, 4500..=4999) => Reconnect::No,
        (None, _) => Reconnect::Yes,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most() {
        let mut backoff = Backoff::new(100, 1_000);
        let pauses: Vec<u64> = (0..6).map(|_| backoff.pause_ms(None, 1.0).unwrap()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.pause_ms(None, 0.0), Some(500));
        backoff.worked();
        assert_eq!(backoff.pause_ms(None, 0.0), Some(0));
    }

    #[test]
    fn the_code_decides() {
        let mut backoff = Backoff::new(100, 1_000);
        assert_eq!(backoff.pause_ms(Some(4501), 0.5), None);
        assert_eq!(backoff.pause_ms(Some(4999), 0.5), None);
        assert_eq!(backoff.pause_ms(Some(4004), 0.0), Some(10_000));
        assert_eq!(advice(Some(4000)), Reconnect::Yes);
        assert_eq!(advice(Some(4444)), Reconnect::Yes);
        assert_eq!(advice(None), Reconnect::Yes);
    }

    #[test]
    fn those_who_are_sent_away_together_come_back_apart() {
        let first = |random| Backoff::new(100, 1_000).pause_ms(Some(GOING_AWAY), random).unwrap();
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(first), [0, 500, 1_000, 2_000]);
        let mut backoff = Backoff::new(100, 1_000);
        backoff.pause_ms(None, 1.0).unwrap();
        assert_eq!(backoff.pause_ms(Some(GOING_AWAY), 1.0), Some(200), "it goes on to double");
    }
}
