//! A window as viewers of parts of the brane see it.

use avvy_brane::{Crossing, Spot};
use avvy_model::{Change, Event, Home, MovePatch};
use avvy_protocol::{FlushItem, MoveRecord, WireEvent};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

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

impl CellWindow {
    pub(super) fn new(events: &[Event], spots: &[Spots], crossings: Vec<Crossing>) -> Self {
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
                (changes, spots) => window.add_event(&mut places, event, changes, spots),
            }
        }
        window
    }

    /// An event of several changes is cut into one for each home.
    fn add_event(
        &mut self,
        places: &mut FxHashMap<Home, usize>,
        event: &Event,
        changes: &[Change],
        spots: &[Spot],
    ) {
        let mut begun: SmallVec<[Home; 4]> = SmallVec::new();
        for (change, spot) in changes.iter().zip(spots) {
            let Spot::Seen(home) = spot else { continue };
            let items = self.items(places, *home);
            match items.last_mut() {
                Some(FlushItem::Event(own)) if begun.contains(home) => {
                    own.changes.push(change.into());
                }
                _ => {
                    begun.push(*home);
                    let changes = vec![change.into()];
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
