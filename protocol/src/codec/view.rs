//! An `entity.update` read in place, without allocation: for readers of
//! hundreds of streams, who look at few of the moves.

use avvy_model::{Code, Epoch, Handle, MovePatch, Parts, Seq};

use super::error::DecodeError;
use super::log::Header;
use super::record::{read_patch, split_record};
use super::scan::{Fault, Items, bytes, envelope, uint};
use crate::Channel;

/// A flush in the bytes of its message.
#[derive(Clone, Debug)]
pub struct FlushView<'a> {
    header: Header,
    log: &'a [u8],
}

/// One item of a log.
#[derive(Clone, Debug)]
pub enum ItemView<'a> {
    /// Moves, each one edit; the bytes hold packed records.
    Moves(Moves<'a>),
    /// One edit, as the CBOR map of its event.
    Event(&'a [u8]),
    /// So many edits that have nothing to show here.
    Skip(u64),
}

/// A move in its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveView<'a> {
    /// Whose.
    pub handle: Handle,
    /// The parts that were set.
    pub parts: Parts,
    /// Their packed bytes, not yet checked.
    pub packed: &'a [u8],
}

impl MoveView<'_> {
    /// The move, checked.
    ///
    /// # Errors
    /// `out_of_range` when the rotation or scale is not one.
    pub fn patch(&self) -> Result<MovePatch, DecodeError> {
        Ok(read_patch(self.parts, self.packed)?)
    }
}

/// The moves of one run.
#[derive(Clone, Debug)]
pub struct Moves<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Moves<'a> {
    type Item = Result<MoveView<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match split_record(self.rest) {
            Ok((handle, parts, packed, rest)) => {
                self.rest = rest;
                Some(Ok(MoveView { handle, parts, packed }))
            }
            Err(fault) => {
                self.rest = &[];
                Some(Err(fault.into()))
            }
        }
    }
}

impl<'a> FlushView<'a> {
    /// Reads the header of an `entity.update`; the log is only walked over.
    ///
    /// # Errors
    /// `unknown_operation` when it is another message, `malformed` when it is
    /// none.
    pub fn parse(message: &'a [u8]) -> Result<Self, DecodeError> {
        if let Some((header, log)) = Header::read_as_written(message) {
            Items::new(log)?;
            return Ok(Self { header, log });
        }
        if envelope(message, "event")?.name != Some("entity.update") {
            let reason = "another message than `entity.update`";
            return Err(Fault { code: Code::UnknownOperation, reason }.into());
        }
        let (header, log) = Header::read(message)?;
        Items::new(log)?;
        Ok(Self { header, log })
    }

    /// Where.
    pub fn channel(&self) -> Channel {
        self.header.channel
    }

    /// The epoch of the whole range.
    pub fn epoch(&self) -> Epoch {
        self.header.epoch
    }

    /// The range is `(from, to]`.
    pub fn from(&self) -> Seq {
        self.header.from
    }

    /// The end of the range.
    pub fn to(&self) -> Seq {
        self.header.to
    }

    /// The durable watermark when the window was closed.
    pub fn durable(&self) -> Seq {
        self.header.durable
    }

    /// Server's Unix time in milliseconds when the window was closed.
    pub fn ms(&self) -> u64 {
        self.header.ms
    }

    /// The bytes of the log: equal for all viewers of a window, also when it
    /// is replayed under another header.
    pub fn log(&self) -> &'a [u8] {
        self.log
    }

    /// The items of the log, in order.
    pub fn items(&self) -> impl Iterator<Item = Result<ItemView<'a>, DecodeError>> {
        let mut items = Items::new(self.log).ok();
        std::iter::from_fn(move || {
            let item = items.as_mut()?.next_item().transpose()?;
            if item.is_err() {
                items = None;
            }
            Some(item.map(view).map_err(DecodeError::from))
        })
    }

    /// Every move that is an edit of its own, in order, each with its seq.
    /// Moves inside batches are in [`Self::items`].
    pub fn moves(&self) -> LogMoves<'a> {
        LogMoves {
            items: Items::new(self.log).ok(),
            run: Moves { rest: &[] },
            seq: self.header.from,
        }
    }
}

/// The iterator of [`FlushView::moves`].
#[derive(Clone, Debug)]
pub struct LogMoves<'a> {
    items: Option<Items<'a>>,
    run: Moves<'a>,
    seq: Seq,
}

impl<'a> Iterator for LogMoves<'a> {
    type Item = Result<(Seq, MoveView<'a>), DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.run.next() {
                self.seq = self.seq.next();
                return Some(record.map(|record| (self.seq, record)));
            }
            match self.items.as_mut()?.next_item().transpose()?.map(view) {
                Ok(ItemView::Moves(run)) => self.run = run,
                Ok(ItemView::Event(_)) => self.seq = self.seq.next(),
                Ok(ItemView::Skip(edits)) => self.seq.0 = self.seq.0.saturating_add(edits),
                Err(fault) => {
                    self.items = None;
                    return Some(Err(fault.into()));
                }
            }
        }
    }
}

/// Tells the three kinds of item apart.
#[inline]
fn view(item: &[u8]) -> ItemView<'_> {
    match bytes(item) {
        Ok(rest) => ItemView::Moves(Moves { rest }),
        Err(_) => uint(item).map_or(ItemView::Event(item), ItemView::Skip),
    }
}
