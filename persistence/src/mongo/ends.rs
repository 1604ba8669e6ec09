//! Where journals ended when this store last wrote to them, and whose tails are
//! on their way among the other chunks.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_model::{BraneId, Position};

use super::rows::Head;
use super::tail;

/// Branes whose ends are remembered, at most; beyond, all are forgotten.
const MAX_ENDS: usize = 16_384;

/// Tails that are moved at once, at most. Those of others grow meanwhile, and are
/// moved by a push of later.
const MAX_MOVING: usize = 4;

/// Where journals ended when this store last wrote to them. Cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Ends(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    ends: HashMap<BraneId, End>,
    /// Branes whose tails are being moved.
    moving: HashSet<BraneId>,
    /// Up to where tails were moved whose ends were handed out meanwhile.
    moved: HashMap<BraneId, Position>,
}

/// The end of a journal.
pub(super) struct End {
    pub(super) head: Head,
    pub(super) tail: tail::Outline,
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers where a journal ends. Where its tail ends, if that is to be moved.
    pub(super) fn put(&self, brane: BraneId, mut end: End) -> Option<Position> {
        let Known { ends, moving, moved } = &mut *self.lock();
        if ends.len() >= MAX_ENDS {
            ends.clear();
        }
        if let Some(to) = moved.remove(&brane) {
            end.tail.begins_after(to);
        }
        let to = end.tail.end_if_long();
        let to = to.filter(|_| moving.len() < MAX_MOVING && moving.insert(brane));
        ends.insert(brane, end);
        to
    }

    /// The tail of a brane was moved at least up to there, or it is not known.
    pub(super) fn moved(&self, brane: BraneId, to: Option<Position>) {
        let Known { ends, moving, moved } = &mut *self.lock();
        moving.remove(&brane);
        match (to, ends.get_mut(&brane)) {
            (Some(to), Some(end)) => end.tail.begins_after(to),
            (Some(to), None) => {
                if moved.len() >= MAX_ENDS {
                    moved.clear();
                }
                moved.insert(brane, to);
            }
            (None, _) => {}
        }
    }

    /// The ends of all these branes, if they are known. Each is handed out
    /// once: it is put back when it has proved right.
    pub(super) fn take(&self, branes: &[BraneId]) -> Option<HashMap<BraneId, End>> {
        let ends = &mut self.lock().ends;
        let found: HashMap<_, _> =
            branes.iter().filter_map(|id| Some((*id, ends.remove(id)?))).collect();
        (found.len() == branes.len()).then_some(found)
    }
}
