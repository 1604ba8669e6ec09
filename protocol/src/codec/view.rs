//! An `entity.update` read in place, without allocation: for readers of
//! hundreds of streams, who look at few of the moves.

use avvy_model::{Code, Epoch, Handle, MovePatch, Parts, Seq};

use super::error::DecodeError;
use super::log::{Body, FlushHeader};
use super::record::{read_patch, split_record};
use super::scan::{Fault, Items, bytes, envelope, uint};
use crate::Channel;

/// A flush in the bytes of its message.
#[derive(Clone, Debug)]
pub struct FlushView<'a> {
    header: FlushHeader,
    /// The array of the items, or of the cells.
    log: &'a [u8],
    is_area: bool,
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
        if let Some((header, log)) = FlushHeader::read_as_written(message) {
            Items::new(log)?;
            return Ok(Self { header, log, is_area: false });
        }
        if envelope(message, "event")?.name != Some("entity.update") {
            let reason = "another message than `entity.update`";
            return Err(Fault { code: Code::UnknownOperation, reason }.into());
        }
        let (header, body) = FlushHeader::read(message)?;
        let (log, is_area) = match body {
            Body::Log(log) => (log, false),
            Body::Cells(cells) => (cells, true),
        };
        Items::new(log)?;
        Ok(Self { header, log, is_area })
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

    /// Whether it is for a part of the brane: then it holds cells, each with
    /// its items.
    pub fn is_area(&self) -> bool {
        self.is_area
    }

    /// The bytes of the log: equal for all viewers of a window, also when it
    /// is replayed under another header.
    pub fn log(&self) -> &'a [u8] {
        self.log
    }

    /// The items of the log, or of the cells one after the other.
    pub fn items(&self) -> impl Iterator<Item = Result<ItemView<'a>, DecodeError>> {
        let mut items = self.walk();
        std::iter::from_fn(move || items.next_item())
    }

    /// Every move that is an edit of its own, each with its seq; of an area
    /// the seqs say nothing. Moves inside batches are in [`Self::items`].
    pub fn moves(&self) -> LogMoves<'a> {
        LogMoves { items: self.walk(), run: Moves { rest: &[] }, seq: self.header.from }
    }

    fn walk(&self) -> Walk<'a> {
        let outer = Items::new(self.log).ok();
        if self.is_area {
            Walk { cells: outer, items: None }
        } else {
            Walk { cells: None, items: outer }
        }
    }
}

/// A walk over items that may lie in cells.
#[derive(Clone, Debug)]
struct Walk<'a> {
    cells: Option<Items<'a>>,
    items: Option<Items<'a>>,
}

impl<'a> Walk<'a> {
    fn next_item(&mut self) -> Option<Result<ItemView<'a>, DecodeError>> {
        match self.step() {
            Ok(item) => item.map(|item| Ok(view(item))),
            Err(fault) => {
                (self.cells, self.items) = (None, None);
                Some(Err(fault.into()))
            }
        }
    }

    #[inline]
    fn step(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        loop {
            if let Some(items) = self.items.as_mut()
                && let Some(item) = items.next_item()?
            {
                return Ok(Some(item));
            }
            let Some(cells) = self.cells.as_mut() else { return Ok(None) };
            let Some(cell) = cells.next_item()? else { return Ok(None) };
            self.items = Some(Items::new(cell)?);
        }
    }
}

/// The iterator of [`FlushView::moves`].
#[derive(Clone, Debug)]
pub struct LogMoves<'a> {
    items: Walk<'a>,
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
            match self.items.next_item()? {
                Ok(ItemView::Moves(run)) => self.run = run,
                Ok(ItemView::Event(_)) => self.seq = self.seq.next(),
                Ok(ItemView::Skip(edits)) => self.seq.0 = self.seq.0.saturating_add(edits),
                Err(error) => return Some(Err(error)),
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
