//! A machine with its connection: connects, reconnects, and turns what comes
//! over the socket into news. Driven by whoever owns it, in one task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use avvy_model::BraneId;
use avvy_protocol::codec::{DecodeError, decode_server, encode_client};
use tokio::time::{Instant, Sleep};

use super::ClientOptions;
use super::route::Route;
use super::transport::{ConnectError, Ended, Socket};
use crate::backoff::Backoff;
use crate::machine::{ClientMachine, Input, MachineOptions, Notify, Output};

/// Turns the bytes of a message into what the machine is told.
pub(crate) trait Reader: Send {
    /// Reads a message that came at this moment.
    fn read(&mut self, message: &[u8]) -> Result<Input, DecodeError>;
}

/// Reads everything.
pub(crate) struct ReadAll;

impl Reader for ReadAll {
    fn read(&mut self, message: &[u8]) -> Result<Input, DecodeError> {
        decode_server(message).map(Input::Message)
    }
}

/// What a session's owner learns.
#[derive(Debug)]
pub(crate) enum Event {
    /// From the machine.
    Notify(Notify),
    /// The connection is gone or was not made; the next attempt comes by itself.
    Down(Ended),
    /// The connection was ended to go to another node.
    Moving,
    /// This brane is at another node, and others are served here.
    Part { brane: BraneId, address: String, retry_after_ms: Option<u64> },
}

/// Milliseconds since the first call in this process, of a clock that never
/// goes back.
pub(crate) fn now_ms() -> u64 {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let origin = *ORIGIN.get_or_init(Instant::now);
    // Not zero: machines may subtract.
    u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
}

/// The connection.
enum Link {
    /// The next attempt comes when the timer fires.
    Waiting {
        until_ms: u64,
    },
    Connecting(Pin<Box<dyn Future<Output = Result<Socket, ConnectError>> + Send>>),
    Up(Box<Socket>),
    /// The server said not to come back.
    Over,
}

/// The session.
pub(crate) struct Session<R> {
    pub(crate) machine: ClientMachine,
    pub(crate) reader: R,
    route: Route,
    options: ClientOptions,
    link: Link,
    /// Whether the server has welcomed the connection.
    is_welcomed: bool,
    backoff: Backoff,
    timer: Pin<Box<Sleep>>,
    timer_ms: u64,
    outputs: Vec<Output>,
}

impl<R: Reader> Session<R> {
    /// Connects as soon as it is driven.
    pub(crate) fn new(
        machine: ClientMachine,
        reader: R,
        address: String,
        options: ClientOptions,
    ) -> Self {
        let others = options.other_addresses.clone();
        let backoff = Backoff::new(options.reconnect_first_ms, options.reconnect_max_ms);
        Self {
            machine,
            reader,
            route: Route::new(address, others),
            options,
            link: Link::Waiting { until_ms: 0 },
            is_welcomed: false,
            backoff,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_ms: 0,
            outputs: Vec::new(),
        }
    }

    /// Whether no address that is known could be reached.
    pub(crate) fn has_tried_all(&self) -> bool {
        self.route.has_tried_all()
    }

    /// One that has nothing to do yet, and goes to this node first. If nobody
    /// is there it goes to the addresses that are known here, not before then.
    pub(crate) fn beside(
        &self,
        machine: ClientMachine,
        reader: R,
        address: &str,
        back_at_ms: u64,
    ) -> Self {
        let route = self.route.beside(address, back_at_ms);
        Self { route, ..Self::new(machine, reader, String::new(), self.options.clone()) }
    }

    /// The machine's options.
    pub(crate) fn machine_options(&self) -> &MachineOptions {
        &self.options.machine
    }

    /// Where it is connected to, or going to.
    pub(crate) fn address(&self) -> &str {
        self.route.address()
    }

    /// Until when it makes no attempt.
    pub(crate) fn waits_until(&self) -> u64 {
        match self.link {
            Link::Waiting { until_ms } => until_ms,
            Link::Connecting(_) | Link::Up(_) | Link::Over => 0,
        }
    }

    /// Whether there is a connection.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// Lets the machine do something; what it has to say comes with the next
    /// [`Self::turn`].
    pub(crate) fn act<T>(
        &mut self,
        act: impl FnOnce(&mut ClientMachine, u64, &mut Vec<Output>) -> T,
    ) -> T {
        act(&mut self.machine, now_ms(), &mut self.outputs)
    }

