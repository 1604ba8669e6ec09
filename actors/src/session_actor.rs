//! The session actor: one per connection. It knows who the user is and which
//! branes are joined; edits pass it by (see [`crate::session`]).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use avvy_auth::Claims;
use avvy_auth::rate::{Bucket, RetryAfterMs};
use avvy_flow::admission::Appointments;
use avvy_flow::people::Rate;
use avvy_model::{Area, BraneId, Code};
use avvy_protocol::close::CloseCode;
use avvy_protocol::{
    Channel, ClientMessage, Hello, Join, PeopleRequest, ServerMessage, Welcome, negotiate,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::Denied;
use crate::accounts::{Accounts, Held, Verb};
use crate::brane::{BraneHandle, BraneMsg, Goodbye};
use crate::clock;
use crate::credits::Permit;
use crate::directory::DirectoryMsg;
use crate::fan_out::FanOutMsg;
use crate::judge::Judge;
use crate::limit::Limit;
use crate::members::Guest;
use crate::people::PeopleMsg;
use crate::registry::Registry;
use crate::revocations::Revocations;
use crate::route::Route;
use crate::session::Shared;

/// What reaches a session actor.
pub(crate) enum SessionMsg {
    /// Anything but edits and pings. The permit bounds how many wait here.
    Received(ClientMessage, Permit),
    /// The directory's answer to a join.
    Opened { join: Box<Join>, result: Result<BraneHandle, Denied>, permit: Permit },
    /// Tokens were revoked.
    Recheck,
    /// The connection has ended.
    Ended,
    /// Fail, as a broken invariant would make it.
    #[cfg(test)]
    Fail,
}

/// What every session actor is given.
#[derive(Clone)]
pub(crate) struct SessionContext {
    pub(crate) judge: Arc<Judge>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) directory: ActorRef<DirectoryMsg>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) accounts: Arc<Accounts>,
    /// When those should come back whose brane cannot be opened now.
    pub(crate) appointments: Arc<Mutex<Appointments>>,
}

impl SessionContext {
    /// When to come back, each at a time of its own.
    fn later_ms(&self) -> u64 {
        let mut appointments = self.appointments.lock().unwrap_or_else(PoisonError::into_inner);
        appointments.next_ms(clock::monotonic_us(), REOPEN_AFTER_US, REOPEN_EACH_US)
    }
}

const VIEW: &str = "brane.view";

/// When a user with too many sessions may have fewer, in milliseconds.
const SESSION_PAUSE_MS: u64 = 10_000;
/// What keeps a brane from being opened lasts at least so long.
const REOPEN_AFTER_US: u64 = 500_000;
/// The pause between two that come back for it.
const REOPEN_EACH_US: u64 = 500;

pub(crate) struct SessionActor;

pub(crate) struct Session {
    shared: Arc<Shared>,
    context: SessionContext,
    claims: Option<Box<Claims>>,
    greeted: bool,
    /// Looks elsewhere that it has left.
    views: Bucket,
    /// Branes that the directory is asked for.
    opening: Vec<(BraneId, Held)>,
    /// How many were asked for.
    joins: u64,
}

/// What a session actor starts with.
pub(crate) struct SessionArguments {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: SessionContext,
    /// From the `Authorization` header, already verified.
    pub(crate) claims: Option<Box<Claims>>,
}

impl Actor for SessionActor {
    type Msg = SessionMsg;
    type State = Session;
    type Arguments = SessionArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<SessionMsg>,
        SessionArguments { shared, context, claims }: SessionArguments,
    ) -> Result<Session, ActorProcessingErr> {
        let Rate { per_second, burst } = shared.config.views;
        let views = Bucket::new(burst, per_second, clock::monotonic_ms());
        let (greeted, opening, joins) = (false, Vec::new(), 0);
        Ok(Session { shared, context, claims, greeted, views, opening, joins })
    }

    async fn handle(
        &self,
        myself: ActorRef<SessionMsg>,
        message: SessionMsg,
        session: &mut Session,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionMsg::Received(message, permit) => session.on_received(&myself, message, permit),
            SessionMsg::Opened { join, result, permit } => session.on_opened(*join, result, permit),
            SessionMsg::Recheck => session.on_recheck(),
            SessionMsg::Ended => {
                session.on_ended();
                myself.stop(None);
            }
            #[cfg(test)]
            SessionMsg::Fail => panic!("a test wants to see this"),
        }
        Ok(())
    }
}

