//! The people of a brane, each in a slot of its own, so that looking one up
//! costs an index.

use std::collections::BTreeMap;
use std::ops::Bound;

use avvy_auth::rate::Bucket;
use avvy_model::{Sanction, UserId};
use avvy_protocol::{Person, PersonAt, Pose};
use rustc_hash::FxHashMap;

use super::sight::Sight;
use crate::SessionKey;

/// What somebody may say to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Voice {
    /// Until when they may change anything in the brane, as things stand, in
    /// the server's Unix milliseconds; 0: not at all, `u64::MAX`: without end.
    pub writes_until_ms: u64,
    /// Is kept from sending signals.
    pub mute: Option<Sanction>,
}

impl Default for Voice {
    /// That of somebody who may write, for good.
    fn default() -> Self {
        Self { writes_until_ms: u64::MAX, mute: None }
    }
}

/// Somebody who is there.
pub(super) struct Member<O> {
    pub person: Person,
    pub user: UserId,
    pub voice: Voice,
    pub outbox: O,
    /// The version of the roster that the session has been sent, if it
    /// follows.
    pub follows: Option<u64>,
    pub pose: Option<Box<Held>>,
    pub sight: Sight,
    /// Is sent no poses for now.
    pub is_mute: bool,
    /// Of signals to all, to those near, to one; made with the first.
    pub rates: Option<Box<[Bucket; 3]>>,
}

/// A pose with its place in the order of all poses taken.
pub(super) struct Held {
    pub pose: Pose,
    pub pose_at: u64,
    pub state: Vec<u8>,
    pub state_at: u64,
}

impl<O> Member<O> {
    pub fn listed(&self) -> PersonAt {
        PersonAt { person: self.person, user: self.user }
    }
}

/// All of them.
pub(super) struct Members<O> {
    slots: Vec<Option<Member<O>>>,
    free: Vec<u32>,
    by_session: FxHashMap<SessionKey, u32>,
    by_person: BTreeMap<Person, u32>,
}

impl<O> Default for Members<O> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_session: FxHashMap::default(),
            by_person: BTreeMap::new(),
        }
    }
}

impl<O> Members<O> {
    pub fn len(&self) -> usize {
        self.by_person.len()
    }

    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    pub fn contains(&self, session: SessionKey) -> bool {
        self.by_session.contains_key(&session)
    }

    pub fn insert(&mut self, session: SessionKey, member: Member<O>) {
        let person = member.person;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(member);
        self.by_session.insert(session, slot);
        self.by_person.insert(person, slot);
    }

    pub fn remove(&mut self, session: SessionKey) -> Option<Member<O>> {
        let slot = self.by_session.remove(&session)?;
        let member = self.slots[slot as usize].take()?;
        self.by_person.remove(&member.person);
        self.free.push(slot);
        Some(member)
    }

    pub fn slot_of(&self, session: SessionKey) -> Option<u32> {
        self.by_session.get(&session).copied()
    }

    pub fn slot_of_person(&self, person: Person) -> Option<u32> {
        self.by_person.get(&person).copied()
    }

    pub fn get(&self, slot: u32) -> Option<&Member<O>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Member<O>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Who is in this slot, if it is still the same person.
    pub fn same(&self, slot: u32, person: Person) -> Option<&Member<O>> {
        self.get(slot).filter(|member| member.person == person)
    }

    /// By rising number.
    pub fn after(&self, after: Option<Person>) -> impl Iterator<Item = &Member<O>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_person.range((from, Bound::Unbounded)).filter_map(|(_, slot)| self.get(*slot))
    }

    /// By rising slot.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Member<O>)> {
        (0..).zip(&self.slots).filter_map(|(slot, member)| Some((slot, member.as_ref()?)))
    }
}
