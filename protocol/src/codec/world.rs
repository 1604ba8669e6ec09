//! Objects and their changes.

use avvy_model::{
    Change, Handle, Object, ObjectAt, Placement, PropsPatch, Transform, UserId, ValueLimits,
};

use super::edit::{
    handle, object_id, patch_fields, read_kind, read_patch, read_props, read_transform,
    write_remove, write_set,
};
use super::out::Out;
use super::record::read_record;
use super::scan::{Fault, bytes, fields, items, text};
use crate::{MoveRecord, WireChange, WireEvent};

const MISSING: Fault = Fault::malformed("an object or change lacks a field");

/// What the server says was within its limits when it was said.
const AS_SAID: ValueLimits = ValueLimits::NONE;

/// Fields of an object in a map.
const OBJECT_FIELDS: usize = 7;

/// Writes a map with a whole object.
pub(super) fn write_object(at: &ObjectAt, out: &mut Out) {
    out.map(OBJECT_FIELDS);
    write_object_fields(at, None, out);
}

/// The fields in order, with `change` at its place if there is one.
fn write_object_fields(at: &ObjectAt, change: Option<&str>, out: &mut Out) {
    let Object { id, parent, kind, owner, transform, props } = &at.object;
    out.text("id").id(id.uuid()).text("kind").text(kind.name());
    out.text("owner").id(owner.uuid()).text("props").encoded(props.as_bytes());
    if let Some(change) = change {
        out.text("change").text(change);
    }
    out.text("handle").uint(u64::from(at.handle.0));
    out.text("parent").uint(u64::from(parent.0));
    out.text("transform").bytes(&transform.to_packed());
}

/// Reads a map with a whole object.
pub(super) fn read_object(map: &[u8]) -> Result<ObjectAt, Fault> {
    let names = ["id", "kind", "owner", "props", "handle", "parent", "transform"];
    let [id, kind, owner, props, own, parent, transform] = fields(map, &names)?;
    Ok(ObjectAt {
        handle: handle(own.ok_or(MISSING)?)?,
        object: Object {
            id: object_id(id.ok_or(MISSING)?)?,
            parent: handle(parent.ok_or(MISSING)?)?,
            kind: read_kind(kind.ok_or(MISSING)?)?,
            owner: user_id(owner.ok_or(MISSING)?)?,
            transform: read_transform(transform.ok_or(MISSING)?)?,
            props: read_props(props.ok_or(MISSING)?, &AS_SAID)?,
        },
    })
}

/// Writes an event from its changes.
pub(super) fn write_event<'a, I>(by: UserId, changes: I, out: &mut Out)
where
    I: ExactSizeIterator<Item = ChangeRef<'a>>,
{
    out.map(2).text("by").id(by.uuid()).text("changes").array(changes.len());
    for change in changes {
        write_change(change, out);
    }
}

/// Reads an event.
pub(super) fn read_event(map: &[u8]) -> Result<WireEvent, Fault> {
    let [by, changes] = fields(map, &["by", "changes"])?;
    let mut event = WireEvent { by: user_id(by.ok_or(MISSING)?)?, changes: Vec::with_capacity(1) };
    items(changes.ok_or(MISSING)?, |item| {
        event.changes.push(read_change(item)?);
        Ok::<_, Fault>(())
    })?;
    Ok(event)
}