impl Session {
    fn on_received(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        message: ClientMessage,
        permit: Permit,
    ) {
        if let ClientMessage::Hello(hello) = message {
            self.on_hello(&hello);
            return;
        }
        match message {
            ClientMessage::Refresh { token } => self.on_refresh(&token),
            ClientMessage::Join(join) => self.on_join(myself, join, permit),
            ClientMessage::Leave { channel } => self.on_leave(channel),
            ClientMessage::View { channel, area } => self.on_view(channel, area, permit),
            ClientMessage::Hash { channel } => self.on_hash(channel, permit),
            ClientMessage::People(request) => self.on_people(request, permit),
            ClientMessage::Hello(_) | ClientMessage::Update(_) | ClientMessage::Ping { .. } => {
                // Hello is served above, the others never come this way.
                self.shared.refuse(Code::Internal, None, None, None);
            }
        }
    }

    fn on_hello(&mut self, hello: &Hello) {
        if self.greeted {
            self.shared.refuse(Code::Malformed, Some("hello"), None, None);
            return;
        }
        let Ok(version) = negotiate(hello.min_version, hello.max_version) else {
            self.shared.refuse(Code::UnsupportedVersion, Some("hello"), None, None);
            self.shared.close(CloseCode::UnsupportedVersion);
            return;
        };
        if let Some(token) = &hello.token {
            match self.context.judge.verify(token) {
                Ok(claims) => self.claims = Some(Box::new(claims)),
                Err(error) => return self.not_authenticated(error.code(), "hello"),
            }
        }
        let Some(claims) = &self.claims else {
            return self.not_authenticated(Code::NotAuthenticated, "hello");
        };
        // That of the upgrade may have ended since.
        if !self.shared.validity.counts(claims.expires_s, clock::unix_s()) {
            return self.not_authenticated(Code::TokenExpired, "hello");
        }
        if self.context.revocations.cover(claims) {
            return self.not_authenticated(Code::TokenRevoked, "hello");
        }
        if !self.shared.enter(self.context.accounts.of(claims.user)) {
            let pause = Some(SESSION_PAUSE_MS);
            self.shared.refuse(Code::TooManySessions, Some("hello"), None, pause);
            return self.shared.close(CloseCode::TooManySessions);
        }
        self.greeted = true;
        self.shared.validity.renew(claims.expires_s);
        let config = &self.shared.config;
        self.shared.tell(&ServerMessage::Welcome(Welcome {
            version,
            session: self.shared.id,
            user: claims.user,
            heartbeat_ms: config.heartbeat_ms as u32,
            max_message_bytes: config.max_message_bytes,
            max_edits_in_flight: config.max_edits_in_flight,
            max_channels: config.max_channels,
            expires: claims.expires_s,
            ms: clock::unix_ms(),
        }));
    }

    /// Whether the user's rate allows it. When not, that is the answer.
    fn is_within(&self, verb: Verb, operation: &str, channel: Option<Channel>) -> bool {
        let Some(account) = self.shared.account.get() else { return false };
        let taken = account.take(verb);
        if let Err(RetryAfterMs(pause_ms)) = taken {
            self.shared.refuse(Code::RateLimited, Some(operation), channel, Some(pause_ms));
        }
        taken.is_ok()
    }

    fn on_refresh(&mut self, token: &str) {
        if !self.is_within(Verb::Refresh, "auth.refresh", None) {
            return;
        }
        let claims = match self.context.judge.verify(token) {
            Ok(claims) => claims,
            Err(error) => {
                return self.shared.refuse(error.code(), Some("auth.refresh"), None, None);
            }
        };
        if self.context.revocations.cover(&claims) {
            return self.shared.refuse(Code::TokenRevoked, Some("auth.refresh"), None, None);
        }
        if self.claims.as_ref().is_some_and(|old| old.user != claims.user) {
            return self.shared.refuse(Code::Forbidden, Some("auth.refresh"), None, None);
        }
        self.leave_where_the_token_changes(&claims);
        let expires = claims.expires_s;
        self.shared.validity.renew(expires);
        self.shared.warned.store(false, Ordering::Release);
        self.claims = Some(Box::new(claims));
        self.shared.tell(&ServerMessage::Refreshed { expires });
    }

