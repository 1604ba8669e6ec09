//! Figures of sessions that are served less because they cannot keep up, one
//! for each level and reason.

use super::{Figure, Kind};

macro_rules! levels {
    ($(($index:literal, $name:literal)),*) => {
        &[$(
            (
                concat!("avvy_brane_degraded_", $name),
                Kind::Sum,
                concat!("Sessions at the level `", $name, "`."),
                |b| b.fan_out.degraded[$index] as u64,
            ),
            (
                concat!("avvy_brane_degradations_", $name, "_total"),
                Kind::Counter,
                concat!("Times that a session came to the level `", $name, "` from above."),
                |b| b.fan_out.degradations[$index],
            ),
            (
                concat!("avvy_brane_degraded_", $name, "_milliseconds_total"),
                Kind::Counter,
                concat!("Time that sessions have spent at the level `", $name, "`."),
                |b| b.fan_out.degraded_ms[$index],
            ),
        )*]
    };
}

macro_rules! reasons {
    ($(($index:literal, $name:literal)),*) => {
        &[$((
            concat!("avvy_brane_level_changes_", $name, "_total"),
            Kind::Counter,
            concat!("Changes of level for the reason `", $name, "`."),
            |b| b.fan_out.level_changes[$index],
        ),)*]
    };
}

/// By level, in the order of `avvy_protocol::Level`, without `full`.
pub(super) const LEVELS: &[Figure] =
    levels![(0, "no_presence"), (1, "collapsed"), (2, "near"), (3, "resync")];

/// By reason, in the order of `avvy_protocol::LevelReason`.
pub(super) const REASONS: &[Figure] = reasons![(0, "bytes"), (1, "age"), (2, "recovered")];

#[cfg(test)]
mod tests {
    use avvy_protocol::{Level, LevelReason};

    use super::*;

    #[test]
    fn every_level_and_reason_has_its_figures() {
        for (figures, level) in LEVELS.chunks(3).zip(&Level::ALL[1..]) {
            assert_eq!(figures[0].0, format!("avvy_brane_degraded_{}", level.name()));
        }
        for (figure, reason) in REASONS.iter().zip(LevelReason::ALL) {
            assert_eq!(figure.0, format!("avvy_brane_level_changes_{}_total", reason.name()));
        }
        assert_eq!((LEVELS.len(), REASONS.len()), (12, LevelReason::ALL.len()));
    }
}
