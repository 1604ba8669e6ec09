//! Latencies, counted by microseconds.

/// Buckets between one power of two and the next.
const PER_OCTAVE: u32 = 128;
/// Values below are counted one by one.
const EXACT: u32 = 2 * PER_OCTAVE;
/// Enough for every `u32`.
const BUCKETS: usize = (EXACT + PER_OCTAVE * (32 - EXACT.ilog2())) as usize;

/// Counts microseconds: below 256 exactly, above to less than 1 %. Recording
/// costs about a nanosecond, so every single delivery is recorded.
#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    max_us: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), count: 0, max_us: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    #[inline]
    pub fn record(&mut self, us: u32) {
        self.counts[bucket(us)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// How many values were counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The largest value.
    pub const fn max_us(&self) -> u32 {
        self.max_us
    }

    /// Takes in what another one counted.
    pub fn add(&mut self, other: &Self) {
        for (own, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            *own += theirs;
        }
        self.count += other.count;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The value that `percent` of all values do not exceed, in milliseconds;
    /// 0 when there are none.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        let wanted = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return f64::from(largest_in(index as u32).min(self.max_us)) / 1_000.0;
            }
        }
        0.0
    }
}

#[inline]
const fn bucket(us: u32) -> usize {
    if us < EXACT {
        return us as usize;
    }
    let octave = us.ilog2() - PER_OCTAVE.ilog2();
    (octave * PER_OCTAVE + (us >> octave)) as usize
}

/// The largest value that is counted in a bucket.
const fn largest_in(index: u32) -> u32 {
    if index < EXACT {
        return index;
    }
    let octave = index / PER_OCTAVE - 1;
    let start = (index - octave * PER_OCTAVE) << octave;
    start + ((1 << octave) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_within_its_bucket() {
        for us in (0..100_000).chain([1 << 20, (1 << 30) + 12_345, u32::MAX]) {
            let largest = largest_in(bucket(us) as u32);
            assert!(largest >= us, "{us}");
            assert!(f64::from(largest - us) <= f64::from(us) / 100.0, "{us}: {largest}");
            assert!(
                us == 0
                    || bucket(us) == bucket(us - 1)
                    || largest_in(bucket(us - 1) as u32) == us - 1
            );
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        (1..=1_000).for_each(|n| histogram.record(n * 100));
        for (percent, ms) in [(50.0, 50.0), (99.0, 99.0), (100.0, 100.0)] {
            let found = histogram.percentile_ms(percent);
            assert!((found / ms - 1.0).abs() < 0.01, "{percent}: {found}");
        }
        assert_eq!(histogram.count(), 1_000);
        let mut both = Histogram::default();
        both.add(&histogram);
        both.add(&histogram);
        assert_eq!(both.count(), 2_000);
        assert_eq!(Histogram::default().percentile_ms(99.0), 0.0);
    }
}
