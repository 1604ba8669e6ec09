//! What each session sees, what it wants to see, and the way from one to the
//! other: step by step, what is near first.

use avvy_model::{Position, View};

use super::catch_up::Stage;
use super::{Content, FanOut, FanOutEffect, Level, Place, QUIET_US, Start, Wire};
use crate::SessionKey;

/// What a session sees and wants to see; `None` stands for the whole brane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sight {
    /// At its start.
    pub view: Option<View>,
    /// In the end.
    pub goal: Option<View>,
}

/// The sight of a session under way.
pub(super) struct Aim {
    sight: Sight,
    /// A [`FanOutEffect::Step`] was not answered yet.
    is_stepping: bool,
}

impl<T, P: Content<T>, S: Iterator<Item = T>, W: Wire<T>> FanOut<T, P, S, W> {
    /// A session wants to see something else. It gets there once it is live.
    pub fn aim(
        &mut self,
        now_us: u64,
        session: SessionKey,
        goal: Option<View>,
        effects: &mut Vec<FanOutEffect>,
    ) {
        if self.places.contains_key(&session) {
            let view = self.view(session);
            let is_stepping = self.aims.get(&session).is_some_and(|aim| aim.is_stepping);
            self.aims.insert(session, Aim { sight: Sight { view, goal }, is_stepping });
            self.consider(now_us, session, effects);
        }
    }

    /// The brane's answer to a [`FanOutEffect::Step`]: what `to` shows more
    /// than `from` at `at`, which is the head, in whatever epoch: after a
    /// restart the last window was of the one before. A session that has fallen
    /// behind meanwhile does not take it, and asks again when it is live.
    pub fn show(
        &mut self,
        now_us: u64,
        session: SessionKey,
        [from, to]: [View; 2],
        parts: S,
        at: Position,
        effects: &mut Vec<FanOutEffect>,
    ) {
        let Some(aim) = self.aims.get_mut(&session) else { return };
        aim.is_stepping = false;
        match self.places.get(&session) {
            Some(Place::Live(place)) if aim.sight.view == Some(from) && at.seq == self.head.seq => {
                let place = *place;
                let Some(lack) = self.lacks(place.stream) else {
                    return self.begin_anew(now_us, session, effects);
                };
                if lack.seen < self.head.seq {
                    // Too much at a time: it asks again when it has caught up.
                    let index = self.make_lagging(now_us, place);
                    return self.bite(now_us, index, effects);
                }
                // Parts say nothing of what is durable; windows do, also those
                // that showed nothing here.
                let index = self.bring_to_head(now_us, place, lack);
                self.set_view(session, Some(to));
                self.counters.steps += 1;
                self.lagging[index].begin(now_us, Start::Load { parts, at });
                self.bite(now_us, index, effects);
            }
            _ => self.consider(now_us, session, effects),
        }
    }

    /// What a session sees.
    pub fn view(&self, session: SessionKey) -> Option<View> {
        self.aims.get(&session)?.sight.view
    }

    pub(super) fn set_sight(&mut self, session: SessionKey, sight: Sight) {
        if sight != Sight::default() {
            self.aims.insert(session, Aim { sight, is_stepping: false });
        }
    }

    pub(super) fn set_view(&mut self, session: SessionKey, view: Option<View>) {
        match self.aims.get_mut(&session) {
            Some(aim) => aim.sight.view = view,
            None => self.set_sight(session, Sight { view, goal: None }),
        }
    }

    /// Where a session that has to begin anew begins: near what it wants.
    pub(super) fn first_view(&self, session: SessionKey) -> Option<View> {
        self.aims.get(&session)?.sight.goal.map(|goal| goal.first())
    }

    /// What a session is to see at its level.
    fn goal(&self, session: SessionKey) -> Option<View> {
        let goal = self.aims.get(&session)?.sight.goal?;
        Some(if self.level(session) >= Level::Near { goal.first() } else { goal })
    }

    /// Takes a live session a step further, if it does not see what it wants.
    pub(super) fn consider(
        &mut self,
        now_us: u64,
        session: SessionKey,
        effects: &mut Vec<FanOutEffect>,
    ) {
        let is_live = matches!(self.places.get(&session), Some(Place::Live(_)));
        let goal = self.goal(session);
        let Some(aim) = self.aims.get_mut(&session).filter(|_| is_live) else { return };
        match (Sight { view: aim.sight.view, goal }) {
            Sight { view: None, goal: None } => drop(self.aims.remove(&session)),
            Sight { view: Some(view), goal: Some(goal) } => {
                if view != goal && !aim.is_stepping {
                    aim.is_stepping = true;
                    let to = view.step(&goal);
                    effects.push(FanOutEffect::Step { session, from: view, to });
                }
            }
            Sight { .. } => self.begin_anew(now_us, session, effects),
        }
    }

    /// A session gets a fresh copy.
    pub(super) fn begin_anew(
        &mut self,
        now_us: u64,
        session: SessionKey,
        effects: &mut Vec<FanOutEffect>,
    ) {
        let index = match self.places.get(&session) {
            None => return,
            Some(Place::Lagging(index)) => *index,
            Some(Place::Live(place)) => self.make_lagging(now_us, *place),
        };
        self.counters.begun_anew += 1;
        self.lagging[index].enter(now_us, Stage::Waiting);
        let view = self.first_view(session);
        effects.push(FanOutEffect::Resync { session, at: None, view });
    }

    /// Tells those that have heard nothing for a while that they are at the head.
    pub(super) fn tell_quiet_streams(&mut self, now_us: u64) {
        if self.quiet_us.is_none_or(|at_us| now_us < at_us) {
            return;
        }
        self.quiet_us = None;
        for index in 0..self.streams.len() {
            let stream = self.streams.get(index);
            // One that waits is told in its turn.
            if stream.since == self.head.seq || stream.seen < self.head.seq {
                continue;
            }
            let sent_us = stream.sent_us;
            if sent_us + QUIET_US <= now_us {
                self.tell_head(now_us, index);
            } else {
                self.quiet_from(sent_us);
            }
        }
        self.settle_filled(now_us);
    }

    /// A stream has been handed nothing since then.
    pub(super) fn quiet_from(&mut self, sent_us: u64) {
        let due_us = sent_us + QUIET_US;
        self.quiet_us = Some(self.quiet_us.map_or(due_us, |at_us| at_us.min(due_us)));
    }
}
