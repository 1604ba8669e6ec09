//! Whom one viewer sees, and what of them it has been sent.

use avvy_protocol::{Channel, Person, Poses};

use super::members::Members;
use super::nearest::{Near, Nearest};

/// Every so many turns, as a power of two, the farthest poses are handed out.
pub(super) const MAX_LEVEL: u8 = 4;

/// Those whose avatars a viewer has, by rising number.
#[derive(Default)]
pub(super) struct Sight {
    near: Vec<Neighbour>,
    /// Of the places at the last look; 0: not looked yet.
    pub looked_at: u64,
    looked_us: u64,
    looked_from: [i32; 3],
}

struct Neighbour {
    slot: u32,
    person: Person,
    /// Its pose is handed out at every 2^level-th turn.
    level: u8,
    /// What the viewer has; 0: nothing yet.
    pose_seen: u64,
    state_seen: u64,
}

/// One turn of handing out, for all viewers.
pub(super) struct Turn<'a> {
    pub channel: Channel,
    pub ms: u64,
    pub now_us: u64,
    pub number: u64,
    pub nearest: &'a Nearest,
    /// The version of the places in `nearest`.
    pub places: u64,
    pub max_avatars: usize,
    pub look_interval_us: u64,
    /// Looks at every change.
    pub is_small: bool,
    /// In units of 0.1 mm.
    pub near_units: f64,
}

impl Sight {
    /// What is new to the viewer in this turn. Second: whether there is more
    /// for a later turn.
    pub fn turn<O>(
        &mut self,
        turn: &Turn<'_>,
        me: Person,
        from: [i32; 3],
        members: &Members<O>,
        found: &mut Vec<Near>,
    ) -> (Poses, bool) {
        let mut news = Poses {
            channel: turn.channel,
            ms: turn.ms,
            away: Vec::new(),
            poses: Vec::new(),
            states: Vec::new(),
        };
        self.near.retain(|neighbour| {
            let is_there = members.same(neighbour.slot, neighbour.person).is_some();
            if !is_there {
                news.away.push(neighbour.person);
            }
            is_there
        });
        if self.is_to_look(turn, from) {
            let keep = |slot, person| person != me && members.same(slot, person).is_some();
            turn.nearest.find(from, turn.max_avatars, |p| keep(p.slot, p.person), found);
            self.take(turn, found, &mut news.away);
            (self.looked_at, self.looked_us, self.looked_from) = (turn.places, turn.now_us, from);
        }
        let mut waits = self.looked_at != turn.places;
        for neighbour in &mut self.near {
            waits |= neighbour.show(turn, members, &mut news);
        }
        (news, waits)
    }

    fn is_to_look(&self, turn: &Turn<'_>, from: [i32; 3]) -> bool {
        if self.looked_at == turn.places {
            return self.moved_far(turn, from);
        }
        let is_due = turn.now_us >= self.looked_us + turn.look_interval_us;
        self.looked_at == 0 || turn.is_small || is_due || self.moved_far(turn, from)
    }

    fn moved_far(&self, turn: &Turn<'_>, from: [i32; 3]) -> bool {
        let far = turn.near_units / 2.0;
        super::nearest::distance2(self.looked_from, from) > far * far
    }

    /// Goes over to those who were found; the others go away.
    fn take(&mut self, turn: &Turn<'_>, found: &mut [Near], away: &mut Vec<Person>) {
        found.sort_unstable_by_key(|near| near.person);
        let mut old = std::mem::take(&mut self.near).into_iter().peekable();
        self.near.reserve_exact(found.len());
        for near in found.iter() {
            while let Some(gone) = old.next_if(|known| known.person < near.person) {
                away.push(gone.person);
            }
            let known = old.next_if(|known| known.person == near.person);
            let (pose_seen, state_seen) = known.map_or((0, 0), |k| (k.pose_seen, k.state_seen));
            let level = level(near.distance2, turn.near_units);
            let Near { slot, person, .. } = *near;
            self.near.push(Neighbour { slot, person, level, pose_seen, state_seen });
        }
        away.extend(old.map(|gone| gone.person));
    }
}

impl Neighbour {
    /// Adds what is new of somebody. Says whether that has to wait.
    fn show<O>(&mut self, turn: &Turn<'_>, members: &Members<O>, news: &mut Poses) -> bool {
        let Some(held) = members.get(self.slot).and_then(|member| member.pose.as_ref()) else {
            return false;
        };
        let is_new = self.pose_seen == 0;
        if !is_new && self.pose_seen == held.pose_at && self.state_seen == held.state_at {
            return false;
        }
        // Not all of the far ones in the same turn.
        let phase = turn.number.wrapping_add(u64::from(self.person.0));
        if !is_new && phase & ((1 << self.level) - 1) != 0 {
            return true;
        }
        if self.pose_seen != held.pose_at {
            news.poses.push((self.person, held.pose));
        }
        if self.state_seen != held.state_at && !(is_new && held.state.is_empty()) {
            news.states.push((self.person, held.state.clone()));
        }
        (self.pose_seen, self.state_seen) = (held.pose_at, held.state_at);
        false
    }
}

fn level(distance2: f64, near_units: f64) -> u8 {
    let reaches = |level: &u8| {
        let reach = near_units * f64::from(1u32 << level);
        distance2 <= reach * reach
    };
    (0..MAX_LEVEL).find(reaches).unwrap_or(MAX_LEVEL)
}
