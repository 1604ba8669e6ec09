//! One connection's side of the protocol, without the connection.
//!
//! [`ClientMachine::handle`] takes what happened and says what to do. It
//! greets, joins the branes that are wanted, one after another, and after a
//! cut does it all again, resuming each copy where it stands. Edits are kept
//! until they are durable, so that whatever the server loses is sent again
//! under the same numbers; every edit ends in exactly one of
//! [`Notify::Durable`], [`Notify::Refused`] and [`Notify::Unknown`].
//!
//! Knows no clock, no randomness and no socket: they are arguments.

mod copy;
mod edits;
mod membership;
mod moved;
#[cfg(feature = "net")]
mod parting;
mod people;
mod predict;
mod types;

use avvy_model::{Area, BraneId, ClientId, Code, Edit, Object, Position, Target, UserId};
use avvy_protocol::{
    Channel, ClientMessage, ErrorMessage, Hello, MIN_VERSION, RefusedEdit, ServerMessage, VERSION,
    Welcome,
};

pub use copy::CopyKind;
pub use edits::KeptEdit;
pub use people::Say;
pub use types::{
    CloseReason, FlushHead, Input, MachineOptions, Notify, Output, SnapshotHead, SubmitError,
    Ticket,
};

use crate::people::Roster;
use crate::replica::Replica;
use edits::SendLimits;
use membership::Membership;
use moved::Moved;

/// Draws a client id that nobody else has.
pub type DrawClientId = Box<dyn FnMut() -> ClientId + Send>;

/// The machine.
pub struct ClientMachine {
    options: MachineOptions,
    token: String,
    /// As whom the server took the token; nobody before it has.
    user: UserId,
    draw: DrawClientId,
    link: Link,
    /// Whether the last connection had TLS.
    is_secure: bool,
    branes: Vec<Membership>,
    /// Who is in those that are followed.
    rosters: Vec<(BraneId, Roster)>,
    next_ticket: u64,
    heard_ms: u64,
    sent_ms: u64,
}

/// The connection.
#[derive(Debug)]
enum Link {
    Down,
    /// `hello` was sent.
    Greeting {
        since_ms: u64,
    },
    Up(Welcome),
    /// It was asked to be closed.
    Closing,
}

impl ClientMachine {
    /// A machine that will greet with this token.
    pub fn new(options: MachineOptions, token: String, draw: DrawClientId) -> Self {
        Self {
            options,
            token,
            user: UserId::from_bytes([0; 16]),
            draw,
            link: Link::Down,
            is_secure: false,
            branes: Vec::new(),
            rosters: Vec::new(),
            next_ticket: 1,
            heard_ms: 0,
            sent_ms: 0,
        }
    }

