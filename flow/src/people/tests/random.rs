//! Anything in any order, held against who is there.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Join(u64),
    Leave(u64),
    List(u64),
    Pose(u64, i16),
    Full(u64, bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 1..12u64;
    prop_oneof![
        2 => who().prop_map(Step::Join),
        1 => who().prop_map(Step::Leave),
        2 => who().prop_map(Step::List),
        6 => (who(), any::<i16>()).prop_map(|(who, metres)| Step::Pose(who, metres)),
        2 => (who(), any::<bool>()).prop_map(|(who, full)| Step::Full(who, full)),
        4 => (0..700u64).prop_map(Step::Pass),
    ]
}

impl Crowd {
    fn step(&mut self, step: &Step) {
        let is_there = |who| self.sessions.contains_key(who);
        match step {
            Step::Join(who) if !is_there(who) => self.join(*who),
            Step::Leave(who) if is_there(who) => self.leave(*who),
            // A client that was answered lists on or waits for a reset.
            Step::List(who) if is_there(who) && self.seen(*who).at.is_none() => {
                self.list(*who, None, None);
            }
            Step::Pose(who, metres) if is_there(who) => self.pose(*who, f64::from(*metres)),
            Step::Full(who, full) if is_there(who) => self.fill(*who, *full),
            Step::Pass(ms) => self.pass(*ms),
            _ => {}
        }
        self.read();
    }

    fn position(&self, who: u64) -> [i32; 3] {
        let slot = self.machine.members.slot_of(SessionKey(who)).unwrap();
        let pose = self.machine.members.get(slot).unwrap().pose.as_ref();
        pose.map_or([0; 3], |held| held.pose.position)
    }
}

proptest! {
    #[test]
    fn after_quiet_everyone_sees_who_is_there(steps in prop::collection::vec(step(), 0..150)) {
        let config = PeopleConfig { max_avatars: 3, roster_ring: 6, ..PeopleConfig::default() };
        let mut crowd = Crowd::new(config);
        for step in &steps {
            crowd.step(step);
            for (_, seen) in crowd.sessions.values() {
                prop_assert!(seen.avatars.len() <= 3);
            }
        }
        let everyone: Vec<u64> = crowd.sessions.keys().copied().collect();
        for who in &everyone {
            crowd.fill(*who, false);
        }
        crowd.settle();
        for who in &everyone {
            crowd.step(&Step::List(*who));
        }
        crowd.settle();
        let people: Vec<Person> = crowd.machine.members.after(None).map(|m| m.person).collect();
        let posed: Vec<(Person, Pose)> = crowd.machine.members.after(None)
            .filter_map(|m| Some((m.person, m.pose.as_ref()?.pose))).collect();
        for who in everyone {
            let (from, seen) = (crowd.position(who), crowd.seen(who));
            prop_assert_eq!(seen.people.keys().copied().collect::<Vec<_>>(), people.clone());
            let mut near: Vec<_> = posed.iter().filter(|(person, _)| Some(*person) != seen.you)
                .map(|(person, pose)| (nearest::distance2(from, pose.position), *person, *pose))
                .collect();
            near.sort_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap());
            near.truncate(3);
            let expected: BTreeMap<Person, Pose> = near.iter().map(|n| (n.1, n.2)).collect();
            let avatars: BTreeMap<Person, Pose> =
                seen.avatars.iter().map(|(person, (pose, _))| (*person, *pose)).collect();
            prop_assert_eq!(avatars, expected);
        }
    }
}
