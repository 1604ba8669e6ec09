//! Clients that mean no good, at rates that one thread can pay beside its
//! other work: what counts is what they cost the server and the people on it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use avvy_model::{BraneId, ClientId};
use avvy_protocol::codec::encode_client;
use avvy_protocol::{ClientMessage, Hello, Join, MIN_VERSION, VERSION};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

use crate::draw::Draw;
use crate::load::websocket::{request, write_binary};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(10);
/// How long a connection is kept after its attack, so that it is answered.
const HELD: Duration = Duration::from_millis(500);
/// Connections on which a byte goes out once a second.
pub const SLOW: usize = 100;
/// Sessions that ask and never read.
pub const DEAF: usize = 20;
/// Ticks between two questions of a deaf one: 50 a second.
const ASKS_EVERY: u64 = 2;
/// What a peer keeps that it does not read.
const RECEIVE_BYTES: usize = 4_096;
/// Addresses that they come from, each with a rate of its own.
const ADDRESSES: u8 = 16;

/// One kind of attack: its name, how often a second, and all that is said.
struct Attack {
    name: &'static str,
    per_s: u64,
    says: Vec<u8>,
}

/// What an attack needs to know.
struct Target<'a> {
    host: String,
    brane: BraneId,
    token: &'a str,
}

/// Attackers at work. They stop when this is dropped.
pub struct Attackers {
    stop: Arc<AtomicBool>,
    counts: Arc<Vec<(&'static str, AtomicU64)>>,
    held: Arc<[AtomicUsize; 2]>,
    thread: Option<JoinHandle<()>>,
}

impl Attackers {
    /// Sends them out. The token is a good one, for those who have one.
    ///
    /// # Errors
    /// When there is no thread for them.
    pub fn start(server: SocketAddr, brane: BraneId, token: &str) -> Result<Self> {
        let target = Target { host: server.to_string(), brane, token };
        let attacks = attacks(&target);
        let names = attacks.iter().map(|attack| attack.name).chain(["slow", "deaf"]);
        let counts: Arc<Vec<_>> = Arc::new(names.map(|name| (name, AtomicU64::new(0))).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let at_work = Arc::<[AtomicUsize; 2]>::default();
        let crew = Crew {
            server,
            attacks,
            slow_says: target.slow(),
            deaf_says: target.session(&[target.join(target.brane)]),
            counts: Arc::clone(&counts),
            at_work: Arc::clone(&at_work),
            held: VecDeque::new(),
            slow: Vec::new(),
            deaf: Vec::new(),
            tick: 0,
        };
        let stopped = Arc::clone(&stop);
        let work = move || crew.work(&stopped);
        let thread = std::thread::Builder::new().name("attackers".to_owned()).spawn(work)?;
        Ok(Self { stop, counts, held: at_work, thread: Some(thread) })
    }

    /// How often each kind was tried so far; of slow and deaf ones, how often
    /// one had to come again.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.counts.iter().map(|(name, count)| (*name, count.load(Ordering::Relaxed))).collect()
    }

    /// How many slow and deaf ones are connected: [`SLOW`] and [`DEAF`] after a
    /// while.
    pub fn held(&self) -> (usize, usize) {
        let [slow, deaf] = self.held.each_ref().map(|count| count.load(Ordering::Relaxed));
        (slow, deaf)
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has failed already, or ends now.
            let _ = thread.join();
        }
    }
}

/// A connection and what is still to be said on it.
struct Held {
    stream: TcpStream,
    until: Instant,
    attack: usize,
    said: usize,
}

struct Crew {
    server: SocketAddr,
    attacks: Vec<Attack>,
    slow_says: Vec<Vec<u8>>,
    deaf_says: Vec<u8>,
    counts: Arc<Vec<(&'static str, AtomicU64)>>,
    /// Slow and deaf ones that are there.
    at_work: Arc<[AtomicUsize; 2]>,
    held: VecDeque<Held>,
    /// With how much of its bytes was said.
    slow: Vec<(TcpStream, usize)>,
    deaf: Vec<TcpStream>,
    tick: u64,
}

impl Crew {
    fn work(mut self, stop: &AtomicBool) {
        // After the load, which measures; the system may not let us.
        let _ = rustix::process::nice(19);
        while !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            self.attack();
            self.go_on();
            self.drip();
            self.ask();
            for (count, now) in self.at_work.iter().zip([self.slow.len(), self.deaf.len()]) {
                count.store(now, Ordering::Relaxed);
            }
            self.tick += 1;
            std::thread::park_timeout(TICK.saturating_sub(started.elapsed()));
        }
    }

    /// Begins what is due in this tick.
    fn attack(&mut self) {
        let ticks_per_s = 1_000 / TICK.as_millis() as u64;
        for attack in 0..self.attacks.len() {
            let per_s = self.attacks[attack].per_s;
            let due = |tick: u64| tick * per_s / ticks_per_s;
            for _ in due(self.tick)..due(self.tick + 1) {
                let Ok(stream) = self.connect() else { continue };
                self.count(attack);
                if !self.attacks[attack].says.is_empty() {
                    let until = Instant::now() + HELD;
                    self.held.push_back(Held { stream, until, attack, said: 0 });
                }
            }
        }
    }

    /// Says what was not taken yet, and drops those whose time is over.
    fn go_on(&mut self) {
        let now = Instant::now();
        while self.held.front().is_some_and(|held| held.until <= now) {
            self.held.pop_front();
        }
        for held in &mut self.held {
            let rest = &self.attacks[held.attack].says[held.said..];
            if let Some(said) = say(&mut held.stream, rest) {
                held.said += said;
            }
        }
    }

