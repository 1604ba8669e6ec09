//! A connection's end and its session actor. Edits go straight to the brane,
//! against credits; everything else goes through the session's mailbox.

use avvy_flow::credits::{Load, Take};
use avvy_flow::{Credits, SessionKey};
use avvy_model::{Code, Principal, TraceId, UserId};
use avvy_protocol::codec::{DecodeLimits, decode_client, encode_server};
use avvy_protocol::frame::Frame;
use avvy_protocol::{
    Channel, ClientMessage, ErrorMessage, Join, PeopleRequest, RefusedEdit, ServerMessage, Update,
    Welcome,
};

use super::{ActorId, Ctx, Msg, Permit, Process, Route};
use crate::env::Event;
use crate::net::{ConnId, SharedOutbox};

/// What the server promises to hear.
const HEARTBEAT_MS: u32 = 20_000;

pub(super) struct Session {
    pub(super) conn: ConnId,
    outbox: SharedOutbox,
    user: UserId,
    credits: Credits,
    routes: Vec<Route>,
    opening: Vec<avvy_model::BraneId>,
    /// Waits for credits.
    parked: Option<ClientMessage>,
    greeted: bool,
}

impl Session {
    pub(super) fn new(conn: ConnId, outbox: SharedOutbox, user: UserId, max: u32) -> Self {
        Self {
            conn,
            outbox,
            user,
            credits: Credits::new(Load { operations: max, bytes: u32::MAX }),
            routes: Vec::new(),
            opening: Vec::new(),
            parked: None,
            greeted: false,
        }
    }

    fn tell(&self, now_ms: u64, message: &ServerMessage) {
        // Beyond the mark nothing more is read from this client.
        let _ = self.outbox.borrow_mut().send(&[Frame::binary(&encode_server(message, now_ms))]);
    }

    pub(super) fn refuse(
        &self,
        now_ms: u64,
        code: Code,
        operation: &str,
        channel: Option<Channel>,
    ) {
        self.tell(now_ms, &ServerMessage::Error(error(code, operation, channel)));
    }

    pub(super) fn route(&self, channel: Channel) -> Option<Route> {
        self.routes.iter().find(|route| route.channel == channel).copied()
    }
}

/// The answer to what cannot be served.
pub(super) fn error(code: Code, operation: &str, channel: Option<Channel>) -> ErrorMessage {
    ErrorMessage {
        code,
        message: code.meaning().to_owned(),
        details: None,
        trace: TraceId::from_bytes([7; 16]),
        retry_after_ms: (code == Code::Unavailable).then_some(200),
        operation: Some(operation.to_owned()),
        channel,
        address: None,
    }
}

impl Process {
    /// Reads what has come, as long as there are credits.
    pub(super) fn on_arrival(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) {
        let Some(key) = ctx.net.conns.get(&conn).and_then(|conn| conn.session) else { return };
        loop {
            let Some(session) = self.sessions.get_mut(&key) else { return };
            if let Some(parked) = session.parked.take() {
                self.dispatch(ctx, key, parked);
            }
            let Some(session) = self.sessions.get(&key) else { return };
            let outbox_full = session.outbox.borrow().is_full();
            if session.parked.is_some() || !session.credits.may_read(outbox_full) {
                ctx.env.count("server stops reading a client");
                return;
            }
            let Some(message) = ctx.net.take_up(ctx.env, conn) else { return };
            self.receive(ctx, key, &message);
        }
    }

    /// The connection is gone.
    pub(super) fn on_conn_ended(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) {
        if let Some(key) = ctx.net.conns.get(&conn).and_then(|conn| conn.session) {
            self.send(ctx, ActorId::Session(key), Msg::Ended);
        }
        ctx.net.server_lets_go(conn);
    }

    /// The session's outbox has emptied.
    pub(crate) fn on_drained(&mut self, ctx: &mut Ctx<'_>, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else { return };
        let conn = session.conn;
        for route in session.routes.clone() {
            self.send(ctx, ActorId::FanOut(route.life), Msg::Drained(key));
        }
        ctx.env.after(0, Event::ToServer(conn));
    }

