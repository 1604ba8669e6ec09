//! One session that waits for what it asked for, and says when it came.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use avvy_model::{Area, BraneId, ClientId, StateHash};
use avvy_protocol::codec::{decode_server, encode_client};
use avvy_protocol::{
    Channel, ClientMessage, Hello, Join, MIN_VERSION, ServerMessage, SnapshotPart, VERSION,
};

use super::websocket::{self, Message};

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// See the module.
pub struct Visitor {
    stream: TcpStream,
    received: Vec<u8>,
    /// Bytes at the front of `received` that were taken.
    taken: usize,
    asked: Instant,
    channel: Channel,
}

impl Visitor {
    /// Connects and says hello; returns when it is welcomed.
    ///
    /// # Errors
    /// When it is not.
    pub fn connect(server: SocketAddr, token: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(websocket::request(&server.to_string(), token).as_bytes())?;
        let asked = Instant::now();
        let mut visitor =
            Self { stream, received: Vec::new(), taken: 0, asked, channel: Channel(0) };
        loop {
            if let Some(end) = websocket::response(&visitor.received)? {
                visitor.taken = end;
                break;
            }
            visitor.fill()?;
        }
        let (min_version, max_version) = (MIN_VERSION, VERSION);
        let hello = Hello { min_version, max_version, token: None, agent: None };
        visitor.say(&ClientMessage::Hello(hello))?;
        visitor.wait_for(|message| matches!(message, ServerMessage::Welcome(_)).then_some(()))?;
        Ok(visitor)
    }

    /// Asks to join; returns how long it took until it was answered that the
    /// brane is joined.
    ///
    /// # Errors
    /// When it is not.
    pub fn join(
        &mut self,
        brane: BraneId,
        client: ClientId,
        area: Option<Area>,
    ) -> Result<Duration> {
        let join = Join { brane, client, known: false, resume: None, area };
        self.asked = Instant::now();
        self.say(&ClientMessage::Join(join))?;
        self.channel = self.wait_for(|message| match message {
            ServerMessage::Joined(joined) => Some(joined.channel),
            _ => None,
        })?;
        Ok(self.asked.elapsed())
    }

    /// Waits for the next part of the snapshot; how long after the join was
    /// asked for it came.
    ///
    /// # Errors
    /// When it does not come.
    pub fn part(&mut self) -> Result<(SnapshotPart, Duration)> {
        let part = self.wait_for(|message| match message {
            ServerMessage::Snapshot(part) => Some(part),
            _ => None,
        })?;
        Ok((part, self.asked.elapsed()))
    }

    /// Asks for the state hash.
    ///
    /// # Errors
    /// When it does not come.
    pub fn hash(&mut self) -> Result<StateHash> {
        self.say(&ClientMessage::Hash { channel: self.channel })?;
        self.wait_for(|message| match message {
            ServerMessage::Hash { hash, .. } => Some(StateHash::from_bytes(hash)),
            _ => None,
        })
    }

    fn say(&mut self, message: &ClientMessage) -> Result<()> {
        let mut frame = Vec::new();
        websocket::write_binary(&encode_client(message), &mut frame);
        Ok(self.stream.write_all(&frame)?)
    }

    fn wait_for<T>(&mut self, wanted: impl Fn(ServerMessage) -> Option<T>) -> Result<T> {
        loop {
            while let Some((message, len)) = websocket::frame(&self.received[self.taken..])? {
                let found = match message {
                    Message::Binary(payload) => match decode_server(payload)? {
                        ServerMessage::Error(error) => bail!("the server said {error:?}"),
                        message => wanted(message),
                    },
                    Message::Close(code) => bail!("the server closed with {code}"),
                    Message::Ping(_) | Message::Pong => None,
                };
                self.taken += len;
                if let Some(found) = found {
                    return Ok(found);
                }
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        self.received.drain(..self.taken);
        self.taken = 0;
        let start = self.received.len();
        self.received.resize(start + 256 * 1024, 0);
        let read = self.stream.read(&mut self.received[start..]);
        self.received.truncate(start + *read.as_ref().unwrap_or(&0));
        ensure!(read.context("reading from the server")? > 0, "the server cut the connection");
        Ok(())
    }
}