    /// One slow connection after the other says a byte, so that each says one
    /// a second.
    fn drip(&mut self) {
        if self.slow.len() < SLOW {
            self.slow.extend(self.connect().map(|stream| (stream, 0)));
            return;
        }
        let number = self.tick as usize % SLOW;
        let says = &self.slow_says[number % self.slow_says.len()];
        let (stream, said) = &mut self.slow[number];
        let byte = says.get(*said..=*said).unwrap_or(b"x");
        match say(stream, byte) {
            Some(taken) => *said += taken,
            None => {
                self.count(self.attacks.len());
                if let Ok(stream) = self.connect() {
                    self.slow[number] = (stream, 0);
                }
            }
        }
    }

    fn ask(&mut self) {
        if self.deaf.len() < DEAF {
            if let Ok(stream) = self.deaf_one() {
                self.deaf.push(stream);
            }
        } else if self.tick.is_multiple_of(ASKS_EVERY) {
            for number in 0..DEAF {
                let gone = say(&mut self.deaf[number], PING).is_none();
                if gone && let Ok(stream) = self.deaf_one() {
                    self.count(self.attacks.len() + 1);
                    self.deaf[number] = stream;
                }
            }
        }
    }

    fn deaf_one(&self) -> Result<TcpStream> {
        let mut stream = self.connect()?;
        say(&mut stream, &self.deaf_says).context("it is closed")?;
        Ok(stream)
    }

    fn count(&self, kind: usize) {
        self.counts[kind].1.fetch_add(1, Ordering::Relaxed);
    }

    /// From one address after the other.
    fn connect(&self) -> Result<TcpStream> {
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_BYTES)?;
        if self.server.ip().is_loopback() {
            let last = 2 + (self.tick % u64::from(ADDRESSES)) as u8;
            bind(&fd, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
        }
        connect(&fd, &self.server)?;
        let stream = TcpStream::from(fd);
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

/// A ping of the WebSocket, masked with zeros.
const PING: &[u8] = &[0x89, 0x80, 0, 0, 0, 0];

/// How many bytes were taken; `None` when the connection has ended.
fn say(stream: &mut TcpStream, bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() {
        return Some(0);
    }
    match stream.write(bytes) {
        Ok(taken) => Some(taken),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
        Err(_) => None,
    }
}

/// Every kind, with its rate. Together some 1,200 connections a second.
fn attacks(target: &Target<'_>) -> Vec<Attack> {
    let attack = |name, per_s, says| Attack { name, per_s, says };
    let ping = encode_client(&ClientMessage::Ping { nonce: 7 });
    let deep = [&[0x81; 10_000][..], &[0]].concat();
    let nowhere = |n: u128| target.join(BraneId::new(uuid::Uuid::from_u128(n)));
    let joins: Vec<_> = (1..=10_000).map(nowhere).collect();
    let host = &target.host;
    let post = format!(
        "POST /api/v1/brane HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n",
        target.token
    );
    let bomb = format!("{post}Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n0123456789");
    let lie = format!("{post}Content-Length: 1000000\r\n\r\nonly this");
    let chunks = format!("{post}Transfer-Encoding: chunked\r\n\r\n{}", "1\r\nx\r\n".repeat(5_000));
    let megabyte = request(host, &"A".repeat(1 << 20));
    let forged = request(host, &forged(target.token));
    vec![
        attack("open-and-close", 1_000, Vec::new()),
        attack("garbage", 40, vec![0xa5; 2_000]),
        attack("forged-token", 20, forged.into_bytes()),
        attack("megabyte-token", 2, megabyte.into_bytes()),
        attack("malformed", 20, target.session(&vec![vec![0xff, 0]; 10])),
        attack("deep-cbor", 20, target.session(&vec![deep; 10])),
        attack("length-that-lies", 20, [target.session(&[]), vec![0x82, 0xff, 0xff]].concat()),
        attack("message-storm", 10, target.session(&vec![ping; 1_000])),
        attack("10000-joins", 1, target.session(&joins)),
        attack("packed-body", 20, bomb.into_bytes()),
        attack("body-that-lies", 20, lie.into_bytes()),
        attack("chunks-of-a-byte", 5, chunks.into_bytes()),
    ]
}

/// A good token whose signature is another's.
fn forged(token: &str) -> String {
    let (claims, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    format!("{claims}.{}", signature.chars().rev().collect::<String>())
}

impl Target<'_> {
    /// An upgrade, a hello, and these messages, without waiting for answers.
    fn session(&self, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut says = request(&self.host, self.token).into_bytes();
        let hello =
            Hello { min_version: MIN_VERSION, max_version: VERSION, token: None, agent: None };
        write_binary(&encode_client(&ClientMessage::Hello(hello)), &mut says);
        for message in messages {
            write_binary(message, &mut says);
        }
        says
    }

    fn join(&self, brane: BraneId) -> Vec<u8> {
        let client = ClientId::new(Draw::of_now().uuid());
        encode_client(&ClientMessage::Join(Join {
            brane,
            client,
            known: false,
            resume: None,
            area: None,
        }))
    }

    /// What the slow ones say, a byte at a time: a head, a hello that is
    /// never reached, nonsense.
    fn slow(&self) -> Vec<Vec<u8>> {
        let head = format!("GET /livez HTTP/1.1\r\nHost: {}\r\nX: ", self.host);
        vec![head.into_bytes(), self.session(&[]), vec![0xa5; 100]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_token_is_another_one_of_the_same_length() {
        assert_eq!(forged("a.b.cd"), "a.b.dc");
    }

    #[test]
    fn rates_are_kept_over_a_second() {
        for per_s in [1_u64, 7, 100, 1_000] {
            let due = |tick: u64| tick * per_s / 100;
            assert_eq!((0..100).map(|tick| due(tick + 1) - due(tick)).sum::<u64>(), per_s);
        }
    }
}