    /// A brane keeps to what the token allowed that it let a session in with.
    /// Where the new one allows something else, the client joins again.
    fn leave_where_the_token_changes(&self, new: &Claims) {
        let Some(old) = self.claims.as_deref() else { return };
        let routes = self.shared.routes();
        let handles: Vec<_> = routes.iter().map(|route| route.handle.clone()).collect();
        drop(routes);
        for BraneHandle { channel, brane, .. } in handles {
            if Guest::of(new, brane) != Guest::of(old, brane) {
                self.leave(channel, Some(Code::Unavailable));
            }
        }
    }

    fn on_join(&mut self, myself: &ActorRef<SessionMsg>, join: Join, permit: Permit) {
        if !self.is_within(Verb::Join, "brane.join", None) {
            return;
        }
        let joined = match self.may_join(&join) {
            Ok(joined) => joined,
            Err(code) => return self.shared.refuse(code, Some("brane.join"), None, None),
        };
        self.opening.push((join.brane, joined));
        let brane = join.brane;
        let reply_to = myself.clone();
        let reply = Box::new(move |result| {
            // A session that has ended needs no answer.
            let _ =
                reply_to.send_message(SessionMsg::Opened { join: Box::new(join), result, permit });
        });
        if self.context.directory.send_message(DirectoryMsg::Open { brane, reply }).is_err() {
            self.opening.retain(|(opening, _)| *opening != brane);
            self.shared.refuse(Code::Unavailable, Some("brane.join"), None, Some(1_000));
        }
    }

    /// Counts a brane as joined, if it may be.
    fn may_join(&self, join: &Join) -> Result<Held, Code> {
        let brane = join.brane;
        if join.client.is_of_transfers() {
            return Err(Code::ClientTaken);
        }
        let routes = self.shared.routes();
        let is_opening = self.opening.iter().any(|(opening, _)| *opening == brane);
        if is_opening || routes.iter().any(|route| route.brane == brane) {
            return Err(Code::AlreadyJoined);
        }
        if routes.len() + self.opening.len() >= self.shared.config.max_channels as usize {
            self.shared.metrics.limits.count(Limit::ChannelsOfSession);
            return Err(Code::TooManyChannels);
        }
        let account = self.shared.account.get().ok_or(Code::NotAuthenticated)?;
        account.join(brane).ok_or(Code::TooManyChannels)
    }

    fn on_opened(&mut self, join: Join, result: Result<BraneHandle, Denied>, permit: Permit) {
        let Some(at) = self.opening.iter().position(|(brane, _)| *brane == join.brane) else {
            return;
        };
        let (_, place) = self.opening.swap_remove(at);
        // A session that has what it wants keeps no room for more.
        self.opening.shrink_to_fit();
        let joined = result
            .and_then(|handle| self.guest(&handle).map(|g| (handle, g)).map_err(Denied::from));
        let (handle, guest) = match joined {
            Ok(joined) => joined,
            Err(denied) => {
                let passes = matches!(denied.code, Code::Unavailable | Code::Timeout);
                let later_ms = passes.then(|| self.context.later_ms());
                let denied =
                    Denied { retry_after_ms: denied.retry_after_ms.max(later_ms), ..denied };
                return self.shared.deny(denied, "brane.join");
            }
        };
        self.joins += 1;
        let number = self.joins;
        let mut routes = self.shared.routes();
        // Most sessions join one brane, and few join many.
        routes.reserve_exact(1);
        routes.push(Route::new(handle.clone(), number, join.area.is_none(), place));
        drop(routes);
        let message = BraneMsg::Join {
            session: self.shared.key,
            number,
            wire: Arc::clone(&self.shared.wire),
            guest,
            join,
            permit: Some(permit),
        };
        if handle.actor.send_message(message).is_err() {
            self.shared.brane_lost(handle.brane, None);
        }
    }

    fn guest(&self, handle: &BraneHandle) -> Result<Guest, Code> {
        let claims = self.claims.as_ref().ok_or(Code::NotAuthenticated)?;
        // Time has passed since it was asked for.
        if self.shared.validity.is_over(clock::unix_s()) {
            return Err(Code::TokenExpired);
        }
        Ok(Guest::of(claims, handle.brane))
    }

    fn on_leave(&mut self, channel: Channel) {
        if !self.leave(channel, None) {
            self.shared.refuse(Code::NotJoined, Some("brane.leave"), Some(channel), None);
        }
    }