/// A change as it goes on the wire, whether it comes from the log or was read.
pub(super) enum ChangeRef<'a> {
    Created(&'a ObjectAt),
    Updated(Handle, &'a PropsPatch),
    Moved(MoveRecord),
    Reparented(Handle, Placement),
    Deleted(&'a [Handle]),
    Removed(&'a [ObjectAt]),
}

impl<'a> From<&'a WireChange> for ChangeRef<'a> {
    fn from(change: &'a WireChange) -> Self {
        match change {
            WireChange::Created(object) => Self::Created(object),
            WireChange::Updated { handle, patch } => Self::Updated(*handle, patch),
            WireChange::Moved(record) => Self::Moved(*record),
            WireChange::Reparented { handle, to } => Self::Reparented(*handle, *to),
            WireChange::Deleted { handles } => Self::Deleted(handles),
        }
    }
}

impl<'a> ChangeRef<'a> {
    /// See [`WireChange::of`].
    pub(super) fn of(change: &'a Change) -> Option<Self> {
        Some(match change {
            Change::Created(object) => Self::Created(object),
            Change::Updated { handle, after, .. } => Self::Updated(*handle, after),
            Change::Moved { handle, parts, after, .. } => Self::Moved(MoveRecord {
                handle: *handle,
                patch: avvy_model::MovePatch::new(*parts, *after),
            }),
            Change::Reparented { handle, after, .. } => Self::Reparented(*handle, *after),
            Change::Deleted { removed } => Self::Removed(removed),
            Change::Ruled(_) => return None,
        })
    }
}

fn write_change(change: ChangeRef<'_>, out: &mut Out) {
    match change {
        ChangeRef::Created(object) => {
            out.map(OBJECT_FIELDS + 1);
            write_object_fields(object, Some("created"), out);
        }
        ChangeRef::Updated(handle, patch) => {
            out.map(2 + patch_fields(patch));
            write_set(patch, out);
            out.text("change").text("updated").text("handle").uint(u64::from(handle.0));
            write_remove(patch, out);
        }
        ChangeRef::Moved(record) => {
            out.map(2).text("m");
            record.write(out);
            out.text("change").text("moved");
        }
        ChangeRef::Reparented(handle, to) => {
            out.map(4).text("change").text("reparented");
            out.text("handle").uint(u64::from(handle.0));
            out.text("parent").uint(u64::from(to.parent.0));
            out.text("transform").bytes(&to.transform.to_packed());
        }
        ChangeRef::Deleted(handles) => write_deleted(handles.iter().copied(), out),
        ChangeRef::Removed(objects) => write_deleted(objects.iter().map(|at| at.handle), out),
    }
}

fn write_deleted(handles: impl ExactSizeIterator<Item = Handle>, out: &mut Out) {
    out.map(2).text("change").text("deleted").text("handles").array(handles.len());
    handles.for_each(|handle| {
        out.uint(u64::from(handle.0));
    });
}

fn read_change(map: &[u8]) -> Result<WireChange, Fault> {
    let names = ["change", "handle", "m", "parent", "transform", "handles"];
    let [change, own, m, parent, transform, handles] = fields(map, &names)?;
    let own = || handle(own.ok_or(MISSING)?);
    match text(change.ok_or(MISSING)?)? {
        "created" => Ok(WireChange::Created(Box::new(read_object(map)?))),
        "updated" => Ok(WireChange::Updated { handle: own()?, patch: read_patch(map, &AS_SAID)? }),
        "moved" => Ok(WireChange::Moved(read_record(bytes(m.ok_or(MISSING)?)?)?)),
        "reparented" => {
            let parent = handle(parent.ok_or(MISSING)?)?;
            let transform: Transform = read_transform(transform.ok_or(MISSING)?)?;
            Ok(WireChange::Reparented { handle: own()?, to: Placement { parent, transform } })
        }
        "deleted" => Ok(WireChange::Deleted { handles: read_handles(handles.ok_or(MISSING)?)? }),
        _ => Err(Fault::malformed("no such change")),
    }
}

/// An array of handles.
pub(super) fn read_handles(array: &[u8]) -> Result<Vec<Handle>, Fault> {
    let mut handles = Vec::new();
    items(array, |item| {
        handles.push(handle(item)?);
        Ok::<_, Fault>(())
    })?;
    Ok(handles)
}

fn user_id(item: &[u8]) -> Result<UserId, Fault> {
    text(item)?.parse().map_err(|_| Fault::malformed("not a UUID of the form 8-4-4-4-12"))
}
