//! Copies of parts of a world: whatever happens, after each window they are
//! the world as far as their view goes.

use std::collections::BTreeMap;

use avvy_brane::{Crossed, Crossing, MAX_CROSSED, Region, Spot, World, journal};
use avvy_model::{
    BraneId, Cell, Change, ClientId, Counter, Edit, EditId, Event, Grid, Handle, Home, Kind,
    MovePatch, Object, ObjectId, Operation, Parts, Principal, PropKey, Props, PropsPatch, Role,
    Seq, Target, Transform, Value, ValueLimits, View, WorldLimits,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Naive;
use crate::script::{self, edit, user};

type Objects = BTreeMap<Handle, Object>;

/// What a viewer does with what it is sent.
struct Copy {
    view: View,
    objects: Objects,
}

impl Copy {
    fn new(world: &World, view: View) -> Self {
        let mut copy = Self { view: view.first(), objects: Objects::new() };
        copy.show(world, Region { view: view.first(), known: None });
        copy
    }

    /// Takes what a new view adds, and drops what it no longer has.
    fn show(&mut self, world: &World, region: Region) {
        for top in world.leaving(&region) {
            self.drop_under(top);
        }
        for handle in world.region(&region, usize::MAX).unwrap() {
            self.objects.insert(handle, world.get(handle).unwrap().clone());
        }
        self.view = region.view;
    }

    fn drop_under(&mut self, top: Handle) {
        let objects = &self.objects;
        let is_under = |mut at: Handle| {
            while at != top && at != Handle::ROOT {
                let Some(object) = objects.get(&at) else { return false };
                at = object.parent;
            }
            at == top
        };
        let gone: Vec<_> = objects.keys().copied().filter(|handle| is_under(*handle)).collect();
        gone.iter().for_each(|handle| drop(self.objects.remove(handle)));
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Created(created) => {
                assert!(self.objects.contains_key(&created.object.parent), "{created:?}");
                self.objects.insert(created.handle, created.object.clone());
            }
            Change::Updated { handle, after, .. } => {
                let object = self.objects.get_mut(handle).unwrap();
                object.props = object.props.patched(after, &ValueLimits::NONE).unwrap().0;
            }
            Change::Moved { handle, after, .. } => {
                self.objects.get_mut(handle).unwrap().transform = *after;
            }
            Change::Reparented { handle, after, .. } => {
                assert!(self.objects.contains_key(&after.parent));
                let object = self.objects.get_mut(handle).unwrap();
                (object.parent, object.transform) = (after.parent, after.transform);
            }
            Change::Deleted { removed } => {
                removed.iter().for_each(|object| drop(self.objects.remove(&object.handle)));
            }
            Change::Ruled(_) => panic!("nobody rules here"),
        }
    }

    fn cross(&mut self, crossings: &[Crossing]) {
        for one in crossings {
            let to = one.to.is_some_and(|to| self.view.sees(to));
            if self.view.sees(one.from) && !(one.followed && to) {
                self.drop_under(one.handle);
            }
        }
        for one in crossings {
            let from = self.view.sees(one.from);
            let to = one.to.is_some_and(|to| self.view.sees(to));
            if to && !(one.followed && from) {
                let Crossed::Whole(objects) = &one.objects else { panic!("too many") };
                for object in objects {
                    self.objects.insert(object.handle, object.object.clone());
                }
            }
        }
    }

    /// The world as far as the view goes, found in a way of its own.
    fn check(&self, world: &World) {
        let all: Objects = world.iter().map(|(h, o)| (h, o.clone())).collect();
        let is_seen = |handle: Handle| {
            let mut at = handle;
            while at != Handle::ROOT && all[&at].parent != Handle::ROOT {
                at = all[&at].parent;
            }
            at == Handle::ROOT || self.view.sees(world.grid().home(&all[&at]))
        };
        let seen: Objects =
            all.iter().filter(|(h, _)| is_seen(**h)).map(|(h, o)| (*h, o.clone())).collect();
        assert_eq!(self.objects, seen, "the view is {:?}", self.view);
    }
}

fn view() -> impl Strategy<Value = View> {
    let center = proptest::array::uniform3(-3..3i32).prop_map(Cell);
    (center, 1..4u32).prop_map(|(center, reach)| View { center, reach })
}

