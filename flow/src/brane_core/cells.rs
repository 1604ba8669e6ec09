//! A window as viewers of parts of the brane see it.

use avvy_brane::{Crossing, Spot};
use avvy_model::{Change, Event, Handle, Home, MovePatch, ObjectAt, View};
use avvy_protocol::{FlushItem, MoveRecord, WireChange, WireEvent};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::BraneCore;
use crate::Now;

/// Where each change of an event is seen.
pub(super) type Spots = SmallVec<[Spot; 1]>;

/// What a window shows in which cell, and what crosses at its end.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CellWindow {
    /// The items of each home in which something happened, in order.
    pub cells: Vec<(Home, Vec<FlushItem>)>,
    /// By handle.
    pub crossings: Vec<Crossing>,
}

impl BraneCore {
    /// A session wants to see a part, or another, or none any more.
    pub(super) fn count_scoped(&mut self, now: Now, before: Option<View>, goal: Option<View>) {
        self.scoped += usize::from(goal.is_some());
        self.scoped -= usize::from(before.is_some());
        let is_last = self.scoped == 0 && before.is_some();
        self.scoped_us = if is_last { Some(now.us) } else { self.scoped_us };
    }

    /// Between two windows: decides whether it is noted where the next one is
    /// seen. It is while somebody sees a part, and for a while after that.
    pub(super) fn track(&mut self, now: Now) {
        let linger_us = u64::from(self.config.part_linger_ms) * 1_000;
        let lingers = self.scoped_us.is_some_and(|last_us| now.us < last_us + linger_us);
        self.world.track(self.scoped > 0 || lingers);
    }
}

impl CellWindow {
    pub(super) fn new(events: &[Event], spots: &[Spots], crossings: Vec<Crossing>) -> Self {
        let rehung = crossings.iter().filter(|crossing| !crossing.followed);
        let rehung: FxHashSet<Handle> = rehung.map(|crossing| crossing.handle).collect();
        let mut window = Self { cells: Vec::new(), crossings };
        let mut places = FxHashMap::default();
        for (event, spots) in events.iter().zip(spots) {
            match (event.changes.as_slice(), spots.as_slice()) {
                ([Change::Moved { handle, parts, after, .. }], [Spot::Seen(home)]) => {
                    let patch = MovePatch::new(*parts, *after);
                    let record = MoveRecord { handle: *handle, patch };
                    let items = window.items(&mut places, *home);
                    match items.last_mut() {
                        Some(FlushItem::Moves(run)) => run.push(record),
                        _ => items.push(FlushItem::Moves(vec![record])),
                    }
                }
                (_, spots) => window.add_event(&mut places, event, spots, &rehung),
            }
        }
        window
    }

    /// An event of several changes is cut into one for each home.
    fn add_event(
        &mut self,
        places: &mut FxHashMap<Home, usize>,
        event: &Event,
        spots: &[Spot],
        rehung: &FxHashSet<Handle>,
    ) {
        let mut begun: SmallVec<[Home; 4]> = SmallVec::new();
        for (change, spot) in event.changes.iter().zip(spots) {
            let Spot::Seen(home) = spot else { continue };
            let items = self.items(places, *home);
            match items.last_mut() {
                Some(FlushItem::Event(own)) if begun.contains(home) => {
                    own.changes.extend(shown(change, rehung));
                }
                _ => {
                    begun.push(*home);
                    let changes = shown(change, rehung).into_iter().collect();
                    items.push(FlushItem::Event(WireEvent { by: event.by, changes }));
                }
            }
        }
    }

    fn items(&mut self, places: &mut FxHashMap<Home, usize>, home: Home) -> &mut Vec<FlushItem> {
        let place = *places.entry(home).or_insert_with(|| {
            self.cells.push((home, Vec::new()));
            self.cells.len() - 1
        });
        &mut self.cells[place].1
    }
}

/// A change as the viewers of its home see it. Of what is deleted they are not
/// told what was rehung under it, with all under that: who has it was shown it
/// in another cell, and drops it at the window's end.
fn shown(change: &Change, rehung: &FxHashSet<Handle>) -> Option<WireChange> {
    let Change::Deleted { removed } = change else { return WireChange::of(change) };
    let mut hidden = FxHashSet::default();
    let mut is_seen = |at: &ObjectAt| {
        let is_hidden = rehung.contains(&at.handle) || hidden.contains(&at.object.parent);
        if is_hidden {
            hidden.insert(at.handle);
        }
        !is_hidden
    };
    let seen = removed.iter().filter(|at| is_seen(at));
    Some(WireChange::Deleted { handles: seen.map(|at| at.handle).collect() })
}
