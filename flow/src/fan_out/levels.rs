//! The levels of sessions that cannot keep up, and what they lead to.

use super::catch_up::Stage;
use super::{
    Change, Content, Debt, Degrade, FanOut, FanOutEffect, Level, LevelReason, Place, Wire,
};
use crate::SessionKey;

impl<T, P: Content<T>, S: Iterator<Item = T>, W: Wire<T>> FanOut<T, P, S, W> {
    /// How a session is served.
    pub fn level(&self, session: SessionKey) -> Level {
        self.levels.get(&session).map(Degrade::level).unwrap_or_default()
    }

    /// Looks at what is owed to everyone who lags, and at who has been even
    /// for long enough.
    pub(super) fn review_levels(&mut self, now_us: u64, effects: &mut Vec<FanOutEffect>) {
        let mut index = 0;
        while index < self.lagging.len() {
            let session = self.lagging[index].key;
            self.note_debt(now_us, index, effects);
            // One that was closed has left its place to another.
            index += usize::from(self.lagging.get(index).is_some_and(|l| l.key == session));
        }
        if self.level_deadline().is_none_or(|at_us| now_us < at_us) {
            return;
        }
        let mut even: Vec<_> = self.levels.keys().copied().collect();
        even.sort_unstable();
        for session in even {
            if matches!(self.places.get(&session), Some(Place::Live(_))) {
                self.note_even(now_us, session, effects);
            }
        }
    }

    /// When somebody may be served more again.
    pub(super) fn level_deadline(&self) -> Option<u64> {
        self.levels.values().filter_map(|one| one.deadline(&self.config)).min()
    }

    /// Raises the level of the lagging session at `index`, if its debt asks for
    /// that. The session may leave its place by it. True when it has risen.
    pub(super) fn note_debt(
        &mut self,
        now_us: u64,
        index: usize,
        effects: &mut Vec<FanOutEffect>,
    ) -> bool {
        let lagging = &self.lagging[index];
        let (session, Stage::Replaying(at)) = (lagging.key, &lagging.stage) else { return false };
        // Who waits for others is owed what is not due yet.
        if lagging.joins {
            return false;
        }
        let Some((bytes, since_us)) = self.ring.debt(at.seq) else { return false };
        let (at, debt) = (*at, Debt { bytes, age_us: now_us.saturating_sub(since_us) });
        let one = self.levels.entry(session).or_insert_with(|| Degrade::new(now_us));
        let Some(change) = one.owes(now_us, debt, &self.config) else { return false };
        self.level_changed(session, change, effects);
        let is_wide = self.view(session).is_some_and(|view| view.reach > 1);
        match change.to {
            Level::Near if is_wide => self.begin_anew(now_us, session, effects),
            Level::Resync => self.resync(now_us, index, at, effects),
            Level::Full | Level::NoPresence | Level::Collapsed | Level::Near => {}
        }
        true
    }

    /// A live session owes nothing.
    pub(super) fn note_even(
        &mut self,
        now_us: u64,
        session: SessionKey,
        effects: &mut Vec<FanOutEffect>,
    ) {
        let Some(one) = self.levels.get_mut(&session) else { return };
        let change = one.is_even(now_us, &self.config);
        if one.level() == Level::Full {
            self.levels.remove(&session);
        }
        if let Some(change) = change {
            self.level_changed(session, change, effects);
            self.consider(now_us, session, effects);
        }
    }

    /// The session is gone.
    pub(super) fn forget_level(&mut self, now_us: u64, session: SessionKey) {
        if let Some(one) = self.levels.remove(&session) {
            self.level_left(one.level(), one.lasted_us(now_us));
        }
    }

    /// Sessions at each level but the first.
    pub(super) fn degraded(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for one in self.levels.values() {
            if let Some(index) = place(one.level()) {
                counts[index] += 1;
            }
        }
        counts
    }

    fn level_changed(
        &mut self,
        session: SessionKey,
        change: Change,
        effects: &mut Vec<FanOutEffect>,
    ) {
        let Change { from, to, reason, lasted_us } = change;
        self.counters.level_changes[reason as usize] += 1;
        self.level_left(from, lasted_us);
        if let Some(index) = place(to).filter(|_| reason != LevelReason::Recovered) {
            self.counters.degradations[index] += 1;
        }
        effects.push(FanOutEffect::Level { session, change });
    }

    fn level_left(&mut self, level: Level, lasted_us: u64) {
        if let Some(index) = place(level) {
            self.counters.degraded_ms[index] += lasted_us / 1_000;
        }
    }
}

/// Where a level but the first is counted.
fn place(level: Level) -> Option<usize> {
    usize::from(level.number()).checked_sub(1)
}
