//! The clocks of this room.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds of a clock that never goes back.
pub(crate) fn monotonic_ms() -> u64 {
    START.elapsed().as_millis() as u64
}

/// Unix time in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Unix time in seconds.
pub(crate) fn unix_s() -> u64 {
    unix_ms() / 1_000
}
