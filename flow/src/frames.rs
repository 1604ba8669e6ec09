//! Windows in the frames in which sessions are sent them: encoded once for
//! whoever sees the whole brane, and cell by cell for the others.

use std::cell::OnceCell;

use avvy_brane::{Crossed, Crossing};
use avvy_model::Home;
use avvy_model::{Handle, ObjectAt, Seq, View, weight};
use avvy_protocol::ServerMessage;
use avvy_protocol::codec::{
    EncodedObjects, FlushHeader, encode_area_flush, encode_cell, encode_objects, encode_server,
};
use avvy_protocol::frame::Frame;

use crate::brane_core::{CellWindow, Window};
use crate::fan_out::{Content, Part, Published};

/// One window.
pub struct WindowFrames {
    whole: Frame,
    header: FlushHeader,
    cells: Option<CellFrames>,
}

struct CellFrames {
    cells: Vec<(Home, Vec<u8>)>,
    crossings: Vec<(Crossing, OnceCell<EncodedObjects>)>,
}

impl WindowFrames {
    /// A window to be published.
    pub fn publish(window: &Window) -> Published<Self> {
        let flush = &window.flush;
        let header = FlushHeader {
            channel: flush.channel,
            epoch: flush.epoch,
            from: flush.from,
            to: flush.to,
            durable: flush.durable,
            ms: flush.ms,
        };
        let message = ServerMessage::Flush(std::sync::Arc::clone(flush));
        let whole = Frame::binary(&encode_server(&message, flush.ms));
        let cells = window.cells.as_deref().map(CellFrames::new);
        let bytes = whole.as_wire().len() + cells.as_ref().map_or(0, CellFrames::bytes);
        let (epoch, from, to) = (flush.epoch, flush.from, flush.to);
        Published { epoch, from, to, bytes, payload: Self { whole, header, cells } }
    }
}

impl CellFrames {
    fn new(window: &CellWindow) -> Self {
        let cells = window.cells.iter().map(|(home, items)| (*home, encode_cell(items)));
        let crossings = window.crossings.iter().map(|one| (one.clone(), OnceCell::new()));
        Self { cells: cells.collect(), crossings: crossings.collect() }
    }

    /// About what it weighs.
    fn bytes(&self) -> usize {
        let cells: usize = self.cells.iter().map(|(_, items)| 48 + items.len()).sum();
        let objects = |one: &Crossing| match &one.objects {
            Crossed::Whole(objects) => objects.iter().map(object_weight).sum(),
            Crossed::TooMany => 0,
        };
        cells + self.crossings.iter().map(|(one, _)| 64 + 2 * objects(one)).sum::<usize>()
    }
}

fn object_weight(at: &ObjectAt) -> usize {
    weight::object(&at.object)
}

impl Content<Frame> for WindowFrames {
    fn whole(&self) -> &Frame {
        &self.whole
    }

    fn part(&self, view: &View, from: Seq) -> Part<Frame> {
        let Some(CellFrames { cells, crossings }) = &self.cells else { return Part::Unknown };
        let cells: Vec<&[u8]> = cells
            .iter()
            .filter(|(home, _)| view.sees(*home))
            .map(|(_, items)| items.as_slice())
            .collect();
        let mut left: Vec<Handle> = Vec::new();
        let mut entered = Vec::new();
        for (crossing, encoded) in crossings {
            let was_seen = view.sees(crossing.from);
            let is_seen = crossing.to.is_some_and(|to| view.sees(to));
            let has_followed = crossing.followed && was_seen && is_seen;
            if was_seen && !has_followed {
                left.push(crossing.handle);
            }
            if is_seen && !has_followed {
                let Crossed::Whole(objects) = &crossing.objects else { return Part::Unknown };
                entered.push(encoded.get_or_init(|| encode_objects(objects)));
            }
        }
        if cells.is_empty() && left.is_empty() && entered.is_empty() {
            return Part::Nothing;
        }
        let header = FlushHeader { from, ..self.header };
        Part::Shown(Frame::binary(&encode_area_flush(&header, &cells, &left, &entered)))
    }

    fn nothing(&self, from: Seq) -> Frame {
        let header = FlushHeader { from, ..self.header };
        Frame::binary(&encode_area_flush(&header, &[], &[], &[]))
    }
}
