use avvy_model::{
    Change, Changes, ClientId, Counter, EditId, Event, Handle, MovePatch, Parts, Placement,
    PropKey, PropsPatch, Seq, TraceId, Transform, UserId, Value, ValueLimits,
};
use minicbor::Decoder;

use super::{FIRST_NOTE, JournalError, VERSION, kind};
use crate::cbor::{self, Malformed, SMALL_OBJECT, bytes, entries, fields, handle, list, tuple};
use crate::rights::read_ruled;

/// Bytes of a small event and of a writer in their lists.
const SMALL_EVENT: usize = 32;
const WRITER: usize = 35;

/// Reads a chunk. Bytes after it are an error.
///
/// # Errors
/// Any [`JournalError`].
pub fn decode(chunk: &[u8]) -> Result<Vec<Event>, JournalError> {
    let mut state = Chunk::default();
    let mut d = Decoder::new(chunk);
    let read = state.read(&mut d);
    if let Some(reason) = state.refused {
        return Err(reason);
    }
    if read.is_err() || d.position() != chunk.len() {
        return Err(JournalError::Malformed);
    }
    Ok(state.events)
}

#[derive(Default)]
struct Chunk {
    seq: u64,
    at_ms: u64,
    writers: Vec<(ClientId, UserId)>,
    events: Vec<Event>,
    /// A better reason than [`Malformed`].
    refused: Option<JournalError>,
}

