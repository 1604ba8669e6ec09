//! Whom each client must see in the end, from what the clients themselves
//! know: who joined, and where each said that it stands.

use std::collections::BTreeMap;

use avvy_client::people::{Avatar, Roster};
use avvy_model::{BraneId, UserId};
use avvy_protocol::Person as Number;

use crate::client::Person;
use crate::sim::Sim;

impl Sim {
    /// Why somebody in a brane does not see who is there, if so.
    pub(crate) fn missed(&self, brane: BraneId) -> Option<String> {
        let is_there = |person: &&Person| person.machine.channel(brane).is_some();
        let there: Vec<&Person> = self.people.iter().filter(is_there).collect();
        let mut users: Vec<UserId> = there.iter().map(|person| person.user).collect();
        users.sort();
        let mut standing: BTreeMap<Number, &Avatar> = BTreeMap::new();
        for person in &there {
            let you = person.machine.roster(brane).and_then(Roster::you);
            if let Some((you, avatar)) = you.zip(stands(person, brane)) {
                standing.insert(you, avatar);
            }
        }
        there.iter().find_map(|person| self.missed_by(person, brane, &users, &standing))
    }

    fn missed_by(
        &self,
        person: &Person,
        brane: BraneId,
        users: &[UserId],
        standing: &BTreeMap<Number, &Avatar>,
    ) -> Option<String> {
        let index = person.index;
        let Some(roster) = person.machine.roster(brane) else {
            return Some(format!("client {index} does not follow"));
        };
        let mut seen: Vec<UserId> = roster.people().values().copied().collect();
        seen.sort();
        if !roster.is_whole() || seen != users {
            return Some(format!("client {index} sees {seen:?}, there are {users:?}"));
        }
        let from = stands(person, brane).map_or([0; 3], |avatar| avatar.pose.position);
        let others = standing.iter().filter(|(number, _)| Some(**number) != roster.you());
        let mut others: Vec<(f64, Number, Avatar)> = others
            .map(|(number, avatar)| (apart(from, avatar.pose.position), *number, (*avatar).clone()))
            .collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        others.truncate(self.env.setup.people.max_avatars);
        let nearest: BTreeMap<Number, Avatar> =
            others.into_iter().map(|(_, number, avatar)| (number, avatar)).collect();
        (*roster.avatars() != nearest).then(|| {
            format!("client {index} has the avatars {:?}, not {nearest:?}", roster.avatars())
        })
    }
}

/// Where a client has said that it stands.
fn stands(person: &Person, brane: BraneId) -> Option<&Avatar> {
    person.among.get(&brane)?.stands.as_ref()
}

fn apart(a: [i32; 3], b: [i32; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(b)).powi(2)).sum()
}
