//! Steps from one view to the next. A small message asks for one, and many
//! cells may have to be looked at for it, so all steps together have a share
//! of the time: the edits of others do not wait for those who look around.

use std::collections::VecDeque;

use avvy_brane::Region;
use avvy_model::{Scope, View};

use super::join::{Boundary, MAX_LISTED};
use super::{BraneCore, BraneEffect, Selection, Show};
use crate::{Now, SessionKey};

/// What a cell or an object that is looked at is taken to cost, in nanoseconds.
const LOOK_NS: u64 = 25;

/// The share of so much time may be spent at once after a rest, in microseconds.
const BURST_US: u64 = 50_000;

/// Who waits to see more, and how much was spent on those who do.
#[derive(Default)]
pub(super) struct Steps {
    waiting: VecDeque<Step>,
    /// When the share of what was looked at so far has passed.
    spent_us: u64,
}

struct Step {
    session: SessionKey,
    from: View,
    to: View,
}

impl Steps {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn forget(&mut self, session: SessionKey) {
        self.waiting.retain(|step| step.session != session);
    }

    /// Whether one can be served now.
    pub(super) fn is_due(&self, now_us: u64) -> bool {
        self.due_us().is_some_and(|due_us| due_us <= now_us)
    }

    /// When the next one can be served.
    pub(super) fn due_us(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then(|| self.spent_us.saturating_sub(BURST_US))
    }

    fn spend(&mut self, now_us: u64, looks: u64, percent: u32) {
        let share_us = looks * LOOK_NS / 10 / u64::from(percent.max(1));
        self.spent_us = self.spent_us.max(now_us) + share_us;
    }
}

impl BraneCore {
    pub(super) fn on_step(&mut self, session: SessionKey, from: View, to: View) {
        let Some(asks) = self.sessions.get_mut(&session) else { return };
        if asks.attached && !asks.step_wanted {
            asks.step_wanted = true;
            self.steps.waiting.push_back(Step { session, from, to });
        }
    }

    /// Answers those who wait to see more, as far as there is time for it.
    pub(super) fn serve_steps(
        &mut self,
        now: Now,
        boundary: &mut Boundary,
        effects: &mut Vec<BraneEffect>,
    ) {
        while self.steps.is_due(now.us) {
            let Some(step) = self.steps.waiting.pop_front() else { return };
            self.show(now, boundary, step, effects);
        }
    }

    fn show(
        &mut self,
        now: Now,
        boundary: &mut Boundary,
        Step { session: key, from, to }: Step,
        effects: &mut Vec<BraneEffect>,
    ) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.step_wanted = false;
        let scope = Some(Scope { grid: self.world.grid(), view: to });
        let region = Region { view: to, known: Some(from) };
        let is_new = !boundary.has(&region);
        let parts = self.region(boundary, region, scope);
        if is_new {
            let listed = match &parts.selection {
                Selection::Listed(handles) => handles.len(),
                Selection::All | Selection::Region(..) => MAX_LISTED,
            };
            let looks = self.world.looks(&region) + (listed + parts.gone.len()) as u64;
            self.steps.spend(now.us, looks, self.config.view_budget_percent);
        }
        effects.push(BraneEffect::Show(Box::new(Show { session: key, from, to, parts })));
    }
}
