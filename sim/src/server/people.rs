//! The people of a brane, beside its windows in the fan-out actor, as
//! [`People`] decides.

use avvy_flow::people::{Outbox, Refused};
use avvy_flow::{Now, People, SessionKey};
use avvy_model::Code;
use avvy_protocol::codec::encode_server;
use avvy_protocol::frame::Frame;
use avvy_protocol::{PeopleNews, PeopleRequest, PoseUpdate, ServerMessage};

use super::session::error;
use super::{ActorId, Ctx, Msg, Permit, Process};
use crate::net::SharedOutbox;

/// A session's outbox, for what may be dropped when it is full.
pub(super) struct PeopleOutbox(pub(super) SharedOutbox);

impl Outbox for PeopleOutbox {
    type Frame = Frame;

    fn encode(news: PeopleNews, unix_ms: u64) -> Frame {
        Frame::binary(&encode_server(&ServerMessage::People(news), unix_ms))
    }

    fn has_room(&self) -> bool {
        !self.0.borrow().is_full()
    }

    fn send(&self, frame: &Frame) {
        // Whether it has room is asked before the next one.
        let _ = self.0.borrow_mut().send(std::slice::from_ref(frame));
    }
}

impl Process {
    /// A session says something that concerns people. Poses take no credits.
    pub(super) fn hear_people(
        &mut self,
        ctx: &mut Ctx<'_>,
        key: SessionKey,
        request: PeopleRequest,
        permit: Option<Permit>,
    ) {
        let (operation, channel) = (request.operation(), request.channel());
        let Some(session) = self.sessions.get(&key) else { return };
        if let Some(route) = session.route(channel)
            && self.fan_outs.contains_key(&route.life)
        {
            let message = Msg::People { session: key, request, permit };
            return self.send(ctx, ActorId::FanOut(route.life), message);
        }
        session.refuse(ctx.env.unix_ms(), Code::NotJoined, operation, Some(channel));
        if let Some(permit) = permit {
            self.give(ctx, permit);
        }
    }
}

/// Serves a request; gives the error that has to be answered, if any.
pub(super) fn serve(
    people: &mut People<PeopleOutbox>,
    now: Now,
    key: SessionKey,
    request: PeopleRequest,
) -> Option<ServerMessage> {
    let (operation, channel) = (request.operation(), request.channel());
    let served = match request {
        PeopleRequest::List(list) => people.list(now, key, &list).map_err(Refused::from),
        PeopleRequest::Signal(signal) => people.signal(now, key, signal),
        PeopleRequest::Pose(PoseUpdate { pose, state, .. }) => {
            people.pose(key, pose, state);
            Ok(())
        }
    };
    let refused = served.err()?;
    Some(ServerMessage::Error(error(refused.code, operation, Some(channel))))
}