    /// Something happened at this time, in milliseconds of any clock that does
    /// not go backwards.
    pub fn handle(&mut self, now_ms: u64, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Connected { is_secure } => self.on_connected(now_ms, is_secure, out),
            Input::Disconnected => self.on_disconnected(out),
            Input::Tick => self.on_tick(now_ms, out),
            Input::Message(_) | Input::FlushHead(_) | Input::SnapshotHead(_)
                if matches!(self.link, Link::Down | Link::Closing) => {}
            Input::Message(message) => self.on_message(now_ms, message, out),
            Input::FlushHead(head) => {
                self.on_channel(now_ms, head.channel, out, |m, out| {
                    m.flush_head(now_ms, &head, out);
                });
            }
            Input::SnapshotHead(head) => {
                self.on_channel(now_ms, head.channel, out, |m, out| {
                    m.snapshot_head(now_ms, &head, out);
                });
            }
        }
        self.go_on(now_ms, out);
    }

    /// Wants a brane to be joined and kept joined. Joining what is joined
    /// changes nothing.
    pub fn join(&mut self, now_ms: u64, brane: BraneId, out: &mut Vec<Output>) {
        if let Some(membership) = self.branes.iter_mut().find(|m| m.brane == brane) {
            membership.want();
        } else {
            let client = (self.draw)();
            self.branes.push(Membership::new(brane, client, &self.options));
        }
        self.go_on(now_ms, out);
    }

    /// Wants to see an area of a brane, of which a copy of a part is kept;
    /// `None`: the whole brane. Best said before [`Self::join`].
    pub fn look(&mut self, now_ms: u64, brane: BraneId, area: Option<Area>, out: &mut Vec<Output>) {
        if !self.branes.iter().any(|m| m.brane == brane) {
            let client = (self.draw)();
            self.branes.push(Membership::new_closed(brane, client, &self.options));
        }
        if let Some(membership) = self.branes.iter_mut().find(|m| m.brane == brane) {
            membership.look(area);
        }
        self.go_on(now_ms, out);
    }

    /// Leaves a brane. Its edits without an outcome end as unknown.
    pub fn leave(&mut self, now_ms: u64, brane: BraneId, out: &mut Vec<Output>) {
        if let Some(membership) = self.branes.iter_mut().find(|m| m.brane == brane) {
            membership.leave(now_ms, out);
        }
        self.go_on(now_ms, out);
    }

    /// Takes an edit, to be sent as soon as may be.
    ///
    /// # Errors
    /// When the brane was never joined, or too many edits wait.
    pub fn submit(
        &mut self,
        now_ms: u64,
        brane: BraneId,
        edit: Edit,
        out: &mut Vec<Output>,
    ) -> Result<Ticket, SubmitError> {
        let membership = self
            .branes
            .iter_mut()
            .find(|m| m.brane == brane && m.is_open())
            .ok_or(SubmitError::NotJoined)?;
        if membership.edits().len() >= self.options.max_edits_kept {
            return Err(SubmitError::Full);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        membership.submit(ticket, edit);
        self.go_on(now_ms, out);
        Ok(ticket)
    }

    /// Asks for the state hash, to compare it: [`Notify::Hash`].
    pub fn ask_hash(&mut self, now_ms: u64, brane: BraneId, out: &mut Vec<Output>) {
        if let Some(channel) = self.brane(brane).and_then(Membership::channel) {
            out.push(Output::Send(ClientMessage::Hash { channel }));
        }
        self.go_on(now_ms, out);
    }

    /// Goes on with another token of the same user.
    pub fn refresh(&mut self, now_ms: u64, token: String, out: &mut Vec<Output>) {
        self.token.clone_from(&token);
        if let Link::Up(_) = self.link {
            out.push(Output::Send(ClientMessage::Refresh { token }));
        }
        self.go_on(now_ms, out);
    }

    /// When [`Input::Tick`] is due, if nothing else happens before.
    pub fn wakes_at(&self) -> Option<u64> {
        let timeout_ms = self.options.answer_timeout_ms;
        let welcome = match &self.link {
            Link::Down | Link::Closing => return None,
            Link::Greeting { since_ms } => return Some(since_ms + timeout_ms),
            Link::Up(welcome) => welcome,
        };
        let heartbeat_ms = u64::from(welcome.heartbeat_ms);
        let asked = self.branes.iter().filter_map(Membership::asked_ms);
        // Joins go one by one; the others are asked for when its answer comes.
        let joining = self.branes.iter().any(Membership::is_joining);
        let waits = self.branes.iter().filter_map(Membership::wants_join_at);
        let waits = waits.filter(|_| !joining);
        asked
            .map(|asked_ms| asked_ms + timeout_ms)
            .chain(waits)
            .chain(self.branes.iter().filter_map(Membership::tells_at))
            .chain(self.pages_due())
            .chain([self.sent_ms + heartbeat_ms, self.heard_ms + 3 * heartbeat_ms])
            .min()
    }

    /// The copy of a brane, if it is kept whole and there is one.
    pub fn replica(&self, brane: BraneId) -> Option<&Replica> {
        self.brane(brane)?.replica()
    }

    /// How an object will look when the own edits on their way have been
    /// applied, if nothing comes between: for showing them at once. Looking
    /// up by id goes through the whole copy.
    pub fn predicted(&self, brane: BraneId, target: Target) -> Option<Object> {
        let (replica, edits) = (self.replica(brane)?, self.edits(brane));
        predict::predict(replica, edits, self.user, target)
    }

    /// The copy, for its state hash.
    pub fn replica_mut(&mut self, brane: BraneId) -> Option<&mut Replica> {
        self.branes.iter_mut().find(|m| m.brane == brane)?.replica_mut()
    }

    /// Where the copy of a brane stands.
    pub fn position(&self, brane: BraneId) -> Option<Position> {
        self.brane(brane)?.position()
    }

    /// Whether the copy of a brane follows the log.
    pub fn is_live(&self, brane: BraneId) -> bool {
        self.brane(brane).is_some_and(Membership::is_live)
    }

    /// The name under which edits in a brane are numbered.
    pub fn client(&self, brane: BraneId) -> Option<ClientId> {
        self.brane(brane).map(Membership::client)
    }

    /// The channel of a joined brane on this connection.
    pub fn channel(&self, brane: BraneId) -> Option<Channel> {
        self.brane(brane)?.channel()
    }

    /// Own edits of a brane that are neither durable nor refused, oldest first.
    pub fn edits(&self, brane: BraneId) -> impl Iterator<Item = KeptEdit<'_>> {
        self.brane(brane).into_iter().flat_map(|m| m.edits().iter())
    }

    fn brane(&self, brane: BraneId) -> Option<&Membership> {
        self.branes.iter().find(|m| m.brane == brane)
    }

    fn on_connected(&mut self, now_ms: u64, is_secure: bool, out: &mut Vec<Output>) {
        self.is_secure = is_secure;
        self.link = Link::Greeting { since_ms: now_ms };
        self.heard_ms = now_ms;
        out.push(Output::Send(ClientMessage::Hello(Hello {
            min_version: MIN_VERSION,
            max_version: VERSION,
            token: Some(self.token.clone()),
            agent: self.options.agent.clone(),
        })));
    }

    fn on_disconnected(&mut self, out: &mut Vec<Output>) {
        self.link = Link::Down;
        for membership in &mut self.branes {
            membership.disconnected(out);
        }
        self.lose_sight();
    }

    fn on_message(&mut self, now_ms: u64, message: ServerMessage, out: &mut Vec<Output>) {
        self.heard_ms = now_ms;
        match message {
            ServerMessage::Welcome(welcome) => self.on_welcome(welcome, out),
            ServerMessage::Refreshed { .. } | ServerMessage::Pong { .. } => {}
            ServerMessage::Expiring { expires } => {
                out.push(Output::Notify(Notify::Expiring { expires }));
            }
            ServerMessage::Joined(joined) => {
                if let Some(m) = self.branes.iter_mut().find(|m| m.brane == joined.brane) {
                    m.joined(now_ms, &joined, out);
                }
                self.look_around(joined.brane, out);
            }
            ServerMessage::Left { channel, code, address } => {
                let brane = self.on_left(now_ms, channel, code, out);
                self.lose_sight();
                self.go_where(brane, Moved::new(code, address, None), out);
            }
            ServerMessage::Snapshot(part) => {
                self.on_channel(now_ms, part.channel, out, |m, out| m.snapshot(now_ms, part, out));
            }
            ServerMessage::Flush(flush) => {
                self.on_channel(now_ms, flush.channel, out, |m, out| m.flush(now_ms, flush, out));
            }
            ServerMessage::AreaFlush(flush) => {
                self.on_channel(now_ms, flush.channel, out, |m, out| {
                    m.area_flush(now_ms, flush, out);
                });
            }
            ServerMessage::View(view) => {
                self.on_channel(now_ms, view.part.channel, out, |m, out| m.view(now_ms, view, out));
            }
            ServerMessage::VersionComplete { channel, version } => {
                self.on_channel(now_ms, channel, out, |m, out| {
                    m.version_complete(now_ms, version, out);
                });
            }
            ServerMessage::Rewind { channel, to } => {
                self.on_channel(now_ms, channel, out, |m, out| m.rewind(to, out));
            }
            ServerMessage::Rights(own) => {
                self.on_channel(now_ms, own.channel, out, |m, out| {
                    out.push(Output::Notify(Notify::Rights { brane: m.brane, own }));
                });
            }
            ServerMessage::Changed(changed) => {
                self.on_channel(now_ms, changed.channel, out, |m, out| {
                    out.push(Output::Notify(Notify::Changed { brane: m.brane, changed }));
                });
            }
            ServerMessage::Level { channel, level, reason } => {
                self.on_channel(now_ms, channel, out, |m, out| {
                    let brane = m.brane;
                    out.push(Output::Notify(Notify::Level { brane, level, reason }));
                });
            }
            ServerMessage::Applied { channel, edits } => {
                self.on_channel(now_ms, channel, out, |m, out| m.applied(&edits, out));
            }
            ServerMessage::Refused { channel, edits } => {
                self.on_refused(now_ms, channel, &edits, out);
            }
            ServerMessage::Durable { channel, durable } => {
                self.on_channel(now_ms, channel, out, |m, out| m.durable(durable.seq, out));
            }
            ServerMessage::Hash { channel, at, hash } => {
                self.on_channel(now_ms, channel, out, |m, out| m.hash(at, hash, out));
            }
            ServerMessage::People(news) => self.on_people(news, out),
            ServerMessage::Error(error) => self.on_error(now_ms, error, out),
        }
    }

    fn on_welcome(&mut self, welcome: Welcome, out: &mut Vec<Output>) {
        if !(MIN_VERSION..=VERSION).contains(&welcome.version) {
            return self.close(CloseReason::Version, out);
        }
        let Welcome { user, expires, .. } = welcome;
        self.user = user;
        self.link = Link::Up(welcome);
        out.push(Output::Notify(Notify::Ready { user, expires }));
    }

    fn on_error(&mut self, now_ms: u64, error: ErrorMessage, out: &mut Vec<Output>) {
        let pause_ms = error.retry_after_ms.unwrap_or(self.options.join_retry_ms);
        let retry_at_ms = now_ms.saturating_add(pause_ms);
        if error.operation.as_deref() == Some("people.list") {
            self.page_refused(&error, retry_at_ms);
        }
        if (error.operation.as_deref(), error.code) == (Some("brane.view"), Code::RateLimited) {
            let looked = self
                .branes
                .iter_mut()
                .find(|m| m.channel().is_some() && m.channel() == error.channel);
            looked.into_iter().for_each(|m| m.look_refused(retry_at_ms));
        }
        let about_join = error.operation.as_deref() == Some("brane.join");
        if about_join && error.code == Code::AlreadyJoined {
            // By a join before this one, whose answer is on its way or was here.
            self.branes.iter_mut().for_each(Membership::may_be_joined);
        }
        // Joins go one by one, so the answer is to the one under way.
        let joining = self.branes.iter_mut().find(|m| about_join && m.is_joining());
        let brane = joining.as_ref().map(|m| m.brane);
        if let Some(membership) = joining {
            let code = error.code;
            membership.join_failed(code, retry_at_ms, &mut self.draw, out);
        } else if let (Code::NotJoined, Some(channel)) = (error.code, error.channel) {
            let code = Some(error.code);
            self.on_channel(now_ms, channel, out, |m, out| m.left(code, retry_at_ms, out));
        }
        let moved = Moved::of_error(&error).filter(|_| about_join);
        out.push(Output::Notify(Notify::ServerError(error)));
        self.go_where(brane, moved, out);
    }

    fn on_left(
        &mut self,
        now_ms: u64,
        channel: Channel,
        code: Option<Code>,
        out: &mut Vec<Output>,
    ) -> Option<BraneId> {
        let retry_at_ms = now_ms + self.options.join_retry_ms;
        if let Some(membership) = self.branes.iter_mut().find(|m| m.has_channel(channel)) {
            membership.left(code, retry_at_ms, out);
            return Some(membership.brane);
        }
        let joining = self.branes.iter_mut().find(|m| m.is_joining())?;
        // A brane that ended before it answered: its channel is not known here.
        let code = code.unwrap_or(Code::Unavailable);
        joining.join_failed(code, retry_at_ms, &mut self.draw, out);
        Some(joining.brane)
    }

    fn on_refused(
        &mut self,
        now_ms: u64,
        channel: Channel,
        edits: &[RefusedEdit],
        out: &mut Vec<Output>,
    ) {
        let mut problem = None;
        self.on_channel(now_ms, channel, out, |m, out| problem = m.refused(edits, out));
        if problem == Some(Code::ClientUnknown) {
            let client = (self.draw)();
            self.on_channel(now_ms, channel, out, |m, out| m.forgotten(now_ms, client, out));
        } else if problem.is_some() {
            let retry_at_ms = now_ms + self.options.join_retry_ms;
            self.on_channel(now_ms, channel, out, |m, out| m.left(problem, retry_at_ms, out));
        }
    }

    fn on_channel(
        &mut self,
        now_ms: u64,
        channel: Channel,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Membership, &mut Vec<Output>),
    ) {
        self.heard_ms = now_ms;
        if let Some(membership) = self.branes.iter_mut().find(|m| m.has_channel(channel)) {
            act(membership, out);
        }
    }

    fn on_tick(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let timeout_ms = self.options.answer_timeout_ms;
        let overdue = |since_ms: u64| now_ms >= since_ms + timeout_ms;
        match &self.link {
            Link::Down | Link::Closing => {}
            Link::Greeting { since_ms } => {
                if overdue(*since_ms) {
                    self.close(CloseReason::AnswerTimeout, out);
                }
            }
            Link::Up(welcome) => {
                let heartbeat_ms = u64::from(welcome.heartbeat_ms);
                if self.branes.iter().filter_map(Membership::asked_ms).any(overdue) {
                    self.close(CloseReason::AnswerTimeout, out);
                } else if now_ms >= self.heard_ms + 3 * heartbeat_ms {
                    self.close(CloseReason::Silence, out);
                } else if now_ms >= self.sent_ms + heartbeat_ms {
                    out.push(Output::Send(ClientMessage::Ping { nonce: now_ms }));
                }
                self.ask_again(now_ms, out);
            }
        }
    }

    fn close(&mut self, reason: CloseReason, out: &mut Vec<Output>) {
        self.link = Link::Closing;
        out.push(Output::Close(reason));
    }

    /// Joins and sends what has become possible, and notes that something was sent.
    fn go_on(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        if let Link::Up(welcome) = &self.link {
            let most_in_flight = welcome.max_edits_in_flight.max(1);
            let mut limits = SendLimits {
                most_in_flight,
                in_flight: most_in_flight,
                message_bytes: welcome.max_message_bytes,
            };
            let joining = self.branes.iter().any(Membership::is_joining);
            let due = |m: &&mut Membership| m.wants_join_at().is_some_and(|at| now_ms >= at);
            if !joining && let Some(next) = self.branes.iter_mut().find(due) {
                next.join(now_ms, limits.message_bytes, out);
            }
            // The bound is the connection's: branes share it.
            let under_way: u32 = self.branes.iter().map(|m| m.edits().in_flight()).sum();
            limits.in_flight = limits.in_flight.saturating_sub(under_way);
            for membership in &mut self.branes {
                membership.tell_area(now_ms, self.options.look_interval_ms, out);
                let sent = membership.pump(now_ms, limits, out);
                limits.in_flight = limits.in_flight.saturating_sub(sent);
            }
        }
        if out.iter().any(|output| matches!(output, Output::Send(_))) {
            self.sent_ms = now_ms;
        }
    }
}

impl std::fmt::Debug for ClientMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientMachine")
            .field("link", &self.link)
            .field("branes", &self.branes)
            .finish_non_exhaustive()
    }
}
