//! Who is in a brane, where they are, and what they say to each other. None
//! of it is part of the log, and none of it outlives the brane's opening.
//!
//! *Who*: joins and leaves are an ordered log (`roster.rs`) that a session
//! follows from its first `people.list` on. One that is slow gets what it
//! missed, or is told to list anew: a join or leave is never dropped silently.
//!
//! *Where*: each session's latest pose is kept. In turns, while something
//! changes, every follower is sent what is new of its nearest (`sight.rs`),
//! the farther the less often. A follower whose outbox is full is passed over
//! and costs nothing but what it has seen.
//!
//! *What*: signals go out at once, to those whose outbox has room.
//!
//! Invariants: the ranges of changes that a follower gets join; a viewer never
//! has more than [`PeopleConfig::max_avatars`] avatars, and of nobody whom it
//! has not been told to take away since.

mod config;
mod members;
mod nearest;
mod roster;
mod sight;
mod signals;
#[cfg(test)]
mod tests;

use avvy_auth::rate::Bucket;
use avvy_model::{Code, UserId};
use avvy_protocol::{
    Channel, PeopleChanged, PeopleList, PeopleNews, PeoplePage, Person, PersonAt, Pose,
};

pub use config::{PeopleConfig, PeopleStatus, Rate};
pub use members::Voice;
use members::{Held, Member, Members};
use nearest::{Near, Nearest, Place};
use roster::{Change, Next, Roster};
use sight::{Sight, Turn};
pub use signals::Refused;

use crate::{Now, SessionKey};

/// Viewers that are served at a time.
const BITE: usize = 64;

/// Units of a position in a metre.
const UNITS: f64 = 10_000.0;

/// A session's outbox, given by the driver.
pub trait Outbox {
    /// An encoded message.
    type Frame;

    /// Encodes a message.
    fn encode(news: PeopleNews, unix_ms: u64) -> Self::Frame;

    /// Whether it is under its high-water mark. When it was not, the driver
    /// calls [`People::drained`] once it is.
    fn has_room(&self) -> bool;

    /// Queues a message. Must not block.
    fn send(&self, frame: &Self::Frame);
}

/// The machine.
pub struct People<O: Outbox> {
    channel: Channel,
    config: PeopleConfig,
    members: Members<O>,
    last_person: u32,
    roster: Roster<O::Frame>,
    followers: usize,
    posed: usize,
    /// Counts poses taken.
    poses: u64,
    /// The version of where people are; 0 is never one.
    places: u64,
    nearest: Nearest,
    /// The version of the places in `nearest`.
    nearest_at: u64,
    nearest_us: u64,
    turns: Turns,
    /// Kept, so that looking allocates nothing.
    found: Vec<Near>,
    deliveries: Option<Bucket>,
    counters: PeopleStatus,
}

/// When poses are handed out.
#[derive(Default)]
struct Turns {
    number: u64,
    began_us: Option<u64>,
    /// What the turn has cost so far.
    spent_us: u64,
    /// The slot at which the turn that is under way goes on.
    cursor: Option<u32>,
    /// Somebody is to be sent something in the next turn.
    wanted: bool,
}

impl<O: Outbox> People<O> {
    /// Nobody is there.
    pub fn new(channel: Channel, config: PeopleConfig) -> Self {
        Self {
            channel,
            config,
            members: Members::default(),
            last_person: 0,
            roster: Roster::default(),
            followers: 0,
            posed: 0,
            poses: 0,
            places: 1,
            nearest: Nearest::default(),
            nearest_at: 0,
            nearest_us: 0,
            turns: Turns::default(),
            found: Vec::new(),
            deliveries: None,
            counters: PeopleStatus::default(),
        }
    }

    /// A session has joined. Nothing changes when it was there already.
    pub fn join(&mut self, now: Now, session: SessionKey, user: UserId, voice: Voice, outbox: O) {
        if self.members.contains(session) {
            return;
        }
        // A process that lets in a session every microsecond needs an hour to
        // run out of numbers; then the last ones are not told apart.
        self.last_person = self.last_person.saturating_add(1);
        let person = Person(self.last_person);
        let member = Member {
            person,
            user,
            voice,
            outbox,
            follows: None,
            pose: None,
            sight: Sight::default(),
            is_mute: false,
            rates: None,
        };
        self.members.insert(session, member);
        self.change(now, Change::Joined(PersonAt { person, user }));
    }

    /// What a session may say has changed.
    pub fn set_voice(&mut self, session: SessionKey, voice: Voice) {
        let slot = self.members.slot_of(session);
        if let Some(member) = slot.and_then(|slot| self.members.get_mut(slot)) {
            member.voice = voice;
        }
    }

