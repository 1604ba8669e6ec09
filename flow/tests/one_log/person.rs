//! Someone with a client: sends edits, keeps them until they are durable,
//! sends them again after a reconnect, and remembers what it was told.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use avvy_flow::SessionKey;
use avvy_flow::fan_out::{Content, Frame, Part, Room, Wire};
use avvy_model::{
    BraneId, ClientId, Code, Counter, Edit, NumberedEdit, Position, Principal, Role, Seq, UserId,
    View,
};
use avvy_protocol::{Channel, Flush, Join, ServerMessage, SnapshotPart, Update};
use uuid::Uuid;

use crate::replica::Replica;

/// Frames at which an outbox is full.
const HIGH_WATER: usize = 6;

/// A frame as the fan-out handles it.
#[derive(Clone)]
pub enum Packet {
    Flush(Arc<Flush>),
    Part(Box<SnapshotPart>),
}

/// What waits for a person to read it.
#[derive(Default)]
pub struct Outbox {
    pub messages: VecDeque<ServerMessage>,
    /// Whether somebody was told that it is full.
    pub full: bool,
    /// Windows and parts that came all the same.
    over: u32,
}

/// The fan-out's end of an outbox.
#[derive(Clone, Default)]
pub struct TestWire(pub Rc<RefCell<Outbox>>);

impl TestWire {
    pub fn push(&self, message: ServerMessage) -> Room {
        let mut outbox = self.0.borrow_mut();
        outbox.messages.push_back(message);
        outbox.full |= outbox.messages.len() >= HIGH_WATER;
        if outbox.full { Room::Full } else { Room::More }
    }
}

impl Content<Packet> for Packet {
    fn whole(&self) -> &Packet {
        self
    }

    fn part(&self, _view: &View, _from: Seq) -> Part<Packet> {
        panic!("everybody sees all")
    }

    /// One by one: here nobody shall miss a move.
    fn collapsed(_windows: &[&Self], _view: Option<&View>, _from: Seq) -> (usize, Part<Packet>) {
        (1, Part::Nothing)
    }

    fn bytes(_frame: &Packet) -> usize {
        1
    }

    fn nothing(&self, _from: Seq) -> Packet {
        panic!("everybody sees all")
    }
}

impl Wire<Packet> for TestWire {
    fn hold(&mut self, _frame: Packet) {
        panic!("this driver tells outcomes itself")
    }

    fn release(&mut self) {
        // Nothing is ever held.
    }

    fn send(&mut self, frame: Frame<'_, Packet>) -> Room {
        if !matches!(frame, Frame::Complete(_)) {
            let mut outbox = self.0.borrow_mut();
            outbox.over += u32::from(outbox.full);
            assert!(outbox.over <= 1, "one frame finds out that the outbox is full");
        }
        self.push(match frame {
            Frame::Windows(packets) => {
                let [packet] = packets else { panic!("whoever sees all gets one at a time") };
                message(packet.clone())
            }
            Frame::Part(packet) => message(packet),
            Frame::Complete(version) => {
                // Follows its window also when that has filled the outbox.
                ServerMessage::VersionComplete { channel: Channel(1), version }
            }
        })
    }
}

fn message(packet: Packet) -> ServerMessage {
    match packet {
        Packet::Flush(flush) => ServerMessage::Flush(flush),
        Packet::Part(part) => ServerMessage::Snapshot(*part),
    }
}

/// What a person was told about an edit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Applied(Seq),
    Refused(Code),
}

pub struct Person {
    pub number: u64,
    pub session: Option<(SessionKey, TestWire)>,
    pub joined: bool,
    pub replica: Replica,
    next: Counter,
    /// Edits that are not durable as far as the person knows.
    pending: BTreeMap<Counter, Edit>,
    pub told: BTreeMap<Counter, Told>,
    /// Edits that were said to be durable, with their places.
    pub kept: BTreeMap<Counter, Seq>,
    /// State hashes that were told, by position.
    hashes: BTreeMap<Position, [u8; 16]>,
    pub hashes_compared: u64,
    /// Outcomes that this session's edits still wait for.
    awaited: BTreeSet<Counter>,
}

impl Person {
    pub fn new(number: u64) -> Self {
        Self {
            number,
            session: None,
            joined: false,
            replica: Replica::default(),
            next: Counter(1),
            pending: BTreeMap::new(),
            told: BTreeMap::new(),
            kept: BTreeMap::new(),
            hashes: BTreeMap::new(),
            hashes_compared: 0,
            awaited: BTreeSet::new(),
        }
    }

    pub fn client(&self) -> ClientId {
        ClientId::new(Uuid::from_u128(u128::from(self.number) << 64))
    }

    pub fn principal(&self) -> Principal {
        let user = UserId::new(Uuid::from_u128(u128::from(self.number)));
        Principal { user, ceiling: Role::Builder, invited: true }
    }

