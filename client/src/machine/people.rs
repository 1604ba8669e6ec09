//! What concerns people: passed on as it comes and goes. It is not part of
//! the copy.

use avvy_model::{BraneId, Value};
use avvy_protocol::{
    Audience, ClientMessage, PeopleList, PeopleNews, PeopleRequest, Person, Pose, PoseUpdate,
    SignalSend,
};

use super::membership::Membership;
use super::{ClientMachine, Notify, Output};

/// Something to say that concerns people.
#[derive(Clone, PartialEq, Debug)]
pub enum Say {
    /// Asks who is there; from the first time on the server says who comes and
    /// goes, and where they are.
    List {
        /// Only people with higher numbers; `None` begins a list.
        after: Option<Person>,
        /// At most so many.
        limit: Option<u32>,
    },
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
    /// Says something in a brane. While that is not joined nothing is said:
    /// who is there then, and where, begins anew with the next join.
    pub fn say(&mut self, brane: BraneId, say: Say, out: &mut Vec<Output>) {
        let Some(channel) = self.brane(brane).and_then(Membership::channel) else { return };
        let request = match say {
            Say::List { after, limit } => PeopleRequest::List(PeopleList { channel, after, limit }),
            Say::Pose { pose, state } => PeopleRequest::Pose(PoseUpdate { channel, pose, state }),
            Say::Signal { to, kind, body } => {
                PeopleRequest::Signal(SignalSend { channel, to, kind, body })
            }
        };
        out.push(Output::Send(ClientMessage::People(request)));
    }

    pub(super) fn on_people(&mut self, news: PeopleNews, out: &mut Vec<Output>) {
        let joined = self.branes.iter().find(|m| m.channel() == Some(news.channel()));
        if let Some(Membership { brane, .. }) = joined {
            out.push(Output::Notify(Notify::People { brane: *brane, news }));
        }
    }
}
