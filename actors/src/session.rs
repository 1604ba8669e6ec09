//! What a connection and its session actor share, and the connection's way in.
//!
//! Edits are the hot path: the connection decodes them and sends them straight
//! to the brane's actor, against credits. Everything else goes through the
//! session actor's mailbox, against the same credits, so that no mailbox
//! grows with what a client sends.

mod sweep;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use avvy_auth::Validity;
use avvy_auth::rate::{Bucket, RetryAfterMs};
use avvy_flow::{Load, SessionKey};
use avvy_model::{BraneId, Code, TraceId};
use avvy_protocol::close::CloseCode;
use avvy_protocol::codec::{self, DecodeError, PartialUpdate};
use avvy_protocol::{Channel, ClientMessage, PeopleRequest, ServerMessage, Update};
use ractor::ActorRef;

use crate::Denied;
use crate::accounts::{Account, Advance, Held};
use crate::answer::Answer;
use crate::brane::{BraneHandle, BraneMsg};
use crate::clock;
use crate::config::SessionConfig;
use crate::credits::{CreditPool, Granted, Permit};
use crate::fan_out::FanOutMsg;
use crate::limit::Limit;
use crate::metrics::Metrics;
use crate::people::Poses;
use crate::registry::Registry;
use crate::route::Route;
use crate::session_actor::SessionMsg;
use crate::wire::{Wire, frame};

const UPDATE: &str = "object.update";

/// A message that was read and is on its way.
struct Waiting {
    message: ClientMessage,
    load: Load,
    /// Whether it has come through the rate of edits.
    admitted: bool,
    /// What it was given of the user's rate, until it is due.
    advance: Option<Advance>,
    /// When to ask again whether it may, in monotonic milliseconds.
    not_before_ms: u64,
}

