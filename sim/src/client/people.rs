//! What a person does among others, and whom it sees there.

use avvy_client::machine::Say;
use avvy_client::people::Avatar;
use avvy_model::{BraneId, Rotation, UserId, Value};
use avvy_protocol::{Audience, Channel, Level, PeopleNews, Pose, Signal};

use super::viewer::Viewer;
use super::{Outside, Person};
use crate::rng::Rng;

/// The people of one brane, as they are to somebody there.
#[derive(Default)]
pub(crate) struct Among {
    /// Where the changes stand.
    at: Option<u64>,
    /// The avatar of one's own.
    pub(crate) stands: Option<Avatar>,
}

impl Person {
    /// Walks, says something, or looks who is there.
    pub(crate) fn mingle(&mut self, outside: &mut Outside<'_>) {
        let joined = self.branes.iter().copied();
        let joined: Vec<_> = joined.filter(|b| self.machine.channel(*b).is_some()).collect();
        let Some(brane) = outside.env.rng.pick(&joined).copied() else { return };
        match outside.env.rng.below(10) {
            0..=5 => self.walk(outside, brane),
            6..=8 => self.signal(outside, brane),
            _ => self.follow(outside, brane),
        }
    }

    /// Follows who is there, now and after every join.
    pub(crate) fn follow_everywhere(&mut self, outside: &mut Outside<'_>) {
        for brane in self.branes.clone() {
            self.follow(outside, brane);
        }
    }

    fn follow(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        self.act(outside, |machine, _, out| machine.follow(brane, out));
    }

    /// The channel is closed: so is what was among people.
    pub(super) fn part(&mut self, channel: Channel) {
        let left = self.viewers.iter().find(|(_, viewer)| viewer.channel == channel);
        if let Some(brane) = left.map(|(brane, _)| *brane) {
            self.among.remove(&brane);
        }
    }

    pub(super) fn take_people(
        &mut self,
        outside: &mut Outside<'_>,
        brane: BraneId,
        news: &PeopleNews,
    ) {
        self.look_at_people(outside, brane, news);
        let (index, max_avatars) = (self.index, outside.env.setup.people.max_avatars);
        let Some(roster) = self.machine.roster(brane) else { return };
        let avatars = roster.avatars();
        let sees_itself = roster.you().is_some_and(|you| avatars.contains_key(&you));
        let count = avatars.len();
        outside.env.check(count <= max_avatars && !sees_itself, || {
            format!("client {index} has {count} avatars, its own: {sees_itself}")
        });
    }

    fn look_at_people(&mut self, outside: &mut Outside<'_>, brane: BraneId, news: &PeopleNews) {
        let (index, follows) = (self.index, self.machine.roster(brane).is_some());
        let level = self.viewers.get(&brane).map(Viewer::level).unwrap_or_default();
        let at = &mut self.among.entry(brane).or_default().at;
        let env = &mut *outside.env;
        match news {
            PeopleNews::Page(page) => {
                if page.after.is_none() {
                    *at = Some(page.at);
                }
                env.count("page of people");
            }
            PeopleNews::Changed(changed) => {
                let names = (changed.joined.len() + changed.left.len()) as u64;
                let joins = changed.reset || at.is_none_or(|at| at == changed.from);
                env.check(follows && joins && names == changed.to - changed.from, || {
                    format!("client {index} at {at:?} is told {changed:?}, follows: {follows}")
                });
                if level > Level::Full && !changed.reset {
                    env.count("level served: people changed without poses");
                }
                *at = at.filter(|_| !changed.reset).map(|_| changed.to);
                env.count(if changed.reset { "people listed anew" } else { "people changed" });
            }
            PeopleNews::Poses(poses) => {
                env.check(follows && level == Level::Full, || {
                    format!("client {index} is told poses at {level:?}, follows: {follows}")
                });
                env.count("poses seen");
                if !poses.away.is_empty() {
                    env.count("avatar taken away");
                }
            }
            PeopleNews::Signal(Signal { user, body, .. }) => {
                env.check(*body == Some(mark(*user)), || format!("{user} did not say {body:?}"));
                env.count("signal heard");
            }
        }
    }

    fn walk(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        let rng = &mut outside.env.rng;
        let reach = *rng.pick(&[3, 300_000, 1_000_000]).unwrap_or(&3);
        let position = [0; 3].map(|_| rng.below(2 * reach) as i32 - reach as i32);
        let pose = Pose { position, rotation: Rotation::IDENTITY };
        let state = if rng.below(2) == 0 { Vec::new() } else { vec![rng.below(4) as u8] };
        outside.env.count("pose said");
        self.among.entry(brane).or_default().stands = Some(Avatar { pose, state: state.clone() });
        let say = Say::Pose { pose, state };
        self.act(outside, |machine, _, out| machine.say(brane, say, out));
    }

    fn signal(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        let to = self.draw_audience(&mut outside.env.rng, brane);
        let say = Say::Signal { to, kind: "mark".to_owned(), body: Some(mark(self.user)) };
        outside.env.count("signal said");
        self.act(outside, |machine, _, out| machine.say(brane, say, out));
    }

    fn draw_audience(&self, rng: &mut Rng, brane: BraneId) -> Audience {
        let known = self.machine.roster(brane).into_iter().flat_map(|r| r.people().keys().copied());
        let known: Vec<_> = known.collect();
        match (rng.below(3), rng.pick(&known)) {
            (0, _) => Audience::All,
            (1, Some(person)) => Audience::One(*person),
            _ => Audience::Near,
        }
    }
}

/// What a user's signals say, so that nobody can speak for another.
fn mark(user: UserId) -> Value {
    Value::text(&user.to_string())
}
