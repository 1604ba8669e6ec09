//! Whether something that fails is worth asking: a circuit breaker, as a pure
//! machine.
//!
//! After some failures in a row nobody asks for a while; then one may try. If
//! that fails, the while doubles, up to a bound. So a server that hangs costs
//! the time-outs of a few, and its return is noticed by one.

/// When it opens, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BreakerConfig {
    /// Failures in a row after which it opens; at least 1.
    pub failures: u32,
    /// For how long at first, in microseconds.
    pub pause_us: u64,
    /// For how long at most.
    pub max_pause_us: u64,
}

/// What became of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Nothing that is worth telling.
    None,
    /// It does not work any more.
    Opened,
    /// It works again.
    Closed,
}

/// The breaker. Closed at first.
pub(crate) struct Breaker {
    config: BreakerConfig,
    failures: u32,
    /// `Some` while it is open: for how long this time, and until when.
    open: Option<(u64, u64)>,
    /// Until when the one who tries is waited for.
    trying_until_us: u64,
}

impl Breaker {
    pub(crate) const fn new(config: BreakerConfig) -> Self {
        Self { config, failures: 0, open: None, trying_until_us: 0 }
    }

    /// Whether a call may be made now. Whoever is let in has to say how it
    /// ended; one that never does is waited for as long as a pause.
    pub(crate) fn admits(&mut self, now_us: u64) -> bool {
        let Some((pause_us, until_us)) = self.open else { return true };
        if now_us < until_us || now_us < self.trying_until_us {
            return false;
        }
        self.trying_until_us = now_us.saturating_add(pause_us);
        true
    }

    pub(crate) fn worked(&mut self) -> Change {
        (self.failures, self.trying_until_us) = (0, 0);
        if self.open.take().is_some() { Change::Closed } else { Change::None }
    }

    pub(crate) fn failed(&mut self, now_us: u64) -> Change {
        self.failures = self.failures.saturating_add(1);
        match self.open {
            // One that was let in before it opened is no news.
            Some((_, until_us)) if now_us < until_us => Change::None,
            Some((pause_us, _)) => {
                let pause_us = pause_us.saturating_mul(2).min(self.config.max_pause_us);
                self.open = Some((pause_us, now_us.saturating_add(pause_us)));
                self.trying_until_us = 0;
                Change::None
            }
            None if self.failures >= self.config.failures => {
                let pause_us = self.config.pause_us;
                self.open = Some((pause_us, now_us.saturating_add(pause_us)));
                Change::Opened
            }
            None => Change::None,
        }
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig { failures: 3, pause_us: 10, max_pause_us: 35 };

    fn open() -> Breaker {
        let mut breaker = Breaker::new(CONFIG);
        let changes = [0, 0, 0].map(|now_us| breaker.failed(now_us));
        assert_eq!(changes, [Change::None, Change::None, Change::Opened]);
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row() {
        let mut breaker = Breaker::new(CONFIG);
        breaker.failed(0);
        breaker.failed(0);
        assert_eq!(breaker.worked(), Change::None);
        breaker.failed(0);
        breaker.failed(0);
        assert!(breaker.admits(0) && !breaker.is_open());
        assert_eq!(breaker.failed(0), Change::Opened);
        assert!(!breaker.admits(9));
    }

    #[test]
    fn one_tries_and_closes_it() {
        let mut breaker = open();
        assert!(breaker.admits(10) && !breaker.admits(10));
        assert_eq!(breaker.worked(), Change::Closed);
        assert!(breaker.admits(10) && breaker.admits(10));
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound() {
        let mut breaker = open();
        let mut now_us = 0;
        for pause_us in [10, 20, 35, 35] {
            assert!(!breaker.admits(now_us + pause_us - 1));
            now_us += pause_us;
            assert!(breaker.admits(now_us));
            assert_eq!(breaker.failed(now_us), Change::None);
        }
        breaker.worked();
        for _ in 0..3 {
            breaker.failed(now_us);
        }
        assert!(breaker.admits(now_us + 10), "it begins anew");
    }

    #[test]
    fn one_who_never_says_how_it_ended_does_not_hold_it_open() {
        let mut breaker = open();
        assert!(breaker.admits(10) && !breaker.admits(19) && breaker.admits(20));
    }
}
