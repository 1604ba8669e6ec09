//! From outcomes back to a state.

use std::sync::Arc;

use avvy_model::{Change, Event, Handle, Kind, ObjectAt, Placement, PropsPatch, Seq, ValueLimits};

use crate::World;
use crate::rights::RulingRecord;

/// Why an event does not fit the state. It was made for another one, so the
/// log or the state is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// An edit is missing, or comes twice.
    #[error("edit {found} where {expected} should be")]
    OutOfOrder {
        /// The one after the world's last.
        expected: Seq,
        /// The event's.
        found: Seq,
    },
    /// An object is not as the event says it was.
    #[error("edit {seq} was made for another state of object {handle}")]
    Mismatch {
        /// The event's.
        seq: Seq,
        /// The object.
        handle: Handle,
    },
}

impl World {
    /// Applies an accepted edit's outcome to the state that it was made for.
    /// Asks no right, no limit and no clock.
    ///
    /// # Errors
    /// A [`ReplayError`], upon which the state is as before.
    pub fn replay(&mut self, event: &Event) -> Result<(), ReplayError> {
        let expected = self.seq.next();
        if event.seq != expected {
            return Err(ReplayError::OutOfOrder { expected, found: event.seq });
        }
        let next_handle = self.next_handle;
        if let Some(ruled) = event.ruled() {
            let (seq, at_ms, by) = (event.seq, event.at_ms, event.by);
            let record = RulingRecord { seq, at_ms, by, ruled: ruled.clone() };
            Arc::make_mut(&mut self.rights).follow(record);
        }
        for (done, change) in event.changes.iter().enumerate() {
            if let Err(Unfit(handle)) = self.redo(change) {
                self.take_back(&event.changes[..done]);
                self.next_handle = next_handle;
                return Err(ReplayError::Mismatch { seq: event.seq, handle });
            }
        }
        self.note(event.seq, &event.changes);
        self.occupancy = None;
        Ok(())
    }

    /// All of a change or nothing.
    fn redo(&mut self, change: &Change) -> Result<(), Unfit> {
        match change {
            Change::Created(created) => self.redo_creation(created),
            Change::Updated { handle, before, after } => self.redo_update(*handle, before, after),
            Change::Moved { handle, before, after, .. } => {
                let object = self.get(*handle).ok_or(Unfit(*handle))?;
                fits(object.transform == *before, *handle)?;
                self.set_transform(*handle, *after);
                Ok(())
            }
            Change::Reparented { handle, before, after } => {
                self.redo_placement(*handle, before, after)
            }
            Change::Deleted { removed } => self.redo_deletion(removed),
            // An event's only change, or none that this program makes.
            Change::Ruled(_) => Ok(()),
        }
    }

    fn redo_creation(&mut self, created: &ObjectAt) -> Result<(), Unfit> {
        let ObjectAt { handle, object } = created;
        let next = handle.0.checked_add(1).ok_or(Unfit(*handle))?;
        fits(*handle == self.next_handle && self.find(object.id).is_none(), *handle)?;
        fits(self.is_group(object.parent), *handle)?;
        self.insert(*handle, object.clone());
        self.next_handle = Handle(next);
        Ok(())
    }

    fn redo_update(
        &mut self,
        handle: Handle,
        before: &PropsPatch,
        after: &PropsPatch,
    ) -> Result<(), Unfit> {
        let object = self.get(handle).ok_or(Unfit(handle))?;
        let (props, was) =
            object.props.patched(after, &ValueLimits::NONE).map_err(|_| Unfit(handle))?;
        fits(was == *before, handle)?;
        self.set_props(handle, props);
        Ok(())
    }

    fn redo_placement(
        &mut self,
        handle: Handle,
        before: &Placement,
        after: &Placement,
    ) -> Result<(), Unfit> {
        let object = self.get(handle).ok_or(Unfit(handle))?;
        let was = Placement { parent: object.parent, transform: object.transform };
        fits(was == *before && handle != Handle::ROOT, handle)?;
        fits(self.is_group(after.parent) && !self.is_within(after.parent, handle), handle)?;
        self.place(handle, *after);
        Ok(())
    }

    fn redo_deletion(&mut self, removed: &[ObjectAt]) -> Result<(), Unfit> {
        for (done, ObjectAt { handle, object }) in removed.iter().enumerate().rev() {
            let is_fit = *handle != Handle::ROOT
                && self.get(*handle) == Some(object)
                && self.children(*handle).next().is_none();
            if !is_fit {
                // Back in their order: parents before their children.
                removed[done + 1..].iter().for_each(|o| self.insert(o.handle, o.object.clone()));
                return Err(Unfit(*handle));
            }
            self.take(*handle);
        }
        Ok(())
    }

    fn is_group(&self, handle: Handle) -> bool {
        self.get(handle).is_some_and(|object| object.kind == Kind::Group)
    }
}

/// The object that is not as it should be.
struct Unfit(Handle);

fn fits(condition: bool, handle: Handle) -> Result<(), Unfit> {
    if condition { Ok(()) } else { Err(Unfit(handle)) }
}
