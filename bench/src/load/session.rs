//! One WebSocket session of the load.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, bail, ensure};
use avvy_model::{Area, BraneId, ClientId, Counter, Handle, ObjectId, Position, Seq};
use avvy_protocol::codec::{decode_server, encode_client};
use avvy_protocol::{
    Channel, ClientMessage, Hello, Join, MIN_VERSION, ServerMessage, SnapshotPart, VERSION,
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
    /// Snapshot parts are coming.
    Loading,
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
    /// Where bytes are read to.
    buffer: Vec<u8>,
}

impl Shared {
    /// Nothing seen yet.
    pub fn new(brane: BraneId) -> Self {
        let (windows, tally) = (Windows::default(), Tally::default());
        Self { brane, windows, tally, buffer: vec![0; 256 * 1024] }
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
    client: ClientId,
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
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.write_all(websocket::request(&server.to_string(), token).as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            phase: Phase::Upgrading,
            at: Position::default(),
            durable: Seq(0),
            object: None,
            object_id,
            counter: Counter(0),
            spoke_us: 0,
            channel: Channel(0),
            walker: None,
            client,
            waiting: VecDeque::new(),
            applied: VecDeque::new(),
            partial: Vec::new(),
            unsent: Vec::new(),
        })
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
                Message::Binary(payload) => self.message(payload, now_us, shared)?,
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
        ensure!(self.phase == Phase::Live, "a window for a session that is not live");
        if (self.at.epoch, self.at.seq) != (window.epoch, window.from) {
            ensure!(window.epoch == self.at.epoch, "an epoch that nobody announced");
            tally.missed += window.from.0.saturating_sub(self.at.seq.0);
        }
        self.at.seq = window.to;
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
            ServerMessage::Welcome(_) => {
                let (brane, client) = (shared.brane, self.client);
                let area = self.walker.map(|(_, area)| area);
                let join = Join { brane, client, known: false, resume: None, area };
                self.send(&encode_client(&ClientMessage::Join(join)))?;
            }
            ServerMessage::Joined(joined) => {
                ensure!(self.phase == Phase::Joining, "joined twice");
                self.channel = joined.channel;
                self.durable = joined.durable;
                self.phase = Phase::Loading;
            }
            ServerMessage::Snapshot(part) => self.on_part(&part, tally),
            ServerMessage::Rewind { to, .. } => {
                tally.resyncs += 1;
                self.at = to;
                self.phase = Phase::Loading;
            }
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
            other @ (ServerMessage::Expiring { .. }
            | ServerMessage::Left { .. }
            | ServerMessage::Error(_)) => bail!("the server said {other:?}"),
        }
        Ok(())
    }

    fn on_part(&mut self, part: &SnapshotPart, tally: &mut Tally) {
        if self.phase == Phase::Live && part.index == 0 {
            tally.resyncs += 1;
            tally.missed += part.at.seq.0.saturating_sub(self.at.seq.0);
        }
        let own = part.objects.iter().find(|object| object.object.id == self.object_id);
        self.object = own.map(|object| object.handle).or(self.object);
        self.at = part.at;
        self.phase = if part.last { Phase::Live } else { Phase::Loading };
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