    /// A session has left or is gone. Gives its outbox back.
    pub fn leave(&mut self, now: Now, session: SessionKey) -> Option<O> {
        let member = self.members.remove(session)?;
        self.followers -= usize::from(member.follows.is_some());
        if member.pose.is_some() {
            self.posed -= 1;
            self.places += 1;
            self.want();
        }
        self.change(now, Change::Left(member.person));
        Some(member.outbox)
    }

    /// Answers a `people.list`, which makes the session follow if it begins a
    /// list.
    ///
    /// # Errors
    /// `not_joined`.
    pub fn list(&mut self, now: Now, session: SessionKey, list: &PeopleList) -> Result<(), Code> {
        let slot = self.members.slot_of(session).ok_or(Code::NotJoined)?;
        if list.after.is_none() {
            self.follow(slot);
        }
        let most = list.limit.unwrap_or(u32::MAX).clamp(1, self.config.page_people) as usize;
        let mut people: Vec<PersonAt> =
            self.members.after(list.after).take(most + 1).map(Member::listed).collect();
        let goes_on = people.len() > most;
        people.truncate(most);
        let next = people.last().filter(|_| goes_on).map(|last| last.person);
        let Some(member) = self.members.get(slot) else { return Err(Code::NotJoined) };
        let (channel, after, you) = (self.channel, list.after, member.person);
        let at = self.roster.told();
        let page = PeopleNews::Page(PeoplePage { channel, after, you, at, people, next });
        member.outbox.send(&O::encode(page, now.unix_ms));
        self.want();
        Ok(())
    }

    /// A session's avatar is here now.
    pub fn pose(&mut self, session: SessionKey, pose: Pose, state: Vec<u8>) {
        let Some(slot) = self.members.slot_of(session) else { return };
        let Some(member) = self.members.get_mut(slot) else { return };
        self.counters.poses_taken += 1;
        let at = self.poses + 1;
        let held = member.pose.get_or_insert_with(|| {
            self.posed += 1;
            Box::new(Held { pose, pose_at: 0, state: Vec::new(), state_at: at })
        });
        let moved = held.pose_at == 0 || held.pose != pose;
        if moved {
            (held.pose, held.pose_at) = (pose, at);
            self.places += 1;
        }
        let restated = held.state != state;
        if restated {
            (held.state, held.state_at) = (state, at);
        }
        if moved || restated {
            self.poses = at;
            self.want();
        }
    }

    /// A session's outbox has emptied: it gets what it missed.
    pub fn drained(&mut self, now: Now, session: SessionKey) {
        if let Some(slot) = self.members.slot_of(session) {
            self.catch_up(now, slot);
            self.want();
        }
    }

    /// Whether a session that falls behind is spared the poses of others.
    pub fn mute(&mut self, session: SessionKey, is_mute: bool) {
        let slot = self.members.slot_of(session);
        if let Some(member) = slot.and_then(|slot| self.members.get_mut(slot)) {
            member.is_mute = is_mute;
            self.want();
        }
    }

    /// A session's outbox, for answers that go to this session alone.
    pub fn outbox(&self, session: SessionKey) -> Option<&O> {
        self.members.get(self.members.slot_of(session)?).map(|member| &member.outbox)
    }

    /// When [`Self::tick`] has something to do, in monotonic microseconds.
    pub fn deadline(&self) -> Option<u64> {
        let roster_us = self.roster.due_us(self.roster_interval_us());
        let turn_us = (self.turns.wanted && self.turns.cursor.is_none()).then(|| self.turn_us());
        roster_us.into_iter().chain(turn_us).min()
    }

    /// Tells joins and leaves, and begins a turn of poses, if it is time.
    pub fn tick(&mut self, now: Now) {
        self.tell_if_due(now);
        let is_due = self.turns.wanted && now.us >= self.turn_us();
        if is_due && self.turns.cursor.is_none() {
            self.begin_turn(now);
        }
    }

    /// Whether a turn is under way: the driver calls [`Self::work`], after
    /// what else is waiting, and asks again.
    pub fn has_work(&self) -> bool {
        self.turns.cursor.is_some()
    }

    /// Serves some viewers.
    pub fn work(&mut self, now: Now) {
        let Some(first) = self.turns.cursor else { return };
        let mut served = 0;
        for slot in first..self.members.slots() {
            if served == BITE {
                self.turns.cursor = Some(slot);
                return;
            }
            served += usize::from(self.serve(now, slot));
        }
        self.turns.cursor = None;
    }

    /// What the last [`Self::tick`] or [`Self::work`] took, in microseconds.
    /// With more to do than may be done there are fewer turns.
    pub fn spent(&mut self, us: u64) {
        self.turns.spent_us += us;
    }

    /// For metrics and tests.
    pub fn status(&self) -> PeopleStatus {
        PeopleStatus {
            people: self.members.len(),
            followers: self.followers,
            posed: self.posed,
            ..self.counters
        }
    }

