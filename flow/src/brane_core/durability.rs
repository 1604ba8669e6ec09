//! What is not durable yet, and who waits for it.

use std::collections::VecDeque;

use avvy_model::{Epoch, Seq};
use avvy_protocol::ServerMessage;

use super::{BraneCore, BraneEffect};
use crate::SessionKey;

/// The chunks that are under way to the store.
#[derive(Default)]
pub(super) struct Journal {
    /// The end and the bytes of each, oldest first.
    chunks: VecDeque<(Seq, usize)>,
    bytes: usize,
    /// Published windows that were not durable then, with their editors.
    editors: VecDeque<(Seq, Vec<SessionKey>)>,
}

impl Journal {
    pub(super) fn push(&mut self, to: Seq, bytes: usize) {
        self.chunks.push_back((to, bytes));
        self.bytes += bytes;
    }

    /// Bytes that are not durable.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Chunks that are not durable.
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// These editors' edits are in the window that ends at `to`.
    pub(super) fn await_durable(&mut self, to: Seq, editors: Vec<SessionKey>) {
        self.editors.push_back((to, editors));
    }

    /// One more editor waits for `seq`, which is in a published window.
    fn await_also(&mut self, seq: Seq, session: SessionKey) {
        let window = self.editors.partition_point(|(to, _)| *to < seq);
        if let Some((_, editors)) = self.editors.get_mut(window) {
            editors.push(session);
        }
    }

    fn durable(&mut self, seq: Seq) {
        let count = self.chunks.partition_point(|(to, _)| *to <= seq);
        self.bytes -= self.chunks.drain(..count).map(|(_, bytes)| bytes).sum::<usize>();
    }

    /// The editors of all published windows up to `seq`, each once.
    pub(super) fn take_editors(&mut self, seq: Seq) -> Vec<SessionKey> {
        let count = self.editors.partition_point(|(to, _)| *to <= seq);
        let editors = self.editors.drain(..count);
        let mut taken: Vec<_> = editors.flat_map(|(_, editors)| editors).collect();
        taken.sort_unstable();
        taken.dedup();
        taken
    }
}

impl BraneCore {
    pub(super) fn on_durable(&mut self, epoch: Epoch, seq: Seq, effects: &mut Vec<BraneEffect>) {
        if epoch != self.epoch || seq > self.closed {
            self.counters.foreign_durable += 1;
            return;
        }
        if seq <= self.durable {
            return;
        }
        self.durable = seq;
        self.journal.durable(seq);
        self.tell_durable(effects);
    }

    /// Tells the editors of published windows, unless they are many and a
    /// window is about to tell them.
    fn tell_durable(&mut self, effects: &mut Vec<BraneEffect>) {
        let at = self.durable.min(self.published);
        let mut waiting = self.journal.take_editors(at);
        waiting.retain(|session| self.sessions.contains_key(session));
        let window_is_near = self.published < self.head;
        let told_by_window = window_is_near && waiting.len() > self.config.durable_tells;
        if !waiting.is_empty() && !told_by_window {
            effects.push(BraneEffect::Durable { at: self.position(at), waiting });
        }
    }

    /// An edit of this session was answered again as applied: it will learn
    /// that the edit is durable.
    pub(super) fn promise_durable(
        &mut self,
        session: SessionKey,
        seq: Seq,
        effects: &mut Vec<BraneEffect>,
    ) {
        if seq > self.durable {
            return self.journal.await_also(seq, session);
        }
        let durable = self.position(self.durable.min(self.published));
        let message = ServerMessage::Durable { channel: self.channel, durable };
        effects.push(BraneEffect::Tell { session, message });
    }

    /// Whether no edit can be taken at the moment.
    pub(super) fn is_unavailable(&self) -> bool {
        self.draining
            || self.pressure
            || self.journal.bytes() + self.open_bytes >= self.config.max_journal_bytes
            || self.head.0 - self.ready.0 >= self.config.max_unpublished_edits
    }
}
