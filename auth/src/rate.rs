//! How often somebody may ask: the token bucket.

/// When to ask again, in milliseconds from now. [`RetryAfterMs::NEVER`]: at
/// no time, as it is more than a burst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RetryAfterMs(pub u64);

impl RetryAfterMs {
    /// Waiting does not help.
    pub const NEVER: Self = Self(u64::MAX);
}

/// What one session, address or user has left. It is one small value; who
/// keeps many of them drops those that [`Bucket::is_full`].
///
/// Counts in thousandths, so that it fills evenly by the millisecond and
/// never loses a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bucket {
    burst: u32,
    per_second: u32,
    /// Below 0: what was taken in advance.
    thousandths: i64,
    at_ms: u64,
}

impl Bucket {
    /// A full bucket: `burst` may be taken at once after a rest, `per_second`
    /// in the long run (0: never more than the burst). `now_ms` is in
    /// milliseconds of any clock, as long as every call uses the same one.
    pub const fn new(burst: u32, per_second: u32, now_ms: u64) -> Self {
        Self { burst, per_second, thousandths: burst as i64 * 1_000, at_ms: now_ms }
    }

    /// Takes `n`, or nothing. A clock that goes back fills nothing.
    ///
    /// # Errors
    /// How long until `n` will be there.
    pub fn take(&mut self, now_ms: u64, n: u64) -> Result<(), RetryAfterMs> {
        self.fill(now_ms);
        let wanted = thousandths(n);
        if wanted <= self.thousandths {
            self.thousandths -= wanted;
            return Ok(());
        }
        if n > u64::from(self.burst) || self.per_second == 0 {
            return Err(RetryAfterMs::NEVER);
        }
        Err(self.filled_by(wanted))
    }

    /// Takes `n`, if need be in advance: of several who share a bucket each
    /// has its turn, in the order in which they ask. A bucket that never fills
    /// gives nothing in advance.
    ///
    /// # Errors
    /// How long until they are there. They are taken, unless that is never.
    pub fn reserve(&mut self, now_ms: u64, n: u64) -> Result<(), RetryAfterMs> {
        self.fill(now_ms);
        let wanted = thousandths(n);
        if wanted > self.thousandths && self.per_second == 0 {
            return Err(RetryAfterMs::NEVER);
        }
        let pause = self.filled_by(wanted);
        self.thousandths = self.thousandths.saturating_sub(wanted);
        if pause.0 == 0 { Ok(()) } else { Err(pause) }
    }

    /// Gives back what was taken and not used, up to the burst.
    pub fn give_back(&mut self, n: u64) {
        let full = i64::from(self.burst) * 1_000;
        self.thousandths = self.thousandths.saturating_add(thousandths(n)).min(full);
    }

    /// How long until so many thousandths are there.
    fn filled_by(&self, wanted: i64) -> RetryAfterMs {
        let missing = wanted.saturating_sub(self.thousandths).max(0).unsigned_abs();
        RetryAfterMs(missing.div_ceil(u64::from(self.per_second.max(1))))
    }

    /// Whether it is as good as new at this time.
    pub fn is_full(&self, now_ms: u64) -> bool {
        let mut later = *self;
        later.fill(now_ms);
        later.thousandths == i64::from(self.burst) * 1_000
    }

    /// Another rate from now on; what is left stays, up to the new burst.
    pub fn set_rate(&mut self, burst: u32, per_second: u32, now_ms: u64) {
        self.fill(now_ms);
        (self.burst, self.per_second) = (burst, per_second);
        self.thousandths = self.thousandths.min(i64::from(burst) * 1_000);
    }

    fn fill(&mut self, now_ms: u64) {
        // One a second is one thousandth a millisecond.
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        let gained = elapsed_ms.saturating_mul(u64::from(self.per_second));
        let full = i64::from(self.burst) * 1_000;
        self.thousandths = self.thousandths.saturating_add_unsigned(gained).min(full);
        self.at_ms = self.at_ms.max(now_ms);
    }
}

