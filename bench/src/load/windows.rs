//! Windows that were read before.
//!
//! All sessions of a brane are sent the same bytes. So a window is taken
//! apart once, and of the others it is checked that they are equal to the
//! byte; equal bytes mean the same. That is what lets one core take tens of
//! millions of deliveries a second.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use avvy_model::{Epoch, Handle, ObjectId, Seq};
use avvy_protocol::codec::{FlushView, ItemView, decode_server};
use avvy_protocol::{FlushItem, ServerMessage, WireChange};

use super::stamp::Stamp;

/// Windows that are remembered. A session further behind than that has its
/// windows taken apart anew.
const REMEMBERED: usize = 2_048;

/// A window that was taken apart.
#[derive(Clone, Default, Debug)]
pub struct Window {
    /// The epoch of the whole range.
    pub epoch: Epoch,
    /// The range is `(from, to]`.
    pub from: Seq,
    /// Its end.
    pub to: Seq,
    /// The durable watermark.
    pub durable: Seq,
    /// When each move in it was sent.
    pub sent_us: Vec<u32>,
    /// Of a part of the brane: who sent each move.
    pub senders: Vec<u32>,
    /// Of a part of the brane.
    pub is_area: bool,
    payload: Vec<u8>,
}

/// See the module.
pub struct Windows {
    slots: Vec<Window>,
    last: usize,
    /// The end of what was looked at by [`Self::check_order`].
    head: Option<(Epoch, Seq)>,
    numbers: Vec<u32>,
    /// Objects that were created, by their ids.
    pub created: HashMap<ObjectId, Handle>,
    /// Moves of a sender that came without the one before.
    pub out_of_order: u64,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            slots: vec![Window::default(); REMEMBERED],
            last: 0,
            head: None,
            numbers: Vec::new(),
            created: HashMap::new(),
            out_of_order: 0,
        }
    }
}

impl Windows {
    /// The window in this message; `None` when it is another message.
    ///
    /// # Errors
    /// When it is not well-formed or its log does not cover its range.
    #[inline]
    pub fn read(&mut self, message: &[u8]) -> Result<Option<&Window>> {
        if self.slots[self.last].payload != message && !self.find(message)? {
            return Ok(None);
        }
        Ok(Some(&self.slots[self.last]))
    }

    /// Makes `last` the place of this message's window.
    fn find(&mut self, message: &[u8]) -> Result<bool> {
        let view = match FlushView::parse(message) {
            Ok(view) => view,
            Err(error) if error.code == avvy_model::Code::UnknownOperation => return Ok(false),
            Err(error) => bail!("a flush: {error}"),
        };
        // Windows of many views end at the same edit, and differ in length.
        self.last =
            (view.to().0 as usize).wrapping_mul(31).wrapping_add(message.len()) % REMEMBERED;
        if self.slots[self.last].payload != message {
            self.take_apart(&view, message)?;
        }
        Ok(true)
    }

    fn take_apart(&mut self, view: &FlushView<'_>, message: &[u8]) -> Result<()> {
        let is_new = self.head.is_none_or(|head| head == (view.epoch(), view.from()));
        let slot = &mut self.slots[self.last];
        slot.payload.clear();
        slot.payload.extend_from_slice(message);
        (slot.epoch, slot.from, slot.to) = (view.epoch(), view.from(), view.to());
        slot.durable = view.durable();
        slot.sent_us.clear();
        slot.senders.clear();
        slot.is_area = view.is_area();
        let mut covered = 0u64;
        let mut has_events = false;
        for item in view.items() {
            match item? {
                ItemView::Moves(run) => {
                    for record in run {
                        if slot.is_area {
                            let stamp = Stamp::read_walk(&record?).context("no walker's move")?;
                            slot.sent_us.push(stamp.sent_us);
                            slot.senders.push(stamp.sender);
                            continue;
                        }
                        let stamp = Stamp::read(&record?).context("a move without position")?;
                        slot.sent_us.push(stamp.sent_us);
                        covered += 1;
                        if is_new {
                            self.out_of_order += u64::from(!follows(&mut self.numbers, stamp));
                        }
                    }
                }
                ItemView::Event(_) => {
                    has_events = true;
                    covered += 1;
                }
                ItemView::Skip(edits) => covered += edits,
            }
        }
        let is_whole = slot.is_area || view.from().0 + covered == view.to().0;
        ensure!(is_whole, "a log that does not cover its range");
        if is_new {
            self.head = Some((view.epoch(), view.to()));
        }
        if has_events {
            self.note_created(message)?;
        }
        Ok(())
    }

    fn note_created(&mut self, message: &[u8]) -> Result<()> {
        match decode_server(message)? {
            ServerMessage::Flush(flush) => self.note_items(&flush.items),
            ServerMessage::AreaFlush(flush) => {
                flush.cells.iter().for_each(|items| self.note_items(items));
            }
            _ => {}
        }
        Ok(())
    }

    fn note_items(&mut self, items: &[FlushItem]) {
        for item in items {
            let FlushItem::Event(event) = item else { continue };
            for change in &event.changes {
                if let WireChange::Created(made) = change {
                    self.created.insert(made.object.id, made.handle);
                }
            }
        }
    }
}

/// Whether this is the sender's next move.
fn follows(numbers: &mut Vec<u32>, stamp: Stamp) -> bool {
    let sender = stamp.sender as usize;
    if sender >= numbers.len() {
        // Senders are counted from 0; a larger number is nonsense.
        numbers.resize((sender + 1).min(1 << 20), 0);
    }
    let Some(last) = numbers.get_mut(sender) else { return false };
    let follows = stamp.number == *last + 1;
    *last = stamp.number;
    follows
}
