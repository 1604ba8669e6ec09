//! What people ask of a catalogue: that a brane follows a prototype, another
//! version, or none any more. Some try without it.

use avvy_model::{
    BraneId, Edit, Follow, FollowStep, Followed, Handle, Kind, Object, PropKey, Props, PrototypeId,
    Target, Value, ValueLimits,
};

use super::edits::{Place, create};
use super::{Outside, Person};
use crate::rng::Rng;

/// How many prototypes there are.
const PROTOTYPES: u64 = 3;

impl Person {
    /// Now and then somebody places or updates something of the catalogue.
    pub(super) fn ask_catalogue(
        &mut self,
        outside: &mut Outside<'_>,
        brane: BraneId,
        place: Place,
    ) {
        let weight = outside.env.setup.weights.follow;
        if weight == 0 || outside.env.rng.below(1_000) >= weight {
            return;
        }
        let rng = &mut outside.env.rng;
        let prototype = draw_prototype(rng);
        let root = self.machine.replica(brane).and_then(|replica| replica.get(Handle::ROOT));
        let now = root.and_then(|root| Followed::of_root(&root.props, prototype));
        let to = draw_version(rng);
        let step = match (rng.below(8), now) {
            (0, Some(_)) | (0..=1, None) => FollowStep::Drop,
            (2..=5, Some(now)) => FollowStep::Update { from: now.version, to },
            (2, None) => FollowStep::Update { from: draw_version(rng).version, to },
            _ => FollowStep::Adopt(to),
        };
        let mut then = Vec::new();
        if rng.below(2) == 0 {
            let (id, root) = (rng.object_id(), Target::Handle(Handle::ROOT));
            then.push(create(rng, place, id, root, Kind::Block));
        }
        let Ok(follow) = Follow::new(prototype, step, then) else { return };
        let edit = match outside.env.rng.below(6) {
            0 => Edit::Batch(follow.operations().to_vec()),
            _ => Edit::Follow(Box::new(follow)),
        };
        self.submit(outside, brane, edit);
    }
}

/// Names a prototype, or none.
pub(super) fn draw_named(rng: &mut Rng) -> Option<(PropKey, Option<Value>)> {
    let prototype = draw_prototype(rng).to_string();
    let value = (rng.below(4) > 0).then(|| Value::text(&prototype));
    let key = PropKey::new(Object::PROTOTYPE_KEY, &ValueLimits::default());
    key.ok().map(|key| (key, value))
}

pub(super) fn draw_prototype(rng: &mut Rng) -> PrototypeId {
    PrototypeId::from_bytes([0xa0 + rng.below(PROTOTYPES) as u8; 16])
}

fn draw_version(rng: &mut Rng) -> Followed {
    let number = rng.range(1, 4) as u32;
    let limits = ValueLimits::default();
    let mut defaults = Vec::new();
    for name in ["name", "colour", "shape"] {
        let key = PropKey::new(name, &limits).ok().filter(|_| rng.below(3) > 0);
        defaults.extend(key.map(|key| (key, Value::int(number.into()))));
    }
    let defaults = Props::from_entries(defaults, &limits).unwrap_or_default();
    Followed { version: PrototypeId::from_bytes([number as u8; 16]), number, defaults }
}
