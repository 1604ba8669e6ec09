//! Interfaces: random edits of a few objects, against rules that look at all
//! of them.

use std::collections::BTreeMap;

use avvy_brane::{Clients, World, journal, snapshot};
use avvy_model::{
    BraneId, Change, ClientId, Code, Counter, DeleteMode, Edit, EditId, Epoch, Event, Handle, Kind,
    Object, ObjectId, Operation, Position, Principal, PropKey, Props, PropsPatch, Role, Seq,
    Target, Transform, Value, ValueLimits, WorldLimits,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Naive;
use crate::script::user;

#[derive(Clone, Debug)]
enum Act {
    Create { parent: usize, slots: Slots, on: On },
    Offer { nth: usize, slots: Slots },
    Attach { nth: usize, on: On },
    Delete { nth: usize, keep: bool },
    Reload,
}

/// What a property says: nothing, something else, or these.
#[derive(Clone, Debug)]
enum Slots {
    None,
    Wrong(u8),
    These(Vec<u8>),
}

#[derive(Clone, Debug)]
enum On {
    Nothing,
    Wrong(u8),
    Gone(u8),
    Living(usize, u8),
}

fn act() -> impl Strategy<Value = Act> {
    let nth = any::<usize>;
    prop_oneof![
        4 => (nth(), slots(), on()).prop_map(|(parent, slots, on)| Act::Create { parent, slots, on }),
        2 => (nth(), slots()).prop_map(|(nth, slots)| Act::Offer { nth, slots }),
        6 => (nth(), on()).prop_map(|(nth, on)| Act::Attach { nth, on }),
        1 => (nth(), any::<bool>()).prop_map(|(nth, keep)| Act::Delete { nth, keep }),
        1 => Just(Act::Reload),
    ]
}

/// Each of the nine, and few of them often, so that they meet.
fn slot() -> impl Strategy<Value = u8> {
    prop_oneof![Just(1), Just(5), Just(9), 1..=9u8]
}

fn slots() -> impl Strategy<Value = Slots> {
    let sorted = prop::collection::btree_set(slot(), 1..=9);
    prop_oneof![
        2 => Just(Slots::None),
        1 => (0..4u8).prop_map(Slots::Wrong),
        6 => sorted.prop_map(|slots| Slots::These(slots.into_iter().collect())),
    ]
}

fn on() -> impl Strategy<Value = On> {
    prop_oneof![
        2 => Just(On::Nothing),
        1 => (0..4u8).prop_map(On::Wrong),
        1 => slot().prop_map(On::Gone),
        8 => (any::<usize>(), slot()).prop_map(|(nth, slot)| On::Living(nth, slot)),
    ]
}

fn key(text: &str) -> PropKey {
    PropKey::new(text, &ValueLimits::NONE).unwrap()
}

fn value(bytes: &[u8]) -> Value {
    Value::parse(bytes, &ValueLimits::NONE).unwrap()
}

fn attached(to: ObjectId, slot: u8) -> Value {
    let entries =
        vec![(key("to"), Value::text(&to.to_string())), (key("slot"), Value::int(slot.into()))];
    value(Props::from_entries(entries, &ValueLimits::NONE).unwrap().as_bytes())
}

impl Slots {
    fn value(&self) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Wrong(0) => Some(value(&[0x81, 0])),
            Self::Wrong(1) => Some(value(&[0x81, 10])),
            Self::Wrong(2) => Some(value(&[0x82, 1, 1])),
            Self::Wrong(_) => Some(Value::int(1)),
            Self::These(slots) => {
                Some(value(&[&[0x80 + slots.len() as u8], slots.as_slice()].concat()))
            }
        }
    }
}

impl On {
    fn value(&self, state: &Naive) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::Wrong(0) => Some(attached(ObjectId::from_bytes([9; 16]), 0)),
            Self::Wrong(1) => Some(attached(ObjectId::from_bytes([9; 16]), 10)),
            Self::Wrong(2) => Some(value(&[0xa1, 0x64, b's', b'l', b'o', b't', 1])),
            Self::Wrong(_) => Some(Value::text("wall")),
            Self::Gone(slot) => Some(attached(ObjectId::from_bytes([0xee; 16]), *slot)),
            Self::Living(nth, slot) => {
                let carrier = state.objects.values().nth(nth % state.objects.len()).unwrap();
                Some(attached(carrier.id, *slot))
            }
        }
    }
}

/// Who offers which slots, and who is attached to what, by what was asked for.
#[derive(Clone, Default, PartialEq, Debug)]
struct Rules {
    offers: BTreeMap<ObjectId, Vec<u8>>,
    on: BTreeMap<ObjectId, (ObjectId, u8)>,
}

