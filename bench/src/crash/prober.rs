//! A client apart from the others: sockets and messages by hand, so that what
//! is proved does not rest on the client that everybody uses. After each
//! restart it joins under its old client id and sends its last edits again:
//! those that it was told to be durable have to be answered with the place
//! that they had.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use avvy_model::{BraneId, ClientId, Counter, Epoch, NumberedEdit, Position, Seq};
use avvy_protocol::codec::{decode_server, encode_client};
use avvy_protocol::{
    Channel, ClientMessage, Hello, Join, MIN_VERSION, ServerMessage, Update, VERSION,
};

use super::content::{self, Content, Script};
use super::writers::Shared;
use crate::draw::Draw;
use crate::load::websocket::{self, Message};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Edits that are sent again, settled ones included: fewer than the outcomes
/// that a server remembers of a client.
const AGAIN: usize = 250;

/// One edit of the prober.
struct Probe {
    content: Content,
    /// Where the server last said it is.
    at: Option<Position>,
    /// Whether it was told to be durable there.
    durable: bool,
    /// Whether it was handed to the oracle.
    settled: bool,
}

/// See the module.
pub(super) struct Prober {
    server: SocketAddr,
    token: String,
    brane: BraneId,
    client: ClientId,
    script: Script,
    probes: Vec<Probe>,
    connection: Option<Connection>,
    oracle: Shared,
    /// Outcomes that were asked for again and were the same.
    pub(super) confirmed: u64,
}

struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
    channel: Channel,
    epoch: Epoch,
    durable: Seq,
}

impl Prober {
    pub(super) fn new(
        server: SocketAddr,
        token: String,
        brane: BraneId,
        draw: &mut Draw,
        oracle: &Shared,
    ) -> Self {
        Self {
            server,
            token,
            brane,
            client: ClientId::new(draw.uuid()),
            script: Script::new(Draw::new(draw.number())),
            probes: Vec::new(),
            connection: None,
            oracle: oracle.clone(),
            confirmed: 0,
        }
    }

