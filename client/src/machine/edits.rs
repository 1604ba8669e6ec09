//! One client's own edits of one brane, kept until each is durable.
//!
//! Numbers are given at first sending and never change, so that however often
//! an edit is sent, the server applies it once. The edits that were sent on
//! this connection come first, those still to be sent after them.

use std::collections::VecDeque;

use avvy_model::{Counter, Edit, NumberedEdit, Operation, Position, Ruling, Seq};

use super::Ticket;

/// Bytes of the envelope of an update, at most.
const UPDATE_BYTES: usize = 128;
/// Bytes of an operation without its properties, at most.
const OPERATION_BYTES: usize = 192;

/// An own edit that is neither durable nor refused.
#[derive(Clone, Copy, Debug)]
pub struct KeptEdit<'a> {
    /// What its submission was answered with.
    pub ticket: Ticket,
    /// What is asked for.
    pub edit: &'a Edit,
    /// Its number, once it was sent.
    pub counter: Option<Counter>,
    /// Where it was last known to be in the log.
    pub at: Option<Position>,
}

/// The same with what is not for show.
#[derive(Debug)]
struct Kept {
    ticket: Ticket,
    edit: Edit,
    bytes: usize,
    /// Operations: what it counts for among what is under way.
    weight: u32,
    counter: Option<Counter>,
    first_sent_ms: u64,
    sent_ms: u64,
    /// Whether this connection has brought the outcome "applied".
    applied: bool,
    /// Where it was last known to be in the log.
    at: Option<Position>,
}

/// What may be sent at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct SendLimits {
    /// Operations that may be under way on the connection.
    pub(super) most_in_flight: u32,
    /// How many more there may be now.
    pub(super) in_flight: u32,
    pub(super) message_bytes: u32,
}

/// What came of asking for edits to send.
#[derive(Debug)]
pub(super) enum Next {
    Send(Vec<NumberedEdit>),
    /// Larger than a message may be: refused without asking.
    TooLarge(Ticket),
    Nothing,
}

/// The edits, oldest first.
#[derive(Debug)]
pub(super) struct Edits {
    kept: VecDeque<Kept>,
    /// How many of the first ones were sent on this connection.
    sent: usize,
    /// How many operations these have of which no outcome is known yet.
    in_flight: u32,
    next: Counter,
    /// How far the oldest unsettled edit and the newest sent one may lie
    /// apart.
    outcomes_remembered: u64,
}