impl Rules {
    fn attach(&mut self, state: &Naive, id: ObjectId, on: &On) -> Result<(), Code> {
        let is_root = state.objects[&Handle::ROOT].id == id;
        let to = match on {
            On::Nothing => {
                self.on.remove(&id);
                return Ok(());
            }
            _ if is_root => return Err(Code::InterfaceInvalid),
            On::Wrong(_) => return Err(Code::InterfaceInvalid),
            On::Gone(_) => return Err(Code::CarrierNotFound),
            On::Living(nth, slot) => {
                (state.objects.values().nth(nth % state.objects.len()).unwrap().id, *slot)
            }
        };
        let mut carrier = Some(to.0);
        while let Some(at) = carrier {
            if at == id {
                return Err(Code::Cycle);
            }
            carrier = self.on.get(&at).map(|(next, _)| *next);
        }
        if !self.offers.get(&to.0).is_some_and(|slots| slots.contains(&to.1)) {
            return Err(Code::SlotNotFound);
        }
        if self.on.iter().any(|(other, taken)| *other != id && *taken == to) {
            return Err(Code::SlotTaken);
        }
        self.on.insert(id, to);
        Ok(())
    }

    fn offer(&mut self, id: ObjectId, slots: &Slots) -> Result<(), Code> {
        match slots {
            Slots::Wrong(_) => return Err(Code::InterfaceInvalid),
            Slots::None => drop(self.offers.remove(&id)),
            Slots::These(slots) => drop(self.offers.insert(id, slots.clone())),
        }
        let offers = &self.offers;
        self.on.retain(|_, (to, slot)| offers.get(to).is_some_and(|slots| slots.contains(slot)));
        Ok(())
    }

    fn gone(&mut self, ids: &[ObjectId]) {
        self.offers.retain(|id, _| !ids.contains(id));
        self.on.retain(|id, (to, _)| !ids.contains(id) && !ids.contains(to));
    }

    /// Whether the objects say the same.
    fn check(&self, state: &Naive) {
        for object in state.objects.values() {
            let on = self.on.get(&object.id).map(|(to, slot)| attached(*to, *slot));
            assert_eq!(object.props.get(Object::ATTACHED_KEY), on);
            let offers = self.offers.get(&object.id).map(|slots| Slots::These(slots.clone()));
            assert_eq!(object.props.get(Object::SLOTS_KEY), offers.and_then(|o| o.value()));
        }
    }
}

struct Run {
    world: World,
    rules: Rules,
    events: Vec<Event>,
}

impl Run {
    fn apply(&mut self, operation: Operation) -> Result<(), Code> {
        let seq = self.world.seq().next();
        let who = Principal { user: user(1), ceiling: Role::Owner, invited: true };
        let edit = Edit::One(operation);
        let changes = self.world.apply(seq, 0, &who, &edit, &WorldLimits::default());
        let changes = changes.map_err(|refusal| refusal.code)?;
        let edit = EditId { client: ClientId::from_bytes([1; 16]), counter: Counter(seq.0) };
        let by = who.user;
        self.events.push(Event { seq, at_ms: 0, by, edit, trace: None, changes });
        Ok(())
    }

