use std::collections::BTreeMap;

use avvy_model::{
    Change, ClientId, Event, Handle, MovePatch, ObjectAt, Parts, Placement, PropsPatch, Seq,
    Transform, UserId,
};

use super::{READABLE_SINCE, VERSION, kind};
use crate::cbor::{Writer, Written, write, write_object};
use crate::rights::write_ruled;

/// Writes events, in order, as one chunk that needs no other to be read.
///
/// Of a [`Change::Moved`], `after` is taken to differ from `before` only in `parts`.
pub fn encode(events: &[Event]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + events.len() * 96);
    write(&mut out, |e| write_chunk(e, events));
    out
}

fn write_chunk(e: &mut Writer<'_>, events: &[Event]) -> Written {
    let (mut seq, mut at_ms) = events.first().map_or((Seq(0), 0), |e| (e.seq, e.at_ms));
    e.map(6)?.u8(0)?.u64(VERSION)?.u8(1)?.u64(READABLE_SINCE)?;
    e.u8(2)?.u64(seq.0)?.u8(3)?.u64(at_ms)?;

    let writers = Writers::of(events);
    e.u8(4)?.array(writers.in_order.len() as u64)?;
    for (client, user) in &writers.in_order {
        e.array(2)?.bytes(&client.to_bytes())?.bytes(&user.to_bytes())?;
    }

    e.u8(5)?.array(events.len() as u64)?;
    seq = Seq(seq.0.wrapping_sub(1));
    for event in events {
        let skipped = event.seq.0.wrapping_sub(seq.0).wrapping_sub(1) as i64;
        let later = event.at_ms.wrapping_sub(at_ms) as i64;
        let writer = writers.numbers[&(event.edit.client, event.by)];
        write_event(e, event, writer, later, skipped)?;
        (seq, at_ms) = (event.seq, event.at_ms);
    }
    Ok(())
}

fn write_event(
    e: &mut Writer<'_>,
    event: &Event,
    writer: u32,
    later: i64,
    skipped: i64,
) -> Written {
    let optional = [writer != 0, later != 0, event.trace.is_some(), skipped != 0];
    e.map(2 + optional.iter().filter(|there| **there).count() as u64)?;
    if writer != 0 {
        e.u8(0)?.u32(writer)?;
    }
    e.u8(1)?.u64(event.edit.counter.0)?;
    if later != 0 {
        e.u8(2)?.i64(later)?;
    }
    if let Some(trace) = event.trace {
        e.u8(3)?.bytes(&trace.to_bytes())?;
    }
    e.u8(4)?.array(event.changes.len() as u64)?;
    for change in &event.changes {
        write_change(e, change)?;
    }
    if skipped != 0 {
        e.u8(5)?.i64(skipped)?;
    }
    Ok(())
}

fn write_change(e: &mut Writer<'_>, change: &Change) -> Written {
    match change {
        Change::Created(created) => {
            e.map(2)?.u8(0)?.u64(kind::CREATED)?.u8(2)?;
            write_owned(e, created)
        }
        Change::Updated { handle, before, after } => write_update(e, *handle, before, after),
        Change::Moved { handle, parts, before, after } => {
            write_move(e, *handle, *parts, before, after)
        }
        Change::Reparented { handle, before, after } => write_placement(e, *handle, before, after),
        Change::Deleted { removed } => {
            e.map(2)?.u8(0)?.u64(kind::DELETED)?.u8(2)?.array(removed.len() as u64)?;
            removed.iter().try_for_each(|object| write_owned(e, object))
        }
        Change::Ruled(ruled) => {
            e.map(2)?.u8(0)?.u64(kind::RULED)?.u8(2)?;
            write_ruled(e, ruled)
        }
    }
}

fn write_owned(e: &mut Writer<'_>, ObjectAt { handle, object }: &ObjectAt) -> Written {
    write_object(e, *handle, object, |e| e.bytes(&object.owner.to_bytes()).map(drop))
}

fn write_update(
    e: &mut Writer<'_>,
    handle: Handle,
    before: &PropsPatch,
    after: &PropsPatch,
) -> Written {
    let count = |patch: &PropsPatch| {
        let values = patch.entries().iter().filter(|(_, value)| value.is_some()).count();
        (values as u64, (patch.entries().len() - values) as u64)
    };
    let counts = [count(before), count(after)];
    let there = counts.iter().map(|(v, a)| u64::from(*v > 0) + u64::from(*a > 0)).sum::<u64>();
    e.map(2 + there)?.u8(0)?.u64(kind::UPDATED)?.u8(1)?.u32(handle.0)?;
    for ((patch, (values, absent)), field) in [before, after].iter().zip(counts).zip([2, 4]) {
        if values > 0 {
            e.u8(field)?.map(values)?;
            for (key, value) in patch.entries() {
                if let Some(value) = value {
                    e.str(key.as_str())?.writer_mut().extend_from_slice(value.as_bytes());
                }
            }
        }
        if absent > 0 {
            e.u8(field + 1)?.array(absent)?;
            for (key, _) in patch.entries().iter().filter(|(_, value)| value.is_none()) {
                e.str(key.as_str())?;
            }
        }
    }
    Ok(())
}

fn write_move(
    e: &mut Writer<'_>,
    handle: Handle,
    parts: Parts,
    before: &Transform,
    after: &Transform,
) -> Written {
    e.map(5)?.u8(0)?.u64(kind::MOVED)?.u8(1)?.u32(handle.0)?.u8(2)?.u8(parts.bits())?;
    e.u8(3)?.bytes(&before.to_packed())?.u8(4)?.bytes_len(parts.packed_len() as u64)?;
    MovePatch::new(parts, *after).write(e.writer_mut());
    Ok(())
}

fn write_placement(
    e: &mut Writer<'_>,
    handle: Handle,
    before: &Placement,
    after: &Placement,
) -> Written {
    let turned = before.transform != after.transform;
    e.map(5 + u64::from(turned))?.u8(0)?.u64(kind::REPARENTED)?.u8(1)?.u32(handle.0)?;
    e.u8(2)?.u32(before.parent.0)?.u8(3)?.bytes(&before.transform.to_packed())?;
    e.u8(4)?.u32(after.parent.0)?;
    if turned {
        e.u8(5)?.bytes(&after.transform.to_packed())?;
    }
    Ok(())
}

/// The chunk's table of writers, in order of their first event.
struct Writers {
    in_order: Vec<(ClientId, UserId)>,
    numbers: BTreeMap<(ClientId, UserId), u32>,
}

impl Writers {
    fn of(events: &[Event]) -> Self {
        let mut writers = Self { in_order: Vec::new(), numbers: BTreeMap::new() };
        for event in events {
            let writer = (event.edit.client, event.by);
            writers.numbers.entry(writer).or_insert_with(|| {
                writers.in_order.push(writer);
                (writers.in_order.len() - 1) as u32
            });
        }
        writers
    }
}
