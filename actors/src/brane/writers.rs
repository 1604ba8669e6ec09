//! Requests that write without a session: each is a session that has no wire,
//! stays until its edits have outcomes and what was applied is durable, and
//! is answered once.

use std::collections::HashMap;

use avvy_brane::Admission;
use avvy_flow::SessionKey;
use avvy_flow::brane_core::{BraneInput, BraneStatus, Window};
use avvy_model::{
    Code, Counter, EditId, Epoch, NumberedEdit, Position, Principal, Refusal, Seq, UserId,
};
use avvy_protocol::{Join, Resume, ServerMessage, Update};
use ractor::ActorRef;
use ractor::concurrency::OneshotSender;

use super::{Brane, BraneMsg, closed_to_all, now};
use crate::system::{OnlyIf, WriteRequest, Written};

/// Edits that come by HTTP.
pub(crate) struct Write {
    /// A key of its own, as if it were a session.
    pub(crate) session: SessionKey,
    pub(crate) principal: Principal,
    pub(crate) request: WriteRequest,
    pub(crate) only_if: OnlyIf,
    pub(crate) reply: Reply,
}

type Reply = OneshotSender<Result<Written, Code>>;

/// The requests that one brane has not answered yet.
#[derive(Default)]
pub(super) struct Writers(HashMap<SessionKey, Writer>);

/// A request that waits for outcomes, then for their being durable.
struct Writer {
    waiting: Vec<Counter>,
    outcomes: Vec<(Counter, Result<Seq, Refusal>)>,
    last: Seq,
    reply: Reply,
}

impl Writers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, session: SessionKey, waiting: Vec<Counter>, reply: Reply) {
        let writer = Writer { waiting, outcomes: Vec::new(), last: Seq(0), reply };
        self.0.insert(session, writer);
    }

    /// Whoever asked has stopped waiting.
    pub(super) fn remove(&mut self, session: SessionKey) {
        self.0.remove(&session);
    }

    pub(super) fn fail(&mut self, session: SessionKey, code: Code) {
        if let Some(writer) = self.0.remove(&session) {
            // Whoever asked may have stopped waiting.
            let _ = writer.reply.send(Err(code));
        }
    }

    /// Takes the writers' outcomes out of a window that is published.
    pub(super) fn take_acks(&mut self, window: &mut Window) {
        if self.is_empty() {
            return;
        }
        window.acks.retain(|(session, edits)| {
            let Some(writer) = self.0.get_mut(session) else { return true };
            edits.iter().for_each(|(counter, seq)| writer.settle(*counter, Ok(*seq)));
            false
        });
    }

    /// Takes what is told to a writer; gives back what is for somebody else.
    pub(super) fn take_told(
        &mut self,
        session: SessionKey,
        message: ServerMessage,
    ) -> Option<ServerMessage> {
        let Some(writer) = self.0.get_mut(&session) else { return Some(message) };
        match message {
            ServerMessage::Applied { edits, .. } => {
                edits.into_iter().for_each(|(counter, seq)| writer.settle(counter, Ok(seq)));
            }
            ServerMessage::Refused { edits, .. } => {
                for edit in edits {
                    let refusal = Refusal { code: edit.code, operation: edit.operation };
                    writer.settle(edit.counter, Err(refusal));
                }
            }
            // Nothing else says what became of an edit; the watermark is
            // looked at when a writer may be finished.
            ServerMessage::Welcome(_)
            | ServerMessage::Refreshed { .. }
            | ServerMessage::Expiring { .. }
            | ServerMessage::Pong { .. }
            | ServerMessage::Joined(_)
            | ServerMessage::Left { .. }
            | ServerMessage::Rewind { .. }
            | ServerMessage::Snapshot(_)
            | ServerMessage::View(_)
            | ServerMessage::Level { .. }
            | ServerMessage::AreaFlush(_)
            | ServerMessage::VersionComplete { .. }
            | ServerMessage::Flush(_)
            | ServerMessage::Durable { .. }
            | ServerMessage::Hash { .. }
            | ServerMessage::Rights(_)
            | ServerMessage::Changed(_)
            | ServerMessage::People(_)
            | ServerMessage::Error(_) => {}
        }
        None
    }

    /// Answers those whose edits all have outcomes that are durable, and says
    /// which.
    pub(super) fn finish(&mut self, epoch: Epoch, durable: Seq) -> Vec<SessionKey> {
        let done = |writer: &mut Writer| writer.waiting.is_empty() && writer.last <= durable;
        let finished = self.0.extract_if(|_, writer| done(writer));
        finished
            .map(|(session, writer)| {
                writer.finish(epoch, durable);
                session
            })
            .collect()
    }
}

