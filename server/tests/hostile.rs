//! Those who mean no good, in numbers, against the real binary: its memory
//! stays under the bound that its settings state, and others are served.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use avvy_bench::hostile::Attackers;
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

    let strangers = strangers(&server).await;
    wait_for_sessions(&server, SESSIONS);
    let held = most_kib(&server) * 1_024;
    let bound = config.strangers_memory_bytes();
    assert!(held <= bound, "strangers hold {held} bytes of {bound}");
    drop(strangers);
    wait_for_sessions(&server, 0);

    let members = members(&server).await;
    wait_for_sessions(&server, SESSIONS);
    let held = most_kib(&server) * 1_024;
    let bound = config.hostile_memory_bytes();
    assert!(held <= bound, "all together hold {held} bytes of {bound}");
    println!("{} KiB at most", held / 1_024);

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
    let attackers = Attackers::start(address, brane, &server.token).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    let comes_again = ["slow", "deaf"];
    while attackers.counts().iter().any(|(name, n)| *n == 0 && !comes_again.contains(name)) {
        assert!(std::time::Instant::now() < deadline, "{:?}", attackers.counts());
        assert_eq!(server.get("/healthz").0, 200);
        // New connections have a rate, too.
        std::thread::park_timeout(Duration::from_millis(20));
    }
    drop(attackers);
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
    let mut head = vec![0x82, 0x80 | 127];
    head.extend((ping.len() as u64).to_be_bytes());
    head.extend([0; 4]);
    let mut held = Vec::new();
    let mut before = 0;
    for n in 0..80 {
        let mut stream = upgraded(&server, Some(&server.token)).await;
        let hello = Hello { min_version: 1, max_version: 1, token: None, agent: None };
        say(&mut stream, &ClientMessage::Hello(hello)).await;
        welcome(&mut stream).await;
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
    let line = format!("avvy_sessions {count}");
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let page = server.text("/metrics");
        if page.lines().any(|found| found == line) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "not {line}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// As many as there are places for, none with a token.
async fn strangers(server: &Server) -> Vec<TcpStream> {
    let mut held = Vec::new();
    let head = format!("GET /livez HTTP/1.1\r\nhost: test\r\nx: {}", "y".repeat(15_000));
    for _ in 0..100 {
        held.push(said(server, head.as_bytes()).await);
    }
    for n in 0..SESSIONS {
        let mut stream = upgraded(server, None).await;
        if n % 2 == 0 {
            // All of a hello but its last byte.
            stream.write_all(&frame_head(16_000)).await.unwrap();
            stream.write_all(&[0; 15_999]).await.unwrap();
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
        let mut stream = upgraded(server, Some(&server.token)).await;
        let hello = Hello { min_version: 1, max_version: 1, token: None, agent: None };
        say(&mut stream, &ClientMessage::Hello(hello)).await;
        welcome(&mut stream).await;
        if n % 2 == 0 {
            stream.write_all(&frame_head(65_000)).await.unwrap();
            stream.write_all(&[0; 64_999]).await.unwrap();
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
