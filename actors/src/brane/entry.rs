//! Who may come in now: a brane lets sessions in as its [`Admission`] says.

use std::time::Duration;

use avvy_flow::SessionKey;
use avvy_flow::admission::Answer;
use avvy_flow::brane_core::BraneInput;
use avvy_model::Code;
use avvy_protocol::Join;
use ractor::ActorRef;

use super::{Brane, BraneMsg, closed_to_all};
use crate::clock;
use crate::credits::Permit;

/// A session that wants in. Its wire is with the members.
pub(super) struct Knock {
    session: SessionKey,
    join: Box<Join>,
    permit: Option<Permit>,
}

impl Brane {
    /// A member wants to be let in.
    pub(super) fn on_knock(
        &mut self,
        myself: &ActorRef<BraneMsg>,
        session: SessionKey,
        join: Join,
        permit: Option<Permit>,
    ) {
        if let Some(code) = closed_to_all(&self.record) {
            return self.turn_away(session, code, None);
        }
        let knock = Knock { session, join: Box::new(join), permit };
        match self.admission.ask(clock::monotonic_us(), session, knock) {
            Answer::Enter(knock) => self.enter(myself, knock),
            Answer::Wait => {}
            Answer::Later { retry_after_ms, .. } => {
                self.turn_away(session, Code::Unavailable, Some(retry_after_ms));
            }
        }
    }

    /// Lets in whoever has room now.
    pub(super) fn let_in(&mut self, myself: &ActorRef<BraneMsg>) {
        if !self.admission.anybody_waits() {
            return;
        }
        if self.closing {
            let waiting: Vec<_> = self.admission.close().map(|(session, _)| session).collect();
            return waiting.into_iter().for_each(|session| self.refuse(session, Code::Unavailable));
        }
        let now_us = clock::monotonic_us();
        while let Some(knock) = self.admission.next(now_us) {
            self.enter(myself, knock);
        }
        let deadline_us = self.admission.deadline().filter(|_| !self.entry_tick);
        if let Some(deadline_us) = deadline_us {
            self.entry_tick = true;
            let pause = Duration::from_micros(deadline_us.saturating_sub(now_us));
            myself.send_after(pause, || BraneMsg::EntryTick);
        }
    }

    /// These stand at the head now, or are gone.
    pub(super) fn on_entered(&mut self, sessions: &[SessionKey]) {
        let now_us = clock::monotonic_us();
        sessions.iter().for_each(|session| self.admission.entered(now_us, *session));
    }

    /// The session is gone, wherever it was.
    pub(super) fn forget_knock(&mut self, session: SessionKey) {
        drop(self.admission.give_up(session));
        self.admission.entered(clock::monotonic_us(), session);
    }

    fn enter(&mut self, myself: &ActorRef<BraneMsg>, knock: Knock) {
        let Knock { session, join, permit } = knock;
        self.permits.extend(permit);
        // The record may have changed while it waited.
        let Some(principal) = self.principal(session) else { return };
        self.feed(myself, BraneInput::Join { session, principal, join: *join });
    }
}
