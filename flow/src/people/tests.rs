//! People as their clients see them.

mod poses;
mod random;
mod roster;
mod signals;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use avvy_model::{Rotation, UserId};
use avvy_protocol::{
    Channel, PeopleChanged, PeopleList, PeopleNews, PeoplePage, Person, PersonAt, Pose, Signal,
};

use super::*;

const CHANNEL: Channel = Channel(1);

/// An outbox that can be full.
#[derive(Clone, Default)]
struct Queue {
    news: Rc<RefCell<Vec<Rc<PeopleNews>>>>,
    full: Rc<RefCell<bool>>,
}

impl Outbox for Queue {
    type Frame = Rc<PeopleNews>;

    fn encode(news: PeopleNews, _unix_ms: u64) -> Self::Frame {
        Rc::new(news)
    }

    fn has_room(&self) -> bool {
        !*self.full.borrow()
    }

    fn send(&self, frame: &Self::Frame) {
        self.news.borrow_mut().push(Rc::clone(frame));
    }
}

/// What a client makes of what it is sent, and what must hold of it.
#[derive(Default)]
struct Seen {
    you: Option<Person>,
    at: Option<u64>,
    people: BTreeMap<Person, UserId>,
    heard: BTreeSet<Person>,
    avatars: BTreeMap<Person, (Pose, Vec<u8>)>,
    signals: Vec<Signal>,
    resets: u32,
}

impl Seen {
    fn take(&mut self, news: &PeopleNews) {
        match news {
            PeopleNews::Page(PeoplePage { after, you, at, people, .. }) => {
                if after.is_none() {
                    (self.you, self.at) = (Some(*you), Some(*at));
                    self.people.clear();
                    self.avatars.clear();
                }
                self.add(people);
            }
            PeopleNews::Changed(PeopleChanged { from, to, joined, left, reset, .. }) => {
                if *reset {
                    let signals = std::mem::take(&mut self.signals);
                    let (heard, resets) = (std::mem::take(&mut self.heard), self.resets + 1);
                    *self = Self { signals, heard, resets, ..Self::default() };
                    return;
                }
                assert_eq!(self.at.replace(*to), Some(*from), "ranges join");
                assert_eq!(*to - *from, (joined.len() + left.len()) as u64);
                self.add(joined);
                for person in left {
                    self.heard.insert(*person);
                    self.people.remove(person);
                }
            }
            PeopleNews::Poses(poses) => {
                for person in &poses.away {
                    assert!(self.avatars.remove(person).is_some(), "{person} was there");
                }
                for (person, pose) in &poses.poses {
                    self.avatars.entry(*person).or_insert((*pose, Vec::new())).0 = *pose;
                }
                for (person, state) in &poses.states {
                    self.avatars.get_mut(person).unwrap().1.clone_from(state);
                }
                assert!(!self.avatars.contains_key(&self.you.unwrap()));
            }
            PeopleNews::Signal(signal) => self.signals.push(signal.clone()),
        }
    }

    fn add(&mut self, people: &[PersonAt]) {
        for PersonAt { person, user } in people {
            self.heard.insert(*person);
            self.people.insert(*person, *user);
        }
    }
}

/// A brane's people, with a clock.
struct Crowd {
    machine: People<Queue>,
    now: Now,
    sessions: BTreeMap<u64, (Queue, Seen)>,
}

impl Crowd {
    fn new(config: PeopleConfig) -> Self {
        let now = Now { us: 1_000_000, unix_ms: 5_000 };
        Self { machine: People::new(CHANNEL, config), now, sessions: BTreeMap::new() }
    }

    fn join(&mut self, session: u64) {
        self.join_as(session, Voice::default());
    }

    fn join_as(&mut self, session: u64, voice: Voice) {
        let outbox = Queue::default();
        self.sessions.insert(session, (outbox.clone(), Seen::default()));
        self.machine.join(self.now, SessionKey(session), user(session), voice, outbox);
    }

    fn leave(&mut self, session: u64) {
        self.machine.leave(self.now, SessionKey(session));
        self.sessions.remove(&session);
    }

    /// Joins and lists.
    fn follow(&mut self, session: u64) {
        if !self.sessions.contains_key(&session) {
            self.join(session);
        }
        self.list(session, None, None);
    }

    fn list(&mut self, session: u64, after: Option<Person>, limit: Option<u32>) {
        let list = PeopleList { channel: CHANNEL, after, limit };
        self.machine.list(self.now, SessionKey(session), &list).unwrap();
        self.read();
    }

    fn pose(&mut self, session: u64, metres: f64) {
        self.machine.pose(SessionKey(session), at(metres), Vec::new());
    }

    fn fill(&mut self, session: u64, full: bool) {
        *self.sessions[&session].0.full.borrow_mut() = full;
        if !full {
            self.machine.drained(self.now, SessionKey(session));
        }
    }

    /// Lets time pass, with all that is due in it.
    fn pass(&mut self, ms: u64) {
        let until_us = self.now.us + ms * 1_000;
        loop {
            while self.machine.has_work() {
                self.machine.work(self.now);
            }
            match self.machine.deadline().filter(|us| *us <= until_us) {
                Some(due_us) => self.now.us = self.now.us.max(due_us),
                None => break,
            }
            self.machine.tick(self.now);
        }
        self.now.us = until_us;
        self.read();
    }

    /// Until nothing is due any more.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            match self.machine.deadline() {
                Some(due_us) => self.pass(due_us.saturating_sub(self.now.us).div_ceil(1_000)),
                None => return self.read(),
            }
        }
        panic!("it does not become quiet");
    }

    fn read(&mut self) {
        for (outbox, seen) in self.sessions.values_mut() {
            for news in outbox.news.take() {
                seen.take(&news);
            }
        }
    }

    fn seen(&self, session: u64) -> &Seen {
        &self.sessions[&session].1
    }

    fn avatars(&self, session: u64) -> Vec<u32> {
        self.seen(session).avatars.keys().map(|person| person.0).collect()
    }

    fn people(&self, session: u64) -> Vec<u32> {
        self.seen(session).people.keys().map(|person| person.0).collect()
    }
}

fn user(n: u64) -> UserId {
    UserId::from_bytes([n as u8; 16])
}

fn at(metres: f64) -> Pose {
    let rotation = Rotation::from_quaternion([0.0, 0.0, 0.0, 1.0]).unwrap();
    Pose { position: [(metres * UNITS) as i32, 0, 0], rotation }
}