    pub fn join(&mut self, brane: BraneId, session: SessionKey) -> Join {
        self.session = Some((session, TestWire::default()));
        let known = !self.kept.is_empty();
        Join { brane, client: self.client(), known, resume: self.replica.resume(), area: None }
    }

    pub fn cut(&mut self) -> Option<SessionKey> {
        self.joined = false;
        self.awaited.clear();
        self.replica.cut();
        self.session.take().map(|(session, _)| session)
    }

    /// A new edit to send.
    pub fn edit(&mut self, edit: Edit) -> Update {
        let counter = self.next;
        self.next = counter.next();
        self.pending.insert(counter, edit.clone());
        self.awaited.insert(counter);
        update(vec![NumberedEdit { counter, edit }])
    }

    /// Every edit again that may be lost.
    pub fn again(&mut self) -> Option<Update> {
        let pending = self.pending.iter();
        let edits: Vec<_> =
            pending.map(|(c, e)| NumberedEdit { counter: *c, edit: e.clone() }).collect();
        self.awaited.extend(self.pending.keys());
        (!edits.is_empty()).then(|| update(edits))
    }

    /// Reads so many messages. True when the outbox has drained by that, and
    /// edits to send again after a join.
    pub fn read(&mut self, count: usize) -> (bool, Option<Update>) {
        let Some((_, wire)) = self.session.clone() else { return (false, None) };
        let mut again = None;
        for _ in 0..count {
            let Some(message) = wire.0.borrow_mut().messages.pop_front() else { break };
            again = self.take(message).or(again);
        }
        let mut outbox = wire.0.borrow_mut();
        let drained = outbox.full && outbox.messages.len() <= HIGH_WATER / 2;
        if drained {
            (outbox.full, outbox.over) = (false, 0);
        }
        (drained, again)
    }

    /// Whether there is nothing more to come, with the log's head here.
    pub fn is_content(&self, head: Position) -> bool {
        let wire = self.session.as_ref().map(|(_, wire)| wire);
        self.joined
            && wire.is_some_and(|wire| wire.0.borrow().messages.is_empty())
            && self.replica.at.is_some_and(|at| at.seq == head.seq)
            && self.pending.is_empty()
            && self.awaited.is_empty()
    }

    fn take(&mut self, message: ServerMessage) -> Option<Update> {
        match message {
            ServerMessage::Joined(joined) => {
                let first = !std::mem::replace(&mut self.joined, true);
                if first {
                    // Answers from before may be of another line of history.
                    self.told.retain(|counter, _| !self.pending.contains_key(counter));
                }
                self.replica.joined(&joined);
                return first.then(|| self.again()).flatten();
            }
            ServerMessage::Rewind { to, .. } => self.replica.rewind(to),
            ServerMessage::Snapshot(part) => self.replica.part(part),
            ServerMessage::Flush(flush) => self.replica.window(&flush),
            ServerMessage::VersionComplete { version, .. } => self.replica.complete(version),
            ServerMessage::Applied { edits, .. } => {
                for (counter, seq) in edits {
                    self.told(counter, Told::Applied(seq));
                }
            }
            ServerMessage::Refused { edits, .. } => {
                for edit in edits {
                    self.told(edit.counter, Told::Refused(edit.code));
                    self.pending.remove(&edit.counter);
                }
            }
            ServerMessage::Durable { durable, .. } => self.replica.durable(durable.seq),
            ServerMessage::Hash { at, hash, .. } => {
                self.hashes.insert(at, hash);
            }
            ServerMessage::Rights(own) => {
                assert_eq!(own.verbs, Role::Builder.verbs(), "nobody rules");
            }
            other => panic!("unexpected {other:?}"),
        }
        self.settle();
        None
    }

    fn told(&mut self, counter: Counter, told: Told) {
        self.awaited.remove(&counter);
        if let Some(seq) = self.kept.get(&counter) {
            assert_eq!(told, Told::Applied(*seq), "what is durable does not change");
        }
        self.told.insert(counter, told);
    }

    /// Draws the conclusions from what is known to be durable.
    fn settle(&mut self) {
        let durable = self.replica.durable;
        for (counter, told) in &self.told {
            if let Told::Applied(seq) = told
                && *seq <= durable
                && self.pending.remove(counter).is_some()
            {
                self.kept.insert(*counter, *seq);
            }
        }
        if let Some(at) = self.replica.at
            && let Some(hash) = self.hashes.remove(&at)
        {
            assert_eq!(self.replica.hash(), hash, "the copy is the world at {at}");
            self.hashes_compared += 1;
        }
    }
}

fn update(edits: Vec<NumberedEdit>) -> Update {
    Update { channel: Channel(1), trace: None, edits }
}
