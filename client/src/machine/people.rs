//! The people of the branes. They are not part of a copy: with every join
//! they are asked for anew.

use avvy_model::{BraneId, Code, Value};
use avvy_protocol::{
    Audience, Channel, ClientMessage, ErrorMessage, PeopleList, PeopleNews, PeopleRequest, Person,
    Pose, PoseUpdate, SignalSend,
};

use super::membership::Membership;
use super::{ClientMachine, Notify, Output};
use crate::people::{Roster, Then};

/// Something to say to the people around.
#[derive(Clone, PartialEq, Debug)]
pub enum Say {
    /// The own avatar is here now.
    Pose {
        /// Where.
        pose: Pose,
        /// What else it shows; at most [`PoseUpdate::MAX_STATE`] bytes.
        state: Vec<u8>,
    },
    /// A signal to others.
    Signal {
        /// To whom.
        to: Audience,
        /// What it is; 1 to [`SignalSend::MAX_KIND`] bytes.
        kind: String,
        /// More of it.
        body: Option<Value>,
    },
}

impl ClientMachine {
    /// Follows who is in a brane, now and after every further join: see
    /// [`Self::roster`]. Following what is followed changes nothing.
    pub fn follow(&mut self, brane: BraneId, out: &mut Vec<Output>) {
        if self.roster(brane).is_none() {
            self.rosters.push((brane, Roster::default()));
            if let Some(channel) = self.channel(brane) {
                out.push(list(channel, None));
            }
        }
    }

    /// Who is in a brane, if that is followed. Empty while it is not joined.
    pub fn roster(&self, brane: BraneId) -> Option<&Roster> {
        self.rosters.iter().find(|(of, _)| *of == brane).map(|(_, roster)| roster)
    }

    /// Says something in a brane. While that is not joined nothing is said,
    /// and a pose has to be told anew after every join.
    pub fn say(&mut self, brane: BraneId, say: Say, out: &mut Vec<Output>) {
        let Some(channel) = self.channel(brane) else { return };
        let request = match say {
            Say::Pose { pose, state } => PeopleRequest::Pose(PoseUpdate { channel, pose, state }),
            Say::Signal { to, kind, body } => {
                PeopleRequest::Signal(SignalSend { channel, to, kind, body })
            }
        };
        out.push(Output::Send(ClientMessage::People(request)));
    }

    pub(super) fn on_people(&mut self, news: PeopleNews, out: &mut Vec<Output>) {
        let channel = news.channel();
        let joined = self.branes.iter().find(|m| m.channel() == Some(channel));
        let Some(brane) = joined.map(|m| m.brane) else { return };
        let roster = self.rosters.iter_mut().find(|(of, _)| *of == brane);
        match roster.map_or(Then::Nothing, |(_, roster)| roster.take(&news)) {
            Then::Nothing => {}
            Then::ListAfter(person) => out.push(list(channel, Some(person))),
            Then::ListAnew => out.push(list(channel, None)),
        }
        out.push(Output::Notify(Notify::People { brane, news }));
    }

    /// A brane was joined, or its copy was started anew.
    pub(super) fn look_around(&mut self, brane: BraneId, out: &mut Vec<Output>) {
        let channel = self.brane(brane).and_then(Membership::channel);
        if let (Some(channel), Some(_)) = (channel, self.roster(brane)) {
            out.push(list(channel, None));
        }
    }

    /// A page was refused for now.
    pub(super) fn page_refused(&mut self, error: &ErrorMessage, retry_at_ms: u64) {
        let brane = self.branes.iter().find(|m| m.channel() == error.channel).map(|m| m.brane);
        let roster = self.rosters.iter_mut().find(|(of, _)| Some(*of) == brane);
        if let (Some((_, roster)), Code::RateLimited) = (roster, error.code) {
            roster.again_ms = Some(retry_at_ms);
        }
    }

    /// When such a page is to be asked for again.
    pub(super) fn pages_due(&self) -> Option<u64> {
        self.rosters.iter().filter_map(|(_, roster)| roster.again_ms).min()
    }

    /// Asks for such pages again.
    pub(super) fn ask_again(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let Self { branes, rosters, .. } = self;
        for (brane, roster) in rosters {
            let channel = branes.iter().find(|m| m.brane == *brane).and_then(Membership::channel);
            if let (Some(channel), Some(_)) =
                (channel, roster.again_ms.take_if(|at_ms| now_ms >= *at_ms))
            {
                out.push(list(channel, roster.goes_on_after()));
            }
        }
    }

    /// Nobody is seen any more where nothing is joined.
    pub(super) fn lose_sight(&mut self) {
        let Self { branes, rosters, .. } = self;
        for (brane, roster) in rosters {
            if !branes.iter().any(|m| m.brane == *brane && m.channel().is_some()) {
                *roster = Roster::default();
            }
        }
    }
}

fn list(channel: Channel, after: Option<Person>) -> Output {
    let list = PeopleList { channel, after, limit: None };
    Output::Send(ClientMessage::People(PeopleRequest::List(list)))
}
