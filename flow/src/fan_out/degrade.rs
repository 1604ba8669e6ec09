//! What a session that cannot keep up is served instead of being closed.
//!
//! A session's *debt* is what was published and it was not handed: how many
//! bytes, and for how long. With a growing debt the session's level rises, and
//! at each level it is served less. It rises at once, as far as the debt says;
//! it falls by one at a time, when the session has been without debt for a
//! while.

use avvy_protocol::{Channel, Level, LevelReason, ServerMessage};

use super::FanOutConfig;

/// What is owed to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Debt {
    /// Bytes of windows that it was not handed.
    pub bytes: usize,
    /// For how long the oldest of them is owed, in microseconds.
    pub age_us: u64,
}

/// The debt at which a level begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Threshold {
    /// So many bytes.
    pub bytes: usize,
    /// Or for so long, in milliseconds.
    pub age_ms: u32,
}

/// A level's change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The level so far.
    pub from: Level,
    /// The level now.
    pub to: Level,
    /// Why.
    pub reason: LevelReason,
    /// How long the level so far lasted, in microseconds.
    pub lasted_us: u64,
}

impl Change {
    /// Whether the session is sent no poses from now on.
    pub fn is_mute(&self) -> bool {
        self.to >= Level::NoPresence
    }

    /// What the session is told.
    pub fn message(&self, channel: Channel) -> ServerMessage {
        ServerMessage::Level { channel, level: self.to, reason: self.reason }
    }
}

/// One session's level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Degrade {
    level: Level,
    since_us: u64,
    /// Since when nothing is owed.
    even_us: Option<u64>,
}

impl Degrade {
    pub(super) fn new(now_us: u64) -> Self {
        Self { level: Level::Full, since_us: now_us, even_us: None }
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// How long the level lasts, in microseconds.
    pub(super) fn lasted_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.since_us)
    }

    /// The session owes this.
    pub(super) fn owes(
        &mut self,
        now_us: u64,
        debt: Debt,
        config: &FanOutConfig,
    ) -> Option<Change> {
        self.even_us = None;
        let exceeded = |threshold: &Threshold| {
            if debt.age_us >= u64::from(threshold.age_ms) * 1_000 {
                Some(LevelReason::Age)
            } else {
                (debt.bytes >= threshold.bytes).then_some(LevelReason::Bytes)
            }
        };
        let levels = Level::ALL.into_iter().skip(1).zip(&config.degrade);
        let mut reached =
            levels.filter_map(|(level, threshold)| Some((level, exceeded(threshold)?)));
        let (to, reason) = reached.next_back()?;
        (to > self.level).then(|| self.change(now_us, to, reason))
    }

    /// Nothing is owed.
    pub(super) fn is_even(&mut self, now_us: u64, config: &FanOutConfig) -> Option<Change> {
        let even_us = *self.even_us.get_or_insert(now_us);
        if self.level == Level::Full || now_us < even_us + recover_us(config) {
            return None;
        }
        self.even_us = Some(now_us);
        Some(self.change(now_us, self.level.lower(), LevelReason::Recovered))
    }

    /// When [`Self::is_even`] may have something to say.
    pub(super) fn deadline(&self, config: &FanOutConfig) -> Option<u64> {
        self.even_us.map(|even_us| even_us + recover_us(config))
    }

    fn change(&mut self, now_us: u64, to: Level, reason: LevelReason) -> Change {
        let lasted_us = self.lasted_us(now_us);
        let from = std::mem::replace(&mut self.level, to);
        self.since_us = now_us;
        Change { from, to, reason, lasted_us }
    }
}

fn recover_us(config: &FanOutConfig) -> u64 {
    u64::from(config.recover_ms) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> FanOutConfig {
        let step = |bytes, age_ms| Threshold { bytes, age_ms };
        let degrade = [step(10, 1), step(100, 10), step(1_000, 100), step(10_000, 1_000)];
        FanOutConfig { degrade, recover_ms: 5, ..FanOutConfig::default() }
    }

    fn debt(bytes: usize, age_us: u64) -> Debt {
        Debt { bytes, age_us }
    }

    #[test]
    fn rises_as_far_as_the_debt_says_and_says_why() {
        let config = config();
        let mut one = Degrade::new(0);
        assert_eq!(one.owes(1, debt(9, 999), &config), None);
        let change = one.owes(2, debt(10, 0), &config).expect("it is too much");
        assert_eq!((change.from, change.to), (Level::Full, Level::NoPresence));
        assert_eq!((change.reason, change.lasted_us), (LevelReason::Bytes, 2));
        let change = one.owes(7, debt(0, 100_000), &config).expect("it is too long");
        assert_eq!(
            (change.to, change.reason, change.lasted_us),
            (Level::Near, LevelReason::Age, 5)
        );
        assert_eq!(one.owes(8, debt(10, 0), &config), None, "it does not fall by paying off");
        assert_eq!(one.owes(9, debt(1 << 30, 0), &config).map(|c| c.to), Some(Level::Resync));
    }

    #[test]
    fn falls_step_by_step_while_nothing_is_owed() {
        let config = config();
        let mut one = Degrade::new(0);
        one.owes(0, debt(100, 0), &config);
        assert_eq!(one.is_even(10, &config), None);
        assert_eq!(one.deadline(&config), Some(5_010));
        let change = one.is_even(5_010, &config).expect("it is time");
        assert_eq!((change.to, change.reason), (Level::NoPresence, LevelReason::Recovered));
        one.owes(6_000, debt(1, 0), &config);
        assert_eq!(one.deadline(&config), None, "any debt begins the wait anew");
        assert_eq!(one.is_even(7_000, &config), None);
        assert_eq!(one.is_even(12_000, &config).map(|c| c.to), Some(Level::Full));
        assert_eq!(one.is_even(99_000, &config), None);
    }
}