/// A world with cells of 2 m.
fn small_cells(owner: Principal) -> World {
    let mut world = World::new(BraneId::from_bytes([0xb0; 16]), owner.user);
    let key = PropKey::new(Grid::SIZE_KEY, &ValueLimits::NONE).unwrap();
    let patch = PropsPatch::new(vec![(key, Some(Value::float(2.0)))]).unwrap();
    let edit = Edit::One(Operation::Update { target: Target::Handle(Handle::ROOT), patch });
    world.apply(Seq(1), 0, &owner, &edit, &WorldLimits::default()).unwrap();
    world.adopt_grid();
    assert_eq!(world.grid(), Grid::new(20_000).unwrap());
    world.track(true);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn copies_of_parts_are_the_world_as_far_as_they_go(
        steps in script::script(1..120),
        lengths in vec(1..9usize, 1..8),
        walks in vec(view(), 4..40),
    ) {
        let owner = Principal { user: user(1), ceiling: Role::Owner, invited: true };
        let mut world = small_cells(owner);
        let mut state = Naive::of(&world);
        let mut goals = walks.iter().cycle();
        let mut copies: Vec<_> = walks[..4].iter().map(|view| Copy::new(&world, *view)).collect();
        let mut lengths = lengths.iter().cycle();
        let mut window: Vec<(Change, Spot)> = Vec::new();
        let mut room = 3;
        for step in &steps {
            let Some((principal, edit)) = edit(step, &state) else { continue };
            let seq = world.seq().next();
            if let Ok(changes) =
                world.apply(seq, 0, &principal, &edit, &WorldLimits::default())
            {
                prop_assert_eq!(world.spots().len(), changes.len());
                window.extend(changes.into_iter().zip(world.spots().iter().copied()));
                state = Naive::of(&world);
            }
            room -= 1;
            if room > 0 {
                continue;
            }
            room = *lengths.next().unwrap();
            let crossings = world.crossings(MAX_CROSSED);
            for copy in &mut copies {
                // Home by home, as on the wire.
                let mut homes: BTreeMap<Home, Vec<&Change>> = BTreeMap::new();
                for (change, spot) in &window {
                    if let Spot::Seen(home) = spot {
                        homes.entry(*home).or_default().push(change);
                    }
                }
                for (home, changes) in homes {
                    if copy.view.sees(home) {
                        changes.into_iter().for_each(|change| copy.apply(change));
                    }
                }
                copy.cross(&crossings);
                copy.check(&world);
                let goal = goals.next().unwrap();
                let known = Some(copy.view);
                copy.show(&world, Region { view: copy.view.step(goal), known });
                copy.check(&world);
            }
            window.clear();
        }
    }
}

/// Groups under the root with so many blocks in each, every block with so many
/// bytes of text.
fn groups(world: &mut World, owner: &Principal, groups: &[(u32, usize)]) -> Vec<Handle> {
    let limits = ValueLimits::default();
    let mut tops = Vec::new();
    for (blocks, bytes) in groups {
        let top = create(world, owner, Handle::ROOT, Kind::Group, Props::default());
        let text = Value::text(&"x".repeat(*bytes));
        let entry = (PropKey::new("text", &limits).unwrap(), text);
        let props = Props::from_entries(vec![entry], &limits).unwrap();
        for _ in 0..*blocks {
            create(world, owner, top, Kind::Block, props.clone());
        }
        tops.push(top);
    }
    tops
}

fn create(world: &mut World, by: &Principal, under: Handle, kind: Kind, props: Props) -> Handle {
    let handle = world.next_handle();
    let id = ObjectId::from_bytes(u128::from(handle.0).to_be_bytes());
    let (parent, transform) = (Target::Handle(under), Transform::IDENTITY);
    apply(world, by, Edit::One(Operation::Create { id, parent, kind, transform, props }));
    handle
}

fn apply(world: &mut World, by: &Principal, edit: Edit) {
    let seq = world.seq().next();
    world.apply(seq, 0, by, &edit, &WorldLimits::default()).unwrap();
}

/// Moves all of them into another cell in one window; whether each was whole,
/// where so many may be.
fn cross(world: &mut World, by: &Principal, tops: &[Handle], most: usize) -> Vec<bool> {
    world.crossings(MAX_CROSSED);
    let mut to = Transform::IDENTITY;
    to.position = [100_000, 0, 0];
    let patch = MovePatch::new(Parts::POSITION, to);
    let shift = |top: &Handle| Operation::Move { target: Target::Handle(*top), patch };
    apply(world, by, Edit::Batch(tops.iter().map(shift).collect()));
    let crossings = world.crossings(most);
    assert_eq!(crossings.iter().map(|one| one.handle).collect::<Vec<_>>(), tops);
    crossings.iter().map(|one| matches!(one.objects, Crossed::Whole(_))).collect()
}