/// The state that both sides of a session see.
pub(crate) struct Shared {
    pub(crate) key: SessionKey,
    pub(crate) id: TraceId,
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) config: Arc<SessionConfig>,
    pub(crate) metrics: Arc<Metrics>,
    credits: Arc<CreditPool>,
    /// A message that waits for its rate or for credits. While there is one,
    /// nothing more is read.
    parked: Mutex<Option<Waiting>>,
    routes: Mutex<Vec<Route>>,
    /// The user's, once the user is known.
    pub(crate) account: OnceLock<Arc<Account>>,
    /// One of the user's places for sessions.
    place: Mutex<Option<Held>>,
    edits: Mutex<Bucket>,
    messages: Mutex<Bucket>,
    pub(crate) poses: Poses,
    strikes: AtomicU32,
    /// Monotonic milliseconds at which the connection was made.
    opened_ms: u64,
    /// Monotonic milliseconds of the last sign of life.
    heard_ms: AtomicU64,
    /// Monotonic milliseconds since when what is queued does not drain; 0: it does.
    full_since_ms: AtomicU64,
    /// Monotonic milliseconds at which the connection is cut; 0: not closing.
    pub(crate) cut_at_ms: AtomicU64,
    /// Has begun once the session is welcomed.
    pub(crate) validity: Validity,
    pub(crate) warned: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        key: SessionKey,
        id: TraceId,
        wire: Arc<dyn Wire>,
        config: Arc<SessionConfig>,
        metrics: Arc<Metrics>,
        leeway_s: u64,
        wake_reader: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let now = clock::monotonic_ms();
        Self {
            key,
            id,
            wire,
            metrics,
            credits: CreditPool::new(
                Load { operations: config.max_edits_in_flight, bytes: config.max_bytes_in_flight },
                wake_reader,
            ),
            parked: Mutex::default(),
            routes: Mutex::default(),
            account: OnceLock::new(),
            place: Mutex::default(),
            edits: Mutex::new(Bucket::new(config.edits_burst, config.edits_per_second, now)),
            messages: Mutex::new(Bucket::new(
                config.messages_burst,
                config.messages_per_second,
                now,
            )),
            poses: Poses::new(config.poses),
            config,
            strikes: AtomicU32::new(0),
            opened_ms: now,
            heard_ms: AtomicU64::new(now),
            full_since_ms: AtomicU64::new(0),
            cut_at_ms: AtomicU64::new(0),
            validity: Validity::new(leeway_s),
            warned: AtomicBool::new(false),
        }
    }

    /// Encodes and sends one message.
    pub(crate) fn tell(&self, message: &ServerMessage) {
        self.wire.send(&[frame(message)]);
    }

    /// Answers with a typed error.
    pub(crate) fn refuse(
        &self,
        code: Code,
        operation: Option<&str>,
        channel: Option<Channel>,
        retry_after_ms: Option<u64>,
    ) {
        let answer = Answer { code, operation, channel, retry_after_ms, address: None };
        answer.send(&*self.wire, Some(self.id), &self.metrics);
    }

    /// Says why a brane is not served, and what to do about it.
    pub(crate) fn deny(&self, denied: Denied, operation: &str) {
        let Denied { code, address, retry_after_ms } = denied;
        let (operation, channel) = (Some(operation), None);
        let answer = Answer { code, operation, channel, retry_after_ms, address };
        answer.send(&*self.wire, Some(self.id), &self.metrics);
    }

    /// Ends the connection with a number; it is cut when the peer does not
    /// follow. The one way in which the server ends a session.
    pub(crate) fn close(&self, code: CloseCode) {
        if self.begin_end() {
            self.metrics.closed(code);
            self.wire.close(code);
        }
    }

    /// Whether the end begins only now. It has the time of a close.
    fn begin_end(&self) -> bool {
        let cut_at = clock::monotonic_ms() + self.config.close_timeout_ms;
        self.cut_at_ms.compare_exchange(0, cut_at, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes one of the user's places. False when there is none.
    pub(crate) fn enter(&self, account: Arc<Account>) -> bool {
        let place = account.enter();
        let is_in = place.is_some();
        *lock(&self.place) = place;
        // A session is welcomed once.
        let _ = self.account.set(account);
        is_in
    }

    /// Gives the place back.
    pub(crate) fn exit(&self) {
        lock(&self.place).take();
    }

    pub(crate) fn is_welcomed(&self) -> bool {
        self.validity.has_begun()
    }

    pub(crate) fn routes(&self) -> MutexGuard<'_, Vec<Route>> {
        lock(&self.routes)
    }

    /// Where what is said on a channel goes.
    pub(crate) fn route(&self, channel: Channel) -> Option<BraneHandle> {
        let routes = self.routes();
        routes.iter().find(|route| route.channel == channel).map(|route| route.handle.clone())
    }

    /// A brane that it may have joined has ended here; with an address it goes on
    /// at the node there. The client joins again, with where its copy stands;
    /// that is all it sees of a restart.
    pub(crate) fn brane_lost(&self, brane: BraneId, address: Option<&str>) {
        let route = {
            let mut routes = self.routes();
            let at = routes.iter().position(|route| route.brane == brane);
            at.map(|at| routes.swap_remove(at))
        };
        if let Some(route) = route {
            let code = if address.is_some() { Code::Moved } else { Code::Unavailable };
            self.tell(&ServerMessage::Left {
                channel: route.channel,
                code: Some(code),
                address: address.map(str::to_owned),
            });
        }
    }

    /// Leaves every brane, without a word to the client.
    pub(crate) fn leave_all(&self) {
        for route in self.routes().drain(..) {
            // A brane that is gone has forgotten the session already.
            let leave = BraneMsg::Leave { session: self.key, farewell: None };
            let _ = route.actor.send_message(leave);
        }
    }

    /// Bytes of messages that are being served or wait for that.
    pub(crate) fn served_bytes(&self) -> u64 {
        let waiting = self.parked().as_ref().map_or(0, |waiting| waiting.load.bytes);
        u64::from(waiting) + u64::from(self.credits.in_flight().bytes)
    }

    /// Whether its end has begun.
    pub(crate) fn is_ending(&self) -> bool {
        self.cut_at_ms.load(Ordering::Acquire) != 0
    }

    fn parked(&self) -> MutexGuard<'_, Option<Waiting>> {
        lock(&self.parked)
    }
}

impl Waiting {
    fn new(message: ClientMessage, bytes: usize) -> Self {
        let load = Load::of(&message, bytes);
        Self { load, message, admitted: false, advance: None, not_before_ms: 0 }
    }
}

/// A connection's handle on its session.
pub struct SessionPort {
    pub(crate) shared: Arc<Shared>,
    pub(crate) actor: ActorRef<SessionMsg>,
    pub(crate) registry: Arc<Registry>,
}

