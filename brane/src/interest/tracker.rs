//! What a window of the log shows in which cell.
//!
//! Within a window an object under the root, and all under it, is seen at the
//! home that it had when the window began, however it moves; at the end of
//! the window it *crosses* to its new home: viewers of the old one alone let
//! go of it, viewers of the new one alone get it whole, and viewers of both
//! have followed its moves.
//!
//! An object that is hung elsewhere, under something with another home, is
//! *rehung*: from there on its edits and those under it are not shown one by
//! one in that window. At the end everyone who saw its old home lets go of it,
//! and everyone who sees its new one gets it whole. So no edit ever names an
//! object that its viewer cannot have, and the order among cells does not
//! matter.

use avvy_model::{Change, Handle, Home, Object, ObjectAt, Placement, weight};
use rustc_hash::FxHashMap;

use crate::World;

/// Where a change is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spot {
    /// By the viewers of this home.
    Seen(Home),
    /// By none: what it changes is part of what crosses at the window's end.
    Unseen,
}

/// An object that crosses at the end of a window, with all under it.
#[derive(Clone, PartialEq, Debug)]
pub struct Crossing {
    /// The top one.
    pub handle: Handle,
    /// Its home when the window began.
    pub from: Home,
    /// Its home now. `None` when there is nothing to show of it: it is gone, or
    /// is in another object that crosses.
    pub to: Option<Home>,
    /// Whether viewers of both homes have followed it by its edits.
    pub followed: bool,
    /// What those get who have to get it whole.
    pub objects: Crossed,
}

impl Crossing {
    /// Without its objects.
    fn new(handle: Handle, from: Home, to: Option<Home>, followed: bool) -> Self {
        Self { handle, from, to, followed, objects: Crossed::Whole(Vec::new()) }
    }
}

/// The state of what crosses.
#[derive(Clone, PartialEq, Debug)]
pub enum Crossed {
    /// Every object, the top one first, each parent before its children.
    Whole(Vec<ObjectAt>),
    /// Too many for one window, or too large. Of several crossings these are
    /// the ones that hold the most.
    TooMany,
}

/// Objects that may cross whole in a window, all crossings together: what
/// enters a view has to fit into a frame.
pub const MAX_CROSSED: usize = 4_096;
/// And bytes of them in the journal.
const MAX_CROSSED_BYTES: usize = 1 << 20;

/// Objects that are looked at in a window to find out how much crosses.
const MAX_COUNTED: usize = 65_536;

/// What is noted of the open window.
#[derive(Default)]
pub(crate) struct Tracker {
    /// The homes at the window's begin of objects under the root that have had
    /// another since.
    started: FxHashMap<Handle, Home>,
    /// Objects that were rehung, with their homes at the window's begin.
    rehung: FxHashMap<Handle, Home>,
    /// Those of `rehung` that the edit under way has added.
    fresh: Vec<Handle>,
    /// Of the edit under way: one for each change.
    spots: Vec<Spot>,
}

/// Where an object is seen: its home at the window's begin, and whether it is
/// in something that was rehung.
struct Seat {
    home: Home,
    is_rehung: bool,
}

impl Tracker {
    /// An object under the root has another home now.
    pub(crate) fn moved(&mut self, handle: Handle, from: Home) {
        self.started.entry(handle).or_insert(from);
    }
}

impl World {
    /// Begins or ends to note what windows show where. Between two windows
    /// only.
    pub fn track(&mut self, on: bool) {
        if on != self.tracker.is_some() {
            self.tracker = on.then(Box::default);
        }
    }

    /// Whether it is noted what windows show where.
    pub fn is_tracked(&self) -> bool {
        self.tracker.is_some()
    }

    /// Where each change of the last accepted edit is seen; empty when that is
    /// not noted.
    pub fn spots(&self) -> &[Spot] {
        self.tracker.as_ref().map_or(&[], |tracker| &tracker.spots)
    }

    /// Ends a window: what crosses at its end, by handle; so many objects of
    /// it whole, and never more than [`MAX_CROSSED`].
    pub fn crossings(&mut self, most: usize) -> Vec<Crossing> {
        let Some(tracker) = self.tracker.as_mut() else { return Vec::new() };
        let started = std::mem::take(&mut tracker.started);
        let rehung = std::mem::take(&mut tracker.rehung);
        let mut crossings: Vec<_> = rehung
            .iter()
            .map(|(handle, from)| {
                Crossing::new(*handle, *from, self.shown(*handle, &rehung), false)
            })
            .collect();
        for (handle, from) in &started {
            let is_under_root = self.get(*handle).is_some_and(|o| o.parent == Handle::ROOT);
            let to = self.home(*handle).filter(|to| to != from);
            if is_under_root && to.is_some() && !rehung.contains_key(handle) {
                crossings.push(Crossing::new(*handle, *from, to, true));
            }
        }
        crossings.sort_unstable_by_key(|crossing| crossing.handle);
        self.fill(&mut crossings, most.min(MAX_CROSSED));
        crossings
    }

    /// Before an edit.
    pub(crate) fn begin_tracking(&mut self) {
        if let Some(tracker) = self.tracker.as_mut() {
            tracker.fresh.clear();
            tracker.spots.clear();
        }
    }

    /// The edit is taken back.
    pub(crate) fn untrack(&mut self) {
        if let Some(tracker) = self.tracker.as_mut() {
            for handle in tracker.fresh.drain(..) {
                tracker.rehung.remove(&handle);
            }
            tracker.spots.clear();
        }
    }

