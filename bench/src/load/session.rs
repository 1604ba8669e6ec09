//! One WebSocket session of the load.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, bail, ensure};
use avvy_model::{Area, BraneId, ClientId, Code, Counter, Epoch, Handle, ObjectId, Position, Seq};
use avvy_protocol::codec::{decode_server, encode_client};
use avvy_protocol::{
    CatchUp, Channel, ClientMessage, ErrorMessage, Hello, Join, MIN_VERSION, Resume, ServerMessage,
    SnapshotPart, VERSION,
};

use super::stamp::WALK_US;
use super::tally::Tally;
use super::websocket::{self, Message};
use super::windows::{Window, Windows};

/// How far a session has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The upgrade was asked for.
    Upgrading,
    /// Hello or join was said.
    Joining,
    /// The join is to be said again at this time.
    ToJoin { at_us: u64 },
    /// The brane is at another node: to be connected to from this time on.
    Moved { to: SocketAddr, at_us: u64 },
    /// Snapshot parts are coming.
    Loading,
    /// Windows up to this edit are coming.
    Replaying(Seq),
    /// The copy follows the log.
    Live,
    /// It is over.
    Ended,
}

/// What all sessions of a crowd share.
pub struct Shared {
    /// The brane that they join.
    pub brane: BraneId,
    /// Windows that were read before.
    pub windows: Windows,
    /// What was seen.
    pub tally: Tally,
    /// Sessions that are [`Phase::Moved`].
    pub moving: usize,
    /// Where bytes are read to.
    buffer: Vec<u8>,
}

impl Shared {
    /// Nothing seen yet.
    pub fn new(brane: BraneId) -> Self {
        let (windows, tally) = (Windows::default(), Tally::default());
        Self { brane, windows, tally, moving: 0, buffer: vec![0; 256 * 1024] }
    }
}

/// See the module.
pub struct Session {
    /// Its connection.
    pub stream: TcpStream,
    /// How far it has come.
    pub phase: Phase,
    /// Where its copy stands.
    pub at: Position,
    /// What it was last told to be durable.
    pub durable: Seq,
    /// The object that it moves.
    pub object: Option<Handle>,
    /// The id of that object.
    pub object_id: ObjectId,
    /// The last number that it gave to an edit.
    pub counter: Counter,
    /// When it last said something.
    pub spoke_us: u64,
    /// The channel of the brane.
    pub channel: Channel,
    /// Its number and what it wants to see, if that is a part of the brane.
    pub walker: Option<(u32, Area)>,
    /// Where it goes if nobody is where it was sent, and from when on.
    pub(super) back: (SocketAddr, u64),
    pub(super) token: Box<str>,
    /// Nodes that it was sent to without getting in.
    pub(super) hops: u32,
    client: ClientId,
    /// The epoch of the last join; 0: it was never in.
    epoch: Epoch,
    /// When it began to come back, if it has been here before.
    returned_us: Option<u64>,
    /// Edits without an outcome, with when they were sent.
    waiting: VecDeque<(Counter, u64)>,
    /// Edits applied and not yet durable, with when they were sent.
    applied: VecDeque<(Seq, u64)>,
    /// The beginning of a frame.
    partial: Vec<u8>,
    /// What the kernel did not take.
    unsent: Vec<u8>,
}

