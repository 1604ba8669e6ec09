//! `entity.update`: a window of the log.
//!
//! The field `log` is an array. A byte string in it is a run of move records,
//! each one edit; a map is one edit of any kind; an unsigned integer is so
//! many edits that have nothing to show to this viewer.

use std::sync::Arc;

use avvy_model::{Epoch, Event, Seq};
use smallvec::SmallVec;

use super::area::read_area_flush;
use super::fast;
use super::out::Out;
use super::record::{move_of, read_patch, record_len, split_record, write_record};
use super::scan::{Fault, bytes, fields, items, split_item, uint};
use super::world::{ChangeRef, read_event, write_event};
use crate::{Channel, Flush, FlushItem, MoveRecord, ServerMessage};

/// Encodes a window straight from the log's events, whose seqs follow `from`
/// without a gap. An empty window is fine: it carries the watermark.
///
/// `ms` is the server's Unix time in milliseconds.
pub fn encode_flush(
    channel: Channel,
    epoch: Epoch,
    from: Seq,
    durable: Seq,
    ms: u64,
    events: &[Event],
) -> Vec<u8> {
    debug_assert!(
        events.iter().zip(from.0 + 1..).all(|(event, seq)| event.seq.0 == seq),
        "a window's events must follow on its start"
    );
    let to = Seq(from.0 + events.len() as u64);
    let header = FlushHeader { channel, epoch, from, to, durable, ms };
    let stretches = stretches(events);
    let mut out = Out::with_capacity(128 + stretches.iter().map(Stretch::bytes).sum::<usize>());
    header.start(stretches.len(), &mut out);
    let mut rest = events;
    for stretch in stretches {
        let (own, after) = rest.split_at(stretch.events());
        rest = after;
        match stretch {
            Stretch::Moves { bytes, .. } => {
                out.bytes_with(bytes, |out| own.iter().for_each(|event| write_move(event, out)));
            }
            Stretch::Other { .. } => own.iter().for_each(|event| {
                let changes: SmallVec<[_; 1]> =
                    event.changes.iter().filter_map(ChangeRef::of).collect();
                write_event(event.by, changes.into_iter(), &mut out);
            }),
            Stretch::Hidden { count } => {
                out.uint(count as u64);
            }
        }
    }
    header.end(&mut out);
    out.finish()
}

/// Events that make one item of a log.
enum Stretch {
    /// So many moves, of so many bytes.
    Moves { count: usize, bytes: usize },
    /// One event with so many changes.
    Other { changes: usize },
    /// So many events of which nothing is shown.
    Hidden { count: usize },
}

impl Stretch {
    const fn events(&self) -> usize {
        match self {
            Self::Moves { count, .. } | Self::Hidden { count } => *count,
            Self::Other { .. } => 1,
        }
    }

    /// Room to reserve for it, its head included.
    const fn bytes(&self) -> usize {
        match self {
            Self::Moves { bytes, .. } => *bytes + 5,
            Self::Other { changes } => 64 + 160 * *changes,
            Self::Hidden { .. } => 9,
        }
    }
}

#[inline]
fn write_move(event: &Event, out: &mut Vec<u8>) {
    if let Some(record) = move_of(&event.changes) {
        write_record(&record, out);
    }
}

fn stretches(events: &[Event]) -> SmallVec<[Stretch; 4]> {
    let mut stretches = SmallVec::new();
    for event in events {
        if event.ruled().is_some() {
            match stretches.last_mut() {
                Some(Stretch::Hidden { count }) => *count += 1,
                _ => stretches.push(Stretch::Hidden { count: 1 }),
            }
            continue;
        }
        let Some(record) = move_of(&event.changes) else {
            stretches.push(Stretch::Other { changes: event.changes.len() });
            continue;
        };
        let len = record_len(record.parts);
        match stretches.last_mut() {
            Some(Stretch::Moves { count, bytes }) => {
                *count += 1;
                *bytes += len;
            }
            _ => stretches.push(Stretch::Moves { count: 1, bytes: len }),
        }
    }
    stretches
}

/// Encodes a flush that was made by hand or read.
pub(super) fn write_flush(flush: &Flush) -> Vec<u8> {
    let header = FlushHeader::from(flush);
    let mut out = Out::with_capacity(256);
    header.start(flush.items.len(), &mut out);
    flush.items.iter().for_each(|item| write_item(item, &mut out));
    header.end(&mut out);
    out.finish()
}

pub(super) fn write_item(item: &FlushItem, out: &mut Out) {
    match item {
        FlushItem::Moves(moves) => write_moves(moves, out),
        FlushItem::Event(event) => {
            write_event(event.by, event.changes.iter().map(ChangeRef::from), out);
        }
        FlushItem::Skip(edits) => {
            out.uint(*edits);
        }
    }
}

fn write_moves(moves: &[MoveRecord], out: &mut Out) {
    let len = moves.iter().map(|record| record_len(record.patch.parts())).sum();
    out.bytes_with(len, |out| moves.iter().for_each(|record| record.append(out)));
}

/// Reads an `entity.update` of either kind.
pub(super) fn read_update(message: &[u8]) -> Result<ServerMessage, Fault> {
    match FlushHeader::read(message)? {
        (header, Body::Log(log)) => Ok(ServerMessage::Flush(Arc::new(read_flush(header, log)?))),
        (header, Body::Cells(cells)) => {
            let flush = read_area_flush(message, header, cells)?;
            Ok(ServerMessage::AreaFlush(Arc::new(flush)))
        }
    }
}

