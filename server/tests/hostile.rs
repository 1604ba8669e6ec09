//! Those who mean no good, in numbers, against the real binary: its memory
//! stays under the bound that its settings state, and others are served.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use avvy_bench::hostile::{Attackers, DEAF, SLOW};
use avvy_model::{BraneId, ClientId};
use avvy_protocol::{ClientMessage, Hello, Join, codec};
use avvy_server::config::{Config, Sources};
use common::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// Small enough to be filled by one test, and patient enough to be held full.
const SETTINGS: [(&str, &str); 21] = [
    ("AVVY_LIMITS_MAX_CONNECTIONS", "400"),
    ("AVVY_LIMITS_MAX_SESSIONS", "200"),
    ("AVVY_LIMITS_MAX_SESSIONS_PER_BRANE", "200"),
    ("AVVY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "400"),
    ("AVVY_LIMITS_MAX_SESSIONS_PER_USER", "200"),
    ("AVVY_LIMITS_MAX_JOINED_BRANES_PER_USER", "200"),
    ("AVVY_LIMITS_HTTP_MAX_PAGES_PER_ADDRESS", "8"),
    ("AVVY_LIMITS_MAX_MESSAGE_BYTES", "65536"),
    ("AVVY_LIMITS_MAX_BYTES_IN_FLIGHT", "131072"),
    ("AVVY_LIMITS_HTTP_MAX_BODY_BYTES", "65536"),
    ("AVVY_LIMITS_HTTP_MAX_BODIES_BYTES", "4194304"),
    ("AVVY_LIMITS_HTTP_MAX_PAGES", "8"),
    ("AVVY_LIMITS_MAX_ADDRESSES", "1024"),
    ("AVVY_LIMITS_MESSAGES_BURST", "1000000"),
    ("AVVY_LIMITS_HEADER_READ_TIMEOUT_MS", "60000"),
    ("AVVY_LIMITS_REQUEST_TIMEOUT_MS", "60000"),
    ("AVVY_SESSION_HELLO_TIMEOUT_MS", "60000"),
    ("AVVY_SESSION_OUTBOX_HIGH_WATER_BYTES", "32768"),
    ("AVVY_SESSION_OUTBOX_LOW_WATER_BYTES", "8192"),
    ("AVVY_SESSION_OUTBOX_MAX_BYTES", "262144"),
    ("AVVY_BRANE_MAX_WINDOW_BYTES", "262144"),
];

/// Sessions that take part; the last places are for those who mean well.
const SESSIONS: usize = 190;
/// Connections that say part of a request.
const HEADS: usize = 100;
const HEAD_BYTES: usize = 15_000;
const HELLO_BYTES: usize = 16_000;
const MESSAGE_BYTES: usize = 65_000;

/// What strangers make the server hold, in bytes: heads and hellos that do not
/// end.
const BY_STRANGERS: usize = HEADS * HEAD_BYTES + SESSIONS / 2 * HELLO_BYTES;
/// And members: messages and bodies that do not end, answers and pages that
/// wait for a reader, as far as the settings allow.
const BY_MEMBERS: usize =
    SESSIONS / 2 * (MESSAGE_BYTES + OUTBOX_HIGH_WATER) + BODIES + PAGES * PAGE_BYTES;
const OUTBOX_HIGH_WATER: usize = 32 << 10;
const BODIES: usize = 4 << 20;
const PAGES: usize = 8;
/// What a page may take.
const PAGE_BYTES: usize = 256 << 10;
/// What a connection takes by itself, and a server that works rather than
/// rests.
const CONNECTION_BYTES: usize = 16 << 10;
const WORKING_BYTES: usize = 8 << 20;

/// The most that the process may have grown by when it holds this, in as many
/// connections.
fn allowed(held: usize, connections: usize) -> u64 {
    (held * 3 / 2 + connections * CONNECTION_BYTES + WORKING_BYTES) as u64
}

/// The most by which attackers of every kind may have the process grow.
const ATTACKED_KIB: u64 = 32 << 10;

const MAX_SESSIONS_BYTES: usize = 64 << 20;
/// Of a message that does not end.
const LARGE_BYTES: usize = 1_000_000;
/// So many of them come until others were closed. Those hold what they hold
/// for another half second, in which as many may come again.
const AT_ONCE: usize = 8;
/// How many do not have to go for what they hold.
const MAY_STAY: usize = MAX_SESSIONS_BYTES / LARGE_BYTES;

fn config() -> Config {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment = SETTINGS.iter().map(own).collect();
    Sources { environment, ..Sources::default() }
        .load()
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[tokio::test]
async fn memory_stays_under_the_bound_that_the_settings_state() {
    let config = config();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(&directory.path().join("data"), &SETTINGS);
    let empty = most_kib(&server) * 1_024;

    let strangers = strangers(&server).await;
    wait_for_sessions(&server, SESSIONS);
    let held = most_kib(&server) * 1_024;
    let bound = config.strangers_memory_bytes();
    assert!(held <= bound, "strangers hold {held} bytes of {bound}");
    let (grown, most) = (held - empty, allowed(BY_STRANGERS, strangers.len()));
    println!("{} KiB more by strangers, of {}", grown / 1_024, most / 1_024);
    assert!(grown <= most, "{grown} bytes for strangers, who sent {BY_STRANGERS}");
    drop(strangers);
    wait_for_sessions(&server, 0);

    let members = members(&server).await;
    wait_for_sessions(&server, SESSIONS);
    let held = most_kib(&server) * 1_024;
    let bound = config.hostile_memory_bytes();
    assert!(held <= bound, "all together hold {held} bytes of {bound}");
    let (grown, most) = (held - empty, allowed(BY_MEMBERS, members.len()));
    println!("{} KiB more by members, of {}", grown / 1_024, most / 1_024);
    assert!(grown <= most, "{grown} bytes for members, for whom {BY_MEMBERS} are held");

    let (status, _) = server.get("/livez");
    assert_eq!(status, 200, "others are served");
    drop(members);
    wait_for_sessions(&server, 0);
    assert_eq!(server.get("/healthz").0, 200);
    assert_eq!(server.drain().code(), Some(0));
}

/// The attackers of `cargo xtask bench hostile`, for a moment: each kind does
/// its work, and others are served.
#[tokio::test]
async fn attackers_of_every_kind_are_survived() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("data"));
    let (address, brane) = (server.address().parse().unwrap(), server.demo_brane.parse().unwrap());
    let empty = most_kib(&server);
    let attackers = Attackers::start(address, brane, &server.token).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    let comes_again = ["slow", "deaf"];
    let are_idle = |attackers: &Attackers| {
        let is_idle = |(name, n): &(&str, u64)| *n == 0 && !comes_again.contains(name);
        attackers.counts().iter().any(is_idle) || attackers.held() != (SLOW, DEAF)
    };
    while are_idle(&attackers) {
        let seen = (attackers.counts(), attackers.held());
        assert!(std::time::Instant::now() < deadline, "{seen:?}");
        assert_eq!(server.get("/healthz").0, 200);
        // New connections have a rate, too.
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let grown = most_kib(&server) - empty;
    println!("{grown} KiB more by attackers of every kind");
    assert!(grown <= ATTACKED_KIB, "{grown} KiB");
    drop(attackers);
    wait_for_sessions(&server, 0);
    assert_eq!(server.drain().code(), Some(0));
}

/// Settings as they come but for the one that protects the process, and for as
/// many sessions of one user.
#[tokio::test]
async fn sessions_that_hold_too_much_together_are_closed() {
    let directory = tempfile::tempdir().unwrap();
    let bound = MAX_SESSIONS_BYTES.to_string();
    let settings = [
        ("AVVY_LIMITS_MAX_SESSIONS_BYTES", bound.as_str()),
        ("AVVY_LIMITS_MAX_SESSIONS_PER_USER", "200"),
        ("AVVY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "400"),
    ];
    let server = Server::start_with(&directory.path().join("data"), &settings);
    let empty = most_kib(&server) * 1_024;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(member(&server).await);
    }
    // All of it but its last byte. Who is closed meanwhile need not read it.
    let message = [large_frame_head(LARGE_BYTES), vec![0; LARGE_BYTES - 1]].concat();
    for (said, stream) in (1..).zip(&mut sessions) {
        let _ = timeout(PATIENCE, stream.write_all(&message)).await.expect("it is read");
        if said % AT_ONCE == 0 || said == SESSIONS {
            let most = SESSIONS - said.saturating_sub(MAY_STAY);
            wait_until(&server, |sessions| sessions <= most);
        }
    }
    let grown = most_kib(&server) * 1_024 - empty;
    println!("{} KiB more by sessions that hold too much", grown / 1_024);
    let most = MAX_SESSIONS_BYTES + 2 * AT_ONCE * LARGE_BYTES;
    // A buffer is larger than what is in it.
    let most = (most * 5 / 4 + SESSIONS * CONNECTION_BYTES + WORKING_BYTES) as u64;
    assert!(grown <= most, "{grown} bytes of {most}");
    let mut closed = 0;
    for stream in &mut sessions {
        let number = timeout(Duration::from_millis(10), close_number(stream)).await;
        closed += usize::from(number.is_ok_and(|number| number == Some(4_004)));
    }
    assert!(closed >= SESSIONS - MAY_STAY, "{closed} were told");
    assert_eq!(server.get("/healthz").0, 200);
    drop(sessions);
    wait_for_sessions(&server, 0);
    assert_eq!(server.drain().code(), Some(0));
}

/// Messages as large as they may be, one after the other, each on a connection
/// that stays.
#[tokio::test]
async fn a_connection_gives_back_what_a_large_message_took() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("data"));
    let mut ping = codec::encode_client(&ClientMessage::Ping { nonce: 7 });
    // A field that nobody knows, of a million bytes.
    ping[0] += 1;
    ping.extend(b"\x61x\x5a\x00\x0f\x42\x40");
    ping.resize(ping.len() + 1_000_000, 0);
    let head = large_frame_head(ping.len());
    let mut held = Vec::new();
    let mut before = 0;
    for n in 0..80 {
        let mut stream = member(&server).await;
        stream.write_all(&[&head[..], &ping].concat()).await.unwrap();
        welcome(&mut stream).await;
        held.push(stream);
        if n == 16 {
            before = most_kib(&server);
        }
    }
    let grown = most_kib(&server) - before;
    assert!(grown < 16 * 1_024, "64 large messages left {grown} KiB");
}

