//! Edits: each gets an outcome, and the accepted ones a place in the log.

use avvy_brane::{Admission, Outcome};
use avvy_model::{
    Code, Counter, Edit, EditId, Event, NumberedEdit, Refusal, Seq, TraceId, UserId, weight,
};
use avvy_protocol::{RefusedEdit, ServerMessage, Update};

use super::rights::RuledFor;
use super::{BraneCore, BraneEffect, Session};
use crate::{Now, SessionKey};

/// The outcomes of one update that are told at once.
#[derive(Default)]
struct Answers {
    refused: Vec<RefusedEdit>,
    repeated: Vec<(Counter, Seq)>,
}

impl Answers {
    fn refuse(&mut self, counter: Counter, refusal: Refusal) {
        let Refusal { code, operation } = refusal;
        self.refused.push(RefusedEdit { counter, code, operation });
    }
}

impl BraneCore {
    pub(super) fn on_update(
        &mut self,
        now: Now,
        session: SessionKey,
        update: Update,
        effects: &mut Vec<BraneEffect>,
    ) {
        let mut answers = Answers::default();
        if self.sessions.get(&session).is_some_and(|session| session.attached) {
            for edit in update.edits {
                self.take_edit(now, session, update.trace, edit, &mut answers, effects);
            }
        } else {
            for edit in update.edits {
                answers.refuse(edit.counter, Code::NotJoined.into());
            }
        }
        self.tell(session, answers, effects);
    }

    /// What became of an edit. One that never came is refused from now on, so
    /// that whoever asked can rely on it.
    pub fn settle_edit(&mut self, now: Now, of: EditId, by: UserId) -> Admission {
        match self.clients.check(of) {
            Admission::New | Admission::Refused(Code::ClientUnknown) => {
                let refused = Outcome::Refused(Code::OutcomeUnknown.into());
                self.clients.record(of, by, refused, now.unix_ms);
                Admission::Known(refused)
            }
            known => known,
        }
    }

    /// Gives one edit its outcome.
    fn take_edit(
        &mut self,
        now: Now,
        key: SessionKey,
        trace: Option<TraceId>,
        edit: NumberedEdit,
        answers: &mut Answers,
        effects: &mut Vec<BraneEffect>,
    ) {
        let Some(session) = self.sessions.get(&key) else { return };
        let NumberedEdit { counter, edit } = edit;
        let id = EditId { client: session.client, counter };
        match self.clients.check(id) {
            Admission::New => {
                let by = session.principal.user;
                let may_write = self.world.rights().may_write(&session.principal, now.unix_ms);
                let outcome = self.apply(now, key, id, trace, &edit, effects);
                if may_write || matches!(outcome, Outcome::Applied(_)) {
                    self.clients.record(id, by, outcome, now.unix_ms);
                }
                if let Outcome::Refused(refusal) = outcome {
                    self.counters.refused += 1;
                    answers.refuse(counter, refusal);
                }
            }
            Admission::Known(outcome) => {
                self.counters.repeated += 1;
                match outcome {
                    Outcome::Refused(refusal) => answers.refuse(counter, refusal),
                    Outcome::Applied(seq) if seq <= self.published => {
                        answers.repeated.push((counter, seq));
                    }
                    Outcome::Applied(seq) => self.repeats.push((key, counter, seq)),
                }
            }
            Admission::Refused(code) => {
                self.counters.unknown += 1;
                answers.refuse(counter, code.into());
            }
        }
    }

    /// Applies a new edit, or refuses it.
    fn apply(
        &mut self,
        now: Now,
        key: SessionKey,
        id: EditId,
        trace: Option<TraceId>,
        edit: &Edit,
        effects: &mut Vec<BraneEffect>,
    ) -> Outcome {
        if self.is_unavailable() {
            return Outcome::Refused(Code::Unavailable.into());
        }
        let Some(session) = self.sessions.get(&key) else {
            return Outcome::Refused(Code::NotJoined.into());
        };
        let principal = session.principal;
        let by = principal.user;
        let (seq, at_ms) = (self.head.next(), now.unix_ms);
        loop {
            let limits = &self.config.limits;
            let changes = match self.world.apply(seq, at_ms, &principal, edit, limits) {
                Ok(changes) => changes,
                Err(refusal) => return Outcome::Refused(refusal),
            };
            let event = Event { seq, at_ms, by, edit: id, trace, changes };
            let bytes = weight::event(&event);
            if self.pace.has_room(bytes) {
                if let Some(whom) = event.ruled().map(RuledFor::of)
                    && !self.ruled.contains(&whom)
                {
                    self.ruled.push(whom);
                }
                self.push_event(now, key, event, bytes);
                return Outcome::Applied(seq);
            }
            // A window is a chunk, and the store bounds those. The one that is
            // closed now shows the world without this edit.
            self.world.retract(&event.changes);
            self.close_window(now, effects);
        }
    }

    /// Puts an accepted event into the open window.
    fn push_event(&mut self, now: Now, key: SessionKey, event: Event, bytes: usize) {
        self.pace.push(now.us, bytes);
        self.open_bytes += bytes;
        self.head = event.seq;
        self.counters.accepted += 1;
        if let Some(session) = self.sessions.get_mut(&key) {
            note_ack(session, key, &mut self.open_editors, event.edit.counter, event.seq);
        }
        if self.world.is_tracked() {
            self.open_spots.push(self.world.spots().into());
        }
        self.open.push(event);
    }

    fn tell(&mut self, session: SessionKey, answers: Answers, effects: &mut Vec<BraneEffect>) {
        let Answers { refused, repeated } = answers;
        if !refused.is_empty() {
            let message = ServerMessage::Refused { channel: self.channel, edits: refused };
            effects.push(BraneEffect::Tell { session, message });
        }
        if !repeated.is_empty() {
            self.tell_applied(session, repeated, effects);
        }
    }
}

fn note_ack(
    session: &mut Session,
    key: SessionKey,
    editors: &mut Vec<SessionKey>,
    counter: Counter,
    seq: Seq,
) {
    if session.acks.is_empty() {
        editors.push(key);
    }
    session.acks.push((counter, seq));
}
