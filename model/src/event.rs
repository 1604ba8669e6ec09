//! What happened: the outcomes that the log holds.
//!
//! An event says what became of the world and what was there before, so that
//! replay asks no clock, no right and no script, and cannot fail on a world
//! in the state that the event was made for.

use smallvec::SmallVec;

use crate::{EditId, Handle, Object, Parts, PropsPatch, Ruled, Seq, TraceId, Transform, UserId};

/// An object under its handle.
#[derive(Clone, PartialEq, Debug)]
pub struct ObjectAt {
    /// The ordinal.
    pub handle: Handle,
    /// The whole state.
    pub object: Object,
}

/// Where an object hangs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Placement {
    /// The group.
    pub parent: Handle,
    /// Relative to that group.
    pub transform: Transform,
}

/// One object's change, with its before-image.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// An object came to be.
    Created(Box<ObjectAt>),
    /// Properties changed.
    Updated {
        /// Whose.
        handle: Handle,
        /// What the named keys were; `None` where there was no such key.
        before: PropsPatch,
        /// What they are now; `None` where the key went away.
        after: PropsPatch,
    },
    /// Position, rotation or scale changed.
    Moved {
        /// Whose.
        handle: Handle,
        /// Which parts of `after` the edit set. The other parts are unchanged.
        parts: Parts,
        /// The whole transform before.
        before: Transform,
        /// The whole transform now.
        after: Transform,
    },
    /// The object hangs elsewhere.
    Reparented {
        /// Which.
        handle: Handle,
        /// Where it hung.
        before: Placement,
        /// Where it hangs now.
        after: Placement,
    },
    /// An object went away, with everything under it.
    Deleted {
        /// Every object removed, whole: the named one first, each parent
        /// before its children.
        removed: Vec<ObjectAt>,
    },
    /// Rights changed: the only change of its event. No object did.
    Ruled(Box<Ruled>),
}

/// The changes of one event, in the order they apply. Never empty.
pub type Changes = SmallVec<[Change; 1]>;

/// One accepted edit.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Its place in the brane's log.
    pub seq: Seq,
    /// When it was accepted: server's Unix time in milliseconds.
    pub at_ms: u64,
    /// Who did it.
    pub by: UserId,
    /// The edit it is the outcome of.
    pub edit: EditId,
    /// The request's trace id, if it had one.
    pub trace: Option<TraceId>,
    /// What changed.
    pub changes: Changes,
}

impl Event {
    /// What changed, if it was rights: then no object did, and there is
    /// nothing to show to viewers.
    pub fn ruled(&self) -> Option<&Ruled> {
        match self.changes.as_slice() {
            [Change::Ruled(ruled)] => Some(ruled),
            _ => None,
        }
    }
}
