//! What a brane follows, and how many instances there are: random steps
//! against a table and a count that is made anew each time.

use std::collections::BTreeMap;

use avvy_brane::{Clients, World, journal, snapshot};
use avvy_model::{
    BraneId, ClientId, Code, Counter, DeleteMode, Edit, EditId, Epoch, Event, Follow, FollowStep,
    Followed, Handle, Kind, Object, ObjectId, Operation, Position, Principal, PropKey, Props,
    PropsPatch, PrototypeId, Refusal, Role, Seq, Target, Transform, Value, ValueLimits,
    WorldLimits,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::script::user;

/// So small that they are hit.
const LIMITS: WorldLimits = WorldLimits {
    max_objects: 100,
    max_bytes: 1 << 20,
    max_depth: 8,
    max_batch: 4,
    max_touched: 100,
    max_event_bytes: 1 << 20,
    values: ValueLimits {
        max_value_bytes: 400,
        max_nesting: 4,
        max_key_bytes: 64,
        max_props_bytes: 100,
    },
    outcomes_per_client: 8,
    clients_per_user: 4,
    max_roles: 2,
    max_standings: 3,
    max_grants: 3,
    max_grants_per_user: 2,
    max_prototypes: 2,
    max_prototype_bytes: 400,
    max_footprint_cells: 64,
    max_edit_cells: 640,
    max_occupied_cells: 640,
    client_memory_ms: 1_000_000,
};

#[derive(Clone, Debug)]
enum Act {
    Adopt {
        prototype: u8,
        version: u8,
        instance: bool,
    },
    Update {
        prototype: u8,
        from: u8,
        to: u8,
    },
    Drop {
        prototype: u8,
    },
    Create {
        prototype: Option<u8>,
    },
    Name {
        nth: usize,
        prototype: Option<u8>,
    },
    Delete {
        nth: usize,
    },
    /// As a client would, in the words of the wire.
    Fake {
        prototype: u8,
        version: u8,
    },
    Configure {
        bytes: usize,
    },
    Reload,
}

fn act() -> impl Strategy<Value = Act> {
    let few = 1..4u8;
    let version = 1..4u8;
    let named = prop::option::of(1..4u8);
    prop_oneof![
        (few.clone(), version.clone(), any::<bool>())
            .prop_map(|(prototype, version, instance)| Act::Adopt { prototype, version, instance }),
        (few.clone(), version.clone(), version.clone())
            .prop_map(|(prototype, from, to)| Act::Update { prototype, from, to }),
        few.clone().prop_map(|prototype| Act::Drop { prototype }),
        named.clone().prop_map(|prototype| Act::Create { prototype }),
        (any::<usize>(), named).prop_map(|(nth, prototype)| Act::Name { nth, prototype }),
        any::<usize>().prop_map(|nth| Act::Delete { nth }),
        (few, version).prop_map(|(prototype, version)| Act::Fake { prototype, version }),
        (0..120usize).prop_map(|bytes| Act::Configure { bytes }),
        Just(Act::Reload),
    ]
}

fn id(n: u8) -> PrototypeId {
    PrototypeId::from_bytes([n; 16])
}

fn version(n: u8) -> Followed {
    let padding = Value::text(&"x".repeat(n as usize * 12));
    let defaults = vec![(key("lit"), Value::int(n.into())), (key("padding"), padding)];
    let defaults = Props::from_entries(defaults, &ValueLimits::NONE).unwrap();
    Followed { version: id(100 + n), number: n.into(), defaults }
}

fn key(text: &str) -> PropKey {
    PropKey::new(text, &ValueLimits::NONE).unwrap()
}

fn name(prototype: Option<u8>) -> Props {
    let entry = |n: u8| (key(Object::PROTOTYPE_KEY), Value::text(&id(n).to_string()));
    Props::from_entries(prototype.map(entry).into_iter().collect(), &ValueLimits::NONE).unwrap()
}

fn set(target: Handle, key: PropKey, value: Option<Value>) -> Operation {
    let patch = PropsPatch::new(vec![(key, value)]).unwrap();
    Operation::Update { target: Target::Handle(target), patch }
}

fn create(n: u64, prototype: Option<u8>) -> Operation {
    Operation::Create {
        id: ObjectId::from_bytes(u128::from(n).to_be_bytes()),
        parent: Target::Handle(Handle::ROOT),
        kind: Kind::Block,
        transform: Transform::IDENTITY,
        props: name(prototype),
    }
}

fn owner() -> Principal {
    Principal { user: user(1), ceiling: Role::Owner, invited: true }
}

struct Run {
    world: World,
    followed: BTreeMap<PrototypeId, Followed>,
    events: Vec<Event>,
}

impl Run {
    fn new() -> Self {
        let world = World::new(BraneId::from_bytes([0xbb; 16]), user(1));
        Self { world, followed: BTreeMap::new(), events: Vec::new() }
    }

    fn apply(&mut self, who: &Principal, edit: &Edit) -> Result<(), Refusal> {
        let seq = self.world.seq().next();
        let changes = self.world.apply(seq, 0, who, edit, &LIMITS)?;
        let edit = EditId { client: ClientId::from_bytes([1; 16]), counter: Counter(seq.0) };
        self.events.push(Event { seq, at_ms: 0, by: who.user, edit, trace: None, changes });
        Ok(())
    }

    fn follow(&mut self, n: u8, step: FollowStep, then: Vec<Operation>) -> Result<(), Code> {
        let follow = Follow::new(id(n), step, then).unwrap();
        self.apply(&owner(), &Edit::Follow(Box::new(follow))).map_err(|refusal| refusal.code)
    }

    fn counted(&self, n: u8) -> usize {
        let named = name(Some(n)).get(Object::PROTOTYPE_KEY);
        let objects = self.world.iter().filter(|(handle, _)| *handle != Handle::ROOT);
        objects.filter(|(_, object)| object.props.get(Object::PROTOTYPE_KEY) == named).count()
    }

    fn nth(&self, nth: usize) -> Handle {
        self.world.iter().nth(nth % self.world.len() as usize).unwrap().0
    }

    /// Whether the table may become this.
    fn has_room(&self, n: u8, to: &Followed) -> bool {
        let mut after = self.followed.clone();
        after.insert(id(n), to.clone());
        let bytes = |followed: &Followed| {
            // A head of two bytes, the key, and the value.
            2 + 46 + followed.to_value().unwrap().as_bytes().len()
        };
        let sum =
            |table: &BTreeMap<PrototypeId, Followed>| table.values().map(bytes).sum::<usize>();
        sum(&after) <= LIMITS.max_prototype_bytes.max(sum(&self.followed)) && after.len() <= 2
    }

    fn act(&mut self, act: &Act, n: u64) -> Option<Code> {
        match act.clone() {
            Act::Adopt { prototype, version: v, instance } => {
                let then = if instance { vec![create(n, Some(prototype))] } else { Vec::new() };
                let (before, count) = (self.world.len(), self.counted(prototype));
                let done = self.follow(prototype, FollowStep::Adopt(version(v)), then);
                let expected = match self.followed.contains_key(&id(prototype)) {
                    true => Err(Code::PrototypeFollowed),
                    false if !self.has_room(prototype, &version(v)) => Err(Code::TooManyFollowed),
                    false => Ok(()),
                };
                assert_eq!(done, expected);
                if done.is_ok() {
                    self.followed.insert(id(prototype), version(v));
                    assert_eq!(self.counted(prototype), count + usize::from(instance));
                } else {
                    assert_eq!(self.world.len(), before, "all of it or nothing");
                }
                done.err()
            }
            Act::Update { prototype, from, to } => {
                let step = FollowStep::Update { from: id(100 + from), to: version(to) };
                let done = self.follow(prototype, step, Vec::new());
                let now = self.followed.get(&id(prototype)).map(|followed| followed.version);
                let expected = match now == Some(id(100 + from)) {
                    false => Err(Code::PrototypeNotFollowed),
                    true if !self.has_room(prototype, &version(to)) => Err(Code::TooManyFollowed),
                    true => Ok(()),
                };
                assert_eq!(done, expected);
                if done.is_ok() {
                    self.followed.insert(id(prototype), version(to));
                }
                done.err()
            }
            Act::Drop { prototype } => {
                let done = self.follow(prototype, FollowStep::Drop, Vec::new());
                let expected = match self.followed.contains_key(&id(prototype)) {
                    false => Err(Code::PrototypeNotFollowed),
                    true if self.counted(prototype) > 0 => Err(Code::PrototypeInUse),
                    true => Ok(()),
                };
                assert_eq!(done, expected);
                if done.is_ok() {
                    self.followed.remove(&id(prototype));
                }
                done.err()
            }
            Act::Create { prototype } => self.edit(create(n, prototype)),
            Act::Name { nth, prototype } => {
                let value = name(prototype).get(Object::PROTOTYPE_KEY);
                self.edit(set(self.nth(nth), key(Object::PROTOTYPE_KEY), value))
            }
            Act::Delete { nth } => {
                let target = Target::Handle(self.nth(nth));
                self.edit(Operation::Delete { target, mode: DeleteMode::Subtree })
            }
            Act::Fake { prototype, version: v } => {
                let value = version(v).to_value().unwrap();
                let fake = set(Handle::ROOT, Followed::key(id(prototype)), Some(value));
                let refused = self.apply(&owner(), &Edit::Batch(vec![create(n, None), fake]));
                let (code, operation) = (Code::PropertyReserved, Some(1));
                assert_eq!(refused, Err(Refusal { code, operation }));
                None
            }
            Act::Configure { bytes } => {
                let value = Value::text(&"y".repeat(bytes));
                let refused = self.edit(set(Handle::ROOT, key("name"), Some(value)));
                // The map's and the texts' heads, and the key.
                let others = usize::from(self.root().get(Object::PROTOTYPE_KEY).is_some()) * 48;
                let head = if bytes < 24 { 1 } else { 2 };
                let is_over = 1 + 5 + head + bytes + others > LIMITS.values.max_props_bytes;
                assert_eq!(refused.is_some(), is_over, "what is followed does not count");
                refused
            }
            Act::Reload => {
                self.world = self.through_snapshot();
                None
            }
        }
    }

    fn edit(&mut self, operation: Operation) -> Option<Code> {
        self.apply(&owner(), &Edit::One(operation)).err().map(|refusal| refusal.code)
    }

    fn root(&self) -> &Props {
        &self.world.get(Handle::ROOT).unwrap().props
    }

    fn through_snapshot(&mut self) -> World {
        let position = Position { epoch: Epoch(1), seq: self.world.seq() };
        let (frozen, hash) = (self.world.freeze(), self.world.state_hash());
        let mut encoder = snapshot::Encoder::new(frozen, Clients::new(&LIMITS), position, hash);
        let mut decoder = snapshot::Decoder::new(&LIMITS);
        while let Some(part) = encoder.next_part() {
            decoder.feed(&part).unwrap();
        }
        decoder.finish().unwrap().world
    }

    fn check(&self) {
        let frozen = self.world.freeze();
        for n in 1..4 {
            let count = self.counted(n) as u32;
            let followed = self.followed.get(&id(n));
            assert_eq!(self.world.instances(id(n)), count);
            assert_eq!(self.world.followed(id(n)).as_ref(), followed);
            assert_eq!(frozen.followed(id(n)).as_ref(), followed);
            assert_eq!(frozen.instances(id(n)), followed.map(|_| count));
        }
        for (_, object) in self.world.iter() {
            let followed = object.prototype().and_then(|id| self.followed.get(&id));
            let lit = followed.and_then(|followed| followed.defaults.get("lit"));
            let in_effect = object.in_effect(self.root());
            assert_eq!(in_effect.is_some(), followed.is_some());
            assert_eq!(in_effect.and_then(|props| props.get("lit")), lit);
        }
    }
}

proptest! {
    #[test]
    fn what_is_followed_is_what_was_asked_for(acts in vec(act(), 0..60)) {
        let mut run = Run::new();
        for (act, n) in acts.iter().zip(1..) {
            run.act(act, n);
            run.check();
        }
        let mut replayed = World::new(BraneId::from_bytes([0xbb; 16]), user(1));
        let chunk = journal::encode(&run.events);
        for event in journal::decode(&chunk).unwrap() {
            replayed.replay(&event).unwrap();
        }
        prop_assert_eq!(replayed.state_hash(), run.world.state_hash());
        run.world = replayed;
        run.check();
        // And back to the beginning.
        for event in run.events.iter().rev() {
            run.world.retract(&event.changes);
        }
        prop_assert_eq!((run.world.seq(), run.world.len()), (Seq(0), 1));
        prop_assert_eq!((1..4).map(|n| run.world.instances(id(n))).sum::<u32>(), 0);
    }
}

#[test]
fn to_adopt_takes_the_verb_create_and_to_update_configure() {
    let by = |ceiling| Principal { user: user(2), ceiling, invited: true };
    let mut run = Run::new();
    let step = |step| Edit::Follow(Box::new(Follow::new(id(1), step, Vec::new()).unwrap()));
    let adopt = step(FollowStep::Adopt(version(1)));
    let update = step(FollowStep::Update { from: id(101), to: version(2) });
    let code = |refused: Result<(), Refusal>| refused.map_err(|refusal| refusal.code);
    assert_eq!(code(run.apply(&by(Role::Editor), &adopt)), Err(Code::NotPermitted));
    assert_eq!(code(run.apply(&by(Role::Builder), &adopt)), Ok(()));
    assert_eq!(code(run.apply(&by(Role::Builder), &update)), Err(Code::NotPermitted));
    let drop = step(FollowStep::Drop);
    assert_eq!(code(run.apply(&by(Role::Builder), &drop)), Err(Code::NotPermitted));
    assert_eq!(code(run.apply(&owner(), &update)), Ok(()));
    assert_eq!(code(run.apply(&owner(), &drop)), Ok(()));
}