    /// Notes a change that has just been made.
    pub(crate) fn track_change(&mut self, change: &Change) {
        if self.tracker.is_none() {
            return;
        }
        let spot = match change {
            Change::Created(created) => self.creation(created),
            Change::Updated { handle, .. } | Change::Moved { handle, .. } => {
                spot(&self.seat(*handle))
            }
            Change::Reparented { handle, before, after } => self.rehanging(*handle, before, after),
            Change::Deleted { removed } => self.removal(removed),
            Change::Ruled(_) => return,
        };
        if let Some(tracker) = self.tracker.as_mut() {
            tracker.spots.push(spot);
        }
    }
}

impl World {
    /// Where an object is seen that is in the world.
    fn seat(&self, handle: Handle) -> Seat {
        let layer = Seat { home: Home::Layer, is_rehung: false };
        let Some(tracker) = self.tracker.as_ref() else { return layer };
        let mut at = handle;
        while let Some(object) = self.get(at).filter(|_| at != Handle::ROOT) {
            if let Some(home) = tracker.rehung.get(&at) {
                return Seat { home: *home, is_rehung: true };
            }
            if object.parent == Handle::ROOT {
                return Seat { home: self.start(at, object), is_rehung: false };
            }
            at = object.parent;
        }
        layer
    }

    /// The home at the window's begin of an object that hangs under the root,
    /// or hung there as it is given.
    fn start(&self, handle: Handle, object: &Object) -> Home {
        let started = self.tracker.as_ref().and_then(|tracker| tracker.started.get(&handle));
        started.copied().unwrap_or_else(|| self.cells.home(object))
    }

    fn creation(&mut self, created: &ObjectAt) -> Spot {
        if created.object.parent != Handle::ROOT {
            return spot(&self.seat(created.object.parent));
        }
        // The handle may have been that of an object whose creation was taken back.
        if let Some(tracker) = self.tracker.as_mut() {
            tracker.started.remove(&created.handle);
        }
        Spot::Seen(self.cells.home(&created.object))
    }

    fn rehanging(&mut self, handle: Handle, before: &Placement, after: &Placement) -> Spot {
        let Some(object) = self.get(handle) else { return Spot::Unseen };
        let now = self.seat(handle);
        if now.is_rehung && self.is_rehung(handle) {
            return Spot::Unseen;
        }
        if before.parent == after.parent {
            return spot(&now);
        }
        let was = if before.parent == Handle::ROOT {
            let hung = Object { transform: before.transform, ..object.clone() };
            Seat { home: self.start(handle, &hung), is_rehung: false }
        } else {
            self.seat(before.parent)
        };
        if !was.is_rehung && !now.is_rehung && was.home == now.home {
            return Spot::Seen(was.home);
        }
        if let Some(tracker) = self.tracker.as_mut() {
            tracker.rehung.insert(handle, was.home);
            tracker.fresh.push(handle);
        }
        Spot::Unseen
    }

    fn removal(&self, removed: &[ObjectAt]) -> Spot {
        let Some(top) = removed.first() else { return Spot::Unseen };
        if self.is_rehung(top.handle) {
            Spot::Unseen
        } else if top.object.parent == Handle::ROOT {
            Spot::Seen(self.start(top.handle, &top.object))
        } else {
            spot(&self.seat(top.object.parent))
        }
    }

    fn is_rehung(&self, handle: Handle) -> bool {
        self.tracker.as_ref().is_some_and(|tracker| tracker.rehung.contains_key(&handle))
    }

    /// Adds the objects of what is to be shown: of the smallest first, so that
    /// something huge that crosses again and again takes no room from the rest.
    fn fill(&self, crossings: &mut [Crossing], most: usize) {
        let mut left = MAX_COUNTED;
        let mut found: Vec<(usize, Vec<Handle>)> = Vec::new();
        for (index, crossing) in crossings.iter_mut().enumerate() {
            if crossing.to.is_none() {
                continue;
            }
            crossing.objects = Crossed::TooMany;
            let handles = self.subtree(crossing.handle, left.min(most));
            left = left.saturating_sub(handles.as_ref().map_or(most, Vec::len));
            found.extend(handles.map(|handles| (index, handles)));
        }
        found.sort_by_key(|(_, handles)| handles.len());
        let (mut count, mut bytes) = (0, 0);
        for (index, handles) in found {
            let objects = handles.iter().filter_map(|handle| Some((*handle, self.get(*handle)?)));
            let weighs: usize = objects.clone().map(|(_, object)| weight::object(object)).sum();
            if count + handles.len() > most || bytes + weighs > MAX_CROSSED_BYTES {
                continue;
            }
            (count, bytes) = (count + handles.len(), bytes + weighs);
            let objects =
                objects.map(|(handle, object)| ObjectAt { handle, object: object.clone() });
            crossings[index].objects = Crossed::Whole(objects.collect());
        }
    }

    /// The home of a rehung object, unless it is in another one.
    fn shown(&self, handle: Handle, rehung: &FxHashMap<Handle, Home>) -> Option<Home> {
        let mut at = self.get(handle)?.parent;
        while at != Handle::ROOT {
            if rehung.contains_key(&at) {
                return None;
            }
            at = self.get(at)?.parent;
        }
        self.home(handle)
    }
}

fn spot(place: &Seat) -> Spot {
    if place.is_rehung { Spot::Unseen } else { Spot::Seen(place.home) }
}
