//! What viewers of a part of a brane are sent and say: areas, views, and
//! `entity.update` by cells.
//!
//! The items of a cell are encoded once per window, and a message for a view
//! is put together from them by copying.

use avvy_model::{Area, Cell, Grid, Handle, ObjectAt, Scope, View};

use super::log::{FlushHeader, read_item, write_item};
use super::out::Out;
use super::scan::{fields, items, number};
use super::world::{read_handles, read_object, write_object};
use super::{DecodeError, Fault};
use crate::{AreaFlush, FlushItem};

const MISSING: Fault = Fault::malformed("`entity.update` of an area lacks a field");

/// The items of one cell in one window, as [`encode_area_flush`] takes them.
pub fn encode_cell(items: &[FlushItem]) -> Vec<u8> {
    let mut out = Out::with_capacity(64);
    out.array(items.len());
    items.iter().for_each(|item| write_item(item, &mut out));
    out.finish()
}

/// Reads what [`encode_cell`] wrote.
///
/// # Errors
/// `malformed` when it is something else.
pub fn decode_cell(cell: &[u8]) -> Result<Vec<FlushItem>, DecodeError> {
    Ok(read_cell(cell)?)
}

fn read_cell(cell: &[u8]) -> Result<Vec<FlushItem>, Fault> {
    let mut list = Vec::new();
    items(cell, |item| {
        list.push(read_item(item)?);
        Ok::<_, Fault>(())
    })?;
    Ok(list)
}

/// Whole objects, as [`encode_area_flush`] takes them.
pub fn encode_objects(objects: &[ObjectAt]) -> EncodedObjects {
    let mut out = Out::with_capacity(256 * objects.len());
    objects.iter().for_each(|object| write_object(object, &mut out));
    EncodedObjects { count: objects.len(), bytes: out.finish() }
}

/// So many objects, end to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodedObjects {
    count: usize,
    bytes: Vec<u8>,
}

impl EncodedObjects {
    /// How many bytes they are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Writes an `entity.update` for a view: what its cells hold, what it loses
/// and what it gets whole.
pub fn encode_area_flush(
    header: &FlushHeader,
    cells: &[&[u8]],
    left: &[Handle],
    entered: &[&EncodedObjects],
) -> Vec<u8> {
    let bytes = cells.iter().map(|cell| cell.len()).sum::<usize>()
        + entered.iter().map(|objects| objects.len()).sum::<usize>();
    let mut out = Out::with_capacity(144 + bytes + 5 * left.len());
    let extra = usize::from(!left.is_empty()) + usize::from(!entered.is_empty());
    header.start_map(9 + extra, &mut out);
    out.text("from").uint(header.from.0);
    if !left.is_empty() {
        out.text("left").array(left.len());
        for handle in left {
            out.uint(u64::from(handle.0));
        }
    }
    out.text("cells").array(cells.len());
    for cell in cells {
        out.encoded(cell);
    }
    out.text("epoch").uint(header.epoch.0).text("event").text("entity.update");
    out.text("durable").uint(header.durable.0);
    if !entered.is_empty() {
        out.text("entered").array(entered.iter().map(|objects| objects.count).sum());
        for objects in entered {
            out.encoded(&objects.bytes);
        }
    }
    out.text("timestamp").uint(header.ms / 1_000);
    out.finish()
}

/// Writes one that was not put together before.
pub(super) fn write_area_flush(flush: &AreaFlush) -> Vec<u8> {
    let AreaFlush { channel, epoch, from, to, durable, ms, cells, left, entered } = flush;
    let header = FlushHeader {
        channel: *channel,
        epoch: *epoch,
        from: *from,
        to: *to,
        durable: *durable,
        ms: *ms,
    };
    let cells: Vec<_> = cells.iter().map(|items| encode_cell(items)).collect();
    let cells: Vec<_> = cells.iter().map(Vec::as_slice).collect();
    let objects = encode_objects(entered);
    let entered = if objects.is_empty() { Vec::new() } else { vec![&objects] };
    encode_area_flush(&header, &cells, left, &entered)
}

/// Reads an `entity.update` of an area whose header was read.
pub(super) fn read_area_flush(
    message: &[u8],
    header: FlushHeader,
    cells: &[u8],
) -> Result<AreaFlush, Fault> {
    let [left, entered] = fields(message, &["left", "entered"])?;
    let FlushHeader { channel, epoch, from, to, durable, ms } = header;
    if to < from {
        return Err(Fault::malformed("the range ends before it begins"));
    }
    let mut flush = AreaFlush {
        channel,
        epoch,
        from,
        to,
        durable,
        ms,
        cells: Vec::new(),
        left: left.map_or(Ok(Vec::new()), read_handles)?,
        entered: Vec::new(),
    };
    items(cells, |cell| {
        flush.cells.push(read_cell(cell)?);
        Ok::<_, Fault>(())
    })?;
    if let Some(entered) = entered {
        items(entered, |item| {
            flush.entered.push(read_object(item)?);
            Ok::<_, Fault>(())
        })?;
    }
    Ok(flush)
}

/// Reads {`at`: [x, y, z], `radius`} in metres.
pub(super) fn read_area(item: &[u8]) -> Result<Area, Fault> {
    let [at, radius] = fields(item, &["at", "radius"])?;
    let mut center = [0.0; 3];
    let mut count = 0;
    items(at.ok_or(MISSING)?, |item| {
        *center.get_mut(count).ok_or(MISSING)? = number(item)?;
        count += 1;
        Ok::<_, Fault>(())
    })?;
    let area = Area::from_metres(center, number(radius.ok_or(MISSING)?)?);
    area.ok().filter(|_| count == 3).ok_or(Fault {
        code: avvy_model::Code::OutOfRange,
        reason: "an area is a centre of three numbers and a radius, within the range of positions",
    })
}

/// `area` for serde: {`at`: [x, y, z], `radius`} in metres.
#[derive(serde::Serialize)]
pub(super) struct AreaWire {
    at: [f64; 3],
    radius: f64,
}

impl From<&Area> for AreaWire {
    fn from(area: &Area) -> Self {
        Self { at: area.center_m(), radius: area.radius_m() }
    }
}

/// A scope as `[x, y, z, reach, size]`.
#[derive(serde::Serialize, serde::Deserialize, Clone, Copy)]
#[serde(transparent)]
pub(super) struct ScopeWire((i32, i32, i32, u32, u32));

impl From<&Scope> for ScopeWire {
    fn from(scope: &Scope) -> Self {
        let View { center: Cell([x, y, z]), reach } = scope.view;
        Self((x, y, z, reach, scope.grid.size()))
    }
}

impl ScopeWire {
    /// `None` when it is none.
    pub(super) fn scope(self) -> Option<Scope> {
        let (x, y, z, reach, size) = self.0;
        let view = View { center: Cell([x, y, z]), reach: Some(reach).filter(|n| *n > 0)? };
        Some(Scope { grid: Grid::new(size)?, view })
    }
}

/// For fields of type `Option<Scope>` in what serde writes.
pub(crate) mod scope {
    use avvy_model::Scope;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::ScopeWire;

    pub fn serialize<S: Serializer>(scope: &Option<Scope>, s: S) -> Result<S::Ok, S::Error> {
        scope.as_ref().map(ScopeWire::from).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Scope>, D::Error> {
        let wire: Option<ScopeWire> = Option::deserialize(d)?;
        wire.map(|wire| wire.scope().ok_or_else(|| D::Error::custom("not a view"))).transpose()
    }
}