    fn act(&mut self, act: &Act, n: u64) {
        let state = Naive::of(&self.world);
        let mut rules = self.rules.clone();
        let nth = |nth: usize| {
            let (handle, object) = state.objects.iter().nth(nth % state.objects.len()).unwrap();
            (*handle, object.id)
        };
        let set = |handle, key: &str, value| Operation::Update {
            target: Target::Handle(handle),
            patch: PropsPatch::new(vec![(self::key(key), value)]).unwrap(),
        };
        let (operation, expected) = match act {
            Act::Create { parent, slots, on } => {
                let id = ObjectId::from_bytes(u128::from(n).to_be_bytes());
                let named =
                    [(Object::SLOTS_KEY, slots.value()), (Object::ATTACHED_KEY, on.value(&state))];
                let named = named.into_iter().filter_map(|(k, value)| Some((key(k), value?)));
                let props = Props::from_entries(named.collect(), &ValueLimits::NONE).unwrap();
                let operation = Operation::Create {
                    id,
                    parent: Target::Handle(nth(*parent).0),
                    kind: Kind::Group,
                    transform: Transform::IDENTITY,
                    props,
                };
                let offered = rules.offer(id, slots);
                (operation, offered.and_then(|()| rules.attach(&state, id, on)))
            }
            Act::Offer { nth: n, slots } => {
                let (handle, id) = nth(*n);
                (set(handle, Object::SLOTS_KEY, slots.value()), rules.offer(id, slots))
            }
            Act::Attach { nth: n, on } => {
                let (handle, id) = nth(*n);
                (set(handle, Object::ATTACHED_KEY, on.value(&state)), rules.attach(&state, id, on))
            }
            Act::Delete { nth: n, keep } => {
                let (handle, _) = nth(*n);
                let mode = if *keep { DeleteMode::KeepChildren } else { DeleteMode::Subtree };
                let target = Target::Handle(handle);
                let is_root = handle == Handle::ROOT;
                let expected = if is_root { Err(Code::RootProtected) } else { Ok(()) };
                (Operation::Delete { target, mode }, expected)
            }
            Act::Reload => return self.world = through_snapshot(&mut self.world),
        };
        assert_eq!(self.apply(operation), expected, "{act:?}");
        if expected.is_ok() {
            let last = self.events.last().unwrap();
            let removed = last.changes.iter().flat_map(|change| match change {
                Change::Deleted { removed } => removed.iter().map(|at| at.object.id).collect(),
                _ => Vec::new(),
            });
            rules.gone(&removed.collect::<Vec<_>>());
            self.rules = rules;
        }
        self.rules.check(&Naive::of(&self.world));
    }
}

fn through_snapshot(world: &mut World) -> World {
    let limits = WorldLimits::default();
    let position = Position { epoch: Epoch(1), seq: world.seq() };
    let (frozen, hash) = (world.freeze(), world.state_hash());
    let mut encoder = snapshot::Encoder::new(frozen, Clients::new(&limits), position, hash);
    let mut decoder = snapshot::Decoder::new(&limits);
    while let Some(part) = encoder.next_part() {
        decoder.feed(&part).unwrap();
    }
    decoder.finish().unwrap().world
}

fn empty() -> World {
    World::new(BraneId::from_bytes([0xbb; 16]), user(1))
}

proptest! {
    #[test]
    fn each_slot_holds_one_and_nothing_hangs_on_what_is_gone(acts in vec(act(), 0..60)) {
        let mut run = Run { world: empty(), rules: Rules::default(), events: Vec::new() };
        for (act, n) in acts.iter().zip(1..) {
            run.act(act, n);
        }
        let mut replayed = empty();
        for event in journal::decode(&journal::encode(&run.events)).unwrap() {
            replayed.replay(&event).unwrap();
        }
        prop_assert_eq!(replayed.state_hash(), run.world.state_hash());
        for object in Naive::of(&replayed).objects.values() {
            prop_assert_eq!(replayed.attached_to(object.id), run.world.attached_to(object.id));
        }
        for event in run.events.iter().rev() {
            run.world.retract(&event.changes);
        }
        prop_assert_eq!((run.world.seq(), run.world.len()), (Seq(0), 1));
    }
}

#[test]
fn the_grid_has_nine_slots() {
    let mut world = empty();
    let mut ids = (1..).map(|n: u128| ObjectId::from_bytes(n.to_be_bytes()));
    let mut make = |key: &str, value: Value| {
        let id = ids.next().unwrap();
        let entries = vec![(self::key(key), value)];
        let operation = Operation::Create {
            id,
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Block,
            transform: Transform::IDENTITY,
            props: Props::from_entries(entries, &ValueLimits::NONE).unwrap(),
        };
        let who = Principal { user: user(1), ceiling: Role::Owner, invited: true };
        let seq = world.seq().next();
        let made = world.apply(seq, 0, &who, &Edit::One(operation), &WorldLimits::default());
        made.map(|_| id).map_err(|refusal| refusal.code)
    };
    let all = make(Object::SLOTS_KEY, value(&[0x89, 1, 2, 3, 4, 5, 6, 7, 8, 9])).unwrap();
    for slot in 0..=10 {
        let is_slot = (1..=9).contains(&slot);
        let expected = if is_slot { Ok(()) } else { Err(Code::InterfaceInvalid) };
        assert_eq!(make(Object::SLOTS_KEY, value(&[0x81, slot])).map(drop), expected, "{slot}");
        let attached = attached(all, slot);
        assert_eq!(make(Object::ATTACHED_KEY, attached.clone()).map(drop), expected, "{slot}");
        let expected = if is_slot { Code::SlotTaken } else { Code::InterfaceInvalid };
        assert_eq!(make(Object::ATTACHED_KEY, attached), Err(expected), "{slot}");
    }
}
