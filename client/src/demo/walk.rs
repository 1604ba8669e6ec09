//! Walkers: bots that see an area, and walk across the brane with it.
//!
//! A bot with a whole copy leaves *marks*, the state of the world at some
//! positions. Whenever a walker's copy stands at such a position it has to be
//! what its view shows of that state, no object more and none less.

use std::collections::VecDeque;
use std::sync::Arc;

use avvy_model::{Area, Cell, Handle, Position, Scope, StateHash, View};
use avvy_protocol::{AreaFlush, FlushItem};

use super::summary::WalkSummary;
use crate::replica::Replica;

/// How far a walker sees, in metres.
const RADIUS_M: f64 = 24.0;
/// How fast it walks.
const METRES_PER_STEP: f64 = 2.4;
/// Where it turns: on the far side of the bots' plots, and beyond the origin.
const TURN_M: f64 = 48.0;
/// Marks that are kept, and places of a walker that wait for one.
const MARKS: usize = 8;
/// Cells on each side of the middle one on a map.
const MAP: i32 = 4;

/// One walker's way.
pub(super) struct Walk {
    x_m: f64,
    z_m: f64,
    /// 1 or -1.
    way: f64,
    end_m: f64,
    /// What its copy was, where it has not been compared yet.
    seen: VecDeque<(Position, Scope, StateHash)>,
    last_seq: u64,
    /// Whether it was compared since the last [`Self::ask`].
    pub(super) is_compared: bool,
}

impl Walk {
    /// Of bot `number` of so many.
    pub(super) fn new(number: u32, users: u32) -> Self {
        let (columns, row) = (f64::from(users.min(64)), f64::from(number / 64));
        let end_m = -8.0 * columns - 8.0;
        let x_m = -8.0 * f64::from(number % 64 + 1);
        let way = if number.is_multiple_of(2) { 1.0 } else { -1.0 };
        let seen = VecDeque::new();
        Self { x_m, z_m: 8.0 * row, way, end_m, seen, last_seq: 0, is_compared: false }
    }

    /// What is to be seen from here.
    pub(super) fn area(&self) -> Option<Area> {
        Area::from_metres(self.at_m(), RADIUS_M).ok()
    }

    /// Where it is, in metres.
    pub(super) fn at_m(&self) -> [f64; 3] {
        [self.x_m, 0.0, self.z_m]
    }

    /// A step further.
    pub(super) fn go(&mut self) {
        self.x_m += self.way * METRES_PER_STEP;
        if self.x_m > TURN_M {
            self.way = -1.0;
        } else if self.x_m < self.end_m {
            self.way = 1.0;
        }
    }

    /// The copy is to be compared where it stands now.
    pub(super) fn ask(&mut self) {
        (self.last_seq, self.is_compared) = (0, false);
        self.seen.clear();
    }

    /// Notes what the copy is, if it is time for that: about once in `every`
    /// edits, at the same positions as the marks are made, most of the time.
    pub(super) fn look(&mut self, copy: &mut Replica, every: u64) {
        let at = copy.position();
        if !is_due(&mut self.last_seq, at, every) {
            return;
        }
        let Some(scope) = copy.scope() else { return };
        if self.seen.len() == MARKS {
            self.seen.pop_front();
        }
        self.seen.push_back((at, scope, copy.state_hash()));
    }

    /// Compares what was noted with the marks that there are.
    pub(super) fn compare(&mut self, walks: &mut Walks) {
        self.seen.retain(|(at, scope, hash)| {
            let Some((_, world)) = walks.marks.iter().find(|(mark, _)| mark == at) else {
                return true;
            };
            self.is_compared = true;
            walks.sums.compared += 1;
            walks.sums.differing += u64::from(world.hash_within(scope) != *hash);
            false
        });
    }
}

/// Whether `at` is the first position that is looked at in its stretch of
/// `every` edits.
pub(super) fn is_due(last_seq: &mut u64, at: Position, every: u64) -> bool {
    let every = every.max(1);
    let is_due = at.seq.0 / every != *last_seq / every || *last_seq == 0;
    *last_seq = at.seq.0;
    is_due
}

/// What all walkers have seen.
#[derive(Default)]
pub(super) struct Walks {
    marks: VecDeque<(Position, Arc<Replica>)>,
    sums: WalkSummary,
    objects: Vec<usize>,
    cells: Vec<usize>,
}

impl Walks {
    /// The world at one position, by one who sees it whole.
    pub(super) fn mark(&mut self, world: &Replica) {
        if self.marks.len() == MARKS {
            self.marks.pop_front();
        }
        self.marks.push_back((world.position(), Arc::new(world.clone())));
    }

    /// A walker was shown a window.
    pub(super) fn saw(&mut self, flush: &AreaFlush) {
        self.sums.windows += 1;
        self.sums.left += flush.left.len() as u64;
        let tops = flush.entered.iter().filter(|new| new.object.parent == Handle::ROOT);
        self.sums.entered += tops.count() as u64;
    }