fn thousandths(n: u64) -> i64 {
    i64::try_from(n.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BURST: u32 = 10;
    const PER_SECOND: u32 = 4;

    #[test]
    fn gives_a_burst_then_the_rate() {
        let mut bucket = Bucket::new(BURST, PER_SECOND, 1_000);
        assert_eq!(bucket.take(1_000, 10), Ok(()));
        assert_eq!(bucket.take(1_000, 1), Err(RetryAfterMs(250)));
        assert_eq!(bucket.take(1_249, 1), Err(RetryAfterMs(1)));
        assert_eq!(bucket.take(1_250, 1), Ok(()));
        assert_eq!(bucket.take(1_250, 10), Err(RetryAfterMs(2_500)));
        assert_eq!(bucket.take(3_750, 10), Ok(()));
    }

    #[test]
    fn tells_when_waiting_does_not_help() {
        assert_eq!(Bucket::new(BURST, PER_SECOND, 0).take(0, 11), Err(RetryAfterMs::NEVER));
        let mut still = Bucket::new(1, 0, 0);
        assert_eq!(still.take(0, 1), Ok(()));
        assert_eq!(still.take(u64::MAX, 1), Err(RetryAfterMs::NEVER));
    }

    #[test]
    fn fills_nothing_when_the_clock_goes_back() {
        let mut bucket = Bucket::new(BURST, PER_SECOND, 5_000);
        assert_eq!(bucket.take(5_000, 10), Ok(()));
        assert!(bucket.take(0, 1).is_err());
        assert_eq!(bucket.take(5_000, 1), Err(RetryAfterMs(250)));
    }

    #[test]
    fn gives_in_advance_in_the_order_of_asking() {
        let mut bucket = Bucket::new(BURST, PER_SECOND, 0);
        assert_eq!(bucket.reserve(0, 10), Ok(()));
        assert_eq!(bucket.reserve(0, 40), Err(RetryAfterMs(10_000)));
        assert_eq!(bucket.reserve(0, 4), Err(RetryAfterMs(11_000)), "behind the forty");
        assert_eq!(bucket.take(10_999, 1), Err(RetryAfterMs(251)));
        assert_eq!(bucket.reserve(11_250, 1), Ok(()));
        assert!(!bucket.is_full(13_749));
        assert!(bucket.is_full(13_750));
        let mut still = Bucket::new(1, 0, 0);
        assert_eq!(still.reserve(0, 2), Err(RetryAfterMs::NEVER));
        assert_eq!(still.reserve(0, 1), Ok(()));
    }

    #[test]
    fn has_again_what_is_given_back_and_no_more() {
        let mut bucket = Bucket::new(BURST, PER_SECOND, 0);
        assert_eq!(bucket.reserve(0, 30), Err(RetryAfterMs(5_000)));
        bucket.give_back(30);
        assert!(bucket.is_full(0));
        bucket.give_back(u64::MAX);
        assert_eq!(bucket.take(0, 10), Ok(()));
        assert_eq!(bucket.take(0, 1), Err(RetryAfterMs(250)));
    }

    #[test]
    fn is_full_again_after_a_rest() {
        let mut bucket = Bucket::new(BURST, PER_SECOND, 0);
        assert!(bucket.is_full(0));
        assert_eq!(bucket.take(0, 1), Ok(()));
        assert!(!bucket.is_full(249));
        assert!(bucket.is_full(250));
    }

    #[test]
    fn keeps_what_is_left_under_a_new_rate() {
        let mut bucket = Bucket::new(BURST, PER_SECOND, 0);
        bucket.set_rate(2, 1, 0);
        assert_eq!(bucket.take(0, 2), Ok(()));
        assert_eq!(bucket.take(0, 1), Err(RetryAfterMs(1_000)));
    }

    proptest! {
        /// In no span is more given than the burst and the rate allow, and
        /// whoever waits as told is served.
        #[test]
        fn never_gives_too_much_and_keeps_its_word(
            burst in 1..50_u32,
            per_second in 1..2_000_u32,
            asks in prop::collection::vec((0..2_000_u64, 0..60_u64), 1..100),
        ) {
            let mut bucket = Bucket::new(burst, per_second, 0);
            let (mut now_ms, mut given) = (0, 0_u64);
            for (pause_ms, n) in asks {
                now_ms += pause_ms;
                match bucket.take(now_ms, n) {
                    Ok(()) => given += n,
                    Err(RetryAfterMs::NEVER) => prop_assert!(n > u64::from(burst)),
                    Err(RetryAfterMs(wait_ms)) => {
                        prop_assert!(wait_ms == 0 || bucket.take(now_ms + wait_ms - 1, n).is_err());
                        now_ms += wait_ms;
                        prop_assert_eq!(bucket.take(now_ms, n), Ok(()));
                        given += n;
                    }
                }
                let allowed = u64::from(burst) * 1_000 + now_ms * u64::from(per_second);
                prop_assert!(given * 1_000 <= allowed);
            }
        }

        #[test]
        fn never_overflows(burst: u32, per_second: u32, times: [u64; 4], n: u64) {
            let mut bucket = Bucket::new(burst, per_second, times[0]);
            for now_ms in times {
                let _ = bucket.take(now_ms, n);
                let _ = bucket.reserve(now_ms, n);
                bucket.give_back(n / 2);
            }
        }
    }
}