/// Reads a flush and checks that its log covers its range.
fn read_flush(header: FlushHeader, log: &[u8]) -> Result<Flush, Fault> {
    let mut flush = header.with(Vec::new());
    items(log, |item| {
        flush.items.push(read_item(item)?);
        Ok::<_, Fault>(())
    })?;
    let covered = flush.items.iter().try_fold(0u64, |sum, item| sum.checked_add(edits_in(item)));
    if covered == flush.to.0.checked_sub(flush.from.0) {
        Ok(flush)
    } else {
        Err(Fault::malformed("the log does not cover its range"))
    }
}

fn edits_in(item: &FlushItem) -> u64 {
    match item {
        FlushItem::Moves(moves) => moves.len() as u64,
        FlushItem::Event(_) => 1,
        FlushItem::Skip(edits) => *edits,
    }
}

pub(super) fn read_item(item: &[u8]) -> Result<FlushItem, Fault> {
    if let Ok(mut run) = bytes(item) {
        let mut moves = Vec::with_capacity(run.len() / 17);
        while !run.is_empty() {
            let (handle, parts, packed, rest) = split_record(run)?;
            moves.push(MoveRecord { handle, patch: read_patch(parts, packed)? });
            run = rest;
        }
        return Ok(FlushItem::Moves(moves));
    }
    match uint(item) {
        Ok(edits) => Ok(FlushItem::Skip(edits)),
        Err(_) => read_event(item).map(FlushItem::Event),
    }
}

/// All of an `entity.update` but what it holds; see [`Flush`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushHeader {
    /// Where.
    pub channel: Channel,
    /// The epoch of the whole range.
    pub epoch: Epoch,
    /// The range is `(from, to]`.
    pub from: Seq,
    /// Its end.
    pub to: Seq,
    /// The durable watermark when the window was closed.
    pub durable: Seq,
    /// Server's Unix time in milliseconds when the window was closed.
    pub ms: u64,
}

impl From<&Flush> for FlushHeader {
    fn from(flush: &Flush) -> Self {
        let Flush { channel, epoch, from, to, durable, ms, .. } = *flush;
        Self { channel, epoch, from, to, durable, ms }
    }
}

/// What an `entity.update` holds, in its bytes.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    /// For viewers of the whole brane: an array of items.
    Log(&'a [u8]),
    /// For viewers of a part: an array of arrays of items.
    Cells(&'a [u8]),
}

impl FlushHeader {
    /// Writes what comes before the items of the log.
    fn start(&self, log_items: usize, out: &mut Out) {
        self.start_map(9, out);
        out.text("log").array(log_items);
    }

    /// Writes the head of a map and its shortest fields.
    pub(super) fn start_map(&self, fields: usize, out: &mut Out) {
        out.map(fields).text("ch").uint(u64::from(self.channel.0)).text("ms").uint(self.ms);
        out.text("to").uint(self.to.0);
    }

    /// Writes what comes after them.
    fn end(&self, out: &mut Out) {
        out.text("from").uint(self.from.0).text("epoch").uint(self.epoch.0);
        out.text("event").text("entity.update").text("durable").uint(self.durable.0);
        out.text("timestamp").uint(self.ms / 1_000);
    }

    /// Reads the header of a message that was walked over; gives what it
    /// holds, too.
    pub(super) fn read(message: &[u8]) -> Result<(Self, Body<'_>), Fault> {
        let missing = Fault::malformed("`entity.update` lacks a field");
        let names = ["ch", "ms", "to", "log", "from", "cells", "epoch", "durable"];
        let [ch, ms, to, log, from, cells, epoch, durable] = fields(message, &names)?;
        let number = |item: Option<&[u8]>| uint(item.ok_or(missing)?);
        let channel = u32::try_from(number(ch)?).map_err(|_| missing)?;
        let header = Self {
            channel: Channel(channel),
            epoch: Epoch(number(epoch)?),
            from: Seq(number(from)?),
            to: Seq(number(to)?),
            durable: Seq(number(durable)?),
            ms: number(ms)?,
        };
        let body = log.map(Body::Log).or(cells.map(Body::Cells));
        Ok((header, body.ok_or(missing)?))
    }

    /// Reads a message that is just as [`encode_flush`] writes it, and whole.
    /// `None` says nothing but that it looks different.
    pub(super) fn read_as_written(message: &[u8]) -> Option<(Self, &[u8])> {
        let (channel, rest) = fast::uint(message.strip_prefix(b"\xa9\x62ch")?)?;
        let (ms, rest) = fast::uint(rest.strip_prefix(b"\x62ms")?)?;
        let (to, rest) = fast::uint(rest.strip_prefix(b"\x62to")?)?;
        let (log, rest) = split_item(rest.strip_prefix(b"\x63log")?).ok()?;
        let (from, rest) = fast::uint(rest.strip_prefix(b"\x64from")?)?;
        let (epoch, rest) = fast::uint(rest.strip_prefix(b"\x65epoch")?)?;
        let (durable, rest) =
            fast::uint(rest.strip_prefix(b"\x65event\x6dentity.update\x67durable")?)?;
        let (_, rest) = fast::uint(rest.strip_prefix(b"\x69timestamp")?)?;
        let channel = Channel(u32::try_from(channel).ok()?);
        let (epoch, from, to, durable) = (Epoch(epoch), Seq(from), Seq(to), Seq(durable));
        rest.is_empty().then_some((Self { channel, epoch, from, to, durable, ms }, log))
    }

    fn with(self, items: Vec<FlushItem>) -> Flush {
        let Self { channel, epoch, from, to, durable, ms } = self;
        Flush { channel, epoch, from, to, durable, ms, items }
    }
}
