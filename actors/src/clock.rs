//! The one place where the actors read the time. The pure machines get it as
//! an argument.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the process started; never goes back.
pub fn monotonic_us() -> u64 {
    START.elapsed().as_micros() as u64
}

/// Milliseconds since the process started; never goes back.
pub fn monotonic_ms() -> u64 {
    START.elapsed().as_millis() as u64
}

/// Unix time in milliseconds, as the machine's clock has it.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Unix time in seconds.
pub fn unix_s() -> u64 {
    unix_ms() / 1000
}
