//! From accepted events to windows in the journal and on the wire.

use std::sync::Arc;

use avvy_brane::journal;
use avvy_model::{Change, Counter, Event, MovePatch, Seq};
use avvy_protocol::{Flush, FlushItem, MoveRecord, ServerMessage, WireChange, WireEvent};
use bytes::Bytes;

use super::{BraneCore, BraneEffect, CellWindow, Window};
use crate::flush_window::Verdict;
use crate::group_commit::JournalChunk;
use crate::{Now, SessionKey};

/// A window that the journal has and the fan-out has not.
pub(super) struct Closed {
    from: Seq,
    to: Seq,
    items: Vec<FlushItem>,
    cells: Option<Arc<CellWindow>>,
    acks: Vec<(SessionKey, Vec<(Counter, Seq)>)>,
}

impl BraneCore {
    /// Closes and publishes what is due. Returns when to ask again.
    pub(super) fn pace(&mut self, now: Now, effects: &mut Vec<BraneEffect>) -> Option<u64> {
        loop {
            let verdict = self.pace.decide(now.us, self.viewers());
            match verdict {
                Verdict::Wait(_) if self.draining && self.published < self.head => {
                    self.publish(now, effects);
                }
                Verdict::Wait(wake_us) => return wake_us,
                Verdict::Close => self.close_window(now, effects),
                Verdict::Publish => self.publish(now, effects),
            }
        }
    }

    /// How many sessions a publication is handed to: of viewers of parts those
    /// of one turn.
    fn viewers(&self) -> usize {
        self.sessions.len() - self.scoped + self.scoped.min(self.config.turn_sessions)
    }

    pub(super) fn on_fan_out_ready(&mut self, now: Now, published: Seq, floor: Seq, paced: bool) {
        self.floor = floor;
        self.ready = self.ready.max(published.min(self.published));
        if self.ready == self.published {
            self.pace.ready(now.us, paced);
        }
    }

    /// Gives the open window to the journal.
    pub(super) fn close_window(&mut self, now: Now, effects: &mut Vec<BraneEffect>) {
        let body = Bytes::from(journal::encode(&self.open));
        let (from, to) = (self.closed, self.head);
        self.journal.push(to, body.len());
        self.snapshots.count(self.open.len(), body.len());
        let at_ms = self.open.last().map_or(0, |event| event.at_ms);
        let chunk = JournalChunk { epoch: self.epoch, from, to, at_ms, body };
        effects.push(BraneEffect::Journal(chunk));

        let items = wire_items(&self.open);
        let cells = self.close_cells(now);
        let acks = self.take_acks();
        self.queue.push_back(Closed { from, to, items, cells, acks });
        self.closed = to;
        self.open.clear();
        self.open_bytes = 0;
        self.pace.closed();
    }

    /// What viewers of parts see of the open window. Whether the next one is
    /// noted, too, is decided here, between the two.
    fn close_cells(&mut self, now: Now) -> Option<Arc<CellWindow>> {
        let window = self.world.is_tracked().then(|| {
            let crossings = self.world.crossings(self.config.max_crossed);
            Arc::new(CellWindow::new(&self.open, &self.open_spots, crossings))
        });
        self.open_spots.clear();
        self.track(now);
        window
    }

    /// Gives everything to the fan-out.
    fn publish(&mut self, now: Now, effects: &mut Vec<BraneEffect>) {
        if !self.open.is_empty() {
            self.close_window(now, effects);
        }
        while let Some(Closed { from, to, items, cells, acks }) = self.queue.pop_front() {
            let editors = acks.iter().map(|(session, _)| *session).collect();
            self.journal.await_durable(to, editors);
            let flush = Arc::new(Flush {
                channel: self.channel,
                epoch: self.epoch,
                from,
                to,
                durable: self.durable.min(to),
                ms: now.unix_ms,
                items,
            });
            self.counters.windows += 1;
            effects.push(BraneEffect::Publish(Window { flush, cells, acks }));
        }
        self.published = self.closed;
        // Whose edits are durable already reads so in the window's header.
        self.journal.take_editors(self.durable);
        self.pace.published(now.us, self.viewers());
        self.answer_repeats(effects);
    }

    fn take_acks(&mut self) -> Vec<(SessionKey, Vec<(Counter, Seq)>)> {
        let sessions = &mut self.sessions;
        let editors = self.open_editors.drain(..);
        editors
            .filter_map(|key| {
                let session = sessions.get_mut(&key)?;
                Some((key, std::mem::take(&mut session.acks)))
            })
            .collect()
    }

    /// Answers edits that were sent again before their window was published.
    fn answer_repeats(&mut self, effects: &mut Vec<BraneEffect>) {
        for (session, counter, seq) in std::mem::take(&mut self.repeats) {
            if self.sessions.contains_key(&session) {
                self.tell_applied(session, vec![(counter, seq)], effects);
            }
        }
    }

    pub(super) fn tell_applied(
        &mut self,
        session: SessionKey,
        edits: Vec<(Counter, Seq)>,
        effects: &mut Vec<BraneEffect>,
    ) {
        let last = edits.iter().map(|(_, seq)| *seq).max();
        let message = ServerMessage::Applied { channel: self.channel, edits };
        effects.push(BraneEffect::Tell { session, message });
        if let Some(last) = last {
            self.promise_durable(session, last, effects);
        }
    }
}

/// A window as viewers see it: without before-images, runs of moves together.
pub fn wire_items(events: &[Event]) -> Vec<FlushItem> {
    let mut items = Vec::new();
    let mut moves = Vec::new();
    for event in events {
        if event.ruled().is_some() {
            if !moves.is_empty() {
                items.push(FlushItem::Moves(std::mem::take(&mut moves)));
            }
            match items.last_mut() {
                Some(FlushItem::Skip(edits)) => *edits += 1,
                _ => items.push(FlushItem::Skip(1)),
            }
            continue;
        }
        if let [Change::Moved { handle, parts, after, .. }] = event.changes.as_slice() {
            let patch = MovePatch::new(*parts, *after);
            moves.push(MoveRecord { handle: *handle, patch });
            continue;
        }
        if !moves.is_empty() {
            items.push(FlushItem::Moves(std::mem::take(&mut moves)));
        }
        let changes = event.changes.iter().filter_map(WireChange::of).collect();
        items.push(FlushItem::Event(WireEvent { by: event.by, changes }));
    }
    if !moves.is_empty() {
        items.push(FlushItem::Moves(moves));
    }
    items
}
