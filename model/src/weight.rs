//! How many bytes an event takes in the journal at most, known before there
//! is an event: what bounds edits and windows, and with them a stored chunk.
//!
//! Each figure is the sum of the longest encodings in `brane::journal`, whose
//! tests hold the two together.

use crate::{Change, Event, Grant, Object, Props, PropsPatch, Ruled};

/// Of a chunk beside its events.
pub const CHUNK: usize = 64;

/// Of an event beside its changes, and of its writer.
pub const EVENT: usize = 96;

/// Of a change beside the objects and properties in it.
pub const CHANGE: usize = 96;

/// Of an event.
pub fn event(event: &Event) -> usize {
    EVENT + event.changes.iter().map(change).sum::<usize>()
}

/// Of a change.
pub fn change(change: &Change) -> usize {
    CHANGE
        + match change {
            Change::Moved { .. } | Change::Reparented { .. } => 0,
            Change::Created(created) => object(&created.object),
            Change::Updated { before, after, .. } => patch(before) + patch(after),
            Change::Deleted { removed } => removed.iter().map(|at| object(&at.object)).sum(),
            Change::Ruled(ruled) => self::ruled(ruled),
        }
}

/// Of a ruling beside what every change takes.
fn ruled(ruled: &Ruled) -> usize {
    /// Of roles, standings, and a grant without property keys.
    const RULED: usize = 192;
    RULED
        + match ruled {
            Ruled::Granted(Grant { reach, .. }) | Ruled::Revoked(Grant { reach, .. }) => {
                let keys = reach.keys.iter().flatten();
                keys.map(|key| text(key.as_str())).sum()
            }
            Ruled::Everybody { .. } | Ruled::Role { .. } | Ruled::Standing { .. } => 0,
        }
}

/// Of an object in a change.
pub fn object(object: &Object) -> usize {
    object_with(&object.props)
}

/// Of an object with these properties.
pub fn object_with(props: &Props) -> usize {
    const OBJECT: usize = 80;
    OBJECT + props.as_bytes().len()
}

/// What a world holds of an object in memory, about: the object with its
/// links, its place by id and its mark, and its properties. This one is no
/// bound of an encoding; it only has to be the same wherever it is counted.
pub fn held(props: &Props) -> u64 {
    const OBJECT: u64 = 300;
    OBJECT + props.as_bytes().len() as u64
}

/// Of the properties in a change, before or after.
pub fn patch(patch: &PropsPatch) -> usize {
    let entries = patch.entries().iter();
    let value_bytes = |value: Option<&crate::Value>| value.map_or(0, |v| v.as_bytes().len());
    entries.map(|(key, value)| text(key.as_str()) + value_bytes(value.as_ref())).sum()
}

/// CBOR's head of a text, and the text.
fn text(text: &str) -> usize {
    let head = match text.len() {
        0..24 => 1,
        24..256 => 2,
        256..65_536 => 3,
        _ => 5,
    };
    head + text.len()
}