impl Session {
    /// Connects and asks for the upgrade.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(
        server: SocketAddr,
        token: &str,
        client: ClientId,
        object_id: ObjectId,
    ) -> Result<Self> {
        Ok(Self {
            stream: connect(server, token)?,
            phase: Phase::Upgrading,
            at: Position::default(),
            durable: Seq(0),
            object: None,
            object_id,
            counter: Counter(0),
            spoke_us: 0,
            channel: Channel(0),
            walker: None,
            back: (server, 0),
            token: token.into(),
            hops: 0,
            client,
            epoch: Epoch(0),
            returned_us: None,
            waiting: VecDeque::new(),
            applied: VecDeque::new(),
            partial: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// Connects again, to go on where its copy stands. Edits that are not
    /// durable are given up.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn come_back(&mut self, server: SocketAddr, token: &str, now_us: u64) -> Result<()> {
        self.back = (server, 0);
        self.token = token.into();
        self.returned_us = Some(now_us);
        self.connect_to(server)
    }

    /// The same at another node.
    ///
    /// # Errors
    /// When nobody listens.
    pub(super) fn connect_to(&mut self, server: SocketAddr) -> Result<()> {
        self.stream = connect(server, &self.token)?;
        self.phase = Phase::Upgrading;
        self.waiting.clear();
        self.applied.clear();
        self.partial.clear();
        self.unsent.clear();
        Ok(())
    }

    /// Says the join, again if it was told to come later.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn say_join(&mut self, brane: BraneId) -> Result<()> {
        self.phase = Phase::Joining;
        let touched = self.object.map(|handle| vec![handle]);
        let touched = Some(touched.unwrap_or_default());
        let resume = Resume { version: self.at, touched, scope: None };
        let resume = (self.epoch != Epoch(0)).then_some(resume);
        let (client, area) = (self.client, self.walker.map(|(_, area)| area));
        let join = Join { brane, client, known: false, resume, area };
        self.send(&encode_client(&ClientMessage::Join(join)))
    }

    fn become_live(&mut self, now_us: u64, tally: &mut Tally) {
        self.phase = Phase::Live;
        self.hops = 0;
        if let Some(returned_us) = self.returned_us.take() {
            tally.to_live.record((now_us - returned_us) as u32);
        }
    }

    /// Edits that are not yet durable and not refused.
    pub fn outstanding(&self) -> usize {
        self.waiting.len() + self.applied.len()
    }

    /// Whether the kernel did not take all that was said.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends an edit that was encoded under the next counter.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_edit(&mut self, update: &[u8], now_us: u64) -> Result<()> {
        self.counter = self.counter.next();
        self.waiting.push_back((self.counter, now_us));
        self.spoke_us = now_us;
        self.send(update)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        websocket::write_binary(message, &mut self.unsent);
        self.push()
    }

    /// Sends what is unsent, as far as the kernel takes it.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn push(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what is there, once. `now` is asked for the time after reading.
    ///
    /// # Errors
    /// When the connection is gone or the server says what it should not.
    pub fn read(&mut self, now: impl Fn() -> u64, shared: &mut Shared) -> Result<()> {
        let mut buffer = std::mem::take(&mut shared.buffer);
        let outcome = match self.stream.read(&mut buffer) {
            Ok(0) => Err(anyhow::anyhow!("the server cut the connection")),
            Ok(n) => {
                shared.tally.bytes += n as u64;
                self.take(&buffer[..n], now(), shared)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        };
        shared.buffer = buffer;
        outcome
    }

    fn take(&mut self, bytes: &[u8], now_us: u64, shared: &mut Shared) -> Result<()> {
        if self.partial.is_empty() {
            let done = self.frames(bytes, now_us, shared)?;
            self.partial.extend_from_slice(&bytes[done..]);
            return Ok(());
        }
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let done = self.frames(&partial, now_us, shared)?;
        partial.drain(..done);
        self.partial = partial;
        Ok(())
    }

    /// Handles the whole frames at the front; gives their length.
    fn frames(&mut self, bytes: &[u8], now_us: u64, shared: &mut Shared) -> Result<usize> {
        let mut done = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = websocket::response(bytes)? else { return Ok(0) };
            done = end;
            self.phase = Phase::Joining;
            self.say_hello(now_us)?;
        }
        while let Some((message, len)) = websocket::frame(&bytes[done..])? {
            done += len;
            match message {
                Message::Binary(payload) => {
                    self.message(payload, now_us, shared)?;
                    if matches!(self.phase, Phase::Moved { .. }) {
                        // What still comes here is of no interest.
                        return Ok(bytes.len());
                    }
                }
                Message::Ping(payload) => {
                    websocket::write_pong(payload, &mut self.unsent);
                    self.push()?;
                }
                Message::Pong => {}
                Message::Close(code) => {
                    self.phase = Phase::Ended;
                    shared.tally.ended.push(code);
                    bail!("the server closed with {code}");
                }
            }
        }
        Ok(done)
    }

    fn say_hello(&mut self, now_us: u64) -> Result<()> {
        let hello = Hello {
            min_version: MIN_VERSION,
            max_version: VERSION,
            token: None,
            agent: Some("avvy-bench".to_owned()),
        };
        self.spoke_us = now_us;
        self.send(&encode_client(&ClientMessage::Hello(hello)))
    }

    fn message(&mut self, payload: &[u8], now_us: u64, shared: &mut Shared) -> Result<()> {
        let Shared { windows, tally, .. } = shared;
        match windows.read(payload)? {
            Some(window) => self.on_window(window, now_us, tally),
            None => self.on_message(decode_server(payload)?, now_us, shared),
        }
    }

    #[inline]
    fn on_window(&mut self, window: &Window, now_us: u64, tally: &mut Tally) -> Result<()> {
        let follows = matches!(self.phase, Phase::Live | Phase::Replaying(_));
        ensure!(follows, "a window for a session that is not live");
        if (self.at.epoch, self.at.seq) != (window.epoch, window.from) {
            let is_announced = [self.at.epoch, self.epoch].contains(&window.epoch);
            ensure!(is_announced, "an epoch that nobody announced");
            tally.missed += window.from.0.saturating_sub(self.at.seq.0);
        }
        self.at = Position { epoch: window.epoch, seq: window.to };
        if let Phase::Replaying(head) = self.phase
            && window.to >= head
        {
            self.become_live(now_us, tally);
        }
        tally.windows += 1;
        tally.deliveries += window.sent_us.len() as u64;
        let now = now_us as u32;
        if window.is_area {
            let age = |sent: u32| now.wrapping_sub(sent) & WALK_US;
            window.sent_us.iter().for_each(|&sent| tally.latency.record(age(sent)));
            let own = |sender: &&u32| self.walker.is_some_and(|(number, _)| number == **sender);
            tally.own_seen += window.senders.iter().filter(own).count() as u64;
        } else {
            window.sent_us.iter().for_each(|&sent| tally.latency.record(now.wrapping_sub(sent)));
        }
        self.on_durable(window.durable, now_us, tally);
        Ok(())
    }

    fn on_durable(&mut self, durable: Seq, now_us: u64, tally: &mut Tally) {
        self.durable = self.durable.max(durable);
        while let Some(&(seq, sent_us)) = self.applied.front()
            && seq <= self.durable
        {
            self.applied.pop_front();
            tally.durable_edits += 1;
            tally.all_durable += 1;
            tally.durable.record((now_us - sent_us) as u32);
        }
    }

    fn on_message(
        &mut self,
        message: ServerMessage,
        now_us: u64,
        shared: &mut Shared,
    ) -> Result<()> {
        let tally = &mut shared.tally;
        match message {
            ServerMessage::Welcome(_) => self.say_join(shared.brane)?,
            ServerMessage::Joined(joined) => {
                ensure!(self.phase == Phase::Joining, "joined twice");
                self.channel = joined.channel;
                self.durable = joined.durable;
                self.epoch = joined.head.epoch;
                match joined.catch_up {
                    CatchUp::Replay if self.at.seq >= joined.head.seq => {
                        self.become_live(now_us, tally);
                    }
                    CatchUp::Replay => self.phase = Phase::Replaying(joined.head.seq),
                    CatchUp::Snapshot | CatchUp::Diff => self.phase = Phase::Loading,
                }
            }
            ServerMessage::Snapshot(part) => self.on_part(&part, now_us, tally),
            ServerMessage::Rewind { to, .. } => {
                tally.resyncs += u64::from(self.returned_us.is_none());
                self.at = to;
                self.phase = Phase::Loading;
            }
            ServerMessage::Rights(_) | ServerMessage::Changed(_) => {}
            ServerMessage::VersionComplete { .. } => tally.replayed += 1,
            ServerMessage::Applied { edits, .. } => {
                for (counter, seq) in edits {
                    self.on_applied(counter, seq, tally)?;
                }
                self.on_durable(self.durable, now_us, tally);
            }
            ServerMessage::Refused { edits, .. } => {
                tally.refused += edits.len() as u64;
                for edit in edits {
                    self.waiting.retain(|&(counter, _)| counter != edit.counter);
                }
            }
            ServerMessage::Durable { durable, .. } => self.on_durable(durable.seq, now_us, tally),
            ServerMessage::Pong { .. }
            | ServerMessage::Level { .. }
            | ServerMessage::Hash { .. }
            | ServerMessage::People(_)
            | ServerMessage::Refreshed { .. } => {}
            ServerMessage::Flush(_) | ServerMessage::AreaFlush(_) => {
                bail!("a flush that was not seen as one")
            }
            ServerMessage::View(view) => {
                tally.steps += 1;
                self.at = view.part.at;
            }
            ServerMessage::Left { code: Some(Code::Moved), address: Some(address), .. } => {
                self.on_moved(&address, None, now_us, shared)?;
            }
            ServerMessage::Error(ErrorMessage {
                code: Code::Moved,
                address: Some(address),
                retry_after_ms,
                ..
            }) => self.on_moved(&address, retry_after_ms, now_us, shared)?,
            ServerMessage::Error(error) if error.operation.as_deref() == Some("brane.join") => {
                let Some(later_ms) = error.retry_after_ms else { bail!("no join: {error:?}") };
                tally.told_later += 1;
                self.phase = Phase::ToJoin { at_us: now_us + later_ms * 1_000 };
            }
            other @ (ServerMessage::Expiring { .. }
            | ServerMessage::Left { .. }
            | ServerMessage::Error(_)) => bail!("the server said {other:?}"),
        }
        Ok(())
    }

    fn on_part(&mut self, part: &SnapshotPart, now_us: u64, tally: &mut Tally) {
        if self.phase == Phase::Live && part.index == 0 {
            tally.resyncs += 1;
            tally.missed += part.at.seq.0.saturating_sub(self.at.seq.0);
        }
        let own = part.objects.iter().find(|object| object.object.id == self.object_id);
        self.object = own.map(|object| object.handle).or(self.object);
        self.at = part.at;
        if part.last {
            self.become_live(now_us, tally);
        } else {
            self.phase = Phase::Loading;
        }
    }

    fn on_applied(&mut self, counter: Counter, seq: Seq, tally: &mut Tally) -> Result<()> {
        let Some((first, sent_us)) = self.waiting.pop_front() else {
            bail!("an outcome of an edit that was not sent")
        };
        ensure!(first == counter, "outcomes out of order: {counter} before {first}");
        tally.applied += 1;
        self.applied.push_back((seq, sent_us));
        Ok(())
    }
}

/// Connects and asks for the upgrade.
fn connect(server: SocketAddr, token: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.write_all(websocket::request(&server.to_string(), token).as_bytes())?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
