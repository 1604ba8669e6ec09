//! A brane, its fan-out, its journal's queue and a store, with people who
//! join, edit, read slowly, are cut off and come back, and with processes
//! that end at any moment. Whatever happens, everyone's copy follows one log.

mod node;
mod person;
mod replica;

use std::collections::{BTreeMap, BTreeSet};

use avvy_brane::World;
use avvy_flow::SessionKey;
use avvy_flow::brane_core::BraneInput;
use avvy_model::{
    Counter, DeleteMode, Edit, EditId, Handle, Kind, MovePatch, ObjectId, Operation, Parts,
    PropKey, Props, PropsPatch, Target, Transform, UserId, Value, ValueLimits,
};
use proptest::prelude::*;
use uuid::Uuid;

use node::{BRANE, Node};
use person::{Person, Told};

const PEOPLE: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Leave(usize),
    Edit(usize, u8, u32, u32),
    /// Sends everything again that has no durable outcome, for no reason.
    Again(usize),
    Hash(usize),
    Read(usize, usize),
    RunFanOut(usize),
    RunBrane(usize),
    Store(bool),
    Pass(u64),
    Crash,
    Panic,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE;
    let edit = (who.clone(), 0..12_u8, 0..24_u32, 0..24_u32);
    // The last one hardly reads.
    let reader = prop_oneof![20 => 0..PEOPLE - 1, 1 => Just(PEOPLE - 1)];
    prop_oneof![
        30 => who.clone().prop_map(Step::Join),
        2 => who.clone().prop_map(Step::Leave),
        180 => edit.prop_map(|(w, k, a, b)| Step::Edit(w, k, a, b)),
        6 => who.clone().prop_map(Step::Again),
        8 => who.prop_map(Step::Hash),
        80 => (reader, 1..9_usize).prop_map(|(w, n)| Step::Read(w, n)),
        150 => (1..6_usize).prop_map(Step::RunFanOut),
        90 => (1..6_usize).prop_map(Step::RunBrane),
        50 => prop::bool::weighted(0.85).prop_map(Step::Store),
        60 => (0..30_000_u64).prop_map(Step::Pass),
        1 => (1..40_u64).prop_map(|s| Step::Pass(s * 1_000_000)),
        2 => Just(Step::Crash),
        2 => Just(Step::Panic),
    ]
}

/// Everything together.
struct Play {
    node: Node,
    people: Vec<Person>,
    sessions: u64,
    objects: u128,
    /// What has happened, so that the test is known to test something.
    seen: BTreeSet<&'static str>,
}

