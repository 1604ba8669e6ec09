//! How bots read: a few decode everything into copies of the world, the
//! others look at the head of each window and hash the rest, which they
//! compare with what the whole copies saw. Walkers decode what they are shown.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use avvy_protocol::codec::{DecodeError, FlushView, decode_server};
use avvy_protocol::{FlushItem, Level, ServerMessage, WireChange};
use rustc_hash::FxHasher;

use super::shared::{Receipt, Shared};
use crate::machine::{FlushHead, Input};
use crate::net::session::Reader;

/// What a bot makes of its windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keeps {
    /// A copy of the whole brane.
    Whole,
    /// A copy of what is near.
    Part,
    /// Only where it stands.
    Position,
}

/// Reads as one bot does.
pub(super) struct BotReader {
    shared: Arc<Shared>,
    keeps: Keeps,
    /// How the server serves it; one channel is all it has.
    level: Level,
    /// Windows since they were last taken.
    receipts: Vec<Receipt>,
}

impl BotReader {
    pub(super) fn new(shared: Arc<Shared>, keeps: Keeps) -> Self {
        Self { shared, keeps, level: Level::Full, receipts: Vec::new() }
    }

    /// The receipts of windows that came before this time.
    pub(super) fn take_before(&mut self, at_us: u64) -> Vec<Receipt> {
        let count = self.receipts.partition_point(|receipt| receipt.at_us < at_us);
        self.receipts.drain(..count).collect()
    }

    fn note(&mut self, view: &FlushView<'_>) {
        let mut hasher = FxHasher::default();
        hasher.write(view.log());
        // From this level on several windows may come as one.
        let is_as_published = self.level < Level::Collapsed;
        let receipt = Receipt {
            epoch: view.epoch(),
            from: view.from().0,
            to: view.to().0,
            at_us: self.shared.now_us(),
            contents: is_as_published.then(|| hasher.finish()),
        };
        if self.keeps == Keeps::Whole {
            self.shared.saw(receipt);
        }
        let edits = receipt.to.saturating_sub(receipt.from);
        self.shared.counters.deliveries.fetch_add(edits, Ordering::Relaxed);
        self.receipts.push(receipt);
    }
}

impl Reader for BotReader {
    fn read(&mut self, message: &[u8]) -> Result<Input, DecodeError> {
        let view = FlushView::parse(message).ok().filter(|_| self.keeps != Keeps::Part);
        let Some(view) = view else {
            let message = decode_server(message)?;
            match &message {
                ServerMessage::Level { level, .. } => self.level = *level,
                ServerMessage::Welcome(_) => self.level = Level::Full,
                _ => {}
            }
            return Ok(Input::Message(message));
        };
        self.note(&view);
        if self.keeps == Keeps::Position {
            return Ok(Input::FlushHead(FlushHead {
                channel: view.channel(),
                epoch: view.epoch(),
                from: view.from(),
                to: view.to(),
                durable: view.durable(),
            }));
        }
        let message = decode_server(message)?;
        if let ServerMessage::Flush(flush) = &message {
            let events = flush.items.iter().filter_map(|item| match item {
                FlushItem::Event(event) => Some(event),
                FlushItem::Moves(_) | FlushItem::Skip(_) => None,
            });
            for change in events.flat_map(|event| &event.changes) {
                if let WireChange::Created(new) = change {
                    self.shared.created(new.object.id, new.handle);
                }
            }
        }
        Ok(Input::Message(message))
    }
}