    /// Gives credits back; reading may go on.
    pub(super) fn give(&mut self, ctx: &mut Ctx<'_>, permit: Permit) {
        let Permit { session, load } = permit;
        if let Some(session) = self.sessions.get_mut(&session) {
            session.credits.give(load);
            ctx.env.after(0, Event::ToServer(session.conn));
        }
    }

    fn receive(&mut self, ctx: &mut Ctx<'_>, key: SessionKey, bytes: &[u8]) {
        let now_ms = ctx.env.unix_ms();
        let Some(session) = self.sessions.get(&key) else { return };
        match decode_client(bytes, &DecodeLimits::default()) {
            Ok(ClientMessage::Ping { nonce }) => {
                session.tell(now_ms, &ServerMessage::Pong { nonce, ms: now_ms });
            }
            Ok(ClientMessage::People(request @ PeopleRequest::Pose(_))) => {
                self.hear_people(ctx, key, request, None);
            }
            Ok(message) => self.dispatch(ctx, key, message),
            Err(error) => ctx.env.fail(|| format!("a client's message cannot be read: {error}")),
        }
    }

    fn dispatch(&mut self, ctx: &mut Ctx<'_>, key: SessionKey, message: ClientMessage) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let load = Load::of(&message, 0);
        match session.credits.take(load) {
            Take::Taken => {}
            Take::Wait => {
                session.parked = Some(message);
                return;
            }
            Take::TooMany => {
                return ctx.env.fail(|| format!("an update of {} operations", load.operations));
            }
        }
        let permit = Permit { session: key, load };
        match message {
            ClientMessage::Update(update) => self.update(ctx, key, update, permit),
            message => self.send(ctx, ActorId::Session(key), Msg::Received(message, permit)),
        }
    }

    fn update(&mut self, ctx: &mut Ctx<'_>, key: SessionKey, update: Update, permit: Permit) {
        let Some(session) = self.sessions.get(&key) else { return };
        if let Some(route) = session.route(update.channel)
            && self.branes.contains_key(&route.life)
        {
            let message = Msg::Update { session: key, update, permit };
            return self.send(ctx, ActorId::Brane(route.life), message);
        }
        ctx.env.count("update for a brane that is gone");
        let refused = |edit: &avvy_model::NumberedEdit| RefusedEdit {
            counter: edit.counter,
            code: Code::NotJoined,
            operation: None,
        };
        let edits = update.edits.iter().map(refused).collect();
        let channel = update.channel;
        session.tell(ctx.env.unix_ms(), &ServerMessage::Refused { channel, edits });
        self.give(ctx, permit);
    }