impl Play {
    fn new() -> Self {
        let people = (0..PEOPLE).map(|n| Person::new(n as u64 + 1)).collect();
        Self { node: Node::new(), people, sessions: 0, objects: 0, seen: BTreeSet::new() }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Join(who) => self.join(who),
            Step::Leave(who) => self.leave(who),
            Step::Edit(who, kind, a, b) => self.edit(who, kind, a, b),
            Step::Again(who) => self.again(who),
            Step::Hash(who) => {
                if let Some((session, _)) = self.people[who].session {
                    self.node.input(BraneInput::Hash { session });
                }
            }
            Step::Read(who, count) => self.read(who, count),
            Step::RunFanOut(count) => {
                for _ in 0..count {
                    self.node.run_fan_out();
                }
            }
            Step::RunBrane(count) => {
                for _ in 0..count {
                    self.node.run_brane();
                }
            }
            Step::Store(works) => {
                self.node.store(works);
            }
            Step::Pass(us) => self.pass(us),
            Step::Crash => {
                self.look();
                self.node.crash();
            }
            Step::Panic => {
                self.look();
                self.node.panic();
            }
        }
        for session in std::mem::take(&mut self.node.closed) {
            for person in &mut self.people {
                if person.session.as_ref().is_some_and(|(key, _)| *key == session) {
                    person.cut();
                }
            }
        }
    }

    fn join(&mut self, who: usize) {
        let person = &mut self.people[who];
        if person.session.is_some() {
            return;
        }
        self.sessions += 1;
        let session = SessionKey(self.sessions);
        let join = person.join(BRANE, session);
        let (_, wire) = person.session.clone().expect("just made");
        self.node.wires.insert(session, wire);
        let principal = person.principal();
        self.node.input(BraneInput::Join { session, principal, join });
    }

    fn leave(&mut self, who: usize) {
        if let Some(session) = self.people[who].cut() {
            self.node.wires.remove(&session);
            self.node.input(BraneInput::Leave { session });
        }
    }

    fn edit(&mut self, who: usize, kind: u8, a: u32, b: u32) {
        let edit = self.draw(kind, a, b);
        let person = &mut self.people[who];
        if let Some((session, _)) = person.session.clone().filter(|_| person.joined) {
            let update = person.edit(edit);
            self.node.input(BraneInput::Update { session, update });
        }
    }

    fn again(&mut self, who: usize) {
        let person = &mut self.people[who];
        if let Some((session, _)) = person.session.clone().filter(|_| person.joined)
            && let Some(update) = person.again()
        {
            self.node.input(BraneInput::Update { session, update });
        }
    }

    fn read(&mut self, who: usize, count: usize) {
        let person = &mut self.people[who];
        let (drained, again) = person.read(count);
        let Some((session, _)) = person.session.clone() else { return };
        if drained {
            self.node.drained(session);
        }
        if let Some(update) = again {
            self.node.input(BraneInput::Update { session, update });
        }
    }

    fn pass(&mut self, us: u64) {
        self.node.now.us += us;
        self.node.now.unix_ms += us / 1_000;
        self.node.timers();
    }

    fn draw(&mut self, kind: u8, a: u32, b: u32) -> Edit {
        let (target, parent) = (Target::Handle(Handle(a)), Target::Handle(Handle(b)));
        let mut transform = Transform::IDENTITY;
        transform.position = [b as i32, a as i32, 0];
        Edit::One(match kind {
            0..=2 => self.create(b, a.is_multiple_of(2)),
            3..=6 => Operation::Move { target, patch: MovePatch::new(Parts::POSITION, transform) },
            7 => Operation::Update { target, patch: patch(b) },
            8 => Operation::Reparent { target, parent, transform: None },
            9 => Operation::Delete { target, mode: DeleteMode::Subtree },
            10 => Operation::Delete { target, mode: DeleteMode::KeepChildren },
            _ => {
                let creation = self.create(0, true);
                let shift = MovePatch::new(Parts::POSITION, transform);
                return Edit::Batch(vec![creation, Operation::Move { target, patch: shift }]);
            }
        })
    }

    fn create(&mut self, parent: u32, group: bool) -> Operation {
        self.objects += 1;
        Operation::Create {
            id: ObjectId::new(Uuid::from_u128(0xABC0_0000 + self.objects)),
            parent: Target::Handle(Handle(parent / 3)),
            kind: if group { Kind::Group } else { Kind::Block },
            transform: Transform::IDENTITY,
            props: Props::default(),
        }
    }

    /// Everything that is under way arrives; everyone joins and gets all.
    fn calm(&mut self) {
        for _ in 0..5_000 {
            let mut busy = false;
            for who in 0..PEOPLE {
                self.step(Step::Join(who));
                self.step(Step::Read(who, 9));
            }
            busy |= self.node.run_fan_out();
            busy |= self.node.run_brane();
            busy |= self.node.store(true);
            self.step(Step::Pass(1_000));
            let head = self.node.core.head();
            if !busy && self.people.iter().all(|person| person.is_content(head)) {
                return;
            }
        }
        panic!("no calm: {:?} {:?}", self.node.core.status(), self.node.fan_out.status());
    }

    /// Notes what has happened in this opening.
    fn look(&mut self) {
        let (core, fan_out) = (self.node.core.status(), self.node.fan_out.status());
        let told = || self.people.iter().flat_map(|person| person.told.values());
        let refused = |code| told().any(|told| *told == Told::Refused(code));
        let seen = [
            ("replay", core.replays > 0),
            ("diff", core.diffs > 0),
            ("rewind", core.rewinds > 0),
            ("resync", core.resyncs > 0),
            ("fell behind", fan_out.fell_behind > 0),
            ("closed", fan_out.closed_slow > 0),
            ("repeated", core.repeated > 0),
            ("snapshot", core.snapshot.0 > 0),
            ("unavailable", refused(avvy_model::Code::Unavailable)),
            ("outcome unknown", refused(avvy_model::Code::OutcomeUnknown)),
            ("complete", self.people.iter().any(|person| person.replica.completes > 0)),
            ("hash", self.people.iter().any(|person| person.hashes_compared > 0)),
        ];
        self.seen.extend(seen.into_iter().filter(|(_, seen)| *seen).map(|(name, _)| name));
    }

    /// One log, and everyone agrees with it.
    fn check(&mut self) {
        let events = self.node.events();
        let status = self.node.core.status();
        assert!((1..=status.head.0).eq(events.iter().map(|event| event.seq.0)), "dense");
        assert_eq!((status.durable, status.published), (status.head, status.head));
        let places: BTreeMap<EditId, _> =
            events.iter().map(|event| (event.edit, event.seq)).collect();
        assert_eq!(places.len(), events.len(), "no edit is applied twice");

        let mut world = World::new(BRANE, UserId::new(Uuid::from_u128(0)));
        events.iter().for_each(|event| world.replay(event).expect("the log makes a world"));
        let hash = world.state_hash().to_bytes();
        assert_eq!(hash, self.node.core.state_hash().to_bytes());
        for person in &self.people {
            assert_eq!(person.replica.hash(), hash, "person {}", person.number);
            let place = |counter: Counter| places.get(&EditId { client: person.client(), counter });
            for (counter, seq) in &person.kept {
                assert_eq!(place(*counter), Some(seq), "durable is durable");
            }
            for (counter, told) in &person.told {
                match told {
                    Told::Applied(seq) => assert_eq!(place(*counter), Some(seq)),
                    Told::Refused(avvy_model::Code::OutcomeUnknown) => {}
                    Told::Refused(code) => assert_eq!(place(*counter), None, "{code}"),
                }
            }
        }
    }
}

fn patch(b: u32) -> PropsPatch {
    let key =
        PropKey::new(["a", "b", "c"][b as usize % 3], &ValueLimits::default()).expect("short");
    let value = (!b.is_multiple_of(5)).then(|| Value::int(b.into()));
    PropsPatch::new(vec![(key, value)]).expect("one key")
}

fn run(steps: Vec<Step>) -> Play {
    let mut play = Play::new();
    for step in steps {
        play.step(step);
    }
    play.calm();
    play.check();
    play.look();
    play
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 20_000, ..Default::default() })]

    #[test]
    fn everyone_follows_one_log(steps in prop::collection::vec(step(), 1..600)) {
        run(steps);
    }
}

#[test]
fn the_runs_see_everything() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut all = BTreeMap::new();
    for _ in 0..60 {
        let steps = prop::collection::vec(step(), 1_000).new_tree(&mut runner).expect("draws");
        for name in run(steps.current()).seen {
            *all.entry(name).or_insert(0) += 1;
        }
    }
    assert_eq!(all.len(), 12, "{all:?}");
}
