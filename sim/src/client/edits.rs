//! What people do: edits of what they see, of what they have just made and of
//! what is not there at all.

use avvy_model::{
    Area, BraneId, DeleteMode, Edit, Grid, Handle, Kind, MovePatch, Operation, Parts, PropKey,
    Props, PropsPatch, Rotation, Target, Transform, Value, ValueLimits,
};

use super::catalogue::draw_named;
use super::placing::draw_box;
use super::{Outside, Person};
use crate::rng::Rng;

/// Where somebody puts things.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// As far from the middle as people go, in units of 0.1 mm.
    spread: u64,
    /// What they look at.
    area: Option<Area>,
    /// Whether they crowd together, so that blocks meet.
    crowded: bool,
}

impl Person {
    /// Submits one to three edits.
    pub(crate) fn edit(&mut self, outside: &mut Outside<'_>) {
        let wants: Vec<BraneId> = self.wants.iter().copied().collect();
        let Some(brane) = outside.env.rng.pick(&wants).copied() else { return };
        let setup = &outside.env.setup;
        let (area, crowded) = (self.areas.get(&brane).copied(), setup.weights.furnish > 0);
        let place = Place { spread: setup.spread, area, crowded };
        if self.may_set_cells(outside, brane) {
            let cells = draw_cells(&mut outside.env.rng, place);
            self.submit(outside, brane, cells);
        }
        self.rule(outside, brane);
        self.ask_catalogue(outside, brane, place);
        self.furnish(outside, brane);
        if outside.env.rng.below(8) == 0 {
            return self.drag(outside, brane, place);
        }
        for _ in 0..outside.env.rng.range(1, 3) {
            let edit = self.draw_edit(&mut outside.env.rng, brane, place);
            self.submit(outside, brane, edit);
        }
    }

    /// Moves one object again and again; now and then something else is done to
    /// it, or to another, in between.
    fn drag(&mut self, outside: &mut Outside<'_>, brane: BraneId, place: Place) {
        let target = self.draw_target(&mut outside.env.rng, brane);
        for _ in 0..outside.env.rng.range(3, 8) {
            let rng = &mut outside.env.rng;
            let edit = match rng.below(8) {
                0 => self.draw_edit(rng, brane, place),
                1 => Edit::One(Operation::Update { target, patch: draw_patch(rng) }),
                _ => Edit::One(Operation::Move { target, patch: draw_move(rng, place) }),
            };
            self.submit(outside, brane, edit);
        }
    }

    /// An owner sets the size of the cells early, now and then another.
    fn may_set_cells(&self, outside: &mut Outside<'_>, brane: BraneId) -> bool {
        let Some(reference) = outside.references.get(&brane) else { return false };
        let one_in = if reference.asks_for_cells() { 100 } else { 3 };
        reference.owner() == self.user
            && outside.env.setup.weights.roam > 0
            && outside.env.rng.below(one_in) == 0
    }

    fn draw_edit(&self, rng: &mut Rng, brane: BraneId, place: Place) -> Edit {
        if rng.below(10) > 0 {
            return Edit::One(self.draw_operation(rng, brane, place));
        }
        // A group and something in it, or a mix.
        let id = rng.object_id();
        let mut operations =
            vec![create(rng, place, id, Target::Handle(Handle::ROOT), Kind::Group)];
        for _ in 0..rng.below(4) {
            operations.push(if rng.below(2) == 0 {
                let child = rng.object_id();
                create(rng, place, child, Target::Id(id), Kind::Block)
            } else {
                self.draw_operation(rng, brane, place)
            });
        }
        Edit::Batch(operations)
    }

    fn draw_operation(&self, rng: &mut Rng, brane: BraneId, place: Place) -> Operation {
        let target = self.draw_target(rng, brane);
        match rng.below(20) {
            0..=5 => {
                let kind = if rng.below(2) == 0 { Kind::Group } else { Kind::Block };
                let id = rng.object_id();
                let parent = self.draw_parent(rng, brane);
                create(rng, place, id, parent, kind)
            }
            6..=12 => Operation::Move { target, patch: draw_move(rng, place) },
            13..=15 => Operation::Update { target, patch: draw_patch(rng) },
            16..=17 => {
                let parent = self.draw_parent(rng, brane);
                let transform = (rng.below(2) == 0).then(|| draw_transform(rng, place));
                Operation::Reparent { target, parent, transform }
            }
            _ => {
                let keep = rng.below(2) == 0;
                let mode = if keep { DeleteMode::KeepChildren } else { DeleteMode::Subtree };
                Operation::Delete { target, mode }
            }
        }
    }