    /// Leaves a brane; the client is told after the last window. False when
    /// the channel is not joined.
    fn leave(&self, channel: Channel, code: Option<Code>) -> bool {
        let route = {
            let mut routes = self.shared.routes();
            let at = routes.iter().position(|route| route.channel == channel);
            at.map(|at| routes.swap_remove(at))
        };
        let Some(route) = route else { return false };
        let farewell = Some(Goodbye(code));
        let message = BraneMsg::Leave { session: self.shared.key, farewell };
        if route.actor.send_message(message).is_err() {
            self.shared.tell(&ServerMessage::Left { channel, code, address: None });
        }
        true
    }

    fn on_view(&mut self, channel: Channel, area: Option<Area>, permit: Permit) {
        if let Err(RetryAfterMs(pause_ms)) = self.views.take(clock::monotonic_ms(), 1) {
            self.shared.metrics.limits.count(Limit::ViewRate);
            let pause = Some(pause_ms);
            return self.shared.refuse(Code::RateLimited, Some(VIEW), Some(channel), pause);
        }
        if self.begins_anew(channel, area) && !self.is_within(Verb::Join, VIEW, Some(channel)) {
            return;
        }
        if let Some(route) = self.shared.routes().iter_mut().find(|r| r.channel == channel) {
            route.sees_all = area.is_none();
        }
        let look = BraneMsg::Look { session: self.shared.key, area, permit: Some(permit) };
        self.tell_brane(channel, look, VIEW);
    }

    /// Whether this is from a part of a brane to the whole, or back: that
    /// costs as much as a join.
    fn begins_anew(&self, channel: Channel, area: Option<Area>) -> bool {
        let routes = self.shared.routes();
        let route = routes.iter().find(|route| route.channel == channel);
        route.is_some_and(|route| route.sees_all != area.is_none())
    }

    fn on_hash(&self, channel: Channel, permit: Permit) {
        if self.is_within(Verb::Hash, "brane.hash", Some(channel)) {
            let hash = BraneMsg::Hash { session: self.shared.key, permit: Some(permit) };
            self.tell_brane(channel, hash, "brane.hash");
        }
    }

    fn tell_brane(&self, channel: Channel, message: BraneMsg, operation: &str) {
        let route = self.shared.route(channel);
        let sent = route.is_some_and(|route| route.actor.send_message(message).is_ok());
        if !sent {
            self.shared.refuse(Code::NotJoined, Some(operation), Some(channel), None);
        }
    }

    fn on_people(&self, request: PeopleRequest, permit: Permit) {
        let (operation, channel) = (request.operation(), request.channel());
        let session = self.shared.key;
        let is_list = matches!(request, PeopleRequest::List(_));
        if is_list && !self.is_within(Verb::PeoplePage, operation, Some(channel)) {
            return;
        }
        let message = match request {
            PeopleRequest::List(list) => PeopleMsg::List { session, list, permit },
            PeopleRequest::Signal(signal) => PeopleMsg::Signal { session, signal, permit },
            // Poses pass this actor by.
            PeopleRequest::Pose(_) => {
                return self.shared.refuse(Code::Internal, Some(operation), Some(channel), None);
            }
        };
        let route = self.shared.route(channel);
        let sent = route
            .is_some_and(|route| route.fan_out.send_message(FanOutMsg::People(message)).is_ok());
        if !sent {
            self.shared.refuse(Code::NotJoined, Some(operation), Some(channel), None);
        }
    }

    fn on_recheck(&self) {
        let claims = self.claims.as_deref().filter(|_| self.greeted);
        if claims.is_some_and(|claims| self.context.revocations.cover(claims)) {
            self.shared.close(CloseCode::TokenRevoked);
        }
    }

    fn on_ended(&mut self) {
        self.context.registry.remove(self.shared.key);
        self.shared.leave_all();
    }

    fn not_authenticated(&self, code: Code, operation: &str) {
        self.shared.refuse(code, Some(operation), None, None);
        self.shared.close(match code {
            Code::TokenExpired => CloseCode::TokenExpired,
            Code::TokenRevoked => CloseCode::TokenRevoked,
            // The keys of the token's issuer are being fetched.
            Code::Unavailable => CloseCode::Overloaded,
            _ => CloseCode::NotAuthenticated,
        });
    }
}