impl Edits {
    pub(super) fn new(outcomes_remembered: u64) -> Self {
        Self {
            kept: VecDeque::new(),
            sent: 0,
            in_flight: 0,
            next: Counter(1),
            outcomes_remembered: outcomes_remembered.max(1),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Operations sent on this connection that have no outcome yet.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The edits from oldest to newest.
    pub(super) fn iter(&self) -> impl Iterator<Item = KeptEdit<'_>> {
        self.kept.iter().map(|kept| KeptEdit {
            ticket: kept.ticket,
            edit: &kept.edit,
            counter: kept.counter,
            at: kept.at,
        })
    }

    pub(super) fn push(&mut self, ticket: Ticket, edit: Edit) {
        let bytes = bytes_at_most(&edit);
        let weight = edit.cost();
        self.kept.push_back(Kept {
            ticket,
            edit,
            bytes,
            weight,
            counter: None,
            first_sent_ms: 0,
            sent_ms: 0,
            applied: false,
            at: None,
        });
    }

    /// The next edits to send, numbered.
    pub(super) fn next(&mut self, now_ms: u64, limits: SendLimits) -> Next {
        let mut batch = Vec::new();
        let mut bytes = UPDATE_BYTES;
        let (mut room, most) = (limits.in_flight, limits.most_in_flight);
        let max_bytes = limits.message_bytes as usize;
        while let Some(kept) = self.kept.get(self.sent) {
            let fits = bytes + kept.bytes <= max_bytes;
            let fits_alone = UPDATE_BYTES + kept.bytes <= max_bytes;
            if !(fits_alone && kept.weight <= most) && kept.counter.is_none() {
                if !batch.is_empty() {
                    break;
                }
                let kept = self.kept.remove(self.sent);
                return kept.map_or(Next::Nothing, |kept| Next::TooLarge(kept.ticket));
            }
            // One that was sent before was small enough then.
            if (!fits && !batch.is_empty()) || kept.weight.min(most) > room || !self.within_memory()
            {
                break;
            }
            let kept = &mut self.kept[self.sent];
            room = room.saturating_sub(kept.weight);
            self.in_flight += kept.weight;
            let counter = *kept.counter.get_or_insert_with(|| {
                kept.first_sent_ms = now_ms;
                let counter = self.next;
                self.next = counter.next();
                counter
            });
            kept.sent_ms = now_ms;
            bytes += kept.bytes;
            batch.push(NumberedEdit { counter, edit: kept.edit.clone() });
            self.sent += 1;
        }
        if batch.is_empty() { Next::Nothing } else { Next::Send(batch) }
    }

    /// Everything has to be sent again: a new connection, or a rewind.
    pub(super) fn send_again(&mut self) {
        self.sent = 0;
        self.in_flight = 0;
        for kept in &mut self.kept {
            kept.applied = false;
        }
    }

    /// The edit with this number is in the log. Gives its ticket, unless that
    /// is no news.
    pub(super) fn applied(&mut self, counter: Counter, at: Position) -> Option<Ticket> {
        let index = self.index_of(counter)?;
        let kept = &mut self.kept[index];
        if !kept.applied && index < self.sent {
            kept.applied = true;
            self.in_flight = self.in_flight.saturating_sub(kept.weight);
        }
        let news = kept.at.map(|at| at.seq) != Some(at.seq);
        kept.at = Some(at);
        news.then_some(kept.ticket)
    }

    /// The edit with this number has another outcome and is kept no longer.
    pub(super) fn settle(&mut self, counter: Counter) -> Option<Ticket> {
        let index = self.index_of(counter)?;
        self.take(index).map(|kept| kept.ticket)
    }

    /// Takes the edits that are durable now that everything up to `durable` is.
    pub(super) fn durable(&mut self, durable: Seq, settled: &mut Vec<(Ticket, Position)>) {
        let mut index = 0;
        while index < self.sent {
            let kept = &self.kept[index];
            match kept.at {
                Some(at) if kept.applied && at.seq <= durable => {
                    settled.push((kept.ticket, at));
                    self.take(index);
                }
                _ => index += 1,
            }
        }
    }

    /// The edits that were in the log after `to`, which are not any more.
    pub(super) fn lost_after(&mut self, to: Seq) -> Vec<Ticket> {
        let mut lost = Vec::new();
        for kept in &mut self.kept {
            if kept.at.is_some_and(|at| at.seq > to) {
                kept.at = None;
                lost.push(kept.ticket);
            }
        }
        lost
    }

    /// Takes the edits that were first sent before this time.
    pub(super) fn take_sent_before(&mut self, before_ms: u64) -> Vec<Ticket> {
        self.take_numbered(|kept| kept.first_sent_ms < before_ms)
    }

    /// Starts anew under another client id: takes the edits that were sent
    /// under the old one, keeps the others.
    pub(super) fn renumber(&mut self) -> Vec<Ticket> {
        let taken = self.take_numbered(|_| true);
        self.next = Counter(1);
        taken
    }

    /// Takes all, each with whether it was ever sent.
    pub(super) fn take_all(&mut self) -> Vec<(Ticket, bool)> {
        self.sent = 0;
        self.in_flight = 0;
        self.kept.drain(..).map(|kept| (kept.ticket, kept.counter.is_some())).collect()
    }

    /// When the oldest edit without an outcome was sent on this connection.
    pub(super) fn oldest_in_flight_ms(&self) -> Option<u64> {
        let sent = self.kept.iter().take(self.sent);
        sent.filter(|kept| !kept.applied).map(|kept| kept.sent_ms).next()
    }

    /// Whether the server would still know the outcome of the oldest edit
    /// after the next one was sent.
    fn within_memory(&self) -> bool {
        let oldest = self.kept.front().and_then(|kept| kept.counter).unwrap_or(self.next);
        let next = self.kept[self.sent].counter.unwrap_or(self.next);
        next.0 - oldest.0 < self.outcomes_remembered
    }

    fn take_numbered(&mut self, which: impl Fn(&Kept) -> bool) -> Vec<Ticket> {
        let mut taken = Vec::new();
        let mut index = 0;
        while index < self.kept.len() && self.kept[index].counter.is_some() {
            if which(&self.kept[index]) {
                taken.extend(self.take(index).map(|kept| kept.ticket));
            } else {
                index += 1;
            }
        }
        taken
    }

    fn take(&mut self, index: usize) -> Option<Kept> {
        let kept = self.kept.remove(index)?;
        if index < self.sent {
            self.sent -= 1;
            if !kept.applied {
                self.in_flight = self.in_flight.saturating_sub(kept.weight);
            }
        }
        Some(kept)
    }

    /// Numbered edits come first and their numbers rise.
    fn index_of(&self, counter: Counter) -> Option<usize> {
        let index = self.kept.partition_point(|kept| kept.counter.is_some_and(|c| c < counter));
        let found = self.kept.get(index)?;
        (found.counter == Some(counter)).then_some(index)
    }
}

/// What an edit takes on the wire, at most.
fn bytes_at_most(edit: &Edit) -> usize {
    let ruling = match edit {
        Edit::Rule(ruling) => ruling_bytes(ruling),
        Edit::One(_) | Edit::Batch(_) | Edit::Follow(_) => 0,
    };
    edit.operations().iter().map(operation_bytes).sum::<usize>() + ruling + 16
}

fn ruling_bytes(ruling: &Ruling) -> usize {
    /// Of a grant without property keys, which is the longest.
    const RULING_BYTES: usize = 512;
    let keys = match ruling {
        Ruling::Grant { reach, .. } => reach.keys.as_deref().unwrap_or_default(),
        _ => &[],
    };
    RULING_BYTES + keys.iter().map(|key| key.as_str().len() + 5).sum::<usize>()
}

fn operation_bytes(operation: &Operation) -> usize {
    OPERATION_BYTES
        + match operation {
            Operation::Create { props, .. } => props.as_bytes().len(),
            Operation::Update { patch, .. } => {
                let entry = |(key, value): &(avvy_model::PropKey, Option<avvy_model::Value>)| {
                    key.as_str().len() + value.as_ref().map_or(1, |v| v.as_bytes().len()) + 8
                };
                patch.entries().iter().map(entry).sum()
            }
            Operation::Move { .. } | Operation::Reparent { .. } | Operation::Delete { .. } => 0,
        }
}
