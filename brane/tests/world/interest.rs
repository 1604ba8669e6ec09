//! Copies of parts of a world: whatever happens, after each window they are
//! the world as far as their view goes.

use std::collections::BTreeMap;

use avvy_brane::{Crossed, Crossing, Region, RoleRights, Spot, World};
use avvy_model::{
    BraneId, Cell, Change, Edit, Grid, Handle, Home, Object, Operation, Principal, PropKey,
    PropsPatch, Role, Seq, Target, Value, ValueLimits, View, WorldLimits,
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
    world.apply(Seq(1), &owner, &edit, &RoleRights, &WorldLimits::default()).unwrap();
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
        let owner = Principal { user: user(1), role: Role::Owner };
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
                world.apply(seq, &principal, &edit, &RoleRights, &WorldLimits::default())
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
            let crossings = world.crossings();
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