#[test]
fn what_crosses_whole_in_a_window_is_bounded_and_the_small_come_first() {
    let owner = Principal { user: user(1), ceiling: Role::Owner, invited: true };
    for (most, whole) in [
        (MAX_CROSSED, [false, true, true, false]),
        (usize::MAX, [false, true, true, false]),
        (2_500, [false, false, true, false]),
    ] {
        let mut world = small_cells(owner);
        let tops = groups(&mut world, &owner, &[(3_000, 1), (2_000, 1), (1_000, 1), (5_000, 1)]);
        assert_eq!(cross(&mut world, &owner, &tops, most), whole, "{most}");
    }
    let mut world = small_cells(owner);
    let tops = groups(&mut world, &owner, &[(90, 8_000), (50, 8_000), (60, 8_000), (0, 0)]);
    assert_eq!(
        cross(&mut world, &owner, &tops, MAX_CROSSED),
        [false, true, true, true],
        "a MiB fits"
    );
}

/// What a move costs, in all ways in which it is kept and shown.
#[derive(PartialEq, Debug)]
struct Cost {
    changes: usize,
    journal_bytes: usize,
    world_bytes: u64,
    spots: usize,
    written: usize,
    crossings: usize,
}

/// Moves it into a neighbouring cell; whether it crosses whole.
fn cost_of_a_move(world: &mut World, by: &Principal, handle: Handle) -> (Cost, bool) {
    let (before, bytes) = (world.freeze(), world.bytes());
    let mut to = Transform::IDENTITY;
    to.position = [20_000, 0, 0];
    let patch = MovePatch::new(Parts::POSITION, to);
    let edit = Edit::One(Operation::Move { target: Target::Handle(handle), patch });
    let seq = world.seq().next();
    let changes = world.apply(seq, 0, by, &edit, &WorldLimits::default()).unwrap();
    let spots = world.spots().len();
    let edit = EditId { client: ClientId::from_bytes([1; 16]), counter: Counter(1) };
    let count = changes.len();
    let event = Event { seq: Seq(9), at_ms: 0, by: by.user, edit, trace: None, changes };
    let crossings = world.crossings(MAX_CROSSED);
    let cost = Cost {
        changes: count,
        journal_bytes: journal::encode(&[event]).len(),
        world_bytes: world.bytes() - bytes,
        spots,
        written: world.freeze().changes_since(&before).changed.len(),
        crossings: crossings.len(),
    };
    (cost, matches!(crossings[0].objects, Crossed::Whole(_)))
}

#[test]
fn a_group_moves_as_one_object_however_many_are_in_it() {
    let owner = Principal { user: user(1), ceiling: Role::Owner, invited: true };
    let mut world = small_cells(owner);
    let tops = groups(&mut world, &owner, &[(0, 0), (100_000, 1)]);
    world.crossings(MAX_CROSSED);
    let [(empty, is_whole), (full, is_full_whole)] =
        [tops[0], tops[1]].map(|top| cost_of_a_move(&mut world, &owner, top));
    assert_eq!(full, empty);
    assert_eq!((full.changes, full.spots, full.written, full.crossings), (1, 1, 1, 1));
    assert_eq!((is_whole, is_full_whole), (true, false), "so many are not sent with a window");
}

#[test]
fn whatever_number_an_extent_is_written_as_it_counts() {
    let owner = Principal { user: user(1), ceiling: Role::Owner, invited: true };
    let mut world = small_cells(owner);
    let home = |world: &mut World, extent: Value| {
        let limits = ValueLimits::default();
        let entry = (PropKey::new(Grid::EXTENT_KEY, &limits).unwrap(), extent);
        let props = Props::from_entries(vec![entry], &limits).unwrap();
        let handle = create(world, &owner, Handle::ROOT, Kind::Group, props);
        world.home(handle).unwrap()
    };
    let cell = Home::Cell(Cell([0; 3]));
    for small in [Value::int(1), Value::float(1.0), Value::int(-9), Value::float(f64::NAN)] {
        assert_eq!(home(&mut world, small.clone()), cell, "{small:?}");
    }
    for large in
        [Value::int(2), Value::int(1 << 40), Value::float(1.5), Value::float(f64::INFINITY)]
    {
        assert_eq!(home(&mut world, large.clone()), Home::Layer, "{large:?}");
    }
}

#[test]
fn a_world_begins_with_the_grid_that_its_root_asks_for() {
    let sizes = (Grid::MIN_SIZE..=Grid::MAX_SIZE).step_by(9_973).chain([160_000, Grid::MAX_SIZE]);
    for size in sizes {
        let grid = Grid::new(size).unwrap();
        let world = World::with_grid(BraneId::from_bytes([1; 16]), user(1), grid);
        let root = world.get(Handle::ROOT).unwrap();
        assert_eq!((world.grid(), Grid::of_root(root)), (grid, grid));
        assert_eq!(root.props.is_empty(), grid == Grid::default());
    }
    for edge in [0.0, 0.099_9, 10_000.1, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Grid::of_metres(edge), None, "{edge}");
    }
}
