//! Windows in the frames in which sessions are sent them: encoded once for
//! whoever sees the whole brane, and cell by cell for the others. And the
//! parts of snapshots, encoded once for all who start from the same view.

mod collapse;
mod parts;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::sync::Arc;

use avvy_brane::{Crossed as CrossedObjects, Crossing};
use avvy_model::{Handle, Home, ObjectAt, Seq, View, weight};
use avvy_protocol::codec::{
    EncodedObjects, FlushHeader, decode_cell, decode_server, encode_area_flush, encode_server,
};
#[cfg(not(test))]
use avvy_protocol::codec::{encode_cell, encode_objects};
use avvy_protocol::frame::Frame;
use avvy_protocol::{Flush, FlushItem, ServerMessage};

use crate::brane_core::{CellWindow, Window};
use crate::fan_out::{Content, Part, Published};
use collapse::collapse;
pub use parts::{PartFrames, PartsConfig, SharedParts};
#[cfg(test)]
use tests::{encode_cell, encode_objects};

/// Bytes of windows that are taken together at most.
const MAX_COLLAPSED_BYTES: usize = 1 << 20;

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
        let header = FlushHeader::from(&**flush);
        let message = ServerMessage::Flush(Arc::clone(flush));
        let whole = Frame::binary(&encode_server(&message, flush.ms));
        let cells = window.cells.as_deref().map(CellFrames::new);
        let bytes = whole.as_wire().len() + cells.as_ref().map_or(0, CellFrames::bytes);
        let (epoch, from, to) = (flush.epoch, flush.from, flush.to);
        Published { epoch, from, to, bytes, at_us: 0, payload: Self { whole, header, cells } }
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
            CrossedObjects::Whole(objects) => objects.iter().map(object_weight).sum(),
            CrossedObjects::TooMany => 0,
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
        let Some(CellFrames { cells, .. }) = &self.cells else { return Part::Unknown };
        let Some(Crossed { left, entered }) = self.crossed(view) else { return Part::Unknown };
        let cells: Vec<&[u8]> = cells
            .iter()
            .filter(|(home, _)| view.sees(*home))
            .map(|(_, items)| items.as_slice())
            .collect();
        if cells.is_empty() && left.is_empty() && entered.is_empty() {
            return Part::Nothing;
        }
        let header = FlushHeader { from, ..self.header };
        Part::Shown(Frame::binary(&encode_area_flush(&header, &cells, &left, &entered)))
    }

    fn bytes(frame: &Frame) -> usize {
        frame.as_wire().len()
    }

    fn joined(frames: Vec<Frame>) -> Vec<Frame> {
        if frames.len() > 1 { vec![Frame::joined(&frames)] } else { frames }
    }

    fn nothing(&self, from: Seq) -> Frame {
        let header = FlushHeader { from, ..self.header };
        Frame::binary(&encode_area_flush(&header, &[], &[], &[]))
    }

    fn collapsed(windows: &[&Self], view: Option<&View>, from: Seq) -> (usize, Part<Frame>) {
        let collapsed = match view {
            None => Self::collapse_logs(windows),
            Some(view) => Self::collapse_parts(windows, view, from),
        };
        // What was encoded here can be read here. If not, it goes out as it is.
        collapsed.unwrap_or_else(|| match (windows.first(), view) {
            (Some(first), Some(view)) => (1, first.part(view, from)),
            _ => (1, Part::Nothing),
        })
    }
}

/// What crosses the edge of a view at a window's end.
struct Crossed<'a> {
    left: Vec<Handle>,
    entered: Vec<&'a EncodedObjects>,
}

impl WindowFrames {
    /// `None` when that is not known, or too much.
    fn crossed(&self, view: &View) -> Option<Crossed<'_>> {
        let mut crossed = Crossed { left: Vec::new(), entered: Vec::new() };
        for (crossing, encoded) in &self.cells.as_ref()?.crossings {
            let was_seen = view.sees(crossing.from);
            let is_seen = crossing.to.is_some_and(|to| view.sees(to));
            let has_followed = crossing.followed && was_seen && is_seen;
            if was_seen && !has_followed {
                crossed.left.push(crossing.handle);
            }
            if is_seen && !has_followed {
                let CrossedObjects::Whole(objects) = &crossing.objects else { return None };
                crossed.entered.push(encoded.get_or_init(|| encode_objects(objects)));
            }
        }
        Some(crossed)
    }

    /// How many windows of one epoch may be taken together.
    fn run(windows: &[&Self]) -> usize {
        let mut bytes = 0;
        let epoch = windows.first().map(|window| window.header.epoch);
        let fits = |window: &&&Self| {
            bytes += window.whole.as_wire().len();
            Some(window.header.epoch) == epoch && bytes <= MAX_COLLAPSED_BYTES
        };
        windows.iter().take_while(fits).count().max(1)
    }

    fn collapse_logs(windows: &[&Self]) -> Option<(usize, Part<Frame>)> {
        let count = Self::run(windows);
        let (first, last) = (windows.first()?, windows.get(count - 1)?);
        let mut items = Vec::new();
        for window in &windows[..count] {
            let Ok(ServerMessage::Flush(flush)) = decode_server(window.whole.payload()) else {
                return None;
            };
            items.extend(flush.items.iter().cloned());
        }
        let FlushHeader { channel, epoch, to, durable, ms, .. } = last.header;
        let from = first.header.from;
        let items = collapse(items, true);
        let flush = Flush { channel, epoch, from, to, durable, ms, items };
        let message = ServerMessage::Flush(Arc::new(flush));
        Some((count, Part::Shown(Frame::binary(&encode_server(&message, ms)))))
    }

    /// What a view shows of windows up to the first at whose end something
    /// crosses its edge.
    fn collapse_parts(windows: &[&Self], view: &View, from: Seq) -> Option<(usize, Part<Frame>)> {
        let most = Self::run(windows);
        let mut items: Vec<FlushItem> = Vec::new();
        let (mut count, mut left, mut entered) = (0_usize, Vec::new(), Vec::new());
        for window in &windows[..most] {
            let (Some(CellFrames { cells, .. }), Some(crossed)) =
                (&window.cells, window.crossed(view))
            else {
                break;
            };
            count += 1;
            for (_, cell) in cells.iter().filter(|(home, _)| view.sees(*home)) {
                items.append(&mut decode_cell(cell).ok()?);
            }
            (left, entered) = (crossed.left, crossed.entered);
            if !left.is_empty() || !entered.is_empty() {
                break;
            }
        }
        let Some(last) = count.checked_sub(1).and_then(|last| windows.get(last)) else {
            return Some((1, Part::Unknown));
        };
        if items.is_empty() && left.is_empty() && entered.is_empty() {
            return Some((count, Part::Nothing));
        }
        // In the order of the log, so the cells need not be kept apart.
        let cell = encode_cell(&collapse(items, false));
        let header = FlushHeader { from, ..last.header };
        let frame = Frame::binary(&encode_area_flush(&header, &[&cell], &left, &entered));
        Some((count, Part::Shown(frame)))
    }
}