    /// Mostly a group, sometimes nothing that can be a parent.
    fn draw_parent(&self, rng: &mut Rng, brane: BraneId) -> Target {
        match rng.below(10) {
            0 => self.draw_target(rng, brane),
            _ => Target::Handle(self.draw_group(rng, brane)),
        }
    }

    pub(super) fn draw_group(&self, rng: &mut Rng, brane: BraneId) -> Handle {
        let Some(replica) = self.machine.replica(brane) else { return Handle::ROOT };
        let is_group =
            |handle: &Handle| replica.get(*handle).is_some_and(|object| object.kind == Kind::Group);
        let groups: Vec<Handle> = replica.handles().into_iter().filter(is_group).collect();
        rng.pick(&groups).copied().unwrap_or(Handle::ROOT)
    }

    pub(super) fn draw_target(&self, rng: &mut Rng, brane: BraneId) -> Target {
        let own = self.machine.edits(brane).filter_map(|kept| match kept.edit {
            Edit::One(Operation::Create { id, .. }) => Some(*id),
            _ => None,
        });
        let own: Vec<_> = own.collect();
        if rng.below(4) == 0
            && let Some(id) = rng.pick(&own)
        {
            return Target::Id(*id);
        }
        let handle = match self.machine.replica(brane) {
            Some(replica) if rng.below(20) > 0 => {
                rng.pick(&replica.handles()).copied().unwrap_or(Handle::ROOT)
            }
            _ => Handle(rng.below(20) as u32),
        };
        Target::Handle(handle)
    }
}

pub(super) fn create(
    rng: &mut Rng,
    place: Place,
    id: avvy_model::ObjectId,
    parent: Target,
    kind: Kind,
) -> Operation {
    let patch = draw_patch(rng);
    let limits = ValueLimits::default();
    let props = Props::default().patched(&patch, &limits).map(|(props, _)| props);
    let props = props.unwrap_or_default();
    Operation::Create { id, parent, kind, transform: draw_transform(rng, place), props }
}

/// Near what is looked at, or anywhere.
fn draw_transform(rng: &mut Rng, place: Place) -> Transform {
    let near = place.area.filter(|_| rng.below(2) == 0);
    let far = if near.is_some() { place.spread / 4 } else { place.spread };
    let mut at = [0; 3].map(|_| rng.below(2 * far) as i32 - far as i32);
    at[1] /= 8;
    if let Some(area) = near {
        at.iter_mut().zip(area.center).for_each(|(p, middle)| *p = p.saturating_add(middle));
    }
    if place.crowded && rng.below(2) == 0 {
        at = [5, 2, 5].map(|cells| rng.below(cells * 1_000) as i32);
    }
    Transform::new(at, Rotation::IDENTITY, [1.0; 3]).unwrap_or_default()
}

fn draw_move(rng: &mut Rng, place: Place) -> MovePatch {
    let parts = Parts::from_bits(rng.range(1, 7) as u8).unwrap_or(Parts::POSITION);
    MovePatch::new(parts, draw_transform(rng, place))
}

/// Asks for cells of a fifth of where people go, mostly.
fn draw_cells(rng: &mut Rng, place: Place) -> Edit {
    let fitting = Value::int((place.spread / 50_000).max(1) as i64);
    let size = match rng.below(10) {
        0 => Value::int(0),
        1 => Value::text("small"),
        2 => Value::int(rng.below(400) as i64),
        _ => fitting,
    };
    let key = PropKey::new(Grid::SIZE_KEY, &ValueLimits::default());
    let entries = key.map(|key| vec![(key, Some(size))]).unwrap_or_default();
    let patch = PropsPatch::new(entries).unwrap_or_default();
    Edit::One(Operation::Update { target: Target::Handle(Handle::ROOT), patch })
}

fn draw_patch(rng: &mut Rng) -> PropsPatch {
    let limits = ValueLimits::default();
    let mut entries = Vec::new();
    for name in ["name", "colour", "size"] {
        let value = match rng.below(4) {
            0 => continue,
            1 => None,
            _ => Some(Value::int(rng.below(1_000) as i64)),
        };
        entries.extend(PropKey::new(name, &limits).map(|key| (key, value)));
    }
    if rng.below(5) == 0 {
        let extent = match rng.below(4) {
            0 => None,
            1 => Some(Value::text("wide")),
            _ => rng.pick(&[0, 1, 3, 10, 3_000]).map(|metres| Value::int(*metres)),
        };
        entries.extend(PropKey::new(Grid::EXTENT_KEY, &limits).map(|key| (key, extent)));
    }
    if rng.below(5) == 0 {
        entries.extend(draw_named(rng));
    }
    if rng.below(8) == 0 {
        entries.extend(draw_box(rng));
    }
    PropsPatch::new(entries).unwrap_or_default()
}
