//! What people do: edits of what they see, of what they have just made and of
//! what is not there at all.

use avvy_model::{
    BraneId, DeleteMode, Edit, Handle, Kind, MovePatch, Operation, Parts, PropKey, Props,
    PropsPatch, Rotation, Target, Transform, Value, ValueLimits,
};

use super::{Outside, Person};
use crate::rng::Rng;

impl Person {
    /// Submits one to three edits.
    pub(crate) fn edit(&mut self, outside: &mut Outside<'_>) {
        let wants: Vec<BraneId> = self.wants.iter().copied().collect();
        let Some(brane) = outside.env.rng.pick(&wants).copied() else { return };
        for _ in 0..outside.env.rng.range(1, 3) {
            let edit = self.draw_edit(&mut outside.env.rng, brane);
            self.submit(outside, brane, edit);
        }
    }

    fn draw_edit(&self, rng: &mut Rng, brane: BraneId) -> Edit {
        if rng.below(10) > 0 {
            return Edit::One(self.draw_operation(rng, brane));
        }
        // A group and something in it, or a mix.
        let id = rng.object_id();
        let mut operations = vec![create(rng, id, Target::Handle(Handle::ROOT), Kind::Group)];
        for _ in 0..rng.below(4) {
            operations.push(if rng.below(2) == 0 {
                let child = rng.object_id();
                create(rng, child, Target::Id(id), Kind::Block)
            } else {
                self.draw_operation(rng, brane)
            });
        }
        Edit::Batch(operations)
    }

    fn draw_operation(&self, rng: &mut Rng, brane: BraneId) -> Operation {
        let target = self.draw_target(rng, brane);
        match rng.below(20) {
            0..=5 => {
                let kind = if rng.below(2) == 0 { Kind::Group } else { Kind::Block };
                let id = rng.object_id();
                let parent = self.draw_parent(rng, brane);
                create(rng, id, parent, kind)
            }
            6..=12 => Operation::Move { target, patch: draw_move(rng) },
            13..=15 => Operation::Update { target, patch: draw_patch(rng) },
            16..=17 => {
                let parent = self.draw_parent(rng, brane);
                let transform = (rng.below(2) == 0).then(|| draw_transform(rng));
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
        let Some(replica) = self.machine.replica(brane).filter(|_| rng.below(10) > 0) else {
            return self.draw_target(rng, brane);
        };
        let is_group =
            |handle: &Handle| replica.get(*handle).is_some_and(|object| object.kind == Kind::Group);
        let groups: Vec<Handle> = replica.handles().into_iter().filter(is_group).collect();
        Target::Handle(rng.pick(&groups).copied().unwrap_or(Handle::ROOT))
    }

    fn draw_target(&self, rng: &mut Rng, brane: BraneId) -> Target {
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

fn create(rng: &mut Rng, id: avvy_model::ObjectId, parent: Target, kind: Kind) -> Operation {
    let patch = draw_patch(rng);
    let limits = ValueLimits::default();
    let props = Props::default().patched(&patch, &limits).map(|(props, _)| props);
    let props = props.unwrap_or_default();
    Operation::Create { id, parent, kind, transform: draw_transform(rng), props }
}

fn draw_transform(rng: &mut Rng) -> Transform {
    let at = [0; 3].map(|_| rng.below(100_000) as i32 - 50_000);
    Transform::new(at, Rotation::IDENTITY, [1.0; 3]).unwrap_or_default()
}

fn draw_move(rng: &mut Rng) -> MovePatch {
    let parts = Parts::from_bits(rng.range(1, 7) as u8).unwrap_or(Parts::POSITION);
    MovePatch::new(parts, draw_transform(rng))
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
    PropsPatch::new(entries).unwrap_or_default()
}