    /// A walker's view is another one.
    pub(super) fn stepped(&mut self) {
        self.sums.steps += 1;
    }

    /// A walker looks around.
    pub(super) fn sample(&mut self, copy: &Replica) {
        let Some(scope) = copy.scope() else { return };
        self.objects.push(copy.len());
        self.cells.push(copy.cells(scope.grid).len());
    }

    /// Keeps the map of the first walker that brings one.
    pub(super) fn draw(&mut self, copy: &Replica) {
        if let Some(scope) = copy.scope().filter(|_| self.sums.map.is_empty()) {
            self.sums.map = map(copy, &scope);
        }
    }

    /// The end.
    pub(super) fn summary(&mut self, walkers: u32, unchecked: u32) -> WalkSummary {
        WalkSummary {
            walkers,
            unchecked,
            objects_in_view: median(&mut self.objects),
            cells_in_view: median(&mut self.cells),
            ..self.sums.clone()
        }
    }
}

fn median(samples: &mut [usize]) -> usize {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

/// How many edits a window shows to whom it is sent.
pub(super) fn edits_in(flush: &AreaFlush) -> u64 {
    let count = |item: &FlushItem| match item {
        FlushItem::Moves(moves) => moves.len() as u64,
        FlushItem::Event(_) => 1,
        FlushItem::Skip(_) => 0,
    };
    flush.cells.iter().flatten().map(count).sum()
}

/// The cells around the middle of a view from above, north up: how many
/// objects are in each that is seen, whatever their height.
fn map(copy: &Replica, scope: &Scope) -> Vec<String> {
    let Scope { grid, view: View { center: Cell([x, y, z]), .. } } = *scope;
    let cells = copy.cells(grid);
    let count = |dx: i32, dz: i32| -> usize {
        let at = cells.iter().filter(|(cell, _)| cell.0[0] == x + dx && cell.0[2] == z + dz);
        at.map(|(_, objects)| objects).sum()
    };
    let field = |dx: i32, dz: i32| {
        let is_seen = scope.view.contains(Cell([x + dx, y, z + dz]));
        match count(dx, dz) {
            _ if !is_seen => "    ".to_owned(),
            objects if (dx, dz) == (0, 0) => format!("{:>4}", format!("[{objects}]")),
            0 => "   .".to_owned(),
            objects => format!("{objects:>4}"),
        }
    };
    let row = |dz| (-MAP..=MAP).map(|dx| field(dx, dz)).collect::<String>();
    (-MAP..=MAP).map(row).map(|row| row.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use avvy_model::{
        Epoch, Grid, Kind, Object, ObjectAt, ObjectId, Props, Seq, Transform, UserId,
    };
    use avvy_protocol::{Channel, SnapshotPart};

    use super::*;
    use crate::replica::Snapshot;

    /// Objects in the middle of these cells or, if they have a parent, in it.
    fn copy(scope: Scope, objects: &[(Handle, [i32; 3])]) -> Replica {
        let edge = scope.grid.size() as i32;
        let object = |(number, (parent, cell)): (u32, &(Handle, [i32; 3]))| {
            let mut transform = Transform::IDENTITY;
            transform.position = cell.map(|n| n * edge + edge / 2);
            let (id, owner) =
                (ObjectId::from_bytes([number as u8; 16]), UserId::from_bytes([1; 16]));
            let (kind, props) = (Kind::Group, Props::default());
            let object = Object { id, parent: *parent, kind, owner, transform, props };
            ObjectAt { handle: Handle(number), object }
        };
        let objects = (0..).zip(objects).map(object).collect();
        let at = Position { epoch: Epoch(1), seq: Seq(9) };
        let (channel, gone) = (Channel(1), Vec::new());
        let part = SnapshotPart { channel, at, index: 0, last: true, objects, gone };
        let mut snapshot = Snapshot::default();
        snapshot.add(part).expect("the part that was due");
        Replica::new(snapshot, Some(scope), 9).expect("a whole snapshot")
    }

    #[test]
    fn a_map_shows_how_many_are_in_each_cell_that_is_seen() {
        let view = View { center: Cell([5, 0, -2]), reach: 2 };
        let scope = Scope { grid: Grid::default(), view };
        let top = |cell| (Handle::ROOT, cell);
        let mut objects = vec![
            (Handle::ROOT, [0; 3]),
            top([3, 0, -2]),
            // Wherever it is, its home is its group's.
            (Handle(1), [50, 0, 50]),
            top([5, 0, -2]),
            top([5, 0, -2]),
            top([5, 1, -2]),
            top([5, 0, -4]),
            // Out of sight.
            top([8, 0, -2]),
        ];
        objects.extend([top([6, -1, -2]); 12]);
        let map = map(&copy(scope, &objects), &scope);
        let empty = "           .   .   .   .   .";
        let north = "           .   .   1   .   .";
        let middle = "           2   . [3]  12   .";
        assert_eq!(map, ["", "", north, empty, middle, empty, empty, "", ""]);
    }
}