    /// Waits until there is news. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the server said not to come back.
    pub(crate) async fn turn(&mut self, events: &mut Vec<Event>) -> Result<(), Ended> {
        poll_fn(|cx| self.poll_turn(cx, events)).await
    }

    /// Closes the connection, if there is one.
    pub(crate) async fn close(&mut self) {
        if let Link::Up(socket) = std::mem::replace(&mut self.link, Link::Over) {
            let limit = Duration::from_millis(self.options.close_timeout_ms);
            // An unanswered farewell is not waited for any longer.
            let _ = tokio::time::timeout(limit, socket.close()).await;
        }
    }

    /// As [`Self::turn`].
    pub(crate) fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<Event>,
    ) -> Poll<Result<(), Ended>> {
        loop {
            let before = events.len();
            match self.perform(events) {
                None => {}
                Some(Way::Down(ended)) => self.down(ended, events)?,
                Some(Way::Elsewhere { address, retry_after_ms }) => {
                    self.go(&address, retry_after_ms, events);
                }
            }
            let progress = match &mut self.link {
                Link::Over => return Poll::Ready(Err(over())),
                Link::Waiting { until_ms } if *until_ms <= now_ms() => {
                    self.connect();
                    true
                }
                Link::Waiting { .. } => false,
                Link::Connecting(attempt) => match attempt.as_mut().poll(cx) {
                    Poll::Pending => false,
                    Poll::Ready(outcome) => {
                        self.connected(outcome, events)?;
                        true
                    }
                },
                Link::Up(socket) => match socket.poll(cx) {
                    Poll::Pending => false,
                    Poll::Ready(Ok(message)) => {
                        self.received(&message, events)?;
                        true
                    }
                    Poll::Ready(Err(ended)) => {
                        self.down(ended, events)?;
                        true
                    }
                },
            };
            if events.len() > before {
                return Poll::Ready(Ok(()));
            }
            if !progress && self.outputs.is_empty() && !self.poll_timer(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Does what the machine asked for. Says how the connection ends, if it
    /// asked for that.
    fn perform(&mut self, events: &mut Vec<Event>) -> Option<Way> {
        let mut ended = None;
        let is_idle = self.machine.is_idle();
        for output in self.outputs.drain(..) {
            match (output, &mut self.link) {
                (Output::Send(message), Link::Up(socket)) => socket.send(encode_client(&message)),
                (Output::Send(_), _) => {}
                (Output::Notify(notify), _) => {
                    let is_live = matches!(notify, Notify::Live { .. });
                    let is_ready = matches!(notify, Notify::Ready { .. });
                    // Who wants a brane has got nowhere with a welcome alone.
                    if is_live || is_idle && is_ready {
                        self.backoff.worked();
                    }
                    if is_ready {
                        self.is_welcomed = true;
                        self.route.reached();
                    }
                    if is_live {
                        self.route.arrived();
                    }
                    events.push(Event::Notify(notify));
                }
                (Output::Part { brane, address, retry_after_ms }, _) => {
                    events.push(Event::Part { brane, address, retry_after_ms });
                }
                (Output::Close(reason), _) => {
                    let ended_by = Ended { code: None, reason: format!("{reason:?}") };
                    ended = Some(Way::Down(ended_by));
                }
                (Output::Go { address, retry_after_ms }, _) => {
                    ended = Some(Way::Elsewhere { address, retry_after_ms });
                }
            }
        }
        ended
    }

    fn connect(&mut self) {
        let address = self.route.address().to_owned();
        let tls = self.options.tls.clone();
        let (limit_ms, max) = (self.options.connect_timeout_ms, self.options.max_message_bytes);
        self.link = Link::Connecting(Box::pin(async move {
            let attempt = Socket::connect(&address, tls, max);
            tokio::time::timeout(Duration::from_millis(limit_ms), attempt)
                .await
                .unwrap_or(Err(ConnectError::Timeout(limit_ms)))
        }));
    }

    fn connected(
        &mut self,
        outcome: Result<Socket, ConnectError>,
        events: &mut Vec<Event>,
    ) -> Result<(), Ended> {
        match outcome {
            Ok(socket) => {
                self.is_welcomed = false;
                self.link = Link::Up(Box::new(socket));
                let is_secure = self.route.address().starts_with("wss://");
                let connected = Input::Connected { is_secure };
                self.machine.handle(now_ms(), connected, &mut self.outputs);
                Ok(())
            }
            Err(error) => {
                let ended = Ended { code: None, reason: error.to_string() };
                let is_wrong = matches!(error, ConnectError::Address(_) | ConnectError::NoTls);
                if is_wrong && !self.route.has_others() {
                    // No further attempt can mend these.
                    self.link = Link::Over;
                    return Err(ended);
                }
                let not_before_ms = self.route.failed();
                self.down(ended, events)?;
                if let Link::Waiting { until_ms } = &mut self.link {
                    *until_ms = (*until_ms).max(not_before_ms);
                }
                Ok(())
            }
        }
    }

    fn received(&mut self, message: &[u8], events: &mut Vec<Event>) -> Result<(), Ended> {
        match self.reader.read(message) {
            Ok(input) => {
                self.machine.handle(now_ms(), input, &mut self.outputs);
                Ok(())
            }
            // A newer server may say more than we understand.
            Err(error) if error.code == avvy_model::Code::UnknownOperation => Ok(()),
            Err(error) => self.down(Ended { code: None, reason: error.to_string() }, events),
        }
    }

    /// The brane is at another node.
    fn go(&mut self, address: &str, retry_after_ms: Option<u64>, events: &mut Vec<Event>) {
        tracing::debug!(address, "going to another node");
        if let Link::Up(socket) = std::mem::replace(&mut self.link, Link::Over) {
            let limit = Duration::from_millis(self.options.close_timeout_ms);
            // An unanswered farewell is not waited for.
            tokio::spawn(tokio::time::timeout(limit, socket.close()));
        }
        self.machine.handle(now_ms(), Input::Disconnected, &mut self.outputs);
        let back_at_ms = retry_after_ms.map_or(0, |after_ms| now_ms().saturating_add(after_ms));
        let is_lost = self.route.go(address, back_at_ms);
        // Nodes that send one to each other will agree in a moment.
        let pause_ms = is_lost.then(|| self.backoff.pause_ms(None, rand::random())).flatten();
        let until_ms = pause_ms.map_or(0, |pause_ms| now_ms() + pause_ms);
        self.link = Link::Waiting { until_ms };
        events.push(Event::Moving);
    }

    /// The connection is gone.
    fn down(&mut self, ended: Ended, events: &mut Vec<Event>) -> Result<(), Ended> {
        tracing::debug!(%ended, "connection ended");
        self.machine.handle(now_ms(), Input::Disconnected, &mut self.outputs);
        // Whoever takes a connection and welcomes nobody is as good as not there.
        let is_in_vain = matches!(self.link, Link::Up(_)) && !self.is_welcomed;
        let not_before_ms = if is_in_vain { self.route.failed() } else { 0 };
        match self.backoff.pause_ms(ended.code, rand::random()) {
            Some(pause_ms) => {
                let until_ms = (now_ms() + pause_ms).max(not_before_ms);
                self.link = Link::Waiting { until_ms };
                events.push(Event::Down(ended));
                Ok(())
            }
            None => {
                self.link = Link::Over;
                Err(ended)
            }
        }
    }

    /// Whether the timer has fired; tells the machine if so.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let due_ms = match &self.link {
            Link::Waiting { until_ms } => Some(*until_ms),
            Link::Up(_) => self.machine.wakes_at(),
            Link::Connecting(_) | Link::Over => None,
        };
        let Some(due_ms) = due_ms else { return false };
        let now = now_ms();
        if due_ms != self.timer_ms {
            self.timer_ms = due_ms;
            let pause = Duration::from_millis(due_ms.saturating_sub(now));
            self.timer.as_mut().reset(Instant::now() + pause);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.timer_ms = 0;
        self.machine.handle(now, Input::Tick, &mut self.outputs);
        true
    }
}

/// How a connection ends.
enum Way {
    Down(Ended),
    Elsewhere { address: String, retry_after_ms: Option<u64> },
}

fn over() -> Ended {
    Ended { code: None, reason: "over".to_owned() }
}
