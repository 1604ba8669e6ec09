//! The same request again and again on connections that stay: as many at a
//! time as there are connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::poller::Poller;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What every answer begins with.
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// See the module.
pub struct Reads {
    poller: Poller,
    connections: Vec<Connection>,
    request: Vec<u8>,
    /// Of an answer: they are all alike.
    length: usize,
    buffer: Vec<u8>,
    ready: Vec<usize>,
    /// Answers so far.
    pub answered: u64,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of the answer that are still to come; 0: nothing is asked.
    left: usize,
}

impl Reads {
    /// Connects, asks once, and gives the body of the answer, too.
    ///
    /// # Errors
    /// When nobody answers with 200.
    pub fn connect(server: SocketAddr, request: &[u8], count: usize) -> Result<(Self, Vec<u8>)> {
        let poller = Poller::new()?;
        let open = |number| -> Result<Connection> {
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            poller.add(&stream, number)?;
            Ok(Connection { stream, left: 0 })
        };
        let mut connections = (0..count).map(open).collect::<Result<Vec<_>>>()?;
        let first = connections.first_mut().context("one connection at least")?;
        let (head, body) = ask(&mut first.stream, request)?;
        for connection in &connections {
            connection.stream.set_nonblocking(true)?;
        }
        let (request, length) = (request.to_vec(), head + body.len());
        let (buffer, ready) = (vec![0; 64 * 1_024], Vec::new());
        Ok((Self { poller, connections, request, length, buffer, ready, answered: 0 }, body))
    }

    /// Asks for so long, and waits for what is on its way.
    ///
    /// # Errors
    /// When an answer is another one, or takes too long.
    pub fn work(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        for number in 0..self.connections.len() {
            self.ask(number)?;
        }
        let mut under_way = self.connections.len();
        while under_way > 0 {
            self.poller.wait(TIMEOUT, &mut self.ready)?;
            ensure!(Instant::now() < end + TIMEOUT, "the answers do not come");
            for number in std::mem::take(&mut self.ready) {
                if !self.read(number)? {
                    continue;
                }
                self.answered += 1;
                match Instant::now() < end {
                    true => self.ask(number)?,
                    false => under_way -= 1,
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self, number: usize) -> Result<()> {
        let Connection { stream, left } = &mut self.connections[number];
        *left = self.length;
        // Its buffer is empty, and larger than a request.
        Ok(stream.write_all(&self.request)?)
    }

    /// Whether the answer is complete.
    fn read(&mut self, number: usize) -> Result<bool> {
        let Connection { stream, left } = &mut self.connections[number];
        match stream.read(&mut self.buffer) {
            Ok(0) => bail!("a connection has ended"),
            Ok(count) => {
                let begins = *left < self.length || self.buffer.starts_with(GOOD);
                ensure!(begins && count <= *left, "an answer is another one");
                *left -= count;
                Ok(*left == 0)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The length of an answer's head, and its body.
fn ask(stream: &mut TcpStream, request: &[u8]) -> Result<(usize, Vec<u8>)> {
    stream.write_all(request)?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 * 1_024]);
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "no answer");
        answer.extend_from_slice(&buffer[..count]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        ensure!(answer.starts_with(GOOD), "asked, and answered {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("an answer has a length")?.trim().parse()?;
        let head = end + 4;
        if answer.len() >= head + length {
            return Ok((head, answer.split_off(head)));
        }
    }
}