impl Writer {
    fn settle(&mut self, counter: Counter, outcome: Result<Seq, Refusal>) {
        let Some(at) = self.waiting.iter().position(|c| *c == counter) else { return };
        self.waiting.swap_remove(at);
        if let Ok(seq) = outcome {
            self.last = self.last.max(seq);
        }
        self.outcomes.push((counter, outcome));
    }

    fn finish(mut self, epoch: Epoch, durable: Seq) {
        self.outcomes.sort_unstable_by_key(|(counter, _)| *counter);
        // Whoever asked may have stopped waiting.
        let _ = self.reply.send(Ok(Written { epoch, outcomes: self.outcomes, durable }));
    }
}

impl Brane {
    pub(super) fn on_write(&mut self, myself: &ActorRef<BraneMsg>, write: Write) {
        let Write { session, principal, request, only_if, reply } = write;
        let WriteRequest { client, known, edits, trace } = request;
        let is_known = |edit: &NumberedEdit| {
            let id = EditId { client, counter: edit.counter };
            matches!(self.core.clients().check(id), Admission::Known(_))
        };
        if let Some(code) = closed_to_all(&self.record) {
            let _ = reply.send(Err(code));
            return;
        }
        let is_new = !edits.iter().all(is_known);
        let status = self.core.status();
        // Whoever asked may have stopped waiting.
        if is_new && only_if.epoch.is_some_and(|epoch| epoch != status.epoch) {
            let refused = |edit: NumberedEdit| (edit.counter, Err(Code::Unavailable.into()));
            let outcomes = edits.into_iter().map(refused).collect();
            let BraneStatus { epoch, durable, .. } = status;
            let _ = reply.send(Ok(Written { epoch, outcomes, durable }));
            return;
        }
        if is_new && !self.are_there(&only_if.objects) {
            let _ = reply.send(Err(Code::Conflict));
            return;
        }
        let waiting = edits.iter().map(|edit| edit.counter).collect();
        self.writers.insert(session, waiting, reply);
        // It stands at the head, so it is let in at once.
        let version = Position { epoch: status.epoch, seq: status.published };
        let resume = Some(Resume { version, touched: None, scope: None });
        let join = Join { brane: self.record.id, client, known, resume, area: None };
        self.feed(myself, BraneInput::Join { session, principal, join });
        let update = Update { channel: self.channel, trace: Some(trace), edits };
        self.feed(myself, BraneInput::Update { session, update });
    }

    /// Says what became of an edit, and how far the journal is durable.
    pub(super) fn on_settle(
        &mut self,
        of: EditId,
        by: UserId,
        reply: OneshotSender<(Admission, Seq)>,
    ) {
        let settled = self.core.settle_edit(now(), of, by);
        let _ = reply.send((settled, self.core.durable()));
    }

    /// Answers the requests whose edits all have outcomes and are durable.
    /// Whatever was handled may have been the last thing that one of them
    /// waited for: the watermark can come before the window is published.
    pub(super) fn finish_writers(&mut self, myself: &ActorRef<BraneMsg>) {
        if self.writers.is_empty() {
            return;
        }
        let BraneStatus { epoch, durable, .. } = self.core.status();
        for session in self.writers.finish(epoch, durable) {
            self.feed(myself, BraneInput::Leave { session });
        }
    }
}
