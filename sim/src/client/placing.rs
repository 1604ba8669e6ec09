//! Boxes of cells, slots and what is attached to them, and portals.

use avvy_model::{
    BraneId, Edit, Handle, Object, Operation, PropKey, Props, PropsPatch, Target, Value,
    ValueLimits,
};

use super::{Outside, Person};
use crate::rng::Rng;

impl Person {
    /// An owner makes cells exclusive, or lets them be; anybody offers slots,
    /// attaches things or takes them off, and makes portals.
    pub(super) fn furnish(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        let weight = outside.env.setup.weights.furnish;
        if weight == 0 || outside.env.rng.below(1_000) >= weight {
            return;
        }
        let is_owner = outside.references.get(&brane).is_some_and(|r| r.owner() == self.user);
        let rng = &mut outside.env.rng;
        let edit = match rng.below(7) {
            0..=2 if is_owner => {
                let on = Value::bool(rng.below(5) > 0);
                update(Target::Handle(Handle::ROOT), Object::EXCLUSIVE_KEY, Some(on))
            }
            0..=1 => {
                let slots = (1..=rng.range(1, 3)).map(|nth| slot(brane, nth)).collect::<Vec<_>>();
                let bytes = [&[0x80 + slots.len() as u8], slots.as_slice()].concat();
                let slots = Value::from_canonical(&bytes).ok().filter(|_| rng.below(5) > 0);
                update(self.draw_target(rng, brane), Object::SLOTS_KEY, slots)
            }
            6 => {
                let to = [brane.to_string(), "nowhere".to_owned()];
                let to = rng.pick(&to).map(|to| Value::text(to)).filter(|_| rng.below(4) > 0);
                let portals = self.that_say(brane, Object::PORTAL_KEY);
                let portal = rng.pick(&portals).copied().filter(|_| rng.below(2) == 0);
                let target = self.draw_target(rng, brane);
                update(portal.map_or(target, Target::Handle), Object::PORTAL_KEY, to)
            }
            _ => {
                let carriers = self.that_say(brane, Object::SLOTS_KEY);
                let carrier = rng.pick(&carriers).copied().filter(|_| rng.below(2) == 0);
                let on = self.draw_attachment(rng, brane, &carriers);
                let on = on.filter(|_| rng.below(6) > 0);
                let target = self.draw_target(rng, brane);
                update(carrier.map_or(target, Target::Handle), Object::ATTACHED_KEY, on)
            }
        };
        self.submit(outside, brane, edit);
    }

    /// What has this property.
    fn that_say(&self, brane: BraneId, key: &str) -> Vec<Handle> {
        let Some(replica) = self.machine.replica(brane) else { return Vec::new() };
        let says = |handle: &Handle| {
            replica.get(*handle).is_some_and(|object| object.props.get(key).is_some())
        };
        replica.handles().into_iter().filter(says).collect()
    }

    /// Mostly to something that offers slots.
    fn draw_attachment(&self, rng: &mut Rng, brane: BraneId, carriers: &[Handle]) -> Option<Value> {
        let replica = self.machine.replica(brane)?;
        let to = match rng.below(10) {
            0 => rng.pick(&replica.handles()).copied(),
            _ => rng.pick(carriers).copied(),
        };
        let to = Value::text(&replica.get(to?)?.id.to_string());
        let fields = [("to", to), ("slot", Value::int(slot(brane, rng.range(1, 3)).into()))];
        let limits = ValueLimits::default();
        let fields =
            fields.into_iter().filter_map(|(k, v)| Some((PropKey::new(k, &limits).ok()?, v)));
        let map = Props::from_entries(fields.collect(), &limits).ok()?;
        Value::from_canonical(map.as_bytes()).ok()
    }
}

/// The first to the third that a brane's people use of the nine slots: others in
/// other branes, and few enough that people meet at them.
fn slot(brane: BraneId, nth: u64) -> u8 {
    (1 + (brane.uuid().as_u128() % 9 + 3 * u128::from(nth)) % 9) as u8
}

/// A box of one to three cells along each axis, or none.
pub(super) fn draw_box(rng: &mut Rng) -> Option<(PropKey, Option<Value>)> {
    let edges = [0; 3].map(|_| rng.range(1, 3) as u8);
    let cells = Value::from_canonical(&[&[0x83], edges.as_slice()].concat()).ok();
    let cells = cells.filter(|_| rng.below(4) > 0);
    let key = PropKey::new(Object::CELLS_KEY, &ValueLimits::default());
    key.ok().map(|key| (key, cells))
}

fn update(target: Target, key: &str, value: Option<Value>) -> Edit {
    let key = PropKey::new(key, &ValueLimits::default());
    let entries = key.map(|key| vec![(key, value)]).unwrap_or_default();
    let patch = PropsPatch::new(entries).unwrap_or_default();
    Edit::One(Operation::Update { target, patch })
}