impl SessionPort {
    /// Whether the client has been welcomed. Until then it is no more than
    /// somebody who could connect.
    pub fn is_welcomed(&self) -> bool {
        self.shared.is_welcomed()
    }

    /// Whether the connection may read another message now. When not, it is
    /// woken as soon as asking again is worth it.
    pub fn may_read(&self) -> bool {
        let now_ms = clock::monotonic_ms();
        let shared = &self.shared;
        let due = shared.parked().take_if(|waiting| now_ms >= waiting.not_before_ms);
        if let Some(waiting) = due
            && !self.has_expired()
        {
            self.dispatch(waiting);
        }
        shared.parked().is_none() && shared.credits.may_read(shared.wire.is_full())
    }

    /// Closes the session if its token has ended: the sweep looks only now and then.
    fn has_expired(&self) -> bool {
        let is_over = self.shared.validity.is_over(clock::unix_s());
        if is_over {
            self.shared.close(CloseCode::TokenExpired);
        }
        is_over
    }

    /// The peer said something that is no message: a ping or pong of the WebSocket.
    pub fn heard(&self) {
        self.mark_heard();
        self.take_message_token();
    }

    /// A message came in. Answers go out over the wire.
    pub fn receive(&self, payload: &[u8]) {
        self.mark_heard();
        let decoded = codec::decode_client(payload, &self.shared.config.decode);
        if self.has_expired() {
            return;
        }
        if !self.is_welcomed() && !is_for_strangers(&decoded) {
            self.shared.refuse(Code::NotAuthenticated, None, None, None);
            return self.shared.close(CloseCode::NotAuthenticated);
        }
        let has_rate_of_its_own = match &decoded {
            Ok(ClientMessage::Update(update)) => !update.edits.is_empty(),
            Ok(ClientMessage::People(PeopleRequest::Pose(_))) => self.shared.poses.admits(),
            _ => false,
        };
        if !has_rate_of_its_own {
            self.take_message_token();
        }
        match decoded {
            Ok(ClientMessage::Ping { nonce }) => {
                self.shared.tell(&ServerMessage::Pong { nonce, ms: clock::unix_ms() });
            }
            Ok(ClientMessage::People(PeopleRequest::Pose(update))) => {
                self.shared.pose(update);
            }
            Ok(message @ ClientMessage::Hello(_)) => {
                // Nothing more is read until it is answered: what may follow
                // is up to the answer.
                let mut waiting = Waiting::new(message, payload.len());
                waiting.load.operations = self.shared.credits.all().operations;
                self.dispatch(waiting);
            }
            Ok(message) => self.dispatch(Waiting::new(message, payload.len())),
            Err(error) => self.malformed(error, payload.len()),
        }
    }

    /// The wire's queue has fallen below its low-water mark again.
    pub fn drained(&self) {
        self.shared.full_since_ms.store(0, Ordering::Relaxed);
        for route in self.shared.routes().iter() {
            // A brane that has just gone tells its sessions so itself.
            let _ = route.fan_out.send_message(FanOutMsg::Drained(self.shared.key));
        }
    }

    /// Ends the session with a number, for what only the connection can see.
    pub fn close(&self, code: CloseCode) {
        self.shared.close(code);
    }

    /// The peer has said goodbye: it gets the time of a close to take what is
    /// still queued.
    pub fn peer_closes(&self) {
        self.shared.begin_end();
    }

    /// The connection has ended.
    pub fn ended(&self) {
        if self.actor.send_message(SessionMsg::Ended).is_err() {
            // The actor has failed, or the system has ended.
            self.registry.remove(self.shared.key);
        }
    }

    /// Sends a message on its way, or parks it until its rate allows it and
    /// there are credits.
    fn dispatch(&self, mut waiting: Waiting) {
        if let Err(RetryAfterMs(pause_ms)) = self.admit(&mut waiting) {
            return self.park_for(waiting, pause_ms);
        }
        let credits = self.shared.credits.take(waiting.load);
        if let Granted::Wait = credits {
            *self.shared.parked() = Some(waiting);
            return;
        }
        match (credits, waiting.message) {
            (Granted::Permit(permit), ClientMessage::Update(update)) => {
                self.update(update, permit);
            }
            (Granted::Permit(permit), message) => {
                self.tell_actor(SessionMsg::Received(message, permit));
            }
            (_, ClientMessage::Update(update)) => {
                self.take_message_token();
                self.shared.refuse(Code::TooLarge, Some(UPDATE), Some(update.channel), None);
            }
            // Other messages weigh one, and their bytes are within the bound.
            (_, _) => self.shared.refuse(Code::TooLarge, None, None, None),
        }
    }