    /// Joins, sends the last edits again, checks the answers, and waits until
    /// all of them are durable. The connection stays for the next burst.
    pub(super) fn settle(&mut self) -> Result<()> {
        let mut connection = self.connect()?;
        let first = self.probes.len().saturating_sub(AGAIN);
        let promised: Vec<_> = self.probes.iter().map(|p| p.at.filter(|_| p.durable)).collect();
        let again: Vec<_> = (first..self.probes.len()).collect();
        again.iter().for_each(|&index| self.probes[index].at = None);
        self.send(&mut connection, &again)?;
        let deadline = Instant::now() + PATIENCE;
        while self.probes.iter().any(|probe| probe.at.is_none_or(|at| at.seq > connection.durable))
        {
            ensure!(Instant::now() < deadline, "edits sent again are not answered in time");
            let message = connection.message()?.context("the server cut the connection")?;
            self.take(&mut connection, message)?;
        }
        for (probe, promised) in self.probes.iter_mut().zip(promised).skip(first) {
            let at = probe.at.context("answered above")?;
            if let Some(promised) = promised {
                ensure!(
                    at.seq == promised.seq,
                    "an edit was durable at {promised}, and is now said to be at {at}"
                );
                self.confirmed += 1;
            }
            probe.durable = true;
            if !std::mem::replace(&mut probe.settled, true) {
                let mut oracle = self.oracle.lock();
                let key = oracle.submit(probe.content.clone());
                oracle.durable(key, at);
            }
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Sends so many new edits at once and listens until the server is gone.
    pub(super) fn burst(&mut self, count: usize) -> Result<()> {
        let mut connection = self.connection.take().context("settled before")?;
        let first = self.probes.len();
        for _ in 0..count {
            let content = self.script.next();
            self.probes.push(Probe { content, at: None, durable: false, settled: false });
        }
        let fresh: Vec<_> = (first..self.probes.len()).collect();
        if self.send(&mut connection, &fresh).is_err() {
            // Killed already.
            return Ok(());
        }
        while let Ok(Some(message)) = connection.message() {
            self.take(&mut connection, message)?;
        }
        Ok(())
    }

    fn send(&self, connection: &mut Connection, indices: &[usize]) -> Result<()> {
        for some in indices.chunks(20) {
            let numbered = some.iter().map(|&index| {
                let edit = content::edit(&self.probes[index].content)?;
                Ok(NumberedEdit { counter: Counter(index as u64 + 1), edit })
            });
            let edits = numbered.collect::<Result<_>>()?;
            let update = Update { channel: connection.channel, trace: None, edits };
            connection.say(&ClientMessage::Update(update))?;
        }
        Ok(())
    }

    fn take(&mut self, connection: &mut Connection, message: ServerMessage) -> Result<()> {
        match message {
            ServerMessage::Applied { edits, .. } => {
                for (counter, seq) in edits {
                    let probe = self.probes.get_mut(counter.0 as usize - 1);
                    let probe = probe.context("an outcome of an edit that was not sent")?;
                    probe.at = Some(Position { epoch: connection.epoch, seq });
                }
            }
            ServerMessage::Refused { edits, .. } => bail!("refused: {edits:?}"),
            ServerMessage::Flush(flush) => {
                connection.durable = connection.durable.max(flush.durable)
            }
            ServerMessage::Durable { durable, .. } => {
                connection.durable = connection.durable.max(durable.seq);
            }
            ServerMessage::Error(error) => bail!("the server said {error:?}"),
            ServerMessage::Left { code, .. } => bail!("the server closed the channel: {code:?}"),
            _ => {}
        }
        let durable = connection.durable;
        self.oracle.lock().told(durable);
        for probe in self.probes.iter_mut().rev().take(AGAIN) {
            probe.durable |= probe.at.is_some_and(|at| at.seq <= durable);
        }
        Ok(())
    }

    fn connect(&self) -> Result<Connection> {
        let mut stream = TcpStream::connect_timeout(&self.server, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = websocket::request(&self.server.to_string(), &self.token);
        stream.write_all(request.as_bytes())?;
        let (channel, epoch, durable) = (Channel(0), Epoch(0), Seq(0));
        let mut connection = Connection { stream, bytes: Vec::new(), channel, epoch, durable };
        loop {
            if let Some(end) = websocket::response(&connection.bytes)? {
                connection.bytes.drain(..end);
                break;
            }
            ensure!(connection.read()?, "the server cut the upgrade");
        }
        connection.say(&ClientMessage::Hello(Hello {
            min_version: MIN_VERSION,
            max_version: VERSION,
            token: None,
            agent: None,
        }))?;
        connection.say(&ClientMessage::Join(Join {
            brane: self.brane,
            client: self.client,
            known: self.probes.iter().any(|probe| probe.durable),
            resume: None,
            area: None,
        }))?;
        loop {
            match connection.message()?.context("the server cut the join")? {
                ServerMessage::Joined(joined) => {
                    connection.channel = joined.channel;
                    connection.epoch = joined.head.epoch;
                    connection.durable = joined.durable;
                    return Ok(connection);
                }
                ServerMessage::Error(error) => bail!("the server said {error:?}"),
                _ => {}
            }
        }
    }
}

impl Connection {
    fn say(&mut self, message: &ClientMessage) -> Result<()> {
        let mut frame = Vec::new();
        websocket::write_binary(&encode_client(message), &mut frame);
        Ok(self.stream.write_all(&frame)?)
    }

    /// The next message; `None` when the connection has ended.
    fn message(&mut self) -> Result<Option<ServerMessage>> {
        loop {
            if let Some((message, end)) = websocket::frame(&self.bytes)? {
                let decoded = match message {
                    Message::Binary(payload) => Some(decode_server(payload)?),
                    Message::Close(code) => bail!("the server closed with {code}"),
                    Message::Ping(_) | Message::Pong => None,
                };
                self.bytes.drain(..end);
                if decoded.is_some() {
                    return Ok(decoded);
                }
                continue;
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Reads some bytes; false at the end.
    fn read(&mut self) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.bytes.extend_from_slice(&buffer[..count]);
                    return Ok(count > 0);
                }
                // This process was stopped and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