    fn follow(&mut self, slot: u32) {
        if self.followers == 0 {
            self.roster.skip();
        }
        let Some(member) = self.members.get_mut(slot) else { return };
        self.followers += usize::from(member.follows.is_none());
        // A list that is begun is a beginning for the avatars, too.
        member.sight = Sight::default();
        member.follows = Some(self.roster.told());
    }

    fn change(&mut self, now: Now, change: Change) {
        self.counters.changes += 1;
        self.roster.push(change);
        self.tell_if_due(now);
    }

    fn tell_if_due(&mut self, now: Now) {
        if self.followers == 0 {
            return self.roster.skip();
        }
        if self.roster.due_us(self.roster_interval_us()).is_none_or(|due_us| now.us < due_us) {
            return;
        }
        let encode = |changed| O::encode(PeopleNews::Changed(changed), now.unix_ms);
        self.roster.tell(now.us, self.channel, self.config.roster_ring, encode);
        for slot in 0..self.members.slots() {
            self.catch_up(now, slot);
        }
    }

    /// Hands a follower the changes that it lacks, as far as there is room.
    fn catch_up(&mut self, now: Now, slot: u32) {
        let Some(member) = self.members.get_mut(slot) else { return };
        let Some(mut at) = member.follows else { return };
        while member.outbox.has_room() {
            match self.roster.next(at) {
                Next::Nothing => break,
                Next::Batch(frame, to) => {
                    member.outbox.send(frame);
                    at = to;
                }
                Next::Lost => {
                    let (channel, at) = (self.channel, self.roster.told());
                    let (joined, left) = (Vec::new(), Vec::new());
                    let reset =
                        PeopleChanged { channel, from: at, to: at, joined, left, reset: true };
                    member.outbox.send(&O::encode(PeopleNews::Changed(reset), now.unix_ms));
                    member.follows = None;
                    self.followers -= 1;
                    self.counters.resets += 1;
                    return;
                }
            }
        }
        member.follows = Some(at);
    }

    fn want(&mut self) {
        self.turns.wanted = self.followers > 0;
    }

    fn turn_us(&self) -> u64 {
        let Some(began_us) = self.turns.began_us else { return 0 };
        let budget = u64::from(self.config.pose_budget_percent.max(1));
        let pause_us = u64::from(self.config.pose_interval_ms) * 1_000;
        began_us + pause_us.max(self.turns.spent_us * 100 / budget)
    }

    fn begin_turn(&mut self, now: Now) {
        let number = self.turns.number + 1;
        let began_us = Some(now.us);
        self.turns = Turns { number, began_us, spent_us: 0, cursor: Some(0), wanted: false };
        if self.nearest_at == self.places {
            return;
        }
        let is_due = now.us >= self.nearest_us + self.look_interval_us();
        if self.nearest_at == 0 || self.is_small() || is_due {
            let places = self.members.iter().filter_map(|(slot, member)| {
                let Held { pose, .. } = member.pose.as_deref()?;
                Some(Place { position: pose.position, slot, person: member.person })
            });
            self.nearest = Nearest::new(places.collect());
            (self.nearest_at, self.nearest_us) = (self.places, now.us);
        } else {
            self.turns.wanted = true;
        }
    }

    /// Sends one viewer what is new to it. False when there is no viewer.
    fn serve(&mut self, now: Now, slot: u32) -> bool {
        let Some(member) = self.members.get_mut(slot) else { return false };
        if member.follows.is_none() {
            return false;
        }
        if member.is_mute || !member.outbox.has_room() {
            self.counters.poses_dropped += 1;
            return true;
        }
        let from = member.pose.as_ref().map_or([0; 3], |held| held.pose.position);
        let (me, mut sight) = (member.person, std::mem::take(&mut member.sight));
        let turn = Turn {
            channel: self.channel,
            ms: now.unix_ms,
            now_us: now.us,
            number: self.turns.number,
            nearest: &self.nearest,
            places: self.nearest_at,
            max_avatars: self.config.max_avatars,
            look_interval_us: self.look_interval_us(),
            is_small: self.is_small(),
            near_units: self.config.pose_near_m * UNITS,
        };
        let (news, waits) = sight.turn(&turn, me, from, &self.members, &mut self.found);
        self.turns.wanted |= waits;
        if let Some(member) = self.members.get_mut(slot) {
            member.sight = sight;
            if !(news.away.is_empty() && news.poses.is_empty() && news.states.is_empty()) {
                self.counters.pose_messages += 1;
                self.counters.poses_sent += news.poses.len() as u64;
                member.outbox.send(&O::encode(PeopleNews::Poses(news), now.unix_ms));
            }
        }
        true
    }

    fn is_small(&self) -> bool {
        self.posed <= self.config.small_crowd
    }

    fn roster_interval_us(&self) -> u64 {
        u64::from(self.config.roster_interval_ms) * 1_000
    }

    fn look_interval_us(&self) -> u64 {
        u64::from(self.config.nearest_interval_ms) * 1_000
    }
}