    pub(super) fn on_session(&mut self, ctx: &mut Ctx<'_>, key: SessionKey, message: Msg) {
        match message {
            Msg::Received(message, permit) => self.on_received(ctx, key, message, permit),
            Msg::Opened { join, result, permit } => self.on_opened(ctx, key, *join, result, permit),
            Msg::BraneLost { brane } => {
                let Some(session) = self.sessions.get_mut(&key) else { return };
                let lost = session.routes.extract_if(.., |route| route.brane == brane);
                for Route { channel, .. } in lost.collect::<Vec<_>>() {
                    let code = Some(Code::Unavailable);
                    let left = ServerMessage::Left { channel, code, address: None };
                    session.tell(ctx.env.unix_ms(), &left);
                }
            }
            Msg::JoinRefused { brane } => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.routes.retain(|route| route.brane != brane);
                }
            }
            Msg::Ended => {
                if let Some(session) = self.sessions.remove(&key) {
                    for route in session.routes {
                        let leave = Msg::Leave { session: key, farewell: false };
                        self.send(ctx, ActorId::Brane(route.life), leave);
                    }
                }
                self.end_actor(ctx, ActorId::Session(key));
            }
            _ => ctx.env.fail(|| "a session got another's message".to_owned()),
        }
    }

    fn on_received(
        &mut self,
        ctx: &mut Ctx<'_>,
        key: SessionKey,
        message: ClientMessage,
        permit: Permit,
    ) {
        let now_ms = ctx.env.unix_ms();
        let Some(session) = self.sessions.get_mut(&key) else { return };
        match message {
            ClientMessage::Hello(_) => {
                session.greeted = true;
                let welcome =
                    welcome(session.user, session.credits.status().max.operations, now_ms);
                session.tell(now_ms, &ServerMessage::Welcome(welcome));
            }
            _ if !session.greeted => ctx.env.fail(|| "a message before hello".to_owned()),
            ClientMessage::Join(join) => return self.on_join(ctx, key, join, permit),
            ClientMessage::Leave { channel } => {
                let at = session.routes.iter().position(|route| route.channel == channel);
                match at.map(|at| session.routes.swap_remove(at)) {
                    None => session.refuse(now_ms, Code::NotJoined, "brane.leave", Some(channel)),
                    Some(route) if self.branes.contains_key(&route.life) => {
                        let leave = Msg::Leave { session: key, farewell: true };
                        self.send(ctx, ActorId::Brane(route.life), leave);
                    }
                    Some(_) => {
                        let left = ServerMessage::Left { channel, code: None, address: None };
                        session.tell(now_ms, &left);
                    }
                }
            }
            ClientMessage::View { channel, area } => match session.route(channel) {
                Some(route) if self.branes.contains_key(&route.life) => {
                    let look = Msg::Look { session: key, area, permit };
                    return self.send(ctx, ActorId::Brane(route.life), look);
                }
                _ => session.refuse(now_ms, Code::NotJoined, "brane.view", Some(channel)),
            },
            ClientMessage::Hash { channel } => match session.route(channel) {
                Some(route) if self.branes.contains_key(&route.life) => {
                    let hash = Msg::Hash { session: key, permit };
                    return self.send(ctx, ActorId::Brane(route.life), hash);
                }
                _ => session.refuse(now_ms, Code::NotJoined, "brane.hash", Some(channel)),
            },
            ClientMessage::People(request) => {
                return self.hear_people(ctx, key, request, Some(permit));
            }
            ClientMessage::Refresh { .. }
            | ClientMessage::Update(_)
            | ClientMessage::Ping { .. } => {}
        }
        self.give(ctx, permit);
    }

    fn on_join(&mut self, ctx: &mut Ctx<'_>, key: SessionKey, join: Join, permit: Permit) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let is_joined = session.routes.iter().any(|route| route.brane == join.brane);
        if is_joined || session.opening.contains(&join.brane) {
            // It does so when a brane's end has reached it and not yet the session.
            ctx.env.count("join of what is joined");
            session.refuse(ctx.env.unix_ms(), Code::AlreadyJoined, "brane.join", None);
            return self.give(ctx, permit);
        }
        session.opening.push(join.brane);
        let open = Msg::Open { session: key, join: Box::new(join), permit };
        self.send(ctx, ActorId::Directory, open);
    }

    fn on_opened(
        &mut self,
        ctx: &mut Ctx<'_>,
        key: SessionKey,
        join: Join,
        result: Result<Route, Code>,
        permit: Permit,
    ) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.opening.retain(|brane| *brane != join.brane);
        match result {
            Err(code) => {
                session.refuse(ctx.env.unix_ms(), code, "brane.join", None);
                self.give(ctx, permit);
            }
            Ok(route) => {
                session.routes.push(route);
                let role = self.users.get(&session.user).copied();
                let user = session.user;
                let principal = Principal {
                    user,
                    ceiling: role.unwrap_or(avvy_model::Role::Visitor),
                    invited: true,
                };
                let outbox = session.outbox.clone();
                if !self.branes.contains_key(&route.life) {
                    self.give(ctx, permit);
                    let lost = Msg::BraneLost { brane: route.brane };
                    return self.send(ctx, ActorId::Session(key), lost);
                }
                let join = Msg::Join { session: key, outbox, principal, join, permit };
                self.send(ctx, ActorId::Brane(route.life), join);
            }
        }
    }
}

fn welcome(user: UserId, max_edits_in_flight: u32, now_ms: u64) -> Welcome {
    Welcome {
        version: avvy_protocol::VERSION,
        session: TraceId::from_bytes([9; 16]),
        user,
        heartbeat_ms: HEARTBEAT_MS,
        max_message_bytes: 64 * 1024,
        max_edits_in_flight,
        max_channels: 8,
        expires: now_ms / 1_000 + 365 * 24 * 3_600,
        ms: now_ms,
    }
}