    fn update(&self, update: Update, permit: Permit) {
        let shared = &self.shared;
        let Some(route) = shared.route(update.channel) else {
            shared.refuse(Code::NotJoined, Some(UPDATE), Some(update.channel), None);
            return;
        };
        let message = BraneMsg::Update { session: shared.key, update, permit: Some(permit) };
        if route.actor.send_message(message).is_err() {
            shared.refuse(Code::Unavailable, Some(UPDATE), Some(route.channel), Some(100));
        }
    }

    /// Takes an update's share of the session's rate of edits and of the
    /// user's, each once. One that is more than a burst takes all of it, so
    /// that waiting always helps.
    fn admit(&self, waiting: &mut Waiting) -> Result<(), RetryAfterMs> {
        if waiting.admitted || !matches!(waiting.message, ClientMessage::Update(_)) {
            if let Some(advance) = waiting.advance.take() {
                advance.used();
            }
            return Ok(());
        }
        let shared = &self.shared;
        let operations = u64::from(waiting.load.operations.min(shared.config.edits_burst));
        lock(&shared.edits)
            .take(clock::monotonic_ms(), operations)
            .inspect_err(|_| shared.metrics.limits.count(Limit::EditRate))?;
        waiting.admitted = true;
        let Some(account) = shared.account.get() else { return Ok(()) };
        account.reserve_edits(operations).map_err(|advance| {
            let pause = advance.pause;
            waiting.advance = Some(advance);
            pause
        })
    }

    /// Reads on only after a pause. Refusing instead would not be true of
    /// edits that are sent again and may be in the log already.
    fn park_for(&self, mut waiting: Waiting, pause_ms: u64) {
        waiting.not_before_ms = clock::monotonic_ms().saturating_add(pause_ms);
        *self.shared.parked() = Some(waiting);
        let credits = Arc::clone(&self.shared.credits);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            credits.wake_reader();
        });
    }

    fn malformed(&self, mut error: DecodeError, bytes: usize) {
        if let Some(partial) = error.partial.take() {
            return self.partly_malformed(*partial, bytes);
        }
        self.shared.metrics.errors.count(error.code);
        self.shared.tell(&ServerMessage::Error(error.to_message(self.shared.id)));
        let strikes = self.shared.strikes.fetch_add(1, Ordering::Relaxed) + 1;
        if strikes >= self.shared.config.max_malformed_messages {
            self.shared.metrics.limits.count(Limit::Malformed);
            self.shared.close(CloseCode::ProtocolError);
        }
    }

    /// Some edits of an update could not be read: they are refused, the others
    /// are served.
    fn partly_malformed(&self, partial: PartialUpdate, bytes: usize) {
        let PartialUpdate { update, refused } = partial;
        self.shared.tell(&ServerMessage::Refused { channel: update.channel, edits: refused });
        if !update.edits.is_empty() {
            self.dispatch(Waiting::new(ClientMessage::Update(update), bytes));
        }
    }

    fn mark_heard(&self) {
        self.shared.heard_ms.store(clock::monotonic_ms(), Ordering::Relaxed);
    }

    fn take_message_token(&self) {
        let taken = lock(&self.shared.messages).take(clock::monotonic_ms(), 1);
        if taken.is_err() {
            self.shared.metrics.limits.count(Limit::MessageRate);
            self.shared.close(CloseCode::RateLimited);
        }
    }

    fn tell_actor(&self, message: SessionMsg) {
        // When the actor has failed, or at a shutdown, the connection is
        // about to be closed.
        let _ = self.actor.send_message(message);
    }
}

/// Whether this may come from somebody who was not welcomed: a hello, or what
/// is answered with an error anyway.
fn is_for_strangers(decoded: &Result<ClientMessage, DecodeError>) -> bool {
    match decoded {
        Ok(message) => matches!(message, ClientMessage::Hello(_)),
        Err(error) => error.partial.is_none(),
    }
}

/// No code under these locks can panic halfway through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