impl Chunk {
    fn read(&mut self, d: &mut Decoder<'_>) -> Result<(), Malformed> {
        let mut version = None;
        fields(d, |d, key| {
            match key {
                0 => version = Some(d.u64()?),
                1 => self.check_version(d.u64()?)?,
                2 => self.seq = d.u64()?.wrapping_sub(1),
                3 => self.at_ms = d.u64()?,
                4 => self.writers = list(d, WRITER, writer)?,
                5 => self.read_events(d)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        version.map(drop).ok_or(Malformed)
    }

    fn check_version(&mut self, needed: u64) -> Result<(), Malformed> {
        if needed > VERSION {
            self.refused = Some(JournalError::TooNew(needed));
            return Err(Malformed);
        }
        Ok(())
    }

    fn read_events(&mut self, d: &mut Decoder<'_>) -> Result<(), Malformed> {
        self.events = list(d, SMALL_EVENT, |d| self.read_event(d))?;
        Ok(())
    }

    fn read_event(&mut self, d: &mut Decoder<'_>) -> Result<Event, Malformed> {
        let (mut writer, mut counter, mut trace, mut changes) = (0, None, None, None);
        let (mut later, mut skipped) = (0, 0);
        fields(d, |d, key| {
            match key {
                0 => writer = d.u32()? as usize,
                1 => counter = Some(Counter(d.u64()?)),
                2 => later = d.i64()?,
                3 => trace = Some(TraceId::from_bytes(bytes(d)?)),
                4 => changes = Some(self.read_changes(d)?),
                5 => skipped = d.i64()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let (client, by) = *self.writers.get(writer).ok_or(Malformed)?;
        self.seq = self.seq.wrapping_add(1).wrapping_add(skipped as u64);
        self.at_ms = self.at_ms.wrapping_add(later as u64);
        Ok(Event {
            seq: Seq(self.seq),
            at_ms: self.at_ms,
            by,
            edit: EditId { client, counter: counter.ok_or(Malformed)? },
            trace,
            changes: changes.ok_or(Malformed)?,
        })
    }

    fn read_changes(&mut self, d: &mut Decoder<'_>) -> Result<Changes, Malformed> {
        let count = d.array()?.ok_or(Malformed)?;
        let mut changes = Changes::new();
        for _ in 0..count {
            changes.extend(self.read_change(d)?);
        }
        Ok(changes)
    }

    /// `None` for a note.
    fn read_change(&mut self, d: &mut Decoder<'_>) -> Result<Option<Change>, Malformed> {
        let count = d.map()?.and_then(|count| count.checked_sub(1)).ok_or(Malformed)?;
        if d.u64()? != 0 {
            return Err(Malformed);
        }
        let change = match d.u64()? {
            kind::CREATED => read_created(d, count)?,
            kind::UPDATED => read_updated(d, count)?,
            kind::MOVED => read_moved(d, count)?,
            kind::REPARENTED => read_reparented(d, count)?,
            kind::DELETED => read_deleted(d, count)?,
            kind::RULED => read_ruling(d, count)?,
            FIRST_NOTE.. => {
                entries(d, count, |_, _| Ok(false))?;
                return Ok(None);
            }
            unknown => {
                self.refused = Some(JournalError::UnknownChange(unknown));
                return Err(Malformed);
            }
        };
        Ok(Some(change))
    }
}

fn writer(d: &mut Decoder<'_>) -> Result<(ClientId, UserId), Malformed> {
    tuple(d, 2, |d| Ok((ClientId::from_bytes(bytes(d)?), UserId::from_bytes(bytes(d)?))))
}

fn read_owned(d: &mut Decoder<'_>) -> Result<avvy_model::ObjectAt, Malformed> {
    cbor::read_object(d, |d| Ok(UserId::from_bytes(bytes(d)?)))
}

fn read_created(d: &mut Decoder<'_>, count: u64) -> Result<Change, Malformed> {
    let mut created = None;
    entries(d, count, |d, key| {
        if key == 2 {
            created = Some(read_owned(d)?);
        }
        Ok(key == 2)
    })?;
    Ok(Change::Created(Box::new(created.ok_or(Malformed)?)))
}

fn read_updated(d: &mut Decoder<'_>, count: u64) -> Result<Change, Malformed> {
    let mut of = None;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    entries(d, count, |d, key| {
        match key {
            1 => of = Some(handle(d)?),
            2 => read_values(d, &mut before)?,
            3 => read_absent(d, &mut before)?,
            4 => read_values(d, &mut after)?,
            5 => read_absent(d, &mut after)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let patch = |entries| PropsPatch::new(entries).map_err(|_| Malformed);
    let (before, after) = (patch(before)?, patch(after)?);
    Ok(Change::Updated { handle: of.ok_or(Malformed)?, before, after })
}

type Patch = Vec<(PropKey, Option<Value>)>;

fn read_values(d: &mut Decoder<'_>, patch: &mut Patch) -> Result<(), Malformed> {
    let count = d.map()?.ok_or(Malformed)?;
    for _ in 0..count {
        let key = prop_key(d)?;
        let value = Value::read(d, &ValueLimits::NONE).map_err(|_| Malformed)?;
        patch.push((key, Some(value)));
    }
    Ok(())
}

fn read_absent(d: &mut Decoder<'_>, patch: &mut Patch) -> Result<(), Malformed> {
    let count = d.array()?.ok_or(Malformed)?;
    for _ in 0..count {
        patch.push((prop_key(d)?, None));
    }
    Ok(())
}

fn prop_key(d: &mut Decoder<'_>) -> Result<PropKey, Malformed> {
    PropKey::new(d.str()?, &ValueLimits::NONE).map_err(|_| Malformed)
}

fn read_moved(d: &mut Decoder<'_>, count: u64) -> Result<Change, Malformed> {
    let (mut of, mut parts, mut before, mut now) = (None, None, None, None);
    entries(d, count, |d, key| {
        match key {
            1 => of = Some(handle(d)?),
            2 => parts = Some(Parts::from_bits(d.u8()?).ok_or(Malformed)?),
            3 => before = Some(cbor::transform(d)?),
            4 => now = Some(d.bytes()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let (parts, before) = (parts.ok_or(Malformed)?, before.ok_or(Malformed)?);
    let after = read_parts(parts, now.ok_or(Malformed)?)?.apply(&before);
    Ok(Change::Moved { handle: of.ok_or(Malformed)?, parts, before, after })
}

fn read_parts(parts: Parts, packed: &[u8]) -> Result<MovePatch, Malformed> {
    match MovePatch::read(parts, packed) {
        Some(Ok((patch, []))) => Ok(patch),
        _ => Err(Malformed),
    }
}

fn read_reparented(d: &mut Decoder<'_>, count: u64) -> Result<Change, Malformed> {
    let mut of: Option<Handle> = None;
    let (mut from, mut to) = (None, None);
    let (mut was, mut now): (Option<Transform>, Option<Transform>) = (None, None);
    entries(d, count, |d, key| {
        match key {
            1 => of = Some(handle(d)?),
            2 => from = Some(handle(d)?),
            3 => was = Some(cbor::transform(d)?),
            4 => to = Some(handle(d)?),
            5 => now = Some(cbor::transform(d)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let was = was.ok_or(Malformed)?;
    Ok(Change::Reparented {
        handle: of.ok_or(Malformed)?,
        before: Placement { parent: from.ok_or(Malformed)?, transform: was },
        after: Placement { parent: to.ok_or(Malformed)?, transform: now.unwrap_or(was) },
    })
}

fn read_ruling(d: &mut Decoder<'_>, count: u64) -> Result<Change, Malformed> {
    let mut ruled = None;
    entries(d, count, |d, key| {
        if key == 2 {
            ruled = Some(read_ruled(d)?);
        }
        Ok(key == 2)
    })?;
    Ok(Change::Ruled(Box::new(ruled.ok_or(Malformed)?)))
}

fn read_deleted(d: &mut Decoder<'_>, count: u64) -> Result<Change, Malformed> {
    let mut removed = None;
    entries(d, count, |d, key| {
        if key == 2 {
            removed = Some(list(d, SMALL_OBJECT, read_owned)?);
        }
        Ok(key == 2)
    })?;
    Ok(Change::Deleted { removed: removed.ok_or(Malformed)? })
}