/// The most memory that the process ever had.
fn most_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Until so many sessions are there, by the server's own count.
fn wait_for_sessions(server: &Server, count: usize) {
    wait_until(server, |sessions| sessions == count);
}

fn wait_until(server: &Server, is_so: impl Fn(usize) -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_so(sessions_of(server)) {
        assert!(std::time::Instant::now() < deadline, "{} sessions", sessions_of(server));
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn sessions_of(server: &Server) -> usize {
    let page = server.text("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix("avvy_sessions "));
    line.unwrap().parse().unwrap()
}

/// As many as there are places for, none with a token.
async fn strangers(server: &Server) -> Vec<TcpStream> {
    let mut held = Vec::new();
    let head = format!("GET /livez HTTP/1.1\r\nhost: test\r\nx: {}", "y".repeat(HEAD_BYTES));
    for _ in 0..HEADS {
        held.push(said(server, head.as_bytes()).await);
    }
    for n in 0..SESSIONS {
        let mut stream = upgraded(server, None).await;
        if n % 2 == 0 {
            // All of a hello but its last byte.
            stream.write_all(&frame_head(HELLO_BYTES)).await.unwrap();
            stream.write_all(&[0; HELLO_BYTES - 1]).await.unwrap();
        }
        held.push(stream);
    }
    for _ in 0..90 {
        held.push(said(server, b"").await);
    }
    held
}

/// With a token: messages and bodies that do not end, answers and pages that
/// nobody reads.
async fn members(server: &Server) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for n in 0..SESSIONS {
        let mut stream = member(server).await;
        if n % 2 == 0 {
            stream.write_all(&frame_head(MESSAGE_BYTES)).await.unwrap();
            stream.write_all(&[0; MESSAGE_BYTES - 1]).await.unwrap();
        } else {
            ask_and_never_read(server, &mut stream).await;
        }
        held.push(stream);
    }
    let head = format!("host: test\r\nauthorization: Bearer {}\r\n", server.token);
    let chunks = format!("40\r\n{}\r\n", "x".repeat(0x40)).repeat(1_000);
    let body =
        format!("POST /api/v1/brane HTTP/1.1\r\n{head}transfer-encoding: chunked\r\n\r\n{chunks}");
    for _ in 0..80 {
        held.push(said(server, body.as_bytes()).await);
    }
    let page = format!(
        "GET /api/v1/brane/{}/objects?limit=1000 HTTP/1.1\r\n{head}\r\n",
        server.demo_brane
    );
    for _ in 0..80 {
        held.push(said(server, page.repeat(20).as_bytes()).await);
    }
    held
}

/// Joins, and asks until the connection takes no more.
async fn ask_and_never_read(server: &Server, stream: &mut TcpStream) {
    let brane: BraneId = server.demo_brane.parse().unwrap();
    let client = ClientId::new(uuid::Uuid::new_v4());
    say(
        stream,
        &ClientMessage::Join(Join { brane, client, known: false, resume: None, area: None }),
    )
    .await;
    let ping = codec::encode_client(&ClientMessage::Ping { nonce: 7 });
    let pings = [frame_head(ping.len()), ping].concat().repeat(4_096);
    // It is full when it has taken nothing for a moment.
    while let Ok(written) = timeout(Duration::from_millis(20), stream.write(&pings)).await {
        assert_ne!(written.unwrap_or(0), 0, "the server has ended the session");
    }
}

/// A connection that keeps few bytes that it does not read.
async fn said(server: &Server, bytes: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(server.address().parse().unwrap()).await.unwrap();
    // The server need not read all of it.
    let _ = timeout(Duration::from_millis(200), stream.write_all(bytes)).await;
    stream
}

async fn upgraded(server: &Server, token: Option<&str>) -> TcpStream {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
        token.unwrap_or_default()
    );
    let mut stream = said(server, request.as_bytes()).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A session with a good token.
async fn member(server: &Server) -> TcpStream {
    let mut stream = upgraded(server, Some(&server.token)).await;
    let hello = Hello { min_version: 1, max_version: 1, token: None, agent: None };
    say(&mut stream, &ClientMessage::Hello(hello)).await;
    welcome(&mut stream).await;
    stream
}

/// The number with which the server closes the session; `None` when it says
/// none.
async fn close_number(stream: &mut TcpStream) -> Option<u16> {
    loop {
        let head = stream.read_u16().await.ok()?;
        let length = match head & 0x7f {
            127 => return None,
            126 => stream.read_u16().await.ok()?,
            short => short,
        };
        let mut payload = vec![0; usize::from(length)];
        stream.read_exact(&mut payload).await.ok()?;
        if head >> 8 == 0x88 {
            return Some(u16::from_be_bytes(payload.get(..2)?.try_into().ok()?));
        }
    }
}

/// The same for a frame of any length.
fn large_frame_head(length: usize) -> Vec<u8> {
    let mut head = vec![0x82, 0x80 | 127];
    head.extend((length as u64).to_be_bytes());
    head.extend([0; 4]);
    head
}

/// The head of a masked binary frame, with a mask that changes nothing.
fn frame_head(length: usize) -> Vec<u8> {
    let mut head = vec![0x82];
    match length {
        0..=125 => head.push(0x80 | length as u8),
        _ => {
            head.push(0x80 | 126);
            head.extend((length as u16).to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

async fn say(stream: &mut TcpStream, message: &ClientMessage) {
    let message = codec::encode_client(message);
    stream.write_all(&[frame_head(message.len()), message].concat()).await.unwrap();
}

/// Reads the first frame, which is short.
async fn welcome(stream: &mut TcpStream) {
    let head = timeout(PATIENCE, stream.read_u16()).await.unwrap().unwrap();
    let length = match head & 0x7f {
        126 => stream.read_u16().await.unwrap(),
        short => short,
    };
    stream.read_exact(&mut vec![0; usize::from(length)]).await.unwrap();
}
