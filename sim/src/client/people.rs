//! What a person does among others, and whom it sees there.

use avvy_client::machine::Say;
use avvy_client::people::{Avatar, Roster, Then};
use avvy_model::{BraneId, Rotation, UserId, Value};
use avvy_protocol::{Audience, Channel, PeopleNews, Pose, Signal};

use super::{Outside, Person};
use crate::rng::Rng;

/// The people of one brane, as they are to somebody there.
#[derive(Default)]
pub(crate) struct Among {
    pub(crate) roster: Roster,
    /// A list was begun.
    pub(crate) follows: bool,
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
            _ => self.list(outside, brane),
        }
    }

    /// Follows who is there, now and after every join.
    pub(crate) fn follow_everywhere(&mut self, outside: &mut Outside<'_>) {
        self.always_follows = true;
        for brane in self.branes.clone() {
            if self.machine.channel(brane).is_some() && !self.among(brane).follows {
                self.list(outside, brane);
            }
        }
    }

    /// A brane is joined, or its copy is started anew: a list is begun again.
    pub(super) fn look_around(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        let wants = self.always_follows || outside.env.rng.below(4) > 0;
        if wants || self.among(brane).follows {
            self.list(outside, brane);
        }
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
        let index = self.index;
        self.look_at_people(outside, brane, news);
        let max_avatars = outside.env.setup.people.max_avatars;
        let among = self.among(brane);
        let then = among.roster.take(news);
        let avatars = among.roster.avatars();
        let sees_itself = among.roster.you().is_some_and(|you| avatars.contains_key(&you));
        let count = avatars.len();
        outside.env.check(count <= max_avatars && !sees_itself, || {
            format!("client {index} has {count} avatars, its own: {sees_itself}")
        });
        match then {
            Then::Nothing => {}
            Then::ListAfter(person) => {
                let say = Say::List { after: Some(person), limit: None };
                self.act(outside, |machine, _, out| machine.say(brane, say, out));
            }
            Then::ListAnew => {
                let is_reset = matches!(news, PeopleNews::Changed(changed) if changed.reset);
                outside.env.check(is_reset, || format!("ranges of people at {index} do not join"));
                outside.env.count("people listed anew");
                self.list(outside, brane);
            }
        }
    }

    fn look_at_people(&mut self, outside: &mut Outside<'_>, brane: BraneId, news: &PeopleNews) {
        let (index, follows) = (self.index, self.among(brane).follows);
        let env = &mut *outside.env;
        match news {
            PeopleNews::Page(_) => env.count("page of people"),
            PeopleNews::Changed(changed) => {
                let names = (changed.joined.len() + changed.left.len()) as u64;
                env.check(follows && names == changed.to - changed.from, || {
                    format!("client {index} follows: {follows}, is told {changed:?}")
                });
                env.count("people changed");
            }
            PeopleNews::Poses(poses) => {
                env.check(follows, || format!("client {index} is told poses"));
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

    fn list(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        self.among(brane).follows = true;
        let say = Say::List { after: None, limit: None };
        self.act(outside, |machine, _, out| machine.say(brane, say, out));
    }

    fn walk(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        let rng = &mut outside.env.rng;
        let reach = *rng.pick(&[3, 300_000, 1_000_000]).unwrap_or(&3);
        let position = [0; 3].map(|_| rng.below(2 * reach) as i32 - reach as i32);
        let pose = Pose { position, rotation: Rotation::IDENTITY };
        let state = if rng.below(2) == 0 { Vec::new() } else { vec![rng.below(4) as u8] };
        outside.env.count("pose said");
        self.among(brane).stands = Some(Avatar { pose, state: state.clone() });
        let say = Say::Pose { pose, state };
        self.act(outside, |machine, _, out| machine.say(brane, say, out));
    }

    fn signal(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        let to = self.draw_audience(&mut outside.env.rng, brane);
        let say = Say::Signal { to, kind: "mark".to_owned(), body: Some(mark(self.user)) };
        outside.env.count("signal said");
        self.act(outside, |machine, _, out| machine.say(brane, say, out));
    }

    fn draw_audience(&mut self, rng: &mut Rng, brane: BraneId) -> Audience {
        let known: Vec<_> = self.among(brane).roster.people().keys().copied().collect();
        match (rng.below(3), rng.pick(&known)) {
            (0, _) => Audience::All,
            (1, Some(person)) => Audience::One(*person),
            _ => Audience::Near,
        }
    }

    fn among(&mut self, brane: BraneId) -> &mut Among {
        self.among.entry(brane).or_default()
    }
}

/// What a user's signals say, so that nobody can speak for another.
fn mark(user: UserId) -> Value {
    Value::text(&user.to_string())
}
